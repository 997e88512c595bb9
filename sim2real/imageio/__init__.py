"""The only place that decodes or encodes pixels, and where every encoding trap is handled.

A photo is read with all that belongs to it (:func:`read_picture`) and written back into the same kind of container
(:func:`encode_picture`); what cannot go through 8-bit RGB without loss is refused by name. A label is read as the raw
stored values (:func:`read_label`). Pixels are never rotated: labels lie on the pixels as they are stored, whatever the
EXIF orientation says.

Which container a file is in is told by its bytes, whatever its name ends like. Only the containers below are read, each
by its own reader, and nothing that claims more than its bytes can hold, or more than the ceiling.

encoding.py  how lossy files are written
claims.py    what an image may claim to hold
orientation.py  how a photo wants to be shown
pictures.py  what pictures of all containers share
png.py, jpeg.py, webp.py, tiff.py, bmp.py, tga.py, pnm.py, jpeg2000.py, avif.py  the containers
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
from sim2real.imageio.pictures import Header, Picture, Sizing, described, resize, resize_picture, with_key
from sim2real.imageio.png import encode_png, with_values
from sim2real.places import what_is

__all__ = [
    "ANY_SUFFIX",
    "IMAGE_SUFFIXES",
    "OTHER_PICTURES",
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
"""They all as a pattern."""

OTHER_PICTURES: Final = frozenset(
    {".gif", ".heic", ".heif", ".jxl", ".jxr", ".qoi", ".psd", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2"}
)
"""How files end that hold photos, too, and that nothing here reads."""

_START_LENGTH: Final = 32
_LOSSY: Final = frozenset({"JPEG", "WEBP", "JPEG2000", "AVIF"})
_USUAL: Final = Encoding()
_SUPPOSED: Final = Encoding(quality=80)


class _Container(Protocol):
    """What the module of a container offers; all of it raises ImageError for what is damaged."""

    def read_header(self, file: BinaryIO, length: int, /) -> Header:
        """What a file of so many bytes says of itself."""

    def read_picture(self, data: bytes, size: Sizing | None, /) -> Picture:
        """A photo, scaled if ``size`` tells to what; its pixels are read-only then, and its alpha of no use."""

    def read_label(self, data: bytes, /) -> NDArray[Any]:
        """The stored values, (H, W) or (H, W, C)."""

    def write(self, pixels: NDArray[np.uint8], like: Picture, encoding: Encoding, /) -> bytes:
        """A file like another with other pixels, (H, W) or (H, W, C)."""


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
    """The module for a file, by its first bytes; by its last ones or its name if they are of nothing else."""
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
    """Whether a file's name ends like an image's, or in one of other suffixes."""
    return name[name.rfind(".") :].lower() in suffixes


def read_header(path: Path) -> Header:
    """Read what an image file says of itself, without decoding it.

    Raises:
        ImageError: It cannot be read, or is no image.
    """
    with _naming(path), path.open("rb") as file:
        container = _container(file, path.name)
        return container.read_header(file, os.fstat(file.fileno()).st_size)


def read_encoding(path: Path) -> Encoding | None:
    """Read how a JPEG is encoded; None of a file in another container.

    Raises:
        ImageError: It cannot be read, or is no image.
    """
    if read_header(path).format != "JPEG":
        return None
    with _naming(path):
        return jpeg.read_encoding(path.read_bytes())


def read_orientation(path: Path) -> int:
    """Read how a photo wants to be shown, by EXIF or XMP: 1 as stored, 2 to 8 mirrored or turned (TIFF 6.0, tag 274).

    Raises:
        ImageError: It cannot be read, or is no image.
    """
    with _naming(path), path.open("rb") as file:
        return orientation.read_orientation(file)


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Decode the pixels of a photo: RGB (H, W, 3), sRGB, not rotated.

    Raises:
        ImageError: As in :func:`read_picture`.
    """
    return read_picture(path).rgb


def read_scaled(path: Path, size: Sizing) -> NDArray[np.uint8]:
    """Decode the pixels of a photo at another size, as fast as its container allows.

    A JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that still covers what is wanted, from the low frequencies
    of its 8x8 blocks (libjpeg's scaled inverse DCT), and then shrunk further. That is faster and always gives the same
    pixels, though not quite those of ``resize(read_rgb(path), ...)``; up to 7 rows and columns at the bottom and the
    right that make no whole reduced pixel are left out.

    Args:
        path: The file.
        size: The stored (W, H) -> the wanted (W, H).

    Returns:
        RGB (H, W, 3), sRGB, not rotated; may be read-only.

    Raises:
        ImageError: As in :func:`read_picture`.
    """
    with _naming(path):
        data = path.read_bytes()
        return _of(data, path).read_picture(data, size).rgb


def scaled_part(path: Path, size: Sizing) -> tuple[int, int]:
    """The (W, H) of the stored pixels, from the top left, that :func:`read_scaled` shows: all but of some JPEG files.

    Raises:
        ImageError: It cannot be read, or is no image.
    """
    header = read_header(path)
    if header.format != "JPEG":
        return header.width, header.height
    with _naming(path):
        return jpeg.scaled_part(path.read_bytes(), size)


