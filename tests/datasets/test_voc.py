"""Pascal VOC: boxes from 1, void pixels, and masks in colours."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sim2real.datasets import Role, open_dataset
from sim2real.datasets.labels import Box, Boxes, Instances, Segmentation
from sim2real.errors import DatasetError
from tests.datasets.trees.common import raw_png

Grow = Callable[..., Path]
Plant = Callable[..., None]

BASE = "VOCdevkit/VOC2012"


def test_labels_of_a_frame(grow: Grow) -> None:
    frames = list(open_dataset(grow("voc")).frames())
    assert [list(frame.labels) for frame in frames] == [["segmentation", "instance", "boxes"], ["boxes"]]
    boxes, segmentation, instances = (frames[0].load_label(kind) for kind in ("boxes", "segmentation", "instance"))
    assert isinstance(boxes, Boxes)
    assert boxes.boxes == (Box("dog", 0, 0, 32, 24), Box("person", 2, 4, 10.5, 6))
    assert isinstance(segmentation, Segmentation)
    assert [int(segmentation.ids[y, 1]) for y in (0, 1, 22, 23)] == [-1, 0, 12, -1]
    assert (segmentation.names[0], segmentation.names[12]) == ("background", "dog")
    assert isinstance(instances, Instances)
    assert [int(instances.ids[y, 1]) for y in (0, 1, 22, 23)] == [-1, -1, 1, -1]


def test_roles(grow: Grow, plant: Plant) -> None:
    root = grow("voc")
    plant(root, f"{BASE}/SegmentationClassVisualization/2007_000000.jpg", {f"{BASE}/SegmentationClass/x.npy": b"x"})
    dataset = open_dataset(root)
    files = dict(dataset.files())
    assert files[f"{BASE}/SegmentationClassVisualization/2007_000000.jpg"] is Role.PSEUDO
    assert files[f"{BASE}/SegmentationClass/x.npy"] is Role.LABEL
    assert files[f"{BASE}/ImageSets/Main/train.txt"] is Role.AUX
    assert not any("have no segmentation" in line for line in dataset.warnings())


@pytest.mark.parametrize("part", ["VOCdevkit", BASE])
def test_layout_is_known_from_inside_with_its_names(part: str, grow: Grow) -> None:
    frame = next(open_dataset(grow("voc") / part).frames())
    segmentation = frame.load_label("segmentation")
    assert isinstance(segmentation, Segmentation)
    assert segmentation.names[15] == "person"


def test_folders_in_other_case_and_below_each_other(tmp_path: Path, plant: Plant) -> None:
    xml = "<annotation><object><name>a</name><bndbox><xmin>0</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox>"
    plant(tmp_path, "jpegimages/town 1/0.png", {"annotations/town 1/0.XML": f"{xml}</object></annotation>"})
    dataset = open_dataset(tmp_path)
    assert dataset.name == "voc"
    boxes = next(dataset.frames()).load_label("boxes")
    assert boxes == Boxes((Box("a", 0, 1, 3, 4),))


def test_label_map_names_indices_and_colours(grow: Grow, plant: Plant) -> None:
    root = grow("voc", year="export")
    first = next(open_dataset(root).frames())
    indices = first.load_label("segmentation")
    assert isinstance(indices, Segmentation)
    assert not indices.names  # those of VOC would be guessed
    colours = np.full((24, 32, 3), (0, 0, 255), np.uint8)
    colours[:12] = (9, 9, 9)
    plant(
        root,
        {
            "export/labelmap.txt": "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:0,0,255::\n",
            "export/SegmentationClass/2007_000000.png": raw_png(colours),
            "export/SegmentationObject/2007_000000.png": raw_png(colours),
        },
    )
    segmentation, instances = first.load_label("segmentation"), first.load_label("instance")
    assert isinstance(segmentation, Segmentation)
    assert segmentation.names == {0: "background", 1: "road"}
    assert (segmentation.ids[0, 0], segmentation.ids[23, 0]) == (-1, 1)
    assert isinstance(instances, Instances)
    assert instances.ids[0, 0] != instances.ids[23, 0]
    assert (instances.ids >= 0).all()


def test_colours_without_a_label_map_are_those_of_voc(grow: Grow, plant: Plant) -> None:
    root = grow("voc")
    colours = np.full((24, 32, 3), (192, 128, 0), np.uint8)
    colours[:12] = (224, 224, 192)
    plant(root, {f"{BASE}/Segmentation{kind}/2007_000000.png": raw_png(colours) for kind in ("Class", "Object")})
    frame = next(open_dataset(root).frames())
    segmentation, instances = frame.load_label("segmentation"), frame.load_label("instance")
    assert isinstance(segmentation, Segmentation)
    assert (segmentation.ids[0, 0], segmentation.names[int(segmentation.ids[23, 0])]) == (-1, "diningtable")
    assert isinstance(instances, Instances)
    assert (instances.ids[0, 0] == -1, instances.ids[23, 0] >= 0) == (True, True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<annotation>", r"2007_000000\.xml: cannot be read as XML"),
        (
            "<annotation><object><name>cat</name><bndbox><xmin>1</xmin></bndbox></object></annotation>",
            r"2007_000000\.xml: the box of 'cat' is damaged",
        ),
    ],
)
def test_damaged_boxes_are_an_error_that_names_the_file(content: str, message: str, grow: Grow, plant: Plant) -> None:
    root = grow("voc")
    plant(root, {f"{BASE}/Annotations/2007_000000.xml": content})
    with pytest.raises(DatasetError, match=message):
        next(open_dataset(root).frames()).load_label("boxes")


def test_damaged_label_map_is_an_error_that_names_it(grow: Grow, plant: Plant) -> None:
    root = grow("voc")
    plant(root, {f"{BASE}/labelmap.txt": "road\n"})
    with pytest.raises(DatasetError, match=r"labelmap\.txt: cannot be read as a list of classes"):
        next(open_dataset(root).frames()).load_label("segmentation")


def test_box_without_numbers_is_refused(tmp_path: Path, plant: Plant) -> None:
    edges = "<xmin>nan</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax>"
    plant(tmp_path, "JPEGImages/a.jpg")
    plant(tmp_path, {"Annotations/a.xml": f"<a><object><name>car</name><bndbox>{edges}</bndbox></object></a>"})
    with pytest.raises(DatasetError, match="'car' is damaged: nan is no number"):
        next(open_dataset(tmp_path).frames()).load_label("boxes")
