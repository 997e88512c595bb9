"""Datasets on disk: recognised by their layout, then presented as frames and as files with roles."""

import fnmatch
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sim2real.datasets.base import Adapter, Frame, Match, Role, Tree
from sim2real.datasets.contract import adapter_of
from sim2real.datasets.facts import Facts
from sim2real.datasets.findings import (
    ABOUT,
    FOLDER_NAMES,
    OLD_PICTURES,
    OLD_PIXELS,
    Unmatched,
    group_unmatched,
    incomplete,
    looks_in,
    misfits,
    other_looks,
    pointers,
    without_image,
)
from sim2real.datasets.fit import misplaced, numbered, on_stored_pixels
from sim2real.datasets.photos import NonPhotos, find_non_photos
from sim2real.datasets.unread import unread
from sim2real.errors import DatasetError, PluginError
from sim2real.imageio import OTHER_PICTURES, is_image, read_rgb
from sim2real.places import foreign, is_conversion, is_run
from sim2real.registry import BUILTIN, Entry, registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sim2real.datasets.labels import Label

__all__ = ["Adapter", "Dataset", "Frame", "Match", "Role", "Tree", "open_dataset"]


class Dataset:
    """A folder whose layout is known.

    Attributes:
        root: The folder.
        name: Registered name of its layout.
        match: The evidence for the layout.
        tree: The paths under the folder.
        adapter: The adapter of the layout.
        as_image: Globs of images to treat as camera images, whatever their names and pixels suggest.
    """

    def __init__(
        self,
        name: str,
        match: Match,
        tree: Tree,
        adapter: Adapter,
        *,
        warnings: Sequence[str] = (),
        as_image: Sequence[str] = (),
    ) -> None:
        self.root = tree.root
        self.name = name
        self.match = match
        self.tree = tree
        self.adapter = adapter
        self.as_image = tuple(as_image)
        self._early_warnings = tuple(warnings)
        self._claims: dict[str, bytearray] = {}

    def __repr__(self) -> str:
        return f"Dataset({str(self.root)!r}, {self.name!r})"

    def frames(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> Iterator[Frame]:
        """Yield the camera images with their labels.

        Listed images that are not camera images are left out, see :attr:`non_photos`, unless ``include`` selects them:
        if it matches only such images, and not every image that the layout lists, they are yielded.

        Args:
            include: Globs for the image's path from the root. If any are given, at least one must match; ``*`` also
                matches slashes: ``"*/clone/*"``.
            exclude: Globs for the same path, none of which may match.
        """
        included, excluded = _globs(include or ["*"]), _globs(exclude)
        named, all_fit, is_photo = list[Frame](), True, False
        for frame in self._listed():
            if not included.fullmatch(frame.image):
                all_fit = False
                continue
            non_photos = frame.image in self.non_photos.roles
            is_photo = is_photo or not non_photos
            if not excluded.fullmatch(frame.image):
                object.__setattr__(frame, "dataset", self)
                if non_photos:
                    named.append(frame)
                else:
                    yield frame
        if include and not is_photo and not all_fit:
            yield from named

    def _listed(self) -> Iterator[Frame]:
        """Yield all frames of the layout; where an index only counts images, non-photos are not counted."""
        left_out = Counter[str]()
        for frame in self.adapter.frames(self.tree):
            if self.adapter.counted and frame.image in self.non_photos.roles:
                left_out[frame.sequence] += 1
            less = left_out[frame.sequence]
            yield replace(frame, index=frame.index - less) if less else frame

    @cached_property
    def non_photos(self) -> NonPhotos:
        """The listed images that are not camera images, with the reasons.

        Raises:
            DatasetError: If a glob of ``as_image`` matches none of the listed images.
        """
        for glob in self.as_image:
            fits = _globs([glob]).fullmatch
            if not any(fits(frame.image) for frame in self.adapter.frames(self.tree)):
                message = f"{self.root}: --as-image \"{glob}\" matches none of the images of the layout '{self.name}'"
                raise DatasetError(f"{message}; run `sim2real inspect` to see what is there")
        stated, known = _globs(self.as_image), self.adapter.knows_images
        return find_non_photos(self.root, self.adapter.frames(self.tree), stated=stated, known=known)

    def take_roles(self, roles: Mapping[str, Role]) -> None:
        """Adopt roles that were recorded earlier, instead of detecting which images are camera images.

        Args:
            roles: Roles by path. Roles of images that are missing here are detected.
        """
        listed = [frame.image for frame in self.adapter.frames(self.tree)]
        others = {} if roles.keys() >= set(listed) else self.non_photos.roles
        declared = {path: role for path in listed if (role := roles.get(path) or others.get(path, Role.IMAGE))}
        self.non_photos = NonPhotos({path: role for path, role in declared.items() if role is not Role.IMAGE})

    @property
    def facts(self) -> Facts | None:
        """The facts of the layout's card; None for a plugin's layout without one."""
        return self.adapter.facts

    def files(self) -> Iterator[tuple[str, Role]]:
        """Yield every file under the root once, with its role, in path order."""
        return ((path, role or Role.AUX) for path, role in self._known())

    def roles(self) -> dict[str, int]:
        """Return the number of files of each role."""
        counts = {role.value: 0 for role in Role}
        for _, role in self.files():
            counts[role] += 1
        return counts

    def unmatched(self) -> list[Unmatched]:
        """Group the files of unknown purpose, which are carried unchanged, by folder and suffix, largest first."""
        unknown = (path for path, role in self._known() if role is None)
        return group_unmatched(path for path in unknown if not ABOUT.fullmatch(path.rpartition("/")[2]))

    def stale(self) -> dict[str, list[str]]:
        """Return what still describes the old appearance after a conversion -> the paths of the files concerned.

        These files are carried unchanged all the same.
        """
        rules = [(re.compile(pattern, re.IGNORECASE), what) for pattern, what in self.adapter.stale]
        found: dict[str, list[str]] = {}
        inside = self.embedded()
        for path, role in self.files():
            if path in inside:
                found.setdefault(OLD_PICTURES, []).append(path)
            elif what := next((what for pattern, what in rules if pattern.search(path)), ""):
                found.setdefault(what, []).append(path)
            elif role is Role.STALE:
                found.setdefault(OLD_PIXELS, []).append(path)
            elif role is Role.IMAGE and looks_in(path.rpartition("/")[0]):
                found.setdefault(FOLDER_NAMES, []).append(path)
        return found

    def embedded(self) -> Mapping[str, str]:
        """Return the files that embed a photo -> the path of its image, empty where that is missing."""
        return self.adapter.embedded(self.tree)

    def warnings(self) -> list[str]:
        """Return what a user should know before converting, one line each."""
        return [*self._early_warnings, *self._warnings()]

    def _warnings(self) -> Iterator[str]:
        if self.facts and self.facts.binds:
            yield self.facts.notice
        if broken := self.tree.broken:
            yield f"{len(broken)} links or special files cannot be carried over, e.g. {broken[0]}"
        if inner := self.tree.converted:
            yield (
                f"{len(inner)} converted datasets inside are left out and not carried, e.g. {inner[0]}: open that "
                "folder itself to read it"
            )
        if litter := self.tree.litter:
            yield f"{litter} files and folders that macOS has left (._name, __MACOSX) are ignored and not carried"
        for path in pointers(self.tree):
            yield f"{path} is a Git LFS pointer, not the file itself, and others may be too; fetch with: git lfs pull"
        yield from self.adapter.warnings(self.tree)
        yield from map(str, self.non_photos.findings)
        yield from self.non_photos.doubts
        yield from incomplete(self.frames, sparse=self.adapter.sparse, consecutive=self.adapter.consecutive)
        yield from self._lonely()
        if not any(frame.labels for frame in self.frames()):
            yield from unread(self.root, (path for path, role in self._known() if role is None))
        yield from other_looks(self.frames())
        if unused := [path for path, role in self.files() if role is Role.AUX and is_image(path)]:
            yield f"{len(unused)} images are not frames of this layout and are carried unchanged, e.g. {unused[0]}"
        if others := [path for path in self.tree if is_image(path, OTHER_PICTURES)]:
            yield (
                f"{len(others)} pictures have formats that are not read, and stay as they are, e.g. {others[0]}: "
                "store them as PNG or JPEG if they are photos"
            )
        yield from misfits(self.root, self.frames(), self.match.images)
        yield from misplaced(self)

    def _lonely(self) -> Iterator[str]:
        """Warn of label files without an image, where the layout does not look; JSON files may hold no labels."""
        if not self.facts or not self.facts.labels:
            return
        claimed = {path for frame in self.frames() for path in frame.labels.values()}
        labels = [path for path, role in self.files() if role is Role.LABEL and path not in claimed]
        if not claimed and (lonely := [path for path in labels if not path.endswith(".json")]):
            yield (
                f"no image has labels that are read, though there are {len(lonely)} label files, e.g. {lonely[0]}: "
                f"`sim2real datasets {self.name}` shows which labels are read, and where they belong"
            )
        elif lonely := without_image(labels, claimed):
            yield f"{len(lonely)} label files belong to no image, e.g. {lonely[0]}"

    def load_image(self, frame: Frame) -> "NDArray[np.uint8]":
        """Decode a frame's image: RGB uint8 (H, W, 3), not rotated.

        Raises:
            ImageError: If it cannot be decoded without loss.
        """
        return read_rgb(self.root / frame.image)

    def load_label(self, frame: Frame, kind: str) -> "Label":
        """Decode one label of a frame, on the pixels of the image as it is stored.

        Labels whose file declares another image size are scaled, or rotated back where EXIF explains the difference;
        boxes with edges that are not finite numbers are left out.

        Raises:
            DatasetError: If the frame has no label of that kind, the label is damaged, or it cannot be placed on the
                image.
            ImageError: If the label is a damaged image.
        """
        if kind not in frame.labels:
            raise DatasetError(f"{frame.image}: no label '{kind}'; it has {', '.join(frame.labels) or 'none'}")
        label = self.adapter.load_label(frame, kind)
        if declared := self.adapter.declared_size(frame, kind):
            label = on_stored_pixels(label, declared, self.root / frame.image)
        return numbered(label)

    def _known(self) -> Iterator[tuple[str, Role | None]]:
        """Yield every file with its role, in path order; None for files of unknown purpose."""
        claims, roles, other = self._claimed(), list(Role), self.adapter.role
        non_photos = self.non_photos.roles
        for folder, place, name in self.tree.places():
            claim, path = claims[folder][place], folder + name
            yield path, roles[claim - 1] if claim else non_photos.get(path) or other(path)

    def _claimed(self) -> dict[str, bytearray]:
        """Return a byte per entry of each folder: 0 if no frame claims it, else 1 + the position of its role."""
        if not self._claims:
            claims = self.tree.flags()
            image, label = (1 + list(Role).index(role) for role in (Role.IMAGE, Role.LABEL))
            for frame in self.adapter.frames(self.tree):
                own = () if frame.image in self.non_photos.roles else ((frame.image, image),)
                for path, claim in [*((path, label) for path in frame.labels.values()), *own]:
                    folder, place = self._place(path)
                    claims[folder][place] = max(claim, claims[folder][place], key=(0, label, image).index)
            self._claims = claims
        return self._claims

    def _place(self, path: str) -> tuple[str, int]:
        if (place := self.tree.place(path)) is None:
            raise PluginError(f"the dataset layout '{self.name}' lists {path}, which is not under {self.root}")
        return place


def open_dataset(path: str | Path, name: str | None = None, as_image: Sequence[str] = ()) -> Dataset:
    """Open a folder as a dataset.

    Args:
        path: The folder.
        name: Registered name of its layout. If None, the layout is recognised: installed plugins are tried first, then
            the layouts that ship with sim2real. If several recognise the folder, the first one is chosen, unless
            another one finds at least twice as many labelled images, so that a stray label file does not decide.
        as_image: Globs of images to treat as camera images, whatever their names and pixels suggest.

    Raises:
        DatasetError: If the folder is missing, or no image is found in it (with the named layout).
        UnknownNameError: If no layout is registered under that name.
        PluginError: If the named layout cannot be imported.
    """
    root = Path(path)
    if is_run(root) and not is_conversion(root):
        raise DatasetError(f"{root}: a run of sim2real train, not a dataset; give the folder of the images instead")
    dataset = _recognise(root, as_image) if name is None else _named(root, name, as_image)
    if missing := next(filter(is_image, pointers(dataset.tree)), None):
        raise DatasetError(f"{root / missing}: a Git LFS pointer in place of the image; fetch the files: git lfs pull")
    return dataset


def _recognise(root: Path, as_image: Sequence[str]) -> Dataset:
    tree, warnings = Tree(root), list[str]()
    *builtin, last_resort = (entry for entry in registry().entries("datasets") if entry.owner == BUILTIN)
    plugins = [entry for entry in registry().entries("datasets") if entry.owner != BUILTIN]
    for entries in (plugins, builtin, [last_resort]):
        found = [(entry, *known) for entry in entries if (known := _recognised(entry, tree, warnings))]
        if not found:
            continue
        weights = [_weight(adapter(root), match, tree) if len(found) > 1 else 1 for _, adapter, match in found]
        chosen = next(place for place, weight in enumerate(weights) if 2 * weight > max(weights))
        entry, adapter, match = found.pop(chosen)
        warnings += [
            f"the layout '{other.name}' fits, too, with {seen.images} images, but this is read as '{entry.name}': "
            f"choose it with --dataset {other.name}, or move the files of the other dataset out"
            for other, _, seen in found
        ]
        return Dataset(entry.name, match, tree, adapter(root), warnings=warnings, as_image=as_image)
    hint = foreign(root, tree) or "name the folder that holds the dataset"
    raise DatasetError(f"{root}: no image found; {hint}", topic="one-side-is-empty")


def _weight(adapter: Adapter, match: Match, tree: Tree) -> int:
    """Return how many labelled images a layout finds; if there are none, how many images."""
    return sum(1 for frame in adapter.frames(tree) if frame.labels) or match.images


def _recognised(entry: Entry, tree: Tree, warnings: list[str]) -> tuple[type[Adapter], Match] | None:
    """Return the adapter if it recognises the tree; a plugin's adapter that fails is skipped with a warning."""
    try:
        adapter = adapter_of(entry)
        match = adapter.recognise(tree)
    except Exception as error:
        if entry.owner == BUILTIN:
            raise
        warnings.append(f"dataset '{entry.name}' of plugin '{entry.owner}' was left out: {error}")
        return None
    return (adapter, match) if match else None


def _named(root: Path, name: str, as_image: Sequence[str]) -> Dataset:
    adapter_class = adapter_of(registry().entry("datasets", name))
    tree = Tree(root)
    adapter = adapter_class(root)
    match = adapter_class.recognise(tree)
    if next(adapter.frames(tree), None) is None:
        message = f"{root}: no frame in the layout of '{name}' ({registry().entry('datasets', name).summary})"
        raise DatasetError(f"{message}; omit --dataset to have the layout recognised")
    images = match.images if match else sum(1 for _ in adapter.frames(tree))
    return Dataset(name, match or Match("named by the user", images), tree, adapter, as_image=as_image)


def _globs(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(fnmatch.translate, patterns)) or r"(?!)")
