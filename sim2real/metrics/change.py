"""Did a translation change its frame at all? In grey levels, beside what writing the frame again changes.

Nothing that is lossy writes pixels back as they were: JPEG at quality 95 moves them by 0.05 to 1 grey level in the
mean, at quality 50 by 3 to 8. So the frame as it was is written again with the settings of its translation's file, and
what that changes is the figure "before".
"""

from collections.abc import Mapping
from typing import Final

import cv2
import numpy as np

from sim2real.metrics.base import About, Change, Image

_CELL = 16  # px: what compression does to the mean of a cell is far less than what it does to a pixel

ABOUTS: Final[Mapping[str, About]] = {
    "change": About(
        title="mean absolute change of pixels, grey levels; before: of writing the frame again", better=None
    ),
    "local_change": About(title="the same of the mean of 16x16 pixels, the most changed ones", better=None),
}
"""What the figures are."""


def changes(before: Image, after: Image, again: Image | None) -> dict[str, Change]:
    """How much a translation differs from its frame.

    Args:
        before: The frame, RGB (H, W, 3).
        after: Its translation, of the same size.
        again: The frame after mere writing and reading in the way of the translation; None: that was not tried.

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
