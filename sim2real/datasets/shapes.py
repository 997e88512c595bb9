"""Shapes that labelling tools draw (polygons, boxes, circles, masks), and the labels made from them."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim2real.datasets.labels import NOTHING, Box, Boxes, Instances, Label, Segmentation
from sim2real.datasets.masks import Mask, fill_polygon


@dataclass(frozen=True, slots=True)
class Shape:
    """One drawn region.

    Attributes:
        label: The class.
        corners: The outline (N, 2) in pixels, x right and y down from the outer corner of the top left pixel.
        group: The number of the object that the region is a part of; None if it is an object by itself.
        mask: The pixels (h, w) of a drawn mask, starting at the upper left corner of the outline.
    """

    label: str
    corners: NDArray[np.float64]
    group: int | None = None
    mask: Mask | None = None

    def painted(self, size: tuple[int, int]) -> Mask:
        """Return the pixels of the region in an image of a size (W, H), as a mask (H, W)."""
        if self.mask is None:
            return fill_polygon(self.corners, size)
        whole = np.zeros(size[::-1], bool)
        left, top = (int(edge) for edge in self.corners.min(axis=0))
        part = self.mask[max(0, -top) :, max(0, -left) :]
        there = whole[max(0, top) :, max(0, left) :][: part.shape[0], : part.shape[1]]
        there |= part[: there.shape[0], : there.shape[1]]
        return whole


def rectangle(left: float, top: float, right: float, bottom: float) -> NDArray[np.float64]:
    """Return the corners (4, 2) of a box."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)


def ellipse(x: float, y: float, radius_x: float, radius_y: float, corners: int = 256) -> NDArray[np.float64]:
    """Return an outline (N, 2) of an ellipse, to within a ten-thousandth of its radii; its extremes are exact."""
    angles = np.arange(corners) * (2 * np.pi / corners)
    return np.stack([x + radius_x * np.cos(angles), y + radius_y * np.sin(angles)], axis=1)


def outline_of_circle(points: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Return the outline (N, 2) of a circle given by its centre and a point on it."""
    (x, y), (edge_x, edge_y) = points
    radius = math.hypot(edge_x - x, edge_y - y)
    return ellipse(x, y, radius, radius)


def label_of(kind: str, shapes: Sequence[Shape], size: tuple[int, int], names: Iterable[str] = ()) -> Label:
    """Return the label made from shapes, with later shapes over earlier ones.

    Args:
        kind: ``"boxes"``, ``"segmentation"`` or ``"instance"``.
        shapes: The shapes in order.
        size: (W, H) of the image.
        names: Classes that are numbered first; others follow in order of appearance.

    Returns:
        Boxes around the objects, or class ids, or instance ids: the position of the first shape of each object.
    """
    if kind == "boxes":
        return Boxes(tuple(_boxes(shapes)))
    ids = np.full(size[::-1], NOTHING, np.int32)
    numbers = {name: number for number, name in enumerate(dict.fromkeys((*names, *(each.label for each in shapes))))}
    owners = dict(_owners(shapes))
    for place, shape in enumerate(shapes):
        ids[shape.painted(size)] = owners[place] if kind == "instance" else numbers[shape.label]
    return Instances(ids) if kind == "instance" else Segmentation(ids, {n: name for name, n in numbers.items()})


def _owners(shapes: Sequence[Shape]) -> Iterator[tuple[int, int]]:
    """Yield the position of each shape, and that of the first shape of its object."""
    first: dict[tuple[str, int], int] = {}
    for place, shape in enumerate(shapes):
        yield place, place if shape.group is None else first.setdefault((shape.label, shape.group), place)


def _boxes(shapes: Sequence[Shape]) -> Iterator[Box]:
    parts: dict[int, list[NDArray[np.float64]]] = {}
    for place, owner in _owners(shapes):
        parts.setdefault(owner, []).append(shapes[place].corners)
    for owner, outlines in parts.items():
        corners = np.concatenate(outlines)
        (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        yield Box(shapes[owner].label, left, top, right, bottom)
