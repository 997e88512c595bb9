"""The only place that decodes or encodes pixels, and where every encoding trap is handled.

A photo is read with all that belongs to it (:func:`read_picture`) and written back into the same kind of container
(:func:`encode_picture`); what cannot go through 8-bit RGB without loss is refused by name. A label is read as the raw
stored values (:func:`read_label`). Pixels are never rotated: labels lie on the pixels as they are stored, whatever the
EXIF orientation says.
"""

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from sim2real.errors import ImageError

IMAGE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm"})

Sizing = Callable[[int, int], tuple[int, int]]  # stored (W, H) -> wanted (W, H)

Image.MAX_IMAGE_PIXELS = None  # the pictures are the user's own: Pillow's warning at 89 megapixels would only be noise


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
        notes: What the way from the file to these pixels, and back, does not keep; one phrase each.
        metadata: Raw PNG chunks or JPEG segments (EXIF, ICC, XMP, ...), written back as they are.
        options: Keyword arguments for Pillow's writers of the other containers.
    """

    rgb: NDArray[np.uint8]
    format: str
    grey: bool = False
    alpha: NDArray[np.uint8] | None = None
    notes: tuple[str, ...] = ()
    metadata: bytes = field(default=b"", repr=False)
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)


def is_image(name: str) -> bool:
    """Whether a file's name ends like an image's."""
    return name[name.rfind(".") :].lower() in IMAGE_SUFFIXES


def read_header(path: Path) -> Header:
    """Read what an image file says of itself, without decoding it.

    Raises:
        ImageError: It cannot be read, or is no image.
    """
    with _naming(path), path.open("rb") as file:
        start = file.read(_PNG_HEADER_END)
        if start.startswith(_PNG_SIGNATURE):
            return _png_header(start)
        file.seek(0)
        with _quiet(), Image.open(file) as image:
            return _header(image)


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
    if data.startswith(_PNG_SIGNATURE):
        return _read_png(data, size)
    if data.startswith(_JPEG_START):
        return _read_jpeg(data, size)
    return _read_other(data, size)


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
        encoded = encode_png(pixels)
        return encoded[:_PNG_IHDR_END] + like.metadata + encoded[_PNG_IHDR_END:]
    if like.format == "JPEG":
        encoded = encode_jpeg(pixels, quality=quality)
        return _JPEG_START + like.metadata + encoded[_JPEG_JFIF_END:]
    return _save(Image.fromarray(pixels), like.format, {"quality": quality, **like.options})


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
        if data.startswith(_PNG_SIGNATURE):
            return _read_png_label(data)
        with _quiet(), Image.open(io.BytesIO(data)) as image:
            header = _header(image)
            if header.channels > 1 and header.bits > 8:
                raise ImageError(f"{_described(header)} cannot be read without loss; store it as PNG")
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
        if not data.startswith(_PNG_SIGNATURE):
            raise ImageError("no PNG; only those can be written back without loss")
        values = _read_png_label(data)
    return _with_values(data, change(values))


def encode_png(pixels: NDArray[np.uint8] | NDArray[np.uint16], *, palette: NDArray[np.uint8] | None = None) -> bytes:
    """Encode pixels as PNG, without metadata.

    Args:
        pixels: uint8 or uint16: (H, W), RGB (H, W, 3) or RGBA (H, W, 4); uint8 also grey and alpha (H, W, 2).
        palette: RGB colours (N, 3) that the indices in ``pixels`` (H, W) stand for, for a palette image.

    Raises:
        ImageError: PNG cannot hold them.
    """
    if palette is not None:
        image = Image.fromarray(pixels)
        image.putpalette(palette.tobytes())
        return _save(image, "PNG", {})
    if pixels.shape[2:] == (2,):
        return _save(Image.fromarray(pixels), "PNG", {})
    # OpenCV's own settings (SUB filter, run lengths, level 1) encode a KITTI frame in 18 ms to 98 % of its original;
    # Pillow's take 204 ms to 91 %, and the PAETH filter, 10 % smaller, slows down everybody who reads it
    return _encode(".png", pixels, [])


def encode_jpeg(pixels: NDArray[np.uint8], *, quality: int = 95) -> bytes:
    """Encode RGB (H, W, 3) or grey (H, W) pixels as baseline JPEG, chroma not subsampled (4:4:4).

    Raises:
        ImageError: A side is longer than the 65,535 pixels that JPEG allows.
    """
    sampling = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    return _encode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, quality, *(sampling if pixels.ndim == 3 else ())))


def _encode(suffix: str, pixels: NDArray[Any], parameters: Sequence[int]) -> bytes:
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    done, encoded = cv2.imencode(suffix, pixels, parameters)
    if not done:
        raise _unencodable(pixels.shape[1], pixels.shape[0], suffix)
    return encoded.tobytes()


def _save(image: Image.Image, container: str, options: Mapping[str, Any]) -> bytes:
    file = io.BytesIO()
    try:
        image.save(file, container, **options)
    except (OSError, ValueError) as error:  # of the encoder: nothing is written to a disk
        raise _unencodable(*image.size, container) from error
    return file.getvalue()


def _unencodable(width: int, height: int, container: str) -> ImageError:
    return ImageError(f"{width}x{height} pixels cannot be stored as {container.removeprefix('.').upper()}")


# PNG (W3C PNG, third edition)

_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER_END: Final = 26
_PNG_IHDR_END: Final = 33
_PNG_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PNG_PALETTE: Final = 3
_PNG_UP: Final = 2  # the filter that stores the difference to the row above
_PNG_LEVEL: Final = 4
_PNG_COLOUR_SPACE: Final = frozenset({b"iCCP", b"sRGB", b"gAMA", b"cHRM", b"cICP"})
_PNG_SRGB_CHUNK: Final = b"\x00\x00\x00\x01sRGB\x00\xae\xce\x1c\xe9"


def _png_header(start: bytes) -> Header:
    if len(start) < _PNG_HEADER_END or start[12:16] != b"IHDR":
        raise ImageError("damaged PNG: no header")
    width, height, bits, colour_type = struct.unpack(">IIBB", start[16:_PNG_HEADER_END])
    if colour_type not in _PNG_CHANNELS:
        raise ImageError(f"damaged PNG: unknown colour type {colour_type}")
    return Header("PNG", width, height, _PNG_CHANNELS[colour_type], bits, palette=colour_type == _PNG_PALETTE)


def _png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """The type and the bytes of each chunk up to IEND, lengths and checksums verified."""
    chunks, place = [], len(_PNG_SIGNATURE)
    while place + 12 <= len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4])
        kind, checksum = data[place + 4 : place + 8], data[end - 4 : end]
        if end > len(data) or zlib.crc32(data[place + 4 : end - 4]) != int.from_bytes(checksum):
            break
        chunks.append((kind, data[place:end]))
        if kind == b"IEND":
            return chunks
        place = end
    raise ImageError(f"damaged or truncated PNG (chunk at byte {place} of {len(data)})")


def _png_stays_true(kind: bytes) -> bool:
    """Whether a chunk holds for other pixels too: a small fourth letter of its type says so."""
    return kind in _PNG_COLOUR_SPACE or kind == b"sBIT" or kind[3:].islower()


def _read_png(data: bytes, size: Sizing | None) -> Picture:
    _require_photo(_png_header(data))
    chunks = _png_chunks(data)
    kinds = {kind for kind, _ in chunks}
    if b"acTL" in kinds:
        raise ImageError("animated PNG; only single pictures can be translated")
    # EXIF is carried, never parsed: nothing in it can disturb the decoder
    without_exif = _PNG_SIGNATURE + b"".join(chunk for kind, chunk in chunks if kind != b"eXIf")
    with Image.open(io.BytesIO(without_exif)) as image:
        pixels = _decode(image, image.info.get("icc_profile"), size)
    kept = [(kind, chunk) for kind, chunk in chunks if _png_stays_true(kind)]
    if pixels.converted:
        kept = [(b"sRGB", _PNG_SRGB_CHUNK), *((kind, chunk) for kind, chunk in kept if kind not in _PNG_COLOUR_SPACE)]
    return pixels.picture("PNG", metadata=b"".join(chunk for _, chunk in kept))


def _read_png_label(data: bytes) -> NDArray[Any]:
    header = _png_header(data)
    _png_chunks(data)
    if header.bits == 16 and header.channels > 1:
        # Pillow would keep the high bytes alone; OpenCV gives BGR(A), and grey with alpha as BGRA
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if values is None:
            raise ImageError("damaged PNG: its pixels cannot be decoded")
        return np.ascontiguousarray(values[..., {2: [0, 3], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[header.channels]])
    with Image.open(io.BytesIO(data)) as image:
        values = np.array(image)
    if header.palette or header.channels > 1:
        return values
    if header.bits in {2, 4}:
        values = values // (255 // (2**header.bits - 1))  # Pillow spreads them over 0..255
    return values.astype(np.uint16 if header.bits == 16 else np.uint8)


def _with_values(data: bytes, values: NDArray[Any]) -> bytes:
    """The PNG with other values, its chunks but for size and pixels as they are; not interlaced, rows as differences.

    None of the encoders at hand keeps a colour table of 16 entries, its alphas, or 4 bits a pixel.
    """
    header = _png_header(data)
    height, width = values.shape[:2]
    if header.bits < 8:
        bits = np.unpackbits(values[..., None].astype(np.uint8), axis=-1)[..., -header.bits :]
        rows = np.packbits(bits.reshape(height, -1), axis=1)
    else:
        rows = np.ascontiguousarray(values.reshape(height, -1).astype(f">u{header.bits // 8}")).view(np.uint8)
    differences = np.diff(rows, axis=0, prepend=np.zeros_like(rows[:1]))
    filtered = np.concatenate([np.full((height, 1), _PNG_UP, np.uint8), differences], axis=1)
    size = struct.pack(">II", width, height)
    new = {b"IHDR": size + data[24:28] + b"\0", b"IDAT": zlib.compress(filtered.tobytes(), _PNG_LEVEL)}
    result = _PNG_SIGNATURE
    for kind, chunk in _png_chunks(data):
        if kind in new:
            result += _png_chunk(kind, new.pop(kind))
        elif kind != b"IDAT":
            result += chunk
    return result


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


# JPEG (ITU T.81)

_JPEG_START: Final = b"\xff\xd8"
_JPEG_END: Final = b"\xff\xd9"
_JPEG_JFIF_END: Final = 20  # of the header that OpenCV writes
_JPEG_START_OF_SCAN: Final = 0xDA
_JPEG_COMMENT: Final = 0xFE
_JPEG_APPLICATION: Final = range(0xE0, 0xF0)
_JPEG_JFIF: Final = 0xE0
_JPEG_ADOBE: Final = 0xEE
_JPEG_ICC: Final = b"ICC_PROFILE\x00"


def _jpeg_segments(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The marker and the bytes of each segment before the first scan, and the rest of the file."""
    segments: list[tuple[int, bytes]] = []
    place = len(_JPEG_START)
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # padding
            place += 1
            continue
        if marker == _JPEG_START_OF_SCAN:
            if data.rfind(_JPEG_END) < place:  # a decoder would make grey of what is missing
                break
            return segments, data[place:]
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4])
        segments.append((marker, data[place:end]))
        place = end
    raise ImageError(f"damaged or truncated JPEG (segment at byte {place} of {len(data)})")


