"""Measure whether objects still stand out: the contrast across the outlines of each class, before and after.

A network that has learnt that real cars are grey on grey asphalt lets cars fade, and labels then mark invisible
objects. Contrast is measured between the means of both sides of an outline: in the logarithm of the channels, which a
gain or a tint only shifts, and in units of the image's own spread, which cancels most of a tone curve or of haze.
"""

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from sim2real.datasets.labels import Label
from sim2real.metrics.base import About, Change, Image
from sim2real.metrics.regions import Mask, border, class_masks

_Floats = NDArray[np.float32]

_DARK = 8.0  # grey levels added to all pixels: differences far below are mostly noise
_SIDE = 15  # px of the window around a point of the outline
_CLEAR = 4.0  # px from the outline: from here on, a pixel has its full weight
_LEAST_SPREAD = 0.05  # of the logarithms, so that blank images do not divide by 0
_FEWEST = 50  # px of outline: shorter ones are not measured


class ContrastMetric:
    """The metric ``contrast``: how much each class stands out from its surroundings.

    The values are ``contrast/Class``, and ``contrast``, their mean weighted by the lengths of the outlines; after and
    before, higher is better. They are in units of the image's spread; 0 means no difference from the surroundings.
    """

    abouts: Mapping[str, About] = {
        "contrast": About(title="contrast across outlines, in units of the image's spread", better="higher")
    }

    def compare(self, before: Image, after: Image, labels: Mapping[str, Label]) -> dict[str, Change]:
        """Compare a frame with its translation.

        Args:
            before: The frame, RGB (H, W, 3).
            after: Its translation, of the same size.
            labels: Labels of the frame; ``"segmentation"`` is used, else ``"boxes"``.

        Raises:
            DatasetError: If the segmentation does not have the frame's size.
        """
        looks = _logarithms(after), _logarithms(before)
        figures, lengths = {}, []
        for name, mask in class_masks(labels, before.shape).items():
            outline = border(mask)
            if (length := int(outline.sum())) >= _FEWEST:
                figures[f"contrast/{name}"] = Change(*_across(mask, outline, looks))
                lengths.append(length)
        if figures:
            figures["contrast"] = Change(*np.average(list(figures.values()), axis=0, weights=lengths).tolist())
        return figures


def _logarithms(image: Image) -> _Floats:
    """Return the channels (H, W, 3) on a logarithmic scale, in units of their spread over the image."""
    values = np.log(image.astype(np.float32) + _DARK)
    spread = max(float(np.sqrt(values.var(axis=(0, 1)).mean())), _LEAST_SPREAD)
    return np.asarray(values / spread, np.float32)


def _across(mask: Mask, outline: Mask, looks: tuple[_Floats, ...]) -> list[float]:
    """Return the distance of the means inside and outside of a mask, averaged over the points of its outline."""
    window = _around(outline)
    mask, outline = mask[window], outline[window]
    sides = [_weights(mask), _weights(~mask)]
    sums = [_windows(side)[outline, None] for side in sides]
    contrasts = []
    for look in looks:
        inside, outside = (
            _windows(look[window] * side[..., None])[outline] / total for side, total in zip(sides, sums, strict=True)
        )
        contrasts.append(float(np.linalg.norm(inside - outside, axis=1).mean()))
    return contrasts


def _weights(mask: Mask) -> _Floats:
    """Return the weights of a mask's pixels, smaller near its outline, where blur mixes both sides."""
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.square(np.minimum(np.asarray(distance, np.float32), _CLEAR))


def _around(outline: Mask) -> tuple[slice, slice]:
    """Return the smallest window that holds an outline and the pixels within its reach."""
    rows, columns = (np.flatnonzero(outline.any(axis=axis)) for axis in (1, 0))
    reach = _SIDE // 2
    down, along = (slice(max(0, some[0] - reach), some[-1] + reach + 1) for some in (rows, columns))
    return down, along


def _windows(values: _Floats) -> _Floats:
    """Return the sum of the values in a window around each pixel."""
    return np.asarray(cv2.boxFilter(values, -1, (_SIDE, _SIDE), normalize=False, borderType=cv2.BORDER_CONSTANT))
