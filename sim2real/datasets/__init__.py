"""Datasets on disk: recognised by their layout, and seen by everything else as frames and files with roles."""

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
        match: Why the layout was recognised.
        tree: The paths under it.
        adapter: What knows the layout.
        as_image: Globs of images that are a camera's, whatever their names and pixels tell.
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
        """The camera images with their labels.

        Images that the layout lists and that are no camera's are left out, see :attr:`non_photos`, unless ``include``
        names them: if it fits such images alone, and not all that there are, it means those.

        Args:
            include: Globs on the image's path from the root, of which one must fit, if there are any; ``*`` also stands
                for slashes: ``"*/clone/*"``.
            exclude: Globs of which none may fit.
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
        """All that the layout lists; where that only counts the images, what is set aside is not counted."""
        left_out = Counter[str]()
        for frame in self.adapter.frames(self.tree):
            if self.adapter.counted and frame.image in self.non_photos.roles:
                left_out[frame.sequence] += 1
            less = left_out[frame.sequence]
            yield replace(frame, index=frame.index - less) if less else frame

    @cached_property
    def non_photos(self) -> NonPhotos:
        """The images that the layout lists and that are no camera's, and why.

        Raises:
            DatasetError: A glob of ``as_image`` fits none of them.
        """
        for glob in self.as_image:
            fits = _globs([glob]).fullmatch
            if not any(fits(frame.image) for frame in self.adapter.frames(self.tree)):
                message = (
                    f"{self.root}: --as-image \"{glob}\" fits none of the images that the layout '{self.name}' lists"
                )
                raise DatasetError(f"{message}; `sim2real inspect` shows what is there")
        stated, known = _globs(self.as_image), self.adapter.knows_images
        return find_non_photos(self.root, self.adapter.frames(self.tree), stated=stated, known=known)

    def take_roles(self, roles: Mapping[str, Role]) -> None:
        """Take what was recorded earlier for what is a camera image and what is none.

        Args:
            roles: By path; those of images that are not in it are found out.
        """
        listed = [frame.image for frame in self.adapter.frames(self.tree)]
        others = {} if roles.keys() >= set(listed) else self.non_photos.roles
        declared = {path: role for path in listed if (role := roles.get(path) or others.get(path, Role.IMAGE))}
        self.non_photos = NonPhotos({path: role for path, role in declared.items() if role is not Role.IMAGE})

    @property
    def facts(self) -> Facts | None:
        """What its card tells of the layout; None of a plugin's that has none."""
        return self.adapter.facts

    def files(self) -> Iterator[tuple[str, Role]]:
        """Every file under the root once, with its role, in the order of the paths."""
        return ((path, role or Role.AUX) for path, role in self._known())

    def roles(self) -> dict[str, int]:
        """How many files have each role."""
        counts = {role.value: 0 for role in Role}
        for _, role in self.files():
            counts[role] += 1
        return counts

    def unmatched(self) -> list[Unmatched]:
        """The files that nobody knows, which are carried unchanged, by folder and suffix, the largest groups first."""
        unknown = (path for path, role in self._known() if role is None)
        return group_unmatched(path for path in unknown if not ABOUT.fullmatch(path.rpartition("/")[2]))

    def stale(self) -> dict[str, list[str]]:
        """What tells the old looks, and so is no longer true after a conversion -> the files, or their names, that do.

        Such files are carried unchanged all the same.
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
        """The files that hold the bytes of a photo -> its image, empty where that is not there."""
        return self.adapter.embedded(self.tree)

    def warnings(self) -> list[str]:
        """What a user should know before converting, a line each."""
        return [*self._early_warnings, *self._warnings()]

    def _warnings(self) -> Iterator[str]:
        if self.facts and self.facts.binds:
            yield self.facts.notice
        if broken := self.tree.broken:
            yield f"{len(broken)} links or special files cannot be carried over, e.g. {broken[0]}"
        if inner := self.tree.converted:
            yield (
                f"{len(inner)} converted datasets inside are left out and not carried, e.g. {inner[0]}: name that "
                "folder itself to read it"
            )
        if litter := self.tree.litter:
            yield f"{litter} files and folders that macOS has left (._name, __MACOSX) are passed over and not carried"
        for path in pointers(self.tree):
            yield f"{path} is a Git LFS pointer, not the file itself, and others may be; fetch them: git lfs pull"
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
                f"{len(others)} pictures are of kinds that are not read, and stay as they are, e.g. {others[0]}: store "
                "them as PNG or JPEG if they are photos"
            )
        yield from misfits(self.root, self.frames(), self.match.images)
        yield from misplaced(self)

    def _lonely(self) -> Iterator[str]:
        """Labels of which no image has any: they lie where the layout does not look; JSON files may well hold none."""
        if not self.facts or not self.facts.labels:
            return
        claimed = {path for frame in self.frames() for path in frame.labels.values()}
        labels = [path for path, role in self.files() if role is Role.LABEL and path not in claimed]
        if not claimed and (lonely := [path for path in labels if not path.endswith(".json")]):
            yield (
                f"no image has labels that are read, though {len(lonely)} files of labels are there, e.g. {lonely[0]}: "
                f"`sim2real datasets {self.name}` shows which are, and where they belong"
            )
        elif lonely := without_image(labels, claimed):
            yield f"{len(lonely)} label files belong to no image, e.g. {lonely[0]}"

    def load_image(self, frame: Frame) -> "NDArray[np.uint8]":
        """Decode a frame's image: RGB uint8 (H, W, 3), not rotated.

        Raises:
            ImageError: It cannot be decoded without loss.
        """
        return read_rgb(self.root / frame.image)

    def load_label(self, frame: Frame, kind: str) -> "Label":
        """Decode one label of a frame, on the pixels of the image as it is stored.

        Labels whose file tells another size of the image are scaled, or turned back where EXIF explains it; boxes
        with edges that are no numbers are left out.

        Raises:
            DatasetError: The frame has no label of that kind, it is damaged, or where it lies is not known.
            ImageError: The label is a damaged image.
        """
        if kind not in frame.labels:
            message = f"{frame.image}: no label '{kind}'; it has {', '.join(frame.labels) or 'none'}"
            raise DatasetError(message)
        label = self.adapter.load_label(frame, kind)
        if declared := self.adapter.declared_size(frame, kind):
            label = on_stored_pixels(label, declared, self.root / frame.image)
        return numbered(label)

    def _known(self) -> Iterator[tuple[str, Role | None]]:
        """Every file with its role, in the order of the paths; None for what nobody knows."""
        claims, roles, other = self._claimed(), list(Role), self.adapter.role
        non_photos = self.non_photos.roles
        for folder, place, name in self.tree.places():
            claim, path = claims[folder][place], folder + name
            yield path, roles[claim - 1] if claim else non_photos.get(path) or other(path)

    def _claimed(self) -> dict[str, bytearray]:
        """For each folder a byte per entry: 0, or 1 + the place of the role that a frame gives it."""
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
            message = f"the dataset layout '{self.name}' lists {path}, which is not under {self.root}"
            raise PluginError(message)
        return place


def open_dataset(path: str | Path, name: str | None = None, as_image: Sequence[str] = ()) -> Dataset:
    """Open a folder as a dataset.

    Args:
        path: The folder.
        name: Registered name of its layout; found out by its rule if None: installed plugins are asked first, then
            what ships with sim2real. Of several that recognise the folder the first takes it, unless another one knows
            twice as many images with labels there: a stray file of labels gives no dataset away.
        as_image: Globs of images that are a camera's, whatever their names and pixels tell.

    Raises:
        DatasetError: The folder is missing, or no image is found in it (with the named layout).
        UnknownNameError: No layout is registered under that name.
        PluginError: The named layout cannot be imported.
    """
    root = Path(path)
    if is_run(root) and not is_conversion(root):
        raise DatasetError(f"{root}: a run of sim2real train, not a dataset; name the folder of the images here")
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
            f"the layout '{other.name}' fits, too, with {seen.images} images, and this is read as '{entry.name}': "
            f"--dataset {other.name} chooses it, or move what belongs to another dataset out"
            for other, _, seen in found
        ]
        return Dataset(entry.name, match, tree, adapter(root), warnings=warnings, as_image=as_image)
    hint = foreign(root, tree) or "name the folder that holds the dataset"
    raise DatasetError(f"{root}: no image found; {hint}")


def _weight(adapter: Adapter, match: Match, tree: Tree) -> int:
    """How many images with labels a layout knows; of one that has none, how many images."""
    return sum(1 for frame in adapter.frames(tree) if frame.labels) or match.images


def _recognised(entry: Entry, tree: Tree, warnings: list[str]) -> tuple[type[Adapter], Match] | None:
    """The adapter if it recognises the tree; a plugin's that fails is left out with a remark."""
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
        raise DatasetError(f"{message}; leave --dataset out to have the layout recognised")
    images = match.images if match else sum(1 for _ in adapter.frames(tree))
    return Dataset(name, match or Match("named by the user", images), tree, adapter, as_image=as_image)


def _globs(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(fnmatch.translate, patterns)) or r"(?!)")
