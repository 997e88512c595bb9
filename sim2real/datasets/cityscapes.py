"""Cityscapes as its archives unpack: leftImg8bit and rightImg8bit are translated, all other files are carried.

Layout and codings: github.com/mcordts/cityscapesScripts (README.md, helpers/annotation.py,
preparation/json2instanceImg.py).
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

import numpy as np

from sim2real.datasets.base import Match, PathMatch, Role, Tree
from sim2real.datasets.classes import CITYSCAPES
from sim2real.datasets.facts import Facts
from sim2real.datasets.labels import Box, Boxes, Disparity, Instances, read_disparity, read_index_mask
from sim2real.datasets.layout import Decoders, FolderLayout
from sim2real.datasets.readers import errors_in, read_ids_above, read_json
from sim2real.datasets.resizing import KEEP, NEAREST, disparity
from sim2real.datasets.resizing_documents import CITYSCAPES_CAMERA, COCO, outlines
from sim2real.errors import DatasetError

_CITY: Final = r"(?P<split>train|val|test|train_extra|demoVideo)(?:/(?P<city>[^/]+))?"
_FRAME: Final = r"(?P<frame>[^/]+_\d{6}_\d{6})"
_HDR: Final = (rf"(?:left|right)Img16bit/{_CITY}", r".*\.png")


def _read_instances(path: Path) -> Instances:
    """Read ids of 1000 times the class plus the number of the object; lower values are classes and groups."""
    return Instances(read_ids_above(path, 999))


def _read_disparity(path: Path) -> Disparity:
    """Read disparities stored with an offset of 1 from KITTI's coding: ``(value - 1) / 256``."""
    return Disparity(read_disparity(path).pixels - np.float32(1 / 256))


def _read_persons(path: Path) -> Boxes:
    """Read the boxes of CityPersons (left, top, width, height), which include the hidden parts of persons."""
    with errors_in(path, "its boxes are not in the format of gtBboxCityPersons"):
        objects = [(each["label"], map(float, each["bbox"])) for each in read_json(path)["objects"]]
        return Boxes(tuple(Box(label, x, y, x + width, y + height) for label, (x, y, width, height) in objects))


class Cityscapes(FolderLayout):
    """Cityscapes: leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png with gtFine or gtCoarse."""

    name = "cityscapes"
    rule = "leftImg8bit/<split>/<city>/<city>_<sequence>_<frame>_leftImg8bit.png"
    images = (
        rf"(?P<eye>left|right)Img8bit(?:_sequence|_blurred)?/{_CITY}",
        rf"{_FRAME}_(?:left|right)Img8bit(?:_blurred)?\.(?:png|jpe?g)",
    )
    apart = (
        ("segmentation", rf"gtFine/{_CITY}", rf"{_FRAME}_gtFine_labelIds\.png"),
        ("segmentation", rf"gtCoarse/{_CITY}", rf"{_FRAME}_gtCoarse_labelIds\.png"),
        ("instance", rf"gtFine/{_CITY}", rf"{_FRAME}_gtFine_instanceIds\.png"),
        ("instance", rf"gtCoarse/{_CITY}", rf"{_FRAME}_gtCoarse_instanceIds\.png"),
        ("disparity", rf"disparity(?:_sequence)?/{_CITY}", rf"{_FRAME}_disparity\.png"),
        ("boxes", rf"gtBboxCityPersons/{_CITY}", rf"{_FRAME}_gtBboxCityPersons\.json"),
    )
    decoders: ClassVar[Decoders] = {
        "segmentation": partial(read_index_mask, names=CITYSCAPES),
        "instance": _read_instances,
        "disparity": _read_disparity,
        "boxes": _read_persons,
    }
    resizing = (
        (r"_disparity\.png$", disparity(zero=1)),
        (r"_gt(?:Fine|Coarse)_\w+\.png$|(?:^|/)cityscapes_panoptic_\w+/[^/]+\.png$", NEAREST),
        (r"_gt(?:Fine|Coarse)_polygons\.json$|_gtBbox\w+\.json$", outlines("imgWidth", "imgHeight")),
        (r"(?:^|/)cityscapes_panoptic_\w+\.json$", COCO),
        (r"_camera\.json$", CITYSCAPES_CAMERA),
        (r"_(?:vehicle|timestamp)\.(?:json|txt)$", KEEP),
    )
    roles = (
        (r"_gt(?:Fine|Coarse)_color\.png$", Role.PSEUDO),
        (r"_gt(?:Fine|Coarse|Bbox\w+?)(?:_\w+)?\.(?:png|json)$|_disparity\.png$|cityscapes_panoptic_", Role.LABEL),
        (r"_(?:left|right)Img16bit\.png$", Role.STALE),
        (r"_(?:camera|vehicle|timestamp)\.(?:json|txt)$", Role.AUX),
    )
    facts = Facts(
        title="Cityscapes",
        about="Stereo images of streets in 50 cities of Germany and its neighbours, most of them labelled by hand.",
        size="2,975 training, 500 validation and 1,525 test images with fine labels, 19,998 with coarse labels (split "
        "`train_extra`); 2048x1024; the 5,000 left images take 11 GB.",
        get="<https://www.cityscapes-dataset.com/downloads/> after registration: `leftImg8bit_trainvaltest.zip` and "
        "`gtFine_trainvaltest.zip`; each may be unpacked into a folder of its own.",
        tree="cityscapes/leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png\n"
        "cityscapes/gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png\n"
        "cityscapes/gtFine/train/aachen/aachen_000000_000019_gtFine_{instanceIds.png,color.png,polygons.json}\n"
        "cityscapes/{gtCoarse,disparity,gtBboxCityPersons,rightImg8bit,camera,vehicle,timestamp}/...",
        licence="under its own non-commercial terms, which forbid the distribution of the images, modified or not",
        binds=True,
        labels={
            "segmentation": "of the left camera; fine labels if available, otherwise coarse ones",
            "instance": "1000 times the class plus a number; groups of objects have none",
            "disparity": "computed from the stereo pair, not measured",
            "boxes": "from CityPersons: persons including their hidden parts",
        },
        irregularities=(
            "Test images only have labels of the recording car and of the image borders.",
            (
                "`leftImg16bit` holds the same images with 16 bits per channel. They are carried, never translated; a "
                "dataset with only these is refused."
            ),
            "The right camera has no labels.",
            "Polygon files contain the size of the image (`imgWidth`, `imgHeight`).",
        ),
        side="real",
        folder="cityscapes",
    )

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Match the folders and names of the images.

        Raises:
            DatasetError: If there are only 16-bit images.
        """
        match = super().recognise(tree)
        if match is None and (found := next(tree.find(*_HDR), None)):
            message = f"{tree.root / found.path}: images of 16 bits are not translated; unpack leftImg8bit next to them"
            raise DatasetError(message)
        return match

    def labelled(self, folder: PathMatch, kind: str) -> bool:  # noqa: ARG002  same for all kinds
        """Return whether the images are those of the left camera, the only one with labels."""
        return folder["eye"].lower() == "left"

    def warnings(self, tree: Tree) -> Iterator[str]:
        """Warn about 16-bit images."""
        if count := sum(1 for _ in tree.find(*_HDR)):
            yield f"{count} images of 16 bits (leftImg16bit) are carried unchanged; only leftImg8bit is translated"
