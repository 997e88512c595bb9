"""Any folder of images, as the last resort: what is no photo is told by its header and its colours, and carried."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from sim2real.datasets.base import Frame, Match, Tree
from sim2real.datasets.labels import Label
from sim2real.errors import DatasetError


class Images:
    """Any folder of images: each is a frame without labels, and everything else is carried."""

    name: ClassVar = "images"

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """One image file is enough."""
        images = sum(1 for path in tree if is_image(path))
        return Match("a folder with images", images) if images else None

    def frames(self, tree: Tree) -> Iterator[Frame]:
        """Every image."""
        for index, path in enumerate(path for path in tree if is_image(path)):
            yield Frame(path, sequence=path.rpartition("/")[0], index=index)

    def load_label(self, frame: Frame, kind: str) -> Label:
        """There are no labels in this layout."""
        message = f"{frame.image}: no label '{kind}'; folders of images alone have none"
        raise DatasetError(message)
