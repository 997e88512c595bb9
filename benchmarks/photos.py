"""Measure how often the rule for camera images errs: on photos, on photos of other looks, and on labels.

The photos are those in the folder SIM2REAL_TEST_DATA. Labels are rendered by ``sim2real_toytown`` and encoded like
those of simulators. Names give no information: only headers and pixels count.
"""

import io
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.common import make_parser, print_table
from sim2real import open_dataset
from sim2real.datasets.pixels import kind_of
from sim2real.imageio import encode_jpeg, encode_png, is_image, read_rgb
from sim2real_toytown.render import Frame, render_frame

Pixels = NDArray[np.uint8]

_SETS = {
    "KITTI": ("kitti/frames", "kitti/object/training/image_2", "kitti/data_semantics/*/image_2", "kitti/raw"),
    "CamVid": ("camvid/*/images",),
    "GTSRB, signs": ("gtsrb-signs/real/*/*",),
    "Monet's paintings": ("monet2photo-mini/trainA", "monet2photo-mini/testA"),
    "photos of monet2photo": ("monet2photo-mini/trainB", "monet2photo-mini/testB"),
    "CARLA": ("carla/*/images",),
    "Virtual KITTI, from figures": ("vkitti-sample",),
}
_LABELS = re.compile(r"/(?:semantic|semantic_rgb|instance|labels)/|_classcolour\.")
_DIGITS = "digits/mnistm_rebuilt_6k_28x28x3.npz"
_FOLDERS = 4  # folders of each set in the table of other looks
_IMAGES = 6  # images in each folder
_LARGEST = (300, 500)  # pixels of the crop of each image


def night(rgb: Pixels) -> Pixels:
    """Return a dark, noisy photo."""
    noise = np.random.default_rng(0).normal(0, 2, rgb.shape)
    return np.clip(30 * (rgb / 255) ** 1.5 + noise, 0, 255).astype(np.uint8)


def nearly_black(rgb: Pixels) -> Pixels:
    """Darken a photo to six levels."""
    return (rgb * 0.02).astype(np.uint8)


def fog(rgb: Pixels) -> Pixels:
    """Add fog that is denser towards the horizon."""
    seen = np.linspace(0.15, 0.6, rgb.shape[0])[:, None, None]
    return np.round(rgb * seen + 210 * (1 - seen)).astype(np.uint8)


def dense_fog(rgb: Pixels) -> Pixels:
    """Add fog that leaves twenty levels."""
    return np.round(rgb * 0.08 + 188).astype(np.uint8)


def snow(rgb: Pixels) -> Pixels:
    """Make a photo paler, with snowflakes."""
    flakes = np.random.default_rng(0).random(rgb.shape[:2]) < 0.02
    pale = np.round(0.55 * rgb + 0.45 * 245).astype(np.uint8)
    pale[cv2.dilate(flakes.astype(np.uint8), np.ones((2, 2))) > 0] = 255
    return pale


def posterised(rgb: Pixels) -> Pixels:
    """Reduce a photo to six levels per channel."""
    return (rgb // 43 * 43).astype(np.uint8)


def cartoon(rgb: Pixels) -> Pixels:
    """Smooth a photo, reduce it to eleven levels per channel, and draw black lines."""
    flat = np.asarray(cv2.bilateralFilter(cv2.bilateralFilter(rgb, 7, 60, 7), 7, 60, 7), np.uint8) // 24 * 24 + 12
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    flat[cv2.adaptiveThreshold(grey, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, 9, 5) == 0] = 0
    return flat


def blurred(rgb: Pixels) -> Pixels:
    """Blur a photo as if out of focus."""
    return np.asarray(cv2.GaussianBlur(rgb, (0, 0), 4), np.uint8)


def gaudy(rgb: Pixels) -> Pixels:
    """Multiply the saturation by two and a half."""
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV).astype(np.int32)
    hsv[..., 1] = np.minimum(255, hsv[..., 1] * 5 // 2)
    return np.asarray(cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB), np.uint8)


def overexposed(rgb: Pixels) -> Pixels:
    """Make a photo more than twice as bright."""
    return np.minimum(255, rgb.astype(np.int32) * 11 // 5).astype(np.uint8)


def as_png(pixels: Pixels) -> tuple[str, bytes]:
    """Encode losslessly as PNG."""
    return "png", encode_png(np.ascontiguousarray(pixels))


def as_jpeg(pixels: Pixels) -> tuple[str, bytes]:
    """Encode as JPEG, as cameras do."""
    return "jpg", encode_jpeg(np.ascontiguousarray(pixels))


def grey_jpeg(rgb: Pixels) -> tuple[str, bytes]:
    """Encode as the JPEG of a grey camera."""
    file = io.BytesIO()
    Image.fromarray(rgb).convert("L").save(file, "JPEG", quality=95)
    return "jpg", file.getvalue()


def grey_png(rgb: Pixels) -> tuple[str, bytes]:
    """Encode as the PNG of a grey camera, which cannot be distinguished from a label of one channel."""
    return as_png(np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8))


