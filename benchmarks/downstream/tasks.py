"""The tasks: simulated images with labels, real images, and real images to test on, all small enough for a CPU."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sim2real.errors import Sim2RealError
from sim2real.imageio import is_image, read_label, read_rgb
from sim2real_toytown import render_frame
from sim2real_toytown.render import Look
from sim2real_toytown.shapes import Label

Image = NDArray[np.uint8]
Labels = NDArray[np.int64]

IGNORED = 255
"""The label of what is neither trained on nor counted."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Images with labels.

    Attributes:
        images: RGB (N, H, W, 3).
        labels: Classes: (N,) of images, or (N, h, w) of pixels or cells; ``IGNORED`` where there is none.
    """

    images: Image
    labels: Labels


@dataclass(frozen=True, slots=True)
class Data:
    """The data of a task.

    Attributes:
        sim: Labelled simulated images.
        real: Real training images; translations see the images, only the upper bound sees their labels.
        test: Real images for testing only.
    """

    sim: Labelled
    real: Labelled
    test: Labelled


@dataclass(frozen=True, slots=True)
class Task:
    """A task and its properties.

    Attributes:
        load: Maps the number of simulated images and the seed to the data.
        classes: Names of the classes, in the order of the labels.
        metric: A name of ``learner.METRICS``.
        cell: Side in pixels of a labelled cell; 0: the whole image has one label.
        effort: Share of the budget's steps for this task.
        needs_files: Whether the data are in the folder SIM2REAL_TEST_DATA.
    """

    load: Callable[[int, int], Data]
    classes: tuple[str, ...]
    metric: str
    cell: int = 0
    effort: float = 1.0
    needs_files: bool = True


def data_folder() -> Path:
    """Return the folder SIM2REAL_TEST_DATA.

    Raises:
        Sim2RealError: If it is not set or does not exist.
    """
    folder = os.environ.get("SIM2REAL_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        raise Sim2RealError(
            "SIM2REAL_TEST_DATA is not set to a folder: set it, or use the task toytown, which does not need it"
        )
    return Path(folder)


def load_signs(count: int, seed: int) -> Data:
    """Load icons of traffic signs on crops of driving photos, and photos of the same signs (GTSRB)."""
    root = data_folder()
    random = np.random.default_rng(seed)
    icons = [_read_rgba(path) for path in sorted((root / "gtsrb-signs/icons").glob("*.png"))]
    backgrounds = _photos(root)
    labels = random.permutation(np.arange(count) % len(icons))
    images = np.stack([_compose(icons[label], backgrounds, random) for label in labels])
    real, test = (_read_classes(root / "gtsrb-signs/real" / part) for part in ("train", "test"))
    return Data(Labelled(images, labels), real, test)


_SIGN = 48


def _read_rgba(path: Path) -> Image:
    stored = np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), np.uint8)
    return np.asarray(cv2.cvtColor(stored, cv2.COLOR_BGRA2RGBA), np.uint8)


@cache
def _photos(root: Path) -> Sequence[Image]:
    """Return a subset of the driving photos that are the background of the icons."""
    paths = [*sorted((root / "camvid/train/images").iterdir())[::4], *sorted((root / "kitti/frames").iterdir())[::3]]
    return [read_rgb(path) for path in paths if is_image(path.name)]


@cache
def _read_classes(folder: Path) -> Labelled:
    """Read a folder of images for each class, named by its number."""
    paths = sorted(path for path in folder.glob("*/*") if is_image(path.name))
    labels = [int(path.parent.name) for path in paths]
    return Labelled(np.stack([read_rgb(path) for path in paths]), np.array(labels, np.int64))


def _compose(icon: Image, backgrounds: Sequence[Image], random: np.random.Generator) -> Image:
    """Return an icon, turned by up to 10 degrees, on a window of a photo: well drawn, but without any lighting."""
    photo = backgrounds[int(random.integers(len(backgrounds)))]
    side = int(random.integers(_SIGN, 3 * _SIGN))
    top, left = (random.integers(extent - side + 1) for extent in photo.shape[:2])
    window = cv2.resize(photo[top : top + side, left : left + side], (_SIGN, _SIGN), interpolation=cv2.INTER_AREA)
    size = round(_SIGN * random.uniform(0.65, 0.9))
    small = icon.astype(np.float32) / 255
    small[..., :3] *= small[..., 3:]
    scaled = cv2.resize(small, (size, size), interpolation=cv2.INTER_AREA)
    turn = np.asarray(cv2.getRotationMatrix2D((size / 2, size / 2), random.uniform(-10, 10), 1.0), np.float64)
    turn[:, 2] += (_SIGN - size) / 2 + random.uniform(-2.5, 2.5, 2)
    placed = cv2.warpAffine(scaled, turn, (_SIGN, _SIGN), flags=cv2.INTER_LINEAR)
    mixed: NDArray[np.float32] = placed[..., :3] * 255 + (1 - placed[..., 3:]) * window
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


_DIGIT = 32
_DIGITS_OF_MNISTM = 6000  # the rebuilt MNIST-M consists of this many first digits of the file
_MNISTM_TRAINED = 4000


def load_usps(count: int, seed: int) -> Data:
    """Load digits of MNIST and of USPS."""
    digits = _read_arrays("usps_16x16.npz")
    real, test = (
        Labelled(_as_digits(digits[f"x_{part}"]), _classes(digits[f"y_{part}"])) for part in ("train", "test")
    )
    return Data(_mnist(count, seed, first=0), real, test)


def load_mnistm(count: int, seed: int) -> Data:
    """Load digits of MNIST, and other ones blended with photos."""
    digits = _read_arrays("mnistm_rebuilt_6k_28x28x3.npz")
    images, labels = _as_digits(digits["x"]), _classes(digits["y"])
    real, test = (
        Labelled(images[part], labels[part]) for part in (slice(_MNISTM_TRAINED), slice(_MNISTM_TRAINED, None))
    )
    return Data(_mnist(count, seed, first=_DIGITS_OF_MNISTM), real, test)


def _mnist(count: int, seed: int, *, first: int) -> Labelled:
    digits = _read_arrays("mnist10k_28x28.npz")
    chosen = first + np.random.default_rng(seed).permutation(len(digits["x"]) - first)[:count]
    return Labelled(_as_digits(digits["x"][chosen]), _classes(digits["y"][chosen]))


def _read_arrays(name: str) -> dict[str, NDArray[np.uint8]]:
    with np.load(data_folder() / "digits" / name) as arrays:
        return {key: arrays[key] for key in arrays.files}


def _classes(labels: NDArray[np.uint8]) -> Labels:
    return labels.astype(np.int64)


def _as_digits(images: NDArray[np.uint8]) -> Image:
    """Convert (N, h, w) or (N, h, w, 3) to RGB (N, 32, 32, 3), scaling both sides from their stored sizes."""
    scaled = [cv2.resize(image, (_DIGIT, _DIGIT), interpolation=cv2.INTER_LINEAR) for image in images]
    return np.stack([image if image.ndim == 3 else np.dstack([image] * 3) for image in scaled]).astype(np.uint8)


_TOWN_SIZE = (192, 64)
_TOWN_SCENES = (1, 2, 6, 18, 20)
_TOWN_CLASSES = {
    "sky": (Label.Sky,),
    "road": (Label.Road,),
    "terrain": (Label.Terrain, Label.Vegetation),
    "tree": (Label.Tree,),
    "building": (Label.Building,),
    "vehicle": (Label.Car, Label.Van, Label.Truck),
}
_TOWN_IMAGES, _TOWN_TESTED = 300, 120
_APART = 25  # frames between consecutive images


def load_toytown(count: int, seed: int) -> Data:
    """Load the rendered town, and streets of other seeds in the look of a camera."""
    return Data(
        _town("sim", min(count, _TOWN_IMAGES), seed=100 + seed),
        _town("real", min(count, _TOWN_IMAGES), seed=200),
        _town("real", min(count, _TOWN_TESTED), seed=300),
    )


def _town(look: Look, count: int, seed: int) -> Labelled:
    codes = np.full(len(Label), IGNORED, np.int64)
    for code, labels in enumerate(_TOWN_CLASSES.values()):
        codes[list(labels)] = code
    frames = [
        render_frame(
            _APART * (index // len(_TOWN_SCENES)),
            look=look,
            size=_TOWN_SIZE,
            seed=seed,
            scene=_TOWN_SCENES[index % len(_TOWN_SCENES)],
            forward=False,
            backward=False,
            boxes=False,
        )
        for index in range(count)
    ]
    return Labelled(np.stack([frame.rgb for frame in frames]), codes[np.stack([frame.classes for frame in frames])])


_STREET = (160, 96)
_STREET_CELL = 16
_CAMVID_ROWS = slice(36, 324)  # rows of 360: the aspect ratio of CARLA's frames
_VEHICLE, _CAR = 0, 8  # classes in CARLA's boxes and in CamVid's masks
_SMALLEST_CAR = 40  # pixels of a mask
_COVERED, _TOUCHED = 0.3, 0.05

Box = tuple[float, float, float, float]


def load_streets(count: int, seed: int) -> Data:
    """Load CARLA and CamVid: is there a vehicle in a cell of 16x16 pixels?

    CARLA has boxes and CamVid masks, so the connected parts of the masks are converted to boxes. A cell of which boxes
    cover at least 0.3 has a vehicle, one of which they cover less than 0.05 has none, and others are ignored.
    """
    root = data_folder()
    sim = [path for part in ("train", "test") for path in sorted((root / "carla" / part / "images").iterdir())]
    chosen = np.random.default_rng(seed).permutation(len(sim))[:count]
    real, test = (
        Labelled(np.concatenate([part.images for part in parts]), np.concatenate([part.labels for part in parts]))
        for parts in ([_camvid(root, "train"), _camvid(root, "val")], [_camvid(root, "test")])
    )
    return Data(_stack([(read_rgb(sim[index]), _carla_boxes(sim[index])) for index in chosen]), real, test)


def _carla_boxes(image: Path) -> list[Box]:
    """Return left, top, right and bottom of the vehicles, as shares of the image."""
    rows = [line.split() for line in (image.parents[1] / "labels" / f"{image.stem}.txt").read_text().splitlines()]
    boxes = [tuple(map(float, row[1:])) for row in rows if int(row[0]) == _VEHICLE]
    return [(x - width / 2, y - height / 2, x + width / 2, y + height / 2) for x, y, width, height in boxes]


def _camvid(root: Path, part: str) -> Labelled:
    frames = []
    for path in sorted((root / "camvid" / part / "images").iterdir()):
        label = read_label(root / "camvid" / part / "labels" / f"{path.stem}.png")
        frames.append((read_rgb(path)[_CAMVID_ROWS], _car_boxes(label[_CAMVID_ROWS])))
    return _stack(frames)


def _car_boxes(mask: NDArray[np.generic]) -> list[Box]:
    _, _, statistics, _ = cv2.connectedComponentsWithStats((mask == _CAR).astype(np.uint8))
    height, width = mask.shape
    return [
        (left / width, top / height, (left + wide) / width, (top + high) / height)
        for left, top, wide, high, area in statistics[1:]
        if area >= _SMALLEST_CAR
    ]


def _stack(frames: Sequence[tuple[Image, list[Box]]]) -> Labelled:
    images = [cv2.resize(image, _STREET, interpolation=cv2.INTER_AREA) for image, _ in frames]
    return Labelled(np.stack(images).astype(np.uint8), np.stack([_cells(boxes) for _, boxes in frames]))


def _cells(boxes: Sequence[Box]) -> Labels:
    """Return which cells have a vehicle: 1, 0 or ``IGNORED``."""
    width, height = _STREET
    covered = np.zeros((height, width), np.float32)
    for left, top, right, bottom in boxes:
        rows = slice(max(0, round(top * height)), max(0, round(bottom * height)))
        covered[rows, max(0, round(left * width)) : max(0, round(right * width))] = 1
    share = covered.reshape(height // _STREET_CELL, _STREET_CELL, width // _STREET_CELL, _STREET_CELL).mean(axis=(1, 3))
    return np.where(share >= _COVERED, 1, np.where(share < _TOUCHED, 0, IGNORED)).astype(np.int64)


_DIGITS = tuple("0123456789")

TASKS: dict[str, Task] = {
    "signs": Task(load_signs, tuple(f"{label:02}" for label in range(43)), "accuracy"),
    "mnist-usps": Task(load_usps, _DIGITS, "accuracy", effort=0.5),
    "mnist-mnistm": Task(load_mnistm, _DIGITS, "accuracy", effort=0.5),
    "toytown": Task(load_toytown, tuple(_TOWN_CLASSES), "mIoU", cell=1, needs_files=False),
    "carla-camvid": Task(load_streets, ("none", "vehicle"), "average precision", cell=_STREET_CELL, effort=0.5),
}
