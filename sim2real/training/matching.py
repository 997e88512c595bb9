"""Cut a simulated and a real frame so that both windows show the same part of a scene.

Windows that are sampled independently show sky on one side and roads on the other, and a discriminator that sees this
makes the generator paint trees into the sky (Richter et al. 2021, arXiv 2105.04619). Here both windows lie at about the
same place of their frames, and masks choose among several such places (after Fischer et al. 2023, FeaMGAN, who sample
crops by the classes that they share).
"""

from typing import Final, NamedTuple

import numpy as np

from sim2real.datasets.inputs import Values

_SHIFT: Final = 0.1  # the places of both windows may differ by this part of the frame's side
_DRAWS: Final = 50
_ENOUGH: Final = 0.5  # share of the pixels whose classes must agree


class Corner(NamedTuple):
    """The position of a window's upper left pixel in its frame."""

    top: int
    left: int


Corners = tuple[Corner, Corner]


def matched_corners(
    sizes: tuple[tuple[int, int], tuple[int, int]],
    window: tuple[int, int],
    random: np.random.Generator,
    masks: tuple[Values, Values] | None = None,
) -> Corners:
    """Return the corners of windows in two frames: the first at random, the second at about the same relative place.

    Args:
        sizes: The sizes (W, H) of both frames; the window fits into both.
        window: The size (W, H) of both windows.
        random: Generator of the random places; equal states give equal places.
        masks: Class numbers (H, W) of both frames, -1 where the class is unknown: of 50 samples, the first in which
            more than half of the pixels agree is used, else the one in which most pixels agree. Without masks, the
            first sample is used.
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
    """Return the share of pixels, in [0, 1], at which two masks (H, W) have the same known class."""
    return float(((first == second) & (first >= 0)).mean())


def _draw(
    sizes: tuple[tuple[int, int], tuple[int, int]], window: tuple[int, int], random: np.random.Generator
) -> Corners:
    (left, other_left), (top, other_top) = (
        _places(sizes[0][axis], sizes[1][axis], window[axis], random) for axis in (0, 1)
    )
    return Corner(top, left), Corner(other_top, other_left)


def _places(side: int, other: int, part: int, random: np.random.Generator) -> tuple[int, int]:
    """Return where parts of two sides begin so that their middles are at about the same relative place."""
    first = int(random.integers(side - part + 1))
    middle = (first + part / 2) / side + random.uniform(-_SHIFT, _SHIFT)
    return first, min(max(round(middle * other - part / 2), 0), other - part)


def _window(mask: Values, corner: Corner, size: tuple[int, int]) -> Values:
    return mask[corner.top : corner.top + size[1], corner.left : corner.left + size[0]]
