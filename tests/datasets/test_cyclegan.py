"""Folders with both domains."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from sim2real.datasets import Role, open_dataset

Grow = Callable[..., Path]
Plant = Callable[..., None]


def test_a_is_sim_and_b_is_real(grow: Grow) -> None:
    frames = open_dataset(grow("cyclegan")).frames()
    assert Counter((frame.sequence, frame.side, frame.split) for frame in frames) == {
        ("trainA", "sim", "train"): 2,
        ("trainB", "real", "train"): 2,
        ("testA", "sim", "test"): 2,
        ("testB", "real", "test"): 2,
    }


def test_monet_paints_side_a_and_records_are_carried_unread(grow: Grow) -> None:
    dataset = open_dataset(grow("kaggle-monet"))
    assert Counter((frame.image.split("/")[0], frame.side, frame.split) for frame in dataset.frames()) == {
        ("monet_jpg", "sim", None): 2,
        ("photo_jpg", "real", None): 3,
    }
    assert dict(dataset.files())["monet_tfrec/monet00-1.tfrec"] is Role.STALE


@pytest.mark.parametrize(
    "folders", [["trainA"], ["trainA", "validB"], ["a/trainA", "b/trainB"], ["monet_jpg", "photos"]]
)
def test_one_folder_of_the_layout_is_not_enough(folders: list[str], tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, *(f"{folder}/0.jpg" for folder in folders))
    assert open_dataset(tmp_path).name == "images"


def test_training_folders_alone_are_enough_in_any_case_and_depth(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "maps/TrainA/deep/0.jpg", "maps/trainb/0.JPG")
    assert {frame.side for frame in open_dataset(tmp_path).frames()} == {"sim", "real"}


def test_masks_beside_the_images_are_no_images(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "trainA/0.png", "trainA/0_mask.png", "trainB/0.png", "trainB/mask/1.png")
    dataset = open_dataset(tmp_path)
    assert [frame.image for frame in dataset.frames()] == ["trainA/0.png", "trainB/0.png", "trainB/mask/1.png"]
    assert any("named like labels of other images" in line for line in dataset.warnings())
