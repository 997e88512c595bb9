"""SYNTHIA: class and object in the channels of one image of 16 bits, depth in centimetres."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sim2real.datasets import Role, open_dataset
from sim2real.datasets.labels import Depth, Instances, Segmentation
from sim2real.errors import ImageError

Grow = Callable[..., Path]
Plant = Callable[..., None]


@pytest.mark.parametrize("name", ["synthia-rand", "synthia-seqs"])
def test_channels_of_labels_are_class_and_object(name: str, grow: Grow) -> None:
    frame = next(open_dataset(grow(name)).frames())
    segmentation, instances = frame.load_label("segmentation"), frame.load_label("instance")
    assert isinstance(segmentation, Segmentation)
    names = [segmentation.names[int(segmentation.ids[place])] for place in ((0, 0), (23, 0), (23, 31))]
    assert names == ["sky", "car", "traffic light"]
    assert isinstance(instances, Instances)
    assert (instances.ids[0, 0], instances.ids[23, 0], instances.ids[23, 31]) == (-1, 300, -1)


@pytest.mark.parametrize("name", ["synthia-rand", "synthia-seqs"])
def test_depth_is_metres_out_of_any_channel(name: str, grow: Grow, plant: Plant) -> None:
    root = grow(name)
    frame = next(open_dataset(root).frames())
    for codes in (None, np.full((24, 32), 1234, np.uint16)):
        if codes is not None:
            plant(root, {frame.labels["depth"]: codes})
        depth = frame.load_label("depth")
        assert isinstance(depth, Depth)
        assert depth.metres[23, 0] == pytest.approx(12.34)
    plant(root, {frame.labels["depth"]: np.array([[0, 1], [65534, 65535]], np.uint16)})
    depth = frame.load_label("depth")
    assert isinstance(depth, Depth)
    assert np.isnan(depth.metres).tolist() == [[True, False], [False, True]]


def test_class_ids_of_the_two_packages_differ(grow: Grow) -> None:
    names = {}
    for name in ("synthia-rand", "synthia-seqs"):
        label = next(open_dataset(grow(name, into=name)).frames()).load_label("segmentation")
        assert isinstance(label, Segmentation)
        names[name] = label.names
    assert names["synthia-rand"][12] == "motorcycle"
    assert names["synthia-rand"][22] == "lane marking"
    assert names["synthia-seqs"][12] == "lane marking"
    assert 13 not in names["synthia-seqs"]


def test_pictures_of_labels_are_never_translated(grow: Grow) -> None:
    for name in ("synthia-rand", "synthia-seqs"):
        roles = dict(open_dataset(grow(name, into=name)).files())
        assert {role for path, role in roles.items() if "GT/COLOR" in path} == {Role.PSEUDO}
        assert {role for path, role in roles.items() if "GT/LABELS" in path or "Depth/" in path} == {Role.LABEL}


def test_random_views_are_no_sequence(grow: Grow) -> None:
    assert {frame.sequence for frame in open_dataset(grow("synthia-rand")).frames()} == {""}


def test_depth_is_found_in_either_folder(grow: Grow) -> None:
    root = grow("synthia-rand") / "RAND_CITYSCAPES"
    (root / "Depth/Depth").rename(root / "d")
    (root / "Depth").rmdir()
    (root / "d").rename(root / "depth")
    assert next(open_dataset(root).frames()).labels["depth"] == "depth/0000000.png"


def test_cameras_of_a_drive_keep_to_their_labels(grow: Grow) -> None:
    root = grow("synthia-seqs")
    frames = list(open_dataset(root / "SYNTHIA-SEQS-04-SUMMER").frames())
    assert {frame.sequence for frame in frames} == {"RGB/Stereo_Left/Omni_F", "RGB/Stereo_Right/Omni_B"}
    for frame in frames:
        assert frame.labels["segmentation"] == frame.image.replace("RGB", "GT/LABELS")
        assert frame.labels["depth"] == frame.image.replace("RGB", "Depth")


def test_a_single_camera_is_known_from_inside(grow: Grow) -> None:
    dataset = open_dataset(grow("synthia-seqs") / "SYNTHIA-SEQS-04-SUMMER/RGB/Stereo_Left/Omni_F")
    assert (dataset.name, dataset.match.images) == ("synthia-seqs", 2)


def test_season_in_the_name_is_told_as_stale(grow: Grow) -> None:
    stale = open_dataset(grow("synthia-seqs")).stale()
    assert [len(paths) for paths in stale.values()] == [4]


def test_labels_that_lost_a_channel_are_refused(grow: Grow, plant: Plant) -> None:
    root = grow("synthia-rand")
    frame = next(open_dataset(root).frames())
    plant(root, {frame.labels["instance"]: np.zeros((24, 32), np.uint8)})
    with pytest.raises(ImageError, match="1 channels, a label of this kind has at least 2"):
        frame.load_label("instance")
