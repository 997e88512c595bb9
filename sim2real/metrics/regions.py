"""Regions of a frame's labels: the masks of its classes, and their outlines."""

import re
from collections.abc import Iterator, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from sim2real.datasets.labels import Boxes, Instances, Label, Segmentation
from sim2real.errors import DatasetError

Mask = NDArray[np.bool_]
"""(H, W)."""


def class_masks(labels: Mapping[str, Label], shape: tuple[int, ...]) -> dict[str, Mask]:
    """Return the mask of each class, from the segmentation of a frame, else from its boxes.

    Args:
        labels: The labels of the frame.
        shape: Shape of its image, (H, W, ...).

    Returns:
        Name of each class that covers a pixel -> its mask.

    Raises:
        DatasetError: If the segmentation does not have the image's size.
    """
    segmentation = labels.get("segmentation")
    if isinstance(segmentation, Segmentation):
        ids = _fitting(segmentation.ids, shape)
        found = {
            segmentation.names[number]: number for number in np.unique(ids).tolist() if number in segmentation.names
        }
        return {name: ids == number for name, number in found.items()}
    masks: dict[str, Mask] = {}
    for label, place in _boxes(labels, shape):
        if label:
            masks.setdefault(label, np.zeros(shape[:2], bool))[place] = True
    return masks


def outlines(labels: Mapping[str, Label], shape: tuple[int, ...]) -> Mask | None:
    """Return the outlines between classes and objects, two pixels wide.

    They come from the segmentation and the instances, else from the borders of boxes.

    Args:
        labels: The labels of the frame.
        shape: Shape of its image, (H, W, ...).

    Returns:
        The pixels of the outlines; None if there are none.

    Raises:
        DatasetError: If a mask does not have the image's size.
    """
    known = [label.ids for kind in ("segmentation", "instance") if isinstance(label := labels.get(kind), _Masks)]
    found = np.zeros(shape[:2], bool)
    for ids in known:
        found |= border(_fitting(ids, shape))
    if not known:
        for _, place in _boxes(labels, shape):
            inside = np.zeros(shape[:2], bool)
            inside[place] = True
            found |= border(inside)
    return found if found.any() else None


_Masks = Segmentation | Instances


def border(ids: NDArray[np.generic]) -> Mask:
    """Return the pixels (H, W) with a different value to the left, to the right, above or below."""
    found = np.zeros(ids.shape, bool)
    beside, below = ids[:, 1:] != ids[:, :-1], ids[1:] != ids[:-1]
    found[:, 1:] |= beside
    found[:, :-1] |= beside
    found[1:] |= below
    found[:-1] |= below
    return found


def within(mask: Mask, pixels: float) -> Mask:
    """Return the pixels that are at most ``pixels`` away from a mask."""
    if not mask.any():
        return mask
    distance = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(distance) <= pixels


def has_name(label: str, names: frozenset[str]) -> bool:
    """Return whether the last word of a class name is in ``names``: ``"construction--flat--road"`` ends in "road"."""
    words = re.findall(r"[a-z]+", label.lower())
    return bool(words) and words[-1] in names


def _boxes(labels: Mapping[str, Label], shape: tuple[int, ...]) -> Iterator[tuple[str, tuple[slice, slice]]]:
    """Yield the class and the pixels of each box that reaches into the image."""
    boxes = labels.get("boxes")
    for box in boxes.boxes if isinstance(boxes, Boxes) else ():
        left, top = (max(0, round(edge)) for edge in (box.left, box.top))
        right, bottom = min(shape[1], round(box.right)), min(shape[0], round(box.bottom))
        if left < right and top < bottom:
            yield box.label, (slice(top, bottom), slice(left, right))


def _fitting(ids: NDArray[np.int32], shape: tuple[int, ...]) -> NDArray[np.int32]:
    if ids.shape != shape[:2]:
        (height, width), (rows, columns) = ids.shape, shape[:2]
        message = f"a mask of {width}x{height} pixels cannot lie on a frame of {columns}x{rows}; is it another frame's?"
        raise DatasetError(message)
    return ids
