"""The only place that decodes or encodes pixels, and where every encoding trap is handled.

A photo is read with all that belongs to it (:func:`read_picture`) and written back into the same kind of container
(:func:`encode_picture`); what cannot go through 8-bit RGB without loss is refused by name. A label is read as the raw
stored values (:func:`read_label`). Pixels are never rotated: labels lie on the pixels as they are stored, whatever the
EXIF orientation says.

pictures.py  what pictures of all containers share
png.py, jpeg.py, other.py  the containers
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from sim2real.errors import ImageError
from sim2real.imageio import jpeg, png
from sim2real.imageio.jpeg import encode_jpeg, read_jpeg
from sim2real.imageio.other import read_other
from sim2real.imageio.pictures import Header, Picture, Sizing, described, header_of, quiet, resize, resize_picture, save
from sim2real.imageio.png import encode_png, read_png, read_png_header, read_png_label, with_values

__all__ = [
    "IMAGE_SUFFIXES",
    "Header",
    "Picture",
    "Sizing",
    "decode_label",
    "decode_picture",
    "encode_jpeg",
    "encode_picture",
    "encode_png",
    "is_image",
    "read_header",
    "read_label",
    "read_picture",
    "read_rgb",
    "read_scaled",
    "replace_values",
    "resize",
    "resize_picture",
]

IMAGE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm"})


def is_image(name: str) -> bool:
    """Whether a file's name ends like an image's."""
    return name[name.rfind(".") :].lower() in IMAGE_SUFFIXES


def read_header(path: Path) -> Header:
    """Read what an image file says of itself, without decoding it.

    Raises:
        ImageError: It cannot be read, or is no image.
    """
    with _naming(path), path.open("rb") as file:
        start = file.read(png.HEADER_END)
        if start.startswith(png.SIGNATURE):
            return read_png_header(start)
        file.seek(0)
        with quiet(), Image.open(file) as image:
            return header_of(image)


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
        return _read(path.read_bytes(), size).rgb


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
        return _read(data)


def _read(data: bytes, size: Sizing | None = None) -> Picture:
    """Decode a photo; with ``size`` its RGB is scaled and may be read-only, and its alpha channel is of no use."""
    if data.startswith(png.SIGNATURE):
        return read_png(data, size)
    if data.startswith(jpeg.START):
        return read_jpeg(data, size)
    return read_other(data, size)


def encode_picture(rgb: NDArray[np.uint8], like: Picture, *, quality: int = 95) -> bytes:
    """Encode pixels the way another picture was stored: container, channels, alpha, EXIF and ICC profile.

    Args:
        rgb: RGB pixels (H, W, 3), of the size of ``like``.
        like: The picture whose place they take.
        quality: Of JPEG (baseline, chroma not subsampled) and lossy WebP, 1 to 100.

    Raises:
        ImageError: The container cannot hold a picture of that size.
    """
    if rgb.dtype != np.uint8 or rgb.shape != like.rgb.shape:
        message = f"pixels are {rgb.dtype} {rgb.shape}, the picture whose place they take is uint8 {like.rgb.shape}"
        raise ValueError(message)
    pixels = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8) if like.grey else rgb
    if like.alpha is not None:
        pixels = np.dstack((pixels, like.alpha))
    if like.format == "PNG":
        return png.with_metadata(encode_png(pixels), like.metadata)
    if like.format == "JPEG":
        return jpeg.with_metadata(encode_jpeg(pixels, quality=quality), like.metadata)
    return save(Image.fromarray(pixels), like.format, {"quality": quality, **like.options})


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
        if data.startswith(png.SIGNATURE):
            return read_png_label(data)
        with quiet(), Image.open(io.BytesIO(data)) as image:
            header = header_of(image)
            if header.channels > 1 and header.bits > 8:
                raise ImageError(f"{described(header)} cannot be read without loss; store it as PNG")
            return np.array(image)


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
        values = read_png_label(data)
    return with_values(data, change(values))


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong with a file into an error that names it."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
    except UnidentifiedImageError as error:  # its own words name an object in memory
        raise ImageError(f"{path}: cannot be read as an image: empty, damaged or of another format") from error
    except Exception as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{path}: cannot be read as an image: {reason}") from error
