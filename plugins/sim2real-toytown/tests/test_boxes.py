"""bbox.txt says exactly what the instance images show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from conftest import Scene

FRAMES = [(time, camera) for time in range(3) for camera in (0, 1)]


@pytest.mark.parametrize(("time", "camera"), FRAMES)
def test_boxes_are_the_extents_of_the_instances(scene: Scene, time: int, camera: int) -> None:
    instances = scene.instances(time, camera)
    boxes = scene.boxes(time, camera)
    assert set(boxes) == set(np.unique(instances).tolist()) - {-1}
    for track_id, box in boxes.items():
        rows, columns = np.nonzero(instances == track_id)
        extent = columns.min(), columns.max(), rows.min(), rows.max()
        assert (box.left, box.right, box.top, box.bottom) == extent
        assert box.number_pixels == len(rows)


@pytest.mark.parametrize(("time", "camera"), FRAMES)
def test_boxes_and_poses_have_the_same_rows_and_info_knows_them(scene: Scene, time: int, camera: int) -> None:
    assert list(scene.boxes(time, camera)) == list(scene.poses(time, camera))
    assert set(scene.boxes(time, camera)) <= {int(row[0]) for row in scene.rows("info")}


def test_info_lists_no_vehicle_that_is_never_seen(scene: Scene) -> None:
    seen = {track_id for time, camera in FRAMES for track_id in scene.boxes(time, camera)}
    assert [int(row[0]) for row in scene.rows("info")] == sorted(seen)
    assert {row[1] for row in scene.rows("info")} <= {"Car", "Van", "Truck"}


def test_class_of_a_vehicles_pixels_is_its_label(scene: Scene) -> None:
    colours = {name: tuple(map(int, colour)) for name, *colour in scene.rows("colors")}
    labels = {int(row[0]): row[1] for row in scene.rows("info")}
    instances, classes = scene.instances(0), scene.classes(0)
    for track_id in scene.boxes(0):
        assert {tuple(c) for c in classes[instances == track_id].tolist()} == {colours[labels[track_id]]}
    vehicles = [colours[name] for name in ("Car", "Van", "Truck")]
    is_vehicle = np.any([(classes == colour).all(axis=-1) for colour in vehicles], axis=0)
    assert (is_vehicle == (instances >= 0)).all()


def test_occupancy_tells_hidden_vehicles(scene: Scene) -> None:
    boxes = [box for time, camera in FRAMES for box in scene.boxes(time, camera).values()]
    assert all(0 < box.occupancy <= 1 for box in boxes)
    assert any(box.occupancy == 1 for box in boxes)
    assert any(box.occupancy < 0.7 for box in boxes)


def test_truncation_tells_vehicles_that_the_image_cuts(scene: Scene) -> None:
    height, width = scene.depth(0).shape
    cut = []
    for time, camera in FRAMES:
        boxes, poses = scene.boxes(time, camera), scene.poses(time, camera)
        for track_id, box in boxes.items():
            assert 0 <= box.truncation < 1
            w, h, length = poses[track_id].size
            signs = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-1, 0) for z in (-0.5, 0.5)])
            corners = poses[track_id].camera[:3, :3] @ (signs * (length, h, w)).T
            corners += poses[track_id].camera[:3, 3:]
            corners[2] = np.maximum(corners[2], 0.1)
            u, v, _ = scene.intrinsics(time, camera) @ corners / corners[2]
            if u.min() > 0 and u.max() < width - 1 and v.min() > 0 and v.max() < height - 1:
                assert box.truncation == 0
            if u.min() < -0.1 * width or u.max() > 1.1 * width:
                assert box.truncation > 0
                cut.append((u.min() < 0, u.max() > width))
    assert {(True, False), (False, True)} <= set(cut)


def test_what_moves_is_what_is_said_to_move(scene: Scene) -> None:
    moved = {}
    for track_id in set(scene.poses(0)) & set(scene.poses(1)):
        step = scene.poses(1)[track_id].world[:3, 3] - scene.poses(0)[track_id].world[:3, 3]
        moved[track_id] = str(bool(np.linalg.norm(step) > 0.1))
    assert set(moved.values()) == {"True", "False"}
    assert moved == {track_id: scene.boxes(0)[track_id].moving for track_id in moved}
