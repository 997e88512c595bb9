"""CreateML, as Roboflow exports it: a JSON file with the boxes of the images beside it.

Fields: Apple, Create ML, "Building an object detector data source", where boxes are told by their middle; Roboflow
calls the file ``_annotations.createml.json``.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from sim2real.datasets.base import Frame, Role
from sim2real.datasets.facts import Facts
from sim2real.datasets.labels import Box, Boxes, Label
from sim2real.datasets.naming import NamingFiles
from sim2real.datasets.readers import finite, read_json, remembered, telling
from sim2real.datasets.resizing import Resizing
from sim2real.datasets.resizing_shapes import CREATEML

_OWN: Final = re.compile(
    rb'(?:\xef\xbb\xbf)?\s*\[\s*\{(?=.*"image(?:filename)?"\s*:\s*")(?=.*"annotations?"\s*:\s*\[)(?=.*"coordinates"\s*:)',
    re.DOTALL,
)
_FORM: Final = "it is not built as CreateML's files are"


class CreateMl(NamingFiles):
    """CreateML: train/_annotations.createml.json with train/0001.jpg."""

    name: ClassVar[str] = "createml"
    rule: ClassVar[str] = "a JSON file of CreateML, and the images that it names"
    noun: ClassVar[str] = "JSON files of CreateML"
    suffix: ClassVar[str] = ".json"
    own: ClassVar[re.Pattern[bytes]] = _OWN
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

    @classmethod
    def names(cls, path: Path) -> Iterable[str]:
        """The images that a file names."""
        return _entries(path)

    def role(self, path: str) -> Role | None:
        """Files of the format are labels."""
        return Role.LABEL if path.lower().endswith(".createml.json") else None

    def load_label(self, frame: Frame, kind: str) -> Label:  # noqa: ARG002  there is one kind
        """Decode the boxes of an image."""
        file, name = self._claims[frame.image]
        path = self.root / file
        with telling(path, f"the boxes of {name} are damaged"):
            return Boxes(tuple(map(_box, _entries(path)[name])))


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
