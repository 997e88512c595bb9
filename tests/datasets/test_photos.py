"""The one rule for what is a camera image, in all layouts and containers."""

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from sim2real.conversion.plan import select
from sim2real.datasets import Dataset, Role, open_dataset
from sim2real.datasets.pixels import kind_of
from sim2real.errors import DatasetError
from sim2real.imageio import encode_jpeg, encode_png
from tests.datasets.trees.common import photo

Plant = Callable[..., None]
Pixels = NDArray[np.uint8]

XML = "<annotation><object><name>car</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>"  # noqa: E501  one line of a file
COCO = (
    '{"images": [{"id": 1, "file_name": "rgb/1.png"}, {"id": 2, "file_name": "depth/1.png"}], '
    '"annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]}], '
    '"categories": [{"id": 1, "name": "car"}]}'
)


def scene(seed: int = 0, size: tuple[int, int] = (96, 128)) -> Pixels:
    """What a camera might see: shapes, shades and noise (H, W, 3)."""
    rng = np.random.default_rng(seed)
    height, width = size
    rows, columns = np.mgrid[:height, :width] / [[[height]], [[width]]]
    light = 90 + 80 * np.sin(5 * rows + 3 * columns + seed)[..., None] * rng.uniform(0.5, 1, 3)
    for _ in range(12):
        y, x, r = rng.integers(0, height), rng.integers(0, width), rng.integers(5, 30)
        light[max(0, y - r) : y + r, max(0, x - r) : x + r] += rng.uniform(-50, 50, 3)
    return np.asarray(np.clip(light + rng.normal(0, 4, light.shape), 0, 255), np.uint8)


def metres(seed: int = 0, size: tuple[int, int] = (96, 128)) -> NDArray[np.float64]:
    """Depth of a plane with boxes on it (H, W)."""
    rng = np.random.default_rng(seed)
    height, width = size
    depth = np.repeat(100 / (1 + np.arange(height) / 5.0)[:, None], width, axis=1) + np.arange(width) * 0.01
    for _ in range(4):
        y, x = rng.integers(0, height - 30), rng.integers(0, width - 30)
        depth[y : y + 30, x : x + 30] = rng.uniform(5, 40) + np.arange(30) * 0.03
    return depth


def classes(seed: int = 0) -> NDArray[np.uint8]:
    return np.digitize(metres(seed), [6, 9, 15, 30]).astype(np.uint8)


def coloured(seed: int = 0) -> Pixels:
    return np.random.default_rng(1).integers(0, 256, (9, 3), dtype=np.uint8)[classes(seed)]


def smooth(seed: int = 0) -> Pixels:
    """As ``coloured``, scaled as photos are."""
    return np.asarray(cv2.resize(coloured(seed), (1216, 912), interpolation=cv2.INTER_CUBIC), np.uint8)[::2, ::2]


def depth24(seed: int = 0) -> Pixels:
    code = (metres(seed) / 1000 * (2**24 - 1)).astype(np.int64)
    return np.dstack([code & 255, code >> 8 & 255, code >> 16]).astype(np.uint8)


def normals(seed: int = 0) -> Pixels:
    angles = np.linspace(0, 2 * np.pi, 128)[None] + classes(seed)
    tilt = 0.3 + 0.2 * classes(seed)
    vectors = np.dstack([np.cos(angles) * np.sin(tilt), np.sin(angles) * np.sin(tilt), np.cos(tilt)])
    return np.round(127.5 * (vectors + 1)).astype(np.uint8)


def flow(seed: int = 0, *, dark: bool = False) -> Pixels:
    rows, columns = np.mgrid[-48:48, -64:64] + seed
    speed, hue = np.hypot(rows, columns) / 90 * 255, (np.arctan2(rows, columns) / np.pi + 1) * 89
    full = np.full_like(speed, 255)
    hsv = np.dstack([hue, full if dark else speed, speed if dark else full]).clip(0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)


def coordinates(seed: int = 0) -> Pixels:
    shown = np.full((96, 128, 3), 255, np.uint8)
    down, right = np.mgrid[:60, :80]
    shown[20:80, 20 + seed : 100 + seed] = np.dstack([down * 4, right * 3, 240 - 2 * down - right])
    return shown


