"""Folders that hold both domains: A is the simulation (or the paintings), B is real."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Final, Literal

from sim2real.datasets.base import Frame, Match, PathMatch, Side, Tree
from sim2real.datasets.labels import Label
from sim2real.errors import DatasetError

_IMAGE: Final = r"[^/]+\.(?:jpe?g|png|ppm|bmp|tiff?|webp)"


class CycleGAN:
    """CycleGAN folders: trainA, trainB and, if there are any, testA, testB.

    As junyanz/pytorch-CycleGAN-and-pix2pix lays its datasets out. A counts as the simulation, B as real.
    """

    name: ClassVar = "cyclegan"

    _FOLDER: ClassVar = r"(?P<split>train|test)(?P<domain>[AB])(?:/.*)?"

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Two of the four folders, side by side, with images."""
        found = list(tree.find(cls._FOLDER, _IMAGE))
        sides: dict[str, set[str]] = defaultdict(set)
        for image in found:
            sides[image.base].add(image["split"].lower() + image["domain"].upper())
        best = max(sides.values(), key=len, default=set())
        return Match(" and ".join(sorted(best)), len(found)) if len(best) >= 2 else None

    def frames(self, tree: Tree) -> Iterator[Frame]:
        """Every image, with its side and its split."""
        for index, image in enumerate(tree.find(self._FOLDER, _IMAGE)):
            side: Side = "sim" if image["domain"].upper() == "A" else "real"
            split: Literal["train", "test"] = "train" if image["split"].lower() == "train" else "test"
            yield _frame(image, index, side, split)

    def load_label(self, frame: Frame, kind: str) -> Label:
        """There are no labels in this layout."""
        raise _no_label(frame, kind)


class KaggleMonet:
    """Kaggle's gan-getting-started: monet_jpg and photo_jpg; the same images as TFRecords are carried unread.

    Monet's paintings are side A, as in monet2photo, and count as the simulation.
    """

    name: ClassVar = "kaggle-monet"

    _FOLDER: ClassVar = r"(?P<domain>monet|photo)_jpg"

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Both folders, with images."""
        found = list(tree.find(cls._FOLDER, _IMAGE))
        if len({image["domain"].lower() for image in found}) < 2:
            return None
        return Match("monet_jpg and photo_jpg", len(found))

    def frames(self, tree: Tree) -> Iterator[Frame]:
        """Every image, with its side."""
        for index, image in enumerate(tree.find(self._FOLDER, _IMAGE)):
            yield _frame(image, index, "sim" if image["domain"].lower() == "monet" else "real", None)

    def load_label(self, frame: Frame, kind: str) -> Label:
        """There are no labels in this layout."""
        raise _no_label(frame, kind)


def _frame(image: PathMatch, index: int, side: Side, split: Literal["train", "test"] | None) -> Frame:
    return Frame(image.path, sequence=image.path.rpartition("/")[0], index=index, side=side, split=split)


def _no_label(frame: Frame, kind: str) -> DatasetError:
    return DatasetError(f"{frame.image}: no label '{kind}'; folders of images alone have none")
