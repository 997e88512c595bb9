"""Where a simulated and a real frame are cut so that both windows show the same part of a scene.

Windows drawn apart show skies on one side where the other has roads, and a discriminator that sees this asks for trees
in the sky (Richter et al. 2021, arXiv 2105.04619). Here both lie at one place of their frames, and masks choose among
several such places (after Fischer et al. 2023, FeaMGAN, who sample crops by the classes that they share).
"""

from typing import Final, NamedTuple

import numpy as np

from sim2real.datasets.inputs import Values

_SHIFT: Final = 0.1  # of the frame's side, how far the places of both windows may differ
_DRAWS: Final = 50
_ENOUGH: Final = 0.5  # of the pixels, whose classes agree


class Corner(NamedTuple):
    """Where the upper left pixel of a window is in its frame."""

    top: int
    left: int


Corners = tuple[Corner, Corner]


def matched_corners(
    sizes: tuple[tuple[int, int], tuple[int, int]],
    window: tuple[int, int],
    random: np.random.Generator,
    masks: tuple[Values, Values] | None = None,
) -> Corners:
    """Where windows of two frames lie: the first anywhere, the second with its middle there, too, or nearly so.

    Args:
        sizes: (W, H) of both frames, which the window fits into.
        window: (W, H) of what is cut from each.
        random: Draws the places; from one state always the same ones.
        masks: Class numbers (H, W) of both, -1 where a class is unknown: of 50 draws the first in which more than half
            of the pixels agree is taken, else that in which most do. Without them the first is.
    """
    best = _draw(sizes, window, random)
    if masks is None:
        return best
    most = agreement(*map(_window, masks, best, (window, window)))
    for _ in range(1, _DRAWS):
        if most > _ENOUGH:
            break
        corners = _draw(sizes, window, random)
        agreeing = agreement(*map(_window, masks, corners, (window, window)))
        if agreeing > most:
            best, most = corners, agreeing
    return best


def agreement(first: Values, second: Values) -> float:
    """The share of pixels at which two masks (H, W) have one class, and a known one; in [0, 1]."""
    return float(((first == second) & (first >= 0)).mean())


def _draw(
    sizes: tuple[tuple[int, int], tuple[int, int]], window: tuple[int, int], random: np.random.Generator
) -> Corners:
    (left, other_left), (top, other_top) = (
        _places(sizes[0][axis], sizes[1][axis], window[axis], random) for axis in (0, 1)
    )
    return Corner(top, left), Corner(other_top, other_left)


def _places(side: int, other: int, part: int, random: np.random.Generator) -> tuple[int, int]:
    """Where parts of two sides begin, whose middles are at about the same share of them."""
    first = int(random.integers(side - part + 1))
    middle = (first + part / 2) / side + random.uniform(-_SHIFT, _SHIFT)
    return first, min(max(round(middle * other - part / 2), 0), other - part)


def _window(mask: Values, corner: Corner, size: tuple[int, int]) -> Values:
    return mask[corner.top : corner.top + size[1], corner.left : corner.left + size[0]]
