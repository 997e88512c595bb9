"""Recognise images that are not photos by their pixels.

Each test relies on a property that the encoding of a label forces on its pixels and that light does not have. Their
accuracy is measured in ``benchmarks/photos.py``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim2real.datasets.base import Role

_SAMPLED: Final = 2**15  # pixels, about
_FAR: Final = 16  # gradients are measured over 1/16 of the shorter side
_FEW_COLOURS: Final = 256
_FEW_GREYS: Final = 64
_VERY_FEW: Final = 32
_AREAS: Final = 0.8  # of the foreground pixels have the most frequent colours
_FLAT: Final = 0.8  # of their neighbours are equal
_ENOUGH: Final = 2**11  # pixels needed to judge gradients: in tiny images light is as even
_CLIPPED: Final = 0.4  # of coloured pixels have a second channel at the end of its range; rare on a hue wheel
_NO_DIRECTION: Final = (0, 127 * 0x010101, 128 * 0x010101, 0xFFFFFF)  # black, both middle greys, white: not directions
Values = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of images that are not camera images.

    Attributes:
        reason: What identifies them, as part of a message.
        role: Their role in a conversion.
        doubtful: Whether photos may have this property too.
    """

    reason: str
    role: Role
    doubtful: bool = False


FEW_COLOURS: Final = Kind(f"fewer than {_FEW_COLOURS} colours", Role.PSEUDO, doubtful=True)
FEW_IN_AREAS: Final = Kind(f"areas of fewer than {_VERY_FEW} colours", Role.PSEUDO, doubtful=True)
ONE_CHANNEL: Final = Kind("one channel, or equal ones", Role.LABEL, doubtful=True)
CODED: Final = Kind("numbers of several bytes in the channels, e.g. depth in 24 bits", Role.LABEL)
NORMALS: Final = Kind("colours of unit length, like surface normals", Role.LABEL)
FLOW: Final = Kind("the hues of a colour wheel on white or black, like optical flow", Role.PSEUDO)
COORDINATES: Final = Kind("channels that grow evenly, each in its own direction, like coordinates", Role.LABEL)


@dataclass(frozen=True, slots=True)
class _Pixels:
    """Pixels spread evenly over an image, and neighbours to the right of and below each; all are (N, 3).

    Attributes:
        here: The pixels.
        next: The adjacent pixels, to the right and below.
        second: The pixels at a distance of two, to the right and below.
        far: More distant pixels, to the right and below.
        codes: The pixels as numbers 0xRRGGBB, (N,).
        is_foreground: Whether a pixel differs from the most frequent colour, the background, (N,).
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
    """Sample pixels of an image (H, W, 3); return None if it is too small."""
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
    """Return the kind of an image whose pixels show that it is not a photo, or may not be one; None for a photo.

    Args:
        rgb: The pixels of the image (H, W, 3).
    """
    pixels = _sample(rgb)
    return next((kind for kind, tells in _TESTS if tells(pixels)), None) if pixels else None


def _has_few_colours(pixels: _Pixels) -> bool:
    """Test for flat areas of few colours: classes and objects. Grey photos have 256 levels, dark ones fewer."""
    count = len(np.unique(pixels.codes))
    if count >= min(_FEW_GREYS if pixels.grey else _FEW_COLOURS, len(pixels.codes) / 16):
        return False
    flat = np.mean([(pixels.here == other).all(axis=1) for other in pixels.next])
    return bool(flat >= (0.7 if count < _VERY_FEW else 0.85))


def _has_areas_of_few_colours(pixels: _Pixels) -> bool:
    """Test for flat areas of few colours, where smooth edges between classes or objects add many other colours."""
    codes = pixels.codes[pixels.is_foreground]
    counts = np.sort(np.unique(codes, return_counts=True)[1])
    if len(counts) < _FEW_COLOURS or counts[1 - _VERY_FEW :].sum() < _AREAS * len(codes):
        return False
    flat = np.mean([(pixels.here == other).all(axis=1)[pixels.is_foreground] for other in pixels.next])
    return bool(flat >= _FLAT)


def _is_coded(pixels: _Pixels) -> bool:
    """Test for numbers of several bytes: where the high byte rises by one, the low byte wraps around.

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
    """Test for directions, which have length 1; fog of a certain brightness has too, but is grey and uniform."""
    vectors = pixels.here[~np.isin(pixels.codes, _NO_DIRECTION)] / 127.5 - 1
    lengths = np.linalg.norm(vectors, axis=1)
    unit = np.abs(lengths - 1) < 0.06
    if len(vectors) < len(pixels.here) / 20 or unit.mean() < 0.85:
        return False
    directions = vectors[unit] / lengths[unit, None]
    is_grey = np.abs(directions.sum(axis=1)) / 3**0.5 > 0.95
    return bool(np.linalg.norm(directions.mean(axis=0)) < 0.95 and is_grey.mean() < 0.5)


def _is_flow(pixels: _Pixels) -> bool:
    """Test for flow as colours: direction as hue, speed as saturation on white or as brightness on black."""
    least, middle, most = np.sort(pixels.here, axis=1).T
    coloured = most - least > 24
    bright, dark = (most >= 250).mean(), (least <= 5).mean()
    if max(bright, dark) < 0.95 or coloured.mean() < 0.1:
        return False
    if ((middle >= 250) if bright > dark else (middle <= 5))[coloured].mean() > _CLIPPED:
        return False  # an overexposed or underexposed photo
    chosen = pixels.here[coloured]
    hues = np.bincount(3 * chosen.argmax(axis=1) + chosen.argmin(axis=1), minlength=9) / len(chosen)
    steps = np.max([np.abs(other - pixels.here).max(axis=1) for other in pixels.next], axis=0)[coloured]
    return bool((hues > 0.03).sum() >= 3 and (steps <= 6).mean() >= 0.6)


def _are_coordinates(pixels: _Pixels) -> bool:
    """Test for coordinates: each channel grows evenly in its own direction; light brightens all channels alike."""
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
