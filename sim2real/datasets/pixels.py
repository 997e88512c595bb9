"""What the pixels of an image tell of what it shows, where they are no light.

Each test rests on something that the coding of a label forces on its pixels and that light does not do. How often they
are right is measured in ``benchmarks/photos.py``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim2real.datasets.base import Role

_SAMPLED: Final = 2**15  # pixels, about
_FAR: Final = 16  # parts of the shorter side: over one of them gradients are measured
_FEW_COLOURS: Final = 256
_FEW_GREYS: Final = 64
_VERY_FEW: Final = 32
_AREAS: Final = 0.8  # of the pixels, without those of the most frequent colour, have the most frequent others
_FLAT: Final = 0.8  # of neighbours among these are equal
_ENOUGH: Final = 2**11  # pixels to see gradients in: in the smallest images light is as even
_CLIPPED: Final = 0.4  # of coloured pixels: a second channel is at the end of its range, as few hues of a wheel are
_UNTOLD: Final = (0, 127 * 0x010101, 128 * 0x010101, 0xFFFFFF)  # black, both middle greys, white: no direction is these
Values = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Kind:
    """What images can be that are no camera images.

    Attributes:
        reason: What gives them away.
        role: What they are to a conversion.
        doubtful: Whether photos may have that, too.
    """

    reason: str
    role: Role
    doubtful: bool = False


FEW_COLOURS: Final = Kind(f"fewer than {_FEW_COLOURS} colours", Role.PSEUDO, doubtful=True)
FEW_IN_AREAS: Final = Kind(f"areas of fewer than {_VERY_FEW} colours", Role.PSEUDO, doubtful=True)
ONE_CHANNEL: Final = Kind("one channel, or equal ones", Role.LABEL, doubtful=True)
CODED: Final = Kind("numbers of several bytes in the channels, as of depth in 24 bits", Role.LABEL)
NORMALS: Final = Kind("colours of unit length, as of surface normals", Role.LABEL)
FLOW: Final = Kind("the hues of a wheel on white or black, as of optical flow", Role.PSEUDO)
COORDINATES: Final = Kind("channels that grow evenly in directions of their own, as of coordinates", Role.LABEL)


@dataclass(frozen=True, slots=True)
class _Pixels:
    """Pixels of an image, evenly spread over it, and others to the right and below each; all are (N, 3).

    Attributes:
        here: The pixels.
        next: Those beside them, to the right and below.
        second: Those two pixels off.
        far: Those farther off.
        codes: (N,) the pixels as numbers, 0xRRGGBB.
        told: (N,) which pixels have not the most frequent colour, that of the background.
    """

    here: Values
    next: tuple[Values, Values]
    second: tuple[Values, Values]
    far: tuple[Values, Values]
    codes: Values
    is_foreground: NDArray[np.bool_]

    @property
    def grey(self) -> bool:
        return bool((self.here == self.here[:, :1]).all())


def _sample(rgb: NDArray[np.uint8]) -> _Pixels | None:
    """Pixels of an image (H, W, 3); None of one that is too small."""
    far = max(4, min(rgb.shape[:2]) // _FAR)
    height, width = rgb.shape[0] - far, rgb.shape[1] - far
    if height < 1 or width < 1:
        return None
    step = max(1, round((height * width / _SAMPLED) ** 0.5))

    def shifted(down: int, right: int) -> Values:
        return rgb[down : height + down : step, right : width + right : step].reshape(-1, 3).astype(np.int32)

    here = shifted(0, 0)
    codes = here @ np.array([1 << 16, 1 << 8, 1], np.int32)
    values, counts = np.unique(codes, return_counts=True)
    return _Pixels(
        here,
        next=(shifted(0, 1), shifted(1, 0)),
        second=(shifted(0, 2), shifted(2, 0)),
        far=(shifted(0, far), shifted(far, 0)),
        codes=codes,
        is_foreground=codes != values[counts.argmax()],
    )


def kind_of(rgb: NDArray[np.uint8]) -> Kind | None:
    """What an image is if it is no camera image, as far as its pixels tell; None of a photo.

    Args:
        rgb: Its pixels (H, W, 3).
    """
    pixels = _sample(rgb)
    return next((kind for kind, tells in _TESTS if tells(pixels)), None) if pixels else None


def _has_few_colours(pixels: _Pixels) -> bool:
    """Classes and objects have a colour each and cover areas; grey photos have 256 levels at most, dark ones fewer."""
    count = len(np.unique(pixels.codes))
    if count >= min(_FEW_GREYS if pixels.grey else _FEW_COLOURS, len(pixels.codes) / 16):
        return False
    flat = np.mean([(pixels.here == other).all(axis=1) for other in pixels.next])
    return bool(flat >= (0.7 if count < _VERY_FEW else 0.85))


def _has_areas_of_few_colours(pixels: _Pixels) -> bool:
    """Between classes and objects that were drawn or scaled smoothly are any number of colours, but on no area."""
    codes = pixels.codes[pixels.is_foreground]
    counts = np.sort(np.unique(codes, return_counts=True)[1])
    if len(counts) < _FEW_COLOURS or counts[1 - _VERY_FEW :].sum() < _AREAS * len(codes):
        return False
    flat = np.mean([(pixels.here == other).all(axis=1)[pixels.is_foreground] for other in pixels.next])
    return bool(flat >= _FLAT)


def _is_coded(pixels: _Pixels) -> bool:
    """Where a number goes on from pixel to pixel and its high byte rises by one, its low byte falls back.

    Light that rises by one level in one channel never falls by 200 in another.
    """
    steps = np.concatenate([other - pixels.here for other in pixels.next])
    for high, low in permutations(range(3), 2):
        carried = steps[np.abs(steps[:, high]) == 1]
        change = np.abs(256 * carried[:, high] + carried[:, low])
        if len(carried) >= max(64, len(steps) / 1000) and (change < 64).mean() >= 0.25:
            return True
    return False


def _are_normals(pixels: _Pixels) -> bool:
    """Directions have the length 1; fog of the right brightness has it, too, but is grey, and all alike."""
    vectors = pixels.here[~np.isin(pixels.codes, _UNTOLD)] / 127.5 - 1
    lengths = np.linalg.norm(vectors, axis=1)
    unit = np.abs(lengths - 1) < 0.06
    if len(vectors) < len(pixels.here) / 20 or unit.mean() < 0.85:
        return False
    directions = vectors[unit] / lengths[unit, None]
    is_grey = np.abs(directions.sum(axis=1)) / 3**0.5 > 0.95
    return bool(np.linalg.norm(directions.mean(axis=0)) < 0.95 and is_grey.mean() < 0.5)


def _is_flow(pixels: _Pixels) -> bool:
    """Directions are hues, of all around the wheel; speed is saturation on white, or brightness on black."""
    least, middle, most = np.sort(pixels.here, axis=1).T
    coloured = most - least > 24
    bright, dark = (most >= 250).mean(), (least <= 5).mean()
    if max(bright, dark) < 0.95 or coloured.mean() < 0.1:
        return False
    if ((middle >= 250) if bright > dark else (middle <= 5))[coloured].mean() > _CLIPPED:
        return False  # light that is too bright, or too dark, for a camera
    chosen = pixels.here[coloured]
    hues = np.bincount(3 * chosen.argmax(axis=1) + chosen.argmin(axis=1), minlength=9) / len(chosen)
    steps = np.max([np.abs(other - pixels.here).max(axis=1) for other in pixels.next], axis=0)[coloured]
    return bool((hues > 0.03).sum() >= 3 and (steps <= 6).mean() >= 0.6)


def _are_coordinates(pixels: _Pixels) -> bool:
    """Each channel grows evenly, and in a direction of its own; light brightens all channels alike."""
    if len(pixels.here) < _ENOUGH or pixels.is_foreground.mean() < 0.01:
        return False
    here = pixels.here[pixels.is_foreground]
    bends = np.max(
        [
            np.abs(second[pixels.is_foreground] - 2 * first[pixels.is_foreground] + here).max(axis=1)
            for first, second in zip(pixels.next, pixels.second, strict=True)
        ],
        axis=0,
    )
    right, below = (far[pixels.is_foreground] - here for far in pixels.far)
    even = (np.maximum(np.abs(right), np.abs(below)).max(axis=1) < 64) & (bends <= 2)
    lengths = np.hypot(right, below)
    sines = np.full(len(here), -1.0)
    for one, other in combinations(range(3), 2):
        both = even & (np.minimum(lengths[:, one], lengths[:, other]) >= 3)
        crossing = np.abs(right[:, one] * below[:, other] - below[:, one] * right[:, other])
        sines[both] = np.maximum(sines, crossing / np.maximum(1, lengths[:, one] * lengths[:, other]))[both]
    slanted = sines >= 0
    return bool((bends <= 2).mean() >= 0.75 and slanted.mean() >= 0.25 and np.median(sines[slanted]) >= 0.9)


def _is_grey(pixels: _Pixels) -> bool:
    return pixels.grey


_TESTS: Final[tuple[tuple[Kind, Callable[[_Pixels], bool]], ...]] = (
    (FEW_COLOURS, _has_few_colours),
    (FEW_IN_AREAS, _has_areas_of_few_colours),
    (CODED, _is_coded),
    (NORMALS, _are_normals),
    (FLOW, _is_flow),
    (COORDINATES, _are_coordinates),
    (ONE_CHANNEL, _is_grey),
)
