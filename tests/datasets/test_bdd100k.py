"""BDD100K: each package has its own labels, numbers of objects lie in blue and alpha, boxes in one file of a split."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sim2real.datasets import Frame, Role, open_dataset
from sim2real.datasets.labels import Box, Boxes, Instances, Segmentation
from sim2real.errors import DatasetError

Grow = Callable[..., Path]
Plant = Callable[..., None]
NAME = "00000000-7c39d800"
VIDEO = "b1c66a42-7c39d842"


@pytest.fixture
def frames(grow: Grow) -> dict[str, Frame]:
    return {frame.image.removeprefix("bdd100k/images/"): frame for frame in open_dataset(grow("bdd100k")).frames()}


def test_each_package_has_labels_of_its_own(frames: dict[str, Frame]) -> None:
    assert set(frames[f"10k/train/{NAME}.jpg"].labels) == {"segmentation", "instance"}
    assert set(frames[f"100k/train/{NAME}.jpg"].labels) == {"boxes"}
    assert set(frames[f"100k/test/{NAME}.jpg"].labels) == set()
    assert set(frames[f"track/train/{VIDEO}/{VIDEO}-0000001.jpg"].labels) == {"boxes"}
    assert set(frames[f"seg_track_20/val/{VIDEO}/{VIDEO}-0000001.jpg"].labels) == {"instance"}


def test_255_is_no_class(frames: dict[str, Frame]) -> None:
    label = frames[f"10k/train/{NAME}.jpg"].load_label("segmentation")
    assert isinstance(label, Segmentation)
    assert label.ids[0, 0] == -1
    assert label.names[int(label.ids[23, 0])] == "car"


@pytest.mark.parametrize("image", [f"10k/train/{NAME}.jpg", f"seg_track_20/val/{VIDEO}/{VIDEO}-0000002.jpg"])
def test_number_of_an_object_is_blue_and_alpha(image: str, frames: dict[str, Frame]) -> None:
    instances = frames[image].load_label("instance")
    assert isinstance(instances, Instances)
    assert (instances.ids[0, 0], instances.ids[23, 0], instances.ids[23, 31]) == (-1, 256, 9)


def test_panoptic_labels_stand_in_where_there_are_no_others(frames: dict[str, Frame]) -> None:
    frame = frames[f"10k/val/{NAME}.jpg"]
    segmentation, instances = frame.load_label("segmentation"), frame.load_label("instance")
    assert isinstance(segmentation, Segmentation)
    assert [segmentation.names.get(int(segmentation.ids[row, 0])) for row in (0, 8, 23)] == ["sky", None, "car"]
    assert isinstance(instances, Instances)
    assert instances.ids[:, 0].tolist() == [-1] * 12 + [31] * 12  # the sky's number is none of an object


def test_corners_of_boxes_are_pixels_inside(frames: dict[str, Frame]) -> None:
    box = Box("car", 3.5, 4.25, 10.5, 8.25)
    assert frames[f"100k/train/{NAME}.jpg"].load_label("boxes") == Boxes((box,))


def test_objects_of_videos_are_followed(frames: dict[str, Frame]) -> None:
    boxes = frames[f"track/train/{VIDEO}/{VIDEO}-0000002.jpg"].load_label("boxes")
    assert isinstance(boxes, Boxes)
    assert [(box.label, box.track) for box in boxes.boxes] == [("car", 48)]


def test_image_that_the_list_leaves_out_has_no_boxes(frames: dict[str, Frame]) -> None:
    assert frames["100k/train/00000001-7c39d801.jpg"].load_label("boxes") == Boxes(())


def test_boxes_of_2018_are_taken_where_there_are_no_newer_ones(grow: Grow) -> None:
    root = grow("bdd100k") / "bdd100k"
    (root / "labels/det_20/det_train.json").rename(root / "labels/bdd100k_labels_images_train.json")
    frame = next(open_dataset(root).frames(include=("*/100k/train/*",)))
    assert frame.labels == {"boxes": "labels/bdd100k_labels_images_train.json"}
    boxes = frame.load_label("boxes")
    assert isinstance(boxes, Boxes)
    assert len(boxes.boxes) == 1


def test_release_of_2018_has_classes_beside_its_images(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, f"seg/images/train/{NAME}.jpg")
    plant(tmp_path, {f"seg/labels/train/{NAME}_train_id.png": np.zeros((24, 32), np.uint8)})
    plant(tmp_path, f"seg/color_labels/train/{NAME}_train_color.png")
    dataset = open_dataset(tmp_path)
    assert dataset.name == "bdd100k"
    label = next(dataset.frames()).load_label("segmentation")
    assert isinstance(label, Segmentation)
    assert label.names[int(label.ids[0, 0])] == "road"
    assert dataset.roles()["PSEUDO"] == 1


def test_archives_may_lie_apart(grow: Grow) -> None:
    root = grow("bdd100k")
    for label in ("sem_seg", "det_20", "box_track_20"):
        (root / f"bdd100k_{label}/bdd100k/labels").mkdir(parents=True)
        shutil.move(root / f"bdd100k/labels/{label}", root / f"bdd100k_{label}/bdd100k/labels/{label}")
    labels = {frame.image: frame.labels for frame in open_dataset(root).frames()}
    assert labels[f"bdd100k/images/10k/train/{NAME}.jpg"]["segmentation"].startswith("bdd100k_sem_seg/")
    assert labels[f"bdd100k/images/100k/train/{NAME}.jpg"]["boxes"].startswith("bdd100k_det_20/")
    assert labels[f"bdd100k/images/track/train/{VIDEO}/{VIDEO}-0000001.jpg"]["boxes"].endswith(f"{VIDEO}.json")


def test_videos_without_boxes_do_not_take_those_of_single_images(grow: Grow) -> None:
    root = grow("bdd100k")
    shutil.rmtree(root / "bdd100k/labels/box_track_20")
    assert not any(frame.labels for frame in open_dataset(root).frames(include=("*/track/*",)))


def test_colours_are_pictures_and_attributes_are_stale(grow: Grow) -> None:
    dataset = open_dataset(grow("bdd100k"))
    roles = dict(dataset.files())
    assert roles[f"bdd100k/labels/sem_seg/colormaps/train/{NAME}.png"] is Role.PSEUDO
    (told,) = dataset.stale()
    assert "weather" in told
    assert "bdd100k/labels/det_20/det_train.json" in dataset.stale()[told]


def test_a_video_is_known_from_inside(grow: Grow) -> None:
    dataset = open_dataset(grow("bdd100k") / f"bdd100k/images/track/train/{VIDEO}")
    assert (dataset.name, dataset.match.images) == ("bdd100k", 2)


@pytest.mark.parametrize("content", ["", '[{"name": "a.jpg"', json.dumps([{"labels": []}]), json.dumps({"a": 1})])
def test_damaged_boxes_are_an_error_that_names_the_file(content: str, grow: Grow) -> None:
    root = grow("bdd100k")
    frame = next(open_dataset(root).frames(include=("*/100k/train/*",)))
    (root / frame.labels["boxes"]).write_text(content)
    with pytest.raises(DatasetError, match=r"det_train\.json"):
        frame.load_label("boxes")
