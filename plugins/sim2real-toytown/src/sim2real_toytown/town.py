"""The roadside, block by block: houses, trees, hedges, poles, signs, traffic lights, guard rails."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from sim2real_toytown.shapes import RGB, Body, Ellipsoid, Label, Material, Part, box, polygon, post, prism
from sim2real_toytown.street import BLOCK, CROSSING, HALF_WIDTH, Street, Zone

WALLS: tuple[RGB, ...] = (
    (0.86, 0.80, 0.66),
    (0.80, 0.52, 0.38),
    (0.72, 0.36, 0.28),
    (0.90, 0.88, 0.82),
    (0.62, 0.68, 0.74),
    (0.88, 0.70, 0.42),
    (0.58, 0.62, 0.52),
    (0.70, 0.66, 0.62),
)
ROOFS: tuple[RGB, ...] = ((0.62, 0.25, 0.18), (0.36, 0.30, 0.30), (0.50, 0.32, 0.24), (0.30, 0.34, 0.40))
GREENS: tuple[RGB, ...] = ((0.22, 0.50, 0.16), (0.30, 0.55, 0.18), (0.18, 0.42, 0.18), (0.40, 0.55, 0.18))
BARK: RGB = (0.36, 0.26, 0.18)
STEEL: RGB = (0.55, 0.57, 0.60)
SIGN_RED, SIGN_BLUE, SIGN_YELLOW = (0.85, 0.08, 0.08), (0.08, 0.25, 0.75), (0.95, 0.75, 0.08)
CONCRETE: RGB = (0.60, 0.60, 0.58)
POLE = (Label.Pole, STEEL)
RAIL = (Label.GuardRail, STEEL)


@lru_cache(maxsize=32)
def build_block(street: Street, block: int) -> tuple[Body, ...]:
    """Return all static bodies of the block."""
    return tuple(_Builder(street, block).bodies())


class _Builder:
    def __init__(self, street: Street, block: int) -> None:
        self.street, self.block, self.rng = street, block, street.rng(2, block)
        self.zone, self.crossing = street.zone(block), street.is_crossing(block)
        self.half = HALF_WIDTH[self.zone]
        self.start = block * BLOCK

    def bodies(self) -> Iterator[Body]:
        for side in (-1, 1):
            if self.crossing:
                yield from self.corner(side)
            elif self.zone is Zone.TOWN:
                yield from self.town(side)
            elif self.zone is Zone.SUBURB:
                yield from self.suburb(side)
            else:
                yield from self.green(side)
            yield from self.furniture(side)
            yield from self.backdrop(side)

    def put(self, along: float, lateral: float, *parts: Part) -> Body:
        """Return a body `along` metres into the block, with its x axis along the street and its z axis to the left."""
        x, z, heading = self.street.place(self.start + along, lateral)
        return Body(x, z, heading - np.pi / 2, parts)

    def pick(self, colours: tuple[RGB, ...]) -> RGB:
        red, green, blue = np.clip(
            np.array(colours[self.rng.integers(len(colours))]) + self.rng.normal(0, 0.025, 3), 0, 1
        )
        return float(red), float(green), float(blue)

    def shade(self, tint: RGB) -> RGB:
        """Return the colour, slightly lighter or darker."""
        factor = self.between(0.8, 1.15)
        return tint[0] * factor, tint[1] * factor, tint[2] * factor

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    # districts

    def town(self, side: int) -> Iterator[Body]:
        if self.chance(0.12):
            yield from self.grove(side, 11.5, 26.0, 5)
        else:
            length = self.between(16.0, 19.8)
            height = 3.1 * int(self.rng.integers(3, 7)) + 0.8
            yield self.house(
                side,
                BLOCK / 2,
                10.6 + self.between(0, 0.8),
                length=length,
                depth=12.0,
                height=height,
                gable=self.chance(0.6),
            )
        if self.chance(0.55):
            yield self.tree(self.between(2, 18), side * self.between(7.2, 7.9), self.between(5.5, 8.0))

    def suburb(self, side: int) -> Iterator[Body]:
        length, height = self.between(9.0, 13.0), 2.9 * int(self.rng.integers(1, 3)) + 0.6
        yield self.house(
            side,
            self.between(8, 12),
            self.between(12.5, 16.0),
            length=length,
            depth=9.0,
            height=height,
            gable=self.chance(0.85),
        )
        if self.chance(0.7):
            yield self.hedge(side * 8.7, 0.4, self.between(6.0, 12.0), self.between(0.9, 1.7))
        if self.chance(0.5):
            yield self.bush(self.between(13.5, 19), side * self.between(9.2, 11.0))
        if self.chance(0.6):
            yield self.tree(self.between(1, 4), side * self.between(9.0, 12.5), self.between(4.5, 8.5))
        if self.chance(0.4):
            yield self.tree(self.between(16, 19), side * self.between(9.0, 12.5), self.between(4.5, 9.0))

    def green(self, side: int) -> Iterator[Body]:
        if self.street.rng(3, self.block // 3, side + 1).random() < 0.6:
            yield from (self.rail(along, side) for along in (0.0, BLOCK / 2))
        yield from self.grove(side, 8.5, 24.0, int(self.rng.integers(3, 7)))
        for _ in range(int(self.rng.integers(0, 4))):
            yield self.bush(self.between(0, BLOCK), side * self.between(6.2, 10))

    def corner(self, side: int) -> Iterator[Body]:
        along = BLOCK / 2 - side * (CROSSING + 3.9)  # the stop line of this side
        state = (Material.RED_LAMP, Material.GREEN_LAMP)[int(self.rng.integers(2))]
        head = box((Label.TrafficLight, (0.1, 0.1, 0.1)), (-0.16, 0.16), (-3.6, -2.6), (-0.17, 0.17), Material.DARK)
        where = -2.78 if state is Material.GREEN_LAMP else -3.42
        facing = -0.2 * side
        lamp = prism(
            (Label.TrafficLight, (1, 1, 1)),
            polygon(0.12, 8, (where, 0.0)),
            "x",
            (min(0, facing), max(0, facing)),
            Material.DARK,
            caps=state,
        )
        yield self.put(along, side * (self.half + 0.7), post(POLE, 0.07, 3.7, Material.METAL), head, lamp)
        for end in (0.3, BLOCK - 0.3):
            if self.chance(0.5):
                yield self.tree(end, side * self.between(12, 15), self.between(5, 8))

    def furniture(self, side: int) -> Iterator[Body]:
        kerb = side * (self.half + 0.75)
        if self.block % 2 == (side > 0) and not self.crossing:
            yield self.lamp_post(1.0, kerb, side)
        if self.chance(0.3):
            yield self.sign(self.between(4, 16) if not self.crossing else 1.0, kerb, side)
        if self.zone is not Zone.GREEN and self.chance(0.2):
            tint = self.pick(((0.25, 0.32, 0.28), (0.62, 0.62, 0.60), (0.70, 0.60, 0.15)))
            size = self.between(0.25, 0.5)
            yield self.put(
                self.between(3, 17) if not self.crossing else 18.5,
                side * (self.half + 1.6),
                box((Label.Misc, tint), (-size, size), (-1.15, 0.0), (-0.22, 0.22), Material.METAL),
            )

    def backdrop(self, side: int) -> Iterator[Body]:
        """Yield distant trees and houses that close the view beside the street."""
        for along in (3.0, 10.0, 17.0):
            lateral = self.between(34, 60)
            if self.zone is Zone.TOWN and self.chance(0.5):
                yield self.house(
                    side, along, lateral, length=10.0, depth=8.0, height=self.between(6, 16), gable=self.chance(0.5)
                )
            else:
                tint, height, width = self.pick(GREENS), self.between(7, 15), self.between(4.0, 7.0)
                middle, radii = np.array([0, -0.42 * height, 0]), np.array([width, height / 2, width])
                leaves = (
                    Ellipsoid(
                        Label.Tree,
                        self.shade(tint),
                        middle + radii * self.rng.normal(0, 0.4, 3),
                        radii * self.between(0.4, 0.7),
                        leaf=0.22,
                    )
                    for _ in range(4)
                )
                yield self.put(along, side * lateral, Ellipsoid(Label.Tree, tint, middle, radii * 0.85), *leaves)

    # single objects

    def house(
        self, side: int, along: float, front: float, *, length: float, depth: float, height: float, gable: bool
    ) -> Body:
        """Return a house whose front is `front` metres from the middle of the street."""
        wall, roof = self.pick(WALLS), self.pick(ROOFS)
        pitch = length / max(2, round(length / self.between(2.4, 3.2)))
        grid = (pitch, 3.1 if self.zone is Zone.TOWN else 2.9)
        x, z = (-length / 2, length / 2), (-depth / 2, depth / 2)
        parts: list[Part] = [
            box((Label.Building, wall), x, (-height, 0.0), z, Material.WALL, top=Material.ROOF, grid=grid),
        ]
        if gable:
            eaves, rise = depth / 2 + 0.5, depth * self.between(0.28, 0.45)
            profile = [(-height + 0.05, -eaves), (-height + 0.05, eaves), (-height - rise, 0.0)]
            over = (x[0] - 0.3, x[1] + 0.3)
            parts.append(prism((Label.Building, roof), profile, "x", over, Material.ROOF))
            if self.chance(0.7):
                spot = self.between(-length / 4, length / 4)
                top = -height - rise - 0.6
                parts.append(
                    box((Label.Building, ROOFS[0]), (spot, spot + 0.7), (top, -height), (0.6, 1.3), Material.ROOF)
                )
        else:
            rim = box(
                (Label.Building, CONCRETE),
                (x[0] - 0.15, x[1] + 0.15),
                (-height - 0.45, -height),
                (z[0] - 0.15, z[1] + 0.15),
                Material.PAVEMENT,
            )
            parts.append(rim)
        return self.put(along, side * (front + depth / 2), *parts)

    def tree(self, along: float, lateral: float, height: float) -> Body:
        """Return a tree: a trunk, a solid core of the crown, and leafy clumps around it."""
        tint = self.pick(GREENS)
        bare = height * self.between(0.22, 0.36)
        middle = np.array([0, -(bare + height) / 2, 0])
        half = (height - bare) / 2
        crown = half * np.array([spread := self.between(0.6, 1.0), 1.0, spread])
        parts: list[Part] = [
            post((Label.Tree, BARK), 0.018 * height + 0.03, bare + 0.4 * half, Material.BARK),
            Ellipsoid(Label.Tree, tint, middle, 0.74 * crown),
        ]
        for _ in range(int(self.rng.integers(9, 14))):
            direction = self.rng.normal(0, 1, 3)
            centre = middle + 0.68 * crown * direction / np.linalg.norm(direction)
            radii = half * self.rng.uniform(0.26, 0.48, 3)
            parts.append(Ellipsoid(Label.Tree, self.shade(tint), centre, radii, leaf=0.17))
        return self.put(along, lateral, *parts)

    def grove(self, side: int, near: float, far: float, count: int) -> Iterator[Body]:
        for _ in range(count):
            yield self.tree(self.between(0, BLOCK), side * self.between(near, far), self.between(6, 11))

    def hedge(self, lateral: float, start: float, length: float, height: float) -> Body:
        tint = self.pick(GREENS)
        half = length / 2
        outer = box((Label.Vegetation, tint), (-half, half), (-height, 0), (-0.45, 0.45), Material.FOLIAGE, leaf=0.1)
        inner = box(
            (Label.Vegetation, tint), (0.08 - half, half - 0.08), (0.08 - height, 0), (-0.37, 0.37), Material.FOLIAGE
        )
        return self.put(start + half, lateral, outer, inner)

    def bush(self, along: float, lateral: float) -> Body:
        tint, size = self.pick(GREENS), self.between(0.6, 1.4)
        radii = size * np.array([1.1, 0.9, 1.0])
        centre = np.array([0, -0.6 * size, 0])
        leaves = (
            Ellipsoid(
                Label.Vegetation,
                self.shade(tint),
                centre + radii * self.rng.normal(0, 0.35, 3),
                radii * self.between(0.45, 0.65),
                leaf=0.09,
            )
            for _ in range(5)
        )
        return self.put(along, lateral, Ellipsoid(Label.Vegetation, tint, centre, radii * 0.75), *leaves)

    def lamp_post(self, along: float, lateral: float, side: int) -> Body:
        mast = post(POLE, 0.085, 7.6, Material.METAL)
        reach = (0.0, 1.7) if side > 0 else (-1.7, 0.0)  # the body's z axis points left
        arm = box(POLE, (-0.05, 0.05), (-7.6, -7.5), reach, Material.METAL)
        tip = (1.3, 2.0) if side > 0 else (-2.0, -1.3)
        head = box(POLE, (-0.14, 0.14), (-7.66, -7.5), tip, Material.METAL)
        return self.put(along, lateral, mast, arm, head)

    def sign(self, along: float, lateral: float, side: int) -> Body:
        kind = int(self.rng.integers(4))
        outline, tint = (
            (polygon(0.34, 12, (-2.5, 0.0)), SIGN_RED),
            ([(-2.95, 0.0), (-2.3, -0.38), (-2.3, 0.38)], SIGN_RED),
            ([(-2.85, -0.33), (-2.85, 0.33), (-2.2, 0.33), (-2.2, -0.33)], SIGN_BLUE),
            ([(-2.95, 0.0), (-2.55, 0.4), (-2.15, 0.0), (-2.55, -0.4)], SIGN_YELLOW),
        )[kind]
        face = (Material.SIGN, Material.METAL) if side > 0 else (Material.METAL, Material.SIGN)
        where = (-0.08, -0.05) if side > 0 else (0.05, 0.08)
        board = prism(
            (Label.TrafficSign, tint), outline, "x", where, Material.METAL, caps=face, grid=(float(kind), 1.0)
        )
        return self.put(along, lateral, post(POLE, 0.04, 2.95, Material.METAL), board)

    def rail(self, along: float, side: int) -> Body:
        half = BLOCK / 4 + 0.05
        beam = box(RAIL, (-half, half), (-0.78, -0.46), (-0.04, 0.04), Material.METAL)
        posts = (box(RAIL, (x, x + 0.1), (-0.7, 0.0), (-0.12, -0.04), Material.METAL) for x in (-half / 2, half / 2))
        return self.put(along + half, side * (self.half + 0.9), beam, *posts)