UNNAMED: dict[str, Callable[[int], Pixels]] = {
    "classes": coloured,
    "classes, smoothly scaled": smooth,
    "depth in 24 bits": depth24,
    "depth in 24 bits, BGR": lambda seed: depth24(seed)[..., ::-1],
    "normals": normals,
    "flow on white": flow,
    "flow on black": lambda seed: flow(seed, dark=True),
    "coordinates": coordinates,
    "numbers": classes,
}
CONTAINERS = {"png": {}, "bmp": {}, "tif": {}, "webp": {"lossless": True}}


def encoded(pixels: Pixels, suffix: str) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.save(file, "TIFF" if suffix == "tif" else suffix.upper(), **CONTAINERS[suffix])
    return file.getvalue()


def images(dataset: Dataset, *include: str) -> list[str]:
    return [frame.image for frame in dataset.frames(include)]


TREES: dict[str, tuple[str, list[str], list[str], dict[str, str]]] = {
    "yolo, once for each modality": (
        "yolo",
        ["rgb/images/train/1.png", "rgb/images/train/2.png"],
        ["seg/images/train/1.png", "depth/images/train/2.png", "Normals/images/train/1.jpg"],
        {"rgb/labels/train/1.txt": "0 .5 .5 .1 .1\n"},
    ),
    "yolo, modalities below images": (
        "yolo",
        ["images/rgb/1.png"],
        ["images/depth/1.png", "images/seg/1.png", "images/opt_flow/1.png"],
        {"labels/rgb/1.txt": "0 .5 .5 .1 .1\n"},
    ),
    "Darknet, side by side": (
        "yolo",
        ["data/0.png"],
        ["data/0_cs.png", "data/0_flowviz.png", "data/0.depth.png", "data/0_is.seg.bmp"],
        {"data/0.txt": "0 .5 .5 .1 .1\n"},
    ),
    "voc": (
        "voc",
        ["JPEGImages/rgb/1.jpg"],
        ["JPEGImages/depth/1.png", "JPEGImages/semantic_segmentation/1.png"],
        {"Annotations/rgb/1.xml": XML, "ImageSets/Main/train.txt": "1\n"},
    ),
    "coco": ("coco", ["rgb/1.png"], ["depth/1.png"], {"annotations/instances.json": COCO}),
    "cyclegan": ("cyclegan", ["trainA/0.png", "trainB/0.png"], ["trainA/0_mask.png", "trainB/0_depth.jpg"], {}),
    "SELMA": (
        "images",
        ["Town01/CAM_DESK/f_0.jpg"],
        ["Town01/DEPTHCAM_DESK/f_0.png", "Town01/SEGCAM_DESK/f_0.png"],
        {},
    ),
    "Structured3D": ("images", ["s/0/rgb_rawlight.png"], ["s/0/normal.png", "s/0/semantic.png"], {}),
    "colours of classes": (
        "images",
        ["v03_rgb.png", "v04_rgb.png"],
        ["v03_classcolour.png", "v04_classcolour.png"],
        {},
    ),
    "Sintel": ("images", ["final/alley_1/frame_1.png"], ["flow_viz/alley_1/frame_1.png"], {}),
    "other words beside those of labels": (
        "images",
        ["camera/0.png", "camera/1.png", "images/7.jpg", "images/7_wide.png"],
        ["camera/masks_machine/0.png", "camera/SegmentationObject2/1.png", "images/7_seg_overlay.png"],
        {},
    ),
    "AirSim": ("images", ["scene/0.png"], ["surface_normals/0.png", "depth_perspective/0.png"], {}),
    "Blender": ("images", ["combined/0001.png"], ["uv/0001.png", "normal/0001.png"], {}),
    "all below a word of labels": ("images", ["segmentation/rgb/1.png"], ["segmentation/depth/1.png"], {}),
}


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_what_is_named_as_labels_of_photos_is_carried_in_every_layout(
    tree: tuple[str, list[str], list[str], dict[str, str]], tmp_path: Path, plant: Plant
) -> None:
    layout, photos, labels, texts = tree
    plant(tmp_path, *photos, *(label for label in labels if not label.endswith("bmp")), texts)
    for label in labels:
        if label.endswith("bmp"):
            plant(tmp_path, {label: encoded(photo(), "bmp")})
    dataset = open_dataset(tmp_path)
    assert dataset.name == layout
    assert images(dataset) == photos
    assert {dict(dataset.files())[label] for label in labels} == {Role.LABEL}
    told = " ".join(dataset.warnings())
    assert f"{len(labels)} images are carried unchanged: named like labels of other images" in told
    assert "--as-image" in told


