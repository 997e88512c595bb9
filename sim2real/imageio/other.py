"""The other containers that Pillow reads."""

import io
from typing import Any, Final

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from sim2real.errors import ImageError
from sim2real.imageio.pictures import Picture, Sizing, decode, header_of, quiet, require_photo, srgb_profile

_TIFF_ORIENTATION: Final = 274
_CARRIED: Final = ("exif", "xmp", "dpi")


def read_other(data: bytes, size: Sizing | None) -> Picture:
    """A photo, scaled if ``size`` tells to what.

    Raises:
        ImageError: It is no single upright photo of 8 bits a channel.
    """
    with quiet(), Image.open(io.BytesIO(data)) as image:
        require_photo(header_of(image))
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
        pixels = decode(image, profile, size)
        if pixels.converted:
            profile = None if pixels.grey else srgb_profile()
        if profile:
            options["icc_profile"] = profile
        return pixels.picture(container, notes=notes, options=options)
