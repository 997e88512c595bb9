"""Labels from hits: depth, optical flow, scene flow and boxes, and the 16-bit encodings of Virtual KITTI 2."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim2real_toytown.camera import Camera, Floats, Rect, rotation_y
from sim2real_toytown.raycast import NEAR, SKY, Hits, extent, silhouette
from sim2real_toytown.shapes import Body
from sim2real_toytown.traffic import Placed

Codes = NDArray[np.uint16]


@dataclass(frozen=True)
class Motion:
    """The motion of the visible points to another frame.

    Attributes:
        flow: (H, W, 2), pixels, u to the right and v down.
        scene_flow: (H, W, 3), metres: the point in the other frame's camera minus the point in this one's.
        valid: (H, W), false for the sky and for points behind the camera in the other frame.
    """

    flow: Floats
    scene_flow: Floats
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class Box:
    """A row of bbox.txt: the visible pixels of a vehicle.

    Attributes:
        left, top, right, bottom: The first and last columns and rows, inclusive.
        number_pixels: Number of visible pixels.
        truncation_ratio: Share of the silhouette outside the image, up to one image size away.
        occupancy_ratio: Share of the silhouette in the image that is not occluded.
    """

    left: int
    top: int
    right: int
    bottom: int
    number_pixels: int
    truncation_ratio: float
    occupancy_ratio: float


@dataclass(frozen=True)
class ObjectPose:
    """The pose of a vehicle for one camera; positions are those of the middle of its bottom face.

    Rotations are (y, x, z) angles of R = R_y(y) R_x(x) R_z(z) on the object's axes, with x to its front and y down.
    """

    alpha: float
    size: tuple[float, float, float]
    world: tuple[float, float, float]
    world_rotation: tuple[float, float, float]
    camera: tuple[float, float, float]
    camera_rotation: tuple[float, float, float]


def motion(hits: Hits, camera: Camera, other: Camera, moved: Mapping[int, tuple[Body, Body]]) -> Motion:
    """Return the motion of each visible point to another frame.

    Args:
        hits: The hits of the camera.
        camera: The camera of this frame.
        other: The camera of the other frame.
        moved: Moving vehicles by track id: the body in this frame and in the other.
    """
    x, y = camera.rays()
    inverse = hits.inverse
    static = _transfer(camera, other, None)
    ahead = _carry(static, x, y, inverse)
    instance = hits.faces["instance"][hits.face]
    for track_id, bodies in moved.items():
        mask = instance == track_id
        if not mask.any():
            continue
        rows, columns = np.nonzero(mask)
        turn, shift = _transfer(camera, other, bodies)
        rays = np.stack([x[0, columns], y[rows, 0], np.ones(len(rows))])
        ahead[:, rows, columns] = turn @ rays + shift[:, None] * inverse[rows, columns]
    seen = hits.face != SKY
    valid = seen & (ahead[2] > NEAR * inverse)
    scale = np.where(valid, ahead[2], 1.0)
    depth = 1 / np.where(seen, inverse, 1.0)
    flow = np.stack([(ahead[0] / scale - x) * camera.focal, (ahead[1] / scale - y) * camera.focal], axis=-1)
    scene = np.stack([(ahead[0] - x) * depth, (ahead[1] - y) * depth, (ahead[2] - 1) * depth], axis=-1)
    flow[~valid], scene[~valid] = 0.0, 0.0
    return Motion(flow, scene, valid)


def _transfer(camera: Camera, other: Camera, bodies: tuple[Body, Body] | None) -> tuple[Floats, Floats]:
    """Return rotation (3, 3) and shift (3,) between the cameras' coordinates, for a moving body or a static one."""
    turn, shift = camera.rotation.T, camera.centre
    if bodies:
        before, after = bodies
        carry = after.rotation @ before.rotation.T
        turn, shift = carry @ turn, carry @ (shift - before.position) + after.position
    return other.rotation @ turn, other.rotation @ (shift - other.centre)


def _carry(transfer: tuple[Floats, Floats], x: Floats, y: Floats, inverse: Floats) -> Floats:
    """Return points (3, H, W) in the other camera, times their inverse depth in this one."""
    turn, shift = transfer
    return np.stack([row[0] * x + (row[1] * y + row[2]) + by * inverse for row, by in zip(turn, shift, strict=True)])


