"""Did what is in a picture stay in its place? Edges that appeared and edges that went, whatever became of the colours.

The measure needs no weights and no labels: where outlines stay, boxes and masks stay true. A picture's edges are those
of Canny (1986) on the gradients of the logarithm of its channels, which a gain or a tint does not change, smoothed so
that grain does not count, in units of the picture's own contrast, which undoes most of a tone curve.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

_SMOOTHING = 1.5  # px, the standard deviation of a Gaussian
_DARKEST = 16.0  # grey levels below which differences are mostly noise
_FAINTEST = 0.03  # the least contrast of a picture that edges are measured in: of less, noise would become edges
_CLEAR = 1.5  # an edge that counts, in units of the picture's contrast
_FAINT = 0.35  # one that is there at all, as a part of that
_REACH = 2.0  # px
_FEWEST = 0.001  # of the pixels: fewer edges count as so many, so that a speck in a blank picture is no large share


class EdgeChanges(NamedTuple):
    """What a translation did to the edges of a picture.

    Attributes:
        new: Share of the output's clear edges that are more than 2 px from any edge of the input, 0 to 1.
        lost: Share of the input's clear edges that are more than 2 px from any edge of the output, 0 to 1.
    """

    new: float
    lost: float


class Edges(NamedTuple):
    """The edges of a picture, (H, W) bool.

    Attributes:
        clear: Those that count.
        near: Pixels within 2 px of any edge, faint ones among them.
    """

    clear: NDArray[np.bool_]
    near: NDArray[np.bool_]


def edge_changes(before: Image, after: Image) -> EdgeChanges:
    """Compare the edges of a picture with those of its translation.

    Args:
        before: The input, RGB (H, W, 3).
        after: The output, of the same size.

    Raises:
        ValueError: The sizes differ.
    """
    return compare_edges(find_edges(before), find_edges(after))


def find_edges(image: Image) -> Edges:
    """Find the edges of a picture, RGB (H, W, 3)."""
    smooth = cv2.GaussianBlur(np.log(image.astype(np.float32) + _DARKEST), (0, 0), _SMOOTHING)
    slopes = np.stack([cv2.Sobel(smooth, cv2.CV_32F, x, 1 - x, scale=1 / 8) for x in (1, 0)])
    steepest = np.square(slopes).sum(axis=0).argmax(axis=2)[None, :, :, None]
    slopes = np.take_along_axis(slopes, steepest, axis=3)[..., 0]
    contrast = max(float(np.sqrt(np.square(slopes).sum(axis=0).mean())), _FAINTEST)
    clear, faint = (_ridges(slopes / (contrast * _CLEAR * part)) for part in (1, _FAINT))
    distance = cv2.distanceTransform((~faint).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return Edges(clear, np.asarray(distance) <= _REACH)


def _ridges(slopes: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Crests of the gradient (2, H, W) that are at least 1/2 high and reach 1 somewhere."""
    across, down = np.clip(np.rint(1000 * slopes), -32000, 32000).astype(np.int16)
    return np.asarray(cv2.Canny(across, down, 500, 1000, L2gradient=True)) > 0


def compare_edges(before: Edges, after: Edges) -> EdgeChanges:
    """Compare the edges of two pictures of one size."""
    if before.clear.shape != after.clear.shape:
        raise ValueError(f"pictures of {before.clear.shape} and {after.clear.shape} pixels cannot be compared")
    return EdgeChanges(new=_share(after.clear, before.near), lost=_share(before.clear, after.near))


def _share(edges: NDArray[np.bool_], near: NDArray[np.bool_]) -> float:
    """The share of edges that are not near others."""
    count = max(float(edges.sum()), _FEWEST * edges.size)
    return float((edges & ~near).sum()) / count


class EdgeMetric:
    """The metric ``edges``: mean shares of new and of lost edges over all frames."""

    def __call__(self, before: Sequence[Image], after: Sequence[Image], real: Sequence[Image]) -> dict[str, float]:  # noqa: ARG002  the contract of metrics; nothing real is needed
        """``new_edges`` and ``lost_edges``, 0 to 1; ``before`` and ``after`` are the same frames, in order."""
        changes = [edge_changes(*frame) for frame in zip(before, after, strict=True)]
        new, lost = np.mean(changes, axis=0)
        return {"new_edges": float(new), "lost_edges": float(lost)}
