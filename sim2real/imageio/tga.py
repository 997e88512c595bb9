"""TGA (Truevision, version 2.0).

Its first bytes do not identify it; its suffix does, or its last bytes.
"""

import os
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TgaImagePlugin import TgaImageFile

from sim2real.errors import ImageError
from sim2real.imageio.claims import check_claim
from sim2real.imageio.encoding import Encoding
from sim2real.imageio.pictures import Header, Picture, View, decode, header_of, opened, save

SUFFIX: Final = ".tga"
_END: Final = b"TRUEVISION-XFILE.\0"
_FOOTER: Final = 26
_COLOUR: Final = 2
_RUN: Final = 128  # pixels of one packet
_CARRIED: Final = ("orientation", "compression", "id_section")


def recognises_end(file: BinaryIO) -> bool:
    """Return whether the last bytes of a file are those of a TGA."""
    length = file.seek(0, os.SEEK_END)
    file.seek(max(0, length - len(_END)))
    return file.read() == _END


def read_header(file: BinaryIO, length: int) -> Header:
    """Read the header of a file of ``length`` bytes.

    Raises:
        ImageError: If the file is damaged, or claims more pixels than it can hold.
    """
    depth = file.read(18)[16:17]
    file.seek(0)
    with opened(TgaImageFile, file) as image:
        each, pixels = depth[0] / 8, image.width * image.height
        packed = "compression" in image.info
        check_claim(*image.size, length, pixels / _RUN * (1 + each) if packed else pixels * each)
        return header_of(image)


def read_picture(data: bytes, _header: Header, view: View | None) -> Picture:
    """Decode a photo, or what ``view`` shows of it.

    Raises:
        ImageError: If the file is damaged, or not a grey or RGB photo.
    """
    with opened(TgaImageFile, data) as image:
        pixels = decode(image, None, view)
        options = {key: image.info[key] for key in _CARRIED if key in image.info}
    extended = data.endswith(_END) and data[-_FOOTER : -_FOOTER + 4] != bytes(4)
    notes = ["the extension area of a TGA is not kept"] * extended
    if _is_of_5_bits(data):
        notes.append("a TGA with 5 bits per channel is written with 8")
    return pixels.picture("TGA", notes=tuple(notes), options=options)


def _is_of_5_bits(data: bytes) -> bool:
    return data[16] == 16 and data[2] & 7 == _COLOUR


def read_label(data: bytes, _header: Header) -> NDArray[Any]:
    """Return the stored values, (H, W) or (H, W, C).

    Raises:
        ImageError: If the file is damaged.
    """
    if _is_of_5_bits(data):
        raise ImageError("TGA with 16 bits per pixel cannot be read without loss; store it as PNG")
    with opened(TgaImageFile, data) as image:
        values = np.array(image)
    return values.astype(np.uint8) if values.dtype == bool else values


def write(pixels: NDArray[np.uint8], like: Picture, _encoding: Encoding) -> bytes:
    """Encode a TGA like another."""
    return save(Image.fromarray(pixels), "TGA", like.options)
