"""Cityscapes: archives together or apart, fine labels before coarse ones, 16 bits refused by name."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sim2real.datasets import Frame, Role, open_dataset
from sim2real.datasets.labels import Box, Boxes, Disparity, Instances, Segmentation
from sim2real.errors import DatasetError

Grow = Callable[..., Path]
Plant = Callable[..., None]


@pytest.fixture
def frames(grow: Grow) -> dict[str, Frame]:
    """The frames of a tree by their names without what follows the number."""
    found = open_dataset(grow("cityscapes")).frames()
    return {Path(frame.image).name.removesuffix("_leftImg8bit.png"): frame for frame in found}


def test_fine_labels_come_before_coarse_ones(frames: dict[str, Frame]) -> None:
    names = {}
    for key in ("aachen_000001_000019", "bad-honnef_000001_000019", "bielefeld_000001_000019"):
        label = frames[key].load_label("segmentation")
        assert isinstance(label, Segmentation)
        names[key.split("_")[0]] = label.names[int(label.ids[5, 5])]
    assert names == {"aachen": "road", "bad-honnef": "building", "bielefeld": "out of roi"}


def test_objects_are_told_from_groups_of_them(frames: dict[str, Frame]) -> None:
    instances = frames["aachen_000000_000019"].load_label("instance")
    assert isinstance(instances, Instances)
    assert (instances.ids[0, 0], instances.ids[23, 0]) == (-1, 26003)


def test_disparity_is_one_step_less_than_in_kitti(frames: dict[str, Frame]) -> None:
    disparity = frames["aachen_000000_000019"].load_label("disparity")
    assert isinstance(disparity, Disparity)
    assert disparity.pixels[0, 0] == 10.25
    assert np.isnan(disparity.pixels[0, 31])


def test_persons_have_whole_boxes(frames: dict[str, Frame]) -> None:
    boxes = frames["aachen_000000_000019"].load_label("boxes")
    assert boxes == Boxes((Box("pedestrian", 3, 4, 8, 10), Box("ignore", 10, 2, 18, 10)))


def test_right_camera_has_no_labels(grow: Grow) -> None:
    right = [frame for frame in open_dataset(grow("cityscapes")).frames() if "rightImg8bit/" in frame.image]
    assert len(right) == 6
    assert not any(frame.labels for frame in right)


def test_roles_of_what_is_no_image(grow: Grow) -> None:
    roles = {Path(path).name: role for path, role in open_dataset(grow("cityscapes")).files()}
    assert roles["aachen_000000_000019_gtFine_color.png"] is Role.PSEUDO
    assert roles["aachen_000000_000019_gtFine_polygons.json"] is Role.LABEL
    assert roles["a_gtFine_panoptic.png"] is Role.LABEL
    assert roles["aachen_000000_000019_camera.json"] is Role.AUX
    assert roles["aachen_000000_000019_leftImg16bit.png"] is Role.STALE


def test_archives_may_be_unpacked_into_one_folder(grow: Grow, tmp_path: Path) -> None:
    apart, together = grow("cityscapes"), tmp_path / "together"
    for archive in sorted(apart.iterdir()):
        if archive.is_dir():
            shutil.copytree(archive, together, dirs_exist_ok=True)
    labels = [
        {kind: Path(path).name for kind, path in frame.labels.items()} for frame in open_dataset(together).frames()
    ]
    assert sum(map(len, labels)) == sum(len(frame.labels) for frame in open_dataset(apart).frames()) == 14


def test_a_city_and_names_in_another_case_are_known(grow: Grow) -> None:
    root = grow("cityscapes") / "leftImg8bit_trainvaltest/leftImg8bit"
    root.rename(root.with_name("LeftImg8Bit"))
    city = root.with_name("LeftImg8Bit") / "train/aachen"
    dataset = open_dataset(city)
    assert (dataset.name, dataset.match.images) == ("cityscapes", 2)
    assert all(frame.labels for frame in open_dataset(city.parents[3]).frames(include=("*/train/aachen/*_left*",)))


def test_frames_of_videos_have_the_labels_of_the_one_that_was_labelled(tmp_path: Path, plant: Plant) -> None:
    names = [f"leftImg8bit_sequence/train/ulm/ulm_000000_0000{frame}_leftImg8bit.png" for frame in (18, 19)]
    plant(tmp_path, *names, {"gtFine/train/ulm/ulm_000000_000019_gtFine_labelIds.png": np.zeros((24, 32), np.uint8)})
    assert [set(frame.labels) for frame in open_dataset(tmp_path).frames()] == [set(), {"segmentation"}]


def test_images_of_16_bits_are_told_and_alone_refused(grow: Grow) -> None:
    root = grow("cityscapes")
    assert any("2 images of 16 bits" in line for line in open_dataset(root).warnings())
    for eye in ("left", "right"):
        shutil.rmtree(root / f"{eye}Img8bit_trainvaltest")
    with pytest.raises(DatasetError, match=r"leftImg16bit\.png: images of 16 bits .* unpack leftImg8bit"):
        open_dataset(root)


@pytest.mark.parametrize("content", ["{", "[]", '{"objects": [{"label": "rider", "bbox": [1, 2, 3]}]}'])
def test_damaged_boxes_are_an_error_that_names_the_file(content: str, grow: Grow) -> None:
    root = grow("cityscapes")
    frame = next(frame for frame in open_dataset(root).frames() if "boxes" in frame.labels)
    (root / frame.labels["boxes"]).write_text(content)
    with pytest.raises(DatasetError, match=r"_gtBboxCityPersons\.json"):
        frame.load_label("boxes")


def test_copies_without_folders_of_cities_keep_their_labels(tmp_path: Path, plant: Plant) -> None:
    stem = "aachen_000000_000019"
    mask = np.full((24, 32), 7, np.uint8)
    plant(tmp_path, f"leftImg8bit/train/{stem}_leftImg8bit.png", f"gtFine/train/{stem}_gtFine_color.png")
    plant(tmp_path, {f"gtFine/train/{stem}_gtFine_labelIds.png": mask})
    dataset = open_dataset(tmp_path)
    assert (dataset.name, [set(frame.labels) for frame in dataset.frames()]) == ("cityscapes", [{"segmentation"}])