def measure_boxes(hits: Hits, camera: Camera, bodies: Mapping[int, Body]) -> dict[int, Box]:
    """Return the boxes of all vehicles with at least one visible pixel, by ascending track id."""
    instance = hits.faces["instance"][hits.face]
    boxes = {}
    for track_id in np.unique(instance[instance >= 0]).tolist():
        rows, columns = np.nonzero(instance == track_id)
        body = bodies[track_id]
        left, top, right, bottom = whole = extent(camera, body)
        inside = max(left, 0), max(top, 0), min(right, camera.width), min(bottom, camera.height)
        boxes[track_id] = Box(
            int(columns.min()),
            int(rows.min()),
            int(columns.max()),
            int(rows.max()),
            len(rows),
            0.0 if inside == whole else _truncation(camera, body, whole),
            len(rows) / np.count_nonzero(silhouette(camera, body, inside)),
        )
    return boxes


def _truncation(camera: Camera, body: Body, whole: Rect) -> float:
    """Return the share of the silhouette outside the image, computed on about 100,000 pixels at most."""
    left, top, right, bottom = whole
    step = int(np.ceil(np.sqrt((right - left) * (bottom - top) / 100_000)))
    rows, columns = np.nonzero(silhouette(camera, body, whole, step))
    x, y = left + step * columns, top + step * rows
    outside = (x < 0) | (x >= camera.width) | (y < 0) | (y >= camera.height)
    return float(outside.mean()) if len(x) else 0.0


def object_pose(camera: Camera, placed: Placed) -> ObjectPose:
    """Return a vehicle's row of pose.txt."""
    body, model = placed.body, placed.vehicle.model
    turn = camera.rotation @ rotation_y(body.yaw)
    x, y, z = (camera.rotation @ (body.position - camera.centre)).tolist()
    angle_x = float(np.arcsin(np.clip(-turn[1, 2], -1, 1)))
    angle_y = float(np.arctan2(turn[0, 2], turn[2, 2]))
    angle_z = float(np.arctan2(turn[1, 0], turn[1, 1]))
    return ObjectPose(
        wrap(angle_y - float(np.arctan2(x, z))),
        (model.width, model.height, model.length),
        (body.x, 0.0, body.z),
        (wrap(body.yaw), 0.0, 0.0),
        (x, y, z),
        (angle_y, angle_x, angle_z),
    )


def wrap(angle: float) -> float:
    """Return the angle in [-pi, pi)."""
    return float((angle + np.pi) % (2 * np.pi) - np.pi)


def encode_depth(hits: Hits) -> Codes:
    """Return depth (H, W) in centimetres; the sky is 65535."""
    seen = hits.face != SKY
    return np.where(seen, np.rint(100 / np.where(seen, hits.inverse, 1.0)), 65535).astype(np.uint16)


def encode_flow(flow: Floats, valid: NDArray[np.bool_]) -> Codes:
    """Encode flow as (H, W, 3): R, G are u / (W - 1), v / (H - 1) from [-1, 1] in 16 bits, B is 65535 if valid.

    All channels are 0 where it is invalid. A flow of more than the image size cannot be encoded and becomes invalid.
    """
    height, width = valid.shape
    share = flow / (width - 1, height - 1)
    valid = valid & (np.abs(share) <= 1).all(axis=-1)
    code = np.zeros((height, width, 3), np.uint16)
    code[..., :2] = np.where(valid[..., None], np.rint((share + 1) * 32767.5), 0)
    code[..., 2] = np.where(valid, 65535, 0)
    return code


def decode_flow(code: Codes) -> tuple[Floats, NDArray[np.bool_]]:
    """Return flow in pixels (H, W, 2), 0 where invalid, and its validity (H, W)."""
    height, width = code.shape[:2]
    valid = code[..., 2] > 0
    flow = (code[..., :2] / 32767.5 - 1) * (width - 1, height - 1)
    return np.where(valid[..., None], flow, 0.0), valid


def encode_scene_flow(scene_flow: Floats, valid: NDArray[np.bool_]) -> Codes:
    """Encode x, y, z from [-10, 10] metres in 16 bits (H, W, 3); (0, 0, 0) for the sky and larger motions."""
    valid = valid & (np.abs(scene_flow) <= 10).all(axis=-1)
    return np.where(valid[..., None], np.rint((scene_flow / 10 + 1) * 32767.5), 0).astype(np.uint16)


def decode_scene_flow(code: Codes) -> tuple[Floats, NDArray[np.bool_]]:
    """Return scene flow in metres (H, W, 3), 0 where invalid, and its validity (H, W)."""
    valid = np.asarray(code.any(axis=-1))
    return np.where(valid[..., None], (code / 32767.5 - 1) * 10, 0.0), valid
