"""Codes of label images, against values worked out by hand, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from sim2real.datasets import labels
from sim2real.errors import DatasetError, ImageError
from sim2real.imageio import encode_jpeg, encode_png

Reader = Callable[[Path], object]


def stored(folder: Path, pixels: NDArray[Any]) -> Path:
    path = folder / "label.png"
    path.write_bytes(encode_png(pixels))
    return path


def test_depth_is_in_metres_and_absent_in_the_sky(tmp_path: Path) -> None:
    depth = labels.read_depth(stored(tmp_path, np.array([[0, 1, 150, 65535]], np.uint16)), per_metre=100, nothing=65535)
    assert depth.metres.dtype == np.float32
    assert depth.metres[0, :3] == pytest.approx([0, 0.01, 1.5])
    assert np.isnan(depth.metres[0, 3])


def test_disparity_is_in_pixels_and_absent_at_zero(tmp_path: Path) -> None:
    disparity = labels.read_disparity(stored(tmp_path, np.array([[0, 256, 65535]], np.uint16)))
    assert np.isnan(disparity.pixels[0, 0])
    assert disparity.pixels[0, 1:] == pytest.approx([1, 255.996], abs=1e-3)


def test_virtual_kitti_flow_spans_the_image(tmp_path: Path) -> None:
    codes = np.zeros((3, 5, 3), np.uint16)
    codes[0, :3] = [(65535, 0, 1), (0, 65535, 65535), (65535, 65535, 0)]
    flow = labels.read_vkitti_flow(stored(tmp_path, codes))
    assert flow.uv[0, :3].tolist() == [[4, -2], [-4, 2], [0, 0]]
    assert flow.valid[0].tolist() == [True, True, False, False, False]


def test_kitti_flow_has_steps_of_a_64th_pixel(tmp_path: Path) -> None:
    codes = np.array([[(2**15, 2**15 + 64, 1), (2**15 - 1, 0, 1), (5, 5, 0)]], np.uint16)
    flow = labels.read_kitti_flow(stored(tmp_path, codes))
    assert flow.uv.tolist() == [[[0, 1], [-1 / 64, -512], [0, 0]]]
    assert flow.valid.tolist() == [[True, True, False]]


def test_scene_flow_spans_twenty_metres(tmp_path: Path) -> None:
    flow = labels.read_vkitti_scene_flow(stored(tmp_path, np.array([[(65535, 0, 13107), (0, 0, 0)]], np.uint16)))
    assert flow.xyz[0, 0] == pytest.approx([10, -10, -6])
    assert np.isnan(flow.xyz[0, 1]).all()


@given(
    colours=st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=6, unique=True),
    ids=arrays.arrays(np.int32, (4, 5), elements=st.integers(0, 5)),
)
def test_colour_mask_gives_back_the_classes_that_were_painted(
    colours: list[tuple[int, int, int]], ids: NDArray[np.int32], tmp_path_factory: pytest.TempPathFactory
) -> None:
    ids %= len(colours)
    path = stored(tmp_path_factory.mktemp("mask"), np.array(colours, np.uint8)[ids])
    mask = labels.read_colour_mask(path, [(f"class {n}", colour) for n, colour in enumerate(colours)])
    assert np.array_equal(mask.ids, ids)
    assert mask.names == {n: f"class {n}" for n in range(len(colours))}


def test_colours_of_one_name_are_one_class_and_unknown_ones_are_none(tmp_path: Path) -> None:
    path = stored(tmp_path, np.array([[(1, 2, 3), (4, 5, 6), (7, 8, 9), (255, 255, 255)]], np.uint8))
    mask = labels.read_colour_mask(path, [("Car", (1, 2, 3)), ("Road", (7, 8, 9)), ("Car", (4, 5, 6))])
    assert mask.ids.tolist() == [[0, 0, 1, labels.NOTHING]]
    assert mask.names == {0: "Car", 1: "Road"}


@pytest.mark.parametrize("names", [["road", "car"], {0: "road", 1: "car"}])
def test_index_mask_takes_names_in_order_or_by_id(names: Any, tmp_path: Path) -> None:
    mask = labels.read_index_mask(stored(tmp_path, np.array([[0, 1, 9]], np.uint8)), names=names)
    assert mask.ids.tolist() == [[0, 1, 9]]
    assert mask.names == {0: "road", 1: "car"}


@pytest.mark.parametrize(
    ("read", "pixels"),
    [
        (labels.read_vkitti_flow, np.zeros((2, 2, 3), np.uint8)),
        (labels.read_kitti_flow, np.zeros((2, 2), np.uint16)),
        (labels.read_disparity, np.zeros((2, 2), np.uint8)),
        (labels.read_index_mask, np.zeros((2, 2, 3), np.uint8)),
    ],
)
def test_label_of_another_coding_is_refused_by_name(read: Reader, pixels: NDArray[Any], tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"label\.png: .*channels"):
        read(stored(tmp_path, pixels))


def test_colour_mask_stored_with_loss_has_unknown_colours(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 2, (16, 16, 1), dtype=np.uint8) * np.array([250, 3, 90], np.uint8)
    path = tmp_path / "mask.jpg"
    path.write_bytes(encode_jpeg(noise, quality=50))
    assert (labels.read_colour_mask(path, [("a", (0, 0, 0)), ("b", (250, 3, 90))]).ids == labels.NOTHING).any()


def test_table_is_read_by_its_first_line(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("frame more label\n0 x Car\n\n1  y   Van\n")
    assert labels.read_table(path, {"label": str, "frame": int}) == [
        {"label": "Car", "frame": 0},
        {"label": "Van", "frame": 1},
    ]
    path.write_text("frame label\n")
    assert labels.read_table(path, {"frame": int}) == []
    with pytest.raises(DatasetError, match=r"gone\.txt: cannot be read"):
        labels.read_table(tmp_path / "gone.txt", {})


def test_colours_of_an_empty_table_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"label\.png: the colours of its classes are not known"):
        labels.read_colour_mask(stored(tmp_path, np.zeros((2, 2, 3), np.uint8)), [])


@pytest.mark.parametrize("value", [-1, 256, 10**50])
def test_a_table_with_a_colour_that_is_none_is_refused_by_name(tmp_path: Path, value: int) -> None:
    (tmp_path / "mask.png").write_bytes(encode_png(np.zeros((2, 2, 3), np.uint8)))
    with pytest.raises(DatasetError, match=r"mask\.png: the colour of 'Car' .* 0 to 255"):
        labels.read_colour_mask(tmp_path / "mask.png", [("Sky", (0, 0, 0)), ("Car", (value, 0, 0))])
