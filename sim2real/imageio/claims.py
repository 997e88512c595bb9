"""What an image may claim to hold, before anything is decoded.

A file of a few bytes can say that it is of any size, and a decoder takes the memory for it first. So what a header says
is compared with the fewest bytes that such a picture takes in its container, and with a ceiling that users can raise.
"""

import math
import os
import zlib
from collections.abc import Iterable
from typing import Final

from sim2real.errors import ImageError

CEILING: Final = "SIM2REAL_MAX_PIXELS"
"""The environment variable that raises the ceiling."""

_DEFAULT_CEILING: Final = 1 << 28  # 16,384 x 16,384: 0.8 GB as RGB; 16K video has 0.13e9
_DEFLATE: Final = (
    1032  # bytes of one: 258 of them by 2 bits (RFC 1951, 3.2.5), see also https://zlib.net/zlib_tech.html
)
_UNIFORM: Final = 1 << 16  # pixels of one byte: nearly nothing is stored of a uniform picture, or
_SMALL: Final = 1 << 24  # so many pixels, which are no danger


def most_pixels() -> int:
    """How many pixels a picture may have.

    Raises:
        ImageError: What the environment says is no number.
    """
    text = os.environ.get(CEILING, "")
    try:
        return int(float(text)) if text else _DEFAULT_CEILING
    except (ValueError, OverflowError) as error:
        raise ImageError(f"{CEILING}={text!r} is no number of pixels") from error


def check_claim(width: int, height: int, length: int, needed: float | None = None) -> None:
    """Refuse a picture that is larger than its file can hold, or than the ceiling.

    Args:
        width: Pixels in a row, as its header says.
        height: Rows, as its header says.
        length: Bytes of the file.
        needed: The fewest bytes that hold such a picture; None where the container stores nearly nothing of uniform
            ones.

    Raises:
        ImageError: It is, or it has no pixels.
    """
    pixels = width * height
    if not pixels:
        raise ImageError(f"claims {width}x{height} pixels: damaged")
    if needed is None:
        needed = (pixels - _SMALL) / _UNIFORM
    if needed > length:
        raise ImageError(f"claims {width}x{height} pixels, more than its {length:,} bytes can hold: damaged, or a trap")
    if pixels > (most := most_pixels()):
        raise ImageError(
            f"claims {width}x{height} pixels, more than the {most:,} that are read; if it is good, set the environment "
            f"variable {CEILING}={pixels}"
        )


def check_array(shape: Iterable[int]) -> None:
    """Refuse an array of more values than a picture of four channels may have.

    Args:
        shape: As its file says.

    Raises:
        ImageError: It has more.
    """
    shape = tuple(shape)
    values = math.prod(shape)
    if values > 4 * (most := most_pixels()):
        shape_text = "x".join(map(str, shape))
        raise ImageError(
            f"claims {shape_text} values, more than the {4 * most:,} that are read; if it is good, set the environment "
            f"variable {CEILING}={-(-values // 4)}"
        )


def deflated(size: int) -> float:
    """The fewest bytes that so many become by deflate."""
    return size / _DEFLATE


def inflate(data: bytes, most: int) -> bytes:
    """What deflated bytes stand for.

    Raises:
        ImageError: They are damaged, or stand for more than ``most`` bytes.
    """
    machine = zlib.decompressobj()
    try:
        result = machine.decompress(data, most)
    except zlib.error as error:
        raise ImageError(f"damaged: {error}") from error
    if not machine.eof:
        raise ImageError(f"incomplete, or more than {most:,} bytes")
    return result
