"""Code that all formats share: headers, decoded pictures, colour profiles, scaling and encoding."""

import io
import logging
import math
import re
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, BinaryIO, Final, NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms
from PIL.ImageFile import ImageFile

from sim2real.errors import ImageError
from sim2real.imageio.encoding import Encoding

Opened = TypeVar("Opened", bound=ImageFile)
Sizing = Callable[[int, int], tuple[int, int]]  # stored (W, H) -> wanted (W, H)
Box = tuple[int, int, int, int]  # left, top, right, bottom
Cutting = Callable[[int, int], Box]  # wanted (W, H) -> the part to show

_MODES: Final = {"1": (1, 1), "L": (1, 8), "P": (1, 8), "LA": (2, 8), "PA": (2, 8), "RGB": (3, 8), "YCbCr": (3, 8)} | {
    "LAB": (3, 8), "HSV": (3, 8), "RGBA": (4, 8), "RGBX": (4, 8), "CMYK": (4, 8), "La": (2, 8), "I": (1, 32),
    "F": (1, 32),
}  # fmt: skip
_LONGEST_NAME: Final = 60

Image.MAX_IMAGE_PIXELS = None  # claims.py has a limit for all formats
logging.getLogger("PIL").addHandler(logging.NullHandler())  # problems of files are reported as errors


class View(NamedTuple):
    """What is decoded of a photo.

    Attributes:
        size: The size (W, H) that the photo is scaled to.
        box: The part of the scaled photo that is shown.
        is_scaled: Whether ``size`` is not the stored size.
    """

    size: tuple[int, int]
    box: Box
    is_scaled: bool

    def source(self, width: int, height: int) -> Box:
        """Return the part of a photo, decoded to a size, that decides what is shown.

        If it is scaled, this is all up to the right and lower end of what is shown: resizing counts from the origin.
        """
        if not self.is_scaled:
            return self.box
        if self.size[0] > width or self.size[1] > height:
            return 0, 0, width, height
        right, bottom = (
            min(stored, math.ceil(end * stored / scaled) + 2)
            for end, stored, scaled in zip(self.box[2:], (width, height), self.size, strict=True)
        )
        return 0, 0, right, bottom

    def shown(self, part: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
        """Return what is shown, from the part (H, W, 3) that :meth:`source` names; they may share memory."""
        if not self.is_scaled:
            return part
        left, top, right, bottom = self.box
        if part.shape[:2] == (height, width):
            return resize(part, self.size)[top:bottom, left:right]
        factors = self.size[0] / width, self.size[1] / height
        scaled = cv2.resize(part, None, fx=factors[0], fy=factors[1], interpolation=cv2.INTER_AREA)
        return np.asarray(scaled[top:bottom, left:right], np.uint8)


@dataclass(frozen=True, slots=True)
class Header:
    """The header of an image file.

    Attributes:
        format: Pillow's name of the format: ``"PNG"``, ``"JPEG"``, ``"BMP"``, ``"TIFF"``, ``"WEBP"``, ``"PPM"``, ...
        width: Width in pixels, as stored.
        height: Height in pixels, as stored.
        channels: Stored values per pixel; 1 for palette images.
        bits: Bits per stored value.
        palette: Whether the values are indices into a colour table.
    """

    format: str
    width: int
    height: int
    channels: int
    bits: int
    palette: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded photo with everything that is needed to write another one in its place.

    Attributes:
        rgb: Pixels (H, W, 3), sRGB, as stored: not rotated. A grey photo has three equal channels.
        format: Format of the file, see :class:`Header`.
        grey: Whether only luminance is stored.
        alpha: Alpha channel (H, W), or None.
        key: The colour that marks transparent pixels, for which ``alpha`` is 0; None if alpha is stored as a channel.
        notes: What decoding and encoding do not preserve; one phrase each.
        metadata: Raw PNG chunks or JPEG segments (EXIF, ICC, XMP, ...), written back unchanged.
        options: Keyword arguments for Pillow's writers of the other formats.
        encoding: Encoding of the file if it is a JPEG.
    """

    rgb: NDArray[np.uint8]
    format: str
    grey: bool = False
    alpha: NDArray[np.uint8] | None = None
    key: tuple[int, ...] | None = None
    notes: tuple[str, ...] = ()
    metadata: bytes = field(default=b"", repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    encoding: Encoding | None = field(default=None, repr=False)

    @property
    def header(self) -> Header:
        """The header of a file that is written in place of this picture."""
        height, width = self.rgb.shape[:2]
        channels = (1 if self.grey else 3) + (self.alpha is not None and self.key is None)
        return Header(self.format, width, height, channels, 8)


def resize(rgb: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize RGB (H, W, 3) or (H, W) to (W, H), by area if a side shrinks, else bicubic.

    At its own size, the array itself is returned.
    """
    height, width = rgb.shape[:2]
    if size == (width, height):
        return rgb
    shrinks = size[0] < width or size[1] < height
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC), np.uint8)


