"""Adapters as tables: folders of numbered images, and labels with the same numbers in other folders."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from sim2real.datasets.base import Adapter, Frame, Match, PathMatch, Role, Tree, nearest
from sim2real.datasets.facts import Facts
from sim2real.datasets.labels import Label

Beside = Mapping[str, tuple[str, str]]
"""Kind of label -> the folder of its files, relative to the base of the images' folder, and their names."""

Decoders = Mapping[str, Callable[[Path], Label]]
"""Kind of label -> the function that reads one of its files."""


class FolderLayout(Adapter):
    r"""The base of layouts whose images and labels lie in separate folders; each layout is a table.

    Patterns are regular expressions, matched without regard to case; the dataset may lie at any depth.

    Attributes:
        name: Registered name.
        facts: The contents of the dataset's card.
        rule: What :meth:`recognise` looks for, in words.
        images: Pattern for the end of the path of a folder of images, and pattern for the names in it, with a group
            ``frame``: ``(r"(?P<route>[^/]+)/rgb", r"(?P<frame>\d{4})\.jpg")``. If one folder holds the images of
            several cameras, the names have a group ``camera`` as well, and so have the names of the labels.
        evidence: Folder and names, as in ``images``; each row must match at least one file.
        labels: Kind of label -> the folder, relative to the base of the images' folder, in which ``{route}`` stands for
            the match of the group of that name, and the names in it, with a group ``frame`` equal to the image's.
        apart: Kind of label, folder and names, of labels that lie anywhere, e.g. in archives unpacked into separate
            folders. The folder's pattern is like that in ``images``, and its groups must equal those of the images'
            folder. Of several such folders the nearest counts, of several rows of a kind the first with the frame.
            A file whose name has no group ``frame`` belongs to all images of a folder; its groups must be equal too.
        decoders: Kind of label -> the function that reads one of its files.
        roles: Pattern that is searched in the paths of files that no frame claims -> their role; the first counts.
        stale: Pattern that is searched in paths -> what still shows the old appearance in these files or their names.
        resizing: How files that are not translated change if the dataset is resized, see
            :mod:`sim2real.datasets.resizing`.
        intrinsics: Intrinsics of cameras that no file states, see :data:`sim2real.datasets.resizing.Intrinsics`.
        consecutive: Whether the numbers in a folder count the frames of a video, so that gaps are reported.
        sparse: Kinds of labels that only some images of a folder have by design, so that missing ones are not reported.
    """

    facts: ClassVar[Facts]
    rule: ClassVar[str]
    images: ClassVar[tuple[str, str]]
    evidence: ClassVar[Sequence[tuple[str, str]]] = ()
    labels: ClassVar[Beside] = {}
    apart: ClassVar[Sequence[tuple[str, str, str]]] = ()
    decoders: ClassVar[Decoders] = {}
    roles: ClassVar[Sequence[tuple[str, Role]]] = ()
    knows_images: ClassVar[bool] = True

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._roles = [(re.compile(pattern, re.IGNORECASE), role) for pattern, role in self.roles]

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Return the match if there are images and all of the evidence, else None."""
        images = sum(1 for _ in tree.find(*cls.images))
        if not images or any(next(tree.find(*row), None) is None for row in cls.evidence):
            return None
        return Match(cls.rule, images)

    def frames(self, tree: Tree) -> Iterator[Frame]:
        """Yield every image with the labels of its number."""
        apart = [(kind, _Apart(tree, place, names)) for kind, place, names in self.apart]
        for folder in self.image_folders(tree):
            images = list(tree.numbered(folder.path, self.images[1]))
            labels = {kind: dict(paths) for kind, paths in self.labels_of(tree, folder).items()}
            for kind, files in apart:
                if self.labelled(folder, kind):
                    labels[kind] = {**files.by_frame(folder, dict(images)), **labels.get(kind, {})}
            for number, image in images:
                camera, _, frame = number.rpartition("/")
                yield Frame(
                    image,
                    sequence=self.sequence_of(folder, camera),
                    index=int(re.sub(r"\D", "", frame) or 0),
                    labels={kind: paths.get(number, "") for kind, paths in labels.items()},
                )

    def image_folders(self, tree: Tree) -> Iterable[PathMatch]:
        """Return the folders of images, in order."""
        return tree.find_folders(self.images[0])

    def labelled(self, folder: PathMatch, kind: str) -> bool:  # noqa: ARG002  for layouts that override it
        """Return whether labels in ``apart`` can belong to a folder of images, e.g. only to that of one camera."""
        return True

    def sequence_of(self, folder: PathMatch, camera: str) -> str:
        """Return the sequence of the images of a folder: its path, and the camera if it holds those of several."""
        return f"{folder.path}/{camera}".strip("/")

    def labels_of(self, tree: Tree, folder: PathMatch) -> Mapping[str, Mapping[str, str]]:
        """Return, for each kind of label of a folder of images, the paths by the number of the frame."""
        return {
            kind: tree.by_frame(tree.folder(folder.beside(place)), names)
            for kind, (place, names) in self.labels.items()
        }

    def role(self, path: str) -> Role | None:
        """Return the role of the first matching pattern, so that labels of missing images are still labels."""
        return next((role for pattern, role in self._roles if pattern.search(path)), None)

    def load_label(self, frame: Frame, kind: str) -> Label:
        """Decode one label."""
        return self.decoders[kind](self.root / frame.labels[kind])


class _Apart:
    """Labels of a kind anywhere in a tree, by the matches of the groups of their patterns."""

    def __init__(self, tree: Tree, folder: str, names: str) -> None:
        self._tree = tree
        self._names = names
        in_names = re.compile(names).groupindex
        self._shared = "frame" not in in_names
        self._groups = (*re.compile(folder).groupindex, *(in_names if self._shared else ()))
        self._found: dict[tuple[str, ...], list[PathMatch]] = defaultdict(list)
        for found in tree.find(folder, names) if self._shared else tree.find_folders(folder):
            self._found[self._key(found)].append(found)

    def by_frame(self, folder: PathMatch, frames: Iterable[str]) -> dict[str, str]:
        """Return the files nearest to a folder of images, by frame."""
        found = nearest(self._found.get(self._key(folder), ()), folder.path)
        if found is None:
            return {}
        return dict.fromkeys(frames, found.path) if self._shared else self._tree.by_frame(found.path, self._names)

    def _key(self, path: PathMatch) -> tuple[str, ...]:
        return tuple(path[group].lower() for group in self._groups)
