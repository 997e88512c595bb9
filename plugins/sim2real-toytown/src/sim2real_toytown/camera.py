"""The pinhole camera: intrinsics that scale with the image, a rigid pose, and rays through the pixel centres."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rect = tuple[int, int, int, int]  # left, top, right, bottom in pixels; the last two are exclusive

#: Virtual KITTI 2: focal length 725.0087 px at a width of 1242 px, right camera 0.532725 m to the right.
FOCAL_PER_WIDTH = 725.0087 / 1242
BASELINE = 0.532725


def rotation_y(angle: float) -> Floats:
    """Return the rotation matrix about the y axis (down), as for KITTI's `rotation_y`."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def rotation_x(angle: float) -> Floats:
    """Return the rotation matrix about the x axis (right)."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def rotation_z(angle: float) -> Floats:
    """Return the rotation matrix about the z axis (forward)."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class Camera:
    """A pinhole camera in the world; x is right, y down, z forward, units are metres.

    Attributes:
        width: Image width in pixels.
        height: Image height in pixels.
        rotation: (3, 3), maps world directions to camera directions.
        centre: (3,), position of the camera in the world.
    """

    width: int
    height: int
    rotation: Floats
    centre: Floats

    @property
    def focal(self) -> float:
        """Focal length in pixels, the same for both axes."""
        return FOCAL_PER_WIDTH * self.width

    @property
    def principal(self) -> tuple[float, float]:
        """Principal point (cx, cy) in pixels: the middle of the image, pixel centres being whole numbers."""
        return (self.width - 1) / 2, (self.height - 1) / 2

    @property
    def extrinsic(self) -> Floats:
        """(4, 4) world-to-camera matrix."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.rotation
        matrix[:3, 3] = -self.rotation @ self.centre
        return matrix

    @property
    def image(self) -> Rect:
        """The whole image."""
        return 0, 0, self.width, self.height

    def rays(self, rect: Rect | None = None, step: int = 1) -> tuple[Floats, Floats]:
        """Return the directions (x, y, 1) through the pixel centres: a row x (1, W) and a column y (H, 1).

        Args:
            rect: The pixels, which may lie outside the image; default: the whole image.
            step: 2 for every other pixel, and so on.
        """
        left, top, right, bottom = rect or self.image
        cx, cy = self.principal
        x = (np.arange(left, right, step, dtype=np.float64) - cx) / np.float64(self.focal)
        y = (np.arange(top, bottom, step, dtype=np.float64) - cy) / np.float64(self.focal)
        return x[None, :], y[:, None]

    def moved_right(self, distance: float) -> Self:
        """Return the camera moved by `distance` metres to its own right."""
        return type(self)(self.width, self.height, self.rotation, self.centre + distance * self.rotation[0])
