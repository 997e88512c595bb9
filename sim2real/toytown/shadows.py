"""Cast shadows: which of the points that are seen have something between them and the sun."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sim2real.toytown.camera import Camera, Floats
from sim2real.toytown.raycast import project
from sim2real.toytown.shapes import Body, Convex, Part
from sim2real.toytown.surface import Surface

REACH = 110.0  # metres; what is farther away casts no shadow


def sunlit(seen: Surface, camera: Camera, bodies: Sequence[Body], sun: Floats) -> NDArray[np.bool_]:
    """(H, W): whether the sun, in the direction `sun` (3,), reaches the points."""
    lit = np.isfinite(seen.depth) & (seen.normal @ sun.astype(np.float32) > 0)
    near = [body for body in bodies if np.hypot(body.x - camera.centre[0], body.z - camera.centre[2]) < REACH]
    owners = [(body, part) for body in near for part in body.parts]
    if not owners:
        return lit
    corners = np.concatenate([body.corners for body in near])
    feet = corners - corners[..., 1:2] / sun[1] * sun  # the corners' shadows on the ground
    rects, reach = project(camera, np.concatenate([corners, feet], axis=1), margin=0.0)
    for (body, part), (left, top, right, bottom), inverse in zip(owners, rects.tolist(), reach.tolist(), strict=True):
        window = (slice(top, bottom), slice(left, right))
        todo = lit[window]
        if left >= right or top >= bottom or inverse <= 0 or not todo.any():
            continue
        points = (seen.point[window][todo] - body.position) @ body.rotation
        lit[window][todo] = ~_blocked(part, points, body.rotation.T @ sun)
    return lit


def _blocked(part: Part, points: Floats, sun: Floats) -> NDArray[np.bool_]:
    """Whether the part stands between the points (N, 3) and the sun, in the body's axes."""
    if isinstance(part, Convex):
        slope = part.normals @ sun
        room = part.offsets - points @ part.normals.T
        steep = np.where(np.abs(slope) < 1e-9, 1e-9, slope)
        where = room / steep
        enter = np.where(slope < 0, where, -np.inf).max(axis=1)
        leave = np.where(slope < 0, np.inf, where).min(axis=1)
        return (leave > np.maximum(enter, 0.03)) & (enter > -0.03)
    origin = (points - part.centre) / part.radii
    toward = sun / part.radii
    half, square = origin @ toward, toward @ toward
    inside = half * half - square * ((origin * origin).sum(axis=1) - 1)
    return (inside > 0) & (-half > np.sqrt(np.maximum(inside, 0)))
