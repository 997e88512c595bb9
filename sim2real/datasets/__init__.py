"""Datasets on disk: recognised by their layout, and seen by everything else as frames and files with roles."""

import fnmatch
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from sim2real.datasets.base import Adapter, Frame, Match, Role, Tree
from sim2real.errors import DatasetError, ImageError, PluginError
from sim2real.imageio import is_image, read_header, read_rgb
from sim2real.registry import BUILTIN, Entry, registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sim2real.datasets.labels import Label

__all__ = ["Adapter", "Dataset", "Frame", "Match", "Role", "Tree", "open_dataset"]

_LOOKED_AT = 64
_ARCHIVES = (".tar", ".gz", ".tgz", ".zip", ".7z", ".bz2", ".xz")


class Dataset:
    """A folder whose layout is known.

    Attributes:
        root: The folder.
        name: Registered name of its layout.
        match: Why the layout was recognised.
        tree: The paths under it.
        adapter: What knows the layout.
    """

    def __init__(self, name: str, match: Match, tree: Tree, adapter: Adapter, remarks: Sequence[str] = ()) -> None:
        self.root = tree.root
        self.name = name
        self.match = match
        self.tree = tree
        self.adapter = adapter
        self._remarks = tuple(remarks)
        self._claims: dict[str, bytearray] = {}

    def __repr__(self) -> str:
        return f"Dataset({str(self.root)!r}, {self.name!r})"

    def frames(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> Iterator[Frame]:
        """The camera images with their labels.

        Args:
            include: Globs on the image's path from the root, of which one must fit, if there are any; ``*`` also stands
                for slashes: ``"*/clone/*"``.
            exclude: Globs of which none may fit.
        """
        included, excluded = _globs(include or ["*"]), _globs(exclude)
        for frame in self.adapter.frames(self.tree):
            if included.fullmatch(frame.image) and not excluded.fullmatch(frame.image):
                object.__setattr__(frame, "dataset", self)
                yield frame

    def files(self) -> Iterator[tuple[str, Role]]:
        """Every file under the root once, with its role, in the order of the paths."""
        claims, roles, other = self._claimed(), list(Role), getattr(self.adapter, "role", lambda _: None)
        for path in self.tree:
            folder, place = self._place(path)
            claim = claims[folder][place]
            yield path, roles[claim - 1] if claim else other(path) or Role.AUX

    def roles(self) -> dict[str, int]:
        """How many files have each role."""
        counts = {role.value: 0 for role in Role}
        for _, role in self.files():
            counts[role] += 1
        return counts

    def warnings(self) -> list[str]:
        """What a user should know before converting, a line each."""
        broken = self.tree.broken
        lines = [f"{len(broken)} links or special files cannot be carried over, e.g. {broken[0]}"] if broken else []
        if hasattr(self.adapter, "warnings"):
            lines.extend(self.adapter.warnings(self.tree))
        unused = [path for path, role in self.files() if role is Role.AUX and is_image(path)]
        if unused:
            lines.append(
                f"{len(unused)} images are not frames of this layout and are carried unchanged, e.g. {unused[0]}"
            )
        return [*self._remarks, *lines, *self._misfits()]

    def load_image(self, frame: Frame) -> "NDArray[np.uint8]":
        """Decode a frame's image: RGB uint8 (H, W, 3), not rotated.

        Raises:
            ImageError: It cannot be decoded without loss.
        """
        return read_rgb(self.root / frame.image)

    def load_label(self, frame: Frame, kind: str) -> "Label":
        """Decode one label of a frame.

        Raises:
            DatasetError: The frame has no label of that kind.
            ImageError: The label is a damaged image.
        """
        if kind not in frame.labels:
            message = f"{frame.image}: no label '{kind}'; it has {', '.join(frame.labels) or 'none'}"
            raise DatasetError(message)
        return self.adapter.load_label(frame, kind)

    def _misfits(self) -> Iterator[str]:
        """Label images of another size than their image, judged by the headers of some frames."""
        frames = islice(self.frames(), 0, None, max(1, self.roles()["IMAGE"] // _LOOKED_AT))
        for frame in frames:
            for path in filter(is_image, frame.labels.values()):
                try:
                    image, label = (read_header(self.root / each) for each in (frame.image, path))
                except ImageError:  # whoever decodes it will say so
                    continue
                if (image.width, image.height) != (label.width, label.height):
                    sizes = f"{label.width}x{label.height}, {frame.image} {image.width}x{image.height}"
                    yield f"labels do not fit their images: {path} is {sizes}"
                    return

    def _claimed(self) -> dict[str, bytearray]:
        """For each folder a byte per entry: 0, or 1 + the place of the role that a frame gives it."""
        if not self._claims:
            claims = self.tree.flags()
            image, label = (1 + list(Role).index(role) for role in (Role.IMAGE, Role.LABEL))
            for frame in self.adapter.frames(self.tree):
                for path, claim in [*((path, label) for path in frame.labels.values()), (frame.image, image)]:
                    folder, place = self._place(path)
                    claims[folder][place] = max(claim, claims[folder][place], key=(0, label, image).index)
            self._claims = claims
        return self._claims

    def _place(self, path: str) -> tuple[str, int]:
        if (place := self.tree.place(path)) is None:
            message = f"the dataset layout '{self.name}' lists {path}, which is not under {self.root}"
            raise PluginError(message)
        return place


def open_dataset(path: str | Path, name: str | None = None) -> Dataset:
    """Open a folder as a dataset.

    Args:
        path: The folder.
        name: Registered name of its layout; found out by its rule if None: installed plugins are asked first, then
            what ships with sim2real, and the first that recognises the folder takes it.

    Raises:
        DatasetError: The folder is missing, or no image is found in it (with the named layout).
        UnknownNameError: No layout is registered under that name.
        PluginError: The named layout cannot be imported.
    """
    root = Path(path)
    if name is not None:
        return _named(root, name)
    entries = registry().entries("datasets")
    tree, remarks = Tree(root), list[str]()
    for entry in sorted(entries, key=lambda entry: entry.owner == BUILTIN):
        if (found := _recognised(entry, tree, remarks)) is not None:
            adapter, match = found
            return Dataset(entry.name, match, tree, adapter(root), remarks)
    packed = [path for path in tree if path.lower().endswith(_ARCHIVES)]
    hint = f"unpack {packed[0]} first" if packed else "name the folder that holds the dataset"
    message = f"{root}: no image found; {hint}"
    raise DatasetError(message)


def _recognised(entry: Entry, tree: Tree, remarks: list[str]) -> tuple[type[Adapter], Match] | None:
    """The adapter if it recognises the tree; a plugin's that fails is left out with a remark."""
    try:
        adapter = entry.load()
        match = adapter.recognise(tree)
    except Exception as error:
        if entry.owner == BUILTIN:
            raise
        remarks.append(f"dataset '{entry.name}' of plugin '{entry.owner}' was left out: {error}")
        return None
    return (adapter, match) if match else None


def _named(root: Path, name: str) -> Dataset:
    adapter_class = registry().load("datasets", name)
    tree = Tree(root)
    adapter = adapter_class(root)
    match = adapter_class.recognise(tree)
    if next(adapter.frames(tree), None) is None:
        message = f"{root}: no frame in the layout of '{name}' ({registry().entry('datasets', name).summary})"
        raise DatasetError(f"{message}; leave --dataset out to have the layout recognised")
    images = match.images if match else sum(1 for _ in adapter.frames(tree))
    return Dataset(name, match or Match("named by the user", images), tree, adapter)


def _globs(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(fnmatch.translate, patterns)) or r"(?!)")
