from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sim2real.datasets.inputs import (
    KINDS,
    VECTORS,
    as_input,
    cut_input,
    label_in_window,
    scale_input,
    unknown_motion,
)
from sim2real.datasets.labels import (
    Box,
    Boxes,
    Depth,
    Disparity,
    Distance,
    Flow,
    Instances,
    Label,
    SceneFlow,
    Segmentation,
)
from sim2real.datasets.resizing import Scale
from sim2real.datasets.vocabulary import Vocabulary
from sim2real.imageio import encode_jpeg, read_scaled, scaled_part

NAN = float("nan")
CLASSES = Vocabulary(["sky", "car"])
ONES = np.ones((2, 3), np.float32)
LABELS: dict[str, Label] = {
    "segmentation": Segmentation(np.array([[0, 1, -1], [1, 1, 0]], np.int32), {0: "car", 1: "sky"}),
    "instance": Instances(np.array([[0, 1, -1], [1, 1, 0]], np.int32)),
    "boxes": Boxes((Box("car", 0, 0, 2, 1),)),
    "depth": Depth(np.array([[1, NAN, np.inf], [2, 3, 4]], np.float32)),
    "distance": Distance(2 * ONES),
    "disparity": Disparity(3 * ONES),
    "flow": Flow(np.stack([4 * ONES, 6 * ONES], -1), np.array([[1, 0, 1], [1, 1, 1]], bool)),
    "backward_flow": Flow(np.stack([4 * ONES, 6 * ONES], -1), np.ones((2, 3), bool)),
    "scene_flow": SceneFlow(np.where(np.eye(2, 3)[..., None], NAN, [1, 2, 3]).astype(np.float32)),
    "backward_scene_flow": SceneFlow(np.ones((2, 3, 3), np.float32)),
}


def test_every_kind_has_its_form() -> None:
    assert LABELS.keys() == KINDS.keys() - {"translation"}  # which is no label of a dataset
    for kind, label in LABELS.items():
        values, form = as_input(label, CLASSES, (3, 2)), KINDS[kind]
        assert values.dtype == form.dtype
        assert values.shape == ((2, 3) if form.channels is None else (form.channels, 2, 3))
        assert np.isfinite(values).all()
    assert as_input(LABELS["segmentation"], CLASSES, (3, 2)).tolist() == [[1, 0, -1], [0, 0, 1]]
    assert as_input(LABELS["boxes"], CLASSES, (3, 2)).tolist() == [[1, 1, -1], [-1, -1, -1]]
    assert as_input(LABELS["depth"], CLASSES, (3, 2)).tolist() == [[[1, 0, 0], [2, 3, 4]]]
    assert as_input(LABELS["flow"], CLASSES, (3, 2))[:, 0].tolist() == [[4, 0, 4], [6, 0, 6], [1, 0, 1]]
    assert as_input(LABELS["scene_flow"], CLASSES, (3, 2))[:, 0].tolist() == [
        [0, 1, 1],
        [0, 2, 2],
        [0, 3, 3],
        [0, 1, 1],
    ]


def test_vectors_and_disparities_grow_with_the_image_and_ids_and_metres_do_not() -> None:
    scale = Scale((3, 2), (6, 6))
    for kind, factors in {"flow": (2, 3, 1), "disparity": (2,), "depth": (1,), "scene_flow": (1, 1, 1, 1)}.items():
        before = as_input(LABELS[kind], CLASSES, (3, 2))
        after = scale_input(before, kind, scale)
        assert after.shape == (*before.shape[:-2], 6, 6)
        assert np.array_equal(after[:, 1, 4], before[:, 0, 2] * factors)
    assert scale_input(as_input(LABELS["instance"], CLASSES, (3, 2)), "instance", scale)[0].tolist() == [
        0,
        0,
        1,
        1,
        -1,
        -1,
    ]


