"""The two looks of the town: `sim`, a clean game, and `real`, a photograph through a real lens."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from sim2real.toytown.camera import Camera, Floats
from sim2real.toytown.shapes import RGB, Body, Material
from sim2real.toytown.shadows import sunlit
from sim2real.toytown.surface import Floats32, Surface

Image = NDArray[np.uint8]


def _palette(colours: dict[Material, RGB | None]) -> tuple[Floats32, NDArray[np.bool_]]:
    """Colour of every material, and which of them take the object's own tint."""
    table = np.array([colours[m] or (1.0, 1.0, 1.0) for m in Material], np.float32)
    return table, np.array([colours[m] is None for m in Material])


# ---------------------------------------------------------------------------------------------------------- sim

_SIM, _SIM_TINTED = _palette(
    {
        Material.SKY: (0.4, 0.6, 0.9),
        Material.ASPHALT: (0.42, 0.43, 0.47),
        Material.MARKING: (1.0, 1.0, 1.0),
        Material.PAVEMENT: (0.74, 0.72, 0.70),
        Material.KERB: (0.88, 0.87, 0.84),
        Material.GRASS: (0.36, 0.70, 0.20),
        Material.WALL: None,
        Material.ROOF: None,
        Material.FOLIAGE: None,
        Material.BARK: None,
        Material.METAL: None,
        Material.PAINT: None,
        Material.GLASS: (0.25, 0.42, 0.55),
        Material.TYRE: (0.12, 0.12, 0.13),
        Material.CAR_FRONT: None,
        Material.CAR_REAR: None,
        Material.SIGN: None,
        Material.SIGNAL: None,
        Material.WINDOW: (0.36, 0.52, 0.68),
        Material.WHITE_LAMP: (1.0, 1.0, 0.85),
        Material.RED_LAMP: (1.0, 0.1, 0.1),
        Material.GREEN_LAMP: (0.1, 1.0, 0.3),
        Material.DARK: (0.14, 0.14, 0.15),
        Material.WHITE: (0.95, 0.95, 0.95),
    }
)
_SIM_SUN = np.array([-0.45, -0.75, -0.5], np.float32) / np.float32(np.linalg.norm([0.45, 0.75, 0.5]))


def sim(seen: Surface) -> Image:
    """Flat, saturated colours under a plain Lambert light, a gradient for a sky, hard edges, no noise."""
    colour = np.where(_SIM_TINTED[seen.material][..., None], seen.tint, _SIM[seen.material])
    grey = colour.mean(axis=-1, keepdims=True)
    colour = np.clip(grey + 1.35 * (colour - grey), 0, 1)
    light = 0.62 + 0.48 * np.maximum(seen.normal @ _SIM_SUN, 0)
    colour *= light[..., None]
    sky = seen.material == Material.SKY
    up = np.clip(-seen.ray[sky, 1:2] * 2.2, 0, 1)
    colour[sky] = (1 - up) * np.float32((0.72, 0.86, 1.0)) + up * np.float32((0.20, 0.47, 0.93))
    return np.rint(np.clip(colour, 0, 1) * 255).astype(np.uint8)


# --------------------------------------------------------------------------------------------------------- real

#: Albedo of the materials in linear light; a tinted material darkens and greys its object's own colour.
_REAL, _REAL_TINTED = _palette(
    {
        Material.SKY: (0.0, 0.0, 0.0),
        Material.ASPHALT: (0.115, 0.115, 0.118),
        Material.MARKING: (0.48, 0.47, 0.45),
        Material.PAVEMENT: (0.22, 0.21, 0.19),
        Material.KERB: (0.30, 0.29, 0.27),
        Material.GRASS: (0.085, 0.105, 0.030),
        Material.WALL: None,
        Material.ROOF: None,
        Material.FOLIAGE: None,
        Material.BARK: None,
        Material.METAL: None,
        Material.PAINT: None,
        Material.GLASS: (0.012, 0.014, 0.015),
        Material.TYRE: (0.012, 0.012, 0.012),
        Material.CAR_FRONT: None,
        Material.CAR_REAR: None,
        Material.SIGN: None,
        Material.SIGNAL: None,
        Material.WINDOW: (0.025, 0.028, 0.030),
        Material.WHITE_LAMP: (0.55, 0.55, 0.52),
        Material.RED_LAMP: (0.35, 0.02, 0.015),
        Material.GREEN_LAMP: (0.05, 0.5, 0.2),
        Material.DARK: (0.015, 0.015, 0.016),
        Material.WHITE: (0.42, 0.42, 0.41),
    }
)


def _per_material(default: float, values: dict[Material, float]) -> Floats32:
    return np.array([values.get(m, default) for m in Material], np.float32)


