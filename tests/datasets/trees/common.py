"""What the trees are made of. The tool's own encoders write what holds no trap; :func:`raw_png` writes what does."""

import io
import struct
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim2real.imageio import encode_jpeg, encode_png

Pixels = NDArray[Any]
Grow = Callable[..., Path]


def photo(seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def npy(array: Pixels) -> bytes:
    """An array as a file of NumPy."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def jpegs(root: Path, paths: Iterable[str]) -> None:
    for seed, path in enumerate(paths):
        write(root / path, encode_jpeg(photo(seed)))


def pngs(root: Path, paths: Iterable[str], pixels: Pixels | None = None) -> None:
    for seed, path in enumerate(paths):
        write(root / path, encode_png(photo(seed) if pixels is None else pixels))


def halves(upper: Any, lower: Any, kind: type = np.uint8) -> Pixels:
    """Pixels of one value, or colour, in the upper half and of another in the lower one."""
    pixels = np.full((24, 32, *np.shape(upper)), upper, kind)
    pixels[12:] = lower
    return pixels


GREY16 = np.full((24, 32), 1234, np.uint16)
RGB16 = np.full((24, 32, 3), (40000, 30000, 65535), np.uint16)
MASK = halves((210, 0, 200), (255, 127, 80))
CITYSCAPES_MASK = np.full((24, 32), 7, np.uint8)


def raw_png(pixels: Pixels, palette: NDArray[np.uint8] | None = None) -> bytes:
    """A PNG by the specification, whatever encoders think of it: grey, grey + alpha, RGB or RGBA of 8 or 16 bits, or
    indices (H, W) uint8 into a palette (N, 3).
    """
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    colour_type = 3 if palette is not None else {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    height, width = pixels.shape[:2]
    big_endian = pixels.astype(pixels.dtype.newbyteorder(">"))
    rows = b"".join(b"\0" + row.tobytes() for row in big_endian)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8 * pixels.dtype.itemsize, colour_type, 0, 0, 0)
    colours = chunk(b"PLTE", palette.tobytes()) if palette is not None else b""
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + colours
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
