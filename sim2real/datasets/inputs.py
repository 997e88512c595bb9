"""Labels as networks, losses and methods receive them: arrays on the pixels of the image that they come with.

===================== ======= ========= ==============================================================
kind                  type    shape     values
===================== ======= ========= ==============================================================
segmentation          int64   (H, W)    class numbers of the run's vocabulary, -1 where unknown
instance              int64   (H, W)    instance numbers, -1 where there is none
boxes                 int64   (H, W)    class number of the smallest box over the pixel, -1 without
depth, distance       float32 (1, H, W) metres, 0 where there is none
disparity             float32 (1, H, W) pixels of the image, 0 where there is none
flow, backward_flow   float32 (3, H, W) u and v in pixels of the image, and 1 where known, else 0
scene_flow,           float32 (4, H, W) x, y, z in metres, and 1 where known, else 0
backward_scene_flow
translation           float32 (3, H, W) RGB in [-1, 1]: the image that another program made of the frame
===================== ======= ========= ==============================================================

When an image is scaled, cropped or mirrored, its labels follow: ids and distances by the nearest pixel; flow
and disparities also change in length, and mirrored vectors in sign.

When a training uses clips, the last frame of a sequence needs no flow and the first no backward flow, which would lead
out of the sequence: they get a flow that is unknown everywhere.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim2real.datasets.base import Frame
from sim2real.datasets.labels import (
    Box,
    Boxes,
    Depth,
    Disparity,
    Distance,
    Flow,
    Instances,
    Label,
    SceneFlow,
    Segmentation,
)
from sim2real.datasets.readers import size_of
from sim2real.datasets.resizing import Scale, Size
from sim2real.datasets.translated import TranslatedFrame
from sim2real.datasets.vocabulary import Vocabulary
from sim2real.errors import DatasetError
from sim2real.imageio import Sizing, read_rgb, resize, scaled_part

Values = NDArray[Any]
Inputs = Mapping[str, Values]


class Form(NamedTuple):
    """The array of a kind of label: its type, and the channels before (H, W), None if there is no such axis."""

    dtype: type
    channels: int | None


KINDS: Final[Mapping[str, Form]] = {
    "segmentation": Form(np.int64, None),
    "instance": Form(np.int64, None),
    "boxes": Form(np.int64, None),
    "depth": Form(np.float32, 1),
    "distance": Form(np.float32, 1),
    "disparity": Form(np.float32, 1),
    "flow": Form(np.float32, 3),
    "backward_flow": Form(np.float32, 3),
    "scene_flow": Form(np.float32, 4),
    "backward_scene_flow": Form(np.float32, 4),
    "translation": Form(np.float32, 3),  # no label of datasets, see sim2real.datasets.translated
}
NAMED: Final = frozenset({"segmentation", "boxes"})
"""The kinds whose values are class numbers of a vocabulary."""
LEADS_TO: Final[Mapping[str, int]] = {"flow": 1, "scene_flow": 1, "backward_flow": -1, "backward_scene_flow": -1}
"""Kind of motion -> the offset in the sequence of the frame that it leads to, which the frame at the end lacks."""
VECTORS: Final = frozenset(LEADS_TO)
"""The kinds whose first two channels point right and down in the image."""


def read_input(
    frame: Frame, kind: str, vocabulary: Vocabulary, notify: Callable[[str], None] = lambda _line: None
) -> Values:
    """Return a label of a frame as an array on all pixels of its image.

    Args:
        frame: A frame of an open dataset.
        kind: The kind of label.
        vocabulary: The classes of the run.
        notify: Called with a message for each class that the vocabulary lacks.

    Raises:
        DatasetError: If the frame has no such label, or the label is damaged or of another size than the image.
        ImageError: If the label is a damaged image.
    """
    width, height = size_of(frame.path)
    if kind == "translation" and isinstance(frame, TranslatedFrame):
        return _centred(resize(read_rgb(frame.translation), (width, height)))
    label = frame.load_label(kind)
    if isinstance(label, Segmentation | Boxes):
        for name in vocabulary.unknown(label):
            notify(f"class '{name}' is none of this run's: its pixels count as unknown")
    values = as_input(label, vocabulary, (width, height))
    if (found := values.shape[-2:]) != (height, width):
        sizes = f"{found[1]}x{found[0]}, the image is {width}x{height}"
        raise DatasetError(f"{frame.path}: its label '{kind}' is {sizes}")
    return values


def scaled_input(
    frame: Frame, kind: str, vocabulary: Vocabulary, size: Sizing, notify: Callable[[str], None] = lambda _line: None
) -> Values:
    """Return a label of a frame on the pixels of its image as :func:`sim2real.imageio.read_scaled` returns it.

    Args:
        frame: A frame of an open dataset.
        kind: The kind of label.
        vocabulary: The classes of the run.
        size: The stored (W, H) of the image -> the wanted (W, H).
        notify: Called with a message for each class that the vocabulary lacks.

    Raises:
        DatasetError: If the frame has no such label, or the label is damaged or of another size than the image.
        ImageError: If the label is a damaged image.
    """
    values = read_input(frame, kind, vocabulary, notify)
    height, width = values.shape[-2:]
    return scale_input(values, kind, Scale(scaled_part(frame.path, size), size(width, height)))


def as_input(label: Label, vocabulary: Vocabulary, size: Size) -> Values:
    """Return a label as an array; boxes are painted onto an image of ``size`` (W, H)."""
    match label:
        case Segmentation():
            return vocabulary.ids(label)
        case Instances(ids):
            return ids.astype(np.int64)
        case Boxes():
            return vocabulary.rasterised(label, *size)
        case Depth(values) | Distance(values) | Disparity(values):
            return np.nan_to_num(values[None].astype(np.float32), copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        case Flow(uv, valid):
            return _with_mask(uv, valid & np.isfinite(uv).all(axis=-1))
        case SceneFlow(xyz):
            return _with_mask(xyz, np.asarray(np.isfinite(xyz).all(axis=-1)))


def _centred(rgb: NDArray[np.uint8]) -> Values:
    """Return an image (H, W, 3) as float32 (3, H, W) in [-1, 1]."""
    return np.ascontiguousarray(rgb.transpose(2, 0, 1), np.float32) / np.float32(127.5) - 1


def unknown_motion(kind: str, size: Size) -> Values:
    """Return the array of a kind of motion that is unknown everywhere, for an image of ``size`` (W, H)."""
    return np.zeros((KINDS[kind].channels or 0, size[1], size[0]), KINDS[kind].dtype)


def _with_mask(vectors: NDArray[np.float32], known: NDArray[np.bool_]) -> Values:
    """Return vectors (H, W, C) and the mask of known ones as one array (C + 1, H, W)."""
    values = np.where(known[..., None], vectors, np.float32(0))
    return np.ascontiguousarray(
        np.concatenate([values, known[..., None]], axis=-1, dtype=np.float32).transpose(2, 0, 1)
    )


def scale_input(values: Values, kind: str, scale: Scale) -> Values:
    """Return the array of a label on the pixels of its image at another size.

    Args:
        values: An array of the size ``scale.source``, or larger: the excess on the right and at the bottom is cut off.
        kind: The kind of label.
        scale: The scale from one size of the image to the other.
    """
    width, height = scale.source
    values = values[..., :height, :width]
    if kind == "translation":
        if scale.source == scale.target:
            return np.ascontiguousarray(values)
        pixels = np.rint((values + 1) * 127.5).astype(np.uint8)
        flat = pixels.reshape(-1, *pixels.shape[-3:]).transpose(0, 2, 3, 1)
        scaled = np.stack([_centred(resize(image, scale.target)) for image in flat])
        return scaled.reshape(*values.shape[:-2], *scaled.shape[-2:])
    if scale.source != scale.target:
        values = np.moveaxis(scale.nearest(np.moveaxis(values, (-2, -1), (0, 1))), (0, 1), (-2, -1))
    if kind == "disparity":
        values = values * np.float32(scale.x)
    elif kind in {"flow", "backward_flow"}:
        values = values * np.array([scale.x, scale.y, 1], np.float32)[:, None, None]
    return np.ascontiguousarray(values)


def cut_input(values: Values, kind: str, rows: NDArray[np.integer], columns: NDArray[np.integer]) -> Values:
    """Return the array of a label on the pixels of a window of its image.

    Args:
        values: The array on the whole image.
        kind: The kind of label.
        rows: The image row of each row of the window; descending rows turn it upside down.
        columns: The image column of each column of the window; descending columns mirror it.
    """
    window: Values = values[..., rows[:, None], columns]
    if kind in VECTORS:
        for channel, places in enumerate((columns, rows)):
            if places[0] > places[-1]:
                window[channel] *= -1
    return window


def label_in_window(label: Label, scale: Scale, rows: NDArray[np.integer], columns: NDArray[np.integer]) -> Label:
    """Return a label on the pixels of a window of its image at another size.

    Args:
        label: The label on all pixels of the image.
        scale: The scale from the size of the image to the size that the window is cut from.
        rows: The rows of the window, see :func:`cut_input`.
        columns: The columns of the window, see :func:`cut_input`.

    Raises:
        ValueError: If the label is of another size than ``scale.source``.
    """

    def cut(values: Values) -> Values:
        return np.ascontiguousarray(scale.nearest(values)[rows[:, None], columns])

    def vectors(kind: str, values: Values) -> Values:
        scale.require_source(values.shape[2], values.shape[1])
        return np.moveaxis(cut_input(scale_input(values, kind, scale), kind, rows, columns), 0, -1)

    found: Label
    match label:
        case Segmentation(ids, names):
            found = Segmentation(cut(ids), names)
        case Instances(ids):
            found = Instances(cut(ids))
        case Depth(metres) | Distance(metres):
            found = type(label)(cut(metres))
        case Disparity(pixels):
            found = Disparity(cut(pixels) * np.float32(scale.x))
        case Flow(uv, valid):
            values = vectors("flow", _with_mask(uv, valid))
            found = Flow(np.ascontiguousarray(values[..., :2]), values[..., 2] > 0)
        case SceneFlow(xyz):
            values = vectors("scene_flow", _with_mask(xyz, np.asarray(np.isfinite(xyz).all(axis=-1))))
            found = SceneFlow(np.where(values[..., 3:] > 0, values[..., :3], np.float32(np.nan)))
        case Boxes(boxes):
            moved = (_moved(box, scale, rows, columns) for box in boxes)
            found = Boxes(tuple(box for box in moved if box.left < box.right and box.top < box.bottom))
    return found


def _moved(box: Box, scale: Scale, rows: NDArray[np.integer], columns: NDArray[np.integer]) -> Box:
    """Return a box in the coordinates of a window, clipped to it."""
    left, right = _ends(box.left * float(scale.x), box.right * float(scale.x), columns)
    top, bottom = _ends(box.top * float(scale.y), box.bottom * float(scale.y), rows)
    return replace(box, left=left, right=right, top=top, bottom=bottom)


def _ends(first: float, last: float, places: NDArray[np.integer]) -> tuple[float, float]:
    if places[0] > places[-1]:
        first, last = places[0] + 1 - last, places[0] + 1 - first
    else:
        first, last = first - places[0], last - places[0]
    return float(max(0.0, first)), float(min(len(places), last))
