"""Virtual KITTI in the forms in which it is met, and the codings of its labels."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from sim2real.datasets import Role, open_dataset
from sim2real.datasets.labels import Box, Boxes, Depth, Flow, Instances, SceneFlow, Segmentation
from sim2real.errors import DatasetError
from sim2real.imageio import encode_png
from tests.datasets.reading import load

Grow = Callable[..., Path]
Plant = Callable[..., None]

Kind = TypeVar("Kind")

ALL = {"segmentation", "instance", "depth", "flow", "backward_flow", "scene_flow", "backward_scene_flow", "boxes"}


@pytest.mark.parametrize("archives", [False, True])
def test_labels_are_found_in_one_folder_or_in_one_per_archive(archives: bool, grow: Grow) -> None:
    dataset = open_dataset(grow("vkitti2", archives=archives))
    first, middle, last, *others = dataset.frames()
    assert (first.sequence, first.index, others[0].sequence) == ("Scene01/clone/Camera_0", 0, "Scene01/clone/Camera_1")
    assert set(first.labels) == ALL - {"backward_flow", "backward_scene_flow"}
    assert set(middle.labels) == ALL
    assert set(last.labels) == ALL - {"flow", "scene_flow"}
    for kind, path in middle.labels.items():
        assert "clone" in path, kind
        assert path.endswith("00001.png") or kind == "boxes"


def test_other_names_of_outer_folders_and_another_case_are_understood(grow: Grow) -> None:
    root = grow("vkitti2", archives=True)
    (root / "vkitti_2.0.3_rgb").rename(root / "rgb")
    (root / "vkitti_2.0.3_depth").rename(root / "some depth")
    inner = root / "vkitti_2.0.3_classSegmentation/Scene01/clone/frames"
    (inner / "classSegmentation").rename(inner / "classsegmentation")
    frame = next(open_dataset(root).frames())
    assert frame.image.startswith("rgb/Scene01/")
    assert frame.labels["depth"].startswith("some depth/Scene01/")
    assert "/classsegmentation/" in frame.labels["segmentation"]
    assert set(np.unique(load(frame, "segmentation", Segmentation).ids)) == {0, 2}


@pytest.mark.parametrize(
    "part", ["Scene01", "Scene01/clone", "Scene01/clone/frames", "Scene01/clone/frames/rgb/Camera_0"]
)
def test_part_of_the_dataset_is_recognised_by_where_it_lies(part: str, grow: Grow) -> None:
    dataset = open_dataset(grow("vkitti2") / part)
    frame = next(dataset.frames())
    assert dataset.name == "vkitti2"
    assert frame.sequence == "Scene01/clone/Camera_0"
    assert ("depth" in frame.labels) == (not part.endswith("Camera_0"))
    assert ("boxes" in frame.labels) == ("frames" not in part)


def test_images_alone_are_recognised_and_their_colour_table_is_known(grow: Grow) -> None:
    root = grow("vkitti2")
    for kind in root.glob("Scene01/clone/frames/*"):
        if kind.name not in {"rgb", "classSegmentation"}:
            shutil.rmtree(kind)
    for text in root.glob("Scene01/clone/*.txt"):
        text.unlink()
    frame = next(open_dataset(root).frames())
    assert set(frame.labels) == {"segmentation"}
    segmentation = load(frame, "segmentation", Segmentation)
    assert {segmentation.names[each] for each in np.unique(segmentation.ids)} == {"Terrain", "Car"}


def test_two_copies_in_one_tree_keep_their_own_labels(grow: Grow, tmp_path: Path) -> None:
    grow("vkitti2", into="both/first", archives=True)
    grow("vkitti2", into="both/second", archives=True)
    for frame in open_dataset(tmp_path / "both").frames():
        copy = frame.image.split("/")[0]
        assert all(path.startswith(f"{copy}/") for path in frame.labels.values())


def test_labels_stay_labels_without_their_images(grow: Grow) -> None:
    root = grow("vkitti2")
    (root / "Scene01/clone/frames/rgb/Camera_0/rgb_00001.jpg").unlink()
    files = dict(open_dataset(root).files())
    assert files["Scene01/clone/frames/classSegmentation/Camera_0/classgt_00001.png"] is Role.LABEL
    assert {path.rpartition("/")[2] for path, role in files.items() if role is Role.AUX} == {
        "README.txt",
        "extrinsic.txt",
        "intrinsic.txt",
    }


def test_warnings_tell_what_is_missing_and_what_is_true_of_old_pixels_alone(grow: Grow) -> None:
    root = grow("vkitti2", variation="fog", scene="Scene03")
    dataset = open_dataset(root)
    lines = dataset.warnings()
    assert any("CC BY-NC-SA" in line for line in lines)
    assert any("Scene03" in line for line in lines)
    assert {("color" in what, len(files)) for what, files in dataset.stale().items()} == {(True, 1), (False, 6)}
    assert not any("missing" in line or "have no" in line for line in lines)
    frames = root / "Scene03/fog/frames"
    (frames / "rgb/Camera_0/rgb_00001.jpg").unlink()
    (frames / "depth/Camera_1/depth_00002.png").unlink()
    (frames / "forwardFlow/Camera_1/flow_00000.png").unlink()
    lines = open_dataset(root).warnings()
    assert any(line.startswith("1 frame numbers are missing inside 1 videos, Scene03/fog/Camera_0") for line in lines)
    assert any(line.startswith("1 of 5 images have no depth") and "rgb_00002.jpg" in line for line in lines)
    assert any(line.startswith("1 of 5 images have no flow") for line in lines)


def test_codings_of_version_2(grow: Grow) -> None:
    first, middle, *_, right = (*list(open_dataset(grow("vkitti2")).frames())[:4],)
    segmentation = load(first, "segmentation", Segmentation)
    assert [segmentation.names[segmentation.ids[y, 0]] for y in (0, 23)] == ["Terrain", "Car"]
    instances = [load(frame, "instance", Instances) for frame in (first, middle)]
    assert [each.ids[0, 0] for each in instances] == [0, 3]
    depth = load(first, "depth", Depth)
    assert depth.metres[0, 0] == pytest.approx(12.34)
    flow = load(first, "flow", Flow)
    assert flow.uv[0, 0] == pytest.approx(((80000 / 65535 - 1) * 31, (60000 / 65535 - 1) * 23), rel=1e-5)
    assert flow.valid.all()
    motion = load(middle, "backward_scene_flow", SceneFlow)
    assert motion.xyz[0, 0] == pytest.approx(((80000 / 65535 - 1) * 10, (60000 / 65535 - 1) * 10, 10), rel=1e-5)
    assert first.load_label("boxes") == Boxes((Box("Car", 10, 5, 20, 9, track=0, truncated=0.0),))
    assert middle.load_label("boxes") == Boxes((Box("Van", 0, 2, 1, 3, track=3, truncated=0.5),))
    assert right.load_label("boxes") == Boxes((Box("Car", 8, 5, 18, 9, track=0, truncated=0.0),))


def test_sky_and_invalid_pixels_have_no_value(grow: Grow, plant: Plant) -> None:
    root = grow("vkitti2")
    frames = "Scene01/clone/frames"
    far = np.full((24, 32), 65535, np.uint16)
    still = np.zeros((24, 32, 3), np.uint16)
    plant(root, {f"{frames}/depth/Camera_0/depth_00000.png": far})
    plant(root, {f"{frames}/forwardFlow/Camera_0/flow_00000.png": still})
    frame = next(open_dataset(root).frames())
    assert np.isnan(load(frame, "depth", Depth).metres).all()
    flow = load(frame, "flow", Flow)
    assert not flow.valid.any()
    assert not flow.uv.any()


def test_damaged_text_is_an_error_that_names_file_and_row(grow: Grow, plant: Plant) -> None:
    root = grow("vkitti2")
    header = "frame cameraID trackID left right top bottom truncation_ratio"
    for number, (text, fault) in enumerate(
        {
            f"{header}\n0 0 0 1 2 3 4 0\n0 0\n": "line 3 is damaged",
            f"{header}\n0 0 0 1 x 3 4 0\n": "line 2 is damaged",
            "frame cameraID\n": "'trackID'",
            "": "'frame'",
        }.items()
    ):
        copy = shutil.copytree(root, root.with_name(f"copy{number}"))
        plant(copy, {"Scene01/clone/bbox.txt": text})
        with pytest.raises(DatasetError, match=rf"bbox\.txt: .*{fault}"):
            next(open_dataset(copy).frames()).load_label("boxes")


def test_other_trees_with_such_names_disturb_nobody(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "photo.jpg", {"x/0001/clone/00000.png": b"\x89PNG", "y/0001/rain/readme.txt": "no images"})
    assert open_dataset(tmp_path).name == "images"


def test_version_1_keeps_images_and_labels_of_the_same_name_apart(grow: Grow) -> None:
    dataset = open_dataset(grow("vkitti1"))
    first, second = dataset.frames()
    assert first.image == "vkitti_1.3.1_rgb/0001/clone/00000.png"
    assert (second.sequence, second.index) == ("0001/clone", 1)
    assert first.labels == {
        "segmentation": "vkitti_1.3.1_scenegt/0001/clone/00000.png",
        "depth": "vkitti_1.3.1_depthgt/0001/clone/00000.png",
        "flow": "vkitti_1.3.1_flowgt/0001/clone/00000.png",
        "boxes": "vkitti_1.3.1_motgt/0001_clone.txt",
    }
    files = dict(dataset.files())
    assert files["vkitti_1.3.1_scenegt/0001_clone_scenegt_rgb_encoding.txt"] is Role.LABEL
    assert files["vkitti_1.3.1_extrinsicsgt/0001_clone.txt"] is Role.AUX


def test_version_1_labels_are_decoded_by_its_tables(grow: Grow) -> None:
    dataset = open_dataset(grow("vkitti1"))
    first, second = dataset.frames()
    segmentation = load(first, "segmentation", Segmentation)
    assert [segmentation.names[segmentation.ids[y, 0]] for y in (0, 23)] == ["Terrain", "Car"]
    assert load(first, "depth", Depth).metres[0, 0] == pytest.approx(12.34)
    assert load(first, "flow", Flow).valid.all()
    assert first.load_label("boxes") == Boxes((Box("Car", 10, 5, 20, 9, track=0, truncated=0.25),))
    assert second.load_label("boxes") == Boxes(())
    assert [files for what, files in dataset.stale().items() if "color" in what] == [
        ["vkitti_1.3.1_motgt/0001_clone.txt"]
    ]
    (dataset.root / "vkitti_1.3.1_scenegt/0001_clone_scenegt_rgb_encoding.txt").unlink()
    with pytest.raises(DatasetError, match="restore it"):
        load(first, "segmentation", Segmentation)


def test_renamed_archives_of_version_1_are_told_apart_by_their_headers(grow: Grow) -> None:
    names = {"rgb": "photos", "depthgt": "d", "flowgt": "motion", "scenegt": "classes"}
    frame = next(open_dataset(grow("vkitti1", names=names)).frames())
    assert frame.image == "photos/0001/clone/00000.png"
    assert {kind: path.split("/")[0] for kind, path in frame.labels.items()} == {
        "depth": "d",
        "flow": "motion",
        "segmentation": "classes",
        "boxes": "vkitti_1.3.1_motgt",
    }


def test_renamed_masks_without_their_table_are_known_by_their_few_colours(grow: Grow) -> None:
    root = grow("vkitti1", names={"rgb": "photos", "scenegt": "classes"})
    (root / "classes/0001_clone_scenegt_rgb_encoding.txt").unlink()
    assert {frame.image.split("/")[0] for frame in open_dataset(root).frames()} == {"photos"}


def test_one_archive_of_version_1_is_enough(grow: Grow) -> None:
    root = grow("vkitti1")
    assert open_dataset(root / "vkitti_1.3.1_rgb").name == "vkitti1"
    frame = next(open_dataset(root / "vkitti_1.3.1_rgb/0001").frames())
    assert (frame.image, frame.sequence) == ("clone/00000.png", "0001/clone")


def test_renamed_photos_are_known_though_the_first_is_black(grow: Grow) -> None:
    root = grow("vkitti1", names={"rgb": "photos", "scenegt": "classes"}, frames=3)
    (root / "photos/0001/clone/00000.png").write_bytes(encode_png(np.zeros((24, 32, 3), np.uint8)))
    assert {frame.image.split("/")[0] for frame in open_dataset(root).frames()} == {"photos"}


def test_boxes_that_were_written_anew_are_read_anew(grow: Grow) -> None:
    root = grow("vkitti2")
    frame = next(open_dataset(root).frames())
    before = frame.load_label("boxes")
    table = root / frame.labels["boxes"]
    table.write_text(table.read_text("utf-8").replace("0 0 0 10 19", "0 0 0 12 19"), "utf-8")
    os.utime(table, ns=(0, 0))  # as clocks may be coarse
    after = frame.load_label("boxes")
    assert isinstance(before, Boxes)
    assert isinstance(after, Boxes)
    assert (before.boxes[0].left, after.boxes[0].left) == (10, 12)