#: How strongly the albedo varies with grain (centimetres), blotches (decimetres) and stains (metres).
_GRAIN = _per_material(
    0.03,
    {
        Material.ASPHALT: 0.22,
        Material.MARKING: 0.20,
        Material.PAVEMENT: 0.14,
        Material.KERB: 0.14,
        Material.GRASS: 0.45,
        Material.WALL: 0.06,
        Material.ROOF: 0.16,
        Material.FOLIAGE: 0.50,
        Material.BARK: 0.40,
    },
)
_BLOTCH = _per_material(
    0.02,
    {
        Material.ASPHALT: 0.08,
        Material.MARKING: 0.22,
        Material.PAVEMENT: 0.08,
        Material.KERB: 0.12,
        Material.GRASS: 0.30,
        Material.WALL: 0.06,
        Material.ROOF: 0.14,
        Material.FOLIAGE: 0.60,
        Material.BARK: 0.25,
    },
)
_STAIN = _per_material(
    0.03,
    {
        Material.ASPHALT: 0.16,
        Material.MARKING: 0.18,
        Material.PAVEMENT: 0.14,
        Material.GRASS: 0.30,
        Material.WALL: 0.12,
        Material.ROOF: 0.15,
        Material.FOLIAGE: 0.25,
    },
)
_GLOSS = _per_material(
    0.0,
    {
        Material.PAINT: 0.055,
        Material.CAR_FRONT: 0.055,
        Material.CAR_REAR: 0.055,
        Material.GLASS: 0.11,
        Material.WINDOW: 0.14,
        Material.METAL: 0.06,
        Material.WHITE_LAMP: 0.2,
    },
)
_TILE = 512


@lru_cache(maxsize=1)
def _noise() -> tuple[Floats32, Floats32]:
    """Two tiles of noise that repeat without a seam, of mean 0 and deviation 1: fine value noise, and a sum of octaves."""
    rng = np.random.default_rng(0)

    def octave(cells: int) -> Floats32:
        grid = np.pad(rng.standard_normal((cells, cells), np.float32), 2, mode="wrap")
        each = _TILE // cells
        return cv2.resize(grid, None, fx=each, fy=each, interpolation=cv2.INTER_CUBIC)[
            2 * each : -2 * each, 2 * each : -2 * each
        ]

    fine = octave(256)
    cloudy = np.sum([octave(2**k) / 1.6**k for k in range(2, 9)], axis=0, dtype=np.float32)
    return (fine - fine.mean()) / fine.std(), (cloudy - cloudy.mean()) / cloudy.std()


