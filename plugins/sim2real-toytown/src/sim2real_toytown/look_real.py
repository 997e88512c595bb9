"""The `real` look: a photograph of the same town, with a lens and a sensor."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np

from sim2real_toytown.camera import Camera, Floats
from sim2real_toytown.look_sim import per_material, rgb
from sim2real_toytown.shadows import reached
from sim2real_toytown.shapes import RGB, Body, Material
from sim2real_toytown.surface import Floats32, Image, Surface

#: Albedo of materials in linear light; other materials take the colour of their object, darker and greyer.
_ALBEDO: dict[Material, RGB] = {
    Material.SKY: (0.0, 0.0, 0.0),
    Material.ASPHALT: (0.115, 0.115, 0.118),
    Material.MARKING: (0.48, 0.47, 0.45),
    Material.PAVEMENT: (0.22, 0.21, 0.19),
    Material.KERB: (0.30, 0.29, 0.27),
    Material.GRASS: (0.066, 0.078, 0.027),
    Material.GLASS: (0.012, 0.014, 0.015),
    Material.TYRE: (0.012, 0.012, 0.012),
    Material.WINDOW: (0.025, 0.028, 0.030),
    Material.WHITE_LAMP: (0.55, 0.55, 0.52),
    Material.RED_LAMP: (0.35, 0.02, 0.015),
    Material.GREEN_LAMP: (0.05, 0.50, 0.20),
    Material.DARK: (0.015, 0.015, 0.016),
    Material.WHITE: (0.42, 0.42, 0.41),
}

#: Variation of the albedo by grain (centimetres), blotches (decimetres) and stains (metres).
_ROUGHNESS: dict[Material, RGB] = {
    Material.ASPHALT: (0.22, 0.08, 0.09),
    Material.MARKING: (0.20, 0.22, 0.18),
    Material.PAVEMENT: (0.14, 0.08, 0.14),
    Material.KERB: (0.14, 0.12, 0.03),
    Material.GRASS: (0.45, 0.30, 0.30),
    Material.WALL: (0.06, 0.06, 0.12),
    Material.ROOF: (0.16, 0.14, 0.15),
    Material.FOLIAGE: (0.50, 0.60, 0.25),
    Material.BARK: (0.40, 0.25, 0.03),
    Material.PAINT: (0.0, 0.02, 0.03),
    Material.METAL: (0.03, 0.05, 0.05),
}

#: Share of the light that glossy materials reflect at normal incidence.
_GLOSS: dict[Material, float] = {
    Material.PAINT: 0.04,
    Material.GLASS: 0.11,
    Material.WINDOW: 0.14,
    Material.METAL: 0.06,
    Material.WHITE_LAMP: 0.2,
}

#: Materials laid in pieces: their length and height in metres, and the width of the joint as a share of it.
_PIECES: dict[Material, tuple[float, float, float]] = {
    Material.PAVEMENT: (0.5, 0.5, 0.05),
    Material.ROOF: (0.25, 0.32, 0.12),
    Material.WALL: (0.24, 0.08, 0.14),
}
_HAZE = (0.62, 0.66, 0.72)
_TILE = 512


@dataclass(frozen=True)
class _Weather:
    """The light of a scene: direction of the sun (3,), share of clouds in the sky, and visibility in metres."""

    sun: Floats
    clouds: float
    sight: float

    @classmethod
    def of(cls, seed: int, scene: int) -> "_Weather":
        rng = np.random.default_rng((seed, scene, 7))
        azimuth, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 1.0)
        sun = np.array([np.cos(azimuth) * np.cos(height), -np.sin(height), np.sin(azimuth) * np.cos(height)])
        return cls(sun, float(rng.uniform(0.25, 0.8)), float(rng.uniform(700, 1500)))


def real(seen: Surface, camera: Camera, bodies: Sequence[Body], key: tuple[int, int, int, int]) -> Image:
    """Render a photograph: textures, sun and sky light with shadows, haze, clouds, lens and sensor.

    Args:
        seen: The visible surfaces.
        camera: The camera.
        bodies: Everything that may cast a shadow.
        key: Seed, scene, time and camera; the weather depends on the first two, the sensor's noise on all.
    """
    weather = _Weather.of(*key[:2])
    seen = _rounded(seen)
    facing = -(seen.ray * seen.normal).sum(axis=-1, keepdims=True)
    mirrored = seen.ray + 2 * facing * seen.normal  # the sky has no normal, so this is the ray itself there
    sky = _sky(mirrored, weather)
    radiance = _albedo(seen, camera) * _light(seen, camera, bodies, weather)
    radiance += _reflectance(seen, facing, mirrored) * sky
    air = np.exp(-seen.depth / np.float32(weather.sight))[..., None]
    radiance = np.where(seen.material[..., None] == Material.SKY, sky, air * radiance + (1 - air) * rgb(_HAZE))
    return _photograph(radiance, camera, np.random.default_rng((*key, 8)))


# textures


@lru_cache(maxsize=1)
def _noise() -> tuple[Floats32, Floats32]:
    """Return two seamless noise tiles of mean 0 and standard deviation 1: value noise, and a sum of octaves."""
    rng = np.random.default_rng(0)

    def octave(cells: int) -> Floats32:
        each = _TILE // cells
        grid = np.pad(rng.standard_normal((cells, cells), np.float32), 2, mode="wrap")
        large = cv2.resize(grid, None, fx=each, fy=each, interpolation=cv2.INTER_CUBIC)
        return np.asarray(large[2 * each : -2 * each, 2 * each : -2 * each], np.float32)

    def standard(tile: Floats32) -> Floats32:
        return np.asarray((tile - tile.mean()) / tile.std(), np.float32)

    cloudy = np.sum([octave(2**k) / 1.6**k for k in range(2, 9)], axis=0)
    return standard(octave(256)), standard(cloudy)


def _sample(tile: Floats32, coordinates: Floats32, scale: float, shift: float = 0.0) -> Floats32:
    """Sample the tile at surface coordinates (H, W, 2); a texel is `scale` metres."""
    at = np.mod(coordinates / np.float32(scale) + np.float32(shift), np.float32(_TILE))
    u, v = cv2.split(at)
    return np.asarray(cv2.remap(tile, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), np.float32)


def _albedo(seen: Surface, camera: Camera) -> Floats32:
    """Return the albedo (H, W, 3) of the surfaces."""
    material = seen.material
    table, has_albedo = per_material(_ALBEDO)
    own = seen.tint ** np.float32(2.2)
    grey = own.mean(axis=-1, keepdims=True)
    own = np.float32(0.62) * (grey + np.float32(0.62) * (own - grey))
    own[material == Material.FOLIAGE] *= rgb((0.75, 0.62, 0.55))
    albedo = np.where(has_albedo[material][..., None], table[material], own)

    facing = np.maximum(np.abs((seen.normal * seen.ray).sum(axis=-1)), np.float32(0.02))
    depth = np.where(np.isfinite(seen.depth), seen.depth, 1)
    footprint = depth / np.float32(camera.focal) / np.sqrt(facing)  # of a pixel, in metres

    def fade(size: float) -> Floats32:
        return np.asarray(1 / (1 + (footprint / np.float32(size)) ** 2))

    fine, cloudy = _noise()
    grain, blotch, stain = np.moveaxis(per_material(_ROUGHNESS)[0][material], -1, 0)
    change = grain * fade(0.04) * _sample(fine, seen.texture, 0.02)
    change += blotch * fade(0.3) * _sample(fine, seen.texture, 0.09, 77)
    change += stain * fade(3.0) * _sample(cloudy, seen.texture, 0.06, 191)
    albedo *= np.maximum(1 + change, np.float32(0.12))[..., None]

    for of, (length, height, joint) in _PIECES.items():
        mask = material == of
        if of is Material.WALL:
            mask &= seen.tint[..., 0] - seen.tint[..., 2] > 0.3  # red walls are brick, others plaster
        along, down = seen.texture[mask, 0] / np.float32(length), seen.texture[mask, 1] / np.float32(height)
        along += np.float32(0.5) * np.floor(down)  # every other row is shifted by half a piece
        between = np.maximum(np.abs(along % 1 - 0.5), np.abs(down % 1 - 0.5)) > 0.5 - joint / 2
        albedo[mask] *= (1 - np.float32(0.5) * between * fade(2.5 * joint * height)[mask])[:, None]
    return albedo


def _rounded(seen: Surface) -> Surface:
    """Bend the normals of flat paint and smooth crowns, because car bodies bulge and leaves point everywhere."""
    normal = seen.normal.copy()
    paint = (seen.material == Material.PAINT) & (seen.instance >= 0)
    upright = np.abs(normal[paint, 1]) < 0.6
    bulge = np.clip(np.float32(-0.6) - np.float32(0.8) * seen.texture[paint, 1], -0.5, 0.3)
    normal[paint, 1] += np.where(upright, bulge, 0)
    leaves = seen.material == Material.FOLIAGE
    for axis in range(3):
        normal[leaves, axis] += np.float32(0.55) * _sample(_noise()[0], seen.texture, 0.07, 31 * axis)[leaves]
    bent = paint | leaves
    normal[bent] /= np.linalg.norm(normal[bent], axis=-1, keepdims=True)
    return replace(seen, normal=normal)


# light


def _light(seen: Surface, camera: Camera, bodies: Sequence[Body], weather: _Weather) -> Floats32:
    """Return the light (H, W, 3) from sun and sky, with shadows."""
    size = (camera.width, camera.height)
    step = max(1, camera.width // 600)  # light varies slowly, so large images compute it at a lower resolution
    coarse = (slice(step // 2, None, step), slice(step // 2, None, step))
    there = np.isfinite(seen.depth[coarse])

    def open_to(source: Floats, blur: float) -> Floats32:
        lit = reached(seen.point[coarse], there, camera, bodies, source).astype(np.float32)
        return np.asarray(cv2.resize(_blur(lit, max(0.5, blur * camera.width / 1242 / step)), size), np.float32)

    direct = np.maximum(seen.normal @ weather.sun.astype(np.float32), 0) * open_to(weather.sun, 1.2)
    above = open_to(np.array([0.0, -1.0, 0.0]), 5.0)
    upward = np.float32(0.5) - np.float32(0.5) * seen.normal[..., 1]
    ambient = (0.3 + 0.7 * upward) * (0.35 + 0.65 * above)
    sun = (4.6 - 3.2 * weather.clouds) * rgb((1.0, 0.94, 0.84))
    sky = (0.45 + 0.4 * weather.clouds) * rgb((0.86, 0.95, 1.1))
    return np.asarray(direct[..., None] * sun + ambient[..., None] * sky)


def _reflectance(seen: Surface, facing: Floats32, mirrored: Floats32) -> Floats32:
    """Return the share (H, W, 1) of sky that glossy surfaces reflect (Schlick), little if they face the ground."""
    gloss = np.array([_GLOSS.get(material, 0.0) for material in Material], np.float32)[seen.material][..., None]
    fresnel = gloss + (1 - gloss) * np.clip(1 - facing, 0, 1) ** 5
    return np.where(gloss > 0, fresnel * np.clip(-4 * mirrored[..., 1:2] - 0.2, 0.06, 1), np.float32(0))


def _sky(ray: Floats32, weather: _Weather) -> Floats32:
    """Return the radiance of the sky in the directions (H, W, 3)."""
    up = np.maximum(-ray[..., 1:2], np.float32(0.02))
    clear = rgb((0.95, 1.02, 1.10)) + np.clip(up * 2.2, 0, 1) * rgb((-0.62, -0.45, -0.15))
    at = np.asarray(ray[..., ::2] / (up + np.float32(0.12)), np.float32)
    density = _sample(_noise()[1], at, 0.011) + np.float32(3 * (weather.clouds - 0.45))
    cloud = np.clip(0.5 + 0.6 * density, 0, 1)[..., None]
    return np.asarray(clear * (1 - cloud) + cloud * rgb((1.70, 1.71, 1.73)))


# camera


def _blur(image: Floats32, sigma: float) -> Floats32:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)


def _photograph(radiance: Floats32, camera: Camera, rng: np.random.Generator) -> Image:
    """Apply lens (blur, glow, vignette), exposure, sensor noise and tone curve to the radiance."""
    width = camera.width
    sharp = _blur(radiance, max(0.45, 0.62 * width / 1242))
    glow = _blur(np.maximum(sharp - 0.9, 0), 0.012 * width)
    x, y = camera.rays()
    vignette = (1 / (1 + 0.55 * (x**2 + y**2))).astype(np.float32)[..., None]
    exposed = (sharp + 0.12 * glow) * vignette
    level = float(np.exp(np.log(exposed.mean(axis=-1) + 0.01).mean()))
    exposed *= np.float32((0.15 / level) ** 0.85)
    exposed += rng.standard_normal(exposed.shape, np.float32) * np.sqrt(1.1e-4 * np.maximum(exposed, 0) + 4e-6)
    toned = np.clip(exposed, 0, 1) ** np.float32(1 / 2.2)
    toned += np.float32(0.16 / np.pi) * np.sin(np.float32(2 * np.pi) * (toned - np.float32(0.5)))
    return np.asarray(np.rint(np.clip(toned, 0, 1) * 255), np.uint8)
