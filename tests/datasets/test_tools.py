"""CVAT and CreateML: shapes are labels, at any size, and all else of their files stays as it is."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sim2real.datasets import Role, open_dataset
from sim2real.datasets.labels import Box, Boxes, Instances, Segmentation
from sim2real.datasets.resizing import Scale
from sim2real.datasets.resizing_shapes import CREATEML, CVAT
from sim2real.errors import DatasetError
from tests.datasets.trees.tools import boxes, cvat_document

Grow = Callable[..., Path]
Plant = Callable[..., None]


def edges(label: object) -> list[tuple[str, float, float, float, float]]:
    assert isinstance(label, Boxes)
    return [(box.label, box.left, box.top, box.right, box.bottom) for box in label.boxes]


# CVAT


def test_shapes_of_cvat_are_boxes_classes_and_objects(grow: Grow) -> None:
    frame = next(open_dataset(grow("cvat")).frames())
    assert edges(frame.load_label("boxes")) == [
        ("street", 0, 12, 32, 24),
        ("sun", 20, 4, 28, 8),
        ("car", 4, 6.5, 14, 10),
        ("car", 10, 15, 13, 17),
    ]
    classes, instances = frame.load_label("segmentation"), frame.load_label("instance")
    assert isinstance(classes, Segmentation)
    assert dict(classes.names) == {0: "street", 1: "car", 2: "sun"}
    y, x = np.mgrid[:24, :32] + 0.5
    wanted = np.where(y > 12, 0, -1)
    wanted[((x - 24) / 4) ** 2 + ((y - 6) / 2) ** 2 < 1] = 2
    wanted[15, 11:13] = 1  # one pixel outside, two inside, three outside, along the rows
    assert np.array_equal(classes.ids, wanted)
    assert isinstance(instances, Instances)
    assert np.array_equal(instances.ids == 2, wanted == 1)


def test_a_turned_box_is_around_its_corners(grow: Grow) -> None:
    shape = '    <box label="car" xtl="10" ytl="10" xbr="18" ybr="14" rotation="90.00" z_order="0">\n    </box>\n'
    frame = next(open_dataset(grow("cvat", shapes=shape)).frames())
    assert list(frame.labels) == ["boxes"]
    ((label, *found),) = edges(frame.load_label("boxes"))
    assert label == "car"
    np.testing.assert_allclose(found, (12, 8, 16, 16), atol=1e-9)


@pytest.mark.parametrize("place", ["images/", "", "elsewhere/deep/"])
def test_images_of_cvat_are_found_wherever_they_lie(grow: Grow, place: str) -> None:
    dataset = open_dataset(grow("cvat", place=place))
    assert [frame.image for frame in dataset.frames()] == [f"{place}town/000{number}.jpg" for number in range(2)]
    assert dataset.roles() == {"IMAGE": 2, "LABEL": 1, "AUX": 0, "PSEUDO": 0, "STALE": 0}


def test_images_that_are_not_there_and_wrong_sizes_are_told(grow: Grow, plant: Plant) -> None:
    root = grow("cvat")
    plant(root, {"annotations.xml": cvat_document(["town/0000.jpg", "town/0009.jpg"], width=40)})
    dataset = open_dataset(root)
    assert any(
        "1 images that XML files of CVAT name are not there, e.g. town/0009.jpg" in line for line in dataset.warnings()
    )
    with pytest.raises(DatasetError, match=r"it is 32x24, which is no scale of the 40x24"):
        next(dataset.frames()).load_label("boxes")


@pytest.mark.parametrize(
    "shape",
    [
        '<box label="a" xtl="nan" ytl="0" xbr="1" ybr="1"/>',
        '<box label="a" xtl="1"/>',
        '<polygon label="a" points="1,2;3,4"/>',
        '<polygon label="a" points="1,2;3,4;5"/>',
        '<mask label="a" rle="1, 2" left="0" top="0" width="3" height="2"/>',
    ],
)
def test_damaged_shapes_of_cvat_are_told_of_the_file(grow: Grow, shape: str) -> None:
    with pytest.raises(DatasetError, match=r"annotations\.xml: its entry for town/0000\.jpg is damaged"):
        next(open_dataset(grow("cvat", shapes=shape)).frames()).load_label("boxes")


def test_shapes_of_cvat_change_with_the_size_and_nothing_else_does(grow: Grow) -> None:
    text = cvat_document(["town/0000.jpg", "town/0001.jpg"])
    doubled = CVAT.update(text.encode(), Scale((0, 0), (64, 48))).decode()
    numbers = re.compile(r"-?\d+(?:\.\d+)?")
    assert numbers.sub("#", doubled).replace(", #", "") == numbers.sub("#", text).replace(", #", "")
    assert 'width="64" height="48"' in doubled
    assert 'xtl="8" ytl="13" xbr="28" ybr="20"' in doubled
    assert 'points="0,24;64,24;64,48;0,48"' in doubled
    assert 'cx="48" cy="12" rx="8" ry="4"' in doubled
    assert 'rle="0, 4, 0, 4' not in doubled
    assert 'left="22" top="30" width="4" height="2"' in doubled  # the two pixels that are inside
    turned = text.replace('xtl="4.00"', 'rotation="5" xtl="4.00"')
    with pytest.raises(ValueError, match="a turned box cannot be described"):
        CVAT.update(turned.encode(), Scale((0, 0), (64, 24)))


# CreateML


def test_boxes_of_createml_are_told_by_their_middle(grow: Grow) -> None:
    dataset = open_dataset(grow("createml"))
    assert dataset.roles() == {"IMAGE": 4, "LABEL": 2, "AUX": 1, "PSEUDO": 0, "STALE": 0}
    for frame in dataset.frames():
        label = frame.load_label("boxes")
        assert isinstance(label, Boxes)
        assert label.boxes == (Box("a", 6, 5, 10, 8), Box("b", 0, 0, 32, 24))


def test_the_newer_names_of_createml_are_read(grow: Grow, plant: Plant) -> None:
    root = grow("createml")
    for split in ("train", "valid"):
        (root / f"{split}/_annotations.createml.json").unlink()
    entry = boxes("train_0_jpg.rf.0a1b2c.jpg", "imagefilename", "annotation")
    plant(root, {"train/annotations.json": json.dumps([entry])})
    dataset = open_dataset(root, "createml")
    assert [edges(frame.load_label("boxes"))[0] for frame in dataset.frames()] == [("a", 6, 5, 10, 8)]
    assert dict(dataset.files())["train/annotations.json"] is Role.LABEL


def test_boxes_of_createml_change_with_the_size() -> None:
    content = json.loads(CREATEML.update(json.dumps([boxes("a.jpg")]).encode(), Scale((32, 24), (64, 12))))
    assert content[0]["annotations"][0]["coordinates"] == {"x": 16, "y": 3.25, "width": 8, "height": 1.5}


@pytest.mark.parametrize("entry", [{"label": "a"}, {"label": "a", "coordinates": {"x": 1}}, {"coordinates": None}])
def test_damaged_boxes_of_createml_are_told_of_the_file(grow: Grow, plant: Plant, entry: dict[str, object]) -> None:
    root = grow("createml")
    content = [boxes("train_1_jpg.rf.0a1b2c.jpg"), {"image": "train_0_jpg.rf.0a1b2c.jpg", "annotations": [entry]}]
    plant(root, {"train/_annotations.createml.json": json.dumps(content)})
    with pytest.raises(DatasetError, match=r"createml\.json: the boxes of train_0"):
        next(open_dataset(root).frames()).load_label("boxes")
