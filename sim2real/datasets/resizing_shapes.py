"""Rules for the files of labelling tools; see :mod:`sim2real.datasets.resizing`."""

import base64
from pathlib import Path
from typing import Any, Final

import numpy as np

from sim2real.datasets.masks import Mask
from sim2real.datasets.resizing import Change, Scale, along_x, along_y
from sim2real.datasets.resizing_documents import change, document, moved_points, scale_of
from sim2real.imageio import decode_label, encode_png

_Entry = dict[str, Any]


def require_same_shape(scale: Scale, what: str) -> None:
    """Make sure that both sides change alike.

    Raises:
        ValueError: They do not, so that a shape could not be told as it is told now.
    """
    if scale.x != scale.y:
        raise ValueError(f"{what} cannot be told where widths and heights change differently")


def moved_mask(mask: Mask, left: int, top: int, scale: Scale) -> tuple[Mask, int, int]:
    """A mask (h, w) whose upper left corner lies at a pixel, at another size: cut to its pixels; at least one is left.

    Returns:
        The mask, and where its upper left corner lies.
    """
    width, height = scale.source
    whole = np.zeros((height, width), bool)
    rows, columns = np.nonzero(mask)
    inside = (rows + top >= 0) & (rows + top < height) & (columns + left >= 0) & (columns + left < width)
    whole[rows[inside] + top, columns[inside] + left] = True
    if not whole.any():
        raise ValueError("a mask has no pixel inside of the image")
    resized = scale.nearest(whole)
    if not resized.any():
        y, x = (places.mean() for places in np.nonzero(whole))
        resized[int((y + 0.5) * scale.y), int((x + 0.5) * scale.x)] = True
    rows, columns = np.nonzero(resized)
    first, last = (rows.min(), columns.min()), (rows.max() + 1, columns.max() + 1)
    return resized[first[0] : last[0], first[1] : last[1]], int(first[1]), int(first[0])


def _labelme(content: Any, scale: Scale) -> None:  # noqa: ANN401  whatever stands in a file
    own = scale_of(content, "imageWidth", "imageHeight", scale)
    if own.source != scale.source:
        (width, height), (told_width, told_height) = scale.source, own.source
        raise ValueError(f"it tells of {told_width}x{told_height} pixels, its photo has {width}x{height}")
    for shape in content["shapes"]:
        if shape.get("shape_type") == "circle":
            require_same_shape(own, "a circle")
        if shape.get("mask"):
            _labelme_mask(shape, own)
        else:
            shape["points"] = moved_points(shape["points"], own)


def _labelme_mask(shape: _Entry, scale: Scale) -> None:
    """A mask of LabelMe's: a PNG, and the pixels of its first and of its last corner, inside."""
    (left, top), _ = np.floor(np.array(shape["points"], np.float64)).astype(int).tolist()
    mask = decode_label(base64.b64decode(shape["mask"]), Path("a mask")) > 0
    mask, left, top = moved_mask(mask, left, top, scale)
    shape["mask"] = base64.b64encode(encode_png(mask.astype(np.uint8) * np.uint8(255))).decode()
    shape["points"] = [[left, top], [left + mask.shape[1] - 1, top + mask.shape[0] - 1]]


LABELME: Final = document(_labelme)
"""A JSON file of LabelMe; the picture that it may hold is another matter."""


def _ndds(content: Any, scale: Scale) -> None:  # noqa: ANN401
    """Corners of boxes are rows and columns, points of cuboids columns and rows; all else is in space."""
    for thing in content["objects"]:
        for corner, (y, x) in (thing.get("bounding_box") or {}).items():
            thing["bounding_box"][corner] = [along_y(y, scale), along_x(x, scale)]
        if thing.get("projected_cuboid"):
            thing["projected_cuboid"] = moved_points(thing["projected_cuboid"], scale)
        if thing.get("projected_cuboid_centroid"):
            thing["projected_cuboid_centroid"] = moved_points([thing["projected_cuboid_centroid"]], scale)[0]


def _ndds_cameras(content: Any, scale: Scale) -> None:  # noqa: ANN401
    for camera in content["camera_settings"]:
        own = scale_of(camera["captured_image_size"], "width", "height", scale)
        intrinsics = camera["intrinsic_settings"]
        change(intrinsics, _NDDS_INTRINSICS, own)


_NDDS_INTRINSICS: Final[dict[str, Change]] = {
    "resX": lambda _, scale: scale.target[0],
    "resY": lambda _, scale: scale.target[1],
    **dict.fromkeys(("fx", "cx", "s"), along_x),
    **dict.fromkeys(("fy", "cy"), along_y),
}

NDDS: Final = document(_ndds)
"""000000.json of NDDS and Falling Things."""

NDDS_CAMERAS: Final = document(_ndds_cameras, mixed=True)
"""_camera_settings.json: the principal point is the middle of the image, 480 of 960, an edge of pixels."""
