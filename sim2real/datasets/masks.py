"""Masks stored as polygons or as run lengths, and the label images made from them."""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sim2real.datasets.labels import NOTHING

Mask = NDArray[np.bool_]
_FAR: Final = 1e9


def fill_polygon(corners: NDArray[np.float64], size: tuple[int, int]) -> Mask:
    """Fill a closed polygon: the pixels whose centres lie inside it, by the even-odd rule.

    Args:
        corners: The corners (N, 2) in pixels, x right and y down from the outer corner of the top left pixel.
        size: (W, H) of the image.

    Returns:
        The mask (H, W); empty if a corner is not finite.
    """
    width, height = size
    if not np.isfinite(corners).all():
        return np.zeros((height, width), bool)
    x, y = corners.clip(-_FAR, _FAR).T
    next_x, next_y = np.roll(x, -1), np.roll(y, -1)
    centres = np.arange(height)[:, None] + 0.5
    row, edge = np.nonzero((y <= centres) != (next_y <= centres))
    share = (row + 0.5 - y[edge]) / (next_y - y)[edge]
    column = np.ceil(x[edge] + share * (next_x - x)[edge] - 0.5).clip(0, width).astype(np.int64)
    crossings = np.zeros((height, width + 1), np.int32)
    np.add.at(crossings, (row, column), 1)
    return np.asarray(crossings.cumsum(axis=1)[:, :width] % 2 == 1)


def decode_runs(counts: Sequence[int] | bytes, size: tuple[int, int]) -> Mask:
    """Decode a mask from COCO's run lengths, which alternate between background and mask, down the columns.

    Args:
        counts: The run lengths, or their packed form: each byte holds 5 bits of a signed number, the lowest first, and
            from the fourth on, a number is the difference to the run length two before it (cocoapi, maskApi.c).
        size: (W, H) of the mask.

    Returns:
        The mask (H, W).

    Raises:
        ValueError: If the runs do not fill the mask.
    """
    width, height = size
    runs = np.array(_unpacked(counts) if isinstance(counts, bytes) else counts, np.int64)
    if (runs < 0).any() or runs.sum() != width * height:
        raise ValueError(f"the runs of a mask do not fill its {width}x{height} pixels")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def _unpacked(packed: bytes) -> list[int]:
    runs: list[int] = []
    number = shift = 0
    for byte in packed:
        code = byte - 48
        number |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            number -= 1 << shift
        runs.append(number + runs[-2] if len(runs) > 2 else number)
        number = shift = 0
    return runs


def paint(regions: Iterable[tuple[int, Mask]], size: tuple[int, int]) -> NDArray[np.int32]:
    """Paint regions into one label image, smaller ones over larger ones, as most loaders of polygons do.

    Args:
        regions: The id and the mask (H, W) of each region.
        size: (W, H) of the image.

    Returns:
        The ids (H, W), :data:`~sim2real.datasets.labels.NOTHING` where there is no region.
    """
    ids = np.full(size[::-1], NOTHING, np.int32)
    for number, mask in sorted(regions, key=lambda region: -int(region[1].sum())):
        ids[mask] = number
    return ids


def encode_runs(mask: Mask) -> list[int]:
    """Return COCO's run lengths of a mask (H, W), which :func:`decode_runs` reads."""
    pixels = np.concatenate([[False], mask.T.ravel()])
    changes = np.flatnonzero(pixels[1:] != pixels[:-1])
    return [int(run) for run in np.diff(np.concatenate([[0], changes, [mask.size]]))]


def pack_runs(runs: Sequence[int]) -> bytes:
    """Return the packed form of run lengths, which :func:`decode_runs` reads."""
    packed = bytearray()
    for place, run in enumerate(runs):
        number = run - runs[place - 2] if place > 2 else run
        while True:
            code, number = number & 31, number >> 5
            done = number == (-1 if code & 16 else 0)
            packed.append(48 + (code if done else code | 32))
            if done:
                break
    return bytes(packed)
