"""Measure the distance between the colours of two sets of images: their sliced earth mover's distance.

All pixels of a set form one cloud of colours in CIE Lab. The distance of two clouds is twice the mean of their earth
mover's distances along many directions (Bonneel et al. 2015, doi:10.1007/s10851-014-0506-3): with this factor, a set
whose colours are all shifted by x has the distance x. The positions of things and their sharpness do not matter.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sim2real.cielab import to_lab
from sim2real.metrics.base import About, Features, Image
from sim2real.metrics.wasserstein import mean_differences

_DIRECTIONS = 16
_FARTHEST = 150  # dE: pure green is 148 from black, no colour of sRGB is farther
_PIXELS = 2**16  # of an image, evenly spread


class ColourMetric:
    """The metric ``colour``: the earth mover's distance of colours."""

    about = About(title="earth mover's distance of colours (CIE Lab, dE)", better="lower", least=16)
    resamples = 100

    def describe(self, images: Sequence[Image]) -> Features:
        """Return the cumulative shares of the pixels of images, RGB (H, W, 3), along each direction, in steps of 1 dE.

        Returns:
            (N, directions, places).
        """
        return np.stack([_shares(image) for image in images])

    def distance(self, images: Features, real: Features) -> float:
        """Return the distance in dE (CIE 1976): about 2.3 is just noticeable; black and white are 100 apart.

        Raises:
            ValueError: If a set is empty.
        """
        return 2 * float(mean_differences(images, real).sum(axis=1).mean())


def _shares(image: Image) -> NDArray[np.float32]:
    pixels = image.reshape(1, -1, 3)
    pixels = pixels[:, :: -(-pixels.shape[1] // _PIXELS)]
    colours = to_lab(pixels)[0]
    places = np.rint(colours @ _directions()).astype(np.int64) + _FARTHEST  # 0 to 2 * _FARTHEST
    numbered = places + (2 * _FARTHEST + 1) * np.arange(_DIRECTIONS)
    counts = np.bincount(numbered.ravel(), minlength=_DIRECTIONS * (2 * _FARTHEST + 1))
    return np.asarray(counts.reshape(_DIRECTIONS, -1).cumsum(axis=1) / len(colours), np.float32)


def _directions() -> NDArray[np.float64]:
    """Return unit vectors (3, directions) spread evenly over half a sphere, a Fibonacci lattice."""
    number = np.arange(_DIRECTIONS)
    height = (number + 0.5) / _DIRECTIONS
    turn = np.pi * (3 - np.sqrt(5)) * number
    radius = np.sqrt(1 - height**2)
    return np.stack([height, radius * np.cos(turn), radius * np.sin(turn)])
