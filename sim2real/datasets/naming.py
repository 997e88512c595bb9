"""Find the images that label files name: labelling tools write the names of the uploaded images."""

import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final

from sim2real.datasets.base import Adapter, Frame, Match, Tree
from sim2real.datasets.readers import per_tree, read_head
from sim2real.imageio import is_image

_MOST: Final = 64  # files in a folder: more are probably one for each image


class NamingFiles(Adapter):
    """The base of layouts whose label files name their images, and may lie anywhere among them.

    Attributes:
        noun: What these files are called in messages.
        suffix: The suffix of their names.
        own: A pattern that matches the beginning of each file.
    """

    rule: ClassVar[str]
    counted: ClassVar[bool] = True
    ordered: ClassVar[bool] = False
    noun: ClassVar[str]
    suffix: ClassVar[str]
    own: ClassVar[re.Pattern[bytes]]

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._claims: Mapping[str, tuple[str, str]] = {}

    @classmethod
    @abstractmethod
    def names(cls, path: Path) -> Iterable[str]:
        """Return the names of the images in a file."""

    def kinds(self, path: Path) -> Sequence[str]:  # noqa: ARG002  most files have the same
        """Return the kinds of labels in a file."""
        return ("boxes",)

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Return the match if there are files of the format and images that they name, else None."""
        images = len(_listed(tree, cls)[1])
        return Match(cls.rule, images) if images else None

    def frames(self, tree: Tree) -> Iterator[Frame]:
        """Yield every image that a file names."""
        _, self._claims = _listed(tree, type(self))
        for index, (image, (path, _)) in enumerate(self._claims.items()):
            labels = dict.fromkeys(self.kinds(self.root / path), path)
            yield Frame(image, sequence=image.rpartition("/")[0], index=index, labels=labels)

    def warnings(self, tree: Tree) -> Iterator[str]:
        """Warn of images that files name and that are missing."""
        if missing := _listed(tree, type(self))[0]:
            yield f"{len(missing)} images that {self.noun} name are not there, e.g. {missing[0]}"


@per_tree
def _listed(tree: Tree, layout: type[NamingFiles]) -> tuple[list[str], Mapping[str, tuple[str, str]]]:
    """Return the names of missing images, and the file and the name of every other image by its path."""
    missing: list[str] = []
    claims: dict[str, tuple[str, str]] = {}
    for file in _files(tree, layout):
        for name, image in find_images(tree, file, layout.names(tree.root / file)):
            if image:
                claims.setdefault(image, (file, name))
            else:
                missing.append(name)
    return missing, dict(sorted(claims.items()))


def _files(tree: Tree, layout: type[NamingFiles]) -> Iterator[str]:
    for folder in ("", *tree.folders):
        paths = [path for path in tree.paths(folder) if path.lower().endswith(layout.suffix)]
        if len(paths) <= _MOST:
            yield from (path for path in paths if layout.own.match(read_head(tree.root / path)))


def find_images(tree: Tree, file: str, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Find the images that a file names: below its folder, or below ``images`` there, or else by a unique name.

    Args:
        tree: The tree of the dataset.
        file: The file that names the images.
        names: The names, with or without folders, and with slashes or backslashes.

    Yields:
        The name and the path of each image; the path is empty if none fits, or several do.
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
