"""What of a file depends on the size of the images that it tells of, and how it is brought to another size.

An adapter says so in a table, ``resizing``: patterns that are searched in the paths of files that are not translated,
without regard to case, each with a :class:`Rule`; the first that fits counts. What no row fits is refused by name, but
for masks, ids, depth and distance in images that frames claim (:data:`NEAREST`), and texts about the dataset as a whole
(:data:`KEEP`). A point x of a pixel's centre goes to ``(x + 0.5) sx - 0.5``, an edge of a box to ``x sx``.
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
    """From one size of images to another, both (W, H) in pixels."""

    source: Size
    target: Size

    @property
    def x(self) -> Fraction:
        """The factor of widths."""
        return Fraction(self.target[0], self.source[0])

    @property
    def y(self) -> Fraction:
        """The factor of heights."""
        return Fraction(self.target[1], self.source[1])

    def of(self, width: float, height: float) -> "Scale":
        """The scale of images of another size that are brought to the same one."""
        return Scale((int(width), int(height)), self.target)

    def require_source(self, width: int, height: int) -> None:
        """Make sure that something is of the source's size.

        Raises:
            ValueError: It is not.
        """
        if (width, height) != self.source:
            raise ValueError(f"it is {width}x{height}, its images are {self.source[0]}x{self.source[1]}")

    def nearest(self, values: Values) -> Values:
        """The values (H, W, ...) of the pixels whose centres are the nearest to those of the new pixels.

        Raises:
            ValueError: They are not of the source's size.
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
    """How files of one kind are brought to another size.

    Attributes:
        update: The bytes of a file, and the scale of the images that it tells of -> its bytes at the new size.
            What it raises of ``ValueError`` and the like, or ``ImageError``, tells what is wrong with the file.
        mixed: Whether it may tell of images of several sizes, because it names their sizes itself: ``update`` asks
            ``scale.of(width, height)``, and where they are several ``scale.source`` is (0, 0). Of other files all
            images have to have one size.
    """

    update: Callable[[bytes, Scale], bytes]
    mixed: bool = False


Resizing = Sequence[tuple[str, Rule]]
Intrinsics = Mapping[Size, tuple[float, float, float, float]]
"""Size of images -> fx, fy, cx, cy of their camera in pixels, whole numbers being the centres of pixels."""

_PIXELS: Final = Path("its pixels")  # whose path the caller knows


def nearest(change: Callable[[Values, Scale], Values] = lambda values, _: values) -> Rule:
    """The rule of a label image: the nearest pixel, and what becomes of the stored values (H, W) or (H, W, C)."""

    def update(data: bytes, scale: Scale) -> bytes:
        return replace_values(data, lambda values: change(scale.nearest(values), scale), _PIXELS)

    return Rule(update)


def _photo(data: bytes, scale: Scale) -> bytes:
    picture = resize_picture(decode_picture(data, _PIXELS), scale.target)
    return encode_picture(picture.rgb, picture)


KEEP: Final = Rule(lambda data, _: data)
"""Nothing of the file depends on the size: poses, point clouds, boxes in shares of the image. Carried byte for byte."""

NEAREST: Final = nearest()
"""Masks, ids, colours of classes, depth, normals, scene flow: PNG, values kept."""

PHOTO: Final = Rule(_photo)
"""Images of cameras that are not translated."""


# stored values in pixels


def _require_16_bits(values: Values, channels: int) -> None:
    found = 1 if values.ndim == 2 else values.shape[2]
    if values.dtype != np.uint16 or found != channels:
        raise ValueError(f"it has {found} channels of {values.dtype}, a label of this kind has {channels} of uint16")


def disparity(*, zero: int = 0) -> Rule:
    """Disparity in 16 bits, 0 where there is none; what gets too large for them is none any more.

    Args:
        zero: Stored value of no shift at all.
    """

    def change(values: Values, scale: Scale) -> Values:
        _require_16_bits(values, 1)
        codes = np.rint((values.astype(np.float64) - zero) * float(scale.x) + zero)
        return np.where((values > 0) & (codes < 2**16), np.maximum(codes, 1), 0).astype(np.uint16)

    return nearest(change)


