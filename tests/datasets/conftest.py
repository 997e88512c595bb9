"""Small trees in the layouts of real datasets; every file has bytes of its own."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sim2real.imageio import encode_jpeg, encode_png

Pixels = NDArray[Any]
Grow = Callable[[Path], Path]


def photo(seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def jpegs(root: Path, paths: Iterable[str]) -> None:
    for seed, path in enumerate(paths):
        write(root / path, encode_jpeg(photo(seed)))


def pngs(root: Path, paths: Iterable[str], pixels: Pixels | None = None) -> None:
    for seed, path in enumerate(paths):
        write(root / path, encode_png(photo(seed) if pixels is None else pixels))


GREY16 = np.full((24, 32), 1234, np.uint16)
RGB16 = np.full((24, 32, 3), (40000, 30000, 65535), np.uint16)
MASK = np.repeat(np.array([[[210, 0, 200]], [[255, 127, 80]]], np.uint8), 32, axis=1).repeat(12, axis=0)
CITYSCAPES_MASK = np.full((24, 32), 7, np.uint8)

V2_TEXTS = {
    "colors.txt": "Category r g b\nTerrain 210 0 200\nSky 90 200 255\nCar 255 127 80\n",
    "info.txt": "trackID label model color\n0 Car Sedan4Door Grey\n3 Van Multi White\n",
    "bbox.txt": "frame cameraID trackID left right top bottom number_pixels truncation_ratio occupancy_ratio isMoving\n"
    "0 0 0 10 19 5 8 40 0 1.0 True\n0 1 0 8 17 5 8 40 0 1.0 True\n1 0 3 0 0 2 2 1 0.5 0.5 False\n",
    "pose.txt": "frame cameraID trackID alpha\n0 0 0 0.1\n",
    "extrinsic.txt": "frame cameraID r1,1\n0 0 1\n",
    "intrinsic.txt": "frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]\n0 0 725 725 16 12\n",
}


def vkitti2(root: Path, *, archives: bool = False, scene: str = "Scene01", variation: str = "clone") -> Path:
    """Three frames of two cameras with every kind of label."""

    def at(kind: str, place: str) -> Path:
        return root / (f"vkitti_2.0.3_{kind}" if archives else "") / scene / variation / place

    for camera in (0, 1):
        for frame in range(3):

            def named(kind: str, stem: str, suffix: str = "png") -> Path:
                return at(kind, f"frames/{kind}/Camera_{camera}/{stem}_{frame:05d}.{suffix}")  # noqa: B023  used at once

            write(named("rgb", "rgb", "jpg"), encode_jpeg(photo(frame + 3 * camera)))
            write(named("depth", "depth"), encode_png(GREY16))
            write(named("classSegmentation", "classgt"), encode_png(MASK))
            ids = np.full((24, 32), 1 + 3 * (frame > 0), np.uint8)
            write(named("instanceSegmentation", "instancegt"), encode_png(ids, palette=photo()[0]))
            if frame < 2:
                write(named("forwardFlow", "flow"), encode_png(RGB16))
                write(named("forwardSceneFlow", "sceneFlow"), encode_png(RGB16))
            if frame > 0:
                write(named("backwardFlow", "backwardFlow"), encode_png(RGB16))
                write(named("backwardSceneFlow", "backwardSceneFlow"), encode_png(RGB16))
    for name, text in V2_TEXTS.items():
        write(at("textgt", name), text)
    write(root / "README.txt", "Virtual KITTI 2")
    return root


def vkitti1(root: Path, names: dict[str, str] | None = None) -> Path:
    """Two frames of one video with every kind of label; ``names`` renames the folders of the archives."""
    names = names or {}

    def at(kind: str) -> Path:
        return root / names.get(kind, f"vkitti_1.3.1_{kind}")

    for kind, pixels in (("rgb", None), ("depthgt", GREY16), ("flowgt", RGB16), ("scenegt", MASK)):
        pngs(at(kind), [f"0001/clone/{frame:05d}.png" for frame in range(2)], pixels)
        write(at(kind) / f"README_{kind}.txt", kind)
    table = "Category(:id) r g b\nTerrain 210 0 200\nCar:0 255 127 80\nCar:1 1 2 3\n"
    write(at("scenegt") / "0001_clone_scenegt_rgb_encoding.txt", table)
    header = (
        "frame tid label truncated occluded alpha l t r b w3d h3d l3d x3d y3d z3d ry rx rz truncr occupr orig_label "
        "moving model color"
    )
    row = "0 0 Car 0 0 -1.7 10 5 19 8 1.6 1.6 4.1 -4.2 2.2 30 -1.8 0 0 0.25 0.9 Car 0 Hatchback Red"
    write(at("motgt") / "0001_clone.txt", f"{header}\n{row}\n")
    write(at("extrinsicsgt") / "0001_clone.txt", "frame r1,1 r1,2\n0 1 0\n")
    return root


KITTI_IGNORED = "DontCare -1 -1 -10 1 2 3 4 -1 -1 -1 0 0 0 -10"
KITTI_BOX = "Car 0.00 0 1.85 387.63 181.54 423.81 203.12 1.67 1.87 3.69 -16.53 2.39 58.49 1.57"


def kitti_object(root: Path) -> Path:
    for split in ("training", "testing"):
        pngs(root, [f"{split}/image_{camera}/{frame:06d}.png" for camera in (2, 3) for frame in range(2)])
        for frame in range(2):
            write(root / f"{split}/calib/{frame:06d}.txt", "P0: 1 0 0 0\n")
            write(root / f"{split}/velodyne/{frame:06d}.bin", bytes(16))
    for frame in range(2):
        write(root / f"training/label_2/{frame:06d}.txt", f"{KITTI_BOX}\n{KITTI_IGNORED}\n")
    write(root / "ImageSets/train.txt", "000000\n")
    return root


def kitti_raw(root: Path) -> Path:
    drive = "2011_09_26/2011_09_26_drive_0001_sync"
    pngs(root, [f"{drive}/image_0{camera}/data/{frame:010d}.png" for camera in (2, 3) for frame in range(2)])
    pngs(root, [f"{drive}/image_00/data/{frame:010d}.png" for frame in range(2)], CITYSCAPES_MASK)
    write(root / drive / "image_02/timestamps.txt", "2011-09-26 13:02:25.5\n")
    write(root / drive / "tracklet_labels.xml", "<x/>")
    write(root / "2011_09_26/calib_cam_to_cam.txt", "S_rect_02: 1242 375\n")
    return root


def kitti_odometry(root: Path) -> Path:
    for n in range(2):
        pngs(root, [f"sequences/0{n}/image_{camera}/{frame:06d}.png" for camera in (2, 3) for frame in (0, 1)])
        write(root / f"sequences/0{n}/calib.txt", "P0: 1\n")
        write(root / f"sequences/0{n}/times.txt", "0\n0.1\n")
        write(root / f"poses/0{n}.txt", "1 0 0 0\n")
    return root


def kitti_tracking(root: Path) -> Path:
    for n in (0, 1):
        pngs(root, [f"training/image_0{camera}/000{n}/{frame:06d}.png" for camera in (2, 3) for frame in (0, 1)])
        write(root / f"training/label_02/000{n}.txt", f"0 4 {KITTI_BOX}\n1 4 {KITTI_BOX}\n1 5 {KITTI_BOX}\n")
        write(root / f"training/calib/000{n}.txt", "P0: 1\n")
    return root


def kitti_flow2015(root: Path) -> Path:
    for split in ("training", "testing"):
        pngs(root, [f"{split}/image_{camera}/000000_1{frame}.png" for camera in (2, 3) for frame in (0, 1)])
    pngs(root, [f"training/disp_{kind}_{n}/000000_10.png" for kind in ("occ", "noc") for n in (0, 1)], GREY16)
    pngs(root, [f"training/flow_{kind}/000000_10.png" for kind in ("occ", "noc")], RGB16)
    pngs(root, ["training/viz_flow_occ/000000_10.png"])
    return root


def kitti_semantics(root: Path) -> Path:
    pngs(root, [f"{split}/image_2/00000{n}_10.png" for split in ("training", "testing") for n in range(2)])
    pngs(root, [f"training/semantic/00000{n}_10.png" for n in range(2)], CITYSCAPES_MASK)
    instance = np.full((24, 32), 26 * 256 + 3, np.uint16)
    instance[:12] = 7 * 256
    pngs(root, [f"training/instance/00000{n}_10.png" for n in range(2)], instance)
    pngs(root, [f"training/semantic_rgb/00000{n}_10.png" for n in range(2)], MASK)
    return root


def cyclegan(root: Path) -> Path:
    jpegs(root, [f"{split}{side}/{n}.jpg" for split in ("train", "test") for side in "AB" for n in range(2)])
    return root


def kaggle_monet(root: Path) -> Path:
    jpegs(root, [*(f"monet_jpg/{n}.jpg" for n in range(2)), *(f"photo_jpg/{n}.jpg" for n in range(3))])
    for kind in ("monet", "photo"):
        write(root / f"{kind}_tfrec/{kind}00-1.tfrec", b"records")
    return root


def images(root: Path) -> Path:
    jpegs(root, ["one.jpg", "deep/er/two.JPEG"])
    pngs(root, ["three.png"])
    write(root / "metadata.csv", "file_name\none.jpg\n")
    return root


LAYOUTS: dict[str, Grow] = {
    "vkitti2": vkitti2,
    "vkitti1": vkitti1,
    "kitti-flow2015": kitti_flow2015,
    "kitti-raw": kitti_raw,
    "kitti-odometry": kitti_odometry,
    "kitti-tracking": kitti_tracking,
    "kitti-semantics": kitti_semantics,
    "kitti-object": kitti_object,
    "cyclegan": cyclegan,
    "kaggle-monet": kaggle_monet,
    "images": images,
}


@pytest.fixture(params=LAYOUTS)
def layout(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """The name of a layout and a tree in it."""
    return request.param, LAYOUTS[request.param](tmp_path / "data")


@pytest.fixture
def layouts() -> list[str]:
    return list(LAYOUTS)


@pytest.fixture
def grow(tmp_path: Path) -> Callable[..., Path]:
    """Make a tree in the named layout in a fresh folder: ``grow("vkitti2", archives=True)``."""

    def grow(name: str, /, into: str = "data", **options: Any) -> Path:
        return LAYOUTS[name](tmp_path / into, **options)

    return grow


@pytest.fixture
def plant() -> Callable[..., None]:
    """Write files: ``plant(root, "a.jpg", {"b.png": pixels, "c.txt": "text"})``; names alone are those of photos."""

    def plant(root: Path, *contents: str | dict[str, str | bytes | Pixels]) -> None:
        for content in contents:
            if isinstance(content, str):
                (pngs if content.endswith("png") else jpegs)(root, [content])
            else:
                for path, what in content.items():
                    write(root / path, what if isinstance(what, str | bytes) else encode_png(what))

    return plant


@pytest.fixture
def real_data() -> Path:
    """The folder of real samples."""
    if not (folder := os.environ.get("SIM2REAL_TEST_DATA")):
        pytest.skip("SIM2REAL_TEST_DATA names no folder with real samples")
    return Path(folder)
