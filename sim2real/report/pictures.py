"""Encode images as text for embedding in a page."""

import io
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sim2real.errors import ImageError
from sim2real.imageio import read_rgb

_WIDEST = 900
_NARROWEST = 200
_BUDGET = 4_000_000  # bytes of all sample grids
_ROWS = 4
_HEADINGS = {
    6: (("sim", "as real", "and back"), ("real", "as sim", "and back")),
    4: (("sim", "as real"), ("real", "as real")),  # methods that train one generator
}


@dataclass(frozen=True, slots=True)
class SamplePicture:
    """The sample grid of a step, split into the simulated and the real side.

    Attributes:
        step: Number of training steps done.
        sides: For each side, the headings of its columns, empty if unknown, and the image as a ``data:`` URI.
    """

    step: int
    sides: Sequence[tuple[Sequence[str], str]]


def data_uri(data: bytes) -> str:
    """Return a WebP file as a ``data:`` URI."""
    return f"data:image/webp;base64,{b64encode(data).decode()}"


def webp(pixels: NDArray[np.uint8], *, widest: int = _WIDEST, quality: int = 80) -> bytes:
    """Encode an image, RGB (H, W, 3), as WebP, scaled down to at most a width."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((widest, picture.height), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=quality)
    return file.getvalue()


def sample_pictures(samples: Sequence[tuple[int, Path]], size: Sequence[int]) -> list[SamplePicture]:
    """Return sample grids for a page, scaled down to fit its budget, without unreadable ones.

    Args:
        samples: Steps and files of the grids.
        size: Width and height of one image in a grid.
    """
    grids = [(step, [*_sides(grid, size)]) for step, path in samples if (grid := _read(path)) is not None]
    encoded = iter(fitted([side for _, sides in grids for _, side in sides], widest=_WIDEST, budget=_BUDGET))
    return [
        SamplePicture(step, [(headings, data_uri(next(encoded))) for headings, _ in sides]) for step, sides in grids
    ]


def fitted(pictures: Sequence[NDArray[np.uint8]], *, widest: int, budget: int) -> list[bytes]:
    """Encode images, RGB (H, W, 3), as WebP, scaled down until all together fit into ``budget`` bytes."""
    while True:
        encoded = [webp(picture, widest=widest) for picture in pictures]
        if widest < _NARROWEST or sum(map(len, encoded)) <= budget:
            return encoded
        widest = widest * 3 // 4


def _read(path: Path) -> NDArray[np.uint8] | None:
    try:
        return read_rgb(path)
    except ImageError:
        return None


def _sides(grid: NDArray[np.uint8], size: Sequence[int]) -> Iterator[tuple[Sequence[str], NDArray[np.uint8]]]:
    """Yield both halves of a grid's first rows with their column headings; the whole grid for unknown columns."""
    width, height = size
    headings = _HEADINGS.get(grid.shape[1] // width)
    if headings is None or grid.shape[1] % width or grid.shape[0] % height:
        yield (), grid
        return
    rows = grid[: _ROWS * height]
    yield from zip(headings, np.split(rows, 2, axis=1), strict=True)