def _longer(values: Values, scale: Scale, u: int, v: int) -> tuple[Values, Values]:
    """Flow of 64 steps a pixel around 2^15 in two channels, and where 16 bits hold it still."""
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
"""Flow of ``(R - 2^15) / 64`` and ``(G - 2^15) / 64`` pixels; what 16 bits cannot hold becomes invalid, B = 0."""

TARTANAIR_FLOW: Final = nearest(_tartanair_flow)
"""Flow with u in blue, v in green and a mask in red, which says what becomes too large to be out of view."""


# numbers in texts and documents

Change = Callable[[float, Scale], float]


def first_x(value: float, scale: Scale) -> int:
    """The first column of a box whose last one is inside too; with :func:`last_x` it covers all that it covered."""
    return math.floor(value * scale.x)


def first_y(value: float, scale: Scale) -> int:
    """The first row."""
    return math.floor(value * scale.y)


def last_x(value: float, scale: Scale) -> int:
    """The last column, inside."""
    return math.ceil((value + 1) * scale.x) - 1


def last_y(value: float, scale: Scale) -> int:
    """The last row, inside."""
    return math.ceil((value + 1) * scale.y) - 1


def along_x(value: float, scale: Scale) -> float:
    """An edge, a width, a focal length."""
    return float(value * scale.x)


def along_y(value: float, scale: Scale) -> float:
    """An edge, a height, a focal length."""
    return float(value * scale.y)


def centre_x(value: float, scale: Scale) -> float:
    """Where a point is, if whole numbers are the centres of pixels: a principal point."""
    return float((value + Fraction(1, 2)) * scale.x - Fraction(1, 2))


def centre_y(value: float, scale: Scale) -> float:
    """Where a point is, likewise."""
    return float((value + Fraction(1, 2)) * scale.y - Fraction(1, 2))


def pixels(value: float, scale: Scale) -> int:
    """About how many pixels there are of what had so many; one, if it had any."""
    return max(round(value * scale.x * scale.y), min(1, math.ceil(value)))


def columns(changes: Mapping[str, Change]) -> Rule:
    """The rule of a table whose first line names its columns: some of its numbers change, all else stays as it is."""

    def update(data: bytes, scale: Scale) -> bytes:
        header, *rows = _lines(data) or [""]
        names = _words(header)
        if missing := [name for name in changes if name not in names]:
            raise ValueError(f"the first line does not name the column '{missing[0]}'")
        by_place = {names.index(name): change for name, change in changes.items()}
        return _joined([header, *(_with_numbers(row, by_place, scale) for row in rows)])

    return Rule(update)


def places(changes: Mapping[int, Change]) -> Rule:
    """The rule of rows of words: some that are numbers change, by place (from the end if negative), else all stays."""
    return Rule(lambda data, scale: _joined([_with_numbers(line, changes, scale) for line in _lines(data)]))


def _lines(data: bytes) -> list[str]:
    return data.decode().splitlines(keepends=True)


def _words(line: str) -> list[str]:
    """The words of a line, without the mark that some editors put first in a file."""
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
    """A line with other words at some places; its spaces stay."""
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
    """The rule of rows as of KITTI's label_2 with so many columns ahead of them."""
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
        raise ValueError(f"it tells of images of {size_text}, they are {scale.source[0]}x{scale.source[1]}")
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
    """The numbers of a projection, row after row, at another size."""
    if len(words) not in {9, 12}:
        raise ValueError(f"a projection has 9 or 12 numbers, not {len(words)}")
    values: list[float] = scaled_projection(np.array(words, np.float64).reshape(3, -1), scale).ravel().tolist()
    return values


def scaled_projection(rows: Values, scale: Scale) -> Values:
    """A projection (3, 3) or (3, 4) onto the pixels of another size, whole numbers being the centres of pixels."""
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
"""A text of the 9 or 12 numbers of a projection."""

KITTI_CALIBRATION: Final = Rule(_kitti_calibration)
"""calib.txt, calib/000000.txt, calib_cam_to_cam.txt: the projections, and the sizes of the images that are there."""