def _as_png(look: Callable[[Pixels], Pixels], rgb: Pixels) -> tuple[str, bytes]:
    return as_png(look(rgb))


_LOOKS: dict[str, Callable[[Pixels], tuple[str, bytes]]] = {
    "as it is, PNG": as_png,
    **{
        look.__name__.replace("_", " "): partial(_as_png, look)
        for look in (night, nearly_black, fog, dense_fog, snow, posterised, cartoon, blurred, gaudy, overexposed)
    },
    "grey camera, JPEG": grey_jpeg,
    "grey camera, PNG": grey_png,
}


def codings(frame: Frame) -> dict[str, NDArray[np.uint8] | NDArray[np.uint16]]:
    """Return the labels of a frame in the encodings of simulators, (H, W) or (H, W, 3)."""
    rng = np.random.default_rng(0)
    palette = rng.integers(0, 256, (256, 3), dtype=np.uint8)
    sky = frame.depth == np.iinfo(np.uint16).max
    metres = frame.depth / 100 + rng.uniform(-0.005, 0.005, frame.depth.shape)
    code = np.where(sky, 2**24 - 1, np.minimum(metres / 1000, 1) * (2**24 - 1)).astype(np.int64)
    points = _points(metres)
    flow = frame.forward
    assert flow is not None  # noqa: S101  it was requested
    motion = np.where(flow.valid[..., None], flow.flow, 0)
    return {
        "classes, colours": palette[frame.classes],
        "classes, numbers": np.asarray(frame.classes, np.uint8),
        "instances, colours": palette[frame.instances],
        "depth, 16 bits": frame.depth,
        "depth, 24 bits (CARLA)": np.dstack([code & 255, code >> 8 & 255, code >> 16]).astype(np.uint8),
        "depth, 8 bits in 3 channels": np.dstack([_near_is_bright(metres, sky)] * 3),
        "surface normals": _normals(points, sky),
        "flow on white (Middlebury)": _wheel(motion),
        "flow on black (HSV)": _hsv(motion),
        "coordinates (NOCS)": _coordinates(points, frame.instances),
        "texture coordinates": _texture(sky.shape),
    }


def _near_is_bright(metres: NDArray[np.float64], sky: NDArray[np.bool_]) -> Pixels:
    return np.where(sky, 0, 255 * (1 - np.log1p(np.minimum(metres, 300)) / np.log(301))).astype(np.uint8)


def _points(metres: NDArray[np.float64]) -> NDArray[np.float64]:
    height, width = metres.shape
    y, x = np.mgrid[:height, :width]
    return np.dstack([(x - width / 2) * metres / (0.6 * width), (y - height / 2) * metres / (0.6 * width), metres])


def _normals(points: NDArray[np.float64], sky: NDArray[np.bool_]) -> Pixels:
    smooth = np.asarray(cv2.GaussianBlur(points, (0, 0), 1.5))
    crossed = np.cross(np.gradient(smooth, axis=1), np.gradient(smooth, axis=0))
    vectors = np.round(12 * crossed / np.maximum(1e-9, np.linalg.norm(crossed, axis=2, keepdims=True)))
    lengths = np.linalg.norm(vectors, axis=2, keepdims=True)
    coded: Pixels = np.round(127.5 * (vectors / np.maximum(1, lengths) + 1)).astype(np.uint8)
    coded[sky] = 0
    return coded


def _wheel(motion: NDArray[np.float64]) -> Pixels:
    """Return the colour wheel of Baker et al. 2011: 15 hues from red to yellow, 6 to green, 4 to cyan, 11, 13, 6."""
    corners = np.array([(1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1), (1, 0, 0)])
    places = np.cumsum([0, 15, 6, 4, 11, 13, 6])
    speed = np.linalg.norm(motion, axis=2)
    turn = (np.arctan2(-motion[..., 1], -motion[..., 0]) / np.pi + 1) / 2 * 54
    hues = np.stack([np.interp(turn, places, corners[:, channel]) for channel in range(3)], axis=-1)
    return np.asarray(255 * (1 - (speed / max(1e-9, speed.max()))[..., None] * (1 - hues)), np.uint8)


def _hsv(motion: NDArray[np.float64]) -> Pixels:
    """Draw flow as in OpenCV's tutorial on dense optical flow."""
    speed, angle = cv2.cartToPolar(motion[..., 0], motion[..., 1])
    value = 255 * speed / max(1e-9, speed.max())
    hsv = np.dstack([angle * 90 / np.pi, np.full_like(value, 255), value]).astype(np.uint8)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)


def _coordinates(points: NDArray[np.float64], instances: NDArray[np.uint8]) -> Pixels:
    coded = np.full(points.shape, 255, np.uint8)
    for number in np.unique(instances[instances > 0]):
        inside = instances == number
        least, most = points[inside].min(axis=0), points[inside].max(axis=0)
        coded[inside] = (255 * (points[inside] - least) / np.maximum(1e-9, most - least)).astype(np.uint8)
    return coded


