"""Writes toytown to disk in the layout of Virtual KITTI 2.0.3."""

import io
import multiprocessing
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sim2real.errors import Sim2RealError
from sim2real.toytown.labels import encode_flow, encode_scene_flow, object_pose
from sim2real.toytown.render import LOOKS, Frame, Look, render_frame
from sim2real.toytown.shapes import Label
from sim2real.toytown.street import Street
from sim2real.toytown.traffic import vehicle

SMALLEST = 16  # pixels
VARIATION = "clone"

#: Colours of the classes, as in Virtual KITTI 2's colors.txt.
CLASS_COLOURS: dict[Label, tuple[int, int, int]] = {
    Label.Terrain: (210, 0, 200),
    Label.Sky: (90, 200, 255),
    Label.Tree: (0, 199, 0),
    Label.Vegetation: (90, 240, 0),
    Label.Building: (140, 140, 140),
    Label.Road: (100, 60, 100),
    Label.GuardRail: (250, 100, 255),
    Label.TrafficSign: (255, 255, 0),
    Label.TrafficLight: (200, 200, 0),
    Label.Pole: (255, 130, 0),
    Label.Misc: (80, 80, 80),
    Label.Truck: (160, 60, 60),
    Label.Car: (255, 127, 80),
    Label.Van: (0, 139, 139),
    Label.Undefined: (0, 0, 0),
}

HEADERS = {
    "intrinsic": "frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]",
    "extrinsic": "frame cameraID r1,1 r1,2 r1,3 t1 r2,1 r2,2 r2,3 t2 r3,1 r3,2 r3,3 t3 0 0 0 1",
    "bbox": "frame cameraID trackID left right top bottom number_pixels truncation_ratio occupancy_ratio isMoving",
    "pose": "frame cameraID trackID alpha width height length world_space_X world_space_Y world_space_Z "
    "rotation_world_space_y rotation_world_space_x rotation_world_space_z camera_space_X camera_space_Y "
    "camera_space_Z rotation_camera_space_y rotation_camera_space_x rotation_camera_space_z",
}


@dataclass(frozen=True)
class _Shot:
    """One frame to be rendered, and where it goes."""

    root: Path
    look: Look
    size: tuple[int, int]
    seed: int
    scene: int
    camera: int
    time: int
    is_last: bool
    labels: bool
    archives: bool

    def path(self, kind: str, stem: str, extension: str) -> Path:
        """`stem` is the part of the file name before the number."""
        base = _base(self.root, kind, self.scene, archives=self.archives)
        return base / "frames" / kind / f"Camera_{self.camera}" / f"{stem}_{self.time:05d}.{extension}"


@dataclass(frozen=True)
class _Rows:
    """What a frame adds to the text files."""

    text: dict[str, list[str]]
    track_ids: tuple[int, ...]


