"""Pascal VOC, and its variants that labelling tools and simulators write."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from sim2real.datasets.base import Frame, Match, Role, Tree
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
    read_text,
)
from sim2real.datasets.layout import Beside, FolderLayout
from sim2real.datasets.partners import evenly, images_around, partners
from sim2real.datasets.readers import errors_in, packed, read_head, read_packed_ids, reading, remembered
from sim2real.datasets.resizing import KEEP, NEAREST
from sim2real.datasets.resizing_documents import ARRAY, VOC
from sim2real.datasets.xmlfiles import read_xml, voc_size
from sim2real.errors import DatasetError
from sim2real.imageio import ANY_SUFFIX, is_image, read_header

if TYPE_CHECKING:
    from xml.etree import ElementTree as ET

_CLASSES: Final = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
_EDGES: Final = ("xmin", "ymin", "xmax", "ymax")
_VOID: Final = 255
_VOID_COLOUR: Final = (224, 224, 192)
_IMAGE: Final = rf"(?P<frame>.+){ANY_SUFFIX}"
_MASK: Final = r"(?P<frame>.+)\.png"
_ROOT: Final = re.compile(rb"<annotation[\s>]")
_OWN: Final = re.compile(rb"<bndbox>|<size>|<segmented>")
_LOOKED_AT: Final = 64


class PascalVOC(FolderLayout):
    """Pascal VOC: VOCdevkit/VOC2012/{JPEGImages, Annotations, SegmentationClass, SegmentationObject, ImageSets}.

    Some tools write the XML files elsewhere: next to the images, or in any folder. They belong to the images with their
    own file name or with the name in their ``<filename>``.

    Boxes count pixels from 1 and include both ends: xmin = 1, xmax = W is the whole width (as read by
    facebookresearch/detectron2, data/datasets/pascal_voc.py, and rbgirshick/py-faster-rcnn). Masks are palette images:
    0 is background, 255 is void, objects count from 1 (Everingham and Winn, "The PASCAL VOC Challenge 2012 Development
    Kit").
    """

    name = "voc"
    rule = "JPEGImages/<name>.jpg with Annotations, Segmentation* or ImageSets"
    ordered: ClassVar[bool] = False
    images = (r"JPEGImages(?P<below>(?:/.*)?)", _IMAGE)
    evidence = ((r"(?:Annotations|SegmentationClass|SegmentationObject|ImageSets)(?:/.*)?", r".+\.(?:xml|png|txt)"),)
    labels: ClassVar[Beside] = {
        "segmentation": ("SegmentationClass{below}", _MASK),
        "instance": ("SegmentationObject{below}", _MASK),
        "boxes": ("Annotations{below}", r"(?P<frame>.+)\.xml"),
    }
    resizing = (
        (r"\.xml$", VOC),
        (r"(?:^|/)Segmentation(?:Class|Object)\w*/.+\.png$", NEAREST),
        (r"(?:^|/)Segmentation(?:Class|Object)\w*/.+\.npy$", ARRAY),
        (r"(?:^|/)ImageSets/|(?:^|/)labelmap\.txt$", KEEP),
    )
    roles = (
        (r"(?:^|/)Segmentation\w*(?:Visuali[sz]ation|Viz)/", Role.PSEUDO),
        (r"(?:^|/)Segmentation(?:Class|Object)\w*/.+\.(?:png|npy)$|\.xml$", Role.LABEL),
        (r"(?:^|/)ImageSets/|(?:^|/)labelmap\.txt$", Role.AUX),
    )
    knows_images = False
    sparse = ("segmentation", "instance")
    paired = "XML files in VOC's format and images of the same names"
    facts = Facts(
        title="Pascal VOC",
        about="The layout of the PASCAL Visual Object Classes challenges, also exported by labelling tools (CVAT, "
        "labelImg, labelme) and simulators: an XML file of boxes for each image, and palette masks for some.",
        size="VOC2012: 17,125 JPEGs of about 500x375, 2 GB, 2913 of them with masks; VOC2007: 9963 JPEGs.",
        get="VOC2012 and VOC2007 from the [challenges' pages](http://host.robots.ox.ac.uk/pascal/VOC/), or an export "
        "as *Pascal VOC* from your labelling tool.",
        tree="VOCdevkit/VOC2012/JPEGImages/2007_000033.jpg\n"
        "VOCdevkit/VOC2012/Annotations/2007_000033.xml\n"
        "VOCdevkit/VOC2012/SegmentationClass/2007_000033.png\n"
        "VOCdevkit/VOC2012/SegmentationObject/2007_000033.png\n"
        "VOCdevkit/VOC2012/ImageSets/Main/train.txt\n"
        "labelmap.txt                                   # from CVAT and Datumaro\n"
        "{images/train,annotations/train}/0001.{jpg,xml}  # or both in one folder, as from Roboflow",
        labels={
            "segmentation": "index or colour masks; 255 (void) is no class",
            "instance": "the number of the object in its image; 0 and void are no object",
            "boxes": "pixels; the first pixel is 1 on disk, and both ends belong to the box",
        },
        licence="VOC's photos came from Flickr under its terms of use; your own data keeps its own licence",
        irregularities=(
            "Some tools count pixels from 0: the upper left corners of their boxes are read 1 pixel too far out.",
            "Masks in a folder VOC20xx use the names of VOC's 20 classes; other masks use those of `labelmap.txt`.",
            "CVAT's masks may use colours instead of indices: `labelmap.txt` assigns them to classes.",
            "Without such a table, outside of VOC20xx, colours become nameless ids, R + 256 G + 65536 B.",
            "If `<size>` differs from the size of the image, boxes are read and resized as pixels of `<size>`.",
            "XML files are read in the encoding that they declare.",
            "Pictures of masks (`SegmentationClassVisualization` of labelme) are never translated.",
        ),
        folder="VOCdevkit",
    )

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Match JPEGImages and one of its sibling folders, or XML files of boxes and images of the same names."""
        if match := super().recognise(tree):
            return match
        images = sum(1 for _ in images_around(tree, pairs)) if (pairs := _pairs(tree, _every_image(tree))) else 0
        return Match(cls.paired, images) if images else None

    def frames(self, tree: Tree) -> Iterator[Frame]:
        """Yield every image of JPEGImages or, if there are none, images with XML files and others in their folders."""
        if next(tree.find(*self.images), None) is None:
            pairs = _pairs(tree, _every_image(tree))
            for index, image in enumerate(images_around(tree, pairs)):
                labels = {"boxes": pairs.get(image, "")}
                yield Frame(image, sequence=image.rpartition("/")[0], index=index, labels=labels)
            return
        pairs = _pairs(tree, super().frames(tree))
        for frame in super().frames(tree):
            boxes = frame.labels.get("boxes") or pairs.get(frame.image, "")
            yield replace(frame, labels={**frame.labels, "boxes": boxes})

    def declared_size(self, frame: Frame, kind: str) -> tuple[int, int] | None:
        """Return the size of the image that its XML file states, or None."""
        return voc_size(read_xml(self.root / frame.labels[kind])) if kind == "boxes" else None

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


_PAIRS: Final[WeakKeyDictionary[Tree, Mapping[str, str]]] = WeakKeyDictionary()


def _pairs(tree: Tree, frames: Iterable[Frame]) -> Mapping[str, str]:
    """Return the XML files for images without one; cached, since recognition is followed by listing."""
    if tree not in _PAIRS:
        files = [path for path in tree if path.lower().endswith(".xml")]
        looked_at = evenly(files, _LOOKED_AT)
        if 2 * sum(is_annotation(read_head(tree.root / path)) for path in looked_at) < len(looked_at):
            files = []
        taken, without = set(), []
        for frame in frames if files else ():
            if boxes := frame.labels.get("boxes"):
                taken.add(boxes)
            else:
                without.append(frame.image)
        _PAIRS[tree] = partners(without, [file for file in files if file not in taken], partial(_declared_name, tree))
    return _PAIRS[tree]


def _every_image(tree: Tree) -> Iterator[Frame]:
    return map(Frame, filter(is_image, tree))


def is_annotation(head: bytes) -> bool:
    """Return whether the beginning of an XML file is that of an annotation in VOC's format."""
    return _ROOT.search(head) is not None and _OWN.search(head) is not None


def _declared_name(tree: Tree, path: str) -> str:
    try:
        return read_xml(tree.root / path).findtext("filename") or ""
    except DatasetError:  # reported when its boxes are read
        return ""


def _boxes(path: Path) -> Boxes:
    objects = read_xml(path).iter("object")
    return Boxes(tuple(_box(entry, path) for entry in objects if entry.find("bndbox") is not None))


def _box(entry: "ET.Element", path: Path) -> Box:
    """Return a box; pixels count from 1 on disk, and fractions occur since VOC2011."""
    name = (entry.findtext("name") or "").strip()
    with errors_in(path, f"the box of '{name}' is damaged"):
        left, top, right, bottom = (float(entry.findtext(f"bndbox/{edge}", "")) for edge in _EDGES)
        return Box(name, max(left - 1, 0.0), max(top - 1, 0.0), right, bottom)


def _segmentation(path: Path) -> Segmentation:
    """Read indices, or colours by ``labelmap.txt``, by VOC's own colours in its folders, or else as numbers."""
    table = _label_map(path) or [(name, _colour(number)) for number, name in enumerate(_names(path))]
    if _is_coloured(path):
        return read_colour_mask(path, table) if table else Segmentation(read_packed_ids(path), {})
    mask = read_index_mask(path, names=[name for name, _ in table])
    return Segmentation(np.where(mask.ids == _VOID, np.int32(NOTHING), mask.ids), mask.names)


def _object_ids(path: Path) -> NDArray[np.int32]:
    """Return the indices of a mask; for a colour mask, the colours as numbers, which distinguish the objects."""
    if not _is_coloured(path):
        ids = read_index_mask(path).ids
        return np.where((ids == 0) | (ids == _VOID), np.int32(NOTHING), ids)
    colours = read_packed_ids(path)
    return np.where((colours == 0) | (colours == packed(_VOID_COLOUR)), np.int32(NOTHING), colours)


def _is_coloured(path: Path) -> bool:
    header = read_header(path)
    return header.channels > 1 and not header.palette


def _names(path: Path) -> Sequence[str]:
    """Return VOC's own classes for masks in its own folders."""
    return _CLASSES if re.search(r"/VOC20\d\d/", path.resolve().as_posix(), re.IGNORECASE) else ()


def _colour(number: int) -> tuple[int, int, int]:
    """Return VOC's colour of an index: its bits go to red, green and blue in turn, highest bits first (VOCcode)."""
    red = green = blue = 0
    for shift in range(7, -1, -1):
        red, green, blue = (c | (number >> bit & 1) << shift for bit, c in enumerate((red, green, blue)))
        number >>= 3
    return red, green, blue


def _label_map(mask: Path) -> list[tuple[str, tuple[int, int, int]]]:
    """Return the classes of ``labelmap.txt`` above a mask; lines are ``name:red,green,blue:parts:actions``."""
    for folder in mask.parents[1:4]:
        if (path := folder / "labelmap.txt").is_file():
            return _read_label_map(path)
    return []


@remembered(16)
def _read_label_map(path: Path) -> list[tuple[str, tuple[int, int, int]]]:
    table = []
    with reading(path, "a list of classes, name:red,green,blue", (ValueError,)):
        for line in read_text(path).splitlines():
            if line.strip() and not line.startswith("#"):
                name, colour, *_ = line.split(":")
                red, green, blue = bytes(map(int, colour.split(",")))
                table.append((name, (red, green, blue)))
    return table
