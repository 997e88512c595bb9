"""Limits on the size of images, checked before anything is decoded.

A file of a few bytes can claim any size, and decoders allocate memory for it first. The size in the header is therefore
compared with the minimum number of bytes that such an image needs in its format, and with a limit that users can raise.
"""

import math
import os
from collections.abc import Iterable
from typing import Final

from sim2real.errors import ImageError

CEILING: Final = "SIM2REAL_MAX_PIXELS"
"""The environment variable that raises the limit."""

_DEFAULT_CEILING: Final = 1 << 28  # 16,384 x 16,384: 0.8 GB as RGB; 16K video has 0.13e9
_DEFLATE: Final = (
    1032  # maximum ratio: 258 bytes from 2 bits (RFC 1951, 3.2.5), see also https://zlib.net/zlib_tech.html
)
_UNIFORM: Final = 1 << 16  # maximum pixels per byte in formats that compress uniform images to almost nothing
_SMALL: Final = 1 << 24  # pixels up to which any image of these formats is accepted


def most_pixels() -> int:
    """Return the maximum number of pixels of an image.

    Raises:
        ImageError: If the environment variable is not a number.
    """
    text = os.environ.get(CEILING, "")
    try:
        return int(float(text)) if text else _DEFAULT_CEILING
    except (ValueError, OverflowError) as error:
        raise ImageError(f"{CEILING}={text!r} is not a number of pixels") from error


def check_claim(width: int, height: int, length: int, needed: float | None = None) -> None:
    """Check that an image is not larger than its file can hold, or than the limit.

    Args:
        width: Width in pixels, from the header.
        height: Height in pixels, from the header.
        length: Size of the file in bytes.
        needed: Minimum number of bytes for such an image; None for formats that compress uniform images to almost
            nothing.

    Raises:
        ImageError: If the image is too large, or has no pixels.
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
            f"claims {width}x{height} pixels, more than the limit of {most:,}; if the file is good, set the "
            f"environment variable {CEILING}={pixels}"
        )


def check_array(shape: Iterable[int]) -> None:
    """Check that an array has at most as many values as an image of four channels may have.

    Args:
        shape: Shape from the file's header.

    Raises:
        ImageError: If the array has more values.
    """
    shape = tuple(shape)
    values = math.prod(shape)
    if values > 4 * (most := most_pixels()):
        shape_text = "x".join(map(str, shape))
        raise ImageError(
            f"claims {shape_text} values, more than the limit of {4 * most:,}; if the file is good, set the "
            f"environment variable {CEILING}={-(-values // 4)}"
        )


def deflated(size: int) -> float:
    """Return the minimum number of bytes to which deflate compresses ``size`` bytes."""
    return size / _DEFLATE