def _jpeg_is_metadata(marker: int) -> bool:
    return marker == _JPEG_COMMENT or marker in _JPEG_APPLICATION


def _read_jpeg(data: bytes, size: Sizing | None) -> Picture:
    segments, scans = _jpeg_segments(data)
    icc = [segment for _, segment in segments if segment[4:16] == _JPEG_ICC]
    profile = b"".join(segment[18:] for segment in sorted(icc, key=lambda segment: segment[16]))
    # other metadata is carried, never parsed: nothing in it can disturb the decoder
    needed = [s for marker, s in segments if not _jpeg_is_metadata(marker) or marker in {_JPEG_JFIF, _JPEG_ADOBE}]
    with Image.open(io.BytesIO(_JPEG_START + b"".join(needed) + scans)) as image:
        _require_photo(_header(image))
        pixels = _decode(image, profile or None, size)
    metadata = [s for marker, s in segments if _jpeg_is_metadata(marker) and marker != _JPEG_ADOBE]
    notes: tuple[str, ...] = ()
    if any(segment[4:8] == b"MPF\x00" for segment in metadata):
        notes = ("the further pictures of a multi-picture JPEG are not kept",)
        metadata = [segment for segment in metadata if segment[4:8] != b"MPF\x00"]
    if pixels.converted:
        metadata = [segment for segment in metadata if segment not in icc]
        if not pixels.grey:
            content = _JPEG_ICC + b"\x01\x01" + _srgb_profile()
            metadata.append(b"\xff\xe2" + struct.pack(">H", len(content) + 2) + content)
    return pixels.picture("JPEG", notes=notes, metadata=b"".join(metadata))


