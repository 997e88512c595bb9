"""Pascal VOC, and what labelling tools and simulators write in its layout."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from sim2real.datasets.base import Frame, Role
from sim2real.datasets.facts import Facts
from sim2real.datasets.labels import (
    NOTHING,
    Box,
    Boxes,
    Instances,
    Label,
    Segmentation,
    read_colour_mask,
    read_index_mask,
)
from sim2real.datasets.layout import Beside, FolderLayout
from sim2real.datasets.readers import finite, packed, read_packed_ids, remembered, telling
from sim2real.datasets.resizing import KEEP, NEAREST
from sim2real.datasets.resizing_documents import ARRAY, VOC
from sim2real.errors import DatasetError
from sim2real.imageio import read_header

_CLASSES: Final = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
_EDGES: Final = ("xmin", "ymin", "xmax", "ymax")
_VOID: Final = 255
_VOID_COLOUR: Final = (224, 224, 192)
_IMAGE: Final = r"(?P<frame>.+)\.(?:jpe?g|png|bmp|tiff?|webp)"
_MASK: Final = r"(?P<frame>.+)\.png"


class PascalVOC(FolderLayout):
    """Pascal VOC: VOCdevkit/VOC2012/{JPEGImages, Annotations, SegmentationClass, SegmentationObject, ImageSets}.

    Boxes count pixels from 1 and hold both ends: xmin = 1, xmax = W is the whole width (as facebookresearch/detectron2,
    data/datasets/pascal_voc.py, and rbgirshick/py-faster-rcnn read them). Masks are palette images: 0 background, 255
    void, objects from 1 (Everingham and Winn, "The PASCAL VOC Challenge 2012 Development Kit").
    """

    name = "voc"
    rule = "JPEGImages/<name>.jpg with Annotations, Segmentation* or ImageSets"
    images = (r"JPEGImages(?P<below>(?:/.*)?)", _IMAGE)
    evidence = ((r"(?:Annotations|SegmentationClass|SegmentationObject|ImageSets)(?:/.*)?", r".+\.(?:xml|png|txt)"),)
    labels: ClassVar[Beside] = {
        "segmentation": ("SegmentationClass{below}", _MASK),
        "instance": ("SegmentationObject{below}", _MASK),
        "boxes": ("Annotations{below}", r"(?P<frame>.+)\.xml"),
    }
    resizing = (
        (r"(?:^|/)Annotations/.+\.xml$", VOC),
        (r"(?:^|/)Segmentation(?:Class|Object)\w*/.+\.png$", NEAREST),
        (r"(?:^|/)Segmentation(?:Class|Object)\w*/.+\.npy$", ARRAY),
        (r"(?:^|/)ImageSets/|(?:^|/)labelmap\.txt$", KEEP),
    )
    roles = (
        (r"(?:^|/)Segmentation\w*(?:Visuali[sz]ation|Viz)/", Role.PSEUDO),
        (r"(?:^|/)Segmentation(?:Class|Object)\w*/.+\.(?:png|npy)$|(?:^|/)Annotations/.+\.xml$", Role.LABEL),
        (r"(?:^|/)ImageSets/|(?:^|/)labelmap\.txt$", Role.AUX),
    )
    knows_images = False
    sparse = ("segmentation", "instance")
    facts = Facts(
        title="Pascal VOC",
        about="The layout of the PASCAL Visual Object Classes challenges, which labelling tools (CVAT, labelImg, "
        "labelme) and simulators export too: an XML file of boxes for each image, and palette masks for some.",
        size="VOC2012: 17,125 JPEGs of about 500x375, 2 GB, 2913 of them with masks; VOC2007: 9963 JPEGs.",
        get="VOC2012 and VOC2007 from the [challenges' pages](http://host.robots.ox.ac.uk/pascal/VOC/); your own data "
        "as *Pascal VOC* from the tool in which it was labelled.",
        tree="VOCdevkit/VOC2012/JPEGImages/2007_000033.jpg\n"
        "VOCdevkit/VOC2012/Annotations/2007_000033.xml\n"
        "VOCdevkit/VOC2012/SegmentationClass/2007_000033.png\n"
        "VOCdevkit/VOC2012/SegmentationObject/2007_000033.png\n"
        "VOCdevkit/VOC2012/ImageSets/Main/train.txt\n"
        "labelmap.txt                                   # of CVAT and Datumaro",
        labels={
            "segmentation": "index or colour masks; 255 (void) is no class",
            "instance": "the number of the object in its image; 0 and void are none",
            "boxes": "pixels; the first pixel is 1 on disk, and both ends belong to the box",
        },
        licence="VOC's photos came from Flickr under its terms of use; your own data has yours",
        irregularities=(
            "Some tools count pixels from 0: the upper left corners of their boxes are read 1 pixel too far out.",
            "Masks in a folder VOC20xx have the names of VOC's 20 classes; `labelmap.txt` names those of others.",
            "CVAT's masks may show colours in place of indices: `labelmap.txt` tells of which class.",
            "Pictures of masks (`SegmentationClassVisualization` of labelme) are never translated.",
        ),
        folder="VOCdevkit",
    )

    def load_label(self, frame: Frame, kind: str) -> Label:
        """Decode one label."""
        path = self.root / frame.labels[kind]
        match kind:
            case "boxes":
                return _boxes(path)
            case "segmentation":
                return _segmentation(path)
            case _:
                return Instances(_object_ids(path))


def _boxes(path: Path) -> Boxes:
    try:
        annotation = ET.parse(path).getroot()  # noqa: S314  expat 2.4.1 and later refuse entity bombs
    except (OSError, ET.ParseError) as error:
        message = f"{path}: cannot be read as XML: {error}"
        raise DatasetError(message) from error
    return Boxes(tuple(_box(entry, path) for entry in annotation.iter("object") if entry.find("bndbox") is not None))


def _box(entry: ET.Element, path: Path) -> Box:
    """A box of pixels from 1 on; fractions occur since VOC2011."""
    name = (entry.findtext("name") or "").strip()
    with telling(path, f"the box of '{name}' is damaged"):
        left, top, right, bottom = (finite(entry.findtext(f"bndbox/{edge}", "")) for edge in _EDGES)
        return Box(name, max(0.0, left - 1), max(0.0, top - 1), right, bottom)


def _segmentation(path: Path) -> Segmentation:
    table = _label_map(path)
    if _is_coloured(path):
        return read_colour_mask(path, table or [(name, _colour(number)) for number, name in enumerate(_CLASSES)])
    mask = read_index_mask(path, names=[name for name, _ in table] or _names(path))
    return Segmentation(np.where(mask.ids == _VOID, np.int32(NOTHING), mask.ids), mask.names)


def _object_ids(path: Path) -> NDArray[np.int32]:
    """The indices; of a mask in colours the colours, as numbers, since nothing else tells its objects apart."""
    if not _is_coloured(path):
        ids = read_index_mask(path).ids
        return np.where((ids == 0) | (ids == _VOID), np.int32(NOTHING), ids)
    colours = read_packed_ids(path)
    return np.where((colours == 0) | (colours == packed(_VOID_COLOUR)), np.int32(NOTHING), colours)


def _is_coloured(path: Path) -> bool:
    header = read_header(path)
    return header.channels > 1 and not header.palette


def _names(path: Path) -> Sequence[str]:
    """VOC's own classes in its own folders."""
    return _CLASSES if re.search(r"/VOC20\d\d/", path.resolve().as_posix(), re.IGNORECASE) else ()