@pytest.mark.parametrize("layout", ["yolo", "voc", "images"])
@pytest.mark.parametrize("kind", UNNAMED)
def test_what_pixels_tell_is_carried_in_every_layout_and_container(
    kind: str, layout: str, tmp_path: Path, plant: Plant
) -> None:
    folder = {"yolo": "images", "voc": "JPEGImages", "images": "data"}[layout]
    texts = {
        "yolo": {"labels/a/0.txt": "0 .5 .5 .1 .1\n"},
        "voc": {"Annotations/a/0.xml": XML, "ImageSets/Main/train.txt": "0\n"},
        "images": {},
    }[layout]
    photos = {f"{folder}/a/{number}.jpg": encode_jpeg(scene(number)) for number in range(3)}
    labels = {
        f"{folder}/{suffix}x/{number + 5}.{suffix}": encoded(UNNAMED[kind](number), suffix)
        for suffix in CONTAINERS
        for number in range(3)
    }
    plant(tmp_path, photos, labels, texts)
    dataset = open_dataset(tmp_path)
    assert dataset.name == layout
    assert images(dataset) == sorted(photos)
    assert not {dict(dataset.files())[label] for label in labels} & {Role.IMAGE, Role.AUX}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 99),
    size=st.tuples(st.integers(24, 160), st.integers(24, 200)),
    gain=st.floats(0.05, 1.4),
    lift=st.floats(0, 120),
    blur=st.sampled_from([0.0, 1.0, 3.0]),
)
def test_no_scene_is_taken_for_what_is_no_light(
    seed: int, size: tuple[int, int], gain: float, lift: float, blur: float
) -> None:
    rgb = np.clip(scene(seed, size) * gain + lift, 0, 255).astype(np.uint8)
    if blur:
        rgb = np.asarray(cv2.GaussianBlur(rgb, (0, 0), blur), np.uint8)
    kind = kind_of(rgb)
    assert kind is None or kind.doubtful


def test_photos_that_are_sorted_by_what_they_show_are_photos(tmp_path: Path, plant: Plant) -> None:
    photos = [f"{folder}/{number}.jpg" for folder in ("faces", "with_mask", "label_machine") for number in range(4)]
    plant(tmp_path, *photos)
    assert images(open_dataset(tmp_path)) == sorted(photos)


def test_one_odd_image_decides_nothing(tmp_path: Path, plant: Plant) -> None:
    photos = {f"a/{number}.png": encode_png(scene(number)) for number in range(8)}
    labels = {f"b/{number}.png": encode_png(coloured(number)) for number in range(8)}
    plant(tmp_path, photos | {"a/3.png": encode_png(coloured())}, labels | {"b/3.png": encode_png(scene())})
    assert images(open_dataset(tmp_path)) == sorted(photos)


def test_cartoons_alone_are_photos_and_doubted(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, {f"{number}.png": encode_png(coloured(number)) for number in range(8)})
    plant(tmp_path, {"poster.png": encode_png(scene())})
    dataset = open_dataset(tmp_path)
    assert len(images(dataset)) == 9, "one other image is not what eight labels would be of"
    assert any("if they are labels" in line for line in dataset.warnings())


