"""How far are fine texture, sharpness and noise of two sets of pictures apart? The distance of their power spectra.

The power of a picture's luminance by spatial frequency, whatever the direction, in units of its variance: a gain or a
tint hardly changes it, nor does it matter where things are. It is measured in tiles, whose logarithms are averaged, so
that the grain of a plain wall counts as much as the contours of a tree. Generators leave traces there (Durall et al.
2020, arXiv 2003.01826), and so do renderers, lenses, sensors and codecs.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from sim2real.metrics.base import About, Features, Image
from sim2real.metrics.wasserstein import mean_differences

_SIDE = 64  # px of a tile
_RINGS = 32  # of equal width, from 0 to half a cycle a pixel; the first, the tile's mean, is left out
_ROUNDING = 1 / 12  # grey levels squared: the variance of what rounding does


class SpectrumMetric:
    """The metric ``spectrum``: the difference of mean power spectra."""

    about = About(title="difference of the power spectra of luminance (dB)", better="lower", least=8)
    resamples = 100

    def describe(self, images: Sequence[Image]) -> Features:
        """The power of each picture, RGB (H, W, 3), in rings of equal width up to half a cycle a pixel: dB (N, 31)."""
        return np.stack([_spectrum(image) for image in images])

    def distance(self, images: Features, real: Features) -> float:
        """The mean over the rings of the difference between the sets' means, in dB.

        Raises:
            ValueError: There is no picture.
        """
        return float(mean_differences(images, real).mean())


def _spectrum(image: Image) -> NDArray[np.float32]:
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)
    tiles = _tiles(grey)
    side = tiles.shape[-1]
    window = np.outer(*[np.hanning(side + 2)[1:-1]] * 2)
    waves = np.fft.rfft2((tiles - tiles.mean(axis=(1, 2), keepdims=True)) * window)
    power = np.square(np.abs(waves)) / np.square(window).sum()  # of white noise: its variance
    steps = np.log10((power + _ROUNDING) / (grey.var() + _ROUNDING)).mean(axis=0)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    rings = np.minimum(2 * _RINGS * frequency, _RINGS).astype(np.int64).ravel()  # what is beyond is in the last
    total, count = np.bincount(rings, steps.ravel(), _RINGS + 1), np.bincount(rings, minlength=_RINGS + 1)
    return np.asarray(10 * (total / np.maximum(count, 1))[1:_RINGS], np.float32)


def _tiles(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squares (N, side, side) side by side, as many as there is room for."""
    side = min(_SIDE, *grey.shape)
    down, across = (room // side for room in grey.shape)
    cut = grey[: down * side, : across * side].reshape(down, side, across, side)
    return cut.swapaxes(1, 2).reshape(-1, side, side)
