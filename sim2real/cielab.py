"""Colours in CIELAB: lightness 0 to 100, colour channels about -100 to 100; a step of 1 is just about visible."""

import cv2
import numpy as np
from numpy.typing import NDArray

Lab = NDArray[np.float32]
Moments = NDArray[np.float64]
_LEAST_SPREAD = 0.1  # of a channel, so that uniform images stay uniform


def to_lab(rgb: NDArray[np.uint8]) -> Lab:
    """Convert sRGB (H, W, 3), or a stack (N, H, W, 3), to CIELAB (H, W, 3) or (N * H, W, 3)."""
    rows = rgb.reshape(-1, *rgb.shape[-2:])
    return np.asarray(cv2.cvtColor(rows.astype(np.float32) / 255, cv2.COLOR_RGB2Lab), np.float32)


def to_rgb(lab: Lab) -> NDArray[np.uint8]:
    """Convert CIELAB (H, W, 3) to sRGB of the same shape; colours outside sRGB are clipped."""
    return np.asarray(np.rint(cv2.cvtColor(lab, cv2.COLOR_Lab2RGB) * 255).clip(0, 255), np.uint8)


def moments(lab: Lab) -> Moments:
    """Return the number of pixels and the sums of (L, a, b) and of their squares, (7,); moments of images add up."""
    values = lab.reshape(-1, 3).astype(np.float64)
    return np.concatenate([[len(values)], values.sum(0), (values**2).sum(0)])


def give_colours(lab: Lab, own: Moments, wanted: Moments) -> Lab:
    """Transfer mean and standard deviation of colours (after Reinhard et al. 2001).

    Args:
        lab: CIELAB (H, W, 3).
        own: Moments to replace: of ``lab``, or of a set of images that it belongs to.
        wanted: Moments with the target mean and standard deviation.
    """
    (mean, spread), (wanted_mean, wanted_spread) = _mean_and_spread(own), _mean_and_spread(wanted)
    gain = wanted_spread / np.maximum(spread, _LEAST_SPREAD)
    return lab * np.float32(gain) + np.float32(wanted_mean - gain * mean)


def _mean_and_spread(moments: Moments) -> tuple[Moments, Moments]:
    mean = moments[1:4] / moments[0]
    return mean, np.sqrt(np.maximum(moments[4:] / moments[0] - mean**2, 0))
