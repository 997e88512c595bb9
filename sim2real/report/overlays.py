"""Labels as drawings that lie over a picture, a layer for each class, so that a page can switch them."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from sim2real.datasets.base import Frame
from sim2real.datasets.labels import NOTHING, Boxes, Segmentation
from sim2real.errors import Sim2RealError

_TOLERANCE = 0.7  # px, of outlines
_SMALLEST = 4.0  # px^2: smaller areas are left out
_LONGEST = 120_000  # characters of a frame's outlines; more are drawn more coarsely
_UNNAMED = "object"


@dataclass(frozen=True, slots=True)
class Layer:
    """What a frame has of a class.

    Attributes:
        kind: ``"areas"`` of a segmentation, or ``"boxes"``.
        name: The class.
        path: An SVG path on the pixels of the picture.
    """

    kind: Literal["areas", "boxes"]
    name: str
    path: str

    @property
    def key(self) -> str:
        """By which a page switches it."""
        return f"{self.kind}:{self.name}"


def layers(frame: Frame, stored: tuple[int, int], size: tuple[int, int]) -> list[Layer]:
    """The layers of a frame; labels that it does not have, or that cannot be read, are left out.

    Args:
        frame: The frame, of an open dataset.
        stored: (W, H) of its image.
        size: (W, H) of the picture that they are to lie on.
    """
    painted: list[Layer] = []
    for kind in ("segmentation", "boxes"):
        try:
            label = frame.load_label(kind)
        except Sim2RealError:
            continue
        if isinstance(label, Segmentation):
            painted.extend(_areas(label, size))
        elif isinstance(label, Boxes):
            painted.extend(_boxes(label, (size[0] / stored[0], size[1] / stored[1])))
    return painted


def _areas(label: Segmentation, size: tuple[int, int]) -> list[Layer]:
    """The classes of a mask as outlines, as fine as there is room for."""
    ids = np.asarray(cv2.resize(label.ids, size, interpolation=cv2.INTER_NEAREST), np.int32)
    tolerance, smallest = _TOLERANCE, _SMALLEST
    while True:
        found = [
            Layer("areas", label.names.get(number, f"class {number}"), path)
            for number in map(int, np.unique(ids))
            if number != NOTHING and (path := _outlines(ids == number, tolerance, smallest))
        ]
        if sum(len(layer.path) for layer in found) <= _LONGEST:
            return found
        tolerance, smallest = 1.5 * tolerance, 3 * smallest


def _outlines(mask: NDArray[np.bool_], tolerance: float, smallest: float) -> str:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    kept = (contour for contour in contours if cv2.contourArea(contour) >= smallest)
    return "".join(
        _polygon(np.asarray(cv2.approxPolyDP(each, tolerance, closed=True), np.int32)[:, 0]) for each in kept
    )


def _polygon(points: NDArray[np.int32]) -> str:
    """Through the middles of pixels, each point relative to the one before it, which is short; nothing of a line."""
    if len(points) < 3:
        return ""
    (x, y), steps = points[0], np.diff(points, axis=0)
    return f"M{x}.5 {y}.5l" + " ".join(f"{right} {down}" for right, down in steps) + "z"


def _boxes(label: Boxes, scale: tuple[float, float]) -> Iterator[Layer]:
    paths: defaultdict[str, str] = defaultdict(str)
    across, down = scale
    for box in label.boxes:
        left, top, right, bottom = box.left * across, box.top * down, box.right * across, box.bottom * down
        paths[box.label or _UNNAMED] += f"M{left:.1f} {top:.1f}H{right:.1f}V{bottom:.1f}H{left:.1f}z"
    yield from (Layer("boxes", name, path) for name, path in paths.items())


def hues(names: Sequence[str]) -> dict[str, int]:
    """A hue in degrees for each name, neighbours far from each other: steps of the golden angle."""
    return {name: round(place * 137.508) % 360 for place, name in enumerate(names)}
