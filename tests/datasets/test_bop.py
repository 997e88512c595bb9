"""BOP: depth has the scale of its file, masks of a frame make one label, boxes count their last pixels."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sim2real.datasets import open_dataset
from sim2real.datasets.labels import Box, Boxes, Depth, Instances, Segmentation
from sim2real.datasets.resizing import Scale
from sim2real.datasets.resizing_shapes import BOP_CAMERA, BOP_CAMERAS, BOP_OBJECTS
from sim2real.errors import DatasetError
from tests.datasets.trees.bop import MATRIX

Grow = Callable[..., Path]


def test_masks_and_depth_are_no_photos(grow: Grow) -> None:
    dataset = open_dataset(grow("bop"))
    assert dataset.roles() == {"IMAGE": 4, "LABEL": 34, "AUX": 2, "PSEUDO": 0, "STALE": 0}
    assert [frame.image for frame in dataset.frames()][:2] == [
        "test/000001/gray/000000.png",
        "test/000001/gray/000001.png",
    ]


def test_labels_are_what_was_written(grow: Grow) -> None:
    frame = list(open_dataset(grow("bop")).frames())[3]
    assert frame.image == "train_pbr/000000/rgb/000001.jpg"
    depth, instances, classes, boxes = map(frame.load_label, ("depth", "instance", "segmentation", "boxes"))
    assert isinstance(depth, Depth)
    assert np.isnan(depth.metres[0]).all()
    np.testing.assert_allclose(depth.metres[1:], 0.8001)
    places = np.full((24, 32), -1)
    places[6:10, 4:14] = 0
    places[:, 20:] = 1
    assert isinstance(instances, Instances)
    assert np.array_equal(instances.ids, places)
    assert isinstance(classes, Segmentation)
    assert np.array_equal(classes.ids, np.array([5, 22, -1])[places])
    assert classes.names[22] == "obj_000022"
    assert isinstance(boxes, Boxes)
    assert boxes.boxes == (Box("obj_000005", 4, 6, 14, 10), Box("obj_000022", 20, 0, 32, 24))


@pytest.mark.parametrize("name", ["scene_camera.json", "scene_gt.json", "scene_gt_info.json"])
def test_what_a_file_does_not_tell_is_said(grow: Grow, plant: Callable[..., None], name: str) -> None:
    root = grow("bop")
    plant(root, {f"test/000001/{name}": json.dumps({"7": []})})
    frame = next(open_dataset(root).frames())
    kind = {"scene_camera.json": "depth", "scene_gt.json": "instance", "scene_gt_info.json": "boxes"}[name]
    with pytest.raises(DatasetError, match=name):
        frame.load_label(kind)


def test_cameras_and_boxes_change_with_the_size() -> None:
    scale = Scale((32, 24), (64, 12))
    content = json.loads(BOP_CAMERAS.update(json.dumps({"3": {"cam_K": MATRIX, "depth_scale": 0.1}}).encode(), scale))
    assert content == {"3": {"cam_K": [50, 0, 31.5, 0, 12, 5.375, 0, 0, 1], "depth_scale": 0.1}}
    camera = {"cx": 15.5, "cy": 11.25, "depth_scale": 0.1, "fx": 25.0, "fy": 24.0, "height": 24, "width": 32}
    wanted = {"cx": 31.5, "cy": 5.375, "depth_scale": 0.1, "fx": 50, "fy": 12, "height": 12, "width": 64}
    assert json.loads(BOP_CAMERA.update(json.dumps(camera).encode(), scale)) == wanted
    entry = {"bbox_obj": [4, 6, 9, 3], "bbox_visib": [-1, -1, -1, -1], "px_count_all": 40, "visib_fract": 0.5}
    content = json.loads(BOP_OBJECTS.update(json.dumps({"3": [entry]}).encode(), scale))
    assert content == {"3": [{**entry, "bbox_obj": [8, 3, 19, 1], "px_count_all": 40}]}
