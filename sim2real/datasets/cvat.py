"""CVAT for images 1.1: annotations.xml with the shapes of all images.

Tags and attributes: <https://docs.cvat.ai/docs/other/xml_format>.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from sim2real.datasets.base import Frame, Role
from sim2real.datasets.facts import Facts
from sim2real.datasets.labels import Label
from sim2real.datasets.masks import decode_runs
from sim2real.datasets.naming import NamingFiles
from sim2real.datasets.readers import errors_in, finite, remembered, size_of, whole_size
from sim2real.datasets.resizing import Resizing
from sim2real.datasets.resizing_shapes import CVAT
from sim2real.datasets.shapes import Shape, ellipse, label_of, rectangle
from sim2real.errors import DatasetError

_OUTLINED: Final = frozenset({"polygon", "ellipse", "mask"})
_REGIONS: Final = _OUTLINED | {"box"}

_Attributes = Mapping[str, str]


@dataclass(slots=True)
class _Image:
    """An image as described by a file: its stated size, and the tags and attributes of its shapes."""

    size: tuple[int, int] | None
    shapes: list[tuple[str, _Attributes]] = field(default_factory=list)


@dataclass(slots=True)
class _Document:
    """A file: the classes that it declares and its images by name."""

    classes: list[str] = field(default_factory=list)
    images: dict[str, _Image] = field(default_factory=dict)


class Cvat(NamingFiles):
    """CVAT for images: annotations.xml with images/a.jpg, or with images elsewhere."""

    name: ClassVar[str] = "cvat"
    rule: ClassVar[str] = "an XML file in the format CVAT for images and the images that it names"
    noun: ClassVar[str] = "XML files of CVAT"
    suffix: ClassVar[str] = ".xml"
    own: ClassVar[re.Pattern[bytes]] = re.compile(rb".{,4096}?<annotations[\s>]", re.DOTALL)
    resizing: ClassVar[Resizing] = ((r"\.xml$", CVAT),)
    sparse: ClassVar[Sequence[str]] = ()
    facts: ClassVar[Facts] = Facts(
        title="CVAT for images",
        about="The native format of CVAT, the Computer Vision Annotation Tool: one XML file with the shapes of all "
        "images.",
        size="Any.",
        get="Export a task as *CVAT for images 1.1*, <https://docs.cvat.ai>.",
        tree="annotations.xml\nimages/0001.jpg                                # or next to it, or elsewhere",
        labels={
            "boxes": "pixels: boxes, and the boxes around polygons, ellipses and masks",
            "segmentation": "polygons, ellipses and masks in their `z_order`, if the file has any",
            "instance": "the position of the shape in the image, for the same shapes",
        },
        licence="your own",
        irregularities=(
            "Classes are numbered in the order of their declaration.",
            "Lines, points, cuboids and skeletons are carried and adapted by `--resize`, but not decoded.",
            "`--resize` refuses rotated boxes and ellipses if width and height are scaled differently.",
            "*CVAT for video* identifies frames by numbers and is not recognised.",
        ),
        folder="task",
    )

    @classmethod
    def names(cls, path: Path) -> Iterable[str]:
        """Return the names of the images in a file."""
        return _read(path).images

    def kinds(self, path: Path) -> Sequence[str]:
        """Return the kinds of labels of a file: boxes, and masks if it has outlines."""
        return _kinds(path)

    def role(self, path: str) -> Role | None:
        """Return LABEL for files of the format that name at least one existing image."""
        return Role.LABEL if path in {file for file, _ in self._claims.values()} else None

    def declared_size(self, frame: Frame, kind: str) -> tuple[int, int] | None:  # noqa: ARG002  same for all kinds
        """Return the size of the image that the file states."""
        file, name = self._claims[frame.image]
        return _read(self.root / file).images[name].size

    def load_label(self, frame: Frame, kind: str) -> Label:
        """Decode one label."""
        file, name = self._claims[frame.image]
        path = self.root / file
        document = _read(path)
        size = self.declared_size(frame, kind) or size_of(self.root / frame.image)
        with errors_in(path, f"its entry for {name} is damaged"):
            shapes = sorted(document.images[name].shapes, key=lambda shape: int(shape[1].get("z_order") or 0))
            regions = [
                _shape(tag, values) for tag, values in shapes if tag in (_REGIONS if kind == "boxes" else _OUTLINED)
            ]
            return label_of(kind, regions, size, document.classes)


@remembered(8)
def _read(path: Path) -> _Document:
    """Read a file element by element, as files of whole tasks have hundreds of megabytes."""
    document = _Document()
    around: list[str] = []
    image = _Image(None)
    try:
        for event, element in ET.iterparse(path, ("start", "end")):  # noqa: S314  expat >= 2.4.1 refuses entity bombs
            if event == "start":
                if element.tag == "image":
                    image = _Image(whole_size(element.get("width"), element.get("height")))
                    document.images[element.get("name", "")] = image
                elif around[-1:] == ["image"]:
                    image.shapes.append((element.tag, dict(element.attrib)))
                around.append(element.tag)
                continue
            around.pop()
            if element.tag == "name" and around[-2:] == ["labels", "label"]:
                document.classes.append((element.text or "").strip())
            if element.tag == "image":
                element.clear()
    except (OSError, LookupError, ValueError, ET.ParseError) as error:
        raise DatasetError(f"{path}: cannot be read as XML: {error}") from error
    return document


@remembered(64)
def _kinds(path: Path) -> Sequence[str]:
    """Return the kinds of labels in a file."""
    tags = {tag for image in _read(path).images.values() for tag, _ in image.shapes}
    return ("boxes", "segmentation", "instance") if tags & _OUTLINED else ("boxes",)


def _shape(tag: str, values: _Attributes) -> Shape:
    """Return the shape of an element's tag and attributes."""
    label, mask = values["label"], None
    match tag:
        case "box":
            corners = rectangle(*(finite(values[edge]) for edge in ("xtl", "ytl", "xbr", "ybr")))
        case "ellipse":
            x, y, across, down = (finite(values[name]) for name in ("cx", "cy", "rx", "ry"))
            corners = ellipse(x, y, across, down)
        case "polygon":
            corners = np.array([[*map(finite, point.split(","))] for point in values["points"].split(";")], np.float64)
            if corners.shape[0] < 3 or corners.shape[1:] != (2,):
                raise ValueError(f"a polygon of {len(corners)} points")
        case _:
            left, top, width, height = (int(finite(values[name])) for name in ("left", "top", "width", "height"))
            runs = [int(run) for run in values["rle"].split(",")]
            mask = decode_runs(runs, (height, width)).T  # along the rows, unlike COCO's
            corners = rectangle(left, top, left + width, top + height)
    return Shape(label, _turned(corners, finite(values.get("rotation") or "0")), mask=mask)


def _turned(corners: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    """Return corners rotated clockwise around their centre."""
    if not degrees:
        return corners
    angle, middle = math.radians(degrees), (corners.min(axis=0) + corners.max(axis=0)) / 2
    along, across = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
    return np.asarray((corners - middle) @ np.stack([along, across]) + middle)
