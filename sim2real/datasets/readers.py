"""Readers of encodings that several families of datasets share; see also :mod:`sim2real.datasets.labels`."""

import json
import math
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, wraps
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any, BinaryIO, Concatenate, Final, ParamSpec, TypeVar
from weakref import WeakKeyDictionary
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from sim2real.datasets.base import Tree
from sim2real.datasets.labels import NOTHING, Box, Boxes, Depth, Instances, Segmentation, read_index_mask, read_rows
from sim2real.datasets.largejson import Places, read_elements
from sim2real.datasets.masks import decode_runs, paint
from sim2real.errors import DatasetError, ImageError
from sim2real.imageio import check_array, read_header, read_label

P = ParamSpec("P")
T = TypeVar("T")
_NUMBER: Final = re.compile(r"-?[0-9]{1,18}")

_BAD_VALUE: Final = (ArithmeticError, AttributeError, LookupError, StopIteration, SyntaxError, TypeError, ValueError)
_NO_ARRAY: Final = (ValueError, IndexError, NotImplementedError, RuntimeError, BadZipFile, zlib.error, ImageError)


def remembered(most: int) -> Callable[[Callable[[Path], T]], Callable[[Path], T]]:
    """Return a decorator that caches results by path while the time and size of the file or folder are unchanged.

    Args:
        most: Maximum number of cached results.
    """

    def decorate(read: Callable[[Path], T]) -> Callable[[Path], T]:
        @lru_cache(maxsize=most)
        def as_it_was(path: Path, _time: int, _size: int) -> T:
            return read(path)

        @wraps(read)
        def again(path: Path) -> T:
            try:
                state = path.stat()
            except OSError:  # reported when it is read
                return read(path)
            return as_it_was(path, state.st_mtime_ns, state.st_size)

        return again

    return decorate


def per_tree(find: Callable[Concatenate[Tree, P], T]) -> Callable[Concatenate[Tree, P], T]:
    """Return a function that caches its results while their tree exists, as recognition is followed by listing."""
    found: WeakKeyDictionary[Tree, dict[object, T]] = WeakKeyDictionary()

    @wraps(find)
    def again(tree: Tree, /, *args: P.args, **options: P.kwargs) -> T:
        own, key = found.setdefault(tree, {}), (args, *options.items())
        if key not in own:
            own[key] = find(tree, *args, **options)
        return own[key]

    return again


@contextmanager
def errors_in(path: Path, wrong: str) -> Iterator[None]:
    """Report exceptions caused by the contents of a file as errors of the file.

    Raises:
        DatasetError: If the code inside fails on the contents; the message names the file and what is wrong.
    """
    try:
        yield
    except (RecursionError, *_BAD_VALUE) as error:
        raise DatasetError(f"{path}: {wrong}: {error if isinstance(error, ValueError) else repr(error)}") from error


@contextmanager
def reading(path: Path, form: str = "", errors: tuple[type[Exception], ...] = (OSError,)) -> Iterator[None]:
    """Report that a file cannot be read.

    Args:
        path: The file.
        form: What it is read as, e.g. ``"JSON"``.
        errors: Exceptions that say that it cannot.

    Raises:
        DatasetError: If the code inside raises one of them; the message names the file.
    """
    try:
        yield
    except errors as error:
        attempt = f"read as {form}" if form else "read"
        raise DatasetError(f"{path}: cannot be {attempt}: {getattr(error, 'strerror', None) or error}") from error


def read_head(path: Path, size: int = 1 << 16) -> bytes:
    """Read the first bytes of a file, which may be huge, to identify it.

    Raises:
        DatasetError: If it cannot be read.
    """
    with reading(path), path.open("rb") as file:
        return file.read(size)


def read_tail(path: Path, size: int) -> bytes:
    """Read the last bytes of a file.

    Raises:
        DatasetError: If it cannot be read.
    """
    with reading(path), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read()


def size_of(image: Path) -> tuple[int, int]:
    """Return the size (W, H) of an image as stored.

    Raises:
        ImageError: If it cannot be read.
    """
    header = read_header(image)
    return header.width, header.height


