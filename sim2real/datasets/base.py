"""The interface between a layout on disk and everything else: the tree of paths, the frame, the adapter.

Paths inside a dataset are strings relative to its root, with forward slashes. Listing uses paths alone.
"""

import os
import re
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from sim2real.errors import DatasetError
from sim2real.imageio import is_image
from sim2real.places import STATE_FOLDER as _STATE_FOLDER
from sim2real.places import is_conversion, not_a_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sim2real.datasets import Dataset
    from sim2real.datasets.facts import Facts
    from sim2real.datasets.labels import Label
    from sim2real.datasets.resizing import Intrinsics, Resizing, Size

Side = Literal["sim", "real"]
STATE_FOLDER = _STATE_FOLDER
_LITTER_FILE = re.compile(r"\._.+")
_LITTER_FOLDER = "__MACOSX"


class Role(StrEnum):
    """The role of a file in a conversion: only an IMAGE is translated, all others are carried byte for byte."""

    IMAGE = "IMAGE"
    LABEL = "LABEL"
    AUX = "AUX"
    PSEUDO = "PSEUDO"
    STALE = "STALE"


@dataclass(frozen=True, slots=True)
class Frame:
    """One camera image with its labels.

    Attributes:
        image: Path of the image.
        sequence: The sequence that the frame belongs to, e.g. ``"Scene01/clone/Camera_0"``; empty for loose images.
        index: Position in the sequence.
        labels: Kind of label (``"segmentation"``, ``"depth"``, ``"boxes"``, ...) -> path; empty paths are left out.
        side: ``"sim"`` or ``"real"`` where one folder holds both domains, else None.
        split: ``"train"`` or ``"test"`` where the layout defines it, else None.
        dataset: The open dataset that the frame belongs to, which sets it.
    """

    image: str
    sequence: str = ""
    index: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    side: Side | None = None
    split: Literal["train", "test"] | None = None
    dataset: "Dataset | None" = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not all(self.labels.values()):
            object.__setattr__(self, "labels", {kind: path for kind, path in self.labels.items() if path})

    @property
    def path(self) -> Path:
        """The path of the image, under the root of the open dataset if there is one."""
        return (self.dataset.root if self.dataset else Path()) / self.image

    def load_image(self) -> "NDArray[np.uint8]":
        """Decode the image: RGB uint8 (H, W, 3), as stored, without the rotation that the file may ask for.

        Raises:
            ImageError: If it cannot be decoded without loss.
        """
        return self._dataset().load_image(self)

    def load_label(self, kind: str) -> "Label":
        """Decode one label.

        Raises:
            DatasetError: If the frame has no label of that kind.
        """
        return self._dataset().load_label(self, kind)

    def _dataset(self) -> "Dataset":
        if self.dataset is None:
            message = f"{self.image}: this frame belongs to no open dataset; get frames from sim2real.open_dataset(...)"
            raise DatasetError(message)
        return self.dataset


