"""Which image a file means that names images: labelling tools write the names of what was uploaded to them."""

import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final
from weakref import WeakKeyDictionary

from sim2real.datasets.base import Adapter, Frame, Match, Tree
from sim2real.datasets.readers import read_head
from sim2real.imageio import is_image

_MOST: Final = 64  # files in a folder: one that has more has a file for each image
_Listed = tuple[list[str], Mapping[str, tuple[str, str]]]
_LISTED: Final[WeakKeyDictionary[Tree, dict[type, _Listed]]] = WeakKeyDictionary()


class NamingFiles(Adapter):
    """Layouts of which a file names the images that it has the labels of, and lies anywhere among them.

    Attributes:
        noun: What such files are called.
        suffix: How their names end.
        own: What fits the beginning of each.
    """

    rule: ClassVar[str]
    counted: ClassVar[bool] = True
    noun: ClassVar[str]
    suffix: ClassVar[str]
    own: ClassVar[re.Pattern[bytes]]

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._claims: Mapping[str, tuple[str, str]] = {}

    @classmethod
    @abstractmethod
    def names(cls, path: Path) -> Iterable[str]:
        """The images that a file names."""

    def kinds(self, path: Path) -> Sequence[str]:  # noqa: ARG002  most files have the same
        """The kinds of labels that a file has."""
        return ("boxes",)

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """A file of the format, and images that it names."""
        images = len(cls._listed(tree)[1])
        return Match(cls.rule, images) if images else None

    def frames(self, tree: Tree) -> Iterator[Frame]:
        """Every image that a file names."""
        _, self._claims = self._listed(tree)
        for index, (image, (path, _)) in enumerate(self._claims.items()):
            labels = dict.fromkeys(self.kinds(self.root / path), path)
            yield Frame(image, sequence=image.rpartition("/")[0], index=index, labels=labels)

    def warnings(self, tree: Tree) -> Iterator[str]:
        """Images that are told of and not there."""
        if missing := self._listed(tree)[0]:
            yield f"{len(missing)} images that {self.noun} name are not there, e.g. {missing[0]}"

    @classmethod
    def _listed(cls, tree: Tree) -> _Listed:
        """The names of images that are not there; of the others file and name, by path."""
        known = _LISTED.setdefault(tree, {})
        if cls not in known:
            missing: list[str] = []
            claims: dict[str, tuple[str, str]] = {}
            for file in cls._files(tree):
                for name, image in find_images(tree, file, cls.names(tree.root / file)):
                    if image:
                        claims.setdefault(image, (file, name))
                    else:
                        missing.append(name)
            known[cls] = missing, dict(sorted(claims.items()))
        return known[cls]

    @classmethod
    def _files(cls, tree: Tree) -> Iterator[str]:
        for folder in ("", *tree.folders):
            names = [name for name in tree.names(folder) if name.lower().endswith(cls.suffix)]
            for name in names if len(names) <= _MOST else ():
                path = f"{folder}/{name}" if folder else name
                if cls.own.match(read_head(tree.root / path)):
                    yield path


def find_images(tree: Tree, file: str, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The images that a file names: below its folder, or below ``images`` in it, or else the only one of that name.

    Args:
        tree: The dataset.
        file: The file that names them.
        names: The names, with folders or without, with slashes of any system.

    Yields:
        Name and path, which is empty where none, or no single one, is meant.
    """
    folder = file.rpartition("/")[0]
    bases = [f"{folder}/" if folder else "", f"{tree.folder(f'{folder}/images'.strip('/'))}/"]
    by_name: dict[str, list[str]] = {}
    for name in names:
        path = "/".join(part for part in name.replace("\\", "/").split("/") if part not in {"", ".", ".."})
        found = next((base + path for base in bases if tree.has(base + path)), "")
        if not found:
            if not by_name:
                for each in filter(is_image, tree):
                    by_name.setdefault(each.rpartition("/")[2].lower(), []).append(each)
            same = by_name.get(path.rpartition("/")[2].lower(), [])
            ends = [each for each in same if f"/{each}".lower().endswith(f"/{path}".lower())] or same
            found = ends[0] if len(ends) == 1 else ""
        yield name, found if is_image(found) else ""
