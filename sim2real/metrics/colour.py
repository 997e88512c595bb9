"""How far are the colours of two sets of pictures apart? Their earth mover's distance, along many directions.

All pixels of a set are one cloud of colours in CIE Lab. Its distance from another's is the mean of the earth mover's
distances of both along directions (sliced: Bonneel et al. 2015, doi:10.1007/s10851-014-0506-3), twice: then a set all
of whose colours are shifted by a difference of x is x away. Where things are, and how sharp, does not matter.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sim2real.cielab import to_lab
from sim2real.metrics.base import About, Features, Image
from sim2real.metrics.wasserstein import mean_differences

_DIRECTIONS = 16
_FARTHEST = 150  # dE: that of pure green from black is 148, no colour of sRGB has more
_PIXELS = 2**16  # of a picture, evenly spread


class ColourMetric:
    """The metric ``colour``: the earth mover's distance of colours."""

    about = About(title="earth mover's distance of colours (CIE Lab, dE)", better="lower", least=16)
    resamples = 100

    def describe(self, images: Sequence[Image]) -> Features:
        """The share of the pixels of each picture, RGB (H, W, 3), up to places 1 dE apart: (N, directions, places)."""
        return np.stack([_shares(image) for image in images])

    def distance(self, images: Features, real: Features) -> float:
        """The distance in dE (CIE 1976): 2.3 is about the least that is seen; black and white are 100 apart.

        Raises:
            ValueError: There is no picture.
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
    """Directions (3, directions) of length 1, even over half a sphere: a Fibonacci lattice."""
    number = np.arange(_DIRECTIONS)
    height = (number + 0.5) / _DIRECTIONS
    turn = np.pi * (3 - np.sqrt(5)) * number
    radius = np.sqrt(1 - height**2)
    return np.stack([height, radius * np.cos(turn), radius * np.sin(turn)])
