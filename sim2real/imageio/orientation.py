"""The orientation of photos: pixels are never rotated here, but labels may refer to the rotated image."""

from typing import BinaryIO, Final

from PIL import ExifTags, Image, UnidentifiedImageError

from sim2real.imageio import jpeg, png
from sim2real.imageio.pictures import quiet

_CONTAINERS: Final = ("JPEG", "PNG", "TIFF", "WEBP")
_HEAD: Final = 1 << 16
_MARKS: Final = (b"Exif\0", b"eXIf", b"exif", b":Orientation")


def read_orientation(file: BinaryIO) -> int:
    """Return the orientation from EXIF or XMP: 1 as stored, 2 to 8 mirrored or rotated (TIFF 6.0, tag 274)."""
    start = file.read(_HEAD)
    if start.startswith((png.SIGNATURE, jpeg.START)) and not any(mark in start for mark in _MARKS):
        return 1
    try:
        with quiet(), Image.open(file, formats=_CONTAINERS) as image:
            # for a PNG without EXIF before its pixels, Pillow would decode them to look behind them
            exif = image.getexif() if image.format != "PNG" or "exif" in image.info else {}
            found = exif.get(ExifTags.Base.Orientation, 1)
            return found if found in range(1, 9) else 1
    except UnidentifiedImageError:  # another format, or damaged, which decoding reports
        return 1
