"""WebP (RFC 9649)."""

from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.WebPImagePlugin import WebPImageFile

from sim2real.errors import ImageError
from sim2real.imageio.claims import check_claim
from sim2real.imageio.encoding import Encoding
from sim2real.imageio.pictures import Header, Picture, View, decode_with_profile, opened, save, without_opaque

_HEADER_END: Final = 30
_CARRIED: Final = ("exif", "xmp")
_ALPHA: Final = 0x10
_ANIMATED: Final = 0x02


def recognises(start: bytes) -> bool:
    """Return whether the first bytes of a file are those of this format."""
    return start[:4] == b"RIFF" and start[8:12] == b"WEBP"


def read_header(file: BinaryIO, length: int) -> Header:
    """Read the header of a file of ``length`` bytes.

    Raises:
        ImageError: If the file is damaged, or claims more pixels than it can hold.
    """
    start = file.read(_HEADER_END)
    kind, content = start[12:16], start[20:]
    if len(start) < _HEADER_END:
        raise ImageError("damaged or truncated WebP")
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(content[place : place + 3], "little") for place in (4, 7))
        alpha = bool(content[0] & _ALPHA)
    elif kind == b"VP8L" and content[0] == 0x2F:
        word = int.from_bytes(content[1:5], "little")
        width, height, alpha = 1 + (word & 0x3FFF), 1 + (word >> 14 & 0x3FFF), bool(word >> 28 & 1)
    elif kind == b"VP8 " and content[3:6] == b"\x9d\x01\x2a":
        width, height = (int.from_bytes(content[place : place + 2], "little") & 0x3FFF for place in (6, 8))
        alpha = False
    else:
        raise ImageError("damaged WebP: it contains no image")
    check_claim(width, height, length)
    return Header("WEBP", width, height, 4 if alpha else 3, 8)


def read_picture(data: bytes, _header: Header, view: View | None) -> Picture:
    """Decode a photo, or what ``view`` shows of it.

    Raises:
        ImageError: If the file is damaged, or contains several images.
    """
    if data[12:16] == b"VP8X" and data[20] & _ANIMATED:
        raise ImageError("animated WebP; only single images can be translated")
    with opened(WebPImageFile, data) as image:
        pixels, options = decode_with_profile(image, view, _CARRIED)
    lossless = b"VP8 " not in data[: data.find(b"VP8L") + 1 or None]
    return without_opaque(pixels).picture("WEBP", options=options | {"lossless": lossless, "exact": lossless})


def read_label(data: bytes, _header: Header) -> NDArray[Any]:
    """Return the decoded values, (H, W, C).

    Raises:
        ImageError: If the file is damaged.
    """
    with opened(WebPImageFile, data) as image:
        return np.array(image)


def write(pixels: NDArray[np.uint8], like: Picture, encoding: Encoding) -> bytes:
    """Encode a WebP like another, lossless if that one is."""
    return save(Image.fromarray(pixels), "WEBP", {"quality": encoding.quality, **like.options})
