import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.validation import APPEARANCE, DAMAGE, draw, levels
from sim2real.metrics.edges import EdgeChanges, EdgeMetric, edge_changes, preservation

Image = NDArray[np.uint8]


def changed(images: list[Image], change: str) -> tuple[float, float]:
    """The mean shares of new and of lost edges, in per cent."""
    new, lost = np.mean([edge_changes(image, {**APPEARANCE, **DAMAGE}[change](image)) for image in images], axis=0)
    return 100 * new, 100 * lost


def square(left: int = 40, *, level: int = 200, ground: int = 60) -> Image:
    """A light square of 40 px in the middle of a dark picture."""
    image = np.full((120, 160, 3), ground, np.uint8)
    image[40:80, left : left + 40] = level
    return image


@pytest.mark.parametrize("change", APPEARANCE)
def test_a_change_of_appearance_leaves_the_edges(town: list[Image], change: str) -> None:
    assert max(changed(town, change)) < 3


@pytest.mark.parametrize("change", APPEARANCE)
def test_a_change_of_appearance_leaves_the_edges_of_real_frames(pictures: list[Image], change: str) -> None:
    assert max(changed(pictures, change)) < 3


@pytest.mark.parametrize("change", DAMAGE)
def test_a_change_of_content_does_not(town: list[Image], change: str) -> None:
    assert max(changed(town, change)) > 6


@pytest.mark.parametrize("change", DAMAGE)
def test_a_change_of_content_does_not_in_real_frames(pictures: list[Image], change: str) -> None:
    assert max(changed(pictures, change)) > 6


def test_what_was_painted_is_new_and_what_was_smoothed_over_is_lost(town: list[Image]) -> None:
    new, lost = changed(town, "trees in the sky")
    assert new > 2 * lost
    new, lost = changed(town, "inpainting")
    assert lost > new


def test_shares_are_of_the_edges() -> None:
    empty = np.full_like(square(), 60)
    assert edge_changes(square(), square()) == (0, 0)
    assert edge_changes(empty, square()) == (1, 0)
    assert edge_changes(square(), empty) == (0, 1)
    both = np.maximum(square(10), square(100))
    new, lost = edge_changes(square(10), both)
    assert new == pytest.approx(0.5, abs=0.02)
    assert lost == 0


def test_edges_may_move_by_two_pixels() -> None:
    assert edge_changes(square(40), square(42)) == (0, 0)
    new, lost = edge_changes(square(40), square(44))
    assert new > 0.3
    assert lost > 0.3


def test_colours_alone_make_edges_too() -> None:
    red, green = np.zeros_like(square()), np.zeros_like(square())
    green[..., 1] = red[..., 0] = 120
    painted = np.where(square() > 100, red, green)
    assert edge_changes(green, painted).new == 1


@given(factors=st.tuples(*[st.floats(0.4, 1.2)] * 3), seed=st.integers(0, 99))
def test_light_of_any_colour_makes_no_edges(factors: tuple[float, float, float], seed: int) -> None:
    scene = np.full((64, 96, 3), 60, np.uint8)
    random = np.random.default_rng(seed)
    for _ in range(5):
        left, right, top, bottom = *np.sort(random.integers(97, size=2)), *np.sort(random.integers(65, size=2))
        scene[top:bottom, left:right] = random.integers(20, 200, 3)
    assert max(edge_changes(scene, levels(scene * factors))) < 0.05


def test_noise_on_a_blank_wall_is_no_edge() -> None:
    wall = np.full((256, 256, 3), 128, np.uint8)
    assert edge_changes(wall, levels(wall + 8 * draw(1, wall))) == (0, 0)
    assert edge_changes(wall, levels(wall + 8 * draw(1, wall)[..., :1])) == (0, 0)


def test_a_speck_in_a_blank_picture_is_no_large_share() -> None:
    wall = np.full((256, 256, 3), 128, np.uint8)
    speck = wall.copy()
    speck[100:103, 100:103] = 255
    assert 0 < edge_changes(wall, speck).new < 0.5


def test_pictures_of_unequal_sizes_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        edge_changes(square(), square()[:-1])


def test_the_metric_has_the_figures_of_a_frame() -> None:
    half = np.maximum(square(10), square(100))
    figures = EdgeMetric().compare(square(10), half, {})
    assert list(figures) == list(EdgeMetric.abouts) == ["new_edges", "lost_edges", "preservation"]
    assert figures["new_edges"].after == edge_changes(square(10), half).new
    assert tuple(figures["lost_edges"]) == (0, None)
    assert figures["preservation"].after == pytest.approx(0.5, abs=0.02)


def test_preservation_falls_with_what_came_and_with_what_went() -> None:
    assert preservation(EdgeChanges(new=0, lost=0)) == 1
    assert preservation(EdgeChanges(new=0.2, lost=0)) == preservation(EdgeChanges(new=0, lost=0.2)) == 0.8
    assert preservation(EdgeChanges(new=0.5, lost=0.5)) == 0.25
    assert preservation(EdgeChanges(new=1, lost=0)) == 0


def test_pictures_of_a_few_pixels_can_be_compared() -> None:
    dark, light = np.zeros((2, 3, 3), np.uint8), np.full((2, 3, 3), 255, np.uint8)
    assert edge_changes(dark, light) == (0, 0)
