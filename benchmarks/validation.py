"""Measure whether the values that select checkpoints respond to what they should, and to nothing else.

Frames are changed deliberately: in appearance, which is the purpose of a translation, and in content, which invalidates
labels. The town is rendered; real frames are those in the folder SIM2REAL_TEST_DATA if it is set.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchmarks.common import in_turns, make_parser, print_table, processor, timing_cells
from sim2real.augment import Augment
from sim2real.imageio import is_image, read_rgb
from sim2real.metrics.edges import edge_changes
from sim2real.metrics.wasserstein import SlicedWasserstein
from sim2real.training.validation import Validator
from sim2real_toytown import render_frame
from sim2real_toytown.render import Look

Image = NDArray[np.uint8]
Change = Callable[[Image], Image]

_FOLDERS = {
    "CARLA": "carla/test/images",
    "CamVid": "camvid/val/images",
    "KITTI": "kitti/frames",
    "photos": "monet2photo-mini/testB",
}


def levels(values: ArrayLike) -> Image:
    """Round to grey levels."""
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def draw(seed: int, image: Image) -> NDArray[np.float64]:
    """Return normal noise of the shape of an image."""
    return np.random.default_rng(seed).normal(size=image.shape)


def gain(factor: float) -> Change:
    """Multiply all channels."""
    return lambda image: levels(image * factor)


def gamma(exponent: float) -> Change:
    """Bend the tone curve."""
    return lambda image: levels(255 * (image / 255) ** exponent)


def tint(image: Image) -> Image:
    """Make the light warmer."""
    return levels(image * [1.2, 1.0, 0.7])


def haze(image: Image) -> Image:
    """Halve the contrast and lighten."""
    return levels(image * 0.5 + 110)


def noise(deviation: float) -> Change:
    """Add noise to every pixel and channel."""
    return lambda image: levels(image + deviation * draw(5, image))


def blur(deviation: float) -> Change:
    """Blur by a Gaussian with a standard deviation in pixels."""
    return lambda image: levels(cv2.GaussianBlur(image, (0, 0), deviation))


def jpeg(image: Image) -> Image:
    """Compress strongly."""
    _, encoded = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, 60))
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


def grain(deviation: float) -> Change:
    """Add a grey texture like asphalt, one pixel wide."""

    def change(image: Image) -> Image:
        texture = np.asarray(cv2.GaussianBlur(draw(6, image)[..., :1], (0, 0), 1), np.float64)
        return levels(image + deviation * (texture / texture.std())[..., None])

    return change


def camera(image: Image) -> Image:
    """Apply the effects of a camera: light, tone curve, lens and sensor."""
    return noise(4)(blur(0.8)(gamma(1.4)(levels(image * [1.1, 1.0, 0.8]))))


def shift(pixels: int) -> Change:
    """Move everything to the right."""
    return lambda image: np.roll(image, pixels, axis=1)


def mirror(image: Image) -> Image:
    """Swap left and right."""
    return np.ascontiguousarray(image[:, ::-1])


def blobs(image: Image) -> Image:
    """Paint a dozen ellipses, the same on all images of one size."""
    random = np.random.default_rng(1)
    height, width = image.shape[:2]
    painted = image.copy()
    for _ in range(12):
        centre = (int(random.integers(width)), int(random.integers(height)))
        axes = (int(random.integers(width // 30, width // 8)), int(random.integers(height // 30, height // 6)))
        colour = [float(level) for level in random.integers(0, 256, 3)]
        cv2.ellipse(painted, centre, axes, float(random.integers(180)), 0, 360, colour, cv2.FILLED)
    return painted


def trees(image: Image) -> Image:
    """Paint foliage into the upper part, as CycleGANs do in skies."""
    height, width = image.shape[:2]
    fine, coarse = (
        cv2.GaussianBlur(draw(seed, image)[..., 0], (0, 0), size) for seed, size in ((2, 2), (3, width / 20))
    )
    grown = (np.asarray(coarse) > 0) & (np.arange(height) < 0.4 * height)[:, None]
    foliage = 60 + 40 * (np.asarray(fine) / np.std(fine))[..., None] * [0.6, 1.0, 0.5]
    return np.where(grown[..., None], levels(foliage), image)


def inpaint(image: Image) -> Image:
    """Smooth ten windows, as if nothing had been there."""
    random = np.random.default_rng(3)
    height, width = image.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    for _ in range(10):
        top, left = random.integers(height), random.integers(width)
        mask[max(0, top - height // 10) : top + height // 10, max(0, left - width // 12) : left + width // 12] = 255
    return np.asarray(cv2.inpaint(image, mask, 3, cv2.INPAINT_TELEA), np.uint8)


def blank(image: Image) -> Image:
    """Return a plain grey image."""
    return np.full_like(image, 120)


APPEARANCE: Mapping[str, Change] = {
    "identity": np.copy,
    "gain 0.3": gain(0.3),
    "gain 1.4": gain(1.4),
    "gamma 0.6": gamma(0.6),
    "gamma 1.8": gamma(1.8),
    "tint": tint,
    "haze": haze,
    "noise 8": noise(8),
    "grain 6": grain(6),
    "grain 10": grain(10),
    "blur 1 px": blur(1),
    "blur 1.5 px": blur(1.5),
    "JPEG of quality 60": jpeg,
    "camera": camera,
    "shift 1 px": shift(1),
}
DAMAGE: Mapping[str, Change] = {
    "shift 3 px": shift(3),
    "shift 6 px": shift(6),
    "mirror": mirror,
    "blobs": blobs,
    "trees in the sky": trees,
    "inpainting": inpaint,
    "blur 4 px": blur(4),
    "blank": blank,
}


def render_town(look: Look, frames: int, size: tuple[int, int], *, scene: int = 1) -> list[Image]:
    """Return distant frames of the town."""
    every = [
        render_frame(30 * time, look=look, size=size, scene=scene, forward=False, backward=False, boxes=False)
        for time in range(frames)
    ]
    return [frame.rgb for frame in every]


def read_some(folder: Path, count: int) -> list[Image]:
    """Return images of a folder, evenly spaced in the order of their names."""
    paths = sorted(path for path in folder.iterdir() if is_image(path.name))
    return [read_rgb(path) for path in paths[:: max(1, len(paths) // count)][:count]]


def colours_matched(images: Sequence[Image], real: Sequence[Image]) -> list[Image]:
    """Return images with the mean and the spread of other images' colours."""
    (mean, spread), (real_mean, real_spread) = (
        (np.mean(pixels, axis=0), np.std(pixels, axis=0))
        for pixels in (np.concatenate([image.reshape(-1, 3) for image in some]) for some in (images, real))
    )
    return [levels((image - mean) / spread * real_spread + real_mean) for image in images]


