"""GTA5: palette images are labels by their indices, whatever their colours; the ten parts together or apart."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sim2real.datasets import Role, open_dataset
from sim2real.datasets.labels import Segmentation
from sim2real.errors import ImageError

Grow = Callable[..., Path]
Plant = Callable[..., None]


def test_classes_are_the_indices_of_the_palette(grow: Grow) -> None:
    label = next(open_dataset(grow("gta5")).frames()).load_label("segmentation")
    assert isinstance(label, Segmentation)
    assert label.names[int(label.ids[0, 0])] == "road"
    assert label.names[int(label.ids[0, 31])] == "license plate"
    assert set(np.unique(label.ids)) == {7, 34}


def test_parts_unpacked_apart_find_their_labels(grow: Grow) -> None:
    labels = {frame.image: frame.labels["segmentation"] for frame in open_dataset(grow("gta5")).frames()}
    assert labels == {
        f"0{part}_images/Images/0000{number}.png": f"0{part}_labels/labels/0000{number}.png"
        for part, number in ((1, 1), (1, 2), (2, 3), (2, 4))
    }


def test_parts_unpacked_together_do_too(grow: Grow, tmp_path: Path) -> None:
    apart, together = grow("gta5"), tmp_path / "GTA5"
    for path in sorted(apart.rglob("*.png")):
        target = together / path.parent.name.lower() / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    dataset = open_dataset(together)
    assert (dataset.name, dataset.match.images) == ("gta5", 4)
    assert all(frame.labels for frame in dataset.frames())
    assert dict(dataset.files())["labels/99999.png"] is Role.LABEL
    assert all(frame.labels for frame in open_dataset(together.parent, "gta5").frames(include=("GTA5/*",)))


@pytest.mark.parametrize("label", [np.zeros((24, 32), np.uint8), np.zeros((24, 32, 3), np.uint8)])
def test_other_labels_are_not_taken_for_those_of_gta5(label: object, tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "images/00001.png", {"labels/00001.png": label})
    assert open_dataset(tmp_path).name != "gta5"


def test_label_of_another_size_is_told(grow: Grow, plant: Plant) -> None:
    root = grow("gta5")
    plant(root, {"01_labels/labels/00001.png": np.zeros((23, 32), np.uint8)})
    assert any("do not fit" in line and "00001.png is 32x23" in line for line in open_dataset(root).warnings())


def test_damaged_label_is_named(grow: Grow) -> None:
    root = grow("gta5")
    frame = next(open_dataset(root).frames())
    (root / frame.labels["segmentation"]).write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"01_labels/labels/00001\.png"):
        frame.load_label("segmentation")
