"""Measure how much a translation changes its frame, in grey levels, compared with re-encoding the frame.

Lossy formats change pixels: JPEG at quality 95 by 0.05 to 1 grey level on average, at quality 50 by 3 to 8. The source
frame is therefore re-encoded with the settings of its translation's file, and that change is the value "before".
"""

from collections.abc import Mapping
from typing import Final

import cv2
import numpy as np

from sim2real.metrics.base import About, Change, Image

_CELL = 16  # px: compression changes the mean of a cell far less than a pixel

ABOUTS: Final[Mapping[str, About]] = {
    "change": About(title="mean absolute change of pixels, grey levels; before: by re-encoding the frame", better=None),
    "local_change": About(title="change of the mean of the most changed 16x16 pixels, grey levels", better=None),
}
"""Name of a value -> its description."""


def changes(before: Image, after: Image, again: Image | None) -> dict[str, Change]:
    """Measure how much a translation differs from its frame.

    Args:
        before: The frame, RGB (H, W, 3).
        after: Its translation, of the same size.
        again: The frame after re-encoding it like the translation's file; None: not measured.

    Returns:
        ``change`` and ``local_change`` in grey levels, 0 to 255.
    """
    now, then = _differences(before, after), _differences(before, again) if again is not None else None
    return {name: Change(now[name], then[name] if then else None) for name in ABOUTS}


def _differences(before: Image, after: Image) -> dict[str, float]:
    height, width = before.shape[:2]
    cells = max(1, width // _CELL), max(1, height // _CELL)
    signed = after.astype(np.float32) - before
    local = np.abs(cv2.resize(signed, cells, interpolation=cv2.INTER_AREA)).mean(axis=-1)
    return {"change": float(np.abs(signed).mean()), "local_change": float(local.max())}
