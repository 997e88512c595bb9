"""Rules that adapt files to another size of the images that they describe.

An adapter lists them in a table, ``resizing``: patterns that are searched in the paths of files that are not
translated, without regard to case, each with a :class:`Rule`; the first match counts. A file without a match is refused
by name, except for masks, ids, depth and distance in images that frames claim (:data:`NEAREST`), and texts about the
dataset as a whole (:data:`KEEP`). A point x at a pixel's centre moves to ``(x + 0.5) sx - 0.5``, the edge of a box to
``x sx``.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sim2real.imageio import decode_picture, encode_picture, replace_values, resize_picture

Size = tuple[int, int]
Values = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Scale:
    """The change from one size of images to another, both (W, H) in pixels."""

    source: Size
    target: Size

    @property
    def x(self) -> Fraction:
        """The scale factor of widths."""
        return Fraction(self.target[0], self.source[0])

    @property
    def y(self) -> Fraction:
        """The scale factor of heights."""
        return Fraction(self.target[1], self.source[1])

    def of(self, width: float, height: float) -> "Scale":
        """Return the scale from another source size to the same target size."""
        return Scale((int(width), int(height)), self.target)

    def require_source(self, width: int, height: int) -> None:
        """Make sure that a size is the source size.

        Raises:
            ValueError: If it is not.
        """
        if (width, height) != self.source:
            raise ValueError(f"it is {width}x{height}, its images are {self.source[0]}x{self.source[1]}")

    def nearest(self, values: Values) -> Values:
        """Return values (H, W, ...) resampled to the target size by the nearest pixel centre.

        Raises:
            ValueError: If the values are not of the source size.
        """
        height, width = values.shape[:2]
        self.require_source(width, height)
        columns, rows = (
            (2 * np.arange(after) + 1) * before // (2 * after)
            for before, after in zip(self.source, self.target, strict=True)
        )
        return np.ascontiguousarray(values[rows[:, None], columns])


@dataclass(frozen=True, slots=True)
class Rule:
    """How files of one kind are adapted to another size.

    Attributes:
        update: The bytes of a file, and the scale of the images that it describes -> its bytes at the new size.
            It raises ``ValueError`` or similar exceptions, or ``ImageError``, to say what is wrong with the file.
        mixed: Whether a file may describe images of several sizes, because it states them itself: ``update`` calls
            ``scale.of(width, height)``, and if there are several sizes ``scale.source`` is (0, 0). All images of any
            other file must have the same size.
    """

    update: Callable[[bytes, Scale], bytes]
    mixed: bool = False


Resizing = Sequence[tuple[str, Rule]]
Intrinsics = Mapping[Size, tuple[float, float, float, float]]
"""Size of images -> fx, fy, cx, cy of their camera in pixels, where integers are pixel centres."""

_PIXELS: Final = Path("its pixels")  # the caller knows the path


def nearest(change: Callable[[Values, Scale], Values] = lambda values, _: values) -> Rule:
    """Return the rule for a label image: the nearest pixel, then a change of the values (H, W) or (H, W, C)."""

    def update(data: bytes, scale: Scale) -> bytes:
        return replace_values(data, lambda values: change(scale.nearest(values), scale), _PIXELS)

    return Rule(update)


def _photo(data: bytes, scale: Scale) -> bytes:
    picture = resize_picture(decode_picture(data, _PIXELS), scale.target)
    return encode_picture(picture.rgb, picture)


KEEP: Final = Rule(lambda data, _: data)
"""The file does not depend on the size: poses, point clouds, boxes relative to the image. Carried byte for byte."""

NEAREST: Final = nearest()
"""Masks, ids, class colours, depth, normals, scene flow: PNG, values unchanged."""

PHOTO: Final = Rule(_photo)
"""Camera images that are not translated."""


# stored values in pixels


def _require_16_bits(values: Values, channels: int) -> None:
    found = 1 if values.ndim == 2 else values.shape[2]
    if values.dtype != np.uint16 or found != channels:
        raise ValueError(f"it has {found} channels of {values.dtype}, a label of this kind has {channels} of uint16")


def disparity(*, zero: int = 0) -> Rule:
    """Return the rule for disparity in 16 bits, 0 where there is none; values that overflow become 0.

    Args:
        zero: Stored value of zero disparity.
    """

    def change(values: Values, scale: Scale) -> Values:
        _require_16_bits(values, 1)
        codes = np.rint((values.astype(np.float64) - zero) * float(scale.x) + zero)
        return np.where((values > 0) & (codes < 2**16), np.maximum(codes, 1), 0).astype(np.uint16)

    return nearest(change)


def _longer(values: Values, scale: Scale, u: int, v: int) -> tuple[Values, Values]:
    """Scale flow stored as 2^15 + 64 u in two channels; return it, and where it still fits in 16 bits."""
    _require_16_bits(values, 3)
    moved = values.astype(np.float64)
    moved[..., [u, v]] = np.rint((moved[..., [u, v]] - 2**15) * (float(scale.x), float(scale.y)) + 2**15)
    return moved, np.all((moved >= 0) & (moved < 2**16), axis=-1, keepdims=True)


def _kitti_flow(values: Values, scale: Scale) -> Values:
    moved, codable = _longer(values, scale, 0, 1)
    return np.where(codable & (values[..., 2:] > 0), moved, 0).astype(np.uint16)


def _tartanair_flow(values: Values, scale: Scale) -> Values:
    moved, codable = _longer(values, scale, 2, 1)
    return np.where(codable, moved, (_OUT_OF_VIEW, 2**15, 2**15)).astype(np.uint16)


_OUT_OF_VIEW: Final = 100


KITTI_FLOW: Final = nearest(_kitti_flow)
"""Flow of ``(R - 2^15) / 64`` and ``(G - 2^15) / 64`` pixels; values that overflow 16 bits become invalid, B = 0."""

TARTANAIR_FLOW: Final = nearest(_tartanair_flow)
"""Flow with u in blue, v in green and a mask in red, where values that overflow are marked as out of view."""


# numbers in texts and documents

Change = Callable[[float, Scale], float]


def first_x(value: float, scale: Scale) -> int:
    """Return the first column of a box with inclusive ends; with :func:`last_x`, it covers at least the old area."""
    return math.floor(value * scale.x)


def first_y(value: float, scale: Scale) -> int:
    """Return the first row of a box with inclusive ends."""
    return math.floor(value * scale.y)


def last_x(value: float, scale: Scale) -> int:
    """Return the last column of a box, inclusive."""
    return math.ceil((value + 1) * scale.x) - 1


def last_y(value: float, scale: Scale) -> int:
    """Return the last row of a box, inclusive."""
    return math.ceil((value + 1) * scale.y) - 1


def along_x(value: float, scale: Scale) -> float:
    """Scale an edge, a width or a focal length."""
    return float(value * scale.x)


def along_y(value: float, scale: Scale) -> float:
    """Scale an edge, a height or a focal length."""
    return float(value * scale.y)


def centre_x(value: float, scale: Scale) -> float:
    """Scale the x of a point for which integers are pixel centres, e.g. a principal point."""
    return float((value + Fraction(1, 2)) * scale.x - Fraction(1, 2))


def centre_y(value: float, scale: Scale) -> float:
    """Scale the y of a point for which integers are pixel centres."""
    return float((value + Fraction(1, 2)) * scale.y - Fraction(1, 2))


def pixels(value: float, scale: Scale) -> int:
    """Scale a number of pixels approximately; if there were any, at least one remains."""
    return max(round(value * scale.x * scale.y), min(1, math.ceil(value)))


def columns(changes: Mapping[str, Change]) -> Rule:
    """Return the rule for a table with a header line: numbers of the given columns change, all else is kept."""

    def update(data: bytes, scale: Scale) -> bytes:
        header, *rows = _lines(data) or [""]
        names = _words(header)
        if missing := [name for name in changes if name not in names]:
            raise ValueError(f"the first line does not name the column '{missing[0]}'")
        by_place = {names.index(name): change for name, change in changes.items()}
        return _joined([header, *(_with_numbers(row, by_place, scale) for row in rows)])

    return Rule(update)


def places(changes: Mapping[int, Change]) -> Rule:
    """Return the rule for rows of words: numbers at the given positions (negative: from the end) change."""
    return Rule(lambda data, scale: _joined([_with_numbers(line, changes, scale) for line in _lines(data)]))


def _lines(data: bytes) -> list[str]:
    return data.decode().splitlines(keepends=True)


def _words(line: str) -> list[str]:
    """Return the words of a line, without a byte order mark."""
    return line.removeprefix("\ufeff").split()


def _joined(lines: Sequence[str]) -> bytes:
    return "".join(lines).encode()


def _with_numbers(line: str, changes: Mapping[int, Change], scale: Scale) -> str:
    words = _words(line)
    if not words:
        return line
    return _with_words(
        line, {place: _written(change(_number(words[place]), scale)) for place, change in changes.items()}
    )


def _with_words(line: str, words: Mapping[int, str]) -> str:
    """Return a line with other words at some positions and its spaces unchanged."""
    parts = re.split(r"(\S+)", line)  # spaces, word, spaces, word, ..., spaces
    for place, word in words.items():
        parts[2 * place + (place >= 0)] = word
    return "".join(parts)


def _number(word: str) -> float:
    return int(word) if re.fullmatch(r"[+-]?\d+", word) else float(word)


def _written(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.12g}"


# KITTI


def kitti_boxes(ahead: int = 0) -> Rule:
    """Return the rule for rows like KITTI's label_2, with ``ahead`` more columns in front."""
    return places(dict(enumerate((along_x, along_y, along_x, along_y), start=ahead + 4)))