def render_dataset(
    out: Path,
    *,
    look: str = "sim",
    frames: int = 32,
    size: tuple[int, int] = (1242, 375),
    seed: int = 0,
    sequences: int = 1,
    cameras: tuple[int, ...] = (0, 1),
    labels: bool = True,
    archives: bool = False,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Render a dataset; equal arguments give equal bytes, whatever the number of workers.

    The folder appears under its name when it is complete; a failure or an interruption leaves nothing behind.

    Args:
        out: folder to be made; it may exist if it is empty.
        look: "sim" or "real"; the labels do not depend on it.
        frames: frames in each sequence.
        size: (W, H) in pixels.
        seed: decides streets, houses and vehicles.
        sequences: how many scenes, each a street of its own.
        cameras: 0 (left), 1 (right) or both.
        labels: whether to write labels and text files; otherwise only `rgb` is written, as a real camera would.
        archives: whether to write one outer folder for each of Virtual KITTI's archives (`vkitti_2.0.3_rgb/...`).
        workers: processes that render.
        progress: called with the number of images that are written and of all images, after each image.

    Returns:
        The number of images (rgb files) written.

    Raises:
        Sim2RealError: an argument makes no sense, or `out` is not an empty folder.
    """
    checked = _check(
        look=look,
        frames=frames,
        size=size,
        seed=seed,
        sequences=sequences,
        cameras=cameras,
        workers=workers,
    )
    out = out.absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Sim2RealError(f"{out} exists and is not an empty folder: name another folder, or remove it first")
    staging = out.with_name(f".{out.name}.tmp-{os.getpid()}")
    shots = (
        _Shot(staging, checked, size, seed, scene, camera, time, time == frames - 1, labels, archives)
        for scene in _scene_numbers(sequences)
        for time in range(frames)
        for camera in cameras
    )
    try:
        staging.mkdir(parents=True)
        done = _write_all(shots, frames * len(cameras), sequences * frames * len(cameras), workers, progress)
        if out.exists():
            out.rmdir()
        staging.replace(out)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return done


def _check(
    *,
    look: str,
    frames: int,
    size: tuple[int, int],
    seed: int,
    sequences: int,
    cameras: tuple[int, ...],
    workers: int,
) -> Look:
    known = next((each for each in LOOKS if each == look), None)
    if known is None:
        raise Sim2RealError(f"unknown look '{look}': it is one of {', '.join(LOOKS)}")
    if min(size) < SMALLEST:
        raise Sim2RealError(f"size {size[0]}x{size[1]} is too small: at least {SMALLEST}x{SMALLEST} is needed")
    for name, value, least in (("frames", frames, 1), ("sequences", sequences, 1), ("workers", workers, 1)):
        if value < least:
            raise Sim2RealError(f"{name} is {value}: it has to be at least {least}")
    if seed < 0:
        raise Sim2RealError(f"seed is {seed}: it has to be 0 or more")
    if not cameras or len(set(cameras)) < len(cameras) or not set(cameras) <= {0, 1}:
        raise Sim2RealError(f"cameras are {cameras}: name 0 (left), 1 (right) or both, each once")
    return known


def _scene_numbers(count: int) -> list[int]:
    """Virtual KITTI's own scenes first: 1, 2, 6, 18, 20, then 21 and on."""
    return [*(1, 2, 6, 18, 20), *range(21, 16 + count)][:count]


def _base(root: Path, kind: str, scene: int, *, archives: bool) -> Path:
    outer = root / f"vkitti_2.0.3_{kind}" if archives else root
    return outer / f"Scene{scene:02d}" / VARIATION


# ---------------------------------------------------------------------------------------------------- sequences


def _write_all(
    shots: Iterable[_Shot],
    per_scene: int,
    total: int,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> int:
    done = 0
    seen: set[int] = set()
    with ExitStack() as stack:
        files: dict[str, TextIO] = {}
        for shot, rows in _rendered(shots, workers):
            if shot.labels:
                if done % per_scene == 0:
                    files, seen = {name: stack.enter_context(_open(shot, name)) for name in HEADERS}, set()
                    for name, header in HEADERS.items():
                        files[name].write(header + "\n")
                for name, lines in rows.text.items():
                    files[name].writelines(line + "\n" for line in lines)
                seen.update(rows.track_ids)
            done += 1
            if shot.labels and done % per_scene == 0:
                stack.close()
                _write_tables(shot, sorted(seen))
            if progress:
                progress(done, total)
    return done


def _rendered(shots: Iterable[_Shot], workers: int) -> Iterator[tuple[_Shot, _Rows]]:
    """Render in order, with no more than a few frames under way at any time."""
    if workers == 1:
        for shot in shots:
            yield shot, _write_shot(shot)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _calm) as pool:
        waiting: deque[tuple[_Shot, Future[_Rows]]] = deque()
        try:
            for shot in shots:
                waiting.append((shot, pool.submit(_write_shot, shot)))
                if len(waiting) > 4 * workers:
                    first, future = waiting.popleft()
                    yield first, future.result()
            for first, future in waiting:
                yield first, future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _calm() -> None:
    """One process, one thread: the workers share the machine already."""
    cv2.setNumThreads(1)


def _open(shot: _Shot, name: str) -> TextIO:
    path = _base(shot.root, "textgt", shot.scene, archives=shot.archives) / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("w", encoding="ascii", newline="\n")


def _write_tables(shot: _Shot, track_ids: list[int]) -> None:
    """colors.txt, and info.txt with the vehicles that were seen."""
    with _open(shot, "colors") as file:
        file.write("Category r g b\n")
        file.writelines(f"{label.name} {r} {g} {b}\n" for label, (r, g, b) in CLASS_COLOURS.items())
    street = Street(shot.seed, shot.scene)
    with _open(shot, "info") as file:
        file.write("trackID label model color\n")
        for car in (vehicle(street, track_id) for track_id in track_ids):
            file.write(f"{car.track_id} {car.model.label.name} {car.model.name} {car.colour}\n")


# ------------------------------------------------------------------------------------------------------- frames


def _write_shot(shot: _Shot) -> _Rows:
    frame = render_frame(
        shot.time,
        look=shot.look,
        size=shot.size,
        seed=shot.seed,
        scene=shot.scene,
        camera=shot.camera,
        forward=shot.labels and not shot.is_last,
        backward=shot.labels and shot.time > 0,
        boxes=shot.labels,
    )
    quality = (cv2.IMWRITE_JPEG_QUALITY, 95, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    _save(shot.path("rgb", "rgb", "jpg"), frame.rgb, quality)
    if not shot.labels:
        return _Rows({}, ())
    _save(shot.path("depth", "depth", "png"), frame.depth)
    palette = np.array([CLASS_COLOURS[label] for label in Label], np.uint8)
    _save(shot.path("classSegmentation", "classgt", "png"), palette[frame.classes])
    _save_instances(shot.path("instanceSegmentation", "instancegt", "png"), frame.instances)
    for motion, way, flow, scene in (
        (frame.forward, "forward", "flow", "sceneFlow"),
        (frame.backward, "backward", "backwardFlow", "backwardSceneFlow"),
    ):
        if motion:
            _save(shot.path(f"{way}Flow", flow, "png"), encode_flow(motion.flow, motion.valid))
            _save(shot.path(f"{way}SceneFlow", scene, "png"), encode_scene_flow(motion.scene_flow, motion.valid))
    return _Rows(_text_rows(shot, frame), tuple(frame.boxes))


def _save(path: Path, image: NDArray[np.uint8] | NDArray[np.uint16], options: tuple[int, ...] = ()) -> None:
    """Encode an RGB or one-channel image."""
    stored = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    _, code = cv2.imencode(path.suffix, stored, options)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(code.tobytes())


def _save_instances(path: Path, instances: NDArray[np.uint8]) -> None:
    """A palette PNG whose indices are the instances; OpenCV cannot write one."""
    colours = np.random.default_rng(0).integers(40, 256, (256, 3), np.uint8)
    colours[0] = 0
    image = Image.fromarray(instances)
    image.putpalette(colours.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue())


def _text_rows(shot: _Shot, frame: Frame) -> dict[str, list[str]]:
    camera = frame.camera
    rows: dict[str, list[str]] = {
        "intrinsic": [_row(shot, camera.focal, camera.focal, *camera.principal)],
        "extrinsic": [_row(shot, *camera.extrinsic.ravel().tolist())],
        "bbox": [],
        "pose": [],
    }
    for track_id, box in frame.boxes.items():
        placed = frame.vehicles[track_id]
        sides = box.left, box.right, box.top, box.bottom, box.number_pixels
        ratios = box.truncation_ratio, box.occupancy_ratio
        rows["bbox"].append(_row(shot, track_id, *sides, *ratios) + f" {placed.lane.is_moving}")
        pose = object_pose(camera, placed)
        where = *pose.world, *pose.world_rotation, *pose.camera, *pose.camera_rotation
        rows["pose"].append(_row(shot, track_id, pose.alpha, *pose.size, *where))
    return rows


def _row(shot: _Shot, *values: float) -> str:
    return " ".join([str(shot.time), str(shot.camera), *(f"{value + 0.0:.9g}" for value in values)])