def test_grey_cameras_are_cameras_where_the_layout_knows_them(tmp_path: Path, plant: Plant) -> None:
    drive = "2011_09_26/2011_09_26_drive_0001_sync"
    grey = {f"{drive}/image_02/data/000000000{n}.png": encode_png(scene(n)[..., 0].copy()) for n in range(3)}
    colours = {f"{drive}/image_03/data/000000000{n}.png": encode_png(scene(n)) for n in range(3)}
    texts = {f"{drive}/oxts/data/000000000{n}.txt": "0 " * 30 for n in range(3)}
    plant(tmp_path, grey, colours, texts)
    dataset = open_dataset(tmp_path)
    assert dataset.name == "kitti-raw"
    assert images(dataset) == sorted({**grey, **colours})


def test_labelled_grey_images_are_a_cameras_in_any_layout(tmp_path: Path, plant: Plant) -> None:
    grey = {f"images/thermal/{n}.png": encode_png(scene(n)[..., 0].copy()) for n in range(3)}
    colours = {f"images/rgb/{n}.png": encode_png(scene(n)) for n in range(3)}
    texts = {f"labels/{folder}/{n}.txt": "0 .5 .5 .1 .1\n" for folder in ("thermal", "rgb") for n in range(3)}
    plant(tmp_path, grey, colours, texts)
    assert images(open_dataset(tmp_path)) == sorted({**grey, **colours})


def test_include_that_picks_such_images_alone_means_them(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "rgb/1.png", "depth/1.png", "seg/1.png")
    dataset = open_dataset(tmp_path)
    assert images(dataset, "depth/*") == ["depth/1.png"]
    assert images(dataset, "*") == ["rgb/1.png"]
    assert images(dataset, "rgb/*", "seg/*") == ["rgb/1.png"]
    assert images(dataset, "*1.png") == ["rgb/1.png"]
    selected = list(select(dataset, "sim", ("depth/*",), (), None))
    assert selected == [("depth/1.png", Role.IMAGE, True)]


def test_as_image_overrules_names_and_pixels(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, "rgb/1.png", "depth/1.png", "seg/1.png")
    dataset = open_dataset(tmp_path, as_image=["depth/*"])
    assert images(dataset) == ["depth/1.png", "rgb/1.png"]
    assert dict(dataset.files()) == {
        "depth/1.png": Role.IMAGE,
        "rgb/1.png": Role.IMAGE,
        "seg/1.png": Role.LABEL,
    }
    with pytest.raises(DatasetError, match=r'--as-image "dept/\*" matches none'):
        images(open_dataset(tmp_path, as_image=["dept/*"]))


def test_frames_are_counted_without_what_is_set_aside(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, *(f"{n}{end}.png" for n in range(3) for end in ("", "_depth", "_seg")))
    assert [frame.index for frame in open_dataset(tmp_path).frames()] == [0, 1, 2]


def test_dataset_without_a_photo_says_why(tmp_path: Path, plant: Plant) -> None:
    plant(tmp_path, {f"{n}.png": encode_png(depth24(n)) for n in range(3)})
    with pytest.raises(DatasetError, match=r'none of the images .* depth in 24 bits.*--as-image "\*\.png"'):
        list(select(open_dataset(tmp_path), "sim", (), (), None))


BESIDE = {
    "voc": ("JPEGImages", "Annotations/{}.xml", XML),
    "yolo": ("images", "labels/{}.txt", "0 .5 .5 .1 .1\n"),
}


@pytest.mark.parametrize("layout", BESIDE)
@pytest.mark.parametrize("kind", ["classes", "numbers", "normals"])
def test_masks_of_the_very_names_of_photos_hide_no_photo(kind: str, layout: str, tmp_path: Path, plant: Plant) -> None:
    folder, label, text = BESIDE[layout]
    photos = {f"{folder}/{number}.jpg": encode_jpeg(scene(number)) for number in range(3)}
    masks = {f"{folder}/{number}.png": encode_png(UNNAMED[kind](number)) for number in range(3)}
    plant(tmp_path, photos, masks, {label.format(number): text for number in range(3)})
    dataset = open_dataset(tmp_path)
    assert dataset.name == layout
    assert images(dataset) == sorted(photos)
    assert all(frame.labels for frame in dataset.frames())