def _colour(number: int) -> tuple[int, int, int]:
    """VOC's colour of an index: its bits in turn go to red, green and blue, from the highest bit down (VOCcode)."""
    red = green = blue = 0
    for shift in range(7, -1, -1):
        red, green, blue = (c | (number >> bit & 1) << shift for bit, c in enumerate((red, green, blue)))
        number >>= 3
    return red, green, blue


def _label_map(mask: Path) -> list[tuple[str, tuple[int, int, int]]]:
    """The classes of ``labelmap.txt`` in a folder above the mask's, ``name:red,green,blue:parts:actions`` a line."""
    for folder in mask.parents[1:4]:
        if (path := folder / "labelmap.txt").is_file():
            return _read_label_map(path)
    return []


@remembered(16)
def _read_label_map(path: Path) -> list[tuple[str, tuple[int, int, int]]]:
    table = []
    try:
        for line in path.read_text("utf-8").splitlines():
            if line.strip() and not line.startswith("#"):
                name, colour, *_ = line.split(":")
                red, green, blue = map(int, colour.split(","))
                table.append((name, (red, green, blue)))
    except (OSError, ValueError) as error:
        message = f"{path}: cannot be read as a list of classes, name:red,green,blue: {error}"
        raise DatasetError(message) from error
    return table
