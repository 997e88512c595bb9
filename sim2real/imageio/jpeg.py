"""JPEG (ITU T.81)."""

import io
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any, BinaryIO, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile, get_sampling

from sim2real.errors import ImageError
from sim2real.imageio.claims import check_claim
from sim2real.imageio.encoding import USUAL_QUALITY, WRITTEN, Encoding
from sim2real.imageio.pictures import (
    Header,
    Picture,
    Pixels,
    Sizing,
    View,
    decode,
    encode,
    opened,
    save,
    srgb_profile,
)
from sim2real.imageio.plain_jpeg import plain, plain_body

Decoder = Callable[[bytes, Header], NDArray[np.uint8] | None]
"""Decodes a plain JPEG: RGB (H, W, 3); None if it cannot."""
Encoder = Callable[[NDArray[np.uint8], int], bytes | None]
"""Encodes RGB (H, W, 3) in a quality, as :func:`fixed_body` checks it; None if it cannot."""

START: Final = b"\xff\xd8"
_END: Final = b"\xff\xd9"
_SCAN: Final = b"\xff\xda"
_JFIF_END: Final = 20  # end of the header that OpenCV and Pillow write
_START_OF_SCAN: Final = 0xDA
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL: Final = frozenset({0xC0, 0xC1})
_PROGRESSIVE: Final = 0xC2
_COMMENT: Final = 0xFE
_APPLICATION: Final = range(0xE0, 0xF0)
_JFIF: Final = 0xE0
_ADOBE: Final = 0xEE
_ICC: Final = b"ICC_PROFILE\x00"
_SAMPLINGS: Final[dict[tuple[float, float], str]] = {
    (1, 1): "4:4:4",
    (2, 1): "4:2:2",
    (2, 2): "4:2:0",
    (1, 2): "4:4:0",
    (4, 1): "4:1:1",
    (4, 2): "4:1:0",
}
_LARGEST_BLOCK: Final = 32  # rows of 8x8 values with up to fourfold subsampling
_MOST_SCANS: Final = 500  # each takes the time of a whole image; encoders write about ten


def recognises(start: bytes) -> bool:
    """Return whether the first bytes of a file are those of this format."""
    return start.startswith(START)


def read_header(file: BinaryIO, length: int) -> Header:
    """Read the header of a file of ``length`` bytes.

    Raises:
        ImageError: If the file is damaged, or claims more pixels than it can hold.
    """
    place = len(START)
    while True:
        file.seek(place)
        start = file.read(4)
        if len(start) < 4 or start[0] != 0xFF or start[1] == _START_OF_SCAN:
            raise ImageError(f"damaged or truncated JPEG (segment at byte {place} of {length})")
        if start[1] in _FRAMES:
            return _header(start[1], file.read(int.from_bytes(start[2:])), length)
        place += 1 if start[1] == 0xFF else 2 + int.from_bytes(start[2:])


def _header(marker: int, frame: bytes, length: int) -> Header:
    """Parse a frame header (ITU T.81, B.2.2)."""
    if len(frame) < 6 or len(frame) < 6 + 3 * frame[5]:
        raise ImageError("damaged JPEG: its frame header is incomplete")
    bits, height, width, channels = struct.unpack(">BHHB", frame[:6])
    check_claim(width, height, length, _fewest_bits(marker, width, height, frame[7 : 6 + 3 * channels : 3]) / 8)
    return Header("JPEG", width, height, channels, bits)