class Labels(Mapping[str, "Label"]):
    """The labels of a frame by kind, each decoded on first access."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._read: dict[str, Label] = {}

    def __getitem__(self, kind: str) -> "Label":
        if kind not in self._frame.labels:
            raise KeyError(kind)
        if kind not in self._read:
            self._read[kind] = self._frame.load_label(kind)
        return self._read[kind]

    def __contains__(self, kind: object) -> bool:
        return kind in self._frame.labels

    def __iter__(self) -> Iterator[str]:
        return iter(self._frame.labels)

    def __len__(self) -> int:
        return len(self._frame.labels)


@dataclass(frozen=True, slots=True)
class Match:
    """The evidence for a layout: the rule that was met, and the number of images that it covers."""

    rule: str
    images: int


class PathMatch:
    """A path of a tree that matches a pattern, with the pattern's named groups as items.

    Attributes:
        path: The path.
        base: The part of the path before the match: empty or with a trailing slash.
        above: The part of the match that lies above the root: empty or with a trailing slash.
        groups: The underlying matches.
    """

    __slots__ = ("above", "base", "groups", "path")

    def __init__(self, path: str, *groups: re.Match[str], base: str = "", above: str = "") -> None:
        self.path = path
        self.base = base
        self.above = above
        self.groups = groups

    def __getitem__(self, group: str) -> str:
        for match in self.groups:
            if group in match.re.groupindex:
                return match[group] or ""
        raise KeyError(group)

    def beside(self, place: str) -> str:
        """Return the path from the root of a place given relative to the base; ``{group}`` stands for its match.

        If the match begins above the root, that part is left out: next to ``rgb`` in a root called ``town1``, which
        ``(?P<town>[^/]+)/rgb`` matches, ``{town}/depth`` is ``depth``.
        """
        path = f"{place.format_map(self)}/"
        if path.lower().startswith(self.above.lower()):
            path = path[len(self.above) :]
        return (self.base + path).rstrip("/")


class Tree:
    """The paths under a folder, sorted, from one walk that reads names only.

    Links to folders are followed unless they form a cycle. Patterns are regular expressions, matched without regard to
    case. The walk leaves out the tool's own ``.sim2real``, converted datasets that lie among other images, and the
    ``._name`` and ``__MACOSX`` entries that macOS leaves on foreign disks and in archives: these are named like images
    and labels, but are neither.

    Attributes:
        root: The folder.
        converted: Folders that are left out because a conversion made them and there are other images too.
        litter: The number of these macOS files and folders.
        broken: Paths that cannot be carried: broken links, links back to a parent folder, sockets and the like.
    """

    def __init__(self, root: Path) -> None:
        if message := not_a_folder(root):
            raise DatasetError(message)
        self.root = root
        self.converted: list[str] = []
        self.litter = 0
        self.broken: list[str] = []
        self._folders: dict[str, list[str]] = {}  # "a/b/" -> sorted entries, folders with a slash
        try:
            self._walk()
        except OSError as error:
            raise DatasetError(f"{error.filename}: cannot be listed: {error.strerror}") from error
        self._above = root.resolve().as_posix().rstrip("/") + "/"

    def _walk(self) -> None:
        pending: list[tuple[str, tuple[str, ...]]] = [("", ())]
        while pending:
            folder, came_from = pending.pop()
            names = self._folders[folder] = []
            with os.scandir(self.root / folder) as entries:
                for entry in entries:
                    path = folder + entry.name
                    if entry.is_dir():
                        around = came_from
                        if entry.is_symlink():
                            around = (*came_from, os.path.realpath(self.root / folder))
                            if _leads_back(os.path.realpath(entry.path), around):
                                self.broken.append(path)
                                continue
                        if not self._passes_over(folder, entry.name):
                            names.append(f"{entry.name}/")
                            pending.append((f"{path}/", around))
                    elif _LITTER_FILE.fullmatch(entry.name):
                        self.litter += 1
                    elif entry.is_file():
                        names.append(entry.name)
                    else:
                        self.broken.append(path)
            names.sort()
        if self.converted:
            self._leave_out_converted()
        self._folders = dict(sorted(self._folders.items()))
        self._in_any_case = {folder.lower(): folder.rstrip("/") for folder in reversed(self._folders)}
        self.broken.sort()

    def _passes_over(self, folder: str, name: str) -> bool:
        self.litter += name == _LITTER_FOLDER
        if folder and name == STATE_FOLDER and is_conversion(self.root / folder):
            self.converted.append(folder)
        return name in (_LITTER_FOLDER, STATE_FOLDER)

    def _leave_out_converted(self) -> None:
        """Drop conversions inside the dataset, unless all of its images belong to them."""
        inner, self.converted = tuple(sorted(self.converted)), []
        own = {folder: names for folder, names in self._folders.items() if not folder.startswith(inner)}
        if any(is_image(name) for names in own.values() for name in names):
            self.converted = [folder.rstrip("/") for folder in inner]
            self.broken = [path for path in self.broken if not path.startswith(inner)]
            self._folders = {
                folder: [name for name in names if folder + name not in inner] for folder, names in own.items()
            }

    def __iter__(self) -> Iterator[str]:
        """Yield every file, in path order."""
        return (folder + name for folder, _, name in self.places())

    def __len__(self) -> int:
        return sum(1 for names in self._folders.values() for name in names if not name.endswith("/"))

    @property
    def folders(self) -> list[str]:
        """Every folder except the root, without a trailing slash, parents before children."""
        return [folder.rstrip("/") for folder in self._folders if folder]

    def folder(self, path: str) -> str:
        """Return the folder that a path names, spelled as on disk; the path itself if there is no such folder."""
        return path if f"{path}/" in self._folders else self._in_any_case.get(f"{path}/".lower(), path)

    def names(self, folder: str) -> list[str]:
        """Return the names of the files directly in a folder, in order; an empty list if there is no such folder."""
        entries = self._folders.get(f"{folder}/" if folder else "", [])
        return [name for name in entries if not name.endswith("/")]

    def paths(self, folder: str) -> list[str]:
        """Return the paths of the files directly in a folder, in order."""
        prefix = f"{folder}/" if folder else ""
        return [prefix + name for name in self.names(folder)]

    def has(self, path: str) -> bool:
        """Return whether exactly this file exists."""
        return self.place(path) is not None

    def at(self, path: str) -> str:
        """Return the path if the file exists, else an empty string, which a frame's labels leave out."""
        return path if self.has(path) else ""

    def places(self) -> Iterator[tuple[str, int, str]]:
        """Yield the folder, the position among its entries, and the name of every file, in path order."""
        pending = [("", iter(enumerate(self._folders[""])))]
        while pending:
            folder, entries = pending[-1]
            for place, name in entries:
                if name.endswith("/"):
                    inner = folder + name
                    pending.append((inner, iter(enumerate(self._folders[inner]))))
                    break
                yield folder, place, name
            else:
                pending.pop()

    def place(self, path: str) -> tuple[str, int] | None:
        """Return the folder of a file and its position among the entries; None if there is no such file."""
        folder, slash, name = path.rpartition("/")
        entries = self._folders.get(folder + slash, [])
        place = bisect_left(entries, name)
        return (folder + slash, place) if place < len(entries) and entries[place] == name else None

    def flags(self) -> dict[str, bytearray]:
        """Return a zero byte for each entry of each folder, at the positions that :meth:`place` returns."""
        return {folder: bytearray(len(names)) for folder, names in self._folders.items()}

    def match(self, pattern: str) -> Iterator[PathMatch]:
        """Yield the files whose whole path matches a pattern, in order."""
        fits = re.compile(pattern, re.IGNORECASE).fullmatch
        for path in self:
            if groups := fits(path):
                yield PathMatch(path, groups)

    def any(self, pattern: str) -> bool:
        """Return whether the whole path of any file matches a pattern."""
        return next(self.match(pattern), None) is not None

    def count(self, pattern: str) -> int:
        """Return the number of files whose whole path matches a pattern."""
        return sum(1 for _ in self.match(pattern))

    def by_frame(self, folder: str, name: str) -> dict[str, str]:
        """Return the paths of the files in a folder whose names match a pattern, by the pattern's group ``frame``.

        Where one folder holds the images of several cameras, the pattern has a group ``camera`` too, and the keys are
        ``camera/frame``, with the camera in lower case.
        """
        return dict(self.numbered(folder, name))

    def numbered(self, folder: str, name: str) -> Iterator[tuple[str, str]]:
        """Yield the pairs of :meth:`by_frame`, one per file: a number may have several, ``7.jpg`` and ``7.png``."""
        fits = re.compile(name, re.IGNORECASE)
        several = "camera" in fits.groupindex
        prefix = f"{folder}/" if folder else ""
        for entry in self.names(folder):
            if groups := fits.fullmatch(entry):
                yield (f"{groups['camera'].lower()}/" if several else "") + groups["frame"], prefix + entry

    def find_folders(self, pattern: str) -> Iterator[PathMatch]:
        r"""Yield the folders whose path *ends* in a pattern, in order, including the root, whose path is empty.

        The match may begin above the root, so that a part of a dataset is recognised by its location:
        ``r"scene\d+/rgb"`` finds ``"a/scene1/rgb"``, and also ``"rgb"`` in a root called ``scene1``.
        """
        fits = re.compile(rf"(?P<_base>(?:.*/)?)(?:{pattern})/", re.IGNORECASE).fullmatch
        above = len(self._above)
        for folder in self._folders:
            if groups := fits(self._above + folder):
                start = groups.end("_base")
                base = folder[: max(0, start - above)]
                yield PathMatch(folder.rstrip("/"), groups, base=base, above=self._above[start:])

    def find(self, folder: str, name: str) -> Iterator[PathMatch]:
        """Yield the files whose name matches a pattern, in the folders that :meth:`find_folders` yields."""
        fits = re.compile(name, re.IGNORECASE).fullmatch
        for found in self.find_folders(folder):
            prefix = f"{found.path}/" if found.path else ""
            for entry in self._folders[prefix]:
                if groups := fits(entry):
                    yield PathMatch(prefix + entry, groups, *found.groups, base=found.base, above=found.above)