def _kitti_calibration(data: bytes, scale: Scale) -> bytes:
    lines = _lines(data)
    rectified, taken = (set(_kitti_sizes(lines, key)) for key in (r"S_rect_\d+:", r"S_\d+:"))
    if rectified <= {scale.source}:
        matrices, stored = r"P(?:_rect_)?\d+:", r"S_rect_\d+:"
    elif taken == {scale.source}:
        matrices, stored = r"K_\d+:", r"S_\d+:"
    else:
        size_text = " or ".join(f"{width}x{height}" for width, height in sorted(rectified | taken))
        raise ValueError(f"it declares images of {size_text}, they are {scale.source[0]}x{scale.source[1]}")
    return _joined([_kitti_line(line, matrices, stored, scale) for line in lines])


def _kitti_sizes(lines: Sequence[str], pattern: str) -> Iterator[Size]:
    for line in lines:
        key, *words = _words(line) or [""]
        if re.fullmatch(pattern, key):
            width, height = map(float, words)
            yield int(width), int(height)


def _kitti_line(line: str, matrices: str, stored: str, scale: Scale) -> str:
    key, *words = _words(line) or [""]
    if re.fullmatch(matrices, key):
        values = _projection(words, scale)
    elif re.fullmatch(stored, key):
        values = list(scale.target)
    else:
        return line
    return _with_words(line, {place: f"{value:.12e}" for place, value in enumerate(values, start=1)})


