"""Decoding and encoding of all images; no other module handles encoded pixels.

A photo is read with its metadata (:func:`read_picture`) and written back to the same container format
(:func:`encode_picture`); images that cannot pass through 8-bit RGB without loss are rejected with a reason. Label
images are read as their raw stored values (:func:`read_label`). Pixels are never rotated, since labels refer to the
stored pixels, whatever the EXIF orientation is.

The format of a file is detected from its bytes, not from its suffix. Only the formats below are read, each by its own
reader. Files that claim more pixels than their bytes can hold, or more than a limit, are rejected.

encoding.py  encoding of lossy files
claims.py    limits on the size of images
orientation.py  EXIF and XMP orientation
pictures.py  code that all formats share
plain_jpeg.py  JPEG files of which every decoder makes the same pixels
nvjpeg.py    JPEG codecs of GPUs, which are used if asked for
png.py, jpeg.py, webp.py, tiff.py, bmp.py, tga.py, pnm.py, jpeg2000.py, avif.py  the formats
"""

import io
import os
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from sim2real.errors import ImageError
from sim2real.imageio import avif, bmp, jpeg, jpeg2000, orientation, png, pnm, tga, tiff, webp
from sim2real.imageio.claims import check_array
from sim2real.imageio.encoding import Encoding, typical
from sim2real.imageio.jpeg import after as after_jpeg
from sim2real.imageio.jpeg import encode_jpeg
from sim2real.imageio.pictures import (
    Box,
    Cutting,
    Header,
    Picture,
    Sizing,
    View,
    described,
    require_photo,
    resize,
    resize_picture,
    with_key,
)
from sim2real.imageio.png import encode_png, with_values
from sim2real.places import what_is

__all__ = [
    "ANY_SUFFIX",
    "IMAGE_SUFFIXES",
    "OTHER_PICTURES",
    "Box",
    "Cutting",
    "Encoding",
    "Header",
    "Picture",
    "Sizing",
    "after_jpeg",
    "check_array",
    "decode_label",
    "decode_picture",
    "encode_jpeg",
    "encode_picture",
    "encode_png",
    "is_image",
    "read_encoding",
    "read_header",
    "read_label",
    "read_orientation",
    "read_picture",
    "read_rgb",
    "read_scaled",
    "replace_values",
    "resize",
    "resize_picture",
    "scaled_part",
    "typical",
    "written_again",
]

IMAGE_SUFFIXES: Final = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm", ".tga"}
    | {".jp2", ".j2k", ".avif"}
)
ANY_SUFFIX: Final = f"(?:{'|'.join(map(re.escape, sorted(IMAGE_SUFFIXES)))})"
"""Regular expression for all image suffixes."""

