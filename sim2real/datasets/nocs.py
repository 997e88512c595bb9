"""NOCS: CAMERA and REAL275, photos of objects on tables with the object coordinates of each pixel.

Names and codings: hughw19/NOCS_CVPR2019, dataset.py (Wang et al., "Normalized Object Coordinate Space for
Category-Level 6D Object Pose and Size Estimation", CVPR 2019).
"""

from pathlib import Path
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from sim2real.datasets.base import Frame, Role
from sim2real.datasets.facts import Facts
from sim2real.datasets.labels import NOTHING, Depth, Instances, Label, Segmentation, read_rows
from sim2real.datasets.layout import Beside, FolderLayout
from sim2real.datasets.readers import errors_in, read_channels, renumbered
from sim2real.datasets.resizing import KEEP, NEAREST
from sim2real.imageio import read_label

_CLASSES: Final = ("background", "bottle", "bowl", "camera", "can", "laptop", "mug")
_NO_OBJECT: Final = 255


class Nocs(FolderLayout):
    """NOCS: val/00000/0000_color.png with 0000_mask.png, 0000_coord.png, 0000_depth.png and 0000_meta.txt."""

    name = "nocs"
    rule = "<nnnn>_color.png with <nnnn>_coord.png or <nnnn>_meta.txt"
    ordered: ClassVar[bool] = False
    images = (r"(?P<scene>[^/]*)", r"(?P<frame>\d{4,6})_color\.(?:png|jpe?g)")
    evidence = ((r"[^/]*", r"\d{4,6}_(?:coord\.png|meta\.txt)"),)
    labels: ClassVar[Beside] = {
        "depth": ("{scene}", r"(?P<frame>\d{4,6})_depth\.png"),
        "instance": ("{scene}", r"(?P<frame>\d{4,6})_mask\.png"),
        "segmentation": ("{scene}", r"(?P<frame>\d{4,6})_mask\.png"),
    }
    roles = (
        (r"(?:^|/)\d{4,6}_(?:depth|mask|coord|composed)\.png$|(?:^|/)\d{4,6}_(?:meta|pose)\.txt$", Role.LABEL),
        (r"(?:^|/)gts/.*\.pkl$", Role.LABEL),
    )
    resizing = (
        (r"(?:^|/)\d{4,6}_(?:depth|mask|coord|composed)\.png$", NEAREST),
        (r"(?:^|/)\d{4,6}_(?:meta|pose)\.txt$", KEEP),
        (r"(?:^|/)obj_models/", KEEP),
    )
    facts = Facts(
        title="NOCS (CAMERA, REAL275)",
        about="Objects of six classes, rendered into photos of tables (CAMERA) or photographed (REAL275), with the "
        "coordinates of each pixel in its object.",
        size="CAMERA: 300,000 images of 640x480; REAL275: 8,000 in 18 scenes.",
        get="<https://github.com/hughw19/NOCS_CVPR2019>.",
        tree="val/00000/0000_{color,mask,coord,depth}.png\nval/00000/0000_meta.txt\n...",
        labels={
            "depth": "16-bit millimetres, or 8 bits each in green and red; 0 is unknown",
            "instance": "the number in the mask; 255 is no object",
            "segmentation": "the class that `_meta.txt` assigns to each number",
        },
        licence="depends on the publisher of the copy; the page states none, ask the authors before you publish",
        irregularities=(
            (
                "`_coord.png` looks like a picture but holds coordinates, and `_composed.png` holds depth: neither is "
                "translated."
            ),
            "Intrinsics are in no file: use those of the authors' `detect_eval.py`, and scale them after `--resize`.",
        ),
        folder="nocs",
    )

    def load_label(self, frame: Frame, kind: str) -> Label:
        """Decode one label."""
        path = self.root / frame.labels[kind]
        if kind == "depth":
            return Depth(_millimetres(path))
        numbers = read_channels(path, 1)[0]
        if kind == "instance":
            return Instances(np.where(numbers == _NO_OBJECT, np.int32(NOTHING), numbers))
        classes = _classes(path.with_name(path.name.replace("_mask.png", "_meta.txt")))
        return Segmentation(renumbered(numbers, classes), dict(enumerate(_CLASSES)))


def _millimetres(path: Path) -> NDArray[np.float32]:
    pixels = read_label(path)
    if pixels.ndim == 3:
        red, green = (pixels[..., place].astype(np.int32) for place in range(2))
        pixels = 256 * green + red
    return np.where(pixels == 0, np.nan, pixels / 1000).astype(np.float32)


def _classes(path: Path) -> dict[int, int]:
    """Return the class of each number in a mask."""
    classes = {}
    for line, row in read_rows(path):
        with errors_in(path, f"line {line} does not describe an object"):
            classes[int(row[0])] = int(row[1])
    return classes