def _projection(words: Sequence[str], scale: Scale) -> list[float]:
    """Return the numbers of a projection matrix at another size, row by row."""
    if len(words) not in {9, 12}:
        raise ValueError(f"a projection has 9 or 12 numbers, not {len(words)}")
    values: list[float] = scaled_projection(np.array(words, np.float64).reshape(3, -1), scale).ravel().tolist()
    return values


def scaled_projection(rows: Values, scale: Scale) -> Values:
    """Return a projection (3, 3) or (3, 4) onto the pixels of another size, where integers are pixel centres."""
    factors = np.array([float(scale.x), float(scale.y), 1.0])
    shifts = np.array([float(scale.x) / 2 - 0.5, float(scale.y) / 2 - 0.5, 0.0])
    return np.asarray(factors[:, None] * rows + shifts[:, None] * rows[2])


def _matrix(data: bytes, scale: Scale) -> bytes:
    text = data.decode("utf-8-sig")
    values = _projection(text.split(), scale)
    parts = re.split(r"(\S+)", text)
    parts[1::2] = map(_written, values)
    return "".join(parts).encode()


MATRIX: Final = Rule(_matrix)
"""A text file with the 9 or 12 numbers of a projection matrix."""

KITTI_CALIBRATION: Final = Rule(_kitti_calibration)
"""calib.txt, calib/000000.txt, calib_cam_to_cam.txt: the projections, and the sizes of the images in the dataset."""
