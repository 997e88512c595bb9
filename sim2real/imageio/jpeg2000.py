"""JPEG 2000 (ITU T.800): .jp2 files and bare codestreams. Writing is lossless."""

import io
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile

from sim2real.errors import ImageError
from sim2real.imageio.claims import check_claim
from sim2real.imageio.encoding import Encoding
from sim2real.imageio.pictures import Header, Picture, View, decode, described, header_of, opened, save

_CODESTREAM: Final = b"\xff\x4f\xff\x51"
_START: Final = b"\0\0\0\x0cjP  \r\n\x87\n"
_NEEDED: Final = frozenset({b"jP  ", b"ftyp", b"jp2h", b"jp2c"})
_ICC_METHODS: Final = frozenset({2, 3})
_CARRIED: Final = ("comment",)
_SIGNED: Final = 0x80


def recognises(start: bytes) -> bool:
    """Return whether the first bytes of a file are those of this format."""
    return start.startswith((_START, _CODESTREAM))


def read_header(file: BinaryIO, length: int) -> Header:
    """Read the header of a file of ``length`` bytes.

    Raises:
        ImageError: If the file is damaged, or claims more pixels than it can hold.
    """
    begin = 0
    if file.read(len(_CODESTREAM)) != _CODESTREAM:
        begin = next((place for kind, place, _ in _boxes(file, 0, length) if kind == b"jp2c"), length)
    file.seek(begin)
    size = file.read(2 + 2 + 38)
    if len(size) < 42 or not size.startswith(_CODESTREAM):
        raise ImageError("damaged JPEG 2000: no codestream")
    x1, y1, x0, y0 = struct.unpack(">4I", size[8:24])
    count = int.from_bytes(size[40:42])
    depths = file.read(3 * min(count, 5))[::3]
    if not depths or x1 < x0 or y1 < y0:
        raise ImageError("damaged JPEG 2000: no size")
    check_claim(x1 - x0, y1 - y0, length)
    if any(depth & _SIGNED for depth in depths):
        raise ImageError("JPEG 2000 with signed values cannot be read without loss; store it as PNG")
    file.seek(0)
    with opened(Jpeg2KImageFile, file) as image:
        if image.size != (x1 - x0, y1 - y0):
            raise ImageError("damaged JPEG 2000: its header and its codestream have different sizes")
        return header_of(image, 1 + max(depths))


def _boxes(file: BinaryIO, begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type of each box, and where its content begins and ends (ITU T.800, I.4)."""
    while begin + 8 <= end:
        file.seek(begin)
        size, kind = struct.unpack(">I4s", file.read(8))
        content = begin + 8
        if size == 1:
            size, content = int.from_bytes(file.read(8)), begin + 16
        after = begin + size if size else end
        if after < content:
            return
        yield kind, content, min(after, end)
        begin = after


def read_picture(data: bytes, _header: Header, view: View | None) -> Picture:
    """Decode a photo, or what ``view`` shows of it.

    Raises:
        ImageError: If the file is damaged, or not a grey or RGB photo.
    """
    bare = data.startswith(_CODESTREAM)
    boxes = [] if bare else list(_boxes(io.BytesIO(data), 0, len(data)))
    profile = next((found for kind, *span in boxes if kind == b"jp2h" and (found := _profile(data, *span))), None)
    with opened(Jpeg2KImageFile, data) as image:
        pixels = decode(image, profile, view)
        options = {"no_jp2": bare} | {key: image.info[key] for key in _CARRIED if key in image.info}
    notes = []
    if profile and not pixels.converted:
        notes.append("the ICC profile of a JPEG 2000, sRGB, is not kept")
    if not {kind for kind, *_ in boxes} <= _NEEDED:
        notes.append("metadata of a JPEG 2000 other than its colour space is not kept")
    return pixels.picture("JPEG2000", notes=tuple(notes), options=options)


def _profile(data: bytes, begin: int, end: int) -> bytes | None:
    """Return the ICC profile of the first box that defines a colour space, or None."""
    for kind, content, after in _boxes(io.BytesIO(data), begin, end):
        if kind == b"colr":
            return data[content + 3 : after] if data[content] in _ICC_METHODS else None
    return None


def read_label(data: bytes, header: Header) -> NDArray[Any]:
    """Return the stored values, (H, W) or (H, W, C).

    Raises:
        ImageError: If the file is damaged, or cannot be read without loss.
    """
    if header.channels > 1 and header.bits > 8:
        raise ImageError(f"{described(header)} cannot be read without loss; store it as PNG")
    with opened(Jpeg2KImageFile, data) as image:
        return np.array(image)


def write(pixels: NDArray[np.uint8], like: Picture, _encoding: Encoding) -> bytes:
    """Encode a lossless JPEG 2000 like another."""
    return save(Image.fromarray(pixels), "JPEG2000", {"mct": int(pixels.shape[2:] == (3,)), **like.options})