def test_what_is_mirrored_points_the_other_way() -> None:
    rows, columns = np.array([1, 0]), np.array([2, 1, 0])
    flow = as_input(LABELS["backward_flow"], CLASSES, (3, 2))
    assert cut_input(flow, "backward_flow", rows, columns)[:, 0, 0].tolist() == [-4, -6, 1]
    assert cut_input(flow, "backward_flow", rows[::-1], columns)[:, 0, 0].tolist() == [-4, 6, 1]
    scene = as_input(LABELS["backward_scene_flow"], CLASSES, (3, 2))
    assert cut_input(scene, "backward_scene_flow", rows[::-1], columns)[:, 0, 0].tolist() == [-1, 1, 1, 1]
    assert cut_input(flow, "depth", rows, columns)[:, 0, 0].tolist() == [4, 6, 1]
    assert flow[0, 0, 0] == 4, "the whole stays as it was"


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos that are black on the left and above, white on the right and below."""
    folder = tmp_path_factory.mktemp("steps")
    for width, height in SIZES:
        photo = np.repeat(step(width, height)[..., None] * np.uint8(255), 3, -1)
        (folder / f"{width}x{height}.jpg").write_bytes(encode_jpeg(photo, quality=100))
    return folder


SIZES = ((41, 23), (61, 37), (160, 96), (163, 101))


def step(width: int, height: int) -> NDArray[np.uint8]:
    ids = np.zeros((height, width), np.uint8)
    ids[height * 3 // 8 :, width * 5 // 8 :] = 1
    return ids


@given(size=st.sampled_from(SIZES), width=st.integers(8, 120), height=st.integers(8, 80))
def test_a_reduced_jpeg_and_its_mask_show_the_same(steps: Path, size: tuple[int, int], width: int, height: int) -> None:
    target = min(width, size[0]), min(height, size[1])
    path = steps / f"{size[0]}x{size[1]}.jpg"
    part = scaled_part(path, lambda *_: target)
    assert size[0] - 8 < part[0] <= size[0]
    assert size[1] - 8 < part[1] <= size[1]
    mask = scale_input(step(*size).astype(np.int64), "segmentation", Scale(part, target))
    light = read_scaled(path, lambda *_: target)[..., 0] / 255.0
    for axis in (0, 1):  # where the edge is, by the white there is on it
        assert abs(light.sum(axis).max() - mask.sum(axis).max()) <= 0.75


def test_labels_in_a_window_are_what_their_arrays_are_there() -> None:
    scale, rows = Scale((3, 2), (6, 4)), np.array([3, 2, 1])
    for columns in (np.array([1, 2, 3, 4]), np.array([4, 3, 2, 1])):
        for kind, label in LABELS.items():
            if kind == "boxes":
                continue
            there = label_in_window(label, scale, rows, columns)
            assert type(there) is type(label)
            expected = cut_input(scale_input(as_input(label, CLASSES, (3, 2)), kind, scale), kind, rows, columns)
            assert np.array_equal(as_input(there, CLASSES, (4, 3)), expected), kind


def test_boxes_in_a_window_are_moved_cut_off_and_mirrored() -> None:
    scale, rows = Scale((10, 10), (20, 10)), np.arange(2, 8)
    boxes = Boxes((Box("car", 1, 1, 4, 5, track=7), Box("sky", 9, 9, 10, 10)))
    straight = label_in_window(boxes, scale, rows, np.arange(4, 16))
    mirrored = label_in_window(boxes, scale, rows, np.arange(4, 16)[::-1])
    assert straight == Boxes((Box("car", 0, 0, 4, 3, track=7),))
    assert mirrored == Boxes((Box("car", 8, 0, 12, 3, track=7),))


def test_labels_of_other_types_and_flow_without_numbers_harm_no_training() -> None:
    """As plugins' layouts may give them."""
    depth = as_input(Depth(np.array([[1, NAN]])), CLASSES, (2, 1))  # float64
    assert depth.dtype == np.float32
    assert depth.tolist() == [[[1, 0]]]
    uv = np.array([[[1, 2], [NAN, 2]]], np.float32)
    assert as_input(Flow(uv, np.ones((1, 2), bool)), CLASSES, (2, 1)).tolist() == [[[1, 0]], [[2, 0]], [[1, 0]]]


@pytest.mark.parametrize("kind", sorted(VECTORS))
def test_unknown_motion_has_the_form_of_its_kind_and_is_known_nowhere(kind: str) -> None:
    values = unknown_motion(kind, (5, 4))
    assert values.shape == (KINDS[kind].channels, 4, 5)
    assert values.dtype == KINDS[kind].dtype
    assert not values.any()