def _sample(tile: Floats32, coordinates: Floats32, scale: float, shift: float = 0.0) -> Floats32:
    """The tile at surface coordinates (H, W, 2); a texel is `scale` metres."""
    at = np.mod(coordinates / np.float32(scale) + np.float32(shift), np.float32(_TILE))
    return cv2.remap(tile, at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def real(seen: Surface, camera: Camera, bodies: Sequence[Body], key: tuple[int, ...]) -> Image:
    """A photograph: textures, sun and sky light with shadows, haze, clouds, and what a lens and a sensor do to them.

    Args:
        seen: what the pixels see.
        camera: the camera.
        bodies: all that may cast a shadow.
        key: seed, scene, time and camera; the weather comes from the first two, the sensor's noise from all.
    """
    weather = np.random.default_rng((*key[:2], 7))
    azimuth, height = weather.uniform(0, 2 * np.pi), weather.uniform(0.6, 1.0)
    sun = np.array([np.cos(azimuth) * np.cos(height), -np.sin(height), np.sin(azimuth) * np.cos(height)])
    cover = float(weather.uniform(0.25, 0.8))  # of clouds

    light = _lighting(seen, sunlit(seen, camera, bodies, sun), sun, cover)
    facing = -(seen.ray * seen.normal).sum(axis=-1, keepdims=True)
    mirrored = seen.ray + 2 * facing * seen.normal  # the sky has no normal, so this is the ray itself there
    sky = _sky(mirrored, cover)
    radiance = _albedo(seen, camera) * light + _reflectance(seen, facing, mirrored) * sky
    air = np.exp(-seen.depth / np.float32(weather.uniform(350, 800)))[..., None]
    radiance = radiance * air + (1 - air) * np.float32((0.62, 0.66, 0.72))
    radiance = np.where(seen.material[..., None] == Material.SKY, sky, radiance)
    return _expose(radiance, camera, np.random.default_rng((*key, 8)))


def _albedo(seen: Surface, camera: Camera) -> Floats32:
    material = seen.material
    tinted = _REAL_TINTED[material][..., None]
    own = seen.tint ** np.float32(2.2)
    grey = own.mean(axis=-1, keepdims=True)
    own = np.float32(0.62) * (grey + np.float32(0.62) * (own - grey))
    own[material == Material.FOLIAGE] *= np.float32((0.75, 0.62, 0.55))
    albedo = np.where(tinted, own, _REAL[material])

    facing = np.maximum(np.abs((seen.normal * seen.ray).sum(axis=-1)), np.float32(0.02))
    footprint = np.where(np.isfinite(seen.depth), seen.depth, 1) / np.float32(camera.focal) / np.sqrt(facing)
    fine, cloudy = _noise()

    def fade(size: float) -> Floats32:
        return 1 / (1 + (footprint / np.float32(size)) ** 2)

    grain = _GRAIN[material] * fade(0.04) * _sample(fine, seen.texture, 0.02)
    blotch = _BLOTCH[material] * fade(0.3) * _sample(fine, seen.texture, 0.09, 77)
    stain = _STAIN[material] * fade(3.0) * _sample(cloudy, seen.texture, 0.06, 191)
    albedo *= np.maximum(1 + grain + blotch + stain, np.float32(0.12))[..., None]
    for of, pitch, rise, line in (
        (Material.PAVEMENT, 0.5, 0.5, 0.05),
        (Material.ROOF, 0.25, 0.32, 0.12),
        (Material.WALL, 0.24, 0.08, 0.14),
    ):
        mask = material == of
        along, down = np.abs(seen.texture[mask] / np.float32((pitch, rise)) % 1 - 0.5).T
        albedo[mask] *= (1 - 0.45 * fade(rise)[mask] * (np.maximum(along, down) > 0.5 - line / 2))[:, None]
    return albedo


def _lighting(seen: Surface, lit: NDArray[np.bool_], sun: Floats, cover: float) -> Floats32:
    """(H, W, 3): sun and sky."""
    soft = cv2.GaussianBlur(lit.astype(np.float32), (0, 0), max(0.6, lit.shape[1] / 1000))
    direct = np.maximum(seen.normal @ sun.astype(np.float32), 0) * np.minimum(soft, 1)
    up = 0.5 - 0.5 * seen.normal[..., 1]
    low = np.clip(-seen.point[..., 1] / 2.5, 0, 1)  # less of the sky is seen from near the ground
    ambient = (0.25 + 0.75 * up) * np.where(seen.normal[..., 1] < -0.7, 1, 0.6 + 0.4 * low)
    colour = np.float32((1.0, 0.95, 0.86)) * np.float32(3.4 - 2.2 * cover)
    shade = np.float32((0.86, 0.95, 1.1)) * np.float32(0.55 + 0.4 * cover)
    return direct[..., None] * colour + ambient[..., None] * shade


def _reflectance(seen: Surface, facing: Floats32, mirrored: Floats32) -> Floats32:
    """(H, W, 1): how much of the sky is seen in a glossy surface, by Schlick's rule; less where it mirrors the ground."""
    gloss = _GLOSS[seen.material][..., None]
    fresnel = gloss + (1 - gloss) * np.clip(1 - facing, 0, 1) ** 5
    return np.where(gloss > 0, fresnel * np.clip(0.3 - 6 * mirrored[..., 1:2], 0.08, 1), 0)


def _sky(ray: Floats32, cover: float) -> Floats32:
    """Radiance of the sky in the directions (H, W, 3)."""
    up = np.maximum(-ray[..., 1:2], np.float32(0.02))
    blue = np.float32((0.95, 1.02, 1.1)) + np.clip(up * 2.2, 0, 1) * np.float32((-0.62, -0.45, -0.15))
    at = np.concatenate([ray[..., 0:1], ray[..., 2:3]], axis=-1) / (up + np.float32(0.12))
    density = _sample(_noise()[1], at, 0.011) + np.float32(3 * (cover - 0.45))
    cloud = np.clip(0.5 + 0.6 * density, 0, 1)[..., None]
    return blue * (1 - cloud) + cloud * np.float32((1.35, 1.36, 1.38))


def _expose(radiance: Floats32, camera: Camera, rng: np.random.Generator) -> Image:
    """Lens, exposure, sensor and tone curve."""
    height, width = radiance.shape[:2]
    radiance = cv2.GaussianBlur(radiance, (0, 0), max(0.45, 0.62 * width / 1242))
    glow = cv2.GaussianBlur(np.maximum(radiance - 0.9, 0), (0, 0), 0.012 * width)
    x, y = camera.rays()
    vignette = (1 / (1 + 0.55 * (x**2 + y**2))).astype(np.float32)[..., None]
    radiance = (radiance + 0.12 * glow) * vignette
    level = np.exp(np.log(radiance.mean(axis=-1) + 0.01).mean())
    exposed = radiance * np.float32(0.2 / level) ** np.float32(0.85)
    noise = rng.standard_normal(exposed.shape, np.float32)
    exposed = exposed + noise * np.sqrt(1.1e-4 * np.maximum(exposed, 0) + 4e-6)
    toned = np.clip(exposed, 0, 1) ** np.float32(1 / 2.2)
    toned = toned + 0.10 * np.sin(2 * np.pi * (toned - 0.5)) / np.float32(np.pi)
    return np.rint(np.clip(toned, 0, 1) * 255).astype(np.uint8)
