"""What pictures of all containers share: their pixels, what is known of them, colour profiles."""

import io
import logging
import re
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, BinaryIO, Final, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms
from PIL.ImageFile import ImageFile

from sim2real.errors import ImageError
from sim2real.imageio.encoding import Encoding

Opened = TypeVar("Opened", bound=ImageFile)
Sizing = Callable[[int, int], tuple[int, int]]  # stored (W, H) -> wanted (W, H)

_MODES: Final = {"1": (1, 1), "L": (1, 8), "P": (1, 8), "LA": (2, 8), "PA": (2, 8), "RGB": (3, 8), "YCbCr": (3, 8)} | {
    "LAB": (3, 8), "HSV": (3, 8), "RGBA": (4, 8), "RGBX": (4, 8), "CMYK": (4, 8), "La": (2, 8), "I": (1, 32),
    "F": (1, 32),
}  # fmt: skip
_LONGEST_NAME: Final = 60

Image.MAX_IMAGE_PIXELS = None  # claims.py has a ceiling for all containers
logging.getLogger("PIL").addHandler(logging.NullHandler())  # what is wrong with a file is told in an error


@dataclass(frozen=True, slots=True)
class Header:
    """What the first bytes of an image file say.

    Attributes:
        format: Container as Pillow calls it: ``"PNG"``, ``"JPEG"``, ``"BMP"``, ``"TIFF"``, ``"WEBP"``, ``"PPM"``, ...
        width: Pixels in a row, as stored.
        height: Rows, as stored.
        channels: Stored values per pixel; 1 for a palette image.
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
        format: Its container, as in :class:`Header`.
        grey: Whether it is stored as luminance alone.
        alpha: Its alpha channel (H, W), or None.
        key: The colour that stands for transparent pixels, which ``alpha`` shows; None if alpha is stored as a channel.
        notes: What the way from the file to these pixels, and back, does not keep; one phrase each.
        metadata: Raw PNG chunks or JPEG segments (EXIF, ICC, XMP, ...), written back as they are.
        options: Keyword arguments for Pillow's writers of the other containers.
        encoding: How the file is encoded, of a JPEG.
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
        """What a file says of itself that is written in its place."""
        height, width = self.rgb.shape[:2]
        channels = (1 if self.grey else 3) + (self.alpha is not None and self.key is None)
        return Header(self.format, width, height, channels, 8)


def resize(rgb: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """RGB (H, W, 3) or (H, W) at another (W, H): means of areas if a side shrinks, else bicubic; itself at its own."""
    height, width = rgb.shape[:2]
    if size == (width, height):
        return rgb
    shrinks = size[0] < width or size[1] < height
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC), np.uint8)


def resize_picture(picture: Picture, size: tuple[int, int]) -> Picture:
    """A photo at another (W, H), its alpha channel too; a side that shrinks is averaged even where the other grows."""
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
        """The picture that they are of."""
        return Picture(self.rgb, container, self.grey, self.alpha, notes=self.notes + notes, **rest)


@contextmanager
def opened(kind: type[Opened], file: BinaryIO) -> Iterator[Opened]:
    """An image file that one of Pillow's readers has opened and not decoded; no other reader looks at it.

    Raises:
        ImageError: The reader does not know it.
    """
    with quiet():
        try:
            image = kind(file)
        except SyntaxError as error:  # Pillow's word for it
            raise ImageError("cannot be read as an image: empty, damaged or of another format") from error
    with image:
        yield image


def decode(image: ImageFile, profile: bytes | None, size: Sizing | None, key: tuple[int, ...] | None = None) -> Pixels:
    """Decode what :func:`require_photo` let pass.

    Args:
        image: Opened.
        profile: Its ICC profile; empty if it has one that cannot be used.
        size: Tells the size that it is scaled to; None for its own.
        key: The colour that stands for transparent pixels.

    Raises:
        ImageError: It is damaged, or neither grey nor RGB.
    """
    notes: tuple[str, ...] = ()
    if image.mode not in {"L", "LA", "RGB", "RGBA"}:
        raise ImageError(f"{image.format} in {image.mode}; only grey and RGB photos can be translated")
    wanted = size(*image.size) if size else None
    drafted = image.draft(None, wanted) if wanted else None  # of the decoders only that of JPEG can
    image.load()
    colour: Image.Image = image.convert(image.mode.removesuffix("A")) if image.mode.endswith("A") else image
    alpha = np.array(image.getchannel("A")) if image.mode.endswith("A") else None
    if key:
        alpha = _unlike(np.asarray(colour), key)
        notes = ("the pixels of its transparent colour are kept as they are",)
    grey, converted = colour.mode == "L", False
    if profile is not None:
        try:
            name, transform = _transform(profile, colour.mode)
        except ImageCms.PyCMSError:
            notes += ("its ICC profile cannot be used; the pixels are taken as sRGB",)
        else:
            if transform is not None:
                converted, colour = True, transform.apply(colour)
                notes += (f"ICC profile '{name}' converted to sRGB",)
    if grey:
        colour = colour.convert("L").convert("RGB")
    if wanted is None:
        return Pixels(np.array(colour), grey, alpha, converted, notes)
    width, height = map(int, drafted[1][2:]) if drafted else image.size  # reduced pixels that are whole
    return Pixels(resize(np.asarray(colour)[:height, :width], wanted), grey, alpha, converted, notes)


def without_opaque(pixels: Pixels) -> Pixels:
    """The same without an alpha channel that is opaque all over, of which some encoders store nothing."""
    if pixels.alpha is None or pixels.alpha.min(initial=255) < 255:
        return pixels
    return replace(pixels, alpha=None, notes=(*pixels.notes, "an alpha channel that is opaque all over is not kept"))


def _unlike(pixels: NDArray[np.uint8], key: tuple[int, ...]) -> NDArray[np.uint8]:
    """255 where pixels, (H, W) or (H, W, 3), have another colour, 0 where they have this one."""
    same = np.all(pixels.reshape(*pixels.shape[:2], -1) == np.array(key, np.uint8), axis=-1)
    return np.where(same, np.uint8(0), np.uint8(255))


def with_key(pixels: NDArray[np.uint8], alpha: NDArray[np.uint8], key: tuple[int, ...]) -> NDArray[np.uint8]:
    """Pixels, (H, W) or (H, W, 3), with a colour where they are transparent and nowhere else.

    Where others have it already, their last value changes by one.
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
    """The name of a profile and the way to sRGB, None where that changes no colour by more than rounding.

    Raises:
        ImageCms.PyCMSError: The profile is damaged, or is not one for ``mode``.
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
    """The ICC profile of sRGB; its date of making is left blank, so that equal pictures have equal bytes."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + bytes(12) + profile[36:]


