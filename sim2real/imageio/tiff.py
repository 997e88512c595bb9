"""TIFF (Adobe, revision 6.0)."""

import ctypes
import math
from contextlib import suppress
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, _imaging
from PIL.TiffImagePlugin import TiffImageFile

from sim2real.errors import ImageError
from sim2real.imageio.claims import check_claim
from sim2real.imageio.encoding import Encoding
from sim2real.imageio.pictures import Header, Picture, View, decode_with_profile, described, header_of, opened, save

_STARTS: Final = (b"II\x2a\0", b"MM\0\x2a", b"II\x2b\0", b"MM\0\x2b")
_BITS_PER_SAMPLE: Final = 258
_SAMPLES_PER_PIXEL: Final = 277
_ORIENTATION: Final = 274
_RESOLUTION: Final = {"x_resolution": 282, "y_resolution": 283}
_RESOLUTION_UNIT: Final = 296
_PREDICTOR: Final = 317
_TILE_SIZE: Final = (322, 323)
_EXTRA_SAMPLES: Final = 338
_PREMULTIPLIED: Final = 1
_WITHOUT_LOSS: Final = frozenset({"raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "zstd", "lzma"})
_PREDICTABLE: Final = frozenset({"tiff_lzw", "tiff_adobe_deflate", "zstd", "lzma"})
_RATIOS: Final = {"raw": 1, "packbits": 64, "tiff_lzw": 2560, "tiff_adobe_deflate": 1032, "tiff_deflate": 1032}
"""Maximum compression ratios: 128 bytes from two; 3,838, the longest string of a full table, from 12 bits; RFC 1951."""

with suppress(AttributeError, OSError):  # keeps libtiff from printing its errors, where this is possible
    ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)


def recognises(start: bytes) -> bool:
    """Return whether the first bytes of a file are those of this format."""
    return start.startswith(_STARTS)


def read_header(file: BinaryIO, length: int) -> Header:
    """Read the header of a file of ``length`` bytes.

    Raises:
        ImageError: If the file is damaged, or claims more pixels than it can hold.
    """
    with opened(TiffImageFile, file) as image:
        tags = image.tag_v2
        bits = max(tags.get(_BITS_PER_SAMPLE, (1,)))
        samples = tags.get(_SAMPLES_PER_PIXEL, 1)
        sides = [
            -(-side // tile) * tile if isinstance(tile, int) and tile > 0 else side
            for side, tile in zip(image.size, (tags.get(tag) for tag in _TILE_SIZE), strict=True)
        ]
        ratio = _RATIOS.get(image.info["compression"])
        needed = sides[0] * sides[1] * bits * samples / 8 / ratio if ratio else None
        check_claim(*image.size, length, needed)
        if max(sides) != max(image.size) and needed is None:
            check_claim(sides[0], sides[1], length)
        return header_of(image, bits)


def read_picture(data: bytes, header: Header, view: View | None) -> Picture:
    """Decode a photo, or what ``view`` shows of it.

    Raises:
        ImageError: If the file is damaged, or not a single upright photo.
    """
    with opened(TiffImageFile, data) as image:
        tags = image.tag_v2
        if getattr(image, "n_frames", 1) > 1:
            raise ImageError("TIFF with several images; only single images can be translated")
        if tags.get(_ORIENTATION, 1) != 1:
            raise ImageError("TIFF with an orientation tag; store it upright")
        if tags.get(_SAMPLES_PER_PIXEL, 1) > header.channels:
            raise ImageError(
                f"TIFF with {tags[_SAMPLES_PER_PIXEL]} channels, of which only {header.channels} can be kept"
            )
        notes = ["TIFF tags other than resolution and colour profile are not kept"]
        if _PREMULTIPLIED in tags.get(_EXTRA_SAMPLES, ()):
            notes.append("colours that are premultiplied by alpha are written without premultiplication")
        options = _options(image)
        pixels, more = decode_with_profile(image, view)
    return pixels.picture("TIFF", notes=tuple(notes), options=options | more)


def _options(image: TiffImageFile) -> dict[str, Any]:
    """Return options for writing a similar TIFF, with its compression, if that is lossless, and its resolution."""
    tags = image.tag_v2
    stored = image.info["compression"]
    compression = stored if stored in _WITHOUT_LOSS else "tiff_adobe_deflate"
    options: dict[str, Any] = {"compression": compression}
    if compression in _PREDICTABLE and tags.get(_PREDICTOR, 1) == 2:
        options["tiffinfo"] = {_PREDICTOR: 2}
    resolution = {name: float(tags[tag]) for name, tag in _RESOLUTION.items() if tag in tags}
    if len(resolution) == 2 and all(math.isfinite(value) and 0 < value < 1e6 for value in resolution.values()):
        unit = tags.get(_RESOLUTION_UNIT, 2)
        options |= resolution | {"resolution_unit": unit if unit in {1, 2, 3} else 2}
    return options


def read_label(data: bytes, header: Header) -> NDArray[Any]:
    """Return the stored values, (H, W) or (H, W, C).

    Raises:
        ImageError: If the file is damaged, or cannot be read without loss.
    """
    if header.channels > 1 and header.bits > 8:
        raise ImageError(f"{described(header)} cannot be read without loss; store it as PNG")
    with opened(TiffImageFile, data) as image:
        values = np.array(image)
    if values.dtype == bool:
        return values.astype(np.uint8)
    if header.bits in {2, 4} and not header.palette:
        values = values // (255 // (2**header.bits - 1))  # Pillow scales them to 0..255
    return values


def write(pixels: NDArray[np.uint8], like: Picture, _encoding: Encoding) -> bytes:
    """Encode a TIFF like another."""
    return save(Image.fromarray(pixels), "TIFF", like.options)
