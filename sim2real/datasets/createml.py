"""CreateML, as Roboflow exports it: a JSON file with the boxes of the images beside it.

Fields: Apple, Create ML, "Building an object detector data source", where boxes are told by their middle; Roboflow
calls the file ``_annotations.createml.json``.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final
from weakref import WeakKeyDictionary

from sim2real.datasets.base import Frame, Match, Role, Tree
from sim2real.datasets.facts import Facts
from sim2real.datasets.labels import Box, Boxes, Label
from sim2real.datasets.naming import find_images
from sim2real.datasets.readers import finite, read_head, read_json, remembered, telling
from sim2real.datasets.resizing import Resizing
from sim2real.datasets.resizing_shapes import CREATEML

_OWN: Final = re.compile(
    rb'(?:\xef\xbb\xbf)?\s*\[\s*\{(?=.*"image(?:filename)?"\s*:\s*")(?=.*"annotations?"\s*:\s*\[)(?=.*"coordinates"\s*:)',
    re.DOTALL,
)
_MOST: Final = 64
_FORM: Final = "it is not built as CreateML's files are"


class CreateMl:
    """CreateML: train/_annotations.createml.json with train/0001.jpg."""

    name: ClassVar[str] = "createml"
    rule: ClassVar[str] = "a JSON file of CreateML, and the images that it names"
    counted: ClassVar[bool] = True
    resizing: ClassVar[Resizing] = ((r"\.json$", CREATEML),)
    facts: ClassVar[Facts] = Facts(
        title="CreateML",
        about="Apple's format of boxes for Create ML, which Roboflow, RectLabel and others export.",
        size="Any.",
        get="As *CreateML* from the tool in which your data was labelled.",
        tree="train/_annotations.createml.json\ntrain/0001.jpg\n{valid,test}/...",
        labels={"boxes": "pixels; told by their middle, width and height"},
        licence="that of your own data",
        irregularities=("`--resize` needs images of one size for each JSON file, which does not tell their sizes.",),
    )

    def __init__(self, root: Path) -> None:
        self.root = root
        self._claims: Mapping[str, tuple[str, str]] = {}

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """A JSON file of the format, and images that it names."""
        images = len(_listed(tree)[1])
        return Match(cls.rule, images) if images else None

    def frames(self, tree: Tree) -> Iterator[Frame]:
        """Every image that a file names."""
        _, self._claims = _listed(tree)
        for index, (image, (path, _)) in enumerate(self._claims.items()):
            yield Frame(image, sequence=image.rpartition("/")[0], index=index, labels={"boxes": path})

    def role(self, path: str) -> Role | None:
        """Files of the format are labels."""
        return Role.LABEL if path.lower().endswith(".createml.json") else None

    def warnings(self, tree: Tree) -> Iterator[str]:
        """Images that are told of and not there."""
        if missing := _listed(tree)[0]:
            yield f"{len(missing)} images that JSON files of CreateML name are not there, e.g. {missing[0]}"

    def load_label(self, frame: Frame, kind: str) -> Label:  # noqa: ARG002  there is one kind
        """Decode the boxes of an image."""
        file, name = self._claims[frame.image]
        path = self.root / file
        with telling(path, f"the boxes of {name} are damaged"):
            return Boxes(tuple(map(_box, _entries(path)[name])))


_Listed = tuple[list[str], Mapping[str, tuple[str, str]]]
_LISTED: Final[WeakKeyDictionary[Tree, _Listed]] = WeakKeyDictionary()


def _listed(tree: Tree) -> _Listed:
    """The names of images that are not there; of the others file and name, by path."""
    if tree not in _LISTED:
        missing: list[str] = []
        claims: dict[str, tuple[str, str]] = {}
        for file in _files(tree):
            for name, image in find_images(tree, file, _entries(tree.root / file)):
                if image:
                    claims.setdefault(image, (file, name))
                else:
                    missing.append(name)
        _LISTED[tree] = missing, dict(sorted(claims.items()))
    return _LISTED[tree]


def _files(tree: Tree) -> Iterator[str]:
    for folder in ("", *tree.folders):
        names = [name for name in tree.names(folder) if name.lower().endswith(".json")]
        for name in names if len(names) <= _MOST else ():
            path = f"{folder}/{name}" if folder else name
            if _OWN.match(read_head(tree.root / path)):
                yield path


@remembered(8)
def _entries(path: Path) -> Mapping[str, list[dict[str, Any]]]:
    """The annotations by the names of the images."""
    content = read_json(path)
    with telling(path, _FORM):
        return {
            str(entry.get("image") or entry["imagefilename"]): list(
                entry.get("annotations") or entry.get("annotation") or ()
            )
            for entry in content
        }


def _box(entry: Mapping[str, Any]) -> Box:
    x, y, width, height = (finite(str(entry["coordinates"][name])) for name in ("x", "y", "width", "height"))
    return Box(str(entry["label"]), x - width / 2, y - height / 2, x + width / 2, y + height / 2)