OTHER_PICTURES: Final = frozenset(
    {".gif", ".heic", ".heif", ".jxl", ".jxr", ".qoi", ".psd", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2"}
)
"""Suffixes of other image formats, which are not supported."""

_START_LENGTH: Final = 32
_LOSSY: Final = frozenset({"JPEG", "WEBP", "JPEG2000", "AVIF"})
_USUAL: Final = Encoding()
_SUPPOSED: Final = Encoding(quality=80)


class _Container(Protocol):
    """The interface of the modules of formats; all functions raise ImageError for damaged files."""

    def read_header(self, file: BinaryIO, length: int, /) -> Header:
        """Read the header of a file of ``length`` bytes."""

    def read_picture(self, data: bytes, header: Header, view: View | None, /) -> Picture:
        """Decode a photo whose header passed :func:`require_photo`.

        If ``view`` is given, the pixels are what it shows and may be read-only, and alpha is unusable.
        """

    def read_label(self, data: bytes, header: Header, /) -> NDArray[Any]:
        """Return the stored values, (H, W) or (H, W, C)."""

    def write(self, pixels: NDArray[np.uint8], like: Picture, encoding: Encoding, /) -> bytes:
        """Encode pixels, (H, W) or (H, W, C), like another file."""


_CONTAINERS: Final[dict[str, _Container]] = {
    "PNG": png,
    "JPEG": jpeg,
    "WEBP": webp,
    "TIFF": tiff,
    "BMP": bmp,
    "PPM": pnm,
    "JPEG2000": jpeg2000,
    "AVIF": avif,
    "TGA": tga,
}


def _container(file: BinaryIO, name: str) -> _Container:
    """Return the module for a file, by its first bytes, or for TGA by its suffix or last bytes."""
    start = file.read(_START_LENGTH)
    file.seek(0)
    for module in (png, jpeg, webp, tiff, bmp, pnm, jpeg2000, avif):
        if module.recognises(start):
            return module
    if start and (name.lower().endswith(tga.SUFFIX) or tga.recognises_end(file)):
        file.seek(0)
        return tga
    raise ImageError("cannot be read as an image: empty, damaged or of another format")


def is_image(name: str, suffixes: Collection[str] = IMAGE_SUFFIXES) -> bool:
    """Return whether a file's name has one of the suffixes, by default those of images."""
    return name[name.rfind(".") :].lower() in suffixes


def read_header(path: Path) -> Header:
    """Read the header of an image file, without decoding it.

    Raises:
        ImageError: If the file cannot be read, or is not an image.
    """
    with _naming(path), path.open("rb") as file:
        container = _container(file, path.name)
        return container.read_header(file, os.fstat(file.fileno()).st_size)


def read_encoding(path: Path) -> Encoding | None:
    """Read the encoding of a JPEG; None for files of other formats.

    Raises:
        ImageError: If the file cannot be read, or is not an image.
    """
    if read_header(path).format != "JPEG":
        return None
    with _naming(path):
        return jpeg.read_encoding(path.read_bytes())


def read_orientation(path: Path) -> int:
    """Read the orientation of a photo from EXIF or XMP: 1 as stored, 2 to 8 mirrored or rotated (TIFF 6.0, tag 274).

    Raises:
        ImageError: If the file cannot be read, or is not an image.
    """
    with _naming(path), path.open("rb") as file:
        return orientation.read_orientation(file)


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Decode the pixels of a photo: RGB (H, W, 3), sRGB, not rotated.

    Raises:
        ImageError: See :func:`read_picture`.
    """
    return read_picture(path).rgb


def read_scaled(path: Path, size: Sizing, window: Cutting | None = None) -> NDArray[np.uint8]:
    """Decode the pixels of a photo at another size, or a window of them, as fast as its format allows.

    If 1/2, 1/4 or 1/8 of a JPEG's size is still large enough, it is decoded at this size from the low frequencies of
    its 8x8 blocks (libjpeg's scaled inverse DCT), and then shrunk further. This is faster and always gives the same
    pixels, which differ slightly from ``resize(read_rgb(path), ...)``. Up to 7 rows and columns at the bottom and the
    right that do not fill a reduced pixel are left out.

    Of a PNG or JPEG at its own size, only the rows down to the end of the window are decoded.

    Args:
        path: The file.
        size: Function from the stored (W, H) to the requested (W, H).
        window: Function from the requested (W, H) to the part to return: left, top, right, bottom. None: all.

    Returns:
        RGB (H, W, 3), sRGB, not rotated; may be read-only.

    Raises:
        ImageError: See :func:`read_picture`.
    """
    with _naming(path):
        return _decoded(path.read_bytes(), path, size, window).rgb


def scaled_part(path: Path, size: Sizing) -> tuple[int, int]:
    """Return (W, H) of the stored pixels, from the top left, that :func:`read_scaled` shows; less for some JPEG files.

    Raises:
        ImageError: If the file cannot be read, or is not an image.
    """
    header = read_header(path)
    if header.format != "JPEG":
        return header.width, header.height
    with _naming(path):
        return jpeg.scaled_part(path.read_bytes(), size)


def read_picture(path: Path) -> Picture:
    """Decode a photo with everything that is needed to write another one in its place.

    Raises:
        ImageError: If the file cannot be read; see also :func:`decode_picture`.
    """
    with _naming(path):
        data = path.read_bytes()
    return decode_picture(data, path)


def decode_picture(data: bytes, path: Path, *, jpeg_decoder: jpeg.Decoder | None = None) -> Picture:
    """Decode the bytes of a photo; errors name ``path``.

    Pixels with an ICC profile other than sRGB are converted to sRGB, and ``notes`` says so.

    Args:
        data: The bytes.
        path: Path that errors name.
        jpeg_decoder: Decodes JPEG files of which every decoder makes the same pixels, see
            :mod:`sim2real.imageio.nvjpeg`.

    Raises:
        ImageError: If the file is damaged, or is not a single photo with 8 bits per channel, grey or RGB, with or
            without alpha.
    """
    with _naming(path):
        return _decoded(data, path, jpeg_decoder=jpeg_decoder)


def _decoded(
    data: bytes,
    path: Path,
    size: Sizing | None = None,
    window: Cutting | None = None,
    jpeg_decoder: jpeg.Decoder | None = None,
) -> Picture:
    """Decode a photo, scaled and cut if asked for, after its header was checked."""
    container, header = _header_of(data, path)
    require_photo(header)
    if size is None:
        if container is jpeg:
            return jpeg.read_picture(data, header, None, jpeg_decoder)
        return container.read_picture(data, header, None)
    stored = header.width, header.height
    wanted = size(*stored)
    box = window(*wanted) if window else (0, 0, *wanted)
    return container.read_picture(data, header, View(wanted, box, is_scaled=wanted != stored))


def _header_of(data: bytes, path: Path) -> tuple[_Container, Header]:
    """Return the module for the bytes of a file, and their header, whose claims are checked."""
    file = io.BytesIO(data)
    container = _container(file, path.name)
    return container, container.read_header(file, len(data))


def encode_picture(
    rgb: NDArray[np.uint8],
    like: Picture,
    encoding: Encoding = _USUAL,
    *,
    quality: None = None,
    jpeg_encoder: jpeg.Encoder | None = None,
) -> bytes:
    """Encode pixels like another picture: with its format, channels, alpha, EXIF and ICC profile.

    Args:
        rgb: RGB pixels (H, W, 3), of the size of ``like``.
        like: The picture that they replace.
        encoding: Encoding for lossy formats.
        quality: No longer supported; use ``encoding``.
        jpeg_encoder: Encodes RGB pixels for a JPEG if the encoding is a quality, see :mod:`sim2real.imageio.nvjpeg`.

    Raises:
        ImageError: If the format cannot hold a picture of this size.
        TypeError: If ``quality`` is given.
        ValueError: If the pixels are not uint8 or have another size.
    """
    if quality is not None:
        raise TypeError(f"encode_picture(..., quality={quality}): use encoding=Encoding(quality={quality}) instead")
    if rgb.dtype != np.uint8 or rgb.shape != like.rgb.shape:
        message = f"pixels are {rgb.dtype} {rgb.shape}, but the picture that they replace is uint8 {like.rgb.shape}"
        raise ValueError(message)
    pixels = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8) if like.grey else rgb
    if like.alpha is not None:
        pixels = with_key(pixels, like.alpha, like.key) if like.key else np.dstack((pixels, like.alpha))
    container = _CONTAINERS[like.format]
    if container is jpeg:
        encoded = jpeg.write(pixels, like, encoding.of(like), jpeg_encoder)
    else:
        encoded = container.write(pixels, like, encoding.of(like))
    written = container.read_header(io.BytesIO(encoded), len(encoded))
    if written != like.header:
        raise ImageError(f"{described(like.header)} cannot be stored: it becomes {described(written)}")
    return encoded


def written_again(rgb: NDArray[np.uint8], like: Path) -> NDArray[np.uint8]:
    """Return pixels as they are after being written with the encoding of a file, and read again.

    Args:
        rgb: RGB pixels (H, W, 3), of the size of the file's.
        like: The file. A JPEG's tables and chroma subsampling are used; other lossy formats do not record their
            quality, for which 80 is assumed. Lossless formats change nothing.

    Raises:
        ImageError: If the file cannot be read.
    """
    container = read_header(like).format
    if container not in _LOSSY:
        return rgb
    with _naming(like):
        data = like.read_bytes()
        if container == "JPEG":
            written = jpeg.write_as_coarsely(data, rgb)
        else:
            written = encode_picture(rgb, _decoded(data, like), _SUPPOSED)
        return _decoded(written, like).rgb


def read_label(path: Path) -> NDArray[Any]:
    """Decode the stored values of a label image, unchanged.

    Returns:
        (H, W) for palette images (the indices) and grey ones, else (H, W, C) in RGB(A) order; PNG: uint8 or uint16.

    Raises:
        ImageError: If the file is damaged, or cannot be read without loss.
    """
    with _naming(path):
        data = path.read_bytes()
    return decode_label(data, path)


def decode_label(data: bytes, path: Path) -> NDArray[Any]:
    """Decode the stored values of the bytes of a label image, like :func:`read_label`; errors name ``path``.

    Raises:
        ImageError: See :func:`read_label`.
    """
    with _naming(path):
        container, header = _header_of(data, path)
        return container.read_label(data, header)


def replace_values(data: bytes, change: Callable[[NDArray[Any]], NDArray[Any]], path: Path) -> bytes:
    """Return a label image with other stored values; channels, bits, colour table and metadata stay.

    Args:
        data: The bytes of the file, a PNG.
        change: Function from the values of :func:`read_label` to others of the same type and channels, of any size.
        path: Path that errors name.

    Raises:
        ImageError: If the file is damaged, or is not a PNG.
    """
    with _naming(path):
        if not data.startswith(png.SIGNATURE):
            raise ImageError("not a PNG; only PNG files can be written back without loss")
    return with_values(data, change(decode_label(data, path)))


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn all errors about a file into an ImageError that names it."""
    try:
        yield
    except ImageError as error:
        thing = what_is(path)
        text = f"{thing.name}; {thing.advice}" if thing.kind in {"pointer", "page"} else error
        raise ImageError(f"{path}: {text}") from error
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ImageError(f"{path}: cannot be read as an image: {reason}") from error