# the other containers

_CARRIED: Final = ("exif", "xmp", "dpi")


def _read_other(data: bytes, size: Sizing | None) -> Picture:
    with _quiet(), Image.open(io.BytesIO(data)) as image:
        _require_photo(_header(image))
        container = image.format or ""
        if getattr(image, "n_frames", 1) > 1:
            raise ImageError(f"{container} with several pictures; only single ones can be translated")
        notes: tuple[str, ...] = ()
        options: dict[str, Any] = {key: image.info[key] for key in _CARRIED if key in image.info}
        if isinstance(image, TiffImageFile):
            if image.tag_v2.get(_TIFF_ORIENTATION, 1) != 1:
                raise ImageError("TIFF with an orientation tag; store it upright")
            compression = image.info.get("compression", "raw")
            options["compression"] = "tiff_adobe_deflate" if compression == "jpeg" else compression
            notes = ("TIFF tags other than resolution and colour profile are not kept",)
        if container == "WEBP":
            options["lossless"] = b"VP8 " not in data[: data.find(b"VP8L") + 1 or None]
        profile = image.info.get("icc_profile")
        pixels = _decode(image, profile, size)
        if pixels.converted:
            profile = None if pixels.grey else _srgb_profile()
        if profile:
            options["icc_profile"] = profile
        return pixels.picture(container, notes=notes, options=options)


