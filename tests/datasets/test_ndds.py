"""NDDS and Falling Things: nothing but the photos is translated; rows stand before columns in boxes."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sim2real.datasets import open_dataset
from sim2real.datasets.labels import Box, Boxes, Depth, Segmentation
from sim2real.datasets.resizing import Scale
from sim2real.datasets.resizing_shapes import NDDS, NDDS_CAMERAS
from sim2real.errors import DatasetError
from tests.datasets.trees.ndds import FRAME, SETTINGS

Grow = Callable[..., Path]


def test_a_sequence_of_falling_things_is_a_stereo_pair(grow: Grow) -> None:
    frames = list(open_dataset(grow("falling-things")).frames())
    pairs = {frame.image.replace(".right.", ".left."): frame.sequence for frame in frames}
    assert len({*pairs.values()}) == len(pairs) == len(frames) / 2


@pytest.mark.parametrize(("name", "images", "labels", "aux"), [("falling-things", 8, 24, 4), ("ndds", 4, 24, 2)])
def test_only_photos_are_translated(grow: Grow, name: str, images: int, labels: int, aux: int) -> None:
    dataset = open_dataset(grow(name))
    assert dataset.roles() == {"IMAGE": images, "LABEL": labels, "AUX": aux, "PSEUDO": 0, "STALE": 0}
    assert all(sorted(frame.labels) == ["boxes", "depth", "segmentation"] for frame in dataset.frames())


@pytest.mark.parametrize(("name", "metres", "label"), [("falling-things", 1.5, "can"), ("ndds", 1.5, "box")])
def test_labels_are_what_was_written(grow: Grow, name: str, metres: float, label: str) -> None:
    for frame in open_dataset(grow(name)).frames():
        depth, classes, boxes = (frame.load_label(kind) for kind in ("depth", "segmentation", "boxes"))
        assert isinstance(depth, Depth)
        assert np.isnan(depth.metres[:12]).all()
        np.testing.assert_allclose(depth.metres[12:], metres)
        assert isinstance(classes, Segmentation)
        assert classes.names[int(classes.ids[20, 0])] == label
        assert isinstance(boxes, Boxes)
        assert boxes.boxes == (Box("can", 4, 2.5, 30.5, 20),)


@pytest.mark.parametrize("text", ["{}", '{"objects": [{}]}', '{"objects": [{"class": "can", "bounding_box": null}]}'])
def test_a_damaged_list_of_objects_is_an_error_of_its_file(grow: Grow, text: str) -> None:
    dataset = open_dataset(grow("ndds"))
    frame = next(dataset.frames())
    path = dataset.root / frame.labels["boxes"]
    path.write_text(text, "utf-8")
    with pytest.raises(DatasetError, match=rf"{path.name}: the box of an object is damaged"):
        frame.load_label("boxes")


def test_boxes_cuboids_and_cameras_change_with_the_size() -> None:
    scale = Scale((32, 24), (64, 12))
    content = json.loads(NDDS.update(json.dumps(FRAME).encode(), scale))
    thing = content["objects"][0]
    assert thing["bounding_box"] == {"top_left": [1.25, 8], "bottom_right": [10, 61]}
    assert thing["projected_cuboid"] == [[8, 1.25], [61, 10]]
    assert thing["projected_cuboid_centroid"] == [34, 5.5]
    assert content["camera_data"] == FRAME["camera_data"]
    camera = json.loads(NDDS_CAMERAS.update(json.dumps(SETTINGS).encode(), scale))["camera_settings"][0]
    assert camera["captured_image_size"] == {"width": 64, "height": 12}
    assert camera["intrinsic_settings"] == {
        "resX": 64,
        "resY": 12,
        "fx": 51,
        "fy": 12.75,
        "cx": 32,
        "cy": 6,
        "s": 0,
    }
