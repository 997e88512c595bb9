"""Polygons and run lengths become masks: as geometry and the reference implementation have it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pycocotools import mask as reference

from sim2real.datasets.masks import decode_runs, fill_polygon, paint

masks = arrays(np.bool_, st.tuples(st.integers(1, 20), st.integers(1, 20)))
edges = st.integers(-4, 24)


@given(masks)
def test_packed_runs_are_read_as_the_reference_writes_them(mask: NDArray[np.bool_]) -> None:
    packed = reference.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    assert np.array_equal(decode_runs(packed, (mask.shape[1], mask.shape[0])), mask)


@given(masks)
def test_runs_go_down_the_columns_and_begin_outside(mask: NDArray[np.bool_]) -> None:
    counts, inside = [0], False
    for pixel in mask.T.ravel().tolist():
        if pixel is not inside:
            counts.append(0)
            inside = pixel
        counts[-1] += 1
    assert np.array_equal(decode_runs(counts, (mask.shape[1], mask.shape[0])), mask)


@pytest.mark.parametrize("counts", [[3], [2, 3], [7, -3], b"", b"3"])
def test_runs_that_do_not_fill_the_mask_are_refused(counts: list[int] | bytes) -> None:
    with pytest.raises(ValueError, match="do not fill its 2x2 pixels"):
        decode_runs(counts, (2, 2))


@given(edges, edges, st.integers(1, 28), st.integers(1, 28))
def test_rectangle_on_pixel_edges_covers_its_pixels(left: int, top: int, width: int, height: int) -> None:
    right, bottom = left + width, top + height
    corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], float)
    expected = np.zeros((16, 20), bool)
    expected[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = True
    assert np.array_equal(fill_polygon(corners, (20, 16)), expected)
    assert np.array_equal(fill_polygon(corners[::-1], (20, 16)), expected)


@given(arrays(np.float64, (3, 2), elements=st.floats(-5, 25, allow_subnormal=False)))
def test_triangle_holds_the_centres_that_lie_inside(corners: NDArray[np.float64]) -> None:
    mask = fill_polygon(corners, (20, 16))
    (ax, ay), (bx, by), (cx, cy) = corners
    x, y = np.meshgrid(np.arange(20) + 0.5, np.arange(16) + 0.5)
    sides = np.array(
        [
            (bx - ax) * (y - ay) - (by - ay) * (x - ax),
            (cx - bx) * (y - by) - (cy - by) * (x - bx),
            (ax - cx) * (y - cy) - (ay - cy) * (x - cx),
        ]
    )
    far = np.abs(sides).min(axis=0) > 1e-6  # off the edges
    inside = np.asarray((sides > 0).all(axis=0) | (sides < 0).all(axis=0))
    assert np.array_equal(mask[far], inside[far])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
def test_polygon_agrees_with_the_reference_away_from_its_edge() -> None:
    corners = np.array([(3.2, 2.1), (27.5, 5.5), (20.1, 21.3), (11.0, 12.4), (5.7, 20.9)])
    mine = fill_polygon(corners, (32, 24))
    theirs = reference.decode(reference.merge(reference.frPyObjects([corners.ravel().tolist()], 24, 32))).astype(bool)
    same = (mine == theirs).mean()
    assert same > 0.95
    assert 100 < mine.sum() < 400


def test_smaller_regions_lie_over_larger_ones() -> None:
    large, small = np.ones((4, 4), bool), np.zeros((4, 4), bool)
    small[1:3, 1:3] = True
    large[0] = False
    ids = paint([(7, small), (3, large)], (4, 4))
    assert ids.tolist() == [[-1] * 4, [3, 7, 7, 3], [3, 7, 7, 3], [3] * 4]
