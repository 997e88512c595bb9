import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.judge import Change, blur, gain, levels, noise, tint
from sim2real.metrics.wasserstein import SlicedWasserstein, SlicedWassersteinMetric

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
    with pytest.raises(ValueError, match="no pictures"):
        SlicedWasserstein([])
    with pytest.raises(ValueError, match="no pictures"):
        SlicedWasserstein(REAL).distance([])


def test_the_metric_tells_of_before_and_after() -> None:
    before = [*map(gain(0.5), photos(16, seed=1))]
    figures = SlicedWassersteinMetric(seed=1)(before, photos(16, seed=1), REAL)
    assert list(figures) == ["distance", "distance_of_sim", "floor"]
    assert figures["distance"] < 1.3 * figures["floor"] < figures["distance_of_sim"]
