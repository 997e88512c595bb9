"""The laws of layouts, as plugins' authors check them: those that ship keep them, and what does not is told why."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim2real.datasets.base import Adapter, Frame, Match, Tree
from sim2real.datasets.labels import Depth, Instances, Label, read_index_mask
from sim2real.datasets.resizing import NEAREST
from sim2real.imageio import encode_png, read_rgb
from sim2real.registry import registry
from sim2real.testing import check_layout


def test_every_layout_that_ships_keeps_them(layout: tuple[str, Path]) -> None:
    name, root = layout
    if name == "images":  # the last resort
        with pytest.raises(AssertionError, match="recognises any folder that has images of these names"):
            check_layout(registry().load("datasets", name), root)
    else:
        check_layout(registry().load("datasets", name), root)


class Acme(Adapter):
    """Fits; the faulty ones below are like it but for one thing."""

    name = "acme"
    resizing = ((r"masks/", NEAREST),)

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        if tree.has("calib.json") and (images := tree.count(r"cam/\d\.png")):
            return Match("calib.json and cam/", images)
        return None

    def frames(self, tree: Tree) -> Iterator[Frame]:
        for image in tree.match(r"cam/(?P<number>\d)\.png"):
            yield Frame(image.path, labels={"segmentation": tree.at(f"masks/{image['number']}.png")})

    def load_label(self, frame: Frame, kind: str) -> Label:
        return read_index_mask(self.root / frame.labels[kind])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0)
    for number in range(3):
        for place, picture in (
            ("cam", noise.integers(0, 255, (24, 32, 3)).astype(np.uint8)),
            ("masks", np.full((24, 32), number, np.uint8)),
        ):
            (tmp_path / "acme" / place).mkdir(parents=True, exist_ok=True)
            (tmp_path / "acme" / place / f"{number}.png").write_bytes(encode_png(picture))
    (tmp_path / "acme/calib.json").write_text("{}")
    return tmp_path / "acme"


class OneFact(Acme):
    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        return Match("numbers", tree.count(r"(.*/)?\d\.png") // 2 or 1) if tree.any(r"(.*/)?\d\.png") else None


class Counting(Acme):
    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        return Match("calib.json", 7) if tree.has("calib.json") else None


class Hoping(Acme):
    def frames(self, tree: Tree) -> Iterator[Frame]:
        for image in tree.match(r"cam/\d\.png"):
            yield Frame(image.path, labels={"depth": image.path.replace("cam", "depth")})


class Twice(Acme):
    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        return Match("calib.json", 6) if tree.has("calib.json") else None

    def frames(self, tree: Tree) -> Iterator[Frame]:
        for frame in super().frames(tree):
            yield from (frame, frame)


class Reading(Acme):
    def frames(self, tree: Tree) -> Iterator[Frame]:
        for frame in super().frames(tree):
            read_rgb(self.root / frame.image)
            yield frame


class Both(Acme):
    def frames(self, tree: Tree) -> Iterator[Frame]:
        for frame in super().frames(tree):
            yield Frame(frame.image, labels={"depth": frame.image})


class Small(Acme):
    def load_label(self, *_: Any) -> Label:
        return Instances(np.zeros((12, 16), np.int32))


class Other(Acme):
    def load_label(self, *_: Any) -> Label:
        return Depth(np.zeros((24, 32), np.float32))


class Failing(Acme):
    def load_label(self, *_: Any) -> Label:
        raise KeyError("kind")


class Mistaken(Acme):
    stales = ()


class Unruly(Acme):
    resizing = ((r"masks/", "nearest"),)  # type: ignore[assignment]  # what people write


class Unbalanced(Acme):
    stale = ((r"masks(", "old"),)


class Wordy(Acme):
    def warnings(self, *_: Any) -> Iterator[str]:
        yield "a\nb"


class Casting(Acme):
    def role(self, *_: Any) -> Any:
        return "LABEL"


def test_a_layout_that_fits(folder: Path) -> None:
    check_layout(Acme, folder)


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        (OneFact, "recognises any folder that has images of these names; require a second fact"),
        (Counting, "recognise counts 7 images, frames lists 3"),
        (Hoping, r"the label 'depth' of a frame, depth/0\.png, does not exist; use tree\.at"),
        (Twice, r"lists cam/0\.png twice"),
        (Reading, r"opens .*cam/0\.png to list the frames"),
        (Both, r"cam/0\.png is the image of a frame and a label of one"),
        (Small, "label 'segmentation' is a Instances, not a Segmentation"),
        (Other, "label 'segmentation' is a Depth, not a Segmentation"),
        (Failing, r"load_label fails on 'segmentation' of cam/0\.png: KeyError"),
        (Mistaken, "Mistaken has 'stales'; did you mean 'stale'"),
        (Unruly, "resizing: 'nearest' is not a sim2real.datasets.resizing.Rule"),
        (Unbalanced, r"stale: 'masks\(' is not a valid pattern"),
        (Wordy, "a warning must be one line of text"),
        (Casting, r"role\('calib\.json'\) is 'LABEL', neither a sim2real\.datasets\.base\.Role"),
    ],
)
def test_a_layout_that_does_not_fit(layout: type, message: str, folder: Path) -> None:
    with pytest.raises(AssertionError, match=message):
        check_layout(layout, folder)


def test_labels_of_another_size_are_told(folder: Path) -> None:
    (folder / "masks/1.png").write_bytes(encode_png(np.zeros((12, 16), np.uint8)))
    with pytest.raises(AssertionError, match=r"label 'segmentation' of cam/1\.png is \(12, 16\), the image \(24, 32\)"):
        check_layout(Acme, folder)


def test_another_folder_is_not_recognised(folder: Path) -> None:
    (folder / "calib.json").unlink()
    with pytest.raises(AssertionError, match="Acme: does not recognise"):
        check_layout(Acme, folder)
