"""The same view of every picture, so that sets of unequal sizes can be compared.

A picture that is scaled otherwise than another looks otherwise, however alike both are (Parmar et al. 2022, "On Aliased
Resizing", arXiv 2104.11222). So all are brought to one height, by Pillow's bicubic filter as is advised there, which
does not alias; none is enlarged; and the middle is cut out that all have.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import PIL.Image

from sim2real.metrics.base import Image

_SMALL = 0.5  # of the usual height or width: less would make a thumbnail or a strip of all others

Size = tuple[int, int]
"""(W, H)."""


@dataclass(frozen=True, slots=True)
class View:
    """What is looked at of a picture: scaled to a height, then the middle of a width."""

    width: int
    height: int

    def __call__(self, image: Image) -> Image:
        """RGB (H, W, 3) -> (height, width, 3); the picture itself if it has that size."""
        height, width = image.shape[:2]
        if height != self.height:
            size = _width((width, height), self.height), self.height
            image = np.asarray(PIL.Image.fromarray(image).resize(size, PIL.Image.Resampling.BICUBIC))
        left = (image.shape[1] - self.width) // 2
        return np.ascontiguousarray(image[:, left : left + self.width])

    def fits(self, image: Image) -> bool:
        """Whether a picture is large enough."""
        height, width = image.shape[:2]
        return height >= self.height and _width((width, height), self.height) >= self.width


def common_view(*sets: Sequence[Size]) -> View:
    """The view that all pictures have in common, but for those less than half as high or wide as most of their set.

    Args:
        sets: The sizes of all pictures of each set, one or more.
    """
    kept = [_but_small(sizes, [height for _, height in sizes]) for sizes in sets]
    height = min(size[1] for sizes in kept for size in sizes)
    kept = [_but_small(sizes, [_width(size, height) for size in sizes]) for sizes in kept]
    return View(min(_width(size, height) for sizes in kept for size in sizes), height)


def _but_small(sizes: Sequence[Size], lengths: Sequence[int]) -> list[Size]:
    """Those whose length is not far below the usual one."""
    least = _SMALL * statistics.median(lengths)
    return [size for size, length in zip(sizes, lengths, strict=True) if length >= least]


def _width(size: Size, height: int) -> int:
    return max(1, round(size[0] * height / size[1]))
