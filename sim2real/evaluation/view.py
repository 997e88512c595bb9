"""A common view of all images, so that sets of different sizes can be compared.

Images that are scaled differently look different, however alike they are (Parmar et al. 2022, "On Aliased Resizing",
arXiv 2104.11222). All are therefore scaled to one height with Pillow's antialiased bicubic filter, as recommended
there, none is enlarged, and all are cropped to the centre that they have in common. Images that are hardly higher than
the others, such as KITTI's of 370 to 376 rows, are only cropped, because scaling would make them softer.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import PIL.Image

from sim2real.metrics.base import Image

_SMALL = 0.5  # of the median height or width: smaller images would reduce all others to thumbnails or strips
_CROPPED = 1.05  # times the height of the view: images up to this height are cropped instead of scaled

Size = tuple[int, int]
"""(W, H)."""


@dataclass(frozen=True, slots=True)
class View:
    """A view of images: scaled to a height, then cropped to the central width."""

    width: int
    height: int

    def __call__(self, image: Image) -> Image:
        """Scale and crop an image, RGB (H, W, 3), to (height, width, 3); an image of that size is not changed."""
        height, width = image.shape[:2]
        size = _scaled((width, height), self.height)
        if size != (width, height):
            image = np.asarray(PIL.Image.fromarray(image).resize(size, PIL.Image.Resampling.BICUBIC))
        top, left = (size[1] - self.height) // 2, (size[0] - self.width) // 2
        return np.ascontiguousarray(image[top : top + self.height, left : left + self.width])

    def fits(self, image: Image) -> bool:
        """Return whether an image is large enough."""
        height, width = image.shape[:2]
        return height >= self.height and _scaled((width, height), self.height)[0] >= self.width


def common_view(*sets: Sequence[Size]) -> View:
    """Return the view that all images have in common, except those below half of their set's median height or width.

    Args:
        sets: The sizes of all images of each set, one or more.
    """
    kept = [_but_small(sizes, [height for _, height in sizes]) for sizes in sets]
    height = min(size[1] for sizes in kept for size in sizes)
    kept = [_but_small(sizes, [_scaled(size, height)[0] for size in sizes]) for sizes in kept]
    return View(min(_scaled(size, height)[0] for sizes in kept for size in sizes), height)


def _but_small(sizes: Sequence[Size], lengths: Sequence[int]) -> list[Size]:
    """Return the sizes whose length is at least half of the median."""
    least = _SMALL * statistics.median(lengths)
    return [size for size, length in zip(sizes, lengths, strict=True) if length >= least]


def _scaled(size: Size, height: int) -> Size:
    """Return the size of an image before it is cropped to a view of a height."""
    if size[1] <= _CROPPED * height:
        return size
    return max(1, round(size[0] * height / size[1])), height
