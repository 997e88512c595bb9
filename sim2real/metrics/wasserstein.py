"""Measure the distance in appearance of two sets of images: the sliced Wasserstein distance of their patches.

As in Karras et al. 2018 (arXiv 1710.10196), patches of 7x7 pixels from every level of a Laplacian pyramid are projected
on random directions, along which the distributions of the two sets are compared. The fine levels measure texture and
sharpness, the coarsest light and colour. No trained weights are needed, and tens of images give a stable value.

Three things differ from the publication. Colours are measured in units of the real set's spread; the publication
normalises each set by its own and would not see a change of contrast. Sets are compared in parts of equal numbers of
images, since the distance of finite samples depends on their numbers. Images of unequal sizes are cropped to the centre
that all have.
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
_PATCHES = 128  # per image and level
_DIRECTIONS = 128

_MANY_PATCHES, _FEW_DIRECTIONS = 1024, 32  # of the metric, which keeps histograms instead of patches
_PLACES = np.sinh(np.linspace(-1, 1, 48) * np.arcsinh(1000))  # grey levels, close together where most patches are
_LEAST_SPREAD = 0.5  # grey levels: less is rounding


class SlicedWasserstein:
    """The distance of sets of images from a set of real ones.

    Args:
        real: The real images, RGB (H, W, 3), at least one.
        seed: Seed of the directions and of the places of patches; equal seeds give equal distances.

    Raises:
        ValueError: If there is no image.
    """

    def __init__(self, real: Sequence[Image], *, seed: int = 0) -> None:
        self.real = real
        self.seed = seed
        self._size = _common_size(real)
        self._looks: dict[tuple[int, int], tuple[list[_Floats], list[_Floats]]] = {}

    def distance(self, images: Sequence[Image]) -> float:
        """Return the distance of images, RGB (H, W, 3), from the real ones, in units of the real set's spread.

        Both sets are divided into parts of half as many images as the smaller set has. The distance, at least 0, is the
        mean over all pairs of a part of the one set and a part of the other.

        Raises:
            ValueError: If there is no image.
        """
        size, part = self._measures(images)
        directions, real = self._look(size)
        shown = _project(_describe(images, size, self.seed), directions)
        return _mean_distance(product(_parts(shown, part), _parts(real, part)))

    def floor(self, images: Sequence[Image]) -> float:
        """Return the distance of the real images from each other, in parts as for ``images``; 0 for a single image."""
        size, part = self._measures(images)
        _, real = self._look(size)
        return _mean_distance(combinations(_parts(real, part), 2))

    def _measures(self, images: Sequence[Image]) -> tuple[tuple[int, int], int]:
        """Return the size (H, W) that images are cropped to, and the number of images of a part."""
        (height, width), (real_height, real_width) = _common_size(images), self._size
        return (min(height, real_height), min(width, real_width)), max(1, min(len(images), len(self.real)) // 2)

    def _look(self, size: tuple[int, int]) -> tuple[list[_Floats], list[_Floats]]:
        """Return, for each level of images cropped to (H, W), the directions and the real patches projected on them."""
        if size not in self._looks:
            patches = _describe(self.real, size, self.seed)
            directions = [
                _directions(_DIRECTIONS, level.shape[-1], _spread(level), [self.seed, number])
                for number, level in enumerate(patches)
            ]
            self._looks[size] = directions, _project(patches, directions)
        return self._looks[size]


def _common_size(images: Sequence[Image]) -> tuple[int, int]:
    """Return the largest (H, W) that all images can be cropped to."""
    if not images:
        raise ValueError("there are no images to measure the distance of")
    return min(image.shape[0] for image in images), min(image.shape[1] for image in images)


def _describe(images: Sequence[Image], size: tuple[int, int], seed: int) -> list[_Floats]:
    """Return patches at random places of images, for each level of the pyramid (N, patches, 3, side, side)."""
    described = []
    for number, image in enumerate(images):
        random = np.random.default_rng([seed, number])
        described.append([_patches(level, random, _PATCHES) for level in _pyramid(_middle(image, size))])
    return [np.stack(level) for level in zip(*described, strict=True)]


def _middle(image: Image, size: tuple[int, int]) -> _Floats:
    top, left = (image.shape[0] - size[0]) // 2, (image.shape[1] - size[1]) // 2
    return image[top : top + size[0], left : left + size[1]].astype(np.float32)


def _pyramid(image: _Floats) -> Iterator[_Floats]:
    """Yield the levels (H, W, 3) of a Laplacian pyramid, the finest first."""
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
    """Return the standard deviation of each channel."""
    return np.asarray(np.maximum(patches.std(axis=(0, 1, 3, 4), dtype=np.float64), _LEAST_SPREAD))


def _directions(count: int, side: int, spread: NDArray[np.float64], seed: list[int]) -> _Floats:
    """Return random unit vectors (features, directions), with each channel divided by its spread."""
    sampled = np.random.default_rng(seed).normal(size=(count, len(spread), side, side))
    sampled /= np.sqrt(np.square(sampled).sum(axis=(1, 2, 3), keepdims=True)) * spread[:, None, None]
    return sampled.reshape(count, -1).T.astype(np.float32)


def _project(patches: list[_Floats], directions: list[_Floats]) -> list[_Floats]:
    """Project the patches of each level on its directions, (directions, N, patches)."""
    return [
        (level.reshape(-1, along.shape[0]) @ along).T.reshape(-1, *level.shape[:2])
        for level, along in zip(patches, directions, strict=True)
    ]


def _parts(projected: list[_Floats], size: int) -> list[list[_Floats]]:
    """Divide the images into parts of equal size; return the sorted projections of each part, for each level."""
    parts = projected[0].shape[1] // size
    dealt = [[level[:, first::parts][:, :size] for level in projected] for first in range(parts)]
    return [[np.sort(level.reshape(len(level), -1), axis=1) for level in part] for part in dealt]


def _mean_distance(pairs: Iterable[tuple[list[_Floats], list[_Floats]]]) -> float:
    distances = [np.mean(np.abs(one - other)) for pair in pairs for one, other in zip(*pair, strict=True)]
    return float(np.mean(distances)) if distances else 0.0


def mean_differences(images: Features, real: Features) -> NDArray[np.float64]:
    """Return the absolute differences (...) of the means of two sets of descriptions (N, ...), entry by entry.

    Sets of unequal sizes are compared in parts, see :func:`parts_of`.

    Raises:
        ValueError: If a set is empty.
    """
    pairs = parts_of(images, real)
    apart = [np.abs(np.subtract(*(part.mean(axis=0, dtype=np.float64) for part in pair))) for pair in pairs]
    return np.asarray(np.mean(apart, axis=0))


def parts_of(images: Features, real: Features) -> list[tuple[Features, Features]]:
    """Return pairs of parts of two sets of descriptions (N, ...), each part as large as the smaller set.

    The difference of finite samples has a bias that depends on their sizes. The larger set is therefore divided into
    parts as large as the smaller one, each of which is compared with the smaller set, so that the bias only depends on
    the smaller size.

    Raises:
        ValueError: If a set is empty.
    """
    size = min(len(images), len(real))
    if not size:
        raise ValueError("there are no images to measure the distance of")
    dealt, real_dealt = (
        [rows[first :: len(rows) // size][:size] for first in range(len(rows) // size)] for rows in (images, real)
    )
    return list(product(dealt, real_dealt))


class SlicedWassersteinMetric:
    """The metric ``sliced-wasserstein``: the distance of patches, for any number of images.

    It is the distance of ``SlicedWasserstein`` with more patches and fewer directions. Histograms along the directions
    are kept instead of patches, and the unit is the spread of the real set's patches along the directions of a level.

    Args:
        seed: Seed of the directions and of the places of patches.
    """

    about = About(title="sliced Wasserstein distance of patches (real set's spreads)", better="lower", least=16)
    resamples = 100

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed

    def describe(self, images: Sequence[Image]) -> Features:
        """Return the cumulative shares of patches at 48 places along each direction, for images RGB (H, W, 3).

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
        """Return the mean distance along the directions, in units of the real set's spread; at least 0.

        Raises:
            ValueError: If a set is empty.
        """
        widths = np.gradient(_PLACES)
        differences = mean_differences(images, real) @ widths
        all_real = real.mean(axis=0, dtype=np.float64)
        spread = np.sqrt(np.pi) * (all_real * (1 - all_real) @ widths).mean(axis=1)  # for normal ones, their deviation
        return float(np.mean(differences.mean(axis=1) / np.maximum(spread, _LEAST_SPREAD)))
