"""Pascal VOC: boxes from 1, void pixels, and masks in colours."""

import math
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


@pytest.mark.parametrize("line", ["road", "road:1,2", "road:0,0,256", "road:-1,0,0", "road:a,b,c", "\xff"])
def test_damaged_label_map_is_an_error_that_names_it(line: str, grow: Grow, plant: Plant) -> None:
    root = grow("voc")
    plant(root, {f"{BASE}/labelmap.txt": line.encode("latin-1")})
    with pytest.raises(DatasetError, match=r"labelmap\.txt: cannot be read as (?:a list of classes|text)"):
        next(open_dataset(root).frames()).load_label("segmentation")


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


def xml(*boxes: tuple[float, float, float, float], size: tuple[int, int] = (32, 24), more: str = "") -> str:
    edges = "<xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax>"
    objects = "".join(f"<object><name>car</name><bndbox>{edges.format(*box)}</bndbox></object>" for box in boxes)
    told = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    return f"<annotation>{more}{told}{objects}</annotation>"


def test_box_without_numbers_is_left_out_and_told(tmp_path: Path, plant: Plant) -> None:
    plant(
        tmp_path, "JPEGImages/a.jpg", {"Annotations/a.xml": xml((math.nan, 1, 9, 9), (1, 1, math.inf, 9), (2, 1, 9, 9))}
    )
    dataset = open_dataset(tmp_path)
    assert next(dataset.frames()).load_label("boxes") == Boxes((Box("car", 1, 0, 9, 9),))
    assert any("2 boxes of 1 images" in line and "Annotations/a.xml" in line for line in dataset.warnings())


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("images/a.jpg", "annotations/a.xml"),
        ("images/train/a.jpg", "labels/train/a.xml"),
        ("train/a.jpg", "train/a.xml"),
        ("a.jpg", "xml files/A.XML"),
        ("JPEGImages/a.jpg", "JPEGImages/a.xml"),
        ("JPEGImages/a.jpg", "labels/a.xml"),
    ],
)
def test_xml_files_may_lie_anywhere(image: str, label: str, tmp_path: Path, plant: Plant) -> None:
    """The last image has none; another split has images and files of the same names, and there are masks of them."""
    background = f"{image.rpartition('a')[0]}b.jpg"
    plant(tmp_path, image, background, {label: xml((1, 1, 9, 9))})
    if "train" in image:
        plant(tmp_path, image.replace("train", "val"), {label.replace("train", "val"): xml((2, 2, 9, 9))})
    else:
        plant(tmp_path, {"masks/a.png": np.zeros((24, 32), np.uint8)})
    dataset = open_dataset(tmp_path)
    assert dataset.name == "voc"
    frames = {frame.image: frame for frame in dataset.frames()}
    assert frames[image].labels == {"boxes": label}
    assert frames[image].load_label("boxes") == Boxes((Box("car", 0, 0, 9, 9),))
    assert not frames[background].labels
    assert "masks/a.png" not in frames
    if "train" in image:
        assert frames[image.replace("train", "val")].load_label("boxes") == Boxes((Box("car", 1, 1, 9, 9),))


@pytest.mark.parametrize("told", ["a b.jpg", "a b.png", "C:\\photos\\A B.JPG", "old/place/a b"])
def test_xml_files_may_tell_the_name_of_their_image(told: str, tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "images/a b.jpg", {"annotations/0007.xml": xml(more=f"<filename>{told}</filename>")})
    assert next(open_dataset(tmp_path).frames()).labels == {"boxes": "annotations/0007.xml"}


def test_xml_file_that_several_images_fit_is_given_to_none(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "a/0.jpg", "b/0.jpg", "b/1.jpg", {"xml/0.xml": xml(), "xml/1.xml": xml()})
    assert {frame.image: dict(frame.labels) for frame in open_dataset(tmp_path).frames()} == {
        "b/0.jpg": {},
        "b/1.jpg": {"boxes": "xml/1.xml"},
    }


@pytest.mark.parametrize("content", ["<annotations/>", "<annotation><object/></annotation>", "no XML", "\xff"])
def test_other_xml_files_are_not_taken_for_it(content: str, tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "images/0.jpg", {"annotations/0.xml": content})
    assert open_dataset(tmp_path).name == "images"


@pytest.mark.parametrize(("encoding", "name"), [("gb2312", "汽车"), ("GBK", "汽車"), ("utf-16", "ß"), ("cp1252", "ß")])
def test_xml_is_read_in_the_encoding_that_it_declares(encoding: str, name: str, tmp_path: Path, plant: Plant) -> None:
    text = f"<?xml version='1.0' encoding='{encoding}'?>{xml((1, 1, 9, 9))}".replace("car", name)
    plant(tmp_path, "JPEGImages/a.jpg", {"Annotations/a.xml": text.encode(encoding)})
    assert next(open_dataset(tmp_path).frames()).load_label("boxes") == Boxes((Box(name, 0, 0, 9, 9),))


@pytest.mark.parametrize("declared", ["", "hex", "nobody-knows", "undefined", "utf-8"])
def test_xml_in_no_known_encoding_is_an_error_that_names_it(declared: str, tmp_path: Path, plant: Plant) -> None:
    first = f'<?xml version="1.0" encoding="{declared}"?>' if declared else ""
    content = first.encode() + xml((1, 1, 9, 9)).replace("car", "汽车").encode("gbk")
    plant(tmp_path, "JPEGImages/a.jpg", {"Annotations/a.xml": content})
    with pytest.raises(DatasetError, match=r"a\.xml: cannot be read as XML: it"):
        next(open_dataset(tmp_path).frames()).load_label("boxes")


def test_colours_that_nobody_names_are_numbers(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "JPEGImages/a.jpg", {"SegmentationClass/a.png": np.full((24, 32, 3), (128, 0, 1), np.uint8)})
    segmentation = next(open_dataset(tmp_path).frames()).load_label("segmentation")
    assert isinstance(segmentation, Segmentation)
    assert not segmentation.names
    assert np.unique(segmentation.ids).tolist() == [128 + 65536]


def test_byte_order_mark_is_no_part_of_a_name(grow: Grow, plant: Plant) -> None:
    root = grow("voc", year="export")
    plant(root, {"export/labelmap.txt": b"\xef\xbb\xbfbackground:0,0,0::\r\nroad:0,0,255::\r\n"})
    segmentation = next(open_dataset(root).frames()).load_label("segmentation")
    assert isinstance(segmentation, Segmentation)
    assert segmentation.names == {0: "background", 1: "road"}
