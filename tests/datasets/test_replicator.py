"""Replicator's writers: what they tell of a frame is known value by value, and pictures of labels are no photos."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sim2real.datasets import Role, open_dataset
from sim2real.datasets.labels import NOTHING, Boxes, Depth, Distance, Instances, Segmentation
from sim2real.errors import DatasetError
from tests.datasets.reading import frames_of
from tests.datasets.trees.common import halves, photo, raw_png, write
from tests.datasets.trees.replicator import BOX, annotate, npy, rgba

Grow = Callable[..., Path]
Plant = Callable[..., None]

CAR, CONE = 140 + 25 * 256 + 255 * 65536, 255 + 197 * 256 + 25 * 65536


def test_basic_tells_every_label_of_a_frame(grow: Grow) -> None:
    frame = frames_of(grow("replicator-basic"))["rgb_0000.png"]
    assert list(frame.labels) == ["segmentation", "instance", "depth", "distance", "boxes"]
    assert np.array_equal(frame.load_image(), photo(0))
    segmentation, instances = frame.load_label("segmentation"), frame.load_label("instance")
    depth, distance, boxes = (frame.load_label(kind) for kind in ("depth", "distance", "boxes"))
    assert isinstance(segmentation, Segmentation)
    assert segmentation.names == {CAR: "car", CONE: "cone"}
    assert [np.unique(half).tolist() for half in np.split(segmentation.ids, 2)] == [[NOTHING], [CAR]]
    assert isinstance(instances, Instances)
    assert [np.unique(half).tolist() for half in np.split(instances.ids, 2)] == [[NOTHING], [9 + 8 * 256 + 7 * 65536]]
    assert isinstance(depth, Depth)
    assert np.isnan(depth.metres[0]).all()
    assert (depth.metres[1:] == 2.5).all()
    assert isinstance(distance, Distance)
    assert distance.metres.shape == (24, 32)
    assert distance.metres[1, 0] == 3.5
    assert isinstance(boxes, Boxes)
    assert [(box.label, box.left, box.top, box.right, box.bottom) for box in boxes.boxes] == [
        ("car", 1, 2, 30, 20),
        ("cone", 3, 4, 5, 6),
    ]


def test_basic_reads_ids_where_masks_are_not_coloured(grow: Grow, plant: Plant) -> None:
    root = grow("replicator-basic")
    plant(
        root,
        {
            "semantic_segmentation_0000.png": raw_png(halves(1, 300, np.uint16)),
            "semantic_segmentation_labels_0000.json": json.dumps(
                {"0": {"class": "BACKGROUND"}, "1": {"class": "UNLABELLED"}, "300": {"class": "car"}}
            ),
        },
    )
    segmentation = frames_of(root)["rgb_0000.png"].load_label("segmentation")
    assert isinstance(segmentation, Segmentation)
    assert segmentation.names == {300: "car"}
    assert np.unique(segmentation.ids).tolist() == [NOTHING, 300]


def test_basic_knows_times_and_counts_of_triggers(tmp_path: Path) -> None:
    for stem in ("0.066667", "0.100000", "2_0003"):
        annotate(tmp_path, stem, 0)
    frames = frames_of(tmp_path)
    assert [(frame.image, frame.index, len(frame.labels)) for frame in frames.values()] == [
        ("rgb_0.066667.png", 66667, 5),
        ("rgb_0.100000.png", 100000, 5),
        ("rgb_2_0003.png", 20003, 5),
    ]
    frames["rgb_2_0003.png"].load_label("boxes")


@pytest.mark.parametrize("outer", ["", "Replicator/cam_0_Xform/"])
def test_basic_knows_folders_of_render_products(outer: str, tmp_path: Path) -> None:
    for product in ("RenderProduct", "RenderProduct_1"):
        annotate(tmp_path / outer / product, "0000", 0, nested=True)
    frames = frames_of(tmp_path)
    assert list(frames) == [f"{outer}{name}/rgb/rgb_0000.png" for name in ("RenderProduct", "RenderProduct_1")]
    for image, frame in frames.items():
        folder = image.removesuffix("rgb/rgb_0000.png")
        assert frame.sequence == f"{folder}rgb"
        assert len(frame.labels) == 5
        assert all(path.startswith(folder) for path in frame.labels.values())
        frame.load_label("segmentation")
    inside = frames_of(tmp_path / outer / "RenderProduct")
    assert [len(frame.labels) for frame in inside.values()] == [5]


def test_basic_knows_render_products_in_common_folders(tmp_path: Path) -> None:
    for product in ("Cam_0_", "Cam_1_"):
        annotate(tmp_path, "0000", 0, product=product)
    frames = frames_of(tmp_path)
    assert [frame.sequence for frame in frames.values()] == ["rgb/Cam_0", "rgb/Cam_1"]
    assert (
        frames["rgb/Cam_1_rgb_0000.png"].labels["boxes"] == "bounding_box_2d_tight/Cam_1_bounding_box_2d_tight_0000.npy"
    )
    frames["rgb/Cam_1_rgb_0000.png"].load_label("instance")


def test_basic_prefers_tight_boxes_and_semantic_instances(grow: Grow, plant: Plant) -> None:
    root = grow("replicator-basic")
    plant(root, {"instance_id_segmentation_0000.png": raw_png(halves([1, 1, 1, 255], [2, 2, 2, 255]))})
    npy(root / "bounding_box_2d_loose_0000.npy", np.zeros(0, BOX))
    assert frames_of(root)["rgb_0000.png"].labels["boxes"].startswith("bounding_box_2d_tight")
    assert frames_of(root)["rgb_0000.png"].labels["instance"].startswith("instance_segmentation")
    (root / "bounding_box_2d_tight_0000.npy").unlink()
    (root / "instance_segmentation_0000.png").unlink()
    frame = frames_of(root)["rgb_0000.png"]
    assert frame.labels["boxes"] == "bounding_box_2d_loose_0000.npy"
    assert frame.labels["instance"] == "instance_id_segmentation_0000.png"
    with pytest.raises(DatasetError, match=r"bounding_box_2d_loose_labels_0000\.json"):
        frame.load_label("boxes")


def test_basic_roles_of_pictures_of_labels_and_of_old_colours(grow: Grow) -> None:
    files = dict(open_dataset(grow("replicator-basic")).files())
    assert files["normals_0000.png"] is files["distance_to_image_plane_0000.png"] is Role.PSEUDO
    assert files["pointcloud_rgb_0000.npy"] is Role.STALE
    assert files["metadata.txt"] is files["camera_params_0000.json"] is Role.AUX
    assert files["motion_vectors_0000.npy"] is files["bounding_box_2d_tight_prim_paths_0000.json"] is Role.LABEL


def test_basic_images_need_a_second_fact(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "rgb_0000.png")
    assert open_dataset(tmp_path).name == "images"
    plant(tmp_path, {"metadata.txt": "{}"})
    assert open_dataset(tmp_path).name == "replicator-basic"


@pytest.mark.parametrize(
    ("name", "content", "kind", "told"),
    [
        ("semantic_segmentation_labels_0000.json", "{", "segmentation", "cannot be read as JSON"),
        ("semantic_segmentation_labels_0000.json", '{"red": "car"}', "segmentation", "does not map ids or colours"),
        ("semantic_segmentation_labels_0000.json", "[]", "segmentation", "does not map ids or colours"),
        ("distance_to_image_plane_0000.npy", b"\x93NUMPY", "depth", "cannot be read as an array"),
        ("bounding_box_2d_tight_0000.npy", None, "boxes", "rows with the fields semanticId, x_min"),
        ("distance_to_camera_0000.npy", None, "distance", "numbers of shape"),
    ],
)
def test_basic_names_the_damaged_file(name: str, content: str | bytes | None, kind: str, told: str, grow: Grow) -> None:
    root = grow("replicator-basic")
    if content is None:
        npy(root / name, np.zeros(3, np.int32))
    else:
        write(root / name, content)
    with pytest.raises(DatasetError, match=rf"{name}: .*{told}"):
        frames_of(root)["rgb_0000.png"].load_label(kind)


def test_coco_has_boxes_and_pictures_of_labels(grow: Grow) -> None:
    dataset = open_dataset(grow("replicator-coco"))
    assert dataset.name == "replicator-coco"
    frame = next(dataset.frames())
    assert frame.labels == {"boxes": "coco_annotations_qwertzui.json"}
    boxes = frame.load_label("boxes")
    assert isinstance(boxes, Boxes)
    (box,) = boxes.boxes
    assert (box.label, box.left, box.top, box.right, box.bottom) == ("forklift", 1, 2, 30, 20)
    assert dict(dataset.files())["RenderProduct_Camera/panoptic_Camera_0.0000.png"] is Role.LABEL


def test_coco_file_without_a_box_is_a_label_all_the_same(grow: Grow) -> None:
    root = grow("replicator-coco")
    path = root / "coco_annotations_qwertzui.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), "annotations": []}), "utf-8")
    assert dict(open_dataset(root).files())[path.name] is Role.LABEL


@pytest.mark.parametrize("standard", [False, True])
def test_kitti_tells_every_label_under_either_set_of_names(standard: bool, grow: Grow) -> None:
    root = grow("replicator-kitti", standard=standard)
    assert open_dataset(root).name == "replicator-kitti"
    frames = list(open_dataset(root / "RenderProduct_Camera 1").frames())
    assert [frame.index for frame in frames] == [10, 9]  # by name
    frame = frames[0]
    assert frame.image == f"Camera 1/{'image_02' if standard else 'rgb'}/10.png"
    segmentation, instances = frame.load_label("segmentation"), frame.load_label("instance")
    distance, boxes = frame.load_label("distance"), frame.load_label("boxes")
    assert isinstance(segmentation, Segmentation)
    assert (np.unique(segmentation.ids).tolist(), segmentation.names) == ([NOTHING, 26], {})
    assert isinstance(instances, Instances)
    assert np.unique(instances.ids).tolist() == [NOTHING, 26 * 256 + 2]
    assert isinstance(distance, Distance)
    assert np.isnan(distance.metres[0]).all()
    assert (distance.metres[12:] == 2.5).all()
    assert isinstance(boxes, Boxes)
    box = boxes.boxes[0]
    assert (box.label, box.left, box.top, box.right, box.bottom) == ("traffic cone", 1, 2, 31, 23)
    assert box.truncated is None


def test_kitti_pictures_of_labels_are_no_photos(grow: Grow) -> None:
    files = dict(open_dataset(grow("replicator-kitti")).files())
    camera = "RenderProduct_Camera_0/Camera_0"
    assert files[f"{camera}/semantic_segmentation/9.png"] is files[f"{camera}/instance_rgb/9.png"] is Role.PSEUDO
    assert files[f"{camera}/semantic/9.png"] is files[f"{camera}/instance_segmentation/9.png"] is Role.LABEL


def test_kitti_boxes_of_a_broken_class_are_an_error(grow: Grow, plant: Plant) -> None:
    root = grow("replicator-kitti")
    path = "RenderProduct_Camera_0/Camera_0/object_detection/9.txt"
    plant(root, {path: f"\"{{'class': \" 0.00 1 0.00 1 2 31 23{7 * ' 0.00'}\r\n"})
    frame = frames_of(root)["RenderProduct_Camera_0/Camera_0/rgb/9.png"]
    with pytest.raises(DatasetError, match=r"9\.txt: the class of a box is not a dictionary"):
        frame.load_label("boxes")


def test_pose_overlays_show_old_pixels(grow: Grow, tmp_path: Path, plant: Plant) -> None:
    root = grow("replicator-pose")
    files = dict(open_dataset(root).files())
    assert files["000000_overlay.png"] is Role.STALE
    assert files["000000.json"] is Role.LABEL
    plant(tmp_path / "others", "000000.png", {"000000.json": '{"shapes": []}'})
    assert open_dataset(tmp_path / "others").name != "replicator-pose"


def test_mobilitygen_depth_is_the_inverse_of_one_more_than_metres(grow: Grow) -> None:
    dataset = open_dataset(grow("replicator-mobilitygen"))
    frame = next(dataset.frames())
    distance, instances = frame.load_label("distance"), frame.load_label("instance")
    assert isinstance(distance, Distance)
    assert np.isnan(distance.metres[0]).all()
    assert distance.metres[12:] == pytest.approx(65535 / 16383 - 1)
    assert isinstance(instances, Instances)
    assert np.unique(instances.ids).tolist() == [NOTHING, 300]
    assert dict(dataset.files())["2025-01-21T12-00-00/occupancy_map/map.png"] is Role.AUX


def test_mobilitygen_is_known_from_inside(grow: Grow) -> None:
    dataset = open_dataset(grow("replicator-mobilitygen") / "2025-01-21T12-00-00/state")
    assert dataset.name == "replicator-mobilitygen"
    assert list(next(dataset.frames()).labels) == ["segmentation", "instance", "distance"]


def test_alpha_of_photos_is_no_part_of_what_is_seen(tmp_path: Path, plant: Plant) -> None:
    alpha = np.arange(24 * 32, dtype=np.uint16).reshape(24, 32).astype(np.uint8)
    plant(tmp_path, {"rgb_0000.png": raw_png(np.dstack((photo(), alpha))), "metadata.txt": "{}"})
    assert np.array_equal(next(open_dataset(tmp_path).frames()).load_image(), photo())
    plant(tmp_path, {"rgb_0000.png": rgba()})
    assert np.array_equal(next(open_dataset(tmp_path).frames()).load_image(), photo())
