"""What of a file depends on the size of the images that it tells of, and how it is brought to another size.

An adapter says so in a table, ``resizing``: patterns that are searched in the paths of files that are not translated,
without regard to case, each with a :class:`Rule`; the first that fits counts. What no row fits is refused by name, but
for masks, ids, depth and distance in images that frames claim (:data:`NEAREST`), and texts about the dataset as a whole
(:data:`KEEP`). A point x of a pixel's centre goes to ``(x + 0.5) sx - 0.5``, an edge of a box to ``x sx``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sim2real.imageio import decode_picture, encode_picture, replace_values, resize_picture

Size = tuple[int, int]
Values = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Scale:
    """From one size of images to another, both (W, H) in pixels."""

    source: Size
    target: Size

    @property
    def x(self) -> float:
        """The factor of widths."""
        return self.target[0] / self.source[0]

    @property
    def y(self) -> float:
        """The factor of heights."""
        return self.target[1] / self.source[1]

    def of(self, width: float, height: float) -> "Scale":
        """The scale of images of another size that are brought to the same one."""
        return Scale((int(width), int(height)), self.target)

    def nearest(self, values: Values) -> Values:
        """The values (H, W, ...) of the pixels whose centres are the nearest to those of the new pixels.

        Raises:
            ValueError: They are not of the source's size.
        """
        height, width = values.shape[:2]
        if (width, height) != self.source:
            raise ValueError(f"it is {width}x{height}, its images are {self.source[0]}x{self.source[1]}")
        columns, rows = (
            (2 * np.arange(after) + 1) * before // (2 * after)
            for before, after in zip(self.source, self.target, strict=True)
        )
        return np.ascontiguousarray(values[rows[:, None], columns])


@dataclass(frozen=True, slots=True)
class Rule:
    """How files of one kind are brought to another size.

    Attributes:
        update: The bytes of a file, and the scale of the images that it tells of -> its bytes at the new size.
            ``ValueError``, ``LookupError``, ``TypeError`` or ``ImageError`` tell what is wrong with it.
        mixed: Whether it may tell of images of several sizes, because it names their sizes itself: ``update`` asks
            ``scale.of(width, height)``. Of other files all images have to have one size.
    """

    update: Callable[[bytes, Scale], bytes]
    mixed: bool = False


Resizing = Sequence[tuple[str, Rule]]
_PIXELS: Final = Path("its pixels")  # whose path the caller knows


def _keep(data: bytes, _: Scale) -> bytes:
    return data


def nearest(change: Callable[[Values, Scale], Values] = lambda values, _: values) -> Rule:
    """The rule of a label image: the nearest pixel, and what becomes of the stored values (H, W) or (H, W, C)."""

    def update(data: bytes, scale: Scale) -> bytes:
        return replace_values(data, lambda values: change(scale.nearest(values), scale), _PIXELS)

    return Rule(update)


def _photo(data: bytes, scale: Scale) -> bytes:
    picture = resize_picture(decode_picture(data, _PIXELS), scale.target)
    return encode_picture(picture.rgb, picture)


KEEP: Final = Rule(_keep)
"""Nothing of the file depends on the size: poses, point clouds, boxes in shares of the image. Carried byte for byte."""

NEAREST: Final = nearest()
"""Masks, ids, colours of classes, depth, normals, scene flow: PNG, values kept."""

PHOTO: Final = Rule(_photo)
"""Images of cameras that are not translated."""