def _texture(shape: tuple[int, ...]) -> Pixels:
    rows, columns = (np.linspace(0, 255, size) for size in shape)
    return np.dstack([*np.meshgrid(columns, rows), np.zeros(shape)]).astype(np.uint8)


def _stored(values: NDArray[np.uint8] | NDArray[np.uint16], suffix: str) -> bytes | None:
    """Return the bytes of a label image; None if the container cannot hold it."""
    if values.dtype == np.uint16 and suffix in {"bmp", "webp"}:
        return None
    file = io.BytesIO()
    Image.fromarray(values).save(
        file, {"tif": "TIFF"}.get(suffix, suffix.upper()), **({"lossless": True} if suffix == "webp" else {})
    )
    return file.getvalue()


def photos(root: Path, patterns: tuple[str, ...]) -> list[Path]:
    """Return the images below folders."""
    found = [path for pattern in patterns for folder in root.glob(pattern) for path in folder.rglob("*")]
    return sorted(path for path in found if is_image(path.name) and not _LABELS.search(path.as_posix()))


def measure_photos(root: Path, most: int | None) -> None:
    """Print for each set how many single images would be doubted or not taken for photos."""
    rows = []
    sets: dict[str, Sequence[Path | Pixels]] = {name: photos(root, patterns) for name, patterns in _SETS.items()}
    sets["MNIST-M, 28x28"] = list(np.load(root / _DIGITS)["x"])
    for name, images in sets.items():
        chosen = images[:: max(1, len(images) // most) if most else 1]
        kinds = [kind_of(read_rgb(image) if isinstance(image, Path) else image) for image in chosen]
        doubted = sum(1 for kind in kinds if kind and kind.doubtful)
        rows.append([name, str(len(kinds)), str(doubted), str(sum(1 for kind in kinds if kind) - doubted)])
    print_table("Photos as they are, one by one", ["images", "number", "doubted", "no light"], rows)


def measure_looks(root: Path, folders: int) -> None:
    """Print for each look how many folders are set aside that are next to one of unchanged photos."""
    rows = []
    sources = [paths for patterns in _SETS.values() for paths in _folders(photos(root, patterns), folders)]
    for look, change in _LOOKS.items():
        wrong = sum(_is_non_photo(paths, (change(_cut(read_rgb(path))) for path in paths)) for paths in sources)
        rows.append([look, str(len(sources)), str(wrong)])
    print_table("Folders of photos in other looks, beside photos", ["look", "folders", "set aside"], rows)


def _folders(paths: list[Path], count: int) -> Iterator[list[Path]]:
    for place in range(count):
        part = paths[place * len(paths) // count : (place + 1) * len(paths) // count]
        yield part[:: max(1, len(part) // _IMAGES)][:_IMAGES]


def _cut(rgb: Pixels) -> Pixels:
    return np.ascontiguousarray(rgb[: _LARGEST[0], : _LARGEST[1]])


def measure_labels(root: Path, frames: int) -> None:
    """Print for each encoding and container whether a folder of labels next to photos is set aside."""
    rendered = [codings(render_frame(40 * number, size=(621, 188), backward=False)) for number in range(frames)]
    beside = photos(root, _SETS["CamVid"])[:frames]
    suffixes = ("png", "bmp", "tif", "webp")
    rows = []
    for coding in rendered[0]:
        cells = []
        for suffix in suffixes:
            stored = [data for labels in rendered if (data := _stored(labels[coding], suffix))]
            found = _is_non_photo(beside, ((suffix, data) for data in stored)) if stored else None
            cells.append("-" if found is None else "found" if found else "missed")
        rows.append([coding, *cells])
    print_table("Folders of labels beside photos, with names that say nothing", ["coding", *suffixes], rows)


def _is_non_photo(beside: list[Path], images: Iterator[tuple[str, bytes]]) -> bool:
    """Return whether any image is set aside in a folder next to one of photos."""
    with tempfile.TemporaryDirectory(prefix="sim2real-photos-") as folder:
        root = Path(folder)
        for place in ("a", "b"):
            (root / place).mkdir()
        for number, path in enumerate(beside):
            (root / f"a/{number}{path.suffix}").write_bytes(path.read_bytes())
        for number, (suffix, data) in enumerate(images):
            (root / f"b/{number}.{suffix}").write_bytes(data)
        return any(path.startswith("b/") for path in open_dataset(root, "images").non_photos.roles)


def main() -> None:
    """Print the tables."""
    parser = make_parser(__doc__, repeats=1)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    root = os.environ.get("SIM2REAL_TEST_DATA")
    if not root:
        print("skipped: SIM2REAL_TEST_DATA does not name the folder of the real samples")
        return
    measure_labels(Path(root), 2 if options.quick else 6)
    measure_looks(Path(root), 1 if options.quick else _FOLDERS)
    measure_photos(Path(root), 4 if options.quick else None)


if __name__ == "__main__":
    main()