def header_of(image: ImageFile, bits: int | None = None) -> Header:
    """What an image says of itself that Pillow has opened and not decoded.

    Args:
        image: Opened.
        bits: Per stored value, where Pillow's mode does not tell.
    """
    channels, usual = _MODES.get(image.mode, (1, 16))
    return Header(image.format or "", *image.size, channels, bits or usual, palette=image.mode in {"P", "PA"})


def require_photo(header: Header) -> None:
    """Refuse what cannot pass through 8-bit RGB without loss."""
    if header.palette:
        raise ImageError(f"{header.format} palette image: a label, not a photo")
    if header.bits != 8:
        raise ImageError(f"{described(header)}; only 8-bit photos can be translated, and none is cut down to that")


def described(header: Header) -> str:
    """A header in words."""
    return f"{header.format} of {header.bits} bits and {header.channels} channel{'s' if header.channels > 1 else ''}"


def encode(suffix: str, pixels: NDArray[Any], parameters: Sequence[int]) -> bytes:
    """Encode (H, W), RGB or RGBA pixels by OpenCV, with its parameters for the container of a suffix.

    Raises:
        ImageError: The container cannot hold them.
    """
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    done, encoded = cv2.imencode(suffix, pixels, parameters)
    if not done:
        raise _unencodable(pixels.shape[1], pixels.shape[0], suffix)
    return encoded.tobytes()


def save(image: Image.Image, container: str, options: Mapping[str, Any]) -> bytes:
    """Encode by Pillow, with its options for the container.

    Raises:
        ImageError: The container cannot hold it.
    """
    file = io.BytesIO()
    try:
        image.save(file, container, **options)
    except (OSError, ValueError) as error:  # of the encoder: nothing is written to a disk
        raise _unencodable(*image.size, container) from error
    return file.getvalue()


def _unencodable(width: int, height: int, container: str) -> ImageError:
    return ImageError(f"{width}x{height} pixels cannot be stored as {container.removeprefix('.').upper()}")


_FILTERS_LOCK: Final = threading.Lock()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Pillow's remarks on odd metadata away from the user; warning filters belong to all threads."""
    with _FILTERS_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
