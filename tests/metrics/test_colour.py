import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import wasserstein_distance

from benchmarks.validation import gain, mirror, noise, tint
from sim2real.metrics.colour import ColourMetric, _directions

Image = NDArray[np.uint8]


def measured(images: list[Image], real: list[Image]) -> float:
    metric = ColourMetric()
    return metric.distance(metric.describe(images), metric.describe(real))


def random_pictures(count: int, seed: int, *, lightest: int = 256) -> list[Image]:
    random = np.random.default_rng(seed)
    return [random.integers(0, lightest, (24, 32, 3)).astype(np.uint8) for _ in range(count)]


def in_lab(images: list[Image]) -> NDArray[np.float32]:
    values = np.concatenate([image.reshape(1, -1, 3) for image in images], axis=1).astype(np.float32) / 255
    return np.asarray(cv2.cvtColor(values, cv2.COLOR_RGB2LAB)[0], np.float32)


def test_it_is_the_earth_movers_distance() -> None:
    dark, light = random_pictures(3, 0, lightest=150), random_pictures(3, 1)
    places = (in_lab(images) @ _directions() for images in (dark, light))
    distances = [wasserstein_distance(*along) for along in zip(*(each.T for each in places), strict=True)]
    assert measured(dark, light) == pytest.approx(2 * np.mean(distances), rel=0.01)


@settings(max_examples=50, deadline=None)
@given(
    first=st.tuples(*[st.integers(0, 255)] * 3),
    second=st.tuples(*[st.integers(0, 255)] * 3),
)
def test_plain_pictures_are_as_far_apart_as_their_colours(
    first: tuple[int, int, int], second: tuple[int, int, int]
) -> None:
    plain = [[np.full((4, 5, 3), colour, np.uint8)] for colour in (first, second)]
    difference = np.linalg.norm(in_lab(plain[0])[0] - in_lab(plain[1])[0])
    assert measured(*plain) == pytest.approx(difference, rel=0.08, abs=1)


def test_black_and_white_are_100_apart() -> None:
    assert measured([np.zeros((8, 8, 3), np.uint8)], [np.full((8, 8, 3), 255, np.uint8)]) == pytest.approx(
        100, rel=0.03
    )


def test_it_moves_with_light_and_not_with_places(town: list[Image]) -> None:
    assert measured([*map(mirror, town)], town) == pytest.approx(0, abs=0.1)
    assert measured([*map(noise(4), town)], town) < 3
    assert measured([*map(tint, town)], town) > 10
    lights = [measured([*map(gain(factor), town)], town) for factor in (1, 0.9, 0.7, 0.4)]
    assert lights == sorted(lights)
    assert lights[0] == 0


def test_more_pictures_on_one_side_are_no_nearer() -> None:
    """Of one kind: pictures of a single colour, sampled at random."""
    plain = [np.full((4, 4, 3), each, np.uint8) for each in np.random.default_rng(0).integers(0, 256, (400, 3))]
    few = np.mean([measured(plain[start : start + 8], plain[-8:]) for start in range(0, 160, 8)])
    assert measured(plain[:160], plain[-8:]) == pytest.approx(few, rel=0.06)


def test_a_set_of_nothing_is_refused(town: list[Image]) -> None:
    rows = ColourMetric().describe(town)
    with pytest.raises(ValueError, match="no images"):
        ColourMetric().distance(rows[:0], rows)
