"""What the town is built of: convex solids and ellipsoids, grouped into bodies that stand upright on the ground.

Every body has its own axes: x is its length, y points down, z is its width, and the ground is y = 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from itertools import product
from typing import Literal

import numpy as np

from sim2real.toytown.camera import Floats, rotation_y

RGB = tuple[float, float, float]


class Label(IntEnum):
    """The classes of Virtual KITTI 2, in the order of its colors.txt."""

    Terrain = 0
    Sky = 1
    Tree = 2
    Vegetation = 3
    Building = 4
    Road = 5
    GuardRail = 6
    TrafficSign = 7
    TrafficLight = 8
    Pole = 9
    Misc = 10
    Truck = 11
    Car = 12
    Van = 13
    Undefined = 14


class Material(IntEnum):
    """What a face is made of; the looks decide what that looks like."""

    SKY = 0
    ASPHALT = 1
    MARKING = 2
    PAVEMENT = 3
    KERB = 4
    GRASS = 5
    WALL = 6
    ROOF = 7
    FOLIAGE = 8
    BARK = 9
    METAL = 10
    PAINT = 11
    GLASS = 12
    TYRE = 13
    CAR_FRONT = 14
    CAR_REAR = 15
    SIGN = 16
    SIGNAL = 17
    WINDOW = 18
    WHITE_LAMP = 19
    RED_LAMP = 20
    GREEN_LAMP = 21
    DARK = 22
    WHITE = 23


#: One row per face of every body in a frame: all that shading and labelling must know about a hit.
FACE = np.dtype(
    [
        ("label", "u1"),
        ("instance", "i2"),
        ("material", "u1"),
        ("axis", "u1"),  # the body axis that the face looks along, 3: all (an ellipsoid)
        ("tint", "f4", 3),
        ("normal", "f4", 3),
        ("grid", "f4", 2),
        ("centre", "f4", 3),
        ("radii", "f4", 3),
        ("place", "f8", 4),  # x, z, cos, sin of the body
    ]
)


@dataclass(frozen=True, eq=False)
class Convex:
    """An intersection of half-spaces: the points p with normals @ p <= offsets.

    Attributes:
        label: class of Virtual KITTI.
        tint: colour of its own, RGB in [0, 1].
        normals: (K, 3), outward, of length one.
        offsets: (K,), metres.
        materials: one per half-space.
        corners: (8, 3), a box around it.
        grid: pitch of its pattern (windows, say) along and up, metres.
        leaf: size of the cells that foliage is cut out in, metres; 0: solid.
    """

    label: Label
    tint: RGB
    normals: Floats
    offsets: Floats
    materials: tuple[Material, ...]
    corners: Floats
    grid: tuple[float, float] = (1.0, 1.0)
    leaf: float = 0.0


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """An ellipsoid whose axes are those of its body; attributes as in `Convex`."""

    label: Label
    tint: RGB
    centre: Floats
    radii: Floats
    material: Material = Material.FOLIAGE
    leaf: float = 0.0

    @cached_property
    def corners(self) -> Floats:
        """(8, 3), the box around it."""
        return self.centre + self.radii * _CUBE


Part = Convex | Ellipsoid
_CUBE = np.array(list(product((-1.0, 1.0), repeat=3)))


@dataclass(frozen=True, eq=False)
class Body:
    """Parts that move together: upright, turned by `yaw` (KITTI's rotation_y), standing at (x, z).

    Attributes:
        instance: track id of a vehicle, -1 for everything else.
    """

    x: float
    z: float
    yaw: float
    parts: tuple[Part, ...]
    instance: int = -1
    rotation: Floats = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rotation", rotation_y(self.yaw))

    @property
    def position(self) -> Floats:
        """(3,), the point of the ground that it stands on."""
        return np.array([self.x, 0.0, self.z])

    @cached_property
    def corners(self) -> Floats:
        """(parts, 8, 3), the boxes around its parts in the world."""
        local = np.stack([part.corners for part in self.parts])
        return local @ self.rotation.T + self.position

    @cached_property
    def faces(self) -> tuple[np.ndarray[tuple[int], np.dtype[np.void]], ...]:
        """One table of `FACE` rows per part."""
        return tuple(self._face_rows(part) for part in self.parts)

    def _face_rows(self, part: Part) -> np.ndarray[tuple[int], np.dtype[np.void]]:
        rows = np.zeros(len(part.offsets) if isinstance(part, Convex) else 1, FACE)
        rows["label"], rows["tint"], rows["instance"] = part.label, part.tint, self.instance
        rows["place"] = self.x, self.z, self.rotation[0, 0], self.rotation[0, 2]
        if isinstance(part, Convex):
            rows["material"], rows["grid"] = part.materials, part.grid
            rows["normal"] = part.normals @ self.rotation.T
            rows["axis"] = np.abs(part.normals).argmax(axis=1)
        else:
            rows["material"], rows["axis"] = part.material, 3
            rows["centre"], rows["radii"] = part.centre, part.radii
        return rows


def prism(
    label: Label,
    tint: RGB,
    profile: Sequence[tuple[float, float]],
    along: Literal["x", "y", "z"],
    span: tuple[float, float],
    sides: Material | Sequence[Material],
    caps: Material | tuple[Material, Material] | None = None,
    *,
    grid: tuple[float, float] = (1.0, 1.0),
    leaf: float = 0.0,
    lean: float = 0.0,
) -> Convex:
    """Extrude a convex polygon.

    Args:
        label: class.
        tint: colour.
        profile: corners of the polygon in the two other axes, in the order x, y, z.
        along: axis of extrusion.
        span: where the extrusion begins and ends on that axis.
        sides: material of the sides, or one for each edge of the profile.
        caps: material of the two ends (first the one at the lower end), that of the first side if not given.
        grid: see `Convex`.
        leaf: see `Convex`.
        lean: how far the caps lean inwards per metre of height (along z only).
    """
    axis = "xyz".index(along)
    first, second = (other for other in range(3) if other != axis)
    points = np.array(profile, dtype=np.float64)
    edges = np.roll(points, -1, axis=0) - points
    flat = np.stack([edges[:, 1], -edges[:, 0]], axis=1) / np.linalg.norm(edges, axis=1, keepdims=True)
    flat *= np.sign(((points - points.mean(axis=0)) * flat).sum(axis=1, keepdims=True))
    count = len(points)
    normals = np.zeros((count + 2, 3))
    normals[:count, first], normals[:count, second] = flat[:, 0], flat[:, 1]
    normals[count, axis], normals[count + 1, axis] = -1.0, 1.0
    foot = points[:, 1].max()
    offsets = np.concatenate([(points * flat).sum(axis=1), [-span[0], span[1]]])
    if lean:
        normals[count:, 1] = -lean
        offsets[count:] -= lean * foot
        normals[count:] /= np.hypot(1, lean)
        offsets[count:] /= np.hypot(1, lean)
    each = (sides,) * count if isinstance(sides, Material) else tuple(sides)
    ends = (each[0], each[0]) if caps is None else (caps, caps) if isinstance(caps, Material) else caps
    low, high = np.empty(3), np.empty(3)
    low[[first, second]], high[[first, second]] = points.min(axis=0), points.max(axis=0)
    low[axis], high[axis] = span
    corners = (low + high) / 2 + (high - low) / 2 * _CUBE
    return Convex(label, tint, normals, offsets, each + ends, corners, grid, leaf)


def box(
    label: Label,
    tint: RGB,
    x: tuple[float, float],
    y: tuple[float, float],
    z: tuple[float, float],
    material: Material,
    *,
    top: Material | None = None,
    caps: tuple[Material, Material] | None = None,
    grid: tuple[float, float] = (1.0, 1.0),
    leaf: float = 0.0,
) -> Convex:
    """A box between two corners; y points down, so y[0] is its top. `caps` are the faces at x[0] and x[1]."""
    profile = [(y[0], z[0]), (y[0], z[1]), (y[1], z[1]), (y[1], z[0])]
    sides = (top or material, material, material, material)
    return prism(label, tint, profile, "x", x, sides, caps or material, grid=grid, leaf=leaf)


def polygon(radius: float, corners: int, centre: tuple[float, float] = (0.0, 0.0)) -> list[tuple[float, float]]:
    """The corners of a regular polygon."""
    angles = 2 * np.pi * (np.arange(corners) + 0.5) / corners
    return [(centre[0] + radius * float(np.cos(a)), centre[1] + radius * float(np.sin(a))) for a in angles]


def post(label: Label, tint: RGB, radius: float, height: float, material: Material, corners: int = 8) -> Convex:
    """An upright post on the origin."""
    return prism(label, tint, polygon(radius, corners), "y", (-height, 0.0), material)
