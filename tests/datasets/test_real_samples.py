"""The layouts as the real archives have them."""

from pathlib import Path

import numpy as np
import pytest

from sim2real.datasets import Role, open_dataset
from sim2real.datasets.labels import Boxes, Instances, Segmentation
from sim2real.imageio import read_label


@pytest.mark.parametrize(
    ("folder", "name", "frames", "labels"),
    [
        ("kitti/object", "kitti-object", 16, 16),
        ("kitti/raw", "kitti-raw", 26, 0),
        ("kitti/data_semantics", "kitti-semantics", 10, 10),
        ("kitti/frames", "images", 134, 0),
        ("monet2photo-mini", "cyclegan", 1500, 0),
        ("carla", "yolo", 1028, 1028),
        ("gtsrb-signs", "images", 3912, 0),
    ],
)
def test_layout_is_recognised_and_complete(folder: str, name: str, frames: int, labels: int, real_data: Path) -> None:
    dataset = open_dataset(real_data / folder)
    roles = dataset.roles()
    assert (dataset.name, roles["IMAGE"], roles["LABEL"]) == (name, frames, labels)
    assert sum(roles.values()) == sum(1 for path in (real_data / folder).rglob("*") if path.is_file())
    first = next(dataset.frames()).load_image()
    assert first.dtype == np.uint8
    assert first.shape[2] == 3


def test_labels_of_another_size_than_their_image_are_told(real_data: Path) -> None:
    dataset = open_dataset(real_data / "kitti/data_semantics")
    frames = [frame for frame in dataset.frames() if frame.labels]
    misfit = any(read_label(dataset.root / f.labels["segmentation"]).shape != f.load_image().shape[:2] for f in frames)
    assert any("do not fit" in line for line in dataset.warnings()) == misfit


def test_kitti_boxes_lie_on_their_images(real_data: Path) -> None:
    frames = list(open_dataset(real_data / "kitti/object").frames())
    for frame in frames:
        height, width, _ = frame.load_image().shape
        boxes = frame.load_label("boxes")
        assert isinstance(boxes, Boxes)
        for box in boxes.boxes:
            assert 0 <= box.left < box.right <= width
            assert 0 <= box.top < box.bottom <= height
    assert len({frame.load_image().shape for frame in frames}) > 1


def test_kitti_classes_and_instances_agree(real_data: Path) -> None:
    dataset = open_dataset(real_data / "kitti/data_semantics")
    for frame in dataset.frames():
        if not frame.labels:
            continue
        segmentation, instances = frame.load_label("segmentation"), frame.load_label("instance")
        assert isinstance(segmentation, Segmentation)
        assert isinstance(instances, Instances)
        assert segmentation.ids.shape == instances.ids.shape
        seen = instances.ids >= 0
        assert np.array_equal(instances.ids[seen] // 256, segmentation.ids[seen])
        assert set(np.unique(segmentation.ids)) <= set(segmentation.names)
    assert sum(role is Role.PSEUDO for _, role in dataset.files()) == 5
