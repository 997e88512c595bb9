"""The course of the street, and the materials of the ground.

The street runs endlessly along the world's z axis and swings gently in x. It is a function of the seed and of the
place alone, so any stretch can be built without the stretches before it.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from sim2real_toytown.camera import Floats
from sim2real_toytown.shapes import Material

BLOCK = 20.0  # metres of street in one block
DISTRICT = 6  # blocks in one district
LANE = 3.4  # metres


class Zone(IntEnum):
    """The kind of a district."""

    TOWN = 0
    SUBURB = 1
    GREEN = 2


HALF_WIDTH = {Zone.TOWN: 5.9, Zone.SUBURB: 5.7, Zone.GREEN: 4.1}  # metres, of the carriageway including parking
PAVED = {Zone.TOWN: 10.5, Zone.SUBURB: 8.0, Zone.GREEN: 4.9}  # metres from the middle to the end of the pavement
CROSSING = 5.0  # half width of a side street


@dataclass(frozen=True)
class Street:
    """One street, a function of `seed` and `scene`."""

    seed: int
    scene: int

    def rng(self, *key: int) -> np.random.Generator:
        """Return the random generator of a key."""
        return np.random.default_rng((self.seed, self.scene, *key))

    @cached_property
    def _waves(self) -> Floats:
        """(2, 3): amplitude (metres), wave number (rad/metre) and phase of the two waves of the course."""
        rng = self.rng(0)
        amplitude = rng.uniform((5.0, 0.8), (15.0, 2.6))
        number = 2 * np.pi / rng.uniform((260.0, 110.0), (420.0, 170.0))
        return np.stack([amplitude, number, rng.uniform(0, 2 * np.pi, 2)], axis=1)

    def middle(self, z: Floats) -> tuple[Floats, Floats]:
        """Return the x of the middle line at z, and its slope dx/dz."""
        x, slope = np.zeros_like(z), np.zeros_like(z)
        for amplitude, number, phase in self._waves:
            x = x + amplitude * np.sin(number * z + phase)
            slope = slope + amplitude * number * np.cos(number * z + phase)
        return x, slope

    def place(self, z: float, lateral: float) -> tuple[float, float, float]:
        """Return world x, z and heading (radians from z towards x), `lateral` metres right of the middle at z."""
        middle, slope = self.middle(np.array(z))
        heading = float(np.arctan(slope))
        return float(middle) + lateral * np.cos(heading), z - lateral * np.sin(heading), heading

    def zone(self, block: int) -> Zone:
        """Return the zone of the block."""
        return _zone(self, block // DISTRICT)

    def is_crossing(self, block: int) -> bool:
        """Return whether a side street crosses in the middle of the block."""
        return block % DISTRICT == 3 and self.zone(block) is not Zone.GREEN

    def ground(self, x: Floats, z: Floats) -> NDArray[np.uint8]:
        """Return the `Material` of points of the ground; x, z and the result have the same shape."""
        block = np.floor(z / BLOCK).astype(np.int64)
        if not block.size:
            return np.zeros(block.shape, np.uint8)
        first = int(block.min())
        blocks = range(first, int(block.max()) + 1)
        table = np.array([(z_ := self.zone(b), HALF_WIDTH[z_], PAVED[z_], self.is_crossing(b)) for b in blocks])
        zone, half, paved, crossing = table[block - first].T
        middle, slope = self.middle(z)
        lateral = (x - middle) / np.hypot(1, slope)
        side = np.abs(lateral)
        dz = np.where(crossing, np.abs(z - (block + 0.5) * BLOCK), BLOCK)  # distance to the middle of a side street
        green = zone == Zone.GREEN
        dash = (z % 9.0 < 3.0) & (side < 0.08)
        edge = np.where(green, np.abs(side - 3.6) < 0.07, (np.abs(side - 3.55) < 0.05) & (z % 2.0 < 1.0))
        zebra = (dz > CROSSING + 0.8) & (dz < CROSSING + 3.4) & (lateral % 1.0 < 0.5)
        markings = np.where(dz < CROSSING + 3.9, zebra, dash | edge) & (side < half - 0.15)
        choices = [
            (dz < CROSSING) & (side > half - 0.1),
            (dz < CROSSING + 0.18) & (side > half) & ~green,
            markings,
            side < half,
            (side < half + 0.18) & ~green,
            (side < paved) | (dz < CROSSING + 2.5),
        ]
        made_of = [
            Material.ASPHALT,
            Material.KERB,
            Material.MARKING,
            Material.ASPHALT,
            Material.KERB,
            Material.PAVEMENT,
        ]
        return np.select(choices, [np.uint8(m) for m in made_of], np.uint8(Material.GRASS))


@lru_cache(maxsize=4096)
def _zone(street: Street, district: int) -> Zone:
    return Zone(int(street.rng(1, district).choice(3, p=(0.4, 0.35, 0.25))))
