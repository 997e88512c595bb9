"""Draw labels as layers over an image, one per class, so that a page can show and hide them."""

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
_LONGEST = 120_000  # characters of a frame's outlines; longer ones are simplified
_UNNAMED = "object"


@dataclass(frozen=True, slots=True)
class Layer:
    """The labels of one class in a frame.

    Attributes:
        kind: ``"areas"`` of a segmentation, or ``"boxes"``.
        name: The class.
        path: An SVG path in pixels of the image.
    """

    kind: Literal["areas", "boxes"]
    name: str
    path: str

    @property
    def key(self) -> str:
        """The key by which a page shows and hides the layer."""
        return f"{self.kind}:{self.name}"


def layers(frame: Frame, stored: tuple[int, int], size: tuple[int, int]) -> list[Layer]:
    """Return the layers of a frame, without missing and unreadable labels.

    Args:
        frame: The frame, of an open dataset.
        stored: (W, H) of its image.
        size: (W, H) of the image that the layers lie on.
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
    """Return the classes of a mask as outlines, simplified until they are short enough."""
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
    """Return a polygon through pixel centres, with relative coordinates to be short; empty for fewer than 3 points."""
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
    """Return a hue in degrees for each name, in steps of the golden angle so that neighbours differ strongly."""
    return {name: round(place * 137.508) % 360 for place, name in enumerate(names)}
