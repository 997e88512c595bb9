"""CARLA's exporters: the codings of the simulator's cameras, and what each layout has beside its images."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sim2real.conversion import ConvertOptions, convert
from sim2real.datasets import Dataset, Frame, Role, open_dataset
from sim2real.datasets.labels import Boxes, Depth, Instances, Label, Segmentation
from sim2real.datasets.readers import read_scalabel_boxes
from sim2real.errors import DatasetError, ImageError
from tests.datasets.trees.carla import NEAR, data_export
from tests.datasets.trees.common import halves, raw_png

Grow = Callable[..., Path]
Plant = Callable[..., None]


def frame_of(dataset: Dataset, end: str) -> Frame:
    (frame,) = (frame for frame in dataset.frames() if frame.image.endswith(end))
    return frame


def upper_and_lower(label: Label) -> tuple[float, float]:
    """What a label image has in its upper and in its lower half."""
    match label:
        case Segmentation(ids=values) | Instances(ids=values) | Depth(metres=values):
            assert values.shape == (24, 32)
            assert values.dtype == (np.float32 if isinstance(label, Depth) else np.int32)
            upper, lower = (np.unique(half) for half in (values[:12], values[12:]))
            assert len(upper) == len(lower) == 1
            return float(upper[0]), float(lower[0])
        case _:
            raise AssertionError(label)


def named(label: Label) -> list[str]:
    assert isinstance(label, Segmentation)
    return [label.names[int(tag)] for tag in upper_and_lower(label)]


METRES = 1000 * NEAR / (256**3 - 1)


def test_bench2drive_has_masks_objects_and_coarse_depth(grow: Grow) -> None:
    dataset = open_dataset(grow("carla-bench2drive"))
    frame = frame_of(dataset, "camera/rgb_back_left/00001.jpg")
    assert (frame.sequence, frame.index) == ("Accident_Town03_Route101_Weather23/camera/rgb_back_left", 1)
    assert named(frame.load_label("segmentation")) == ["Roads", "Car"]
    assert upper_and_lower(frame.load_label("instance")) == (-1, 14 + 0x34 * 256 + 0x12 * 65536)
    assert upper_and_lower(frame.load_label("depth")) == pytest.approx((8, np.nan), nan_ok=True)
    assert "instance" not in frame_of(dataset, "rgb_back/00000.jpg").labels


def test_bench2drive_translates_the_cameras_around_the_car_alone(grow: Grow) -> None:
    dataset = open_dataset(grow("carla-bench2drive"))
    assert dataset.roles() == {"IMAGE": 6, "LABEL": 23, "AUX": 2, "PSEUDO": 2, "STALE": 0}
    files = dict(dataset.files())
    clip = "Accident_Town03_Route101_Weather23"
    assert files[f"{clip}/camera/rgb_top_down/00000.jpg"] is Role.PSEUDO
    assert files[f"{clip}/anno/00000.json.gz"] is Role.LABEL
    assert files[f"{clip}/expert_assessment/-0001.npz"] is Role.AUX


def test_bench2drive_since_0_0_4_has_depth_as_arrays(grow: Grow) -> None:
    root = grow("carla-bench2drive")
    folder = root / "Accident_Town03_Route101_Weather23/camera/depth_front"
    (folder / "00000.png").unlink()
    with (folder / "00000.npz").open("wb") as file:
        np.savez_compressed(file, depth=np.where(np.arange(24)[:, None] < 12, 12.5, 1000).repeat(32, 1).astype("f2"))
    (folder / "00001.png").unlink()
    (folder / "00001.npz").write_bytes(b"PK\3\4 cut")
    dataset = open_dataset(root)
    depth = frame_of(dataset, "rgb_front/00000.jpg").load_label("depth")
    assert upper_and_lower(depth) == pytest.approx((12.5, np.nan), nan_ok=True)
    with pytest.raises(DatasetError, match=r"depth_front/00001\.npz: cannot be read as an array"):
        frame_of(dataset, "rgb_front/00001.jpg").load_label("depth")


def test_garage_labels_each_camera_by_its_own(grow: Grow) -> None:
    dataset = open_dataset(grow("carla-garage"))
    first = frame_of(dataset, "route a/rgb/0001.jpg")
    assert (first.sequence, first.index) == ("Town01/route a/rgb", 1)
    assert first.labels == {
        "segmentation": "Town01/route a/semantics/0001.png",
        "depth": "Town01/route a/depth/0001.png",
    }
    moved = frame_of(dataset, "route a/rgb_augmented/0000.jpg")
    assert moved.labels == {"segmentation": "Town01/route a/semantics_augmented/0000.png"}
    assert frame_of(dataset, "route_b/rgb/0000.jpg").labels == {}
    assert upper_and_lower(first.load_label("depth")) == pytest.approx((10, np.nan), nan_ok=True)
    files = dict(dataset.files())
    assert files["Town01/route a/0000.jpg"] is Role.PSEUDO
    assert files["Town02/route_b/bev_semantics/0000.png"] is Role.LABEL
    assert files["Town02/route_b/measurements/0000.json.gz"] is Role.AUX


def test_garages_camera_images_are_not_taken_for_drawings(grow: Grow) -> None:
    assert open_dataset(grow("carla-garage")).stale()["simulated images, drawn for debugging"] == [
        "Town01/route a/0000.jpg"
    ]


def test_garage_needs_two_facts_either_of_boxes_and_measurements(grow: Grow) -> None:
    root = grow("carla-garage")
    for boxes in root.rglob("boxes/*"):
        boxes.unlink()
    assert open_dataset(root / "Town01/route a").name == "carla-garage"
    for measurements in root.rglob("measurements/*"):
        measurements.unlink()
    assert open_dataset(root).name == "images"


def test_names_of_tags_follow_the_release_that_a_route_shows(grow: Grow, plant: Plant) -> None:
    root = grow("carla-garage")
    plant(root, {f"Town02/route_b/semantics/000{n}.png": raw_png(halves(1, tag)) for n, tag in enumerate((14, 24))})
    dataset = open_dataset(root)
    assert named(frame_of(dataset, "route a/rgb/0000.jpg").load_label("segmentation")) == ["Road", "Vehicles"]
    assert named(frame_of(dataset, "route_b/rgb/0000.jpg").load_label("segmentation")) == ["Roads", "Car"]
    assert named(frame_of(dataset, "route_b/rgb/0001.jpg").load_label("segmentation")) == ["Roads", "RoadLine"]


def test_what_macos_leaves_beside_masks_names_no_tags(grow: Grow, plant: Plant) -> None:
    root = grow("carla-garage")
    for masks in root.rglob("semantics"):
        plant(masks, {"._0000.png": b"\0\5\x16\7"})
    assert next(open_dataset(root).frames()).load_label("segmentation")


def test_photos_beside_a_route_are_not_taken_for_its_views_for_debugging(grow: Grow, plant: Plant) -> None:
    root = grow("carla-garage")
    plant(root, "train2017/000000000001.jpg")
    dataset = open_dataset(root)
    assert any("not frames of this layout" in line for line in dataset.warnings())


def test_a_depth_that_is_not_grey_is_refused_by_name(grow: Grow, plant: Plant) -> None:
    root = grow("carla-garage")
    plant(root, {"Town01/route a/depth/0000.png": np.zeros((24, 32, 3), np.uint8)})
    with pytest.raises(ImageError, match=r"depth/0000\.png: this depth is stored as grey of 8 bits"):
        frame_of(open_dataset(root), "route a/rgb/0000.jpg").load_label("depth")


def test_opv2v_keeps_the_cameras_of_a_folder_apart(grow: Grow) -> None:
    root = grow("carla-opv2v")
    dataset = open_dataset(root)
    frame = frame_of(dataset, "1732/000071_camera3.png")
    assert (frame.sequence, frame.index) == ("train/2021_08_22_21_41_24/1732/camera3", 71)
    assert len({frame.sequence for frame in dataset.frames()}) == 7
    files = dict(dataset.files())
    assert files["train/2021_08_22_21_41_24/-1/000069.yaml"] is Role.LABEL
    additional = "additional/train/2021_08_22_21_41_24/1732/000069_bev_"
    assert [files[f"{additional}{kind}.png"] for kind in ("dynamic", "vis")] == [Role.LABEL, Role.PSEUDO]
    inside = open_dataset(root / "train/2021_08_22_21_41_24/1732")
    assert (inside.name, inside.match.images) == ("carla-opv2v", 8)
    assert {frame.sequence for frame in inside.frames()} == {f"camera{n}" for n in range(4)}


def test_shift_has_masks_depth_and_the_boxes_of_its_view(grow: Grow) -> None:
    dataset = open_dataset(grow("carla-shift"))
    empty, frame = frame_of(dataset, "00000000_img_front.jpg"), frame_of(dataset, "00000010_img_front.jpg")
    assert sorted(frame.labels) == ["boxes", "depth", "instance", "segmentation"]
    assert named(frame.load_label("segmentation")) == ["Road", "Vehicles"]
    assert upper_and_lower(frame.load_label("depth")) == pytest.approx((METRES, np.nan), nan_ok=True)
    boxes = frame.load_label("boxes")
    assert isinstance(boxes, Boxes)
    (car,) = boxes.boxes
    assert (car.label, car.left, car.top, car.right, car.bottom, car.track) == ("car", 4, 5, 10, 20.5, 17)
    assert empty.load_label("boxes") == Boxes(())
    instances, none = frame.load_label("instance"), empty.load_label("instance")
    assert isinstance(instances, Instances)
    assert isinstance(none, Instances)
    columns = [[17] * 6 + [4] * 18, [17] * 24, *([[-1] * 24] * 30)]
    assert instances.ids.T.tolist() == columns
    assert (none.ids == -1).all()
    assert frame_of(dataset, "00000000_img_left_45.jpg").labels == {}


def test_shift_tells_what_is_still_packed(grow: Grow) -> None:
    dataset = open_dataset(grow("carla-shift"))
    (line,) = (line for line in dataset.warnings() if "packed" in line)
    assert line.startswith("3 archives are still packed")
    assert "discrete/images/train/center/lidar.zip; unpack it into discrete/images/train/center/lidar/" in line
    files = dict(dataset.files())
    assert files["discrete/images/train/left_45/img.zip"] is Role.STALE
    assert files["discrete/images/train/front/flow/003d-7aaa/00000000_flow_front.npz"] is Role.LABEL


def test_shift_is_known_from_inside_with_the_labels_that_lie_there(grow: Grow) -> None:
    root = grow("carla-shift") / "discrete/images/train/front"
    view, sequence = open_dataset(root), open_dataset(root / "img/003d-7aaa")
    assert view.name == sequence.name == "carla-shift"
    frame = frame_of(view, "00000010_img_front.jpg")
    assert frame.labels["boxes"] == "det_2d.json"
    assert frame.load_label("boxes") != Boxes(())
    assert [frame.labels for frame in sequence.frames()] == [{}, {}]


def test_data_collector_pairs_the_cameras_of_an_episode(grow: Grow) -> None:
    root = grow("carla-data-collector")
    dataset = open_dataset(root)
    frame = frame_of(dataset, "LeftRGB_00001.png")
    assert (frame.sequence, frame.index) == ("episode_00000/left", 1)
    assert frame.labels == {
        "segmentation": "episode_00000/LeftSemanticSeg_00001.png",
        "depth": "episode_00000/leftDepth_00001.png",
    }
    assert named(frame.load_label("segmentation")) == ["Road", "Vehicles"]
    assert upper_and_lower(frame.load_label("depth")) == pytest.approx((METRES, np.nan), nan_ok=True)
    assert frame_of(dataset, "CameraRGB_00000.png").labels == {}
    assert dataset.roles() == {"IMAGE": 8, "LABEL": 14, "AUX": 8, "PSEUDO": 0, "STALE": 0}
    assert open_dataset(root / "Episode_00001").match.images == 2


def test_kitti_carla_matches_the_sensors_of_each_camera(grow: Grow) -> None:
    dataset = open_dataset(grow("carla-kitti"))
    frame = frame_of(dataset, "0000_1.png")
    assert (frame.sequence, frame.index) == ("Town01/generated/images_rgb/1", 0)
    assert frame.labels == {
        "segmentation": "Town01/generated/images_ss/0000_11.png",
        "depth": "Town01/generated/images_depth/0000_21.png",
    }
    segmentation = frame.load_label("segmentation")
    assert isinstance(segmentation, Segmentation)
    assert upper_and_lower(segmentation) == (7, -1)  # a road, and a colour that is none of the palette
    assert segmentation.names[7] == "Road"
    assert upper_and_lower(frame.load_label("depth")) == pytest.approx((METRES, np.nan), nan_ok=True)
    assert list(frame_of(dataset, "0001_1.png").labels) == ["segmentation"]
    assert dict(dataset.files())["Town01/generated/screenshot.png"] is Role.STALE


def test_carla_data_export_is_kitti_object(tmp_path: Path) -> None:
    dataset = open_dataset(data_export(tmp_path))
    assert (dataset.name, dataset.match.images) == ("kitti-object", 2)
    frame = next(dataset.frames())
    assert frame.labels == {"boxes": "_out/training/label_2/000000.txt"}
    assert isinstance(frame.load_label("boxes"), Boxes)


@pytest.mark.parametrize(
    "name", ["carla-bench2drive", "carla-garage", "carla-opv2v", "carla-shift", "carla-data-collector", "carla-kitti"]
)
def test_names_may_be_in_any_case(name: str, grow: Grow) -> None:
    root = grow(name)
    expected = sorted(sorted(frame.labels) for frame in open_dataset(root).frames())
    for path in sorted(root.rglob("*"), reverse=True):
        if path.name != "003d-7aaa":
            path.rename(path.with_name(path.name.swapcase()))
    dataset = open_dataset(root)
    assert dataset.name == name
    assert sorted(sorted(frame.labels) for frame in dataset.frames()) == expected


def test_boxes_of_scalabel_are_those_of_video_and_image(tmp_path: Path) -> None:
    corners = {"x1": 1, "y1": 2, "x2": 3, "y2": 4}
    frames = [
        {"name": f"{n}.jpg", "videoName": f"ü{n % 2}", "labels": [{"id": n, "category": "Fußgänger", "box2d": corners}]}
        for n in range(50)
    ]
    path = tmp_path / "det.json"
    path.write_text(json.dumps({"config": {"frames": None}, "frames": frames}, ensure_ascii=False), "utf-8")
    with pytest.raises(DatasetError):
        read_scalabel_boxes(path.with_name("none.json"), "1.jpg")
    assert [box.track for n in range(50) for box in read_scalabel_boxes(path, f"{n}.jpg", f"ü{n % 2}").boxes] == [
        *range(50)
    ]
    (box,) = read_scalabel_boxes(path, "7.jpg", "ü1").boxes
    assert (box.label, box.left, box.top, box.right, box.bottom) == ("Fußgänger", 1, 2, 4, 5)
    assert read_scalabel_boxes(path, "7.jpg", "ü0") == Boxes(())


@pytest.mark.parametrize(("name", "depth"), [("carla-garage", 10), ("carla-kitti", METRES)])
def test_recordings_without_intrinsics_can_be_resized(
    name: str, depth: float, grow: Grow, write_run: Callable[..., Path], tmp_path: Path
) -> None:
    source, out = grow(name), tmp_path / "out"
    convert(source, out, ConvertOptions(model=write_run(tmp_path / "run"), device="cpu", workers=1, resize=(16, 12)))
    dataset = open_dataset(out, name)
    frame = next(dataset.frames())
    assert frame.load_image().shape == (12, 16, 3)
    resized, segmentation = frame.load_label("depth"), frame.load_label("segmentation")
    assert isinstance(resized, Depth)
    assert isinstance(segmentation, Segmentation)
    assert segmentation.ids.shape == resized.metres.shape == (12, 16)
    assert resized.metres[[0, -1], 0] == pytest.approx((depth, np.nan), nan_ok=True)


@pytest.mark.parametrize("text", ["", "{}", '{"frames": 3}', '[{"name": "a"}, {"nam', "[3]", '[{"labels": []}]'])
def test_files_that_are_no_frames_of_scalabel_are_told_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "det.json"
    path.write_text(text)
    with pytest.raises(
        DatasetError, match=r"det\.json: (?:cannot be read as JSON|its frames are not in Scalabel's format): \S"
    ):
        read_scalabel_boxes(path, "a")


def test_shift_outlines_that_are_no_run_lengths_are_refused_by_name(grow: Grow) -> None:
    root = grow("carla-shift")
    masks = root / "discrete/images/train/front/det_insseg_2d.json"
    frames = json.loads(masks.read_text("utf-8"))
    frames[1]["labels"] = [{"id": "1", "poly2d": [{"vertices": [[0, 0], [4, 0], [4, 4]], "types": "LLL"}]}]
    masks.write_text(json.dumps(frames), "utf-8")
    last = list(open_dataset(root).frames(include=["*/front/*"]))[-1]
    with pytest.raises(DatasetError, match=r"det_insseg_2d\.json: instances of 00000010_img_front\.jpg are outlines"):
        last.load_label("instance")