def read_json(path: Path) -> Any:  # noqa: ANN401  the contents of a file
    """Read a JSON file.

    Raises:
        DatasetError: If it cannot be read, or is not JSON.
    """
    with reading(path, "JSON", (OSError, RecursionError, ValueError)):
        return json.loads(path.read_bytes())


def read_array(path: Path) -> NDArray[Any]:
    """Read the array of a .npy file, or the first one of a .npz file; pickled objects are refused.

    Raises:
        DatasetError: If it cannot be read as an array.
    """
    try:
        with path.open("rb") as file:
            array = load_array(file)
    except (OSError, EOFError, *_NO_ARRAY) as error:
        no_numbers = re.search("pickle|magic string", str(error))
        why = "it holds no array of numbers" if no_numbers else getattr(error, "strerror", None) or error
        raise DatasetError(f"{path}: cannot be read as an array: {why}") from error
    return array


def load_array(file: BinaryIO) -> NDArray[Any]:
    """Load the array of an open .npy file, or the first one of a .npz file; pickled objects are refused.

    Raises:
        ImageError: If its header declares more values than a label may have.
        EOFError, ValueError, IndexError, BadZipFile, zlib.error: If it is not such a file, or is damaged.
    """
    start = file.read(4)
    file.seek(0)
    if not start.startswith(b"PK"):
        check_array(_shape(file))
        file.seek(0)
        return np.asarray(np.load(file, allow_pickle=False))
    with ZipFile(file) as archive:
        name = archive.namelist()[0]
        with archive.open(name) as member:
            check_array(_shape(member))
        with archive.open(name) as member:
            return np.asarray(np.lib.format.read_array(member, allow_pickle=False))


