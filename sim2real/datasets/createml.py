"""CreateML, as exported by Roboflow: a JSON file with the boxes of the images next to it.

Fields: Apple, Create ML, "Building an object detector data source", which defines boxes by their centre. Roboflow names
the file ``_annotations.createml.json``.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from sim2real.datasets.base import Frame, Role
from sim2real.datasets.facts import Facts
from sim2real.datasets.labels import Box, Boxes, Label
from sim2real.datasets.naming import NamingFiles
from sim2real.datasets.readers import errors_in, finite, read_json, remembered
from sim2real.datasets.resizing import Resizing
from sim2real.datasets.resizing_shapes import CREATEML

_OWN: Final = re.compile(
    rb'(?:\xef\xbb\xbf)?\s*\[\s*\{(?=.*"image(?:filename)?"\s*:\s*")(?=.*"annotations?"\s*:\s*\[)(?=.*"coordinates"\s*:)',
    re.DOTALL,
)
_FORM: Final = "it is not in CreateML's format"


class CreateMl(NamingFiles):
    """CreateML: train/_annotations.createml.json with train/0001.jpg."""

    name: ClassVar[str] = "createml"
    rule: ClassVar[str] = "a JSON file of CreateML and the images that it names"
    noun: ClassVar[str] = "JSON files of CreateML"
    suffix: ClassVar[str] = ".json"
    own: ClassVar[re.Pattern[bytes]] = _OWN
    resizing: ClassVar[Resizing] = ((r"\.json$", CREATEML),)
    facts: ClassVar[Facts] = Facts(
        title="CreateML",
        about="Apple's format of boxes for Create ML, also exported by Roboflow, RectLabel and others.",
        size="Any.",
        get="An export as *CreateML* from your labelling tool.",
        tree="train/_annotations.createml.json\ntrain/0001.jpg\n{valid,test}/...",
        labels={"boxes": "pixels; given by centre, width and height"},
        licence="your own",
        irregularities=("JSON files do not state image sizes: for `--resize`, all images of a file need one size.",),
    )

    @classmethod
    def names(cls, path: Path) -> Iterable[str]:
        """Return the names of the images in a file."""
        return _entries(path)

    def role(self, path: str) -> Role | None:
        """Return LABEL for files of the format."""
        return Role.LABEL if path.lower().endswith(".createml.json") else None

    def load_label(self, frame: Frame, kind: str) -> Label:  # noqa: ARG002  there is only one kind
        """Decode the boxes of an image."""
        file, name = self._claims[frame.image]
        path = self.root / file
        with errors_in(path, f"the boxes of {name} are damaged"):
            return Boxes(tuple(map(_box, _entries(path)[name])))


@remembered(8)
def _entries(path: Path) -> Mapping[str, list[dict[str, Any]]]:
    """Return the annotations by image name."""
    content = read_json(path)
    with errors_in(path, _FORM):
        return {
            str(entry.get("image") or entry["imagefilename"]): list(
                entry.get("annotations") or entry.get("annotation") or ()
            )
            for entry in content
        }


def _box(entry: Mapping[str, Any]) -> Box:
    x, y, width, height = (finite(entry["coordinates"][name]) for name in ("x", "y", "width", "height"))
    return Box(str(entry["label"]), x - width / 2, y - height / 2, x + width / 2, y + height / 2)
