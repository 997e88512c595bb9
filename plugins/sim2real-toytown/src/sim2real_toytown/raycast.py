"""Exact ray casting: find the face that is visible in every pixel.

Along the ray (x, y, 1) through a pixel, depth is the ray's parameter, and for every plane the inverse depth is an
affine function of x and y. A convex solid is therefore the minimum over its front planes where it exceeds the maximum
over its back planes. A z-buffer of inverse depths keeps the largest value, and no pixel needs a division.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sim2real_toytown.camera import Camera, Floats, Rect
from sim2real_toytown.shapes import FACE, Body, Convex, Ellipsoid, Label, Part

FAR = 600.0  # metres; everything beyond is sky, as in an engine with a far plane
NEAR = 0.05
SKY, GROUND = 0, 1  # the first two rows of the table of faces

Faces = np.ndarray[tuple[int], np.dtype[np.void]]


@dataclass(frozen=True)
class Hits:
    """The faces that are visible in the pixels.

    Attributes:
        inverse: (H, W), 1 / depth in 1/metres, 0 for the sky; depth is the distance to the camera plane.
        face: (H, W), index into `faces`.
        faces: (F,), table of `sim2real_toytown.shapes.FACE` rows; row 0 is the sky, row 1 the ground.
    """

    inverse: Floats
    face: NDArray[np.int32]
    faces: Faces


@dataclass(frozen=True)
class _View:
    """The camera in the axes of a body."""

    origin: Floats  # (3,), the camera's centre in the body's axes
    turn: Floats  # (3, 3), maps camera directions to the body's axes

    @classmethod
    def of(cls, camera: Camera, body: Body) -> Self:
        into_body = body.rotation.T
        return cls(into_body @ (camera.centre - body.position), into_body @ camera.rotation.T)


def cast(camera: Camera, bodies: Sequence[Body]) -> Hits:
    """Cast rays from the camera at the ground, the sky and the bodies."""
    x, y = camera.rays()
    down = camera.rotation[:, 1]  # the downward component of the camera's axes
    inverse = (down[0] * x + down[1] * y + down[2]) / -camera.centre[1]
    face = np.where(inverse > 1 / FAR, np.int32(GROUND), np.int32(SKY))
    inverse[face == SKY] = 0.0
    first = np.zeros(2, FACE)
    first["label"] = Label.Sky, Label.Terrain
    first["instance"] = -1
    first["normal"][GROUND] = 0, -1, 0
    first["axis"] = 1
    first["place"][:, 2] = 1
    tables, count = [first], 2
    for body, index, rect, nearest in _in_sight(camera, bodies):
        left, top, right, bottom = rect
        window = (slice(top, bottom), slice(left, right))
        seen = inverse[window]
        if seen.min() > nearest:
            continue
        part = body.parts[index]
        value, which = _meet(part, _View.of(camera, body), x[:, left:right], y[top:bottom], seen)
        hit = value > seen
        if hit.any():
            seen[hit] = value[hit]
            face[window][hit] = which[hit] + count
            rows = body.faces[index]
            tables.append(rows)
            count += len(rows)
    return Hits(inverse, face, np.concatenate(tables))


def silhouette(camera: Camera, body: Body, rect: Rect, step: int = 1) -> NDArray[np.bool_]:
    """Return the mask of the body without occluders; `rect` and `step` as for `Camera.rays`."""
    x, y = camera.rays(rect, step)
    nothing = np.zeros((y.size, x.size))
    mask = nothing > 0
    for part in body.parts:
        mask |= _meet(part, _View.of(camera, body), x, y, nothing)[0] > 0
    return mask


def extent(camera: Camera, body: Body) -> Rect:
    """Return a rectangle in pixels around the whole body, clipped one image size outside the image."""
    rects, _ = project(camera, body.corners, margin=1.0)
    left, top = rects[:, :2].min(axis=0)
    right, bottom = rects[:, 2:].max(axis=0)
    return int(left), int(top), int(right), int(bottom)


def _in_sight(camera: Camera, bodies: Sequence[Body]) -> Iterator[tuple[Body, int, Rect, float]]:
    """Yield the parts in the image, nearest first, with their rectangles and maximal inverse depths."""
    if not bodies:
        return
    owners = [(body, index) for body in bodies for index in range(len(body.parts))]
    rects, nearest = project(camera, np.concatenate([body.corners for body in bodies]), margin=0.0)
    visible = (rects[:, 0] < rects[:, 2]) & (rects[:, 1] < rects[:, 3]) & (nearest > 0)
    order = np.argsort(-nearest, kind="stable")
    for at in order[visible[order]].tolist():
        left, top, right, bottom = rects[at].tolist()
        yield *owners[at], (left, top, right, bottom), float(nearest[at])


def project(camera: Camera, corners: Floats, margin: float) -> tuple[NDArray[np.int64], Floats]:
    """Return rectangles (P, 4) around boxes with corners (P, 8, 3), and their maximal inverse depths (P,).

    A box that extends behind the camera gets the whole image; one entirely behind it gets inverse depth 0.
    """
    points = (corners - camera.centre) @ camera.rotation.T
    depth = points[..., 2]
    size = np.array([camera.width, camera.height])
    low, high = -margin * size, (1 + margin) * size
    pixels = points[..., :2] / np.maximum(depth, NEAR)[..., None] * camera.focal + camera.principal
    first = np.clip(np.ceil(pixels.min(axis=1) - 1e-6), low, high)  # only pixel centres count
    last = np.clip(np.floor(pixels.max(axis=1) + 1e-6) + 1, low, high)
    crossing = depth.min(axis=1) < NEAR
    first[crossing], last[crossing] = low, high
    inverse = np.where(depth.max(axis=1) < NEAR, 0.0, 1 / np.maximum(depth.min(axis=1), NEAR))
    return np.concatenate([first, last], axis=1).astype(np.int64), inverse


def _meet(part: Part, view: _View, x: Floats, y: Floats, seen: Floats) -> tuple[Floats, NDArray[np.int32]]:
    """Return the inverse depth of the part, 0 where rays miss it, and the index of its face; both (H, W).

    The results are only valid where the part is nearer than `seen`.
    """
    if isinstance(part, Convex):
        value, which = _convex(part, view, x, y)
        behind = np.zeros_like(value)
    else:
        value, behind = _ellipsoid(part, view, x, y)
        which = np.zeros(value.shape, np.int32)
    if part.leaf:
        for wall in (value, behind):  # through a gap in the foliage, the far side may be visible
            rows, columns = np.nonzero(wall > seen)
            depth = 1 / wall[rows, columns]
            point = view.origin[:, None] + view.turn @ np.stack([x[0, columns] * depth, y[rows, 0] * depth, depth])
            gap = _cells(np.floor(point / part.leaf).astype(np.int64)) < _GAPS
            wall[rows[gap], columns[gap]] = 0.0
        np.maximum(value, behind, out=value)
    return value, which


_GAPS = 0.3 * 2**32  # three cells in ten are gaps


def _cells(cell: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Return a hash of every cell (3, N) of space."""
    x, y, z = cell.astype(np.uint32)
    mixed = x * np.uint32(0x8DA6B343) ^ y * np.uint32(0xD8163841) ^ z * np.uint32(0xCB1AB31F)
    mixed = (mixed ^ (mixed >> np.uint32(15))) * np.uint32(0x2C1B3C6D)
    mixed = (mixed ^ (mixed >> np.uint32(12))) * np.uint32(0x297A2D39)
    return np.asarray(mixed ^ (mixed >> np.uint32(15)))


