"""The KITTI family: colour images are frames, their labels decode, and colour pictures of labels are no images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sim2real.datasets import Role, open_dataset
from sim2real.datasets.labels import Boxes, Depth, Disparity, Flow, Instances, Segmentation
from sim2real.errors import DatasetError
from tests.datasets.trees.kitti import KITTI_BOX

Grow = Callable[..., Path]
Plant = Callable[..., None]


def test_object_boxes_belong_to_the_left_colour_camera(grow: Grow) -> None:
    frames = {frame.image: frame for frame in open_dataset(grow("kitti-object")).frames()}
    assert len(frames) == 8
    left = frames["training/image_2/000001.png"]
    assert left.labels == {"boxes": "training/label_2/000001.txt"}
    assert not frames["training/image_3/000001.png"].labels
    assert not frames["testing/image_2/000001.png"].labels
    boxes = left.load_label("boxes")
    assert isinstance(boxes, Boxes)
    car, ignored = boxes.boxes
    assert (car.label, car.left, car.bottom, car.truncated) == ("Car", 387.63, 203.12, 0.0)
    assert (ignored.label, ignored.truncated) == ("DontCare", None)


def test_object_layout_is_known_without_the_outer_folders(grow: Grow) -> None:
    dataset = open_dataset(grow("kitti-object") / "training")
    assert dataset.name == "kitti-object"
    assert next(dataset.frames()).labels == {"boxes": "label_2/000000.txt"}


def test_raw_translates_colour_cameras_alone(grow: Grow) -> None:
    dataset = open_dataset(grow("kitti-raw"))
    files = dict(dataset.files())
    drive = "2011_09_26/2011_09_26_drive_0001_sync"
    assert files[f"{drive}/image_02/data/0000000000.png"] is Role.IMAGE
    assert files[f"{drive}/image_00/data/0000000000.png"] is Role.AUX
    assert files[f"{drive}/tracklet_labels.xml"] is Role.LABEL
    assert files[f"{drive}/image_02/timestamps.txt"] is Role.AUX


@pytest.mark.parametrize("part", ["2011_09_26", "2011_09_26/2011_09_26_drive_0001_sync"])
def test_raw_is_known_from_inside(part: str, grow: Grow) -> None:
    dataset = open_dataset(grow("kitti-raw") / part)
    assert dataset.name == "kitti-raw"
    assert dataset.match.images == 4


def test_tracking_has_boxes_by_frame_with_tracks(grow: Grow) -> None:
    frames = {frame.image: frame for frame in open_dataset(grow("kitti-tracking")).frames()}
    boxes = [frames[f"training/image_02/0001/00000{n}.png"].load_label("boxes") for n in (0, 1)]
    assert [[box.track for box in each.boxes] for each in boxes if isinstance(each, Boxes)] == [[4], [4, 5]]
    assert {box.truncated for each in boxes if isinstance(each, Boxes) for box in each.boxes} == {None}
    assert not frames["training/image_03/0001/000000.png"].labels


def test_odometry_knows_its_sequences(grow: Grow) -> None:
    dataset = open_dataset(grow("kitti-odometry"))
    assert {frame.sequence for frame in dataset.frames()} == {
        f"sequences/0{n}/image_{camera}" for n in (0, 1) for camera in (2, 3)
    }


def test_flow_2015_labels_the_reference_frame(grow: Grow) -> None:
    dataset = open_dataset(grow("kitti-flow2015"))
    frames = {frame.image: frame for frame in dataset.frames()}
    reference = frames["training/image_2/000000_10.png"]
    assert reference.labels == {
        "disparity": "training/disp_occ_0/000000_10.png",
        "flow": "training/flow_occ/000000_10.png",
    }
    assert not frames["training/image_2/000000_11.png"].labels
    flow, disparity = reference.load_label("flow"), reference.load_label("disparity")
    assert isinstance(flow, Flow)
    assert flow.uv[0, 0] == pytest.approx(((40000 - 2**15) / 64, (30000 - 2**15) / 64))
    assert isinstance(disparity, Disparity)
    assert disparity.pixels[0, 0] == pytest.approx(1234 / 256)
    files = dict(dataset.files())
    assert files["training/disp_noc_1/000000_10.png"] is Role.LABEL
    assert files["training/viz_flow_occ/000000_10.png"] is Role.PSEUDO


def test_semantics_decodes_classes_and_instances_and_never_takes_their_pictures(grow: Grow) -> None:
    dataset = open_dataset(grow("kitti-semantics"))
    frame = next(frame for frame in dataset.frames() if frame.labels)
    segmentation, instances = frame.load_label("segmentation"), frame.load_label("instance")
    assert isinstance(segmentation, Segmentation)
    assert segmentation.names[int(segmentation.ids[0, 0])] == "road"
    assert segmentation.names[26] == "car"
    assert isinstance(instances, Instances)
    assert (instances.ids[0, 0], instances.ids[23, 0]) == (-1, 26 * 256 + 3)
    assert dict(dataset.files())["training/semantic_rgb/000000_10.png"] is Role.PSEUDO


def test_semantics_are_known_under_the_names_of_the_robust_vision_challenge(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "training/image_2/Kitti2015_000000_10.png", "test/image_2/Kitti2015_000000_10.png")
    plant(tmp_path, {"training/semantic/Kitti2015_000000_10.png": np.full((24, 32), 7, np.uint8)})
    dataset = open_dataset(tmp_path)
    assert dataset.name == "kitti-semantics"
    assert [bool(frame.labels) for frame in dataset.frames()] == [False, True]


def test_images_as_jpeg_are_known_too(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "2011_09_26_drive_0001_sync/image_02/data/0000000000.jpg")
    assert open_dataset(tmp_path).name == "kitti-raw"


def test_damaged_boxes_are_an_error_that_names_file_and_line(grow: Grow, plant: Plant) -> None:
    root = grow("kitti-object")
    plant(root, {"training/label_2/000000.txt": "Car 0 0\n"})
    frame = next(frame for frame in open_dataset(root).frames() if frame.labels)
    with pytest.raises(DatasetError, match=r"000000\.txt: line 1 is not a box"):
        frame.load_label("boxes")


DEPTH = np.array([[0, 2560], [1, 65535]], np.uint16).repeat(12, 0).repeat(16, 1)


@pytest.mark.parametrize("place", ["train", "2011_09_26", "data_depth_annotated/val"])
def test_depth_maps_belong_to_the_drives_of_raw(place: str, grow: Grow, plant: Plant) -> None:
    root = grow("kitti-raw")
    folder = f"{place}/2011_09_26_drive_0001_sync/proj_depth"
    plant(root, {f"{folder}/groundtruth/image_03/0000000001.png": DEPTH})
    plant(root, {f"{folder}/velodyne_raw/image_03/0000000001.png": DEPTH})
    plant(root, {f"{place}/2011_09_26_drive_0002_sync/proj_depth/groundtruth/image_03/0000000000.png": DEPTH})
    dataset = open_dataset(root)
    labels = {frame.image: frame for frame in dataset.frames() if frame.labels}
    (frame,) = labels.values()
    assert frame.image == "2011_09_26/2011_09_26_drive_0001_sync/image_03/data/0000000001.png"
    depth = frame.load_label("depth")
    assert isinstance(depth, Depth)
    expected = np.array([[np.nan, 10], [1 / 256, 65535 / 256]], np.float32)
    assert np.array_equal(depth.metres[::12, ::16], expected, equal_nan=True)
    roles = dict(dataset.files())
    assert roles[f"{folder}/velodyne_raw/image_03/0000000001.png"] is Role.LABEL
    assert not any("no depth" in line for line in dataset.warnings())


def test_depth_maps_alone_say_what_is_missing(tmp_path: Path, plant: Plant) -> None:
    path = "train/2011_09_26_drive_0001_sync/proj_depth/groundtruth/image_02/0000000005.png"
    plant(tmp_path, {path: DEPTH})
    with pytest.raises(DatasetError, match=r"0000000005\.png: depth maps without images; unpack the KITTI raw drives"):
        open_dataset(tmp_path)
    plant(tmp_path, "training/image_2/000000.png", {"training/calib/000000.txt": "P0: 1\n"})
    assert open_dataset(tmp_path).name == "kitti-object"


def test_selected_frames_of_the_depth_benchmark_have_depth(grow: Grow) -> None:
    dataset = open_dataset(grow("kitti-depth"))
    frames = {frame.image.removeprefix("depth_selection/"): frame for frame in dataset.frames()}
    assert len(frames) == 4
    assert not frames["test_depth_prediction_anonymous/image/0000000001.png"].labels
    frame = frames["val_selection_cropped/image/2011_09_26_drive_0002_sync_image_0000000001_image_03.png"]
    depth = frame.load_label("depth")
    assert isinstance(depth, Depth)
    assert depth.metres[1, 0] == 10
    assert np.isnan(depth.metres[0, 0])
    assert {role for path, role in dataset.files() if "velodyne_raw" in path} == {Role.LABEL}


@pytest.mark.parametrize(
    ("name", "image", "label"),
    [
        ("kitti-object", "image_2/000000.png", "label_2/000000.txt"),
        ("kitti-tracking", "image_02/0000/000000.png", "label_02/0000.txt"),
    ],
)
def test_archives_may_lie_apart_each_in_a_folder_of_its_own(name: str, image: str, label: str, grow: Grow) -> None:
    root = grow(name)
    for archive in (image, label):
        part = archive.split("/")[0]
        (root / f"data_{part}/training").mkdir(parents=True)
        (root / "training" / part).rename(root / f"data_{part}/training" / part)
    frames = {frame.image: frame.labels for frame in open_dataset(root).frames()}
    image, label = (f"data_{path.split('/')[0]}/training/{path}" for path in (image, label))
    assert frames[image] == {"boxes": label}


def test_labels_of_another_copy_with_images_are_left_to_it(grow: Grow, plant: Plant) -> None:
    root = grow("kitti-object")
    plant(root, "other/training/image_2/000000.png")
    frames = {frame.image: frame.labels for frame in open_dataset(root).frames()}
    assert frames["other/training/image_2/000000.png"] == {}


def test_boxes_are_read_behind_a_byte_order_mark_and_without_numbers_refused(grow: Grow, plant: Plant) -> None:
    root = grow("kitti-object")
    row = "Car 0 0 0 {} 2 3 4 1 1 1 1 1 1 1\r\n"
    plant(root, {"training/label_2/000000.txt": b"\xef\xbb\xbf" + row.format(1).encode()})
    frame = next(open_dataset(root / "training").frames())
    label = frame.load_label("boxes")
    assert isinstance(label, Boxes)
    assert [box.label for box in label.boxes] == ["Car"]
    plant(root, {"training/label_2/000000.txt": row.format("nan")})
    with pytest.raises(DatasetError, match="line 1 is not a box: nan is not a finite number"):
        frame.load_label("boxes")


@pytest.mark.parametrize("name", ["0", "0000000", "000030_10", "Town01_000123", "2011-09-26_000007"])
def test_objects_are_known_by_names_of_any_length(name: str, tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, f"training/image_2/{name}.png", {f"training/label_2/{name}.txt": KITTI_BOX})
    dataset = open_dataset(tmp_path)
    assert dataset.name == "kitti-object"
    assert [dict(frame.labels) for frame in dataset.frames()] == [{"boxes": f"training/label_2/{name}.txt"}]


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("kitti-tracking", ["image_02/00012/0000004.png"]),
        ("kitti-odometry", ["sequences/100/image_2/0000000.png", "sequences/100/calib.txt"]),
        ("kitti-flow2015", ["training/image_2/0000_10.png", "training/flow_occ/0000_10.png"]),
        ("kitti-semantics", ["training/image_2/0000_10.png", "training/semantic/0000_10.png"]),
    ],
)
def test_the_others_too(name: str, paths: list[str], tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, paths[0], dict.fromkeys(paths[1:], b"x"))
    dataset = open_dataset(tmp_path)
    assert (dataset.name, [frame.image for frame in dataset.frames()]) == (name, paths[:1])
