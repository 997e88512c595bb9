"""Frames in memory, and the primitives against plain ray tracing."""

import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from sim2real_toytown import render_frame
from sim2real_toytown.camera import Camera, Floats, rotation_x, rotation_y, rotation_z
from sim2real_toytown.labels import measure_boxes
from sim2real_toytown.raycast import cast
from sim2real_toytown.shapes import Body, Ellipsoid, Label, Material, Part, box, prism
from sim2real_toytown.street import Street
from sim2real_toytown.traffic import camera_progress, traffic

Mask = NDArray[np.bool_]
GREY = (0.5, 0.5, 0.5)


def camera(yaw: float = 0.1, width: int = 61, height: int = 31) -> Camera:
    turn = rotation_z(0.05) @ rotation_x(0.03) @ rotation_y(-yaw)
    return Camera(width, height, turn, np.array([0.4, -1.6, -0.3]))


def world_rays(eye: Camera) -> Floats:
    x, y = eye.rays()
    directions = np.stack(np.broadcast_arrays(x, y, np.ones_like(x * y)), axis=-1)
    return directions @ eye.rotation  # parameter of a point on the ray = its depth


def march(eye: Camera, inside: Callable[[Floats], Mask], far: float = 14.0, step: float = 0.002) -> Floats:
    """Depth at which each ray first enters a solid, by small steps; inf if it never does."""
    directions = world_rays(eye)
    depth = np.full(directions.shape[:2], np.inf)
    for t in np.arange(step, far, step):
        hit = np.isinf(depth) & inside(eye.centre + t * directions)
        depth[hit] = t
    return depth


def local(points: Floats, body: Body) -> Floats:
    return (points - body.position) @ body.rotation


