"""One representation for each kind of label, with its unit, and decoders for the encodings on disk.

Label images are (H, W) arrays on the pixels of their frame. Boxes are in pixels, with the origin at the outer corner of
the top left pixel: pixel (x, y) covers x..x+1, y..y+1, and a box covers left <= x < right, top <= y < bottom.
"""

import codecs
import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sim2real.errors import DatasetError, ImageError
from sim2real.imageio import read_label

BYTE_ORDER_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks and the codecs that they indicate, longer marks before their prefixes."""

NOTHING = -1
"""The id of a pixel that belongs to no known class, or to no instance."""


@dataclass(frozen=True, slots=True)
class Segmentation:
    """The class of each pixel: ids int32 (H, W), :data:`NOTHING` where it is unknown, and the names of the ids."""

    ids: NDArray[np.int32]
    names: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Instances:
    """The instance of each pixel: ids int32 (H, W), :data:`NOTHING` where there is none.

    Where the dataset tracks its objects, an id is the ``track`` of the object's boxes.
    """

    ids: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Depth:
    """Distance to the camera plane in metres, float32 (H, W), NaN where there is none (sky, no measurement)."""

    metres: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Distance:
    """Distance to the camera's centre along the ray in metres, float32 (H, W), NaN where there is none.

    Used for simulators that measure along the ray, where the intrinsics that would convert it to a :class:`Depth` are
    unknown.
    """

    metres: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Disparity:
    """Shift between the rectified cameras in pixels, float32 (H, W), NaN where there is no measurement."""

    pixels: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Flow:
    """Motion in the image to the next (or the previous) frame in pixels: uv float32 (H, W, 2), x right and y down.

    ``valid`` (H, W) is False where the motion is unknown; ``uv`` is 0 there.
    """

    uv: NDArray[np.float32]
    valid: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SceneFlow:
    """Motion in space to the next (or the previous) frame in metres, camera coordinates: xyz float32 (H, W, 3).

    NaN where the motion is unknown.
    """

    xyz: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Box:
    """One object: its class, its edges in pixels (left <= x < right, top <= y < bottom), and optional attributes.

    Attributes:
        label: Class as the dataset writes it; empty if it states none.
        left: Left edge.
        top: Upper edge.
        right: Right edge, exclusive.
        bottom: Lower edge, exclusive.
        track: Number of the object throughout its sequence, or None.
        truncated: Fraction of the object outside the image, 0 to 1, or None.
    """

    label: str
    left: float
    top: float
    right: float
    bottom: float
    track: int | None = None
    truncated: float | None = None


@dataclass(frozen=True, slots=True)
class Boxes:
    """The objects of a frame."""

    boxes: tuple[Box, ...]


Label = Segmentation | Instances | Depth | Distance | Disparity | Flow | SceneFlow | Boxes


def read_index_mask(path: Path, *, names: Mapping[int, str] | Sequence[str] = ()) -> Segmentation:
    """Read a mask whose stored values, or palette indices, are class ids.

    Args:
        path: A palette or one-channel image.
        names: Names of the ids.

    Raises:
        ImageError: If it is damaged, or has several channels.
    """
    names = names if isinstance(names, Mapping) else dict(enumerate(names))
    return Segmentation(_read(path, channels=1).astype(np.int32), names)


def read_colour_mask(path: Path, table: Sequence[tuple[str, tuple[int, int, int]]]) -> Segmentation:
    """Read a mask that encodes classes as RGB colours.

    Args:
        path: An RGB image of 8 bits.
        table: Names and their colours; a name may have several colours. Ids number the names in order.

    Raises:
        DatasetError: If the table is empty, or contains an invalid colour.
        ImageError: If the image is damaged, or of another type.
    """
    if not table:
        raise DatasetError(f"{path}: the colours of its classes are not known; the table of colours is empty")
    for name, colour in table:
        if not all(0 <= value <= 255 for value in colour):
            message = f"{path}: the colour of '{name}' in the table of its classes is not three numbers from 0 to 255"
            raise DatasetError(message)
    codes = _packed(_read(path, channels=3, of=np.uint8))
    known = _packed(np.array([colour for _, colour in table], dtype=np.uint8))
    names = list(dict.fromkeys(name for name, _ in table))
    ids = np.array([names.index(name) for name, _ in table], dtype=np.int32)
    order = np.argsort(known, kind="stable")
    place = order[np.searchsorted(known, codes, sorter=order).clip(max=len(known) - 1)]
    return Segmentation(np.where(known[place] == codes, ids[place], np.int32(NOTHING)), dict(enumerate(names)))


def read_depth(path: Path, *, per_metre: float, nothing: int) -> Depth:
    """Read a 16-bit map of distances.

    Args:
        path: A one-channel image of 16 bits.
        per_metre: Stored value of one metre.
        nothing: Stored value of a pixel without a distance.

    Raises:
        ImageError: If the image is damaged, or of another type.
    """
    return Depth(_scaled(path, per_metre, nothing))


def read_disparity(path: Path) -> Disparity:
    """Read a disparity map in KITTI's encoding: 16 bits, value / 256, 0 where there is none (KITTI 2015 devkit).

    Raises:
        ImageError: If the image is damaged, or of another type.
    """
    return Disparity(_scaled(path, 256, 0))


def read_vkitti_flow(path: Path) -> Flow:
    """Read optical flow in Virtual KITTI's encoding: R and G are u and v relative to the image size, B = 0 is invalid.

    ``u = (2 R / 65535 - 1) (W - 1)``, and ``v = (2 G / 65535 - 1) (H - 1)`` (Virtual KITTI 1.3.1 README).

    Raises:
        ImageError: If it is damaged, or is not an RGB image of 16 bits.
    """
    codes = _read(path, channels=3, of=np.uint16)
    height, width, _ = codes.shape
    uv = (codes[..., :2] * (2 / 65535) - 1) * (width - 1, height - 1)
    return _flow(uv, codes[..., 2] > 0)


def read_kitti_flow(path: Path) -> Flow:
    """Read optical flow in KITTI's encoding: ``u = (R - 2^15) / 64``, ``v = (G - 2^15) / 64``, B = 0 is invalid.

    Raises:
        ImageError: If it is damaged, or is not an RGB image of 16 bits.
    """
    codes = _read(path, channels=3, of=np.uint16)
    return _flow((codes[..., :2].astype(np.float64) - 2**15) / 64, codes[..., 2] > 0)


def read_vkitti_scene_flow(path: Path) -> SceneFlow:
    """Read scene flow in Virtual KITTI 2's encoding: ``(2 value / 65535 - 1) 10`` metres, x y z in R G B.

    Three zeros, the corner of that range, mean unknown.

    Raises:
        ImageError: If it is damaged, or is not an RGB image of 16 bits.
    """
    codes = _read(path, channels=3, of=np.uint16)
    xyz = (codes * (2 / 65535) - 1) * 10
    return SceneFlow(np.where(codes.any(axis=-1, keepdims=True), xyz, np.nan).astype(np.float32))


def read_table(path: Path, columns: Mapping[str, Callable[[str], Any]]) -> list[dict[str, Any]]:
    """Read columns of a text table: a header line with their names, then rows, all separated by spaces.

    Args:
        path: The file.
        columns: The names of the columns to read, and functions that convert their text to values.

    Raises:
        DatasetError: If a column is missing, a row is damaged, or the file cannot be read.
    """
    header, *rows = list(read_rows(path)) or [(1, [])]
    if missing := [name for name in columns if name not in header[1]]:
        raise DatasetError(f"{path}: the first line does not name the column '{missing[0]}'")
    places = {name: header[1].index(name) for name in columns}
    values = []
    for number, row in rows:
        try:
            values.append({name: columns[name](row[place]) for name, place in places.items()})
        except (IndexError, ValueError) as error:
            raise DatasetError(f"{path}: line {number} is damaged: {error}") from error
    return values


def read_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Read the non-blank lines of a text file: their numbers from 1, and their words.

    A word in double quotes may contain spaces.

    Raises:
        DatasetError: If the file cannot be read.
    """
    lines = read_text(path).splitlines()
    return ((number, _words(line, path)) for number, line in enumerate(lines, start=1) if line.strip())


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, or in the encoding of its byte order mark.

    Raises:
        DatasetError: If it cannot be read or decoded.
    """
    try:
        return decode_text(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read as text: {getattr(error, 'strerror', None) or error}") from error


def decode_text(data: bytes) -> str:
    """Decode text in UTF-8, or in the encoding of its byte order mark, which is removed.

    Raises:
        ValueError: If it cannot be decoded.
    """
    marked = next((encoding for mark, encoding in BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8")
    return data.decode(marked)


def _words(line: str, path: Path) -> list[str]:
    if '"' not in line:
        return line.split()
    try:
        return next(csv.reader([line], delimiter=" ", skipinitialspace=True))
    except csv.Error as error:
        raise DatasetError(f"{path}: a word in double quotes is damaged: {error}") from error


def _read(path: Path, *, channels: int, of: type | None = None) -> NDArray[np.uint8] | NDArray[np.uint16]:
    values = read_label(path)
    found = 1 if values.ndim == 2 else values.shape[2]
    if found != channels or (of is not None and values.dtype != of):
        wanted = f"{channels} of {np.dtype(of).name}" if of else f"{channels}"
        raise ImageError(f"{path}: it has {found} channels of {values.dtype}, a label of this kind has {wanted}")
    return values


def _scaled(path: Path, per_unit: float, nothing: int) -> NDArray[np.float32]:
    values = _read(path, channels=1, of=np.uint16)
    return np.where(values == nothing, np.nan, values / per_unit).astype(np.float32)


def _flow(uv: NDArray[np.float64], valid: NDArray[np.bool_]) -> Flow:
    return Flow(np.where(valid[..., None], uv, 0).astype(np.float32), valid)


def _packed(colours: NDArray[np.integer]) -> NDArray[np.int32]:
    red, green, blue = (colours[..., channel].astype(np.int32) for channel in range(3))
    return (red << 16) | (green << 8) | blue
