"""The labels on disk agree with each other, as only exact geometry does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from sim2real_toytown.camera import Camera, Floats

if TYPE_CHECKING:
    from conftest import Scene

WAYS = [(0, 1, "forward"), (1, 2, "forward"), (1, 0, "backward"), (2, 1, "backward")]
SHARED = 300  # two frames a metre apart see at least so many pixels of the same static things


def project(scene: Scene, time: int, camera: int, points: Floats) -> Floats:
    pixels = scene.intrinsics(time, camera) @ points[:3]
    return np.asarray((pixels[:2] / pixels[2]).T)


def moved_points(scene: Scene, time: int, other: int, camera: int = 0) -> Floats:
    """The points that the pixels see, in the camera of the other frame; nan where a vehicle is not seen in both."""
    points = np.linalg.inv(scene.extrinsics(time, camera)) @ scene.points(time, camera)
    instances = scene.instances(time, camera).ravel()
    before, after = scene.poses(time, camera), scene.poses(other, camera)
    for track_id in before:
        mask = instances == track_id
        if track_id in after:
            points[:, mask] = after[track_id].world @ np.linalg.inv(before[track_id].world) @ points[:, mask]
        else:
            points[:, mask] = np.nan
    return np.asarray(scene.extrinsics(other, camera) @ points)


@pytest.mark.parametrize(("time", "other", "way"), WAYS)
@pytest.mark.parametrize("camera", [0, 1])
def test_depth_and_poses_move_points_as_the_flow_says(
    scene: Scene, time: int, other: int, way: str, camera: int
) -> None:
    flow, valid = scene.flow(time, way, camera)
    depth = scene.depth(time, camera).ravel()
    rows, columns = np.indices(valid.shape)
    start = np.stack([columns.ravel(), rows.ravel()], axis=1)
    expected = project(scene, other, camera, moved_points(scene, time, other, camera)) - start
    known = valid.ravel() & np.isfinite(expected).all(axis=1)
    assert known.sum() > 0.5 * known.size
    error = np.abs(expected - flow.reshape(-1, 2)).max(axis=1)[known]
    # half a centimetre of depth and half a step of the code are what files leave open
    slack = 0.01 + 0.006 / depth[known] * (np.abs(expected[known]).max(axis=1) + 20)
    assert (error < slack).all()


@pytest.mark.parametrize(("time", "other", "way"), WAYS)
def test_some_points_of_moving_vehicles_are_checked(scene: Scene, time: int, other: int, way: str) -> None:
    moving = [track_id for track_id, box in scene.boxes(time).items() if box.moving == "True"]
    assert any(track_id in scene.poses(other) for track_id in moving)
    assert any(track_id not in moving for track_id in scene.boxes(time))


@pytest.mark.parametrize(("time", "other", "way"), WAYS)
def test_flow_leads_to_the_same_surface_in_the_other_frame(scene: Scene, time: int, other: int, way: str) -> None:
    flow, valid = scene.flow(time, way)
    rows, columns = np.indices(valid.shape)
    target = np.rint(np.stack([columns, rows], axis=-1) + flow).astype(int)
    height, width = valid.shape
    inside = valid & ((target >= 0) & (target < (width, height))).all(axis=-1) & (scene.instances(time) < 0)
    found = scene.depth(other)[target[inside][:, 1], target[inside][:, 0]]
    expected = moved_points(scene, time, other)[2].reshape(valid.shape)[inside]
    agree = np.abs(found / expected - 1) < 0.05
    assert inside.sum() > SHARED
    assert agree.mean() > 0.75  # the rest is hidden behind something, or on the rim of a thing a few pixels wide


@pytest.mark.parametrize(("time", "other", "way"), WAYS)
def test_scene_flow_is_what_depth_and_flow_make_of_it(scene: Scene, time: int, other: int, way: str) -> None:
    flow, valid = scene.flow(time, way)
    motion, known = scene.scene_flow(time, way)
    both = (valid & known).ravel()
    assert both.sum() > SHARED
    points = scene.points(time)[:3]
    pixels = project(scene, other, 0, points + motion.reshape(-1, 3).T)
    rows, columns = np.indices(valid.shape)
    target = np.stack([columns, rows], axis=-1) + flow
    error = np.abs(pixels - target.reshape(-1, 2)).max(axis=1)[both]
    assert (error < 0.01 + 1.0 / points[2, both]).all()
    assert np.median(error) < 0.02
    expected = moved_points(scene, time, other)[:3] - points
    sure = both & np.isfinite(expected).all(axis=0) & (points[2] < 60)
    difference = np.abs(expected.T - motion.reshape(-1, 3))[sure]
    assert difference.max() < 0.02


def test_sky_is_infinitely_far_and_has_no_motion(scene: Scene) -> None:
    sky = (scene.classes(1) == (90, 200, 255)).all(axis=-1)
    assert 0 < sky.sum() < sky.size
    assert (np.isinf(scene.depth(1)) == sky).all()
    for way in ("forward", "backward"):
        assert not scene.flow(1, way)[1][sky].any()
        assert not scene.scene_flow(1, way)[1][sky].any()


def test_cameras_are_parallel_and_stand_a_baseline_apart(scene: Scene) -> None:
    for time in range(3):
        left, right = scene.extrinsics(time, 0), scene.extrinsics(time, 1)
        assert np.allclose(left[:3, :3], right[:3, :3], atol=1e-8)
        assert np.allclose(left[:3, 3] - right[:3, 3], [0.532725, 0, 0], atol=1e-4)
        assert np.allclose(left[:3, :3] @ left[:3, :3].T, np.eye(3), atol=1e-7)


def test_right_camera_sees_the_left_ones_depth_at_the_disparity(scene: Scene) -> None:
    left, right = scene.depth(0, 0), scene.depth(0, 1)
    focal = scene.intrinsics(0)[0, 0]
    columns = np.arange(left.shape[1])
    target = np.rint(columns - focal * 0.532725 / left).astype(int)
    inside = np.isfinite(left) & (target >= 0)
    found = np.take_along_axis(right, np.where(inside, target, 0), axis=1)
    agree = np.abs(found[inside] / left[inside] - 1) < 0.05
    assert inside.sum() > SHARED
    assert agree.mean() > 0.8


def test_road_is_a_plane_under_the_camera(scene: Scene) -> None:
    road = (scene.classes(0) == (100, 60, 100)).all(axis=-1).ravel()
    world = np.linalg.inv(scene.extrinsics(0)) @ scene.points(0)
    near = road & (scene.depth(0).ravel() < 30)
    assert near.sum() > SHARED
    assert np.abs(world[1, near]).max() < 0.01


@pytest.mark.parametrize("camera", [0, 1])
def test_pixels_of_a_vehicle_lie_in_its_three_dimensional_box(scene: Scene, camera: int) -> None:
    instances = scene.instances(0, camera).ravel()
    points = scene.points(0, camera)
    world = np.linalg.inv(scene.extrinsics(0, camera)) @ points
    poses = scene.poses(0, camera)
    assert len(poses) > 3
    for track_id, pose in poses.items():
        width, height, length = pose.size
        mask = instances == track_id
        for frame, cloud in ((pose.world, world), (pose.camera, points)):
            x, y, z, _ = np.linalg.inv(frame) @ cloud[:, mask]
            assert np.abs(x).max() < length / 2 + 0.05
            assert np.abs(z).max() < width / 2 + 0.05
            assert y.max() < 0.05
            assert -y.min() < height + 0.05


def test_alpha_is_the_yaw_seen_from_the_line_of_sight(scene: Scene) -> None:
    for row in scene.rows("pose"):
        alpha, x, z, yaw = (float(row[i]) for i in (3, 13, 15, 16))
        difference = alpha - (yaw - np.arctan2(x, z))
        assert np.cos(difference) == pytest.approx(1, abs=1e-9)
        assert abs(alpha) <= np.pi


def test_poses_in_the_world_and_in_the_camera_are_one(scene: Scene) -> None:
    for time in range(3):
        for pose in scene.poses(time).values():
            assert np.allclose(scene.extrinsics(time) @ pose.world, pose.camera, atol=1e-4)


def test_size_of_the_original_has_the_original_intrinsics() -> None:
    camera = Camera(1242, 375, np.eye(3), np.zeros(3))
    assert camera.focal == pytest.approx(725.0087)
    assert camera.principal == (620.5, 187)
