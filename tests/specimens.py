"""Image files of every container, mode and kind of metadata, as users have them and as nobody should."""

import io
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

if TYPE_CHECKING:
    from torch import Tensor

Values = NDArray[Any]

ROTATED = b"MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"
"""An EXIF block that says: turn by 90 degrees (Orientation 6)."""
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""The passes of an interlaced PNG: first column and row, step across and down."""
GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(
    values: Values,
    *,
    bits: int = 8,
    colour: int = RGB,
    extra: Sequence[tuple[bytes, bytes]] = (),
    interlaced: bool = False,
) -> bytes:
    """A PNG made by hand: rows unfiltered, so that no library stands between the values and the file."""
    height, width = values.shape[:2]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, int(interlaced)))
    passes = [values[y::down, x::across] for x, y, across, down in ADAM7] if interlaced else [values]
    rows = b"".join(b"\0" + packed(row, bits) for part in passes if part.size for row in part)
    body = b"".join(chunk(*each) for each in extra)
    return b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def packed(row: Values, bits: int) -> bytes:
    if bits >= 8:
        return row.astype(f">u{bits // 8}").tobytes()
    digits = "".join(f"{value:0{bits}b}" for value in row)
    digits += "0" * (-len(digits) % 8)
    return bytes(int(digits[place : place + 8], 2) for place in range(0, len(digits), 8))


def tiff(
    values: Values,
    *,
    order: str = "<",
    deflated: bool = False,
    predictor: int = 1,
    planar: bool = False,
    tile: int = 0,
    tags: dict[int, tuple[int, Any]] | None = None,
) -> bytes:
    """A TIFF made by hand, 8 or 16 bits a channel; ``tags`` are others, number -> (type, value or values)."""
    height, width = values.shape[:2]
    deep = np.atleast_3d(values).astype(f"{order}u{values.itemsize}")
    planes = [deep[..., band : band + 1] for band in range(deep.shape[2])] if planar else [deep]
    parts = [part for plane in planes for part in (tiles(plane, tile) if tile else [plane])]
    blocks = [block(part, deflated=deflated, predictor=predictor) for part in parts]
    places = [8 + sum(map(len, blocks[:index])) for index in range(len(blocks))]
    entries: dict[int, tuple[int, Any]] = {
        256: (4, width),
        257: (4, height),
        258: (3, (8 * values.itemsize,) * deep.shape[2]),
        259: (3, 8 if deflated else 1),
        262: (3, 2 if deep.shape[2] >= 3 else 1),
        277: (3, deep.shape[2]),
        284: (3, 2 if planar else 1),
        317: (3, predictor),
    }
    if deep.shape[2] in {2, 4}:
        entries[338] = (3, 2)
    sizes = [len(each) for each in blocks]
    if tile:
        entries |= {322: (4, tile), 323: (4, tile), 324: (4, places), 325: (4, sizes)}
    else:
        entries |= {273: (4, places), 278: (4, height), 279: (4, sizes)}
    body = b"".join(blocks)
    begin = 8 + len(body) + len(body) % 2
    start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}I", begin)
    return start + body + bytes(len(body) % 2) + directory(entries | (tags or {}), order, begin)


def tiles(plane: Values, side: int) -> Iterator[Values]:
    for y in range(0, plane.shape[0], side):
        for x in range(0, plane.shape[1], side):
            part = plane[y : y + side, x : x + side]
            yield np.pad(part, ((0, side - part.shape[0]), (0, side - part.shape[1]), (0, 0)))


def block(part: Values, *, deflated: bool, predictor: int) -> bytes:
    if predictor == 2:
        part = np.diff(part, axis=1, prepend=np.zeros_like(part[:, :1])).astype(part.dtype)
    return zlib.compress(part.tobytes()) if deflated else part.tobytes()


def directory(entries: dict[int, tuple[int, Any]], order: str, begin: int) -> bytes:
    """The directory of a TIFF that begins at a byte, and the values behind it."""
    formats = {1: "B", 3: "H", 4: "I", 7: "B"}
    behind = begin + 2 + 12 * len(entries) + 4
    result, rest = struct.pack(f"{order}H", len(entries)), b""
    for tag, (kind, value) in sorted(entries.items()):
        found = [value] if isinstance(value, int) else list(value)
        data = struct.pack(f"{order}{len(found)}{formats[kind]}", *found)
        result += struct.pack(f"{order}HHI", tag, kind, len(found))
        if len(data) <= 4:
            result += data.ljust(4, b"\0")
        else:
            result += struct.pack(f"{order}I", behind + len(rest))
            rest += data + bytes(len(data) % 2)
    return result + bytes(4) + rest


def saved(image: Image.Image, container: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, container, **options)
    return file.getvalue()


def encode_as_nvjpeg(images: "list[Tensor]", quality: int) -> "list[Tensor]":
    """In place of torchvision's encoder, which subsamples chroma on CPUs: with whole chroma and another header."""
    import torch

    pictures = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images]
    files = [saved(each, "JPEG", quality=quality, subsampling=0, comment=b"an encoder's") for each in pictures]
    return [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in files]


