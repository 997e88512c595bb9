"""Resizing of a dataset: which files change with the size of the images, by which rule, and from which size.

The table of the adapter decides, see :mod:`sim2real.datasets.resizing`. Files without a rule are refused by name before
anything is written. A label has the size of the images of the frames that refer to it. A file that no frame refers to
describes the images in the smallest enclosing folder that has any; if some of these, or their folders, are named like
the file (``calib/000000.txt`` and ``image_2/000000.png``), it describes only those.
"""

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from sim2real.datasets.base import Role
from sim2real.datasets.fit import why_unresizable
from sim2real.datasets.resizing import (
    KEEP,
    NEAREST,
    PHOTO,
    Resizing,
    Rule,
    Scale,
    Size,
    along_x,
    along_y,
    centre_x,
    centre_y,
)
from sim2real.errors import ImageError
from sim2real.imageio import is_image, read_header

if TYPE_CHECKING:
    from pathlib import Path

    from sim2real.datasets import Dataset

_ABOUT_ALL: Final = (
    (r"(?:^|/)(?:readme|licen[cs]e|copying|notice|citation|changelog)[^/]*$|\.(?:md|rst|pdf|html)$", KEEP),
)
_NEAREST_KINDS: Final = frozenset({"segmentation", "instance", "depth", "distance"})
_DAMAGE: Final = (ArithmeticError, ValueError, EOFError, ImageError)
_ODD: Final = (AttributeError, LookupError, RecursionError, TypeError)  # for example lists in place of objects
_Sizes = dict[Size | None, str]  # a size, None if it cannot be read -> an image that has it


class DamageError(Exception):
    """Raised if a file cannot be resized."""


class UnknownError(Exception):
    """Raised if it is not known how a file changes with the size."""


@dataclass(frozen=True, slots=True)
class Resize:
    """How one file is resized: the rule, and the scale of the images that it describes."""

    rule: Rule
    scale: Scale

    def __call__(self, data: bytes) -> bytes:
        """Return the bytes of the file at the new size.

        Raises:
            DamageError: If the file does not fit the rule.
        """
        try:
            return self.rule.update(data, self.scale)
        except KeyError as error:
            raise DamageError(f"it has no {error}") from error
        except _ODD as error:
            raise DamageError(f"it does not have the expected structure ({error})") from error
        except _DAMAGE as error:
            raise DamageError(str(error)) from error

    @property
    def source(self) -> str:
        """The size of those images, as in the manifest."""
        width, height = self.scale.source
        return f"{width}x{height}" if width else "several sizes"

    @property
    def growth(self) -> float:
        """The number of new pixels per old pixel."""
        return float(self.scale.x * self.scale.y) if self.scale.source[0] else 1.0


def size_of(image: "Path") -> Size | None:
    """Return the size (W, H) in the header of an image file; None if it cannot be read."""
    try:
        header = read_header(image)
    except ImageError:
        return None
    return header.width, header.height


