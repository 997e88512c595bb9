"""Images side by side, in titled columns with a row for each frame."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

_GAP = 8
_TITLE = 30
_PAPER, _INK = (255, 255, 255), (40, 40, 40)


def contact_sheet(
    columns: Mapping[str, Sequence[NDArray[np.uint8]]], *, smallest: int = 160, largest: int = 640
) -> NDArray[np.uint8]:
    """Arrange images in columns.

    Args:
        columns: Mapping from title to images, RGB (H, W, 3) of any size; columns may have different lengths.
        smallest: Minimum width of a column.
        largest: Maximum width of a column; between both, a column is as wide as its widest image.

    Returns:
        The sheet, RGB (H, W, 3).
    """
    widths = [min(max(smallest, *(picture.shape[1] for picture in pictures)), largest) for pictures in columns.values()]
    cells = [
        [_scaled(picture, width) for picture in column] for column, width in zip(columns.values(), widths, strict=True)
    ]
    rows = max(map(len, cells))
    heights = [max(column[row].shape[0] for column in cells if row < len(column)) for row in range(rows)]
    size = (sum(widths) + _GAP * (len(widths) + 1), _TITLE + sum(heights) + _GAP * (rows + 1))
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    left = _GAP
    for title, column, width in zip(columns, cells, widths, strict=True):
        draw.text((left, _TITLE / 2 + _GAP / 2), title, fill=_INK, font=ImageFont.load_default(18), anchor="lm")
        top = _TITLE + _GAP
        for cell, height in zip(column, heights, strict=False):
            sheet.paste(Image.fromarray(cell), (left, top))
            top += height + _GAP
        left += width + _GAP
    return np.array(sheet)


def _scaled(picture: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    """Return the image with this width and the same aspect ratio."""
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    shrinks = width < picture.shape[1]
    return np.asarray(
        cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC), np.uint8
    )
