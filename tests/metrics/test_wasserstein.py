import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance

from benchmarks.validation import Change, blur, gain, levels, mirror, noise, tint
from sim2real.metrics.wasserstein import _FEW_DIRECTIONS, SlicedWasserstein, SlicedWassersteinMetric, _directions

Image = NDArray[np.uint8]


def photos(
    count: int, *, seed: int, size: tuple[int, int] = (64, 48), mean: float = 110, contrast: float = 40
) -> list[Image]:
    """Smooth random pictures of (W, H), all of one kind."""
    random = np.random.default_rng(seed)
    coarse = [
        random.normal(mean, contrast, (size[1] // 4, size[0] // 4, 3)).repeat(4, 0).repeat(4, 1) for _ in range(count)
    ]
    return [blur(2)(levels(image)) for image in coarse]


REAL = photos(16, seed=0)


@pytest.mark.parametrize("change", [gain(0.7), tint, blur(2), noise(10)], ids=["gain", "tint", "blur", "noise"])
def test_pictures_of_another_look_are_farther_away_than_real_ones(change: Change) -> None:
    measure = SlicedWasserstein(REAL)
    others = photos(16, seed=1)
    assert measure.distance(others) < 1.3 * measure.floor(REAL)
    assert measure.distance([*map(change, others)]) > 1.5 * measure.floor(REAL)


def test_the_stronger_the_change_the_farther() -> None:
    measure = SlicedWasserstein(REAL)
    for change in (gain, blur, noise):
        strengths = (0.9, 0.7, 0.5) if change is gain else (1, 2, 4)
        distances = [measure.distance([*map(change(strength), photos(16, seed=1))]) for strength in strengths]
        assert distances == sorted(distances)


def test_contrast_counts_as_colours_do() -> None:
    measure = SlicedWasserstein(REAL)
    flat = photos(16, seed=1, contrast=20)
    assert measure.distance(flat) > 1.5 * measure.floor(REAL)


def test_equal_seeds_give_equal_distances() -> None:
    others = photos(8, seed=1, mean=150)
    first, second, other = (SlicedWasserstein(REAL, seed=seed).distance(others) for seed in (3, 3, 4))
    assert first == second
    assert first != other
    assert other == pytest.approx(first, rel=0.2)


def test_a_distance_does_not_depend_on_what_was_measured_before() -> None:
    measure, fresh = SlicedWasserstein(REAL), SlicedWasserstein(REAL)
    measure.distance(photos(4, seed=2, size=(40, 40)))
    assert measure.distance(photos(8, seed=1)) == fresh.distance(photos(8, seed=1))


def test_sets_of_unequal_size_are_compared_without_bias() -> None:
    """Eight pictures of the same kind are no farther away than sixty are."""
    measure = SlicedWasserstein(photos(8, seed=0))
    few, many = (np.mean([measure.distance(photos(n, seed=seed)) for seed in (1, 2, 3)]) for n in (8, 60))
    assert many == pytest.approx(few, rel=0.15)
    assert few == pytest.approx(measure.floor(photos(8, seed=1)), rel=0.3)


def test_frames_of_unequal_size_are_cut_alike() -> None:
    larger = photos(16, seed=1, size=(96, 80))
    middle = [image[16:64, 16:80] for image in larger]
    measure = SlicedWasserstein(REAL)
    assert measure.distance(larger) == measure.distance(middle)
    smaller = [image[:32, :40] for image in photos(16, seed=1)]
    assert measure.distance(smaller) < 1.5 * measure.floor(REAL)
    assert measure.distance([*map(gain(0.5), smaller)]) > 2 * measure.distance(smaller)


@settings(max_examples=20, deadline=None)
@given(
    count=st.integers(1, 5),
    real=st.integers(1, 5),
    sizes=st.tuples(*[st.tuples(st.integers(1, 40), st.integers(1, 40))] * 2),
    level=st.integers(0, 255),
)
def test_any_set_has_a_finite_distance(
    count: int, real: int, sizes: tuple[tuple[int, int], tuple[int, int]], level: int
) -> None:
    images, reality = (
        [np.full((*size, 3), grey, np.uint8)] * n
        for size, grey, n in zip(sizes, (level, 99), (count, real), strict=True)
    )
    measure = SlicedWasserstein(reality)
    assert np.isfinite(measure.distance(images))
    assert (measure.distance(images) > 1e-3) is (level != 99)
    assert measure.floor(images) == pytest.approx(0, abs=1e-3)


def test_there_is_no_distance_of_nothing() -> None:
    with pytest.raises(ValueError, match="no images"):
        SlicedWasserstein([])
    with pytest.raises(ValueError, match="no images"):
        SlicedWasserstein(REAL).distance([])


def measured(images: list[Image], real: list[Image], *, seed: int = 0) -> float:
    metric = SlicedWassersteinMetric(seed=seed)
    return metric.distance(metric.describe(images), metric.describe(real))


@pytest.mark.parametrize("change", [gain(0.7), tint, blur(1), noise(10)], ids=["gain", "tint", "blur", "noise"])
def test_the_metric_moves_with_every_look(change: Change) -> None:
    others = photos(16, seed=1)
    assert measured([*map(change, others)], REAL) > 1.5 * measured(others, REAL)


def test_the_metric_does_not_mind_where_things_are() -> None:
    others = photos(16, seed=1)
    assert measured([*map(mirror, others)], REAL) == pytest.approx(measured(others, REAL), rel=0.1)


def test_equal_pictures_are_described_alike_wherever_they_stand() -> None:
    metric = SlicedWassersteinMetric()
    rows = metric.describe(REAL)
    assert np.array_equal(rows[3], metric.describe([REAL[3]])[0])
    assert metric.distance(rows, rows[::-1]) == 0


def test_the_metrics_seed_decides() -> None:
    others = photos(16, seed=1, mean=150)
    assert measured(others, REAL) == measured(others, REAL)
    assert measured(others, REAL) != measured(others, REAL, seed=1)
    assert measured(others, REAL) == pytest.approx(measured(others, REAL, seed=1), rel=0.2)


def test_more_pictures_on_one_side_are_no_nearer() -> None:
    real = photos(8, seed=0)
    few, many = (np.mean([measured(photos(n, seed=seed), real) for seed in (1, 2, 3)]) for n in (8, 60))
    assert many == pytest.approx(few, rel=0.15)


def test_the_metric_is_the_distance_of_patches() -> None:
    """Counting patches is nearly as good as having them: a shift of light is as far as it is."""
    dark, light = ([np.full((48, 64, 3), level, np.uint8) for level in levels] for levels in ((90, 110), (100, 120)))
    metric = SlicedWassersteinMetric()
    shift, spread = [], []
    for number in range(2):  # levels of a picture of 48x64; the first, of detail, is empty
        along = _directions(_FEW_DIRECTIONS, 7, np.ones(3), [0, number]).sum(axis=0)
        places = [np.outer(levels, along) for levels in ((90.0, 110.0), (100.0, 120.0))]
        distances = [wasserstein_distance(*pair) for pair in zip(places[0].T, places[1].T, strict=True)]
        shift.append(np.mean(distances))
        spread.append(np.mean([gini(column) for column in places[1].T]))
    expected = (shift[1] / spread[1]) / 2
    assert metric.distance(metric.describe(dark), metric.describe(light)) == pytest.approx(expected, rel=0.1)


def gini(values: NDArray[np.float64]) -> float:
    """A spread of values: that of normal ones is their standard deviation."""
    return float(np.sqrt(np.pi) / 2 * np.abs(values[:, None] - values).mean())


@settings(max_examples=20, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), level=st.integers(0, 255))
def test_pictures_of_any_size_have_a_distance(height: int, width: int, level: int) -> None:
    plain, grey = (np.full((height, width, 3), each, np.uint8) for each in (level, 99))
    assert np.isfinite(measured([plain], [grey]))
    assert (measured([plain], [grey]) > 0) is (level != 99)


def test_the_metric_refuses_an_empty_set() -> None:
    rows = SlicedWassersteinMetric().describe(REAL[:2])
    with pytest.raises(ValueError, match="no images"):
        SlicedWassersteinMetric().distance(rows, rows[:0])