def _convex(part: Convex, view: _View, x: Floats, y: Floats) -> tuple[Floats, NDArray[np.int32]]:
    room = part.offsets - part.normals @ view.origin  # how far inside each half-space the camera is
    room = np.where(np.abs(room) < 1e-9, 1e-9, room)  # avoids division by zero for a camera on the plane
    front, back = np.flatnonzero(room < 0).tolist(), np.flatnonzero(room > 0).tolist()
    if not front:
        return np.zeros((y.size, x.size)), np.zeros((y.size, x.size), np.int32)
    slope = part.normals @ view.turn / room[:, None]

    def inverse(plane: int) -> Floats:
        a, b, c = slope[plane]
        return np.asarray(a * x + (b * y + c))

    enter = inverse(front[0])
    which = np.full(enter.shape, front[0], np.int32)
    for plane in front[1:]:
        other = inverse(plane)
        which[other < enter] = plane
        np.minimum(enter, other, out=enter)
    leave = np.zeros_like(enter)
    for plane in back:
        np.maximum(leave, inverse(plane), out=leave)
    enter[enter <= leave] = 0.0
    return enter, which


def _ellipsoid(part: Ellipsoid, view: _View, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return the inverse depths of the near and the far wall."""
    origin = (view.origin - part.centre) / part.radii
    turn = view.turn / part.radii[:, None]
    outside = origin @ origin - 1
    if outside <= 0:
        return np.zeros((y.size, x.size)), np.zeros((y.size, x.size))
    along = origin @ turn
    square = turn.T @ turn
    half = along[0] * x + (along[1] * y + along[2])
    length = (square[0, 0] * x + 2 * square[0, 2]) * x + (
        2 * square[0, 1] * x * y + (square[1, 1] * y + 2 * square[1, 2]) * y + square[2, 2]
    )
    inside = half * half - outside * length
    missed = (inside <= 0) | (half >= 0)
    root = np.sqrt(np.maximum(inside, 0))
    near, far = (root - half) / outside, (-root - half) / outside
    near[missed], far[missed] = 0.0, 0.0
    return near, far