class Resizer:
    """A mapping from the files of a dataset to how they are resized.

    Args:
        dataset: The dataset.
        target: The new size (W, H) of its images.
    """

    def __init__(self, dataset: "Dataset", target: Size) -> None:
        self._target = target
        table: Resizing = (*dataset.adapter.resizing, *_ABOUT_ALL)
        self._table = [(re.compile(pattern, re.IGNORECASE), rule) for pattern, rule in table]
        self._sizes: dict[str, Size | None] = {}  # by image; None if it cannot be read
        self._kinds: dict[str, set[str]] = defaultdict(set)  # by label file
        self._claims: dict[str, _Sizes] = defaultdict(dict)  # label file -> the sizes of its images
        self._unfit: dict[str, str] = {}  # label file that does not match the pixels of its image -> why
        for frame in dataset.frames():
            image = dataset.root / frame.image
            size = self._sizes[frame.image] = size_of(image)
            if size and frame.labels and (reason := why_unresizable(dataset.adapter, frame, image, size)):
                self._unfit |= dict.fromkeys(frame.labels.values(), reason)
            for kind, path in frame.labels.items():
                self._kinds[path].add(kind)
                self._claims[path].setdefault(size, frame.image)
        self._folders: dict[str, _Sizes] = {}

    def __call__(self, path: str, role: Role) -> Resize | None:
        """Return how a file is resized; None if it is carried unchanged.

        Raises:
            UnknownError: If that is not known.
        """
        if path in self._sizes:
            size = self._sizes[path]
            return self._resize(PHOTO, size) if size else None  # errors are reported when it is decoded
        if (rule := self._rule(path, role)) is KEEP:
            return None
        if reason := self._unfit.get(path):
            raise UnknownError(reason)
        found = self._claims.get(path) or self._about(path)
        sizes = [size for size in found if size]
        if not sizes:
            raise UnknownError(f"the size of {found[None]} cannot be read" if found else "no image is near it")
        if len(sizes) == 1:
            return self._resize(rule, sizes[0])
        if rule.mixed:
            return self._resize(rule, (0, 0))
        text = ", ".join(f"{found[size]} is {size[0]}x{size[1]}" for size in sizes[:2])
        raise UnknownError(f"its images have several sizes ({text})")

    def _resize(self, rule: Rule, size: Size) -> Resize | None:
        return None if size == self._target else Resize(rule, Scale(size, self._target))

    def _rule(self, path: str, role: Role) -> Rule:
        for pattern, rule in self._table:
            if pattern.search(path):
                return rule
        if is_image(path) and path in self._kinds and self._kinds[path] <= _NEAREST_KINDS:
            return NEAREST
        if role is Role.STALE:  # describes only the old pixels, whatever the size
            return KEEP
        raise UnknownError("it is not known what in it depends on the size")

    def _about(self, path: str) -> _Sizes:
        """Return the sizes of the images that a file describes to which no frame refers."""
        folder = path
        while folder:
            folder = folder.rstrip("/").rpartition("/")[0]
            folder += "/" * bool(folder)
            if sizes := self._in(folder):
                stem = path.rpartition("/")[2].partition(".")[0]
                named = [image for image in self._by_name.get(stem, ()) if image.startswith(folder)]
                return self._sizes_of(named) or sizes
        return {}

    def _in(self, folder: str) -> _Sizes:
        """Return the sizes of the images in or below a folder."""
        if folder not in self._folders:
            begin, end = bisect_left(self._paths, folder), bisect_left(self._paths, folder + chr(0x10FFFF))
            self._folders[folder] = self._sizes_of(self._paths[begin:end])
        return self._folders[folder]

    def _sizes_of(self, images: Iterable[str]) -> _Sizes:
        return {self._sizes[image]: image for image in images}

    @cached_property
    def _paths(self) -> list[str]:
        """All images, sorted."""
        return sorted(self._sizes)

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """The images by their own names, whole and up to the first ``_``, and by the names of their folders."""
        named: dict[str, list[str]] = defaultdict(list)
        for image in self._paths:
            *folders, name = image.split("/")
            stem = name.partition(".")[0]
            for each in {*folders, stem, stem.partition("_")[0]}:  # 000000_10.png belongs to 000000
                named[each].append(image)
        return dict(named)


def intrinsics_warnings(scales: Iterable[Scale], dataset: "Dataset") -> Iterator[str]:
    """Yield messages with the camera intrinsics at the new size, for datasets that store them in no file."""
    known = dataset.adapter.intrinsics
    for scale in sorted(set(scales), key=lambda scale: scale.source):
        if found := known.get(scale.source):
            changes = zip(("fx", "fy", "cx", "cy"), (along_x, along_y, centre_x, centre_y), found, strict=True)
            text = ", ".join(f"{name} {change(value, scale):.10g}" for name, change, value in changes)
            yield (
                f"the intrinsics of images of {scale.source[0]}x{scale.source[1]} are stored in no file; at "
                f"{scale.target[0]}x{scale.target[1]} they are {text}"
            )
