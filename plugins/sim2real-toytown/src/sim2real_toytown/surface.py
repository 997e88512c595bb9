"""The visible surfaces as input of shading: materials, normals and positions, without an appearance."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim2real_toytown.camera import Camera
from sim2real_toytown.raycast import GROUND, SKY, Hits
from sim2real_toytown.shapes import Label, Material
from sim2real_toytown.street import Street

Floats32 = NDArray[np.float32]
Image = NDArray[np.uint8]
ROAD = (Material.ASPHALT, Material.MARKING)


@dataclass(frozen=True)
class Surface:
    """The surfaces that are visible in the pixels.

    Attributes:
        material: (H, W), `Material`.
        label: (H, W), `Label`.
        instance: (H, W), track ids, -1 for none.
        tint: (H, W, 3), colour of the object, in [0, 1].
        normal: (H, W, 3), in the world.
        point: (H, W, 3), metres, in the world; the position of the camera for the sky.
        texture: (H, W, 2), metres on the surface, along and down.
        depth: (H, W), metres; `inf` for the sky.
        ray: (H, W, 3), viewing direction in the world, of unit length.
    """

    material: NDArray[np.uint8]
    label: NDArray[np.uint8]
    instance: NDArray[np.int16]
    tint: Floats32
    normal: Floats32
    point: Floats32
    texture: Floats32
    depth: Floats32
    ray: Floats32


def surface(camera: Camera, street: Street, hits: Hits) -> Surface:
    """Return the surfaces of the hits."""
    x, y = camera.rays()
    ground, sky = hits.face == GROUND, hits.face == SKY
    faces = hits.faces
    direction = np.stack(np.broadcast_arrays(x, y, 1.0), axis=-1) @ camera.rotation
    with np.errstate(divide="ignore"):
        depth = 1 / hits.inverse
    point = camera.centre + direction * np.where(sky, 0, depth)[..., None]

    material = faces["material"][hits.face]
    material[ground] = street.ground(point[ground, 0], point[ground, 2])
    label = faces["label"][hits.face]
    label[ground & np.isin(material, ROAD)] = Label.Road

    px, pz, cos, sin = np.moveaxis(faces["place"][hits.face], -1, 0)
    dx, dz = point[..., 0] - px, point[..., 2] - pz
    local_x, local_y, local_z = cos * dx - sin * dz, point[..., 1], sin * dx + cos * dz

    axis = faces["axis"][hits.face]
    texture = np.stack(
        [np.where(axis == 0, local_z, local_x), np.where(axis == 1, local_z, local_y)], axis=-1, dtype=np.float32
    )
    normal = faces["normal"][hits.face]
    round_ = axis == 3
    rows = faces[hits.face[round_]]
    out = (np.stack([local_x[round_], local_y[round_], local_z[round_]], axis=1) - rows["centre"]) / rows["radii"] ** 2
    texture[round_, 0] = np.arctan2(out[:, 2], out[:, 0]) * rows["radii"][:, 0]
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    c, s = cos[round_], sin[round_]
    normal[round_] = np.stack([c * out[:, 0] + s * out[:, 2], out[:, 1], c * out[:, 2] - s * out[:, 0]], axis=1)

    _patterns(material, faces["grid"][hits.face], texture, axis)
    return Surface(
        material,
        label,
        faces["instance"][hits.face],
        faces["tint"][hits.face],
        normal,
        point.astype(np.float32),
        texture,
        depth.astype(np.float32),
        (direction / np.linalg.norm(direction, axis=-1, keepdims=True)).astype(np.float32),
    )


def _patterns(material: NDArray[np.uint8], grid: Floats32, texture: Floats32, axis: NDArray[np.uint8]) -> None:
    """Paint windows on walls, lamps and plates on cars, pillars, hubs on wheels, and symbols on signs."""

    def at(of: Material) -> tuple[NDArray[np.bool_], Floats32, Floats32, Floats32, Floats32]:
        mask = (material == of) & (axis != 1)
        along, down = texture[mask].T
        pitch, rise = grid[mask].T
        return mask, along, -down, pitch, rise

    mask, along, up, pitch, rise = at(Material.WALL)
    across, above = along / pitch % 1.0, up / rise % 1.0
    pane = (np.abs(across - 0.5) < 0.23) & (np.abs(above - 0.53) < 0.25)
    frame = (np.abs(across - 0.5) < 0.28) & (np.abs(above - 0.53) < 0.30)
    material[mask] = np.select([pane, frame], [np.uint8(Material.WINDOW), np.uint8(Material.WHITE)], Material.WALL)

    for of, lamp in ((Material.CAR_FRONT, Material.WHITE_LAMP), (Material.CAR_REAR, Material.RED_LAMP)):
        mask, along, up, width, waist = at(of)
        side, height = np.abs(along) / width, up / waist
        choices = [
            (side > 0.31) & (side < 0.46) & (height > 0.55) & (height < 0.8),
            (side < 0.15) & (height > 0.42) & (height < 0.56),
            height < 0.4,
            (side < 0.28) & (height > 0.6) & (height < 0.75) & (of is Material.CAR_FRONT),
        ]
        made_of = (lamp, Material.WHITE, Material.DARK, Material.DARK)
        material[mask] = np.select(choices, [np.uint8(m) for m in made_of], Material.PAINT)

    mask, along, up, pitch, height = at(Material.GLASS)
    pillar = (axis[mask] == 2) & (np.abs(along / pitch % 1.0 - 0.5) > 0.45)
    material[mask] = np.where(pillar | (up > height - 0.09), np.uint8(Material.PAINT), Material.GLASS)

    mask, along, up, middle, radius = at(Material.TYRE)
    material[mask] = np.where(
        np.hypot(along - middle, up - radius) < 0.62 * radius, np.uint8(Material.METAL), Material.TYRE
    )

    mask, along, up, kind, _ = at(Material.SIGN)
    side = np.abs(along)
    within = [
        np.hypot(side, up - 2.5) < 0.24,
        (up > 2.38) & (up < 2.72) & (side < 0.58 * (2.83 - up)),
        np.hypot(side, up - 2.5) < 0.16,
        side + np.abs(up - 2.55) > 0.34,
    ]
    white = np.select([kind == each for each in range(len(within))], within)
    material[mask] = np.where(white, np.uint8(Material.WHITE), Material.PAINT)
