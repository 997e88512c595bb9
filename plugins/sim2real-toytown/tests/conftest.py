"""A small town on disk, and readers of its files that share no code with the program."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sim2real_toytown import render_dataset

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
FRAMES, WIDTH, HEIGHT = 3, 160, 48


class Box(NamedTuple):
    left: int
    right: int
    top: int
    bottom: int
    number_pixels: int
    truncation: float
    occupancy: float
    moving: str


class Pose(NamedTuple):
    """Size is (w, h, l); the matrices take the vehicle's axes to the world's and to the camera's."""

    alpha: float
    size: Floats
    world: Floats
    camera: Floats


def read(path: Path) -> Floats:
    """The stored numbers of a 16-bit PNG, channels in the order of the file."""
    code = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert code is not None
    assert code.dtype == np.uint16
    return np.asarray(code if code.ndim == 2 else code[..., ::-1], np.float64)


class Scene:
    """One scene of a dataset, decoded by what FORMATS.md and the devkit pages of Virtual KITTI 2 say."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, kind: str, stem: str, camera: int, time: int, extension: str = "png") -> Path:
        return self.root / "frames" / kind / f"Camera_{camera}" / f"{stem}_{time:05d}.{extension}"

    def depth(self, time: int, camera: int = 0) -> Floats:
        code = read(self.path("depth", "depth", camera, time))
        assert code.ndim == 2
        return np.where(code == 65535, np.inf, code / 100)

    def classes(self, time: int, camera: int = 0) -> NDArray[np.uint8]:
        with Image.open(self.path("classSegmentation", "classgt", camera, time)) as image:
            assert image.mode == "RGB"
            return np.array(image)

    def instances(self, time: int, camera: int = 0) -> NDArray[np.int64]:
        """Track ids, -1 for none."""
        with Image.open(self.path("instanceSegmentation", "instancegt", camera, time)) as image:
            assert image.mode == "P"
            return np.array(image).astype(int) - 1

    def flow(self, time: int, way: str = "forward", camera: int = 0) -> tuple[Floats, Mask]:
        stem = "flow" if way == "forward" else "backwardFlow"
        code = read(self.path(f"{way}Flow", stem, camera, time))
        height, width = code.shape[:2]
        u, v = (2 * code[..., 0] / 65535 - 1) * (width - 1), (2 * code[..., 1] / 65535 - 1) * (height - 1)
        return np.stack([u, v], axis=-1), code[..., 2] > 0

    def scene_flow(self, time: int, way: str = "forward", camera: int = 0) -> tuple[Floats, Mask]:
        stem = "sceneFlow" if way == "forward" else "backwardSceneFlow"
        code = read(self.path(f"{way}SceneFlow", stem, camera, time))
        return (2 * code / 65535 - 1) * 10, np.asarray(code.any(axis=-1))

    def header(self, name: str) -> str:
        return (self.root / f"{name}.txt").read_text().splitlines()[0]

    def rows(self, name: str) -> list[list[str]]:
        return [line.split(" ") for line in (self.root / f"{name}.txt").read_text().splitlines()[1:]]

    def intrinsics(self, time: int, camera: int = 0) -> Floats:
        (row,) = (r for r in self.rows("intrinsic") if r[:2] == [str(time), str(camera)])
        fx, fy, cx, cy = map(float, row[2:])
        return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])

    def extrinsics(self, time: int, camera: int = 0) -> Floats:
        (row,) = (r for r in self.rows("extrinsic") if r[:2] == [str(time), str(camera)])
        return np.array(row[2:], float).reshape(4, 4)

    def boxes(self, time: int, camera: int = 0) -> dict[int, Box]:
        """By track id."""
        found = [r for r in self.rows("bbox") if r[:2] == [str(time), str(camera)]]
        assert len({r[2] for r in found}) == len(found)
        boxes = {}
        for _, _, track_id, left, right, top, bottom, pixels, truncation, occupancy, moving in found:
            sides = int(left), int(right), int(top), int(bottom)
            boxes[int(track_id)] = Box(*sides, int(pixels), float(truncation), float(occupancy), moving)
        return boxes

    def poses(self, time: int, camera: int = 0) -> dict[int, Pose]:
        """By track id."""
        poses = {}
        for row in self.rows("pose"):
            if row[:2] == [str(time), str(camera)]:
                values = np.array(row[3:], float)
                world, seen = _matrix(values[4:7], values[7:10]), _matrix(values[10:13], values[13:16])
                poses[int(row[2])] = Pose(values[0], values[1:4], world, seen)
        return poses

    def points(self, time: int, camera: int = 0) -> Floats:
        """(4, N) homogeneous camera coordinates of all pixels, in reading order; the sky is far away."""
        depth = self.depth(time, camera)
        rows, columns = np.indices(depth.shape)
        z = np.where(np.isfinite(depth), depth, 1e6).ravel()
        rays = np.linalg.inv(self.intrinsics(time, camera)) @ np.stack([columns.ravel(), rows.ravel(), np.ones(z.size)])
        return np.concatenate([rays * z, np.ones((1, z.size))])


def _matrix(position: Floats, angles: Floats) -> Floats:
    y, x, z = angles
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = about_y @ about_x @ about_z, position
    return matrix


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scene01 and Scene02 with all labels, both cameras, sim look."""
    out = tmp_path_factory.mktemp("toytown") / "town"
    assert render_dataset(out, frames=FRAMES, size=(WIDTH, HEIGHT), seed=6, sequences=2) == FRAMES * 2 * 2
    return out


@pytest.fixture(scope="session")
def scene(town: Path) -> Scene:
    return Scene(town / "Scene01" / "clone")