# what all of them share

_MODES: Final = {"1": (1, 1), "L": (1, 8), "P": (1, 8), "LA": (2, 8), "PA": (2, 8), "RGB": (3, 8), "YCbCr": (3, 8)} | {
    "LAB": (3, 8), "HSV": (3, 8), "RGBA": (4, 8), "RGBX": (4, 8), "CMYK": (4, 8), "I": (1, 32), "F": (1, 32)
}  # fmt: skip
_TIFF_ORIENTATION: Final = 274
_TIFF_BITS_PER_SAMPLE: Final = 258


@dataclass(frozen=True, slots=True)
class _Pixels:
    rgb: NDArray[np.uint8]
    grey: bool
    alpha: NDArray[np.uint8] | None
    converted: bool
    notes: tuple[str, ...]

    def picture(self, container: str, *, notes: tuple[str, ...] = (), **rest: Any) -> Picture:  # noqa: ANN401  passed on
        return Picture(self.rgb, container, self.grey, self.alpha, self.notes + notes, **rest)


def _decode(image: ImageFile, profile: bytes | None, size: Sizing | None) -> _Pixels:
    """Decode what :func:`_require_photo` let pass, scaled if ``size`` tells to what."""
    notes: tuple[str, ...] = ()
    if image.mode not in {"L", "LA", "RGB", "RGBA"}:
        raise ImageError(f"{image.format} in {image.mode}; only grey and RGB photos can be translated")
    wanted = size(*image.size) if size else None
    drafted = image.draft(None, wanted) if wanted else None  # of the decoders only that of JPEG can
    colour: Image.Image = image.convert(image.mode.removesuffix("A")) if image.mode.endswith("A") else image
    alpha = np.array(image.getchannel("A")) if image.mode.endswith("A") else None
    if "transparency" in image.info:
        alpha = np.array(image.convert("RGBA").getchannel("A"))
        notes = ("its transparent colour is written back as an alpha channel",)
    grey, converted = colour.mode == "L", False
    if profile:
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
        return _Pixels(np.array(colour), grey, alpha, converted, notes)
    width, height = map(int, drafted[1][2:]) if drafted else image.size  # reduced pixels that are whole
    return _Pixels(resize(np.asarray(colour)[:height, :width], wanted), grey, alpha, converted, notes)


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
    return ImageCms.getProfileDescription(source).strip(), None if abs(change).max() <= 2 else transform


@lru_cache(maxsize=1)
def _srgb_profile() -> bytes:
    """The ICC profile of sRGB; its date of making is left blank, so that equal pictures have equal bytes."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + bytes(12) + profile[36:]


def _header(image: ImageFile) -> Header:
    channels, bits = _MODES.get(image.mode, (1, 16))
    if isinstance(image, TiffImageFile):
        bits = max(image.tag_v2.get(_TIFF_BITS_PER_SAMPLE, (bits,)))
    elif image.format == "PPM" and image.tile:
        arguments = image.tile[0][3]  # the mode, or the mode and the largest value
        bits = 16 if isinstance(arguments, tuple) and arguments[1] > 255 else bits
    return Header(image.format or "", *image.size, channels, bits, palette=image.mode in {"P", "PA"})


def _require_photo(header: Header) -> None:
    """Refuse what cannot pass through 8-bit RGB without loss."""
    if header.palette:
        raise ImageError(f"{header.format} palette image: a label, not a photo")
    if header.bits != 8:
        raise ImageError(f"{_described(header)}; only 8-bit photos can be translated, and none is cut down to that")


def _described(header: Header) -> str:
    return f"{header.format} of {header.bits} bits and {header.channels} channel{'s' if header.channels > 1 else ''}"


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


_FILTERS_LOCK: Final = threading.Lock()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Pillow's remarks on odd metadata away from the user; warning filters belong to all threads."""
    with _FILTERS_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