@lru_cache
def srgb_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@lru_cache
def wide_profile() -> bytes:
    """An RGB profile far from sRGB: sRGB's own with the red and blue primaries exchanged."""
    profile = bytearray(srgb_profile())
    count = int.from_bytes(profile[128:132])
    tags = {bytes(profile[132 + 12 * tag : 136 + 12 * tag]): 132 + 12 * tag for tag in range(count)}
    red, blue = tags[b"rXYZ"], tags[b"bXYZ"]
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile)


@lru_cache
def grey_profile() -> bytes:
    """A grey profile of gamma 1.8 (ICC.1:2022, 8.4: a description, a white point, a grey curve)."""
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"grey\0" + bytes(4 + 4 + 2 + 1 + 67)
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(1.8 * 256))
    white = b"XYZ " + bytes(4) + struct.pack(">III", 0xF6D6, 0x10000, 0xD32D)
    parts = [(b"desc", text), (b"wtpt", white), (b"kTRC", curve)]
    table, body = struct.pack(">I", len(parts)), b""
    begin = 128 + 4 + 12 * len(parts)
    for kind, content in parts:
        padded = content + bytes(-len(content) % 4)
        table += kind + struct.pack(">II", begin + len(body), len(content))
        body += padded
    header = struct.pack(">I", begin + len(body)) + bytes(4) + struct.pack(">I", 0x02400000) + b"mntrGRAYXYZ "
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">III", 0xF6D6, 0x10000, 0xD32D)
    return header.ljust(128, b"\0") + table + body


PROFILES: dict[str, Callable[[], bytes]] = {
    "icc": srgb_profile,
    "icc wide": wide_profile,
    "icc grey": grey_profile,
    "icc cmyk": lambda: grey_profile().replace(b"GRAY", b"CMYK"),
    "icc nonsense": lambda: b"nonsense" * 20,
}


@dataclass(frozen=True)
class Specimen:
    """How an image file is made.

    Attributes:
        container: As Pillow calls it.
        mode: Of its pixels, as Pillow calls it, ``"RGB16"`` and ``"RGBA16"`` besides.
        size: (W, H).
        extras: What else is so, see ``EXTRAS``.
        seed: Of the pixels.
    """

    container: str
    mode: str
    size: tuple[int, int]
    extras: frozenset[str] = field(default_factory=frozenset)
    seed: int = 0

    @property
    def suffix(self) -> str:
        names = SUFFIXES[self.container]
        return names[self.seed % len(names)]

    @property
    def has_photo(self) -> bool:
        """Whether it is meant as a photo that can be translated."""
        return self.mode in {"L", "LA", "RGB", "RGBA"} and not self.extras & {"pages", "exif", "orientation"}

    def values(self) -> Values:
        """Its pixels: something smooth and something not."""
        random, (width, height) = np.random.default_rng(self.seed), self.size
        y, x = np.mgrid[:height, :width]
        smooth = np.stack([5 * x + 3 * y, 255 - 4 * x + 2 * y, 90 + 6 * y - x, 40 + 9 * x], axis=-1)
        values = (smooth + random.integers(-20, 20, smooth.shape)).clip(0, 255).astype(np.uint8)
        if "opaque" in self.extras:
            values[..., 3] = 255
        return values

    def data(self) -> bytes:
        """The file."""
        return MAKERS[self.container](self)

    def image(self) -> Image.Image:
        """Its pixels, in its mode."""
        rgba = Image.fromarray(self.values())
        if self.mode == "I;16":
            return Image.fromarray(self.values()[..., 0].astype(np.uint16) * 257)
        if self.mode == "P":
            return rgba.convert("RGB").quantize(13)
        return rgba.convert(self.mode)

    def profile(self) -> dict[str, bytes]:
        name = next((name for name in PROFILES if name in self.extras), "")
        return {"icc_profile": PROFILES[name]()} if name else {}


