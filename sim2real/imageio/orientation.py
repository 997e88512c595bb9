"""How a photo wants to be shown: its pixels are never turned here, but labels may lie on what is shown."""

from typing import BinaryIO, Final

from PIL import ExifTags, Image, UnidentifiedImageError

from sim2real.imageio import jpeg, png
from sim2real.imageio.pictures import quiet

_CONTAINERS: Final = ("JPEG", "PNG", "TIFF", "WEBP")
_HEAD: Final = 1 << 16
_MARKS: Final = (b"Exif\0", b"eXIf", b"exif", b":Orientation")


def read_orientation(file: BinaryIO) -> int:
    """1 as stored, 2 to 8 mirrored or turned, by EXIF or XMP (TIFF 6.0, tag 274)."""
    start = file.read(_HEAD)
    if start.startswith((png.SIGNATURE, jpeg.START)) and not any(mark in start for mark in _MARKS):
        return 1
    try:
        with quiet(), Image.open(file, formats=_CONTAINERS) as image:
            # of a PNG that has none ahead of its pixels, Pillow would decode them to look behind them
            exif = image.getexif() if image.format != "PNG" or "exif" in image.info else {}
            found = exif.get(ExifTags.Base.Orientation, 1)
            return found if found in range(1, 9) else 1
    except UnidentifiedImageError:  # of a container that cannot tell, or damaged, which whoever decodes it will say
        return 1