def resize_picture(picture: Picture, size: tuple[int, int]) -> Picture:
    """Resize a photo and its alpha channel to (W, H); sides that shrink are averaged even if the other one grows."""
    least = min(size[0], picture.rgb.shape[1]), min(size[1], picture.rgb.shape[0])
    alpha = None if picture.alpha is None else resize(resize(picture.alpha, least), size)
    return replace(picture, rgb=resize(resize(picture.rgb, least), size), alpha=alpha)


@dataclass(frozen=True, slots=True)
class Pixels:
    """Decoded pixels: the fields of a :class:`Picture`, and whether their colours were converted to sRGB."""

    rgb: NDArray[np.uint8]
    grey: bool
    alpha: NDArray[np.uint8] | None
    converted: bool
    notes: tuple[str, ...]

    def picture(self, container: str, *, notes: tuple[str, ...] = (), **rest: Any) -> Picture:  # noqa: ANN401  passed on
        """Return these pixels as a picture."""
        return Picture(self.rgb, container, self.grey, self.alpha, notes=self.notes + notes, **rest)


@contextmanager
def opened(kind: type[Opened], file: BinaryIO | bytes) -> Iterator[Opened]:
    """Open an image, a file or its bytes, with one of Pillow's readers, without decoding or trying other readers.

    Raises:
        ImageError: If the reader does not recognise the file.
    """
    with quiet():
        try:
            image = kind(io.BytesIO(file) if isinstance(file, bytes) else file)
        except SyntaxError as error:  # raised by Pillow for other formats
            raise ImageError("cannot be read as an image: empty, damaged or of another format") from error
    with image:
        yield image


def decode(image: ImageFile, profile: bytes | None, view: View | None, key: tuple[int, ...] | None = None) -> Pixels:
    """Decode an image that passed :func:`require_photo`.

    Args:
        image: The opened image.
        profile: Its ICC profile; empty if it has one that cannot be used.
        view: What is shown; None for the whole photo. Where nothing is scaled, rows below the view may be missing.
        key: The colour that marks transparent pixels.

    Raises:
        ImageError: If the file is damaged, or neither grey nor RGB.
    """
    notes: tuple[str, ...] = ()
    if image.mode not in {"L", "LA", "RGB", "RGBA"}:
        raise ImageError(f"{image.format} in {image.mode}; only grey and RGB photos can be translated")
    drafted = image.draft(None, view.size) if view and view.is_scaled else None  # only supported by the JPEG decoder
    image.load()
    width, height = map(int, drafted[1][2:]) if drafted else image.size  # only complete reduced pixels
    part = view.source(width, height) if view else (0, 0, width, height)
    shown: Image.Image = image if part == (0, 0, *image.size) else image.crop(part)
    colour = shown.convert(image.mode.removesuffix("A")) if image.mode.endswith("A") else shown
    alpha = np.array(shown.getchannel("A")) if image.mode.endswith("A") else None
    if key:
        alpha = _unlike(np.asarray(colour), key)
        notes = ("the pixels of its transparent colour are kept unchanged",)
    grey, converted = colour.mode == "L", False
    if profile is not None:
        try:
            name, transform = _transform(profile, colour.mode)
        except ImageCms.PyCMSError:
            notes += ("its ICC profile cannot be used; the pixels are read as sRGB",)
        else:
            if transform is not None:
                converted, colour = True, transform.apply(colour)
                notes += (f"ICC profile '{name}' converted to sRGB",)
    if grey:
        colour = colour.convert("L").convert("RGB")
    rgb = view.shown(np.asarray(colour), width, height) if view else np.array(colour)
    return Pixels(rgb, grey, alpha, converted, notes)


def decode_with_profile(
    image: ImageFile, view: View | None, carried: Iterable[str] = ()
) -> tuple[Pixels, dict[str, Any]]:
    """Decode an image as :func:`decode` does, with the ICC profile that Pillow found in it.

    Args:
        image: The opened image, which passed :func:`require_photo`.
        view: See :func:`decode`.
        carried: Pillow's names of other metadata to keep.

    Returns:
        The pixels, and the options with which Pillow writes their profile and the other metadata.
    """
    options: dict[str, Any] = {key: image.info[key] for key in carried if key in image.info}
    profile = image.info.get("icc_profile")
    pixels = decode(image, profile, view)
    if pixels.converted:
        profile = None if pixels.grey else srgb_profile()
    if profile:
        options["icc_profile"] = profile
    return pixels, options


