"""How far are the looks of two sets of pictures apart? The sliced Wasserstein distance of their patches.

Karras et al. 2018 (arXiv 1710.10196): patches of 7x7 pixels from every level of a Laplacian pyramid, projected on
random directions, along which the distributions of the two sets are compared. The fine levels tell of texture and
sharpness, the coarsest of light and colour. It needs no trained weights and is steady for tens of pictures.

Three things differ from the publication. Colours are measured in units of the real set's spread alone, where the
publication normalises each set by its own and would not see a change of contrast. Sets are compared in parts of equal
numbers of pictures, since the distance of finite samples depends on their numbers. And pictures of unequal size are cut
to the middle that all have.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, product

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from sim2real.metrics.base import About, Features, Image

_Floats = NDArray[np.float32]

_SIDE = 7  # px of a patch
_COARSEST = 16  # px of the coarsest level's shorter side, at least
_PATCHES = 128  # of a picture and level
_DIRECTIONS = 128

_MANY_PATCHES, _FEW_DIRECTIONS = 1024, 32  # where places along a direction are counted, not kept
_PLACES = np.sinh(np.linspace(-1, 1, 48) * np.arcsinh(1000))  # grey levels, close together where most patches are
_LEAST_SPREAD = 0.5  # grey levels: less is rounding


class SlicedWasserstein:
    """The distance of sets of pictures from a real one.

    Args:
        real: The real pictures, RGB (H, W, 3), one or more.
        seed: Decides directions and places of patches; equal seeds give equal distances.

    Raises:
        ValueError: There is no picture.
    """

    def __init__(self, real: Sequence[Image], *, seed: int = 0) -> None:
        self.real = real
        self.seed = seed
        self._size = _common_size(real)
        self._looks: dict[tuple[int, int], tuple[list[_Floats], list[_Floats]]] = {}

    def distance(self, images: Sequence[Image]) -> float:
        """The distance of pictures, RGB (H, W, 3), from the real ones, in units of the real set's spread; at least 0.

        It is the mean over parts of half as many pictures as the smaller set has, each of one set against each of the
        other.

        Raises:
            ValueError: There is no picture.
        """
        size, part = self._measures(images)
        directions, real = self._look(size)
        shown = _project(_describe(images, size, self.seed), directions)
        return _mean_distance(product(_parts(shown, part), _parts(real, part)))

    def floor(self, images: Sequence[Image]) -> float:
        """The distance of real pictures from each other, measured as that of ``images`` is; 0 of a single one."""
        size, part = self._measures(images)
        _, real = self._look(size)
        return _mean_distance(combinations(_parts(real, part), 2))

    def _measures(self, images: Sequence[Image]) -> tuple[tuple[int, int], int]:
        """What pictures are cut to, (H, W), and how many make a part."""
        (height, width), (real_height, real_width) = _common_size(images), self._size
        return (min(height, real_height), min(width, real_width)), max(1, min(len(images), len(self.real)) // 2)

    def _look(self, size: tuple[int, int]) -> tuple[list[_Floats], list[_Floats]]:
        """Directions, and the real pictures seen along them, for each level of pictures cut to a size (H, W)."""
        if size not in self._looks:
            patches = _describe(self.real, size, self.seed)
            directions = [
                _directions(_DIRECTIONS, level.shape[-1], _spread(level), [self.seed, number])
                for number, level in enumerate(patches)
            ]
            self._looks[size] = directions, _project(patches, directions)
        return self._looks[size]


def _common_size(images: Sequence[Image]) -> tuple[int, int]:
    """The largest (H, W) that can be cut out of all pictures."""
    if not images:
        raise ValueError("there are no pictures to measure the distance of")
    return min(image.shape[0] for image in images), min(image.shape[1] for image in images)


def _describe(images: Sequence[Image], size: tuple[int, int], seed: int) -> list[_Floats]:
    """Patches at random places of the pictures, for each level of the pyramid (N, patches, 3, side, side)."""
    described = []
    for number, image in enumerate(images):
        random = np.random.default_rng([seed, number])
        described.append([_patches(level, random, _PATCHES) for level in _pyramid(_middle(image, size))])
    return [np.stack(level) for level in zip(*described, strict=True)]


def _middle(image: Image, size: tuple[int, int]) -> _Floats:
    top, left = (image.shape[0] - size[0]) // 2, (image.shape[1] - size[1]) // 2
    return image[top : top + size[0], left : left + size[1]].astype(np.float32)


def _pyramid(image: _Floats) -> Iterator[_Floats]:
    """What each level (H, W, 3) adds to the next coarser one, and the coarsest."""
    while min(image.shape[:2]) >= 2 * _COARSEST:
        coarser = cv2.pyrDown(image)
        yield image - cv2.pyrUp(coarser, dstsize=(image.shape[1], image.shape[0]))
        image = np.asarray(coarser, np.float32)
    yield image


def _patches(level: _Floats, random: np.random.Generator, count: int) -> _Floats:
    height, width = level.shape[:2]
    side = min(_SIDE, height, width)
    tops, lefts = (random.integers(room - side + 1, size=count) for room in (height, width))
    return np.asarray(sliding_window_view(level, (side, side), axis=(0, 1))[tops, lefts])


def _spread(patches: _Floats) -> NDArray[np.float64]:
    """The spread of each channel."""
    return np.asarray(np.maximum(patches.std(axis=(0, 1, 3, 4), dtype=np.float64), _LEAST_SPREAD))


def _directions(count: int, side: int, spread: NDArray[np.float64], seed: list[int]) -> _Floats:
    """Random directions (features, directions) of length 1, each channel divided by its spread."""
    sampled = np.random.default_rng(seed).normal(size=(count, len(spread), side, side))
    sampled /= np.sqrt(np.square(sampled).sum(axis=(1, 2, 3), keepdims=True)) * spread[:, None, None]
    return sampled.reshape(count, -1).T.astype(np.float32)


def _project(patches: list[_Floats], directions: list[_Floats]) -> list[_Floats]:
    """How far the patches lie along the directions, for each level (directions, N, patches)."""
    return [
        (level.reshape(-1, along.shape[0]) @ along).T.reshape(-1, *level.shape[:2])
        for level, along in zip(patches, directions, strict=True)
    ]


def _parts(projected: list[_Floats], size: int) -> list[list[_Floats]]:
    """The pictures dealt out into parts of a size; of each, for each level, what lies along the directions, sorted."""
    parts = projected[0].shape[1] // size
    dealt = [[level[:, first::parts][:, :size] for level in projected] for first in range(parts)]
    return [[np.sort(level.reshape(len(level), -1), axis=1) for level in part] for part in dealt]


def _mean_distance(pairs: Iterable[tuple[list[_Floats], list[_Floats]]]) -> float:
    distances = [np.mean(np.abs(one - other)) for pair in pairs for one, other in zip(*pair, strict=True)]
    return float(np.mean(distances)) if distances else 0.0


def mean_differences(images: Features, real: Features) -> NDArray[np.float64]:
    """How far the means of two sets of descriptions (N, ...) are apart, entry by entry (...); see :func:`parts_of`.

    Raises:
        ValueError: A set is empty.
    """
    pairs = parts_of(images, real)
    apart = [np.abs(np.subtract(*(part.mean(axis=0, dtype=np.float64) for part in pair))) for pair in pairs]
    return np.asarray(np.mean(apart, axis=0))


def parts_of(images: Features, real: Features) -> list[tuple[Features, Features]]:
    """Pairs of parts, as large as the smaller set, of two sets of descriptions (N, ...).

    The difference of finite samples is too large by what depends on their numbers. The larger set is therefore dealt
    out into parts of the smaller one's number, each of which is compared with the smaller one: then it is the smaller
    number alone that counts.

    Raises:
        ValueError: A set is empty.
    """
    size = min(len(images), len(real))
    if not size:
        raise ValueError("there are no pictures to measure the distance of")
    dealt, real_dealt = (
        [rows[first :: len(rows) // size][:size] for first in range(len(rows) // size)] for rows in (images, real)
    )
    return list(product(dealt, real_dealt))


class SlicedWassersteinMetric:
    """The metric ``sliced-wasserstein``: the distance of patches, of as many pictures as there are.

    It is the distance of ``SlicedWasserstein`` with more patches and fewer directions, of which no patch is kept, but
    how many lie where along the directions; and the unit is the spread of the real set's patches along the directions
    of a level.

    Args:
        seed: Decides directions and places of patches.
    """

    about = About(title="sliced Wasserstein distance of patches (real set's spreads)", better="lower", least=16)
    resamples = 100

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed

    def describe(self, images: Sequence[Image]) -> Features:
        """The share of patches up to 48 places along each direction, of pictures RGB (H, W, 3).

        Returns:
            (N, levels, directions, places), 0 to 1.
        """
        return np.stack([self._describe(image) for image in images])

    def _describe(self, image: Image) -> _Floats:
        random = np.random.default_rng([self.seed, zlib.crc32(image.tobytes())])
        levels = _pyramid(image.astype(np.float32) - 127.5)
        return np.stack([self._shares(number, level, random) for number, level in enumerate(levels)])

    def _shares(self, number: int, level: _Floats, random: np.random.Generator) -> _Floats:
        patches = _patches(level, random, _MANY_PATCHES)
        directions = _directions(_FEW_DIRECTIONS, patches.shape[-1], np.ones(patches.shape[1]), [self.seed, number])
        places = np.searchsorted(_PLACES, patches.reshape(_MANY_PATCHES, -1) @ directions)
        numbered = places + (len(_PLACES) + 1) * np.arange(_FEW_DIRECTIONS)
        counts = np.bincount(numbered.ravel(), minlength=_FEW_DIRECTIONS * (len(_PLACES) + 1))
        shares = counts.reshape(_FEW_DIRECTIONS, -1).cumsum(axis=1)[:, :-1] / _MANY_PATCHES
        return np.asarray(shares, np.float32)

    def distance(self, images: Features, real: Features) -> float:
        """The mean distance along the directions, in units of the real set's spread; at least 0.

        Raises:
            ValueError: There is no picture.
        """
        widths = np.gradient(_PLACES)
        differences = mean_differences(images, real) @ widths
        all_real = real.mean(axis=0, dtype=np.float64)
        spread = np.sqrt(np.pi) * (all_real * (1 - all_real) @ widths).mean(axis=1)  # of normal ones: their deviation
        return float(np.mean(differences.mean(axis=1) / np.maximum(spread, _LEAST_SPREAD)))