def read_picture(path: Path) -> Picture:
    """Decode a photo and keep all that is needed to write another one in its place.

    Raises:
        ImageError: It cannot be read; or as in :func:`decode_picture`.
    """
    with _naming(path):
        data = path.read_bytes()
    return decode_picture(data, path)


def decode_picture(data: bytes, path: Path) -> Picture:
    """Decode the bytes of a photo; what is wrong with them is told of ``path``.

    Pixels under an ICC profile other than sRGB are converted to sRGB, which ``notes`` tells.

    Raises:
        ImageError: The file is damaged, or is no single photo of 8 bits a channel, grey or RGB, with or without alpha.
    """
    with _naming(path):
        return _of(data, path).read_picture(data, None)


def _of(data: bytes, path: Path) -> _Container:
    return _container(io.BytesIO(data), path.name)


def encode_picture(
    rgb: NDArray[np.uint8], like: Picture, encoding: Encoding = _USUAL, *, quality: None = None
) -> bytes:
    """Encode pixels the way another picture was stored: container, channels, alpha, EXIF and ICC profile.

    Args:
        rgb: RGB pixels (H, W, 3), of the size of ``like``.
        like: The picture whose place they take.
        encoding: How, where the container is lossy.
        quality: Is a part of ``encoding`` now.

    Raises:
        ImageError: The container cannot hold a picture of that size.
    """
    if quality is not None:
        raise TypeError(f"encode_picture(..., quality={quality}) is encoding=Encoding(quality={quality}) now")
    if rgb.dtype != np.uint8 or rgb.shape != like.rgb.shape:
        message = f"pixels are {rgb.dtype} {rgb.shape}, the picture whose place they take is uint8 {like.rgb.shape}"
        raise ValueError(message)
    pixels = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8) if like.grey else rgb
    if like.alpha is not None:
        pixels = with_key(pixels, like.alpha, like.key) if like.key else np.dstack((pixels, like.alpha))
    container = _CONTAINERS[like.format]
    encoded = container.write(pixels, like, encoding.of(like))
    written = container.read_header(io.BytesIO(encoded), len(encoded))
    if written != like.header:
        raise ImageError(f"{described(like.header)} cannot be stored: it becomes {described(written)}")
    return encoded


def written_again(rgb: NDArray[np.uint8], like: Path) -> NDArray[np.uint8]:
    """What becomes of pixels when they are written with the settings of a file, and read again.

    Args:
        rgb: RGB pixels (H, W, 3), of the size of the file's.
        like: The file: a JPEG's tables and sampling of chroma are taken over; other lossy containers do not tell their
            quality, 80 is taken. What is lossless changes nothing.

    Raises:
        ImageError: The file cannot be read.
    """
    container = read_header(like).format
    if container not in _LOSSY:
        return rgb
    with _naming(like):
        if container == "JPEG":
            return jpeg.read_picture(jpeg.write_as_coarsely(like.read_bytes(), rgb), None).rgb
        picture = read_picture(like)
        return _CONTAINERS[container].read_picture(encode_picture(rgb, picture, _SUPPOSED), None).rgb


def read_label(path: Path) -> NDArray[Any]:
    """Decode the stored values of a label image, untouched.

    Returns:
        uint8 or uint16 for PNG: (H, W) for palette (the indices) and grey images, else (H, W, C), RGB(A) order.

    Raises:
        ImageError: The file is damaged, or is no image that can be read without loss.
    """
    with _naming(path):
        data = path.read_bytes()
    return decode_label(data, path)


def decode_label(data: bytes, path: Path) -> NDArray[Any]:
    """Decode the stored values of the bytes of a label image, as :func:`read_label` does; told of ``path``.

    Raises:
        ImageError: As there.
    """
    with _naming(path):
        return _of(data, path).read_label(data)


def replace_values(data: bytes, change: Callable[[NDArray[Any]], NDArray[Any]], path: Path) -> bytes:
    """A label image with other stored values: channels, bits, colour table and what else the file says stay.

    Args:
        data: The bytes of the file, a PNG.
        change: The values as :func:`read_label` gives them -> others of the same type and channels, of any size.
        path: What is wrong with the file is told of it.

    Raises:
        ImageError: The file is damaged, or is no PNG.
    """
    with _naming(path):
        if not data.startswith(png.SIGNATURE):
            raise ImageError("no PNG; only those can be written back without loss")
        values = png.read_label(data)
    return with_values(data, change(values))


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong with a file into an error that names it."""
    try:
        yield
    except ImageError as error:
        thing = what_is(path)
        text = f"{thing.name}; {thing.advice}" if thing.kind in {"pointer", "page"} else error
        raise ImageError(f"{path}: {text}") from error
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ImageError(f"{path}: cannot be read as an image: {reason}") from error
