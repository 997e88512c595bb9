"""Do the objects still stand out? The contrast across the outline of each class, before and after.

A network that has learnt that real cars are grey on grey asphalt lets cars fade, and labels then mark what cannot be
seen. Contrast is measured between the means of both sides of an outline, in the logarithm of the channels, which a gain
or a tint only shifts, and in units of the picture's own spread, which undoes most of a tone curve or of haze.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from sim2real.metrics.base import About, Change, Image
from sim2real.metrics.regions import Mask, border, class_masks

if TYPE_CHECKING:
    from sim2real.datasets.labels import Label

_Floats = NDArray[np.float32]

_DARK = 8.0  # grey levels, added to all: differences far below are mostly noise
_SIDE = 15  # px of the window around a point of the outline
_CLEAR = 4.0  # px from the outline, where a pixel counts in full
_LEAST_SPREAD = 0.05  # of the logarithms: less is a blank picture
_FEWEST = 50  # px of outline: of less, nothing can be said


class ContrastMetric:
    """The metric ``contrast``: how much each class stands out from what is around it.

    Figures of a frame: ``contrast/Class``, and ``contrast``, their mean weighted by the lengths of the outlines; after
    and before, higher is better: in units of the picture's spread, 0 of what cannot be told from its surroundings.
    """

    abouts: Mapping[str, About] = {
        "contrast": About(title="contrast across outlines, in units of the picture's spread", better="higher")
    }

    def compare(self, before: Image, after: Image, labels: "Mapping[str, Label]") -> dict[str, Change]:
        """Compare a frame with its translation.

        Args:
            before: The frame, RGB (H, W, 3).
            after: Its translation, of the same size.
            labels: Its ``"segmentation"`` is used, else its ``"boxes"``.

        Raises:
            DatasetError: The segmentation is not of the frame's size.
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
    """The channels (H, W, 3) on a logarithmic scale, in units of their spread over the picture."""
    values = np.log(image.astype(np.float32) + _DARK)
    spread = max(float(np.sqrt(values.var(axis=(0, 1)).mean())), _LEAST_SPREAD)
    return np.asarray(values / spread, np.float32)


def _across(mask: Mask, outline: Mask, looks: tuple[_Floats, ...]) -> list[float]:
    """How far the means inside and outside of a mask are from each other, the mean over the points of its outline."""
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
    """How much the pixels of a mask count: less beside its outline, where blur mixes both sides."""
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.square(np.minimum(np.asarray(distance, np.float32), _CLEAR))


def _around(outline: Mask) -> tuple[slice, slice]:
    """The smallest window that holds an outline and what is within reach of it."""
    rows, columns = (np.flatnonzero(outline.any(axis=axis)) for axis in (1, 0))
    reach = _SIDE // 2
    down, along = (slice(max(0, some[0] - reach), some[-1] + reach + 1) for some in (rows, columns))
    return down, along


def _windows(values: _Floats) -> _Floats:
    """The sum of the values around each pixel."""
    return np.asarray(cv2.boxFilter(values, -1, (_SIDE, _SIDE), normalize=False, borderType=cv2.BORDER_CONSTANT))
