"""PBM, PGM and PPM (https://netpbm.sourceforge.net/doc/), and the header of PFM.

Pillow scales the values of a PGM to its own range, which would change labels; here they are read unchanged.
"""

import re
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from sim2real.errors import ImageError
from sim2real.imageio.claims import check_claim
from sim2real.imageio.encoding import Encoding
from sim2real.imageio.pictures import Header, Picture, View

_LONGEST_HEADER: Final = 1 << 16
_LONGEST_VALUE: Final = 10  # digits
_SPACE: Final = rb"(?:[ \t\r\n\v\f]|#[^\r\n]*[\r\n])+"
_START: Final = re.compile(rb"P([1-6])" + _SPACE + rb"(\d{1,10})" + _SPACE + rb"(\d{1,10})")
_LARGEST: Final = re.compile(_SPACE + rb"(\d{1,5})")
_FLOAT: Final = re.compile(rb"P([Ff])\s+(\d{1,10})\s+(\d{1,10})\s+[-+.\deE]+\s")
_COMMENT: Final = re.compile(rb"#[^\r\n]*")


@dataclass(frozen=True, slots=True)
class _Layout:
    """The layout of the values: the ``largest`` one, whether they are ``plain`` text, and the first byte ``place``."""

    width: int
    height: int
    channels: int
    bits: int
    largest: int
    plain: bool
    place: int

    @property
    def values(self) -> int:
        return self.width * self.height * self.channels

    @property
    def row(self) -> int:
        """Bytes of a row that is not plain text."""
        return -(-self.width * self.channels * self.bits // 8)

    def check(self, length: int) -> None:
        """Check that a file of ``length`` bytes can hold the values; plain ones take at least a byte each."""
        check_claim(self.width, self.height, length, self.values if self.plain else self.height * self.row)


def recognises(start: bytes) -> bool:
    """Return whether the first bytes of a file are those of this format."""
    return re.match(rb"P[1-6Ff][\s#]", start) is not None


def read_header(file: BinaryIO, length: int) -> Header:
    """Read the header of a file of ``length`` bytes.

    Raises:
        ImageError: If the file is damaged, or claims more pixels than it can hold.
    """
    start = file.read(_LONGEST_HEADER)
    if match := _FLOAT.match(start):
        width, height, channels = int(match[2]), int(match[3]), 3 if match[1] == b"F" else 1
        check_claim(width, height, length, 4 * width * height * channels)
        return Header("PPM", width, height, channels, 32)
    layout = _layout(start)
    layout.check(length)
    return Header("PPM", layout.width, layout.height, layout.channels, layout.bits)


def _layout(data: bytes) -> _Layout:
    if not (match := _START.match(data[:_LONGEST_HEADER])):
        raise ImageError("damaged PPM: no header")
    kind, width, height = map(int, match.groups())
    place, largest, bits = match.end(), 1, 1
    if kind not in {1, 4}:
        if not (found := _LARGEST.match(data[:_LONGEST_HEADER], place)) or not 0 < int(found[1]) < 1 << 16:
            raise ImageError("damaged PPM: no largest value")
        place, largest = found.end(), int(found[1])
        bits = 8 if largest < 256 else 16
    return _Layout(width, height, 3 if kind in {3, 6} else 1, bits, largest, kind < 4, place + 1)


def _values(data: bytes, layout: _Layout) -> NDArray[Any]:
    """Return the stored values, (H, W) or (H, W, 3); 0 is black in bitmaps."""
    layout.check(len(data))
    values = _plain(data, layout) if layout.plain else _binary(data, layout)
    if layout.bits == 1:
        values = 1 - values
    shape = (layout.height, layout.width, layout.channels)
    return values.reshape(shape[:2] if layout.channels == 1 else shape)


def _plain(data: bytes, layout: _Layout) -> NDArray[Any]:
    digits = _COMMENT.sub(b"", data[layout.place :]).split()
    if layout.bits == 1:  # they need no spaces between them
        digits = [bytes((each,)) for each in b"".join(digits)]
    digits = digits[: layout.values]
    if len(digits) < layout.values or max(map(len, digits)) > _LONGEST_VALUE:
        raise ImageError("damaged or truncated PPM")
    values = np.array(digits).astype(np.int64)
    if values.min() < 0 or values.max() > layout.largest:
        raise ImageError(f"damaged PPM: values beyond {layout.largest}")
    return values.astype(np.uint16 if layout.bits == 16 else np.uint8)


def _binary(data: bytes, layout: _Layout) -> NDArray[Any]:
    stored = data[layout.place : layout.place + layout.height * layout.row]
    if len(stored) < layout.height * layout.row:
        raise ImageError("damaged or truncated PPM")
    if layout.bits == 16:
        return np.frombuffer(stored, ">u2").astype(np.uint16)
    values = np.frombuffer(stored, np.uint8)
    if layout.bits == 1:
        return np.unpackbits(values.reshape(layout.height, layout.row), axis=1)[:, : layout.width]
    return values


def read_picture(data: bytes, _header: Header, view: View | None) -> Picture:
    """Decode a photo, or what ``view`` shows of it.

    Raises:
        ImageError: If the file is damaged.
    """
    layout = _layout(data)
    values = _values(data, layout)
    notes = []
    if layout.largest != 255:
        scaled = np.rint(np.minimum(np.arange(256) / layout.largest, 1) * 255).astype(np.uint8)
        values = scaled[values]
        notes.append("values of a PPM with a maximum other than 255 are scaled to 255")
    if layout.plain:
        notes.append("a plain-text PPM is written as a binary one")
    if b"#" in data[: layout.place]:
        notes.append("the comments of a PPM are not kept")
    if not layout.plain and data[layout.place + layout.height * layout.row :].strip():
        notes.append("data after the image in a PPM is not kept")
    rgb = values if values.ndim == 3 else np.repeat(values[..., None], 3, axis=2)
    if view:
        left, top, right, bottom = view.source(layout.width, layout.height)
        rgb = view.shown(rgb[top:bottom, left:right], layout.width, layout.height)
    return Picture(rgb, "PPM", grey=layout.channels == 1, notes=tuple(notes))


def read_label(data: bytes, header: Header) -> NDArray[Any]:
    """Return the stored values, (H, W) or (H, W, 3); 0 is black in bitmaps.

    Raises:
        ImageError: If the file is damaged.
    """
    if header.bits == 32:
        raise ImageError("PFM files cannot be label images")
    return _values(data, _layout(data))


def write(pixels: NDArray[np.uint8], _like: Picture, _encoding: Encoding) -> bytes:
    """Encode a PGM or PPM."""
    height, width = pixels.shape[:2]
    return b"P%d\n%d %d\n255\n" % (5 if pixels.ndim == 2 else 6, width, height) + pixels.tobytes()
