"""BMP (Windows bitmaps)."""

import struct
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile

from sim2real.errors import ImageError
from sim2real.imageio.claims import check_claim
from sim2real.imageio.encoding import Encoding
from sim2real.imageio.pictures import Header, Picture, View, decode, header_of, opened, save

_START: Final = b"BM"
_CORE: Final = 12  # bytes of the oldest header
_V4: Final = 108
_V5: Final = 124
_RAW, _BITFIELDS = 0, 3
_EMBEDDED: Final = b"DEBM"  # PROFILE_EMBEDDED, little endian
_MASKS: Final = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
_SRGB: Final = 0x73524742
_PER_METRE: Final = 39.3701  # inches per metre, as in Pillow


def recognises(start: bytes) -> bool:
    """Return whether the first bytes of a file are those of this format."""
    return start.startswith(_START)


def read_header(file: BinaryIO, length: int) -> Header:
    """Read the header of a file of ``length`` bytes.

    Raises:
        ImageError: If the file is damaged, or claims more pixels than it can hold.
    """
    start = file.read(34)
    file.seek(0)
    with opened(BmpImageFile, file) as image:
        bits = _depth(start)
        raw = image.info["compression"] in {_RAW, _BITFIELDS}
        check_claim(*image.size, length, -(-image.width * bits // 32) * 4 * image.height if raw else None)
        return header_of(image, min(8, bits))


def _depth(data: bytes) -> int:
    """Return the bits per pixel."""
    core = int.from_bytes(data[14:18], "little") == _CORE
    return int.from_bytes(data[24:26] if core else data[28:30], "little")


def read_picture(data: bytes, _header: Header, view: View | None) -> Picture:
    """Decode a photo, or what ``view`` shows of it.

    Raises:
        ImageError: If the file is damaged, or not a grey or RGB photo.
    """
    with opened(BmpImageFile, data) as image:
        pixels = decode(image, _profile(data), view)
        options = {"dpi": image.info["dpi"]} if "dpi" in image.info else {}
    notes = []
    if _profile(data) is not None and not pixels.converted:
        notes.append("the ICC profile of a BMP, sRGB, is not kept")
    if _depth(data) == 16:
        notes.append("a BMP with 5 bits per channel is written with 8")
    return pixels.picture("BMP", notes=tuple(notes), options=options)


def _profile(data: bytes) -> bytes | None:
    """Return the ICC profile of a version 5 header, or None."""
    if int.from_bytes(data[14:18], "little") < _V5 or data[70:74] != _EMBEDDED:
        return None
    place, length = struct.unpack_from("<II", data, 14 + 112)
    return data[14 + place : 14 + place + length]


def read_label(data: bytes, header: Header) -> NDArray[Any]:
    """Return the stored values, (H, W) or (H, W, C).

    Raises:
        ImageError: If the file is damaged.
    """
    with opened(BmpImageFile, data) as image:
        if image.mode == "L" and header.bits < 8:
            raise ImageError(f"grey BMP with {header.bits} bits cannot be read without loss; store it as PNG")
        values = np.array(image)
    return values.astype(np.uint8) if values.dtype == bool else values


def write(pixels: NDArray[np.uint8], like: Picture, _encoding: Encoding) -> bytes:
    """Encode a BMP like another."""
    if pixels.shape[2:] != (4,):
        return save(Image.fromarray(pixels), "BMP", like.options)
    return _with_alpha(pixels, like)


def _with_alpha(pixels: NDArray[np.uint8], like: Picture) -> bytes:
    """Encode RGBA with a version 4 header, which declares the alpha channel; Pillow cannot write one."""
    height, width = pixels.shape[:2]
    offset, size = 14 + _V4, pixels.nbytes
    across, down = (min(round(dots * _PER_METRE), 1 << 30) for dots in like.options.get("dpi", (96, 96)))
    header = struct.pack("<IiiHHIIiiII", _V4, width, height, 1, 32, _BITFIELDS, size, across, down, 0, 0)
    header += struct.pack("<4II48x", *_MASKS, _SRGB)
    stored = pixels[::-1, :, [2, 1, 0, 3]].tobytes()
    return struct.pack("<2sIHHI", _START, offset + size, 0, 0, offset) + header + stored
