"""JPEG (ITU T.81)."""

import io
import struct
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sim2real.errors import ImageError
from sim2real.imageio.pictures import Picture, Sizing, decode, encode, header_of, require_photo, srgb_profile

START: Final = b"\xff\xd8"
_END: Final = b"\xff\xd9"
_JFIF_END: Final = 20  # of the header that OpenCV writes
_START_OF_SCAN: Final = 0xDA
_COMMENT: Final = 0xFE
_APPLICATION: Final = range(0xE0, 0xF0)
_JFIF: Final = 0xE0
_ADOBE: Final = 0xEE
_ICC: Final = b"ICC_PROFILE\x00"


def _segments(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The marker and the bytes of each segment before the first scan, and the rest of the file."""
    segments: list[tuple[int, bytes]] = []
    place = len(START)
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # padding
            place += 1
            continue
        if marker == _START_OF_SCAN:
            if data.rfind(_END) < place:  # a decoder would make grey of what is missing
                break
            return segments, data[place:]
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4])
        segments.append((marker, data[place:end]))
        place = end
    raise ImageError(f"damaged or truncated JPEG (segment at byte {place} of {len(data)})")


def _is_metadata(marker: int) -> bool:
    return marker == _COMMENT or marker in _APPLICATION


def read_jpeg(data: bytes, size: Sizing | None) -> Picture:
    """A photo, scaled if ``size`` tells to what.

    Raises:
        ImageError: It is damaged, or no photo in grey or RGB.
    """
    segments, scans = _segments(data)
    icc = [segment for _, segment in segments if segment[4:16] == _ICC]
    profile = b"".join(segment[18:] for segment in sorted(icc, key=lambda segment: segment[16]))
    # other metadata is carried, never parsed: nothing in it can disturb the decoder
    needed = [s for marker, s in segments if not _is_metadata(marker) or marker in {_JFIF, _ADOBE}]
    with Image.open(io.BytesIO(START + b"".join(needed) + scans)) as image:
        require_photo(header_of(image))
        pixels = decode(image, profile or None, size)
    metadata = [s for marker, s in segments if _is_metadata(marker) and marker != _ADOBE]
    notes: tuple[str, ...] = ()
    if any(segment[4:8] == b"MPF\x00" for segment in metadata):
        notes = ("the further pictures of a multi-picture JPEG are not kept",)
        metadata = [segment for segment in metadata if segment[4:8] != b"MPF\x00"]
    if pixels.converted:
        metadata = [segment for segment in metadata if segment not in icc]
        if not pixels.grey:
            content = _ICC + b"\x01\x01" + srgb_profile()
            metadata.append(b"\xff\xe2" + struct.pack(">H", len(content) + 2) + content)
    return pixels.picture("JPEG", notes=notes, metadata=b"".join(metadata))


def encode_jpeg(pixels: NDArray[np.uint8], *, quality: int = 95) -> bytes:
    """Encode RGB (H, W, 3) or grey (H, W) pixels as baseline JPEG, chroma not subsampled (4:4:4).

    Raises:
        ImageError: A side is longer than the 65,535 pixels that JPEG allows.
    """
    sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    return encode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, quality, *(sampling if pixels.ndim == 3 else ())))


def with_metadata(encoded: bytes, metadata: bytes) -> bytes:
    """A JPEG of :func:`encode_jpeg` with segments in the place of its own header."""
    return START + metadata + encoded[_JFIF_END:]
