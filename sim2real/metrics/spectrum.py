"""Measure the distance of two sets of images in fine texture, sharpness and noise, by their power spectra.

The power of luminance by spatial frequency, regardless of direction, is measured in tiles. Its logarithms are averaged
over the tiles, so that the grain of a plain wall counts as much as the contours of a tree. Tiles are compared with
tiles of equal coarse contrast, so that a set with more sky or wider roads does not appear softer. Generators leave
traces in the spectrum (Durall et al. 2020, arXiv 2003.01826), and so do renderers, lenses, sensors and codecs.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from sim2real.metrics.base import About, Features, Image
from sim2real.metrics.wasserstein import parts_of

_SIDE = 64  # px of a tile
_RINGS = 32  # of equal width, from 0 to half a cycle per pixel
_COARSE = 4  # rings that measure a tile's coarse contrast; the others are compared
_ROUNDING = 1 / 12  # grey levels squared: the variance of rounding
_CONTRASTS = np.arange(6.0, 61.0, 6.0)  # dB in the coarse rings; each tile is split between the nearest two


class SpectrumMetric:
    """The metric ``spectrum``: the difference of mean power spectra between tiles of equal coarse contrast."""

    about = About(title="difference of the power spectra of luminance (dB)", better="lower", least=8)
    resamples = 100

    def describe(self, images: Sequence[Image]) -> Features:
        """Return the contribution of each image, RGB (H, W, 3), to the spectra of a set, (N, 10, 29).

        For each contrast, it is the number of tiles with this contrast, and the sum of their powers in 28 rings of
        equal width from 1/16 to half a cycle per pixel, in dB relative to one grey level squared.
        """
        return np.stack([_spectra(image) for image in images])

    def distance(self, images: Features, real: Features) -> float:
        """Return the absolute difference between the sets' mean spectra, averaged over the rings, in dB.

        Contrasts are weighted by the square root of the product of their counts in both sets; if the sets have no
        contrast in common, the tiles are compared regardless of contrast. Sets of unequal sizes are compared in parts
        as large as the smaller one.

        Raises:
            ValueError: If a set is empty.
        """
        found = [_apart(one, other) for one, other in parts_of(images, real)]
        return float(np.mean(found))


def _apart(images: Features, real: Features) -> float:
    (count, power), (real_count, real_power) = (
        (sums[:, 0], sums[:, 1:]) for sums in (rows.sum(axis=0, dtype=np.float64) for rows in (images, real))
    )
    weights = np.sqrt(count * real_count)
    if not weights.any():
        return float(np.abs(power.sum(0) / count.sum() - real_power.sum(0) / real_count.sum()).mean())
    both = weights > 0
    steps = power[both] / count[both, None] - real_power[both] / real_count[both, None]
    return float(np.average(np.abs(steps).mean(axis=1), weights=weights[both]))


def _spectra(image: Image) -> NDArray[np.float32]:
    tiles = _tiles(np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32))
    side = tiles.shape[-1]
    window = np.outer(*[np.hanning(side + 2)[1:-1]] * 2)
    waves = np.fft.rfft2((tiles - tiles.mean(axis=(1, 2), keepdims=True)) * window)
    power = np.square(np.abs(waves)) / np.square(window).sum()  # for white noise, its variance
    steps = 10 * np.log10(power + _ROUNDING).reshape(len(tiles), -1)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)).ravel()
    coarse = (frequency > 0) & (frequency < max(_COARSE / (2 * _RINGS), 1.5 / side))
    contrast = steps[:, coarse].mean(axis=1) if coarse.any() else np.zeros(len(tiles))
    rings = np.minimum(2 * _RINGS * frequency, _RINGS).astype(np.int64)  # ring _RINGS, the corners, is not used
    members = rings == np.arange(_COARSE, _RINGS)[:, None]
    by_ring = steps @ (members / np.maximum(members.sum(axis=1, keepdims=True), 1)).T
    place = np.interp(contrast, _CONTRASTS, np.arange(len(_CONTRASTS)))
    shares = np.maximum(1 - np.abs(place - np.arange(len(_CONTRASTS))[:, None]), 0)
    return np.column_stack([shares.sum(axis=1), shares @ by_ring]).astype(np.float32)


def _tiles(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the squares (N, side, side) that tile an image, without its remainder."""
    side = min(_SIDE, *grey.shape)
    down, across = (room // side for room in grey.shape)
    cut = grey[: down * side, : across * side].reshape(down, side, across, side)
    return cut.swapaxes(1, 2).reshape(-1, side, side)
