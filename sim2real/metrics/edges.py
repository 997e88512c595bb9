"""Measure whether the content of an image stayed in place: new and lost edges, whatever happened to the colours.

The metric needs no weights and no labels: where outlines stay, boxes and masks stay true. Edges are those of Canny
(1986) on the gradients of the logarithm of the channels, which a gain or a tint does not change. The gradients are
smoothed to ignore grain, and divided by the image's own contrast, which cancels most of a tone curve.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from sim2real.metrics.base import About, Change, Image

if TYPE_CHECKING:
    from sim2real.datasets.labels import Label

_SMOOTHING = 1.5  # px, the standard deviation of a Gaussian
_DARK = 32.0  # grey levels added to all pixels: differences far below are mostly noise
_CLEAR = 2.5  # steepness of an edge that counts, in units of the image's contrast
_FAINT = 0.5  # steepness of the faintest edge
_LEAST_CONTRAST = 0.02  # below this is noise, which must not become edges
_REACH = 2.0  # px
_FEWEST = 0.001  # of the pixels: smallest denominator of a share, so that a speck in a blank image is no large share


class EdgeChanges(NamedTuple):
    """New and lost edges of a translation.

    Attributes:
        new: Share of the output's clear edges that are more than 2 px from any edge of the input, 0 to 1.
        lost: Share of the input's clear edges that are more than 2 px from any edge of the output, 0 to 1.
    """

    new: float
    lost: float


class Edges(NamedTuple):
    """The edges of an image, (H, W) bool.

    Attributes:
        clear: The clear edges, which are counted.
        near: Pixels within 2 px of any edge, including faint ones.
    """

    clear: NDArray[np.bool_]
    near: NDArray[np.bool_]


def edge_changes(before: Image, after: Image) -> EdgeChanges:
    """Compare the edges of an image with those of its translation.

    Args:
        before: The input, RGB (H, W, 3).
        after: The output, of the same size.

    Raises:
        ValueError: If the sizes differ.
    """
    return compare_edges(find_edges(before), find_edges(after))


def find_edges(image: Image) -> Edges:
    """Find the edges of an image, RGB (H, W, 3)."""
    smooth = cv2.GaussianBlur(np.log(image.astype(np.float32) + _DARK), (0, 0), _SMOOTHING)
    slopes = np.stack([cv2.Sobel(smooth, cv2.CV_32F, x, 1 - x, scale=1 / 8) for x in (1, 0)])
    steepest = np.square(slopes).sum(axis=0).argmax(axis=2)[None, :, :, None]
    slopes = np.take_along_axis(slopes, steepest, axis=3)[..., 0]
    slopes /= max(float(np.sqrt(np.square(slopes).sum(axis=0).mean())), _LEAST_CONTRAST)
    distance = cv2.distanceTransform((~_canny(slopes, _FAINT)).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return Edges(_canny(slopes, _CLEAR), np.asarray(distance) <= _REACH)


def _canny(slopes: NDArray[np.float32], steepness: float) -> NDArray[np.bool_]:
    """Return the crests of slopes (2, H, W) that reach a steepness somewhere and half of it everywhere."""
    across, down = np.rint(1000 * slopes).astype(np.int16)  # OpenCV's Canny needs int16; no slope exceeds 32
    return np.asarray(cv2.Canny(across, down, 500 * steepness, 1000 * steepness, L2gradient=True)) > 0


def compare_edges(before: Edges, after: Edges) -> EdgeChanges:
    """Compare the edges of two images of the same size.

    Raises:
        ValueError: If the sizes differ.
    """
    if before.clear.shape != after.clear.shape:
        raise ValueError(f"images of {before.clear.shape} and {after.clear.shape} pixels cannot be compared")
    return EdgeChanges(new=_share(after.clear, before.near), lost=_share(before.clear, after.near))


def _share(edges: NDArray[np.bool_], near: NDArray[np.bool_]) -> float:
    """Return the share of edges that are not near the other image's edges."""
    count = max(float(edges.sum()), _FEWEST * edges.size)
    return float((edges & ~near).sum()) / count


def preservation(changes: EdgeChanges) -> float:
    """Return how well the edges are preserved, from 0 to 1.

    The value is the share of the output's edges that the input has, times the share of the input's edges that the
    output has.
    """
    return (1 - changes.new) * (1 - changes.lost)


class EdgeMetric:
    """The metric ``edges``: the shares of new and of lost edges, and the preservation computed from them."""

    abouts: Mapping[str, About] = {
        "new_edges": About(title="share of edges that are new", better="lower"),
        "lost_edges": About(title="share of edges that were lost", better="lower"),
        "preservation": About(title="(1 - new edges) x (1 - lost edges)", better="higher"),
    }

    def compare(self, before: Image, after: Image, labels: "Mapping[str, Label]") -> dict[str, Change]:  # noqa: ARG002  the contract of frame metrics; edges need no labels
        """Return the three values, 0 to 1, of a frame and its translation, RGB (H, W, 3).

        Raises:
            ValueError: If the sizes differ.
        """
        changes = edge_changes(before, after)
        return {
            "new_edges": Change(changes.new),
            "lost_edges": Change(changes.lost),
            "preservation": Change(preservation(changes)),
        }
