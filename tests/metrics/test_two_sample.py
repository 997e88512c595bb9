import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.validation import Change, blur, levels, noise, tint
from sim2real.metrics.two_sample import TwoSampleMetric

pytestmark = pytest.mark.usefixtures("one_thread")

Image = NDArray[np.uint8]


def photos(count: int, seed: int) -> list[Image]:
    random = np.random.default_rng(seed)
    coarse = [random.normal(110, 40, (12, 16, 3)).repeat(4, 0).repeat(4, 1) for _ in range(count)]
    return [levels(image + random.normal(size=image.shape)) for image in coarse]


def measured(images: list[Image], real: list[Image], *, seed: int = 0) -> float:
    metric = TwoSampleMetric(seed=seed)
    return metric.distance(metric.describe(images), metric.describe(real))


def test_pictures_of_one_kind_cannot_be_told_apart() -> None:
    assert 0.35 < measured(photos(60, 0), photos(60, 1)) < 0.65


@pytest.mark.parametrize("change", [tint, blur(1), noise(10)], ids=["tint", "blur", "noise"])
def test_those_of_another_look_can(change: Change) -> None:
    assert measured([*map(change, photos(40, 0))], photos(40, 1)) > 0.8


def test_neither_set_weighs_more() -> None:
    """A classifier that always says the same is right about half of the sets."""
    assert 0.3 < measured(photos(10, 0), photos(80, 1)) < 0.7


def test_equal_seeds_give_equal_accuracies() -> None:
    first, second = (measured(photos(8, 0), photos(8, 1), seed=3) for _ in range(2))
    assert first == second
    metric = TwoSampleMetric(seed=3)
    rows = metric.describe(photos(4, 0))
    assert np.array_equal(rows[2], metric.describe([photos(4, 0)[2]])[0])


def test_small_pictures_have_smaller_crops() -> None:
    assert TwoSampleMetric().describe([np.zeros((20, 40, 3), np.uint8)]).shape == (1, 4, 3, 20, 32)


def test_each_distance_ticks_as_often_as_it_says() -> None:
    metric, ticks = TwoSampleMetric(), list[None]()
    rows = metric.describe(photos(4, 0))
    metric.distance(rows, rows, lambda: ticks.append(None))
    assert len(ticks) == metric.ticks


def test_a_single_picture_is_refused() -> None:
    rows = TwoSampleMetric().describe(photos(2, 0))
    with pytest.raises(ValueError, match="two images"):
        TwoSampleMetric().distance(rows[:1], rows)
