"""AVIF (AOMedia, 1.2.0)."""

from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import AvifImagePlugin, Image
from PIL.AvifImagePlugin import AvifImageFile

from sim2real.errors import ImageError
from sim2real.imageio.claims import check_claim
from sim2real.imageio.encoding import Encoding
from sim2real.imageio.pictures import (
    Header,
    Picture,
    View,
    decode_with_profile,
    described,
    header_of,
    opened,
    save,
    without_opaque,
)

_BRANDS: Final = frozenset({b"avif", b"avis", b"mif1", b"msf1"})
_CONFIGURATION: Final = b"av1C"
_CARRIED: Final = ("exif", "xmp")
_EXACT_ALPHA: Final = {
    "alpha:lossless": "1"
}  # https://github.com/AOMediaCodec/libavif, avifEncoderSetCodecSpecificOption

AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # several images are already processed in parallel


def recognises(start: bytes) -> bool:
    """Return whether the first bytes of a file are those of this format."""
    return start[4:8] == b"ftyp" and start[8:12] in _BRANDS


def read_header(file: BinaryIO, length: int) -> Header:
    """Read the header of a file of ``length`` bytes.

    Raises:
        ImageError: If the file is damaged, or claims more pixels than it can hold.
    """
    data = file.read()
    with opened(AvifImageFile, data) as image:
        check_claim(*image.size, length)
        return header_of(image, _bits(data))


def _bits(data: bytes) -> int:
    """Return the bits per value from the codec's configuration (AV1 in ISOBMFF, 2.3.3)."""
    flags = data[data.find(_CONFIGURATION) + len(_CONFIGURATION) :][2:3]
    if _CONFIGURATION not in data or not flags:
        raise ImageError("damaged AVIF: no codec configuration")
    return (12 if flags[0] & 0x20 else 10) if flags[0] & 0x40 else 8


def read_picture(data: bytes, _header: Header, view: View | None) -> Picture:
    """Decode a photo, or what ``view`` shows of it.

    Raises:
        ImageError: If the file is damaged, or holds several images.
    """
    with opened(AvifImageFile, data) as image:
        if getattr(image, "n_frames", 1) > 1:
            raise ImageError("AVIF with several images; only single images can be translated")
        pixels, options = decode_with_profile(image, view, _CARRIED)
    return without_opaque(pixels).picture("AVIF", options=options)


def read_label(data: bytes, header: Header) -> NDArray[Any]:
    """Return the decoded values, (H, W) or (H, W, C).

    Raises:
        ImageError: If the file is damaged, or has more than 8 bits per channel.
    """
    if header.bits > 8:
        raise ImageError(f"{described(header)} cannot be read without loss; store it as PNG")
    with opened(AvifImageFile, data) as image:
        return np.array(image)


def write(pixels: NDArray[np.uint8], like: Picture, encoding: Encoding) -> bytes:
    """Encode an AVIF like another, without chroma subsampling, and with lossless alpha."""
    chroma = "4:0:0" if pixels.ndim == 2 else "4:4:4"
    options = {"quality": encoding.quality, "subsampling": chroma, **like.options}
    if like.alpha is not None:
        options["advanced"] = _EXACT_ALPHA
    return save(Image.fromarray(pixels), "AVIF", options)
