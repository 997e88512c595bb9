"""Check whether labels fit the stored pixels of their images, and map them there if not.

There are three causes of a mismatch. A label file declares the size of its image, but the image has another one: if
both are sizes of one picture, the labels refer to the declared size. EXIF may ask for a photo to be shown rotated:
labelling tools do so, and labels of the rotated size refer to what they show. And simulators write boxes whose edges
are not finite numbers.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from sim2real.datasets.base import Adapter, Frame
from sim2real.datasets.labels import Box, Boxes, Instances, Label, Segmentation
from sim2real.datasets.partners import evenly
from sim2real.datasets.readers import size_of
from sim2real.datasets.resizing import Scale, Size
from sim2real.errors import DatasetError, ImageError
from sim2real.imageio import read_orientation

if TYPE_CHECKING:
    from sim2real.datasets import Dataset

_LOOKED_AT: Final = 20_000
_SHOWN: Final = {
    2: "mirrored",
    3: "turned by 180 degrees",
    4: "mirrored and turned by 180 degrees",
    5: "mirrored and turned by 90 degrees",
    6: "turned by 90 degrees",
    7: "mirrored and turned by 270 degrees",
    8: "turned by 270 degrees",
}
_UNTURNED: Final[dict[int, Callable[[NDArray[Any]], NDArray[Any]]]] = {  # shown (H, W) -> stored
    5: lambda shown: shown.T,
    6: lambda shown: np.rot90(shown, 1),
    7: lambda shown: np.rot90(shown.T, 2),
    8: lambda shown: np.rot90(shown, -1),
}
_TEXTS: Final = frozenset({".txt", ".json", ".xml", ".csv", ".yaml", ".yml"})
_PIECE: Final = 1 << 24
_NO_NUMBER: Final = re.compile(rb"(?<![\w.])[-+]?(?:nan|inf(?:inity)?)(?![\w.])|\d[eE]\+?\d{3}", re.IGNORECASE)


def same_picture(declared: Size, stored: Size) -> bool:
    """Return whether two sizes can be of one picture: one factor maps both sides, to within a pixel."""
    small, large = sorted((declared, stored), key=math.prod)
    sides = list(zip(small, large, strict=True))
    return max((side - 1) / of for side, of in sides) <= min((side + 1) / of for side, of in sides)


def lies_turned(declared: Size, stored: Size, orientation: int) -> bool:
    """Return whether labels of a declared size refer to the image as EXIF shows it."""
    return orientation in _UNTURNED and declared == stored[::-1] and declared != stored


def on_stored_pixels(label: Label, declared: Size, image: Path) -> Label:
    """Return a label made for an image of a declared size on the stored pixels of the image.

    Raises:
        DatasetError: If it is not known how the sizes relate.
        ImageError: If the image cannot be read.
    """
    stored = size_of(image)
    if declared == stored:
        return label
    if lies_turned(declared, stored, orientation := read_orientation(image)):
        return _moved(label, _UNTURNED[orientation], lambda box: _unturned_box(box, declared, orientation))
    if not same_picture(declared, stored):
        message = f"{image}: it is {_by(stored)}, which is no scale of the {_by(declared)} that its label file declares"
        raise DatasetError(f"{message}; where its labels lie is unknown")
    scale = Scale(declared, stored)
    return _moved(label, scale.nearest, lambda box: _scaled_box(box, float(scale.x), float(scale.y)))


def _moved(label: Label, move_pixels: Callable[[NDArray[Any]], NDArray[Any]], move_box: Callable[[Box], Box]) -> Label:
    """Return a label with its pixels or boxes moved; kinds that declare no size of their own stay as they are."""
    match label:
        case Boxes(boxes):
            return Boxes(tuple(map(move_box, boxes)))
        case Segmentation(ids, names):
            return Segmentation(np.ascontiguousarray(move_pixels(ids)), names)
        case Instances(ids):
            return Instances(np.ascontiguousarray(move_pixels(ids)))
        case _:
            return label


def _scaled_box(box: Box, x: float, y: float) -> Box:
    return replace(box, left=box.left * x, top=box.top * y, right=box.right * x, bottom=box.bottom * y)


def _unturned_box(box: Box, shown: Size, orientation: int) -> Box:
    width, height = shown
    left, right, top, bottom = box.top, box.bottom, box.left, box.right  # orientation 5: only transposed
    if orientation in {7, 8}:
        left, right = height - right, height - left
    if orientation in {6, 7}:
        top, bottom = width - bottom, width - top
    return replace(box, left=left, right=right, top=top, bottom=bottom)


def numbered(label: Label) -> Label:
    """Return a label without boxes that have an infinite or NaN edge."""
    if not isinstance(label, Boxes) or all(map(_is_numbered, label.boxes)):
        return label
    return Boxes(tuple(filter(_is_numbered, label.boxes)))


def _is_numbered(box: Box) -> bool:
    return all(map(math.isfinite, (box.left, box.top, box.right, box.bottom)))


def why_unresizable(adapter: Adapter, frame: Frame, image: Path, stored: Size) -> str:
    """Return why the labels of a frame cannot be resized together with its image; empty if they can.

    Raises:
        ImageError: If the image cannot be read.
    """
    if (orientation := read_orientation(image)) != 1:
        return f"EXIF shows {frame.image} {_SHOWN[orientation]}: labels may fit what is shown, not what is stored"
    for kind in frame.labels:
        with suppress(DatasetError, ImageError):  # reported by its rule
            if (declared := adapter.declared_size(frame, kind)) and not same_picture(declared, stored):
                return f"it declares {_by(declared)}, which is no scale of {frame.image}, {_by(stored)}"
    return ""


def misplaced(dataset: "Dataset") -> Iterator[str]:
    """Warn of photos that EXIF shows rotated, of declared sizes that differ, and of boxes with invalid edges."""
    frames = [frame for frame in dataset.frames() if frame.labels]
    looked_at = evenly(frames, _LOOKED_AT)
    yield from _turned(dataset, looked_at)
    yield from _of_other_sizes(dataset, looked_at)
    yield from _without_numbers(dataset, looked_at)


def _turned(dataset: "Dataset", frames: Sequence[Frame]) -> Iterator[str]:
    turned = []
    for frame in frames:
        try:
            if (orientation := read_orientation(dataset.root / frame.image)) != 1:
                turned.append((frame.image, orientation))
        except ImageError:  # reported when it is decoded
            continue
    if turned:
        image, orientation = turned[0]
        yield (
            f"EXIF shows {len(turned)} of {len(frames)} labelled images turned or mirrored, e.g. {image} "
            f"{_SHOWN[orientation]}; pixels are read and written as they are stored, so labels that were made on what "
            "is shown do not fit them: store such images upright, without the tag, or leave them out with --exclude"
        )


def _of_other_sizes(dataset: "Dataset", frames: Sequence[Frame]) -> Iterator[str]:
    scaled, turned, unknown = list[str](), list[str](), list[str]()
    for frame in frames:
        for path, kind in {path: kind for kind, path in frame.labels.items()}.items():  # each file once
            try:
                declared = dataset.adapter.declared_size(frame, kind)
                stored = size_of(dataset.root / frame.image) if declared else None
            except (DatasetError, ImageError):  # reported when it is decoded
                continue
            if not declared or not stored or declared == stored:
                continue
            example = f"{path} declares {_by(declared)}, {frame.image} is {_by(stored)}"
            if lies_turned(declared, stored, read_orientation(dataset.root / frame.image)):
                turned.append(example)
            else:
                (scaled if same_picture(declared, stored) else unknown).append(example)
            break
    of = f"of {len(frames)} labelled images"
    if scaled:
        yield (
            f"{len(scaled)} {of} have another size than their label files declare, e.g. {scaled[0]}: labels are read, "
            "and resized, as pixels of the declared size"
        )
    if turned:
        yield (
            f"the labels of {len(turned)} {of} fit what EXIF shows, e.g. {turned[0]}: they are turned back onto the "
            "stored pixels when they are read, and cannot be resized"
        )
    if unknown:
        yield (
            f"{len(unknown)} {of} have a size that is no scale of what their label files declare, e.g. {unknown[0]}: "
            "where these labels lie is unknown, so they are carried, but neither read nor resized; correct the "
            "declared size"
        )


def _without_numbers(dataset: "Dataset", frames: Sequence[Frame]) -> Iterator[str]:
    tells: dict[str, bool] = {}
    boxes, images = 0, list[tuple[str, str]]()
    inside = dataset.embedded()  # files with photos inside are too large to search
    for frame in frames:
        path = frame.labels.get("boxes", "")
        if path not in tells:
            tells[path] = bool(path) and path not in inside and _may_lack_numbers(dataset.root / path)
        if not tells[path]:
            continue
        try:
            label = dataset.adapter.load_label(frame, "boxes")
        except (DatasetError, ImageError):  # reported when it is decoded
            continue
        if isinstance(label, Boxes) and (lacking := sum(not _is_numbered(box) for box in label.boxes)):
            boxes += lacking
            images.append((frame.image, path))
    if boxes:
        image, path = images[0]
        yield (
            f"{boxes} boxes of {len(images)} images have edges that are infinite or NaN, e.g. one of {image} "
            f"in {path}: they are ignored when labels are read, and stay in the file"
        )


def _may_lack_numbers(path: Path) -> bool:
    """Return whether a text file contains NaN, infinity, or an exponent large enough to overflow."""
    if path.suffix.lower() not in _TEXTS:
        return False
    before = b""
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                if _NO_NUMBER.search(before + piece):
                    return True
                before = piece[-16:]
    except OSError:  # reported when it is decoded
        pass
    return False


def _by(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