def _fewest_bits(marker: int, width: int, height: int, sampling: bytes) -> int:
    """Return the minimum number of bits of a JPEG.

    A block of 8x8 values has at least one bit for its mean and, if it is sequential, one for all other values.
    """
    each = 2 if marker in _SEQUENTIAL else 1 if marker == _PROGRESSIVE else 0
    factors = [(factor >> 4, factor & 15) for factor in sampling]
    across, down = (max((factor[side] for factor in factors), default=0) for side in (0, 1))
    if not across or not down:
        raise ImageError("damaged JPEG: components without sampling factors")
    return each * sum(-(-width * x // (8 * across)) * -(-height * y // (8 * down)) for x, y in factors)


def _segments(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Return the marker and the bytes of each segment before the first scan, and the rest of the file."""
    segments: list[tuple[int, bytes]] = []
    place = len(START)
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # padding
            place += 1
            continue
        if marker == _START_OF_SCAN:
            if data.rfind(_END) < place:  # decoders fill missing parts with grey
                break
            if data.count(_SCAN, place) > _MOST_SCANS:
                raise ImageError(f"JPEG with more than {_MOST_SCANS} scans, which would take hours to decode")
            return segments, data[place:]
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4])
        segments.append((marker, data[place:end]))
        place = end
    raise ImageError(f"damaged or truncated JPEG (segment at byte {place} of {len(data)})")


def _is_metadata(marker: int) -> bool:
    return marker == _COMMENT or marker in _APPLICATION


def _bare(segments: list[tuple[int, bytes]], scans: bytes) -> bytes:
    """Return the segments that define the pixels; metadata is copied but never parsed and cannot disturb decoders."""
    return START + b"".join(segment for _, segment in _needed(segments)) + scans


def _needed(segments: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    return [each for each in segments if not _is_metadata(each[0]) or each[0] in {_JFIF, _ADOBE}]


def _first_rows(segments: list[tuple[int, bytes]], header: Header, view: View) -> list[tuple[int, bytes]]:
    """Return the segments of a JPEG as its decoder reads them to show a view: blocks below it are not decoded.

    The blocks right below it are, since rows of reduced chroma are interpolated with them.
    """
    if view.is_scaled:
        return segments
    rows = struct.pack(">H", min(header.height, (view.box[3] // _LARGEST_BLOCK + 2) * _LARGEST_BLOCK))
    return [(marker, part[:5] + rows + part[7:] if marker in _FRAMES else part) for marker, part in segments]


def read_picture(data: bytes, header: Header, view: View | None, decoder: Decoder | None = None) -> Picture:
    """Decode a photo, or what ``view`` shows of it.

    Args:
        data: The bytes of the file.
        header: Its header.
        view: What is shown; None for the whole photo.
        decoder: Decodes whole plain photos without an ICC profile; the usual decoder does if it cannot.

    Raises:
        ImageError: If the file is damaged, or not a grey or RGB photo.
    """
    segments, scans = _segments(data)
    icc = [segment for _, segment in segments if segment[4:16] == _ICC]
    profile = b"".join(segment[18:] for segment in sorted(icc, key=lambda segment: segment[16:17]))
    with opened(JpegImageFile, _bare(_first_rows(segments, header, view) if view else segments, scans)) as image:
        encoding = _encoding(image)
        simple = plain(_needed(segments), scans) if decoder and not view and not icc else None
        rgb = decoder(simple, header) if decoder and simple else None
        if rgb is None:
            pixels = decode(image, profile or None, view)
        else:
            pixels = Pixels(rgb, header.channels == 1, alpha=None, converted=False, notes=())
    metadata = [s for marker, s in segments if _is_metadata(marker) and marker != _ADOBE]
    notes: tuple[str, ...] = ()
    if any(segment[4:8] == b"MPF\x00" for segment in metadata):
        notes = ("the further images of a multi-picture JPEG are not kept",)
        metadata = [segment for segment in metadata if segment[4:8] != b"MPF\x00"]
    if pixels.converted:
        metadata = [segment for segment in metadata if segment not in icc]
        if not pixels.grey:
            content = _ICC + b"\x01\x01" + srgb_profile()
            metadata.append(b"\xff\xe2" + struct.pack(">H", len(content) + 2) + content)
    return pixels.picture("JPEG", notes=notes, metadata=b"".join(metadata), encoding=encoding)


def read_encoding(data: bytes) -> Encoding | None:
    """Return the encoding of a JPEG; None if a table is missing.

    Raises:
        ImageError: If the file is damaged.
    """
    with opened(JpegImageFile, _bare(*_segments(data))) as image:
        return _encoding(image)


def _encoding(image: JpegImageFile) -> Encoding | None:
    """Return the encoding that the segments before the first scan define; None if a table is missing."""
    try:
        tables = [tuple(image.quantization[table]) for _, _, _, table in image.layer[:3]]
    except KeyError:
        return None
    while len(tables) > 2 and tables[-1] == tables[-2]:
        del tables[-1]
    progressive = bool(image.info.get("progressive"))
    return Encoding(tables=tuple(tables), sampling=_sampling(image), progressive=progressive)


def _sampling(image: JpegImageFile) -> str:
    """Return the chroma subsampling, from the factors of the components (ITU T.81, A.1.1)."""
    (across, down), *chroma = [layer[1:3] for layer in image.layer]
    shares = {(across / x, down / y) for x, y in chroma}
    return _SAMPLINGS.get(shares.pop(), "otherwise") if len(shares) == 1 else "otherwise" if shares else WRITTEN[0]


def scaled_part(data: bytes, size: Sizing) -> tuple[int, int]:
    """Return (W, H) of the stored pixels, from the top left, that a scaled photo shows.

    Raises:
        ImageError: If the file is damaged.
    """
    with opened(JpegImageFile, _bare(*_segments(data))) as image:
        width, height = image.size
        drafted = image.draft(None, size(width, height))
        if drafted is None:
            return width, height
        reduced = drafted[1][2:]
        factor = round(width / reduced[0])
        return int(reduced[0]) * factor, int(reduced[1]) * factor


def read_label(data: bytes, _header: Header) -> NDArray[Any]:
    """Return the decoded values, (H, W) or (H, W, C).

    Raises:
        ImageError: If the file is damaged.
    """
    with opened(JpegImageFile, _bare(*_segments(data))) as image:
        return np.array(image)


def encode_jpeg(pixels: NDArray[np.uint8], *, quality: int = USUAL_QUALITY) -> bytes:
    """Encode RGB (H, W, 3) or grey (H, W) pixels as baseline JPEG, without chroma subsampling (4:4:4).

    Raises:
        ImageError: If a side is longer than the 65,535 pixels that JPEG allows.
    """
    sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    return encode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, quality, *(sampling if pixels.ndim == 3 else ())))


def write(pixels: NDArray[np.uint8], like: Picture, encoding: Encoding, encoder: Encoder | None = None) -> bytes:
    """Encode a JPEG like another, with its metadata segments in place of the encoder's header.

    Args:
        pixels: RGB (H, W, 3) or grey (H, W).
        like: The picture that they replace.
        encoding: The encoding.
        encoder: Encodes RGB pixels if the encoding is a quality; the usual encoder does if it cannot.
    """
    fits = encoder and pixels.ndim == 3 and encoding == Encoding(quality=encoding.quality)
    body = encoder(pixels, encoding.quality) if encoder and fits else None
    return START + like.metadata + (body or _encoded(pixels, encoding)[_JFIF_END:])


def fixed_body(data: bytes, quality: int) -> bytes | None:
    """Return a JPEG without its start and metadata; None if :func:`encode_jpeg` would not write it of RGB pixels.

    It has to be plain and in colour, and no step of its tables may be larger than those of the quality.

    Raises:
        ImageError: If it is damaged.
    """
    segments, scans = _segments(data)
    found = read_encoding(data)
    if found is None or any(marker == _ADOBE for marker, _ in segments):
        return None
    tables, most = found.tables, _tables_of(quality)
    coarser = len(tables) > len(most) or any(
        np.greater(tables[min(place, len(tables) - 1)], table).any() for place, table in enumerate(most)
    )
    grey = next(part for marker, part in segments if marker in _FRAMES)[9] == 1
    return None if coarser or grey else plain_body([s for s in segments if not _is_metadata(s[0])], scans)


@lru_cache(maxsize=8)
def _tables_of(quality: int) -> tuple[tuple[int, ...], ...]:
    """Return the quantisation tables of a quality."""
    encoding = read_encoding(encode_jpeg(np.zeros((8, 8, 3), np.uint8), quality=quality))
    return encoding.tables if encoding else ()


def _encoded(pixels: NDArray[np.uint8], encoding: Encoding) -> bytes:
    """Encode RGB (H, W, 3) or grey (H, W) pixels as a JPEG, with the encoder's header."""
    if encoding == Encoding(quality=encoding.quality):
        return encode_jpeg(pixels, quality=encoding.quality)
    tables = encoding.written_tables[: 1 if pixels.ndim == 2 else None]
    options: dict[str, Any] = {"qtables": tables} if tables else {"quality": encoding.quality}
    if pixels.ndim > 2:
        options["subsampling"] = encoding.written_sampling
    return save(Image.fromarray(pixels), "JPEG", options | {"progressive": encoding.progressive})


def after(rgb: NDArray[np.uint8], encoding: Encoding) -> NDArray[np.uint8]:
    """Return RGB pixels (H, W, 3) as they are after being written as a JPEG and read again.

    Raises:
        ImageError: If a side is longer than the 65,535 pixels that JPEG allows.
    """
    with Image.open(io.BytesIO(_encoded(rgb, encoding)), formats=("JPEG",)) as image:
        return np.array(image)


def write_as_coarsely(data: bytes, rgb: NDArray[np.uint8]) -> bytes:
    """Encode RGB pixels (H, W, 3) with the quantisation tables and the chroma subsampling of another JPEG."""
    with opened(JpegImageFile, _bare(*_segments(data))) as image:
        sampling = get_sampling(image)
        options = {"qtables": image.quantization, **({"subsampling": sampling} if sampling >= 0 else {})}
        pixels = Image.fromarray(rgb)
        return save(pixels.convert("L") if image.mode == "L" else pixels, "JPEG", options)
