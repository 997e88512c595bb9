"""The `sim` look: a clean computer game."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from sim2real_toytown.shapes import RGB, Material
from sim2real_toytown.surface import Floats32, Image, Surface

#: Colours of materials; other materials take the colour of their object.
_COLOURS: dict[Material, RGB] = {
    Material.ASPHALT: (0.42, 0.43, 0.47),
    Material.MARKING: (1.0, 1.0, 1.0),
    Material.PAVEMENT: (0.74, 0.72, 0.70),
    Material.KERB: (0.88, 0.87, 0.84),
    Material.GRASS: (0.36, 0.70, 0.20),
    Material.GLASS: (0.25, 0.42, 0.55),
    Material.TYRE: (0.12, 0.12, 0.13),
    Material.WINDOW: (0.36, 0.52, 0.68),
    Material.WHITE_LAMP: (1.0, 1.0, 0.85),
    Material.RED_LAMP: (1.0, 0.1, 0.1),
    Material.GREEN_LAMP: (0.1, 1.0, 0.3),
    Material.DARK: (0.14, 0.14, 0.15),
    Material.WHITE: (0.95, 0.95, 0.95),
}
_HORIZON, _ZENITH = (0.72, 0.86, 1.0), (0.20, 0.47, 0.93)
_SUN = np.array([-0.45, -0.75, -0.5], np.float32) / np.float32(0.998)


def per_material(values: dict[Material, RGB]) -> tuple[Floats32, NDArray[np.bool_]]:
    """Return a table (materials, 3) of colours, and which materials have one."""
    table = np.array([values.get(material, (0.0, 0.0, 0.0)) for material in Material], np.float32)
    return table, np.array([material in values for material in Material])


def rgb(values: Iterable[float]) -> Floats32:
    """Return a colour as an array (3,)."""
    return np.array(tuple(values), np.float32)


def sim(seen: Surface) -> Image:
    """Shade flat, saturated colours with Lambert's law, a gradient for the sky, hard edges and no noise."""
    table, has_colour = per_material(_COLOURS)
    colour = np.where(has_colour[seen.material][..., None], table[seen.material], seen.tint)
    grey = colour.mean(axis=-1, keepdims=True)
    colour = np.clip(grey + 1.35 * (colour - grey), 0, 1)
    colour *= (0.62 + 0.48 * np.maximum(seen.normal @ _SUN, 0))[..., None]
    sky = seen.material == Material.SKY
    up = np.clip(-seen.ray[sky, 1:2] * 2.2, 0, 1)
    colour[sky] = (1 - up) * rgb(_HORIZON) + up * rgb(_ZENITH)
    return np.asarray(np.rint(np.clip(colour, 0, 1) * 255), np.uint8)
