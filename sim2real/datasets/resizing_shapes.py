"""Rules for the files of labelling tools; see :mod:`sim2real.datasets.resizing`."""

import base64
from pathlib import Path
from typing import Any, Final

import numpy as np

from sim2real.datasets.masks import Mask
from sim2real.datasets.resizing import Scale
from sim2real.datasets.resizing_documents import document, moved_points, scale_of
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