SUFFIXES = {
    "PNG": ("png", "PNG"),
    "JPEG": ("jpg", "jpeg", "jfif", "jpe"),
    "WEBP": ("webp",),
    "TIFF": ("tif", "tiff"),
    "BMP": ("bmp",),
    "TGA": ("tga",),
    "PPM": ("ppm", "pgm", "pnm"),
    "JPEG2000": ("jp2", "j2k"),
    "AVIF": ("avif",),
}
MODES = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "RGB16", "RGBA16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "RGB16", "I", "F", "CMYK", "YCbCr", "LAB"),
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
    "TGA": ("1", "L", "LA", "P", "RGB", "RGBA"),
    "PPM": ("1", "L", "RGB", "I;16", "F"),
    "JPEG2000": ("L", "LA", "RGB", "RGBA", "I;16", "CMYK"),
    "AVIF": ("L", "RGB", "RGBA"),
}
COMPRESSIONS = (
    "packbits",
    "tiff_lzw",
    "tiff_adobe_deflate",
    "tiff_deflate",
    "jpeg",
    "zstd",
    "lzma",
    "group3",
    "group4",
)
LAYOUTS = ("planar", "tiled", "predictor", "big endian")
EXTRAS = {
    "PNG": (*PROFILES, "exif", "xmp", "dpi", "text", "gama", "trns", "interlaced", "pages", "opaque"),
    "JPEG": (*PROFILES, "exif", "xmp", "dpi", "text", "progressive", "subsampled", "keep_rgb", "pages"),
    "WEBP": (*PROFILES, "exif", "xmp", "lossless", "pages", "opaque"),
    "TIFF": (*PROFILES, *COMPRESSIONS, "exif", "dpi", "text", "orientation", "pages", *LAYOUTS),
    "BMP": ("dpi", "top down", "rle", "15 bits"),
    "TGA": ("rle", "top down", "mirrored", "text", "extension", "no footer", "15 bits"),
    "PPM": ("text", "plain", "scaled", "pages"),
    "JPEG2000": ("icc", "icc wide", "text", "lossy", "bare", "tiled"),
    "AVIF": (*PROFILES, "exif", "xmp", "pages", "opaque", "subsampled"),
}


