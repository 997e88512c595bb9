"""Cast shadows: find the visible points that have something between them and the sun."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sim2real_toytown.camera import Camera, Floats
from sim2real_toytown.raycast import project
from sim2real_toytown.shapes import Body, Convex, Part
from sim2real_toytown.surface import Floats32

REACH = 80.0  # metres; what is farther away casts no shadow


def reached(
    points: Floats32, open_: NDArray[np.bool_], camera: Camera, bodies: Sequence[Body], source: Floats
) -> NDArray[np.bool_]:
    """Find the points that a distant light reaches.

    Args:
        points: (h, w, 3), visible points of evenly spaced pixels.
        open_: (h, w), the points to test; the others count as dark.
        camera: The camera of these pixels.
        bodies: Everything that may cast a shadow.
        source: (3,), direction of the light.

    Returns:
        (h, w), whether the light reaches each point.
    """
    lit = open_.copy()
    size = (camera.width, camera.height)
    near = [body for body in bodies if np.hypot(body.x - camera.centre[0], body.z - camera.centre[2]) < REACH]
    owners = [(body, part) for body in near for part in body.parts]
    if not owners:
        return lit
    corners = np.concatenate([body.corners for body in near])
    feet = corners - corners[..., 1:2] / source[1] * source  # the corners' shadows on the ground
    rects, reach = project(camera, np.concatenate([corners, feet], axis=1), margin=0.0)
    rows, columns = lit.shape
    rects = np.concatenate([rects[:, :2] * (columns, rows) // size, -(-rects[:, 2:] * (columns, rows) // size)], axis=1)
    in_sight = (rects[:, 0] < rects[:, 2]) & (rects[:, 1] < rects[:, 3]) & (reach > 0)
    for at in np.flatnonzero(in_sight).tolist():
        (body, part), (left, top, right, bottom) = owners[at], rects[at].tolist()
        window = (slice(top, bottom), slice(left, right))
        todo = lit[window]
        if todo.any():
            local = body.rotation.T @ (points[window][todo] - body.position).T
            lit[window][todo] = ~_blocked(part, local, body.rotation.T @ source)
    return lit


def _blocked(part: Part, points: Floats, light: Floats) -> NDArray[np.bool_]:
    """Return whether the part blocks the light in direction (3,) from points (3, N), in the body's axes."""
    if isinstance(part, Convex):
        slope = part.normals @ light
        slope[np.abs(slope) < 1e-9] = 1e-9
        where = (part.offsets[:, None] - part.normals @ points) / slope[:, None]
        enter, leave = where[slope < 0].max(axis=0), where[slope > 0].min(axis=0)
        return np.asarray((leave > enter) & (enter > -0.03) & (leave > 0.03))
    origin = (points - part.centre[:, None]) / part.radii[:, None]
    toward = light / part.radii
    half = toward @ origin
    inside = half * half - (toward @ toward) * ((origin * origin).sum(axis=0) - 1)
    return np.asarray((inside > 0) & (half < 0) & (half * half > inside))