def _shape(file: IO[bytes]) -> tuple[int, ...]:
    """Return the shape that the header of an array declares."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)[0]


def of_shape(values: NDArray[Any], shape: tuple[int | None, ...], path: Path) -> NDArray[Any]:
    """Return the values unchanged if they are numbers of a shape, in which None stands for any size.

    Raises:
        DatasetError: If they are not; the message names the file.
    """
    fits = values.ndim == len(shape) and all(want in {None, got} for want, got in zip(shape, values.shape, strict=True))
    if not fits or not np.issubdtype(values.dtype, np.number):
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        message = f"{path}: {values.dtype} of shape {values.shape}; a label of this kind is numbers of shape ({wanted})"
        raise DatasetError(message)
    return values


def in_metres(values: NDArray[np.floating], far: float = math.inf) -> NDArray[np.float32]:
    """Return distances in metres as float32 (H, W), NaN where they are not finite, or ``far`` or more, as the sky."""
    return np.where(np.isfinite(values) & (values < far), values, np.nan).astype(np.float32)


def whole_size(width: object, height: object) -> tuple[int, int] | None:
    """Return the image size (W, H) that a document declares, as numbers or text; None if it declares none, or 0."""
    try:
        declared = int(float(str(width))), int(float(str(height)))
    except (ValueError, OverflowError):
        return None
    return declared if min(declared) > 0 else None


def as_id(declared: object) -> int | str:
    """Return an id of a document, as a number if possible: tools write numbers as text too, in some places or all."""
    if isinstance(declared, float) and declared.is_integer():
        return int(declared)
    text = str(declared)
    return int(text) if _NUMBER.fullmatch(text) else text


def is_elsewhere(place: str) -> bool:
    """Return whether a path in a document is absolute, on any system, so that it leads out of a copied dataset."""
    return PurePosixPath(place).is_absolute() or bool(PureWindowsPath(place).drive)


def find_above(path: Path, name: str, root: Path) -> Path | None:
    """Return the file ``name`` in the nearest parent folder of a path within the root; None if there is none."""
    around = (root / part / name for part in path.relative_to(root).parents)
    return next(filter(Path.exists, around), None)


def read_packed_ids(path: Path) -> NDArray[np.int32]:
    """Read an 8-bit colour image whose pixels hold one 24-bit number each: ``R + 256 G + 65536 B``, (H, W).

    COCO's panoptic masks and CARLA's depth use this encoding. An alpha channel is ignored.

    Raises:
        ImageError: If it is damaged, or is not an RGB(A) image of 8 bits.
    """
    pixels = read_label(path)
    if pixels.ndim != 3 or pixels.shape[2] < 3 or pixels.dtype != np.uint8:
        message = f"{path}: numbers of 24 bits are stored as RGB of 8 bits; this is {pixels.dtype} {pixels.shape}"
        raise ImageError(message)
    red, green, blue = (pixels[..., place].astype(np.int32) for place in range(3))
    return red | (green << 8) | (blue << 16)


def read_map(path: Path) -> NDArray[Any]:
    """Read an array of numbers (H, W), see :func:`read_array`.

    Raises:
        DatasetError: If it cannot be read as an array, or has another shape.
    """
    return of_shape(read_array(path), (None, None), path)


def read_channels(path: Path, count: int) -> list[NDArray[np.int32]]:
    """Read the first channels (H, W) of an image, in the order R, G, B, A; a grey image has one channel.

    Raises:
        ImageError: If it is damaged, or has fewer channels.
    """
    pixels = np.atleast_3d(read_label(path))
    if pixels.shape[2] < count:
        raise ImageError(f"{path}: it has {pixels.shape[2]} channels, a label of this kind has at least {count}")
    return [pixels[..., place].astype(np.int32) for place in range(count)]


def packed(colour: Sequence[int]) -> int:
    """Return the number that :func:`read_packed_ids` reads from pixels of an RGB(A) colour."""
    return colour[0] | (colour[1] << 8) | (colour[2] << 16)


def renumbered(ids: NDArray[np.int32], numbers: Mapping[int, int]) -> NDArray[np.int32]:
    """Return ids (H, W) mapped to new numbers, and to :data:`NOTHING` where an id has none."""
    known = np.array(sorted(numbers) or [NOTHING], np.int32)
    new = np.array([numbers.get(number, NOTHING) for number in known.tolist()], np.int32)
    place = np.searchsorted(known, ids).clip(max=len(known) - 1)
    return np.where(known[place] == ids, new[place], np.int32(NOTHING))


def read_tags(path: Path, *, names: Mapping[int, str] | Sequence[str]) -> Segmentation:
    """Read classes from the first channel of an image, with the names of their numbers.

    Raises:
        ImageError: If it is damaged.
    """
    return Segmentation(read_channels(path, 1)[0], names if isinstance(names, Mapping) else dict(enumerate(names)))


def read_ids_above(path: Path, nothing: int) -> NDArray[np.int32]:
    """Read the ids (H, W) of a one-channel mask; those up to ``nothing`` become :data:`NOTHING`.

    Raises:
        ImageError: If it is damaged, or has several channels.
    """
    ids = read_index_mask(path).ids
    return np.where(ids > nothing, ids, np.int32(NOTHING))


def read_bounded_depth(path: Path, *, per_metre: float) -> Depth:
    """Read 16-bit depth from the first channel of an image; 0 and the largest value, 65535, are no distance.

    Raises:
        ImageError: If it is damaged.
    """
    values = read_channels(path, 1)[0]
    known = (values > 0) & (values < 2**16 - 1)
    return Depth(np.where(known, values / per_metre, np.nan).astype(np.float32))


def read_kitti_instances(path: Path) -> Instances:
    """Read instances as KITTI stores them: the class in the upper 8 of 16 bits, the object's number or 0 in the lower.

    Raises:
        ImageError: If it is damaged, or has several channels.
    """
    ids = read_index_mask(path).ids
    return Instances(np.where(ids % 256 > 0, ids, np.int32(NOTHING)))


def read_kitti_boxes(path: Path) -> Boxes:
    """Read the boxes of a frame in the format of KITTI's ``label_2``.

    Raises:
        DatasetError: If a row is damaged, or the file cannot be read.
    """
    return Boxes(tuple(box for _, box in read_kitti_rows(path)))


def read_kitti_rows(path: Path, ahead: int = 0) -> Iterator[tuple[list[int], Box]]:
    """Read the boxes of a KITTI file, each with the numbers in the ``ahead`` columns before it.

    A box has 15 columns; results of a detector have one more, the score.

    Raises:
        DatasetError: If a row is damaged, or the file cannot be read.
    """
    for number, row in read_rows(path):
        with errors_in(path, f"line {number} is not a box"):
            label, truncated, *_ = row[ahead:]
            left, top, right, bottom, share = map(finite, (*row[ahead + 4 : ahead + 8], truncated))
            box = Box(label, left, top, right, bottom, truncated=share if 0 <= share <= 1 else None)
            numbers = [int(each) for each in row[:ahead]]
        yield numbers, box


_NO_SCALABEL: Final = "its frames are not in Scalabel's format"


def finite(number: object) -> float:
    """Return the number that a document states, as a number or as text.

    Raises:
        ValueError: If it states none, or one that is not finite.
    """
    if not math.isfinite(value := float(str(number))):
        raise ValueError(f"{number} is not a finite number")
    return value


def read_scalabel_boxes(path: Path, image: str, video: str = "") -> Boxes:
    """Read the boxes of one image from a file in Scalabel's format, which SHIFT and BDD100K use.

    Its corners are pixels inside the box.

    Args:
        path: The file: a list of frames, or an object with such a list under ``frames``.
        image: The ``name`` of the frame.
        video: The ``videoName`` of the frame, if it has one.

    Raises:
        DatasetError: If the file cannot be read, or has another format.
    """
    with errors_in(path, _NO_SCALABEL):
        labels = _scalabel_labels(path, image, video)
        return Boxes(tuple(_scalabel_box(label) for label in labels if label.get("box2d")))


def read_scalabel_instances(path: Path, image: str, video: str, size: tuple[int, int]) -> Instances:
    """Read the instances of one image of a size (W, H) from such a file, whose masks are run lengths.

    Their ids are those of the boxes; if not all have numbers, the instances are counted instead.

    Raises:
        DatasetError: If the file cannot be read, or has another format.
    """
    with errors_in(path, _NO_SCALABEL):
        labels = [label for label in _scalabel_labels(path, image, video) if label.get("rle") or label.get("poly2d")]
        if not all(label.get("rle") for label in labels):
            message = f"{path}: instances of {image} are outlines (poly2d); masks are read from run lengths (rle)"
            raise DatasetError(message)
        masks = [decode_runs(label["rle"]["counts"].encode(), size) for label in labels]
        tracks = [track for label in labels if (track := _scalabel_track(label)) is not None]
        return Instances(
            paint(zip(tracks if len(tracks) == len(masks) else range(len(masks)), masks, strict=True), size)
        )


def _scalabel_labels(path: Path, image: str, video: str) -> list[Mapping[str, Any]]:
    return [label for frame in _scalabel_frames(path).read(f"{video}/{image}") for label in frame.get("labels") or ()]


def _scalabel_box(label: Mapping[str, Any]) -> Box:
    left, top, right, bottom = (float(label["box2d"][edge]) for edge in ("x1", "y1", "x2", "y2"))
    return Box(label.get("category") or "", left, top, right + 1, bottom + 1, track=_scalabel_track(label))


def _scalabel_track(label: Mapping[str, Any]) -> int | None:
    track = str(label.get("id", ""))
    return int(track) if track.isdecimal() else None


@remembered(8)
def _scalabel_frames(path: Path) -> Places:
    """Locate the frames of a file, by the names of their video and image."""
    places, count = Places(path), 0
    for frame in read_elements(path):
        if frame.key in {"", "frames"}:
            places.add(f"{frame.value.get('videoName') or ''}/{frame.value['name']}", frame)
            count += 1
    if not count:
        raise ValueError("there are none")
    return places