def without_opaque(pixels: Pixels) -> Pixels:
    """Return pixels without an alpha channel that is fully opaque, since some encoders do not store one."""
    if pixels.alpha is None or pixels.alpha.min(initial=255) < 255:
        return pixels
    return replace(pixels, alpha=None, notes=(*pixels.notes, "a fully opaque alpha channel is not kept"))


def _unlike(pixels: NDArray[np.uint8], key: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return 0 where pixels, (H, W) or (H, W, 3), have the colour ``key``, and 255 elsewhere."""
    same = np.all(pixels.reshape(*pixels.shape[:2], -1) == np.array(key, np.uint8), axis=-1)
    return np.where(same, np.uint8(0), np.uint8(255))


def with_key(pixels: NDArray[np.uint8], alpha: NDArray[np.uint8], key: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return pixels, (H, W) or (H, W, 3), with the colour ``key`` exactly where they are transparent.

    If opaque pixels have this colour already, their last value changes by one.
    """
    result = pixels.copy()
    clash = _unlike(pixels, key) == 0
    if pixels.ndim == 2:
        result[clash] ^= 1
    else:
        result[clash, -1] ^= 1
    result[alpha < 128] = key
    return result


@lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """Return the name of a profile and its transform to sRGB, or None if that changes colours only by rounding.

    Raises:
        ImageCms.PyCMSError: If the profile is damaged, or not suitable for ``mode``.
    """
    source = ImageCms.getOpenProfile(io.BytesIO(profile))
    transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    levels = np.arange(0, 256, 17, dtype=np.uint8)
    if mode == "L":
        ramp = Image.fromarray(levels[None])
    else:
        ramp = Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3))
    change = np.array(transform.apply(ramp)).astype(int) - np.array(ramp.convert("RGB"))
    name = " ".join(re.sub(r"[^\x20-\x7e]+", " ", ImageCms.getProfileDescription(source)).split())[:_LONGEST_NAME]
    return name, None if abs(change).max() <= 2 else transform


@lru_cache(maxsize=1)
def srgb_profile() -> bytes:
    """Return the ICC profile of sRGB, with an empty creation date, so that equal images have equal bytes."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + bytes(12) + profile[36:]


def header_of(image: ImageFile, bits: int | None = None) -> Header:
    """Return the header of an image that Pillow has opened but not decoded.

    Args:
        image: The opened image.
        bits: Bits per stored value, if they do not follow from Pillow's mode.
    """
    channels, usual = _MODES.get(image.mode, (1, 16))
    return Header(image.format or "", *image.size, channels, bits or usual, palette=image.mode in {"P", "PA"})


def require_photo(header: Header) -> None:
    """Check that an image can pass through 8-bit RGB without loss.

    Raises:
        ImageError: If it is a palette image, or does not have 8 bits per channel.
    """
    if header.palette:
        raise ImageError(f"{header.format} palette image: a label, not a photo")
    if header.bits != 8:
        raise ImageError(f"{described(header)}; only 8-bit photos can be translated, and bits are never discarded")


def described(header: Header) -> str:
    """Return a description of a header."""
    return f"{header.format} with {header.bits} bits and {header.channels} channel{'s' if header.channels > 1 else ''}"


def encode(suffix: str, pixels: NDArray[Any], parameters: Sequence[int]) -> bytes:
    """Encode (H, W), RGB or RGBA pixels with OpenCV, with its parameters for the format of a suffix.

    Raises:
        ImageError: If the format cannot hold them.
    """
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    done, encoded = cv2.imencode(suffix, pixels, parameters)
    if not done:
        raise _unencodable(pixels.shape[1], pixels.shape[0], suffix)
    return encoded.tobytes()


def save(image: Image.Image, container: str, options: Mapping[str, Any]) -> bytes:
    """Encode an image with Pillow, with its options for the format.

    Raises:
        ImageError: If the format cannot hold it.
    """
    file = io.BytesIO()
    try:
        image.save(file, container, **options)
    except (OSError, ValueError) as error:  # from the encoder; nothing is written to disk
        raise _unencodable(*image.size, container) from error
    return file.getvalue()


def _unencodable(width: int, height: int, container: str) -> ImageError:
    return ImageError(f"{width}x{height} pixels cannot be stored as {container.removeprefix('.').upper()}")


_FILTERS_LOCK: Final = threading.Lock()


def ignore_warnings(message: str) -> None:
    """Ignore deprecations from now on whose message begins with a regular expression."""
    with _FILTERS_LOCK:
        warnings.filterwarnings("ignore", message, DeprecationWarning)


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress Pillow's warnings about unusual metadata; the lock is needed as all threads share warning filters."""
    with _FILTERS_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