def of_png(what: Specimen) -> bytes:
    values = what.values()
    extra: list[tuple[bytes, bytes]] = []
    if profile := what.profile():
        extra.append((b"iCCP", b"some\0\0" + zlib.compress(profile["icc_profile"])))
    if "gama" in what.extras:
        extra += [
            (b"gAMA", struct.pack(">I", 45455)),
            (b"sBIT", bytes([8]) * {"L": 1, "LA": 2, "RGB": 3}.get(what.mode, 4)),
        ]
    if "pages" in what.extras and not what.mode.endswith("16"):
        pages = [what.image(), Image.fromarray(255 - what.values()).convert(what.image().mode)]
        return saved(pages[0], "PNG", save_all=True, append_images=pages[1:])
    if what.mode == "P":
        extra.append((b"PLTE", bytes(range(39))))
    if "trns" in what.extras:
        key = values[0, 0]
        told = {"L": [key[0]], "RGB": key[:3], "P": None}.get(what.mode, [])
        extra.append((b"tRNS", bytes([0, 128]) if told is None else struct.pack(f">{len(told)}H", *told)))
    extra += [(b"eXIf", ROTATED)] * ("exif" in what.extras)
    extra += [(b"pHYs", struct.pack(">IIB", 2835, 2835, 1))] * ("dpi" in what.extras)
    extra += [(b"tEXt", b"Author\0somebody"), (b"zTXt", b"T\0\0" + zlib.compress(bytes(4_000_000)))] * (
        "text" in what.extras
    )
    extra += [(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x/>")] * ("xmp" in what.extras)
    deep = values.astype(np.uint16) * 257
    stored: dict[str, tuple[Values, int, int]] = {
        "1": (values[..., 0] // 128, 1, GREY),
        "L": (values[..., 0], 8, GREY),
        "LA": (values[..., ::3], 8, GREY_ALPHA),
        "P": (values[..., 0] % 13, 4 if what.seed % 2 else 8, PALETTE),
        "RGB": (values[..., :3], 8, RGB),
        "RGBA": (values, 8, RGBA),
        "I;16": (deep[..., 0], 16, GREY),
        "RGB16": (deep[..., :3], 16, RGB),
        "RGBA16": (deep, 16, RGBA),
    }
    found, bits, colour = stored[what.mode]
    return png(found, bits=bits, colour=colour, extra=extra, interlaced="interlaced" in what.extras)


def of_jpeg(what: Specimen) -> bytes:
    options: dict[str, Any] = what.profile()
    options |= {"exif": b"Exif\0\0" + ROTATED} if "exif" in what.extras else {}
    options |= {"xmp": b"<x/>"} if "xmp" in what.extras else {}
    options |= {"dpi": (300, 300)} if "dpi" in what.extras else {}
    options |= {"comment": b"a drive"} if "text" in what.extras else {}
    options |= {"progressive": "progressive" in what.extras, "quality": 90}
    if what.mode == "RGB":
        options |= {"keep_rgb": True} if "keep_rgb" in what.extras else {}
        chroma = "4:2:0" if "subsampled" in what.extras and "keep_rgb" not in what.extras else "4:4:4"
        options |= {"subsampling": chroma}
    if "pages" in what.extras and what.mode == "RGB":
        return saved(what.image(), "MPO", save_all=True, append_images=[what.image()])
    return saved(what.image(), "JPEG", **options)


def of_webp(what: Specimen) -> bytes:
    options: dict[str, Any] = what.profile() | {"lossless": "lossless" in what.extras}
    options |= {"exif": b"Exif\0\0" + ROTATED} if "exif" in what.extras else {}
    options |= {"xmp": b"<x/>"} if "xmp" in what.extras else {}
    if "pages" in what.extras:
        options |= {"save_all": True, "append_images": [Image.fromarray(255 - what.values())]}
    return saved(what.image(), "WEBP", **options)


def of_tiff(what: Specimen) -> bytes:
    values = what.values()
    compression = next((name for name in COMPRESSIONS if name in what.extras), "raw")
    by_hand = {"L": values[..., 0], "LA": values[..., ::3], "RGB": values[..., :3], "RGBA": values}
    by_hand["RGB16"] = values[..., :3].astype(np.uint16) * 257
    if what.mode == "RGB16" or (what.mode in by_hand and what.extras & {"planar", "tiled", "big endian"}):
        profile = what.profile()
        deflated = compression.endswith("deflate")
        return tiff(
            by_hand[what.mode],
            order=">" if "big endian" in what.extras else "<",
            deflated=deflated,
            predictor=2 if deflated and "predictor" in what.extras else 1,
            planar="planar" in what.extras,
            tile=16 if "tiled" in what.extras else 0,
            tags={34675: (7, profile["icc_profile"])} if profile else None,
        )
    options: dict[str, Any] = what.profile()
    tags: dict[int, Any] = {}
    if "orientation" in what.extras:
        tags[274] = 6
    if "text" in what.extras:
        tags |= {270: "a drive", 700: b"<x/>"}
    if (
        compression != "raw"
        and "predictor" in what.extras
        and what.mode in {"L", "RGB", "RGBA"}
        and compression != "packbits"
    ):
        tags[317] = 2
    options |= {"dpi": (72, 300)} if "dpi" in what.extras else {}
    if compression in {"group3", "group4"} and what.mode != "1":
        compression = "raw"
    if compression == "jpeg":
        tags.pop(317, None)
        compression = compression if what.mode in {"L", "RGB"} else "raw"
    if "pages" in what.extras:
        options |= {"save_all": True, "append_images": [what.image()]}
    return saved(what.image(), "TIFF", compression=compression, tiffinfo=tags, **options)


def of_bmp(what: Specimen) -> bytes:
    values, (width, height) = what.values(), what.size
    if "15 bits" in what.extras and what.mode == "RGB":
        five = values.astype(np.uint16) >> 3
        rows = np.zeros((height, width + width % 2), "<u2")
        rows[:, :width] = five[..., 0] << 10 | five[..., 1] << 5 | five[..., 2]
        return bitmap(what.size, 16, 0, rows[::-1].tobytes())
    if "rle" in what.extras and what.mode == "P":
        runs = b"".join(b"".join(bytes([1, value % 13]) for value in row) + b"\0\0" for row in values[::-1, :, 0])
        return bitmap(what.size, 8, 1, runs + b"\0\1", palette=bytes(range(4)) * 256)
    if what.mode == "RGBA":
        masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
        rows = values[..., [2, 1, 0, 3]]
        return bitmap(what.size, 32, 3, rows[::-1].tobytes(), masks=masks)
    if "top down" in what.extras and what.mode == "RGB":
        padded = [row.tobytes() + bytes(-len(row.tobytes()) % 4) for row in values[..., 2::-1]]
        return bitmap((width, -height), 24, 0, b"".join(padded))
    return saved(what.image(), "BMP", **({"dpi": (300, 72)} if "dpi" in what.extras else {}))


def bitmap(
    size: tuple[int, int], bits: int, kind: int, body: bytes, *, palette: bytes = b"", masks: bytes = b""
) -> bytes:
    length = 40 + len(masks)
    header = struct.pack("<IiiHHIIiiII", length, *size, 1, bits, kind, len(body), 2835, 2835, 0, 0) + masks
    offset = 14 + len(header) + len(palette)
    return struct.pack("<2sIHHI", b"BM", offset + len(body), 0, 0, offset) + header + palette + body


def of_tga(what: Specimen) -> bytes:
    if "15 bits" in what.extras and what.mode == "RGB":
        five = what.values().astype("<u2") >> 3
        body = (five[..., 0] << 10 | five[..., 1] << 5 | five[..., 2]).tobytes()
        return struct.pack("<BBBHHBHHHHBB", 0, 0, 2, 0, 0, 0, 0, 0, *what.size, 16, 0) + body
    rle = "rle" in what.extras and what.mode != "1"
    options = {"id_section": b"a drive"} if "text" in what.extras else {}
    data = bytearray(saved(what.image(), "TGA", rle=rle, orientation=1 if "top down" in what.extras else -1, **options))
    if "mirrored" in what.extras:
        data[17] |= 0x10
    if "no footer" in what.extras:
        return bytes(data[:-26])
    if "extension" in what.extras:
        place = len(data) - 26
        return bytes(data[:-26]) + bytes(495) + struct.pack("<II", place, 0) + b"TRUEVISION-XFILE.\0"
    return bytes(data)


def of_ppm(what: Specimen) -> bytes:
    if what.mode in {"1", "F", "I;16"}:
        return saved(what.image() if what.mode != "F" else what.image().convert("L").convert("F"), "PPM")
    values = what.values()[..., 0] if what.mode == "L" else what.values()[..., :3]
    largest = 100 if "scaled" in what.extras else 255
    values = values // 3 if "scaled" in what.extras else values
    kind = (2 if what.mode == "L" else 3) + 3 * ("plain" not in what.extras)
    comment = b"# a drive\n" if "text" in what.extras else b""
    body = " ".join(map(str, values.ravel())).encode() if kind < 4 else values.tobytes()
    data = b"P%d\n%s%d %d\n%d\n" % (kind, comment, *what.size, largest) + body
    return data * 2 if "pages" in what.extras and kind >= 4 else data


def of_jpeg2000(what: Specimen) -> bytes:
    options: dict[str, Any] = {"no_jp2": "bare" in what.extras, "irreversible": "lossy" in what.extras}
    options |= {"comment": "a drive"} if "text" in what.extras else {}
    options |= {"tile_size": (16, 16)} if "tiled" in what.extras else {}
    data = saved(what.image(), "JPEG2000", **options)
    if (profile := what.profile()) and "bare" not in what.extras:
        return with_colour_box(data, profile["icc_profile"])
    return data


def with_colour_box(data: bytes, profile: bytes) -> bytes:
    """A JP2 whose colour box holds an ICC profile (ITU T.800, I.5.3.3)."""
    header, colour = data.find(b"jp2h") - 4, data.find(b"colr") - 4
    old = int.from_bytes(data[colour : colour + 4])
    new = struct.pack(">I4sBBB", 11 + len(profile), b"colr", 2, 0, 0) + profile
    size = int.from_bytes(data[header : header + 4]) - old + len(new)
    return data[:header] + struct.pack(">I", size) + data[header + 4 : colour] + new + data[colour + old :]


def of_avif(what: Specimen) -> bytes:
    options: dict[str, Any] = what.profile() | {"speed": 10, "quality": 90}
    options |= {"exif": ROTATED} if "exif" in what.extras else {}
    options |= {"xmp": b"<x/>"} if "xmp" in what.extras else {}
    if what.mode != "L":
        options |= {"subsampling": "4:2:0" if "subsampled" in what.extras else "4:4:4"}
    if "pages" in what.extras:  # of one size: libaom 3.14 has crashed on sequences of small pictures
        pages = [Image.new("RGB", (64, 48), shade) for shade in ("red", "blue")]
        return saved(pages[0], "AVIF", save_all=True, append_images=pages[1:], speed=10, max_threads=1)
    return saved(what.image(), "AVIF", **options)


MAKERS: dict[str, Callable[[Specimen], bytes]] = {
    "PNG": of_png,
    "JPEG": of_jpeg,
    "WEBP": of_webp,
    "TIFF": of_tiff,
    "BMP": of_bmp,
    "TGA": of_tga,
    "PPM": of_ppm,
    "JPEG2000": of_jpeg2000,
    "AVIF": of_avif,
}
