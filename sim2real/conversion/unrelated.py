"""Whether neighbouring frames show different scenes, as in datasets whose scenes are randomised frame by frame."""

from collections.abc import Iterable, Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from sim2real.conversion.sequences import in_order
from sim2real.datasets.base import Frame
from sim2real.datasets.partners import evenly
from sim2real.errors import ImageError
from sim2real.threads import in_order as run_in_order

STRANGERS: Final = 0.2  # videos had 0.02 to 0.11, unrelated photos 0.24 to 1.0
_GRID: Final = (16, 8)  # (columns, rows) of the regions whose light and colour are measured
_LEAST_CONTRAST: Final = 1.0  # grey levels
_SAMPLED: Final = 8  # frames that are compared with their neighbours
_FEWEST: Final = 3  # of them; fewer say nothing
_THREADS: Final = 4

Floats = NDArray[np.float32]
Image = NDArray[np.uint8]


def light(image: Image) -> Floats:
    """Return the mean colours of the regions of an image, (rows, columns, 3)."""
    return np.asarray(cv2.resize(image.astype(np.float32), _GRID, interpolation=cv2.INTER_AREA), np.float32)


def contrast(image: Image) -> float:
    """Return the standard deviation of an image in grey levels, the mean of its channels; at least 1."""
    return max(float(cv2.meanStdDev(image)[1].mean()), _LEAST_CONTRAST)


def are_unrelated(frames: Iterable[Frame]) -> bool:
    """Return whether the light and colours of frames differ from those of their neighbours as in unrelated images.

    Args:
        frames: Frames of a dataset; eight of them and their neighbours in the sequence are decoded.

    Returns:
        False if fewer than three frames have two readable neighbours.
    """
    triples = [group[place - 1 : place + 2] for group in in_order(frames) for place in range(1, len(group) - 1)]
    found = run_in_order(_change, evenly(triples, _SAMPLED), _THREADS)
    changes = [change for change in found if change is not None]
    return len(changes) >= _FEWEST and float(np.median(changes)) > STRANGERS


def _change(triple: Sequence[Frame]) -> float | None:
    """Return the difference of the middle frame from the mean of its neighbours, in units of contrast."""
    try:
        images = [frame.load_image() for frame in triple]
    except ImageError:
        return None
    before, here, after = map(light, images)
    change = np.abs(here - (before + after) / 2).mean(dtype=np.float64)
    return float(change / np.mean([*map(contrast, images)]))
