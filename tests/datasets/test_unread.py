"""Files that look like labels are told where no image has any."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sim2real.datasets import open_dataset
from tests.datasets.trees.common import npy
from tests.datasets.trees.kitti import KITTI_BOX
from tests.datasets.trees.voc import XML

Grow = Callable[..., Path]
Plant = Callable[..., None]


def told(root: Path) -> list[str]:
    dataset = open_dataset(root)
    assert dataset.name == "images"
    return [line for line in dataset.warnings() if "look like labels" in line]


@pytest.mark.parametrize(
    ("path", "content", "words"),
    [
        (
            "boxes/z.xml",
            XML.replace("{name}", "z"),
            "Pascal VOC boxes, which the layout 'voc' reads, but no image has the name",
        ),
        ("any.xml", "<tracklets/>", "XML"),
        (
            "rows/a.txt",
            "0 0.5 0.5 0.1 0.1\n",
            "YOLO rows, which the layout 'yolo' reads, but they are neither next to images",
        ),
        (
            "rows/a.txt",
            f"{KITTI_BOX}\n",
            "KITTI boxes, which the layout 'kitti-object' reads, but they are not in `label_2`",
        ),
        ("rows/a.txt", "1 1 9 1 9 9 1 9 small-vehicle 0\n", "rotated boxes, as in DOTA"),
        ("rows/a.txt", "1,2,30,40\n", "rows of numbers"),
        (
            "a.json",
            json.dumps({"images": [{"id": 1, "file_name": "q.jpg"}]}),
            "none of the 1 images that this one names",
        ),
        ("a.json", '{"shapes": [], "version": 5}', "LabelMe outlines"),
        ("a.json", "[1, 2]", "JSON"),
        ("a.yaml", "names: [car]", "YOLO class names, which the layout 'yolo' reads, but no image has a text file"),
        ("a.yml", "objects: [car]", "YAML"),
        ("a.csv", "filename,xmin,ymin,xmax,ymax,class\n", "a table of labels"),
        ("depth/a.npy", npy(np.zeros(3)), ".npy arrays"),
    ],
)
def test_files_that_look_like_labels_are_told(
    path: str, content: str | bytes, words: str, tmp_path: Path, plant: Plant
) -> None:
    plant(tmp_path, "photos/a.jpg", {path: content})
    (line,) = told(tmp_path)
    assert line.startswith(f"1 files look like labels and are only carried, e.g. {path}: ")
    assert words in line


def test_other_files_are_not_told(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "a.jpg", {"README.txt": "1 2 3", "LICENSE": "x", "notes.txt": "3 times", "train.txt": "a.jpg\n"})
    plant(tmp_path, {"metadata.csv": "file_name,label\n", "requirements.txt": "1 2", "empty.xml": "", "a.bin": b"x"})
    assert not told(tmp_path)


def test_files_are_counted_by_what_they_are(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "photos/0.jpg", {f"rows/{n}.txt": KITTI_BOX for n in range(100)})
    plant(tmp_path, {"tables/0.json": '{"shapes": 1}', "tables/1.json": "{}"})
    assert [line.partition(" files")[0] for line in told(tmp_path)] == ["100", "1", "1"]


def test_layouts_without_labels_tell_them_too(grow: Grow, plant: Plant) -> None:
    root = grow("cyclegan")
    plant(root, {"boxes.json": "{}"})
    assert any("look like labels" in line and "boxes.json" in line for line in open_dataset(root).warnings())


def test_files_of_whole_sequences_miss_no_image(layout: tuple[str, Path]) -> None:
    _, root = layout
    assert not any("belong to no image" in line for line in open_dataset(root).warnings())


@pytest.mark.parametrize(
    ("layout", "path"), [("yolo", "labels/train/lost.txt"), ("voc", "VOCdevkit/VOC2012/Annotations/lost.xml")]
)
def test_label_files_without_an_image_are_told(layout: str, path: str, grow: Grow, plant: Plant) -> None:
    root = grow(layout)
    assert not any("belong to no image" in line for line in open_dataset(root).warnings())
    plant(root, {path: "0 .5 .5 .1 .1" if layout == "yolo" else XML})
    assert f"1 label files belong to no image, e.g. {path}" in open_dataset(root).warnings()
