"""One frame of the town: the view of a camera at a time, with all labels."""

from dataclasses import dataclass
from itertools import chain
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sim2real_toytown import labels
from sim2real_toytown.camera import BASELINE, Camera, rotation_x, rotation_y, rotation_z
from sim2real_toytown.look_real import real
from sim2real_toytown.look_sim import sim
from sim2real_toytown.raycast import cast
from sim2real_toytown.shapes import Body
from sim2real_toytown.street import BLOCK, Street
from sim2real_toytown.surface import surface
from sim2real_toytown.town import build_block
from sim2real_toytown.traffic import CAMERA_LANE, Placed, camera_progress, traffic

Look = Literal["sim", "real"]
LOOKS: tuple[Look, ...] = ("sim", "real")
AHEAD, BEHIND = 320.0, 24.0  # metres of street that are built around the camera


@dataclass(frozen=True)
class Frame:
    """A rendered frame; arrays are (H, W, ...).

    Attributes:
        camera: The camera of the frame.
        rgb: (H, W, 3) uint8.
        depth: (H, W) uint16, centimetres to the camera plane, 65535 for the sky.
        classes: (H, W) uint8, `sim2real_toytown.shapes.Label`.
        instances: (H, W) uint8, track id + 1, 0 for none.
        forward: Motion to the next frame, None if not requested.
        backward: Motion to the previous frame, None if not requested.
        boxes: By track id, all vehicles with at least one visible pixel.
        vehicles: By track id, all vehicles nearby.
    """

    camera: Camera
    rgb: NDArray[np.uint8]
    depth: NDArray[np.uint16]
    classes: NDArray[np.uint8]
    instances: NDArray[np.uint8]
    forward: labels.Motion | None
    backward: labels.Motion | None
    boxes: dict[int, labels.Box]
    vehicles: dict[int, Placed]


def camera_at(street: Street, time: int, index: int, size: tuple[int, int]) -> Camera:
    """Return camera 0 (left) or 1 (right) at a frame; `size` is (W, H)."""
    x, z, heading = street.place(camera_progress(street, time), CAMERA_LANE + 0.12 * float(np.sin(time / 31)))
    pitch = 0.004 * np.sin(time / 3.1) + 0.003 * np.sin(time / 7.7)
    turn = rotation_z(0.004 * np.sin(time / 5.3)) @ rotation_x(pitch) @ rotation_y(-heading - 0.01 * np.sin(time / 23))
    height = 1.68 + 0.012 * np.sin(time / 2.3)
    left = Camera(*size, turn, np.array([x, -height, z]))
    return left.moved_right(BASELINE * index)


def render_frame(
    time: int,
    *,
    look: Look = "sim",
    size: tuple[int, int] = (1242, 375),
    seed: int = 0,
    scene: int = 1,
    camera: int = 0,
    forward: bool = True,
    backward: bool = True,
    boxes: bool = True,
) -> Frame:
    """Render one frame in memory.

    Args:
        time: Number of the frame, from 0; the drive has no end.
        look: "sim" or "real".
        size: (W, H) in pixels.
        seed: Seed of the street and everything in it, together with `scene`.
        scene: Number of the scene.
        camera: 0 (left) or 1 (right).
        forward: Whether to compute the motion to the next frame.
        backward: Whether to compute the motion to the previous frame.
        boxes: Whether to compute the vehicles' boxes.
    """
    street = Street(seed, scene)
    eye = camera_at(street, time, camera, size)
    vehicles = {placed.vehicle.track_id: placed for placed in _nearby(street, time)}
    bodies = [*_still(street, time), *(placed.body for placed in vehicles.values())]
    hits = cast(eye, bodies)
    seen = surface(eye, street, hits)

    def motion_to(other: int) -> labels.Motion:
        moved = {key: (placed.body, placed.at(other)) for key, placed in vehicles.items() if placed.lane.is_moving}
        return labels.motion(hits, eye, camera_at(street, other, camera, size), moved)

    return Frame(
        eye,
        sim(seen) if look == "sim" else real(seen, eye, bodies, (seed, scene, time, camera)),
        labels.encode_depth(hits),
        seen.label,
        (seen.instance + 1).astype(np.uint8),
        motion_to(time + 1) if forward else None,
        motion_to(time - 1) if backward else None,
        labels.measure_boxes(hits, eye, {key: placed.body for key, placed in vehicles.items()}) if boxes else {},
        vehicles,
    )


def _still(street: Street, time: int) -> list[Body]:
    along = camera_progress(street, time)
    blocks = range(int((along - BEHIND) // BLOCK), int((along + AHEAD) // BLOCK) + 1)
    return list(chain.from_iterable(build_block(street, block) for block in blocks))


def _nearby(street: Street, time: int) -> list[Placed]:
    along = camera_progress(street, time)
    return list(traffic(street, time, along - BEHIND, along + AHEAD))
