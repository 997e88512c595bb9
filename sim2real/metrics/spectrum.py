"""How far are fine texture, sharpness and noise of two sets of pictures apart? The distance of their power spectra.

The power of a picture's luminance by spatial frequency, whatever the direction, in units of its variance: a gain or a
tint does not change it, nor does it matter where things are. Generators leave traces there (Durall et al. 2020, arXiv
2003.01826), and so do renderers, lenses, sensors and codecs.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from sim2real.metrics.base import About, Features, Image
from sim2real.metrics.wasserstein import mean_differences

_RINGS = 32  # of equal width, from 0 to half a cycle a pixel
_ROUNDING = 1 / 12  # grey levels squared: the variance of what rounding does


class SpectrumMetric:
    """The metric ``spectrum``: the difference of mean power spectra."""

    about = About(title="difference of the power spectra of luminance (dB)", better="lower", least=8)
    resamples = 100

    def describe(self, images: Sequence[Image]) -> Features:
        """The power of each picture, RGB (H, W, 3), in rings of equal width up to half a cycle a pixel: dB (N, 32)."""
        return np.stack([_spectrum(image) for image in images])

    def distance(self, images: Features, real: Features) -> float:
        """The mean over the rings of the difference between the sets' means, in dB.

        Raises:
            ValueError: There is no picture.
        """
        return float(mean_differences(images, real).mean())


def _spectrum(image: Image) -> NDArray[np.float32]:
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)
    height, width = grey.shape
    window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])
    power = np.square(np.abs(np.fft.rfft2((grey - grey.mean()) * window))) / np.square(window).sum()
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    rings = np.minimum(2 * _RINGS * frequency, _RINGS).astype(np.int64).ravel()  # what is beyond is in the last
    total, count = np.bincount(rings, power.ravel(), _RINGS + 1), np.bincount(rings, minlength=_RINGS + 1)
    mean = (total / np.maximum(count, 1))[:_RINGS]
    return np.asarray(10 * np.log10((mean + _ROUNDING) / (grey.var() + _ROUNDING)), np.float32)