def nearest(candidates: Iterable[PathMatch], path: str) -> PathMatch | None:
    """Return the candidate that shares the most leading folders with a path; None if there are no candidates.

    Where a tree holds several copies of a dataset, this limits each frame to the labels of its own copy.
    """
    parts = path.split("/")
    return max(candidates, key=lambda candidate: shared_start(candidate.path.split("/"), parts), default=None)


def shared_start(one: Iterable[str], other: Iterable[str]) -> int:
    """Return how many items at the beginning of two sequences are equal."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _leads_back(target: str, around: tuple[str, ...]) -> bool:
    return any(f"{folder}/".startswith(f"{target.rstrip('/')}/") for folder in around)


class Adapter(ABC):
    """A layout on disk: the grammar of its paths, and how its labels are decoded.

    A layout defines :attr:`name`, :meth:`recognise`, :meth:`frames` and :meth:`load_label`; everything else has a
    default. A class that defines these and inherits from nothing works as well: it gets the defaults when it is loaded.
    With :class:`sim2real.datasets.layout.FolderLayout`, most of a layout is a table.

    Attributes:
        root: The folder.
        name: Registered name.
        facts: The contents of the dataset's card; None if it has none.
        stale: Patterns that are searched in paths, without regard to case, each with a description of what still shows
            the old appearance in such a file or in its name.
        consecutive: Whether the indices of a sequence count the frames of a video.
        counted: Whether the indices only count the images in their order.
        ordered: Whether the frames of a sequence follow each other in time. If not, as they may be randomised, their
            light is averaged over neighbours only if a sample of them looks like a video.
        knows_images: Whether the layout itself defines which images are camera images, so that grey images and images
            of few colours count too, see :mod:`sim2real.datasets.photos`.
        sparse: Kinds of labels that only some images of a sequence have by design.
        resizing: How files change if the dataset is resized, see :mod:`sim2real.datasets.resizing`.
        intrinsics: Intrinsics that no file states, see :data:`sim2real.datasets.resizing.Intrinsics`.
    """

    name: ClassVar[str]
    facts: ClassVar["Facts | None"] = None
    stale: ClassVar[Sequence[tuple[str, str]]] = ()
    consecutive: ClassVar[bool] = False
    counted: ClassVar[bool] = False
    ordered: ClassVar[bool] = True
    knows_images: ClassVar[bool] = False
    sparse: ClassVar[Collection[str]] = ()
    resizing: ClassVar["Resizing"] = ()
    intrinsics: ClassVar["Intrinsics"] = {}

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    @abstractmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Return the match if two independent facts show the layout, else None."""

    @abstractmethod
    def frames(self, tree: Tree) -> Iterator[Frame]:
        """Yield every camera image with its labels, in path order."""

    @abstractmethod
    def load_label(self, frame: Frame, kind: str) -> "Label":
        """Decode one label of a frame.

        Raises:
            DatasetError: If the frame has no label of that kind.
        """

    def role(self, path: str) -> Role | None:  # noqa: ARG002  for layouts that override it
        """Return the role of a file that no frame claims; None if its purpose is unknown: it counts as AUX."""
        return None

    def warnings(self, tree: Tree) -> Iterator[str]:  # noqa: ARG002  see role
        """Yield what a user should know before converting, one line each."""
        yield from ()

    def declared_size(self, frame: Frame, kind: str) -> "Size | None":  # noqa: ARG002  see role
        """Return the image size (W, H) that a label file declares, to which its pixel coordinates refer.

        None if it declares none.

        Raises:
            DatasetError: If the file is damaged.
        """
        return None

    def embedded(self, tree: Tree) -> Mapping[str, str]:  # noqa: ARG002  see role
        """Return the files that embed a photo -> the path of its image, empty where that is missing."""
        return {}

    def embed(self, data: bytes, picture: bytes | None) -> bytes:
        """Return the bytes of such a file with another picture in it, or none, and no other change.

        Raises:
            ValueError: If the file is damaged; the message says how.
        """
        raise NotImplementedError