def print_edges(title: str, sets: Mapping[str, Sequence[Image]], changes: Mapping[str, Change]) -> None:
    """Print the mean shares of new and of lost edges in per cent, by change and set."""
    rows = []
    for name, change in changes.items():
        means = [np.mean([edge_changes(image, change(image)) for image in images], axis=0) for images in sets.values()]
        rows.append([name, *(f"{100 * new:.1f} / {100 * lost:.1f}" for new, lost in means)])
    print_table(title, ["new / lost, %", *sets], rows)


def print_validations(
    title: str, sim: Sequence[Image], real: Sequence[Image], after: Mapping[str, list[Image]]
) -> None:
    """Print the validation scores of translations."""
    validator = Validator(sim, real, seed=0)
    changed = {
        "identity": [*sim],
        "colours matched": colours_matched(sim, real),
        **after,
        **{name: [*map(DAMAGE[name], sim)] for name in ("shift 3 px", "mirror", "blobs", "blank")},
        "real frames instead": [*real],
        "one real frame": [real[0]] * len(sim),
    }
    rows = []
    for name, images in changed.items():
        result = validator(images)
        shares = [f"{100 * share:.1f}" for share in (result.new_edges, result.lost_edges)]
        figures = [f"{result.score:.2f}", f"{result.distance:.3f}", *shares, f"{result.change:.1f}"]
        rows.append([name, *figures, f"{result.diversity:.2f}"])
    columns = ["translation", "score", "distance", "new, %", "lost, %", "change", "diversity"]
    print_table(f"{title}, {len(sim)} frames; real frames from each other: {result.floor:.3f}", columns, rows)


def main() -> None:
    """Print the tables."""
    options = make_parser(__doc__, repeats=3).parse_args()
    frames, size, window = (2, (160, 64), (64, 64)) if options.quick else (8, (640, 192), (256, 256))
    data = Path(os.environ.get("SIM2REAL_TEST_DATA", ""))
    folders = {} if options.quick else {name: data / path for name, path in _FOLDERS.items() if (data / path).is_dir()}
    sets = {"town": render_town("sim", frames, size)}
    sets |= {name: read_some(folder, frames) for name, folder in folders.items()}
    print_edges("Appearance changed: edges should stay", sets, APPEARANCE)
    print_edges("Content changed: edges should not stay", sets, DAMAGE)

    real_town = render_town("real", frames, size, scene=2)
    truth = {"the town's own real look": render_town("real", frames, size)}
    print_validations("Town against another street that looks real", sets["town"], real_town, truth)

    crop = Augment(window)
    if {"CARLA", "CamVid"} <= folders.keys():
        sim, real = ([crop(image, seed=None) for image in read_some(folders[name], 32)] for name in ("CARLA", "CamVid"))
        print_validations("CARLA against CamVid, 256x256", sim, real, {})

    cropped = [crop(image, seed=None) for image in (sets["town"] * 32)[:32]]
    validator, measure = Validator(cropped, cropped, seed=0), SlicedWasserstein(cropped)
    work = {
        "preparation, once a training": lambda: Validator(cropped, cropped, seed=0),
        "a validation": lambda: validator(cropped),
        "the distance in it": lambda: measure.distance(cropped),
    }
    seconds = in_turns(work, repeats=1 if options.quick else options.repeats)
    rows = [[name, *timing_cells(times, times)[:2]] for name, times in seconds.items()]
    side = "x".join(map(str, window))
    print_table(f"32 + 32 images of {side}. {processor()}", ["work", "median", "range"], rows)


if __name__ == "__main__":
    main()
