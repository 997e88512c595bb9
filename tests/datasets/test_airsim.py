"""AirSim recordings: scenes are frames, and the table tells which labels are theirs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sim2real.datasets import Frame, Role, open_dataset
from sim2real.datasets.labels import Depth, Disparity, Distance, Segmentation
from sim2real.errors import DatasetError
from tests.datasets.trees.airsim import METRES

Grow = Callable[..., Path]
RECORDING = "2026-01-31-12-00-00"


def drone(root: Path) -> list[Frame]:
    return [frame for frame in open_dataset(root).frames() if frame.sequence.endswith("img_Drone_1_front_0")]


def test_each_camera_is_a_sequence_and_only_scenes_are_translated(grow: Grow) -> None:
    dataset = open_dataset(grow("airsim"))
    frames = list(dataset.frames())
    places = [(frame.sequence.rpartition("/")[2], frame.index, frame.image[-4:]) for frame in frames]
    assert places == [
        ("img_Drone_1_front_0", 0, ".png"),
        ("img_Drone_1_front_0", 1, ".png"),
        ("img__0", 0, ".ppm"),
        ("img__0", 1, ".ppm"),
    ]
    assert [sorted(frame.labels) for frame in frames[1:3]] == [["depth", "disparity", "distance", "segmentation"], []]
    assert dataset.roles() == {"IMAGE": 4, "LABEL": 8, "AUX": 2, "PSEUDO": 6, "STALE": 0}


def test_labels_are_those_of_the_moment_though_their_times_differ(grow: Grow) -> None:
    root = grow("airsim")
    rows = (root / RECORDING / "airsim_rec.txt").read_text().splitlines()
    for frame, row in zip(drone(root), rows[1::2], strict=True):
        names = row.rpartition("\t")[2].split(";")
        assert {Path(path).name for path in (frame.image, *frame.labels.values())} < set(names)


def test_distances_are_metres_and_the_sky_has_none(grow: Grow) -> None:
    frame = drone(grow("airsim"))[0]
    depth, distance, disparity = (frame.load_label(kind) for kind in ("depth", "distance", "disparity"))
    assert isinstance(depth, Depth)
    assert isinstance(distance, Distance)
    assert isinstance(disparity, Disparity)
    assert np.isnan(depth.metres[0]).all()
    np.testing.assert_array_equal(depth.metres[1:], METRES[1:])
    np.testing.assert_array_equal(distance.metres[1:], 2 * METRES[1:])
    np.testing.assert_allclose(disparity.pixels, 32 / METRES, rtol=1e-6)


def test_segments_are_told_apart_by_their_colours(grow: Grow) -> None:
    segmentation = drone(grow("airsim"))[0].load_label("segmentation")
    assert isinstance(segmentation, Segmentation)
    assert (segmentation.ids[:12] == 153 + 108 * 256 + 6 * 65536).all()
    assert (segmentation.ids[12:] == 112 + 105 * 256 + 191 * 65536).all()
    assert not segmentation.names


def test_a_recording_is_known_from_inside(grow: Grow) -> None:
    root = grow("airsim")
    dataset = open_dataset(root / RECORDING)
    assert dataset.name == "airsim"
    assert len(next(dataset.frames()).labels) == 4
    images = open_dataset(root / RECORDING / "images")
    assert (images.name, images.match.images) == ("airsim", 4)
    assert not any(frame.labels for frame in images.frames())


def test_a_recording_without_its_table_keeps_its_images_and_says_what_is_missing(grow: Grow) -> None:
    root = grow("airsim")
    (root / RECORDING / "airsim_rec.txt").unlink()
    dataset = open_dataset(root)
    assert not any(frame.labels for frame in dataset.frames())
    assert any("no airsim_rec.txt next to it" in line for line in dataset.warnings())
    assert dataset.roles()["LABEL"] == 8


def test_a_table_that_is_not_one_is_an_error_that_names_it(grow: Grow) -> None:
    root = grow("airsim")
    (root / RECORDING / "airsim_rec.txt").write_text("VehicleName\tTimeStamp\n")
    with pytest.raises(DatasetError, match=r"airsim_rec\.txt: its first line does not end in the column 'ImageFile'"):
        list(open_dataset(root).frames())


def test_rows_that_were_cut_off_or_name_missing_files_leave_labels_out(grow: Grow) -> None:
    root = grow("airsim")
    first, second = drone(root)
    (root / first.labels["depth"]).unlink()
    table = root / RECORDING / "airsim_rec.txt"
    table.write_text(table.read_text().partition(Path(second.image).name)[0])
    first, second = drone(root)
    assert sorted(first.labels) == ["disparity", "distance", "segmentation"]
    assert not second.labels


@pytest.mark.parametrize("damage", [b"PF\n32 24\n-1\n", b"Pf\n32 24\n-1.2.3\n", b"Pf\n32 24\n-1\n" + bytes(4), b""])
def test_damaged_floats_are_an_error_that_names_the_file(damage: bytes, grow: Grow) -> None:
    root = grow("airsim")
    frame = drone(root)[0]
    (root / frame.labels["depth"]).write_bytes(damage)
    with pytest.raises(DatasetError, match=r"_1_\d+\.pfm"):
        frame.load_label("depth")


def test_a_recorded_depth_picture_is_no_label_and_a_float_scene_no_image(grow: Grow) -> None:
    root = grow("airsim")
    first = drone(root)[0]
    scene = root / first.image
    scene.rename(scene.with_suffix(".pfm"))
    dataset = open_dataset(root)
    assert first.image not in {frame.image for frame in dataset.frames()}
    roles = dict(dataset.files())
    pictures = [role for path, role in roles.items() if "img__0_1_" in path]
    assert pictures == [Role.PSEUDO, Role.PSEUDO]