SOLIDS: dict[str, tuple[Part, Callable[[Floats], Mask]]] = {
    "box": (
        box((Label.Misc, GREY), (-1.0, 1.5), (-2.2, -0.3), (-0.7, 0.6), Material.PAINT),
        lambda p: (
            (p[..., 0] > -1.0) & (p[..., 0] < 1.5)
            & (p[..., 1] > -2.2) & (p[..., 1] < -0.3)
            & (p[..., 2] > -0.7) & (p[..., 2] < 0.6)
        ),
    ),
    "roof": (
        prism((Label.Misc, GREY), [(-1.0, -1.0), (-1.0, 1.0), (-2.0, 0.0)], "x", (-1.5, 1.5), Material.ROOF),
        lambda p: (np.abs(p[..., 0]) < 1.5) & (p[..., 1] < -1.0) & (np.abs(p[..., 2]) < 2.0 + p[..., 1]),
    ),
    "cabin": (
        prism(
            (Label.Misc, GREY), [(-1, -0.5), (1, -0.5), (0.7, -2), (-0.7, -2)], "z", (-1, 1), Material.PAINT, lean=0.3
        ),
        lambda p: (
            (p[..., 1] < -0.5) & (p[..., 1] > -2)
            & (np.abs(p[..., 0]) < 1 + 0.2 * (p[..., 1] + 0.5))
            & (np.abs(p[..., 2]) < 1 + 0.3 * (p[..., 1] + 0.5))
        ),
    ),
    "ellipsoid": (
        Ellipsoid(Label.Tree, GREY, np.array([0.2, -1.5, 0.1]), np.array([1.2, 0.8, 0.5])),
        lambda p: (((p - (0.2, -1.5, 0.1)) / (1.2, 0.8, 0.5)) ** 2).sum(axis=-1) < 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SOLIDS)
def test_rays_meet_solids_where_a_march_along_them_does(name: str) -> None:
    part, inside = SOLIDS[name]
    body = Body(0.7, 6.0, 0.6, (part,))
    eye = camera()
    hits = cast(eye, [body])
    on_it = np.isin(hits.faces["label"][hits.face], part.label) & (hits.face > 1)
    marched = march(eye, lambda points: inside(local(points, body)))
    agree = on_it == np.isfinite(marched)
    assert on_it.sum() > 60
    assert agree.mean() > 0.995  # a step may miss a corner
    both = on_it & np.isfinite(marched)
    assert np.abs(1 / hits.inverse[both] - marched[both]).max() < 0.0021


def test_ground_is_met_at_the_cameras_height() -> None:
    eye = camera()
    hits = cast(eye, [])
    ground = hits.face == 1
    points = eye.centre + world_rays(eye) / np.where(ground, hits.inverse, 1)[..., None]
    assert 0.3 < ground.mean() < 0.7
    assert np.abs(points[ground][:, 1]).max() < 1e-9


def test_the_nearer_thing_hides_the_farther_whatever_their_order() -> None:
    part, _ = SOLIDS["box"]
    near, far = Body(0.0, 5.0, 0.3, (part,), 1), Body(2.0, 9.0, 0.8, (part,), 2)
    eye = camera()
    one, two = cast(eye, [near, far]), cast(eye, [far, near])
    seen = [hits.faces["instance"][hits.face] for hits in (one, two)]
    assert set(np.unique(seen[0])) == {-1, 1, 2}
    assert (seen[0] == seen[1]).all()
    assert (one.inverse == two.inverse).all()


def test_a_camera_inside_or_before_a_solid_sees_nothing_of_it() -> None:
    part, _ = SOLIDS["box"]
    around, behind = Body(0.4, -0.3, 0.0, (part,), 1), Body(0.0, -20.0, 0.0, (part,), 2)
    hits = cast(camera(yaw=0.0), [around, behind])
    assert (hits.faces["instance"][hits.face] == -1).all()


def test_a_box_as_high_as_the_camera_ends_at_the_horizon() -> None:
    eye = Camera(61, 31, np.eye(3), np.array([0.0, -1.6, 0.0]))
    body = Body(0.0, 6.0, 0.0, (box((Label.Misc, GREY), (-1, 1), (-1.6, 0), (-1, 1), Material.PAINT),), 1)
    hits = cast(eye, [body])
    rows, _ = np.nonzero(hits.faces["instance"][hits.face] == 1)
    assert rows.min() == 15  # the horizon
    assert rows.max() > 18


@pytest.mark.parametrize(("x", "y"), [(-1, 0), (1, 0), (0, -1), (0, 1)])
def test_half_of_a_box_on_the_images_border_is_truncated(x: int, y: int) -> None:
    eye = Camera(121, 61, np.eye(3), np.array([0.0, -30.0, 0.0]))
    right, down = np.array([60.5, 30.5]) / eye.focal * 20  # half the image at a depth of 20 metres
    middle = -30 + y * down
    shape = box((Label.Car, GREY), (-2, 2), (middle - 2, middle + 2), (-0.01, 0.01), Material.PAINT)
    body = Body(x * right, 20.0, 0.0, (shape,), 1)
    (measured,) = measure_boxes(cast(eye, [body]), eye, {1: body}).values()
    assert measured.truncation_ratio == pytest.approx(0.5, abs=0.05)
    assert measured.occupancy_ratio == 1


def test_a_frame_has_everything_in_the_documented_shapes() -> None:
    frame = render_frame(3, look="real", size=(96, 40), seed=1, scene=6, camera=1)
    arrays = (frame.rgb, frame.depth, frame.classes, frame.instances)
    assert [array.shape for array in arrays] == [(40, 96, 3), (40, 96), (40, 96), (40, 96)]
    assert [array.dtype.name for array in arrays] == ["uint8", "uint16", "uint8", "uint8"]
    for motion in (frame.forward, frame.backward):
        assert motion is not None
        assert motion.flow.shape == (40, 96, 2)
        assert motion.scene_flow.shape == (40, 96, 3)
        assert (motion.valid == (frame.classes != Label.Sky)).mean() > 0.9
    assert set(np.unique(frame.instances).tolist()) - {0} == {track_id + 1 for track_id in frame.boxes}
    bare = render_frame(3, size=(96, 40), forward=False, backward=False, boxes=False)
    assert (bare.forward, bare.backward, bare.boxes) == (None, None, {})


@pytest.mark.parametrize("time", [0, 777, 19_999])
def test_the_street_never_ends(time: int) -> None:
    frame = render_frame(time, size=(160, 48), seed=4)
    classes = set(np.unique(frame.classes).tolist())
    assert {Label.Road, Label.Terrain, Label.Sky, Label.Tree} <= classes
    assert frame.forward is not None
    assert np.abs(frame.forward.flow[frame.forward.valid]).max() > 1


def test_a_drive_shows_every_class() -> None:
    frames = (render_frame(time, size=(160, 48), scene=2, boxes=False) for time in range(0, 600, 150))
    seen = {label for frame in frames for label in np.unique(frame.classes).tolist()}
    assert seen == set(Label) - {Label.Undefined}


def test_track_ids_are_never_shared_by_two_vehicles_at_a_time() -> None:
    street = Street(3, 1)
    for time in range(0, 20_000, 1999):
        here = camera_progress(street, time)
        ids = [placed.vehicle.track_id for placed in traffic(street, time, here - 24, here + 320)]
        assert len(ids) > 10
        assert len(ids) == len(set(ids))
        assert max(ids) <= 254


def test_vehicles_of_a_lane_keep_apart() -> None:
    for seed in range(3):
        street = Street(seed, 1)
        for time in range(0, 3000, 300):
            here = camera_progress(street, time)
            lanes: dict[int, list[tuple[float, float]]] = {}
            for placed in traffic(street, time, here - 24, here + 320):
                half = placed.vehicle.model.length / 2
                lanes.setdefault(placed.lane.index, []).append((placed.along(time) - half, placed.along(time) + half))
            for spans in lanes.values():
                spans.sort()
                assert all(before[1] < after[0] for before, after in pairwise(spans))
            assert all(low > here + 3 or high < here - 3 for low, high in lanes.get(0, []))


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, sim2real_toytown; print({'numpy', 'cv2', 'PIL', 'torch'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
