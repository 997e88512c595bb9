"""The shapes of the town: convex solids and ellipsoids, grouped into bodies that stand upright on the ground.

Every body has its own axes: x is its length, y points down, z is its width, and the ground is y = 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from itertools import product
from typing import Literal

import numpy as np

from sim2real_toytown.camera import Floats, rotation_y

RGB = tuple[float, float, float]
Span = tuple[float, float]


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
    """The material of a face; the looks define its appearance."""

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
    WINDOW = 17
    WHITE_LAMP = 18
    RED_LAMP = 19
    GREEN_LAMP = 20
    DARK = 21
    WHITE = 22


#: One row per face of every body in a frame: the input of shading and labelling.
FACE = np.dtype(
    [
        ("label", "u1"),
        ("instance", "i2"),
        ("material", "u1"),
        ("axis", "u1"),  # the body axis that the face is normal to, 3: an ellipsoid
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
        label: Class of Virtual KITTI.
        tint: Colour, RGB in [0, 1].
        normals: (K, 3), outward, of unit length.
        offsets: (K,), metres.
        materials: One for each half-space.
        corners: (8, 3), of a bounding box.
        grid: Pitch of its pattern (such as windows) along and up, metres.
        leaf: Size of the cells in which foliage has gaps, metres; 0: solid.
    """

    label: Label
    tint: RGB
    normals: Floats
    offsets: Floats
    materials: tuple[Material, ...]
    corners: Floats
    grid: Span = (1.0, 1.0)
    leaf: float = 0.0


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """An ellipsoid along the axes of its body; attributes as in `Convex`."""

    label: Label
    tint: RGB
    centre: Floats
    radii: Floats
    material: Material = Material.FOLIAGE
    leaf: float = 0.0

    @cached_property
    def corners(self) -> Floats:
        """(8, 3), corners of the bounding box."""
        return np.asarray(self.centre + self.radii * _CUBE)


Part = Convex | Ellipsoid
_CUBE = np.array(list(product((-1.0, 1.0), repeat=3)))


@dataclass(frozen=True, eq=False)
class Body:
    """Parts that move together: upright, turned by `yaw` (KITTI's rotation_y), standing at (x, z).

    Attributes:
        instance: Track id of a vehicle, -1 for everything else.
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
        """(3,), the point of the ground on which it stands."""
        return np.array([self.x, 0.0, self.z])

    @cached_property
    def corners(self) -> Floats:
        """(parts, 8, 3), corners of the bounding boxes of its parts in the world."""
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
    what: tuple[Label, RGB],
    profile: Sequence[Span],
    along: Literal["x", "y", "z"],
    span: Span,
    sides: Material | Sequence[Material],
    *,
    caps: Material | tuple[Material, Material] | None = None,
    grid: Span = (1.0, 1.0),
    leaf: float = 0.0,
    lean: float = 0.0,
) -> Convex:
    """Extrude a convex polygon.

    Args:
        what: Class and colour of the solid.
        profile: Corners of the polygon in the other two axes, in the order x, y, z.
        along: Axis of extrusion.
        span: Start and end of the extrusion on that axis.
        sides: Material of the sides, or one for each edge of the profile.
        caps: Material of the two ends, the lower one first; default: that of the first side.
        grid: See `Convex`.
        leaf: See `Convex`.
        lean: Inward inclination of the caps per metre of height (along z only).
    """
    axis = "xyz".index(along)
    others = [other for other in range(3) if other != axis]
    points = np.array(profile, dtype=np.float64)
    edges = np.roll(points, -1, axis=0) - points
    outward = np.stack([edges[:, 1], -edges[:, 0]], axis=1) / np.linalg.norm(edges, axis=1, keepdims=True)
    outward *= np.sign(((points - points.mean(axis=0)) * outward).sum(axis=1, keepdims=True))
    normals = np.zeros((len(points) + 2, 3))
    normals[:-2, others] = outward
    normals[-2:, axis] = -1.0, 1.0
    offsets = np.concatenate([(points * outward).sum(axis=1), [-span[0], span[1]]])
    if lean:
        normals[-2:, 1] = -lean
        offsets[-2:] -= lean * points[:, 1].max()
        normals[-2:] /= np.hypot(1, lean)
        offsets[-2:] /= np.hypot(1, lean)
    each = (sides,) * len(points) if isinstance(sides, Material) else tuple(sides)
    ends = (each[0], each[0]) if caps is None else (caps, caps) if isinstance(caps, Material) else caps
    low, high = np.empty(3), np.empty(3)
    low[others], high[others] = points.min(axis=0), points.max(axis=0)
    low[axis], high[axis] = span
    corners = (low + high) / 2 + (high - low) / 2 * _CUBE
    return Convex(*what, normals, offsets, each + ends, corners, grid, leaf)


def box(
    what: tuple[Label, RGB],
    x: Span,
    y: Span,
    z: Span,
    material: Material,
    *,
    top: Material | None = None,
    caps: tuple[Material, Material] | None = None,
    grid: Span = (1.0, 1.0),
    leaf: float = 0.0,
) -> Convex:
    """Return a box; y points down, so y[0] is its top. `caps` are the materials at x[0] and x[1]."""
    profile = [(y[0], z[0]), (y[0], z[1]), (y[1], z[1]), (y[1], z[0])]
    sides = (top or material, material, material, material)
    return prism(what, profile, "x", x, sides, caps=caps or material, grid=grid, leaf=leaf)


def polygon(radius: float, corners: int, centre: Span = (0.0, 0.0)) -> list[Span]:
    """Return the corners of a regular polygon."""
    angles = 2 * np.pi * (np.arange(corners) + 0.5) / corners
    return [(centre[0] + radius * float(np.cos(a)), centre[1] + radius * float(np.sin(a))) for a in angles]


def post(what: tuple[Label, RGB], radius: float, height: float, material: Material) -> Convex:
    """Return an upright post at the origin."""
    return prism(what, polygon(radius, 8), "y", (-height, 0.0), material)
