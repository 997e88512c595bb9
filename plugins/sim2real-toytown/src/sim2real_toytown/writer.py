"""Write toytown datasets in the layout of Virtual KITTI 2.0.3."""

import multiprocessing
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

import cv2

from sim2real import Sim2RealError
from sim2real.orphans import end_with_parent
from sim2real_toytown.files import CLASS_COLOURS, HEADERS, Rows, Shot, write_shot
from sim2real_toytown.render import LOOKS, Look
from sim2real_toytown.street import Street
from sim2real_toytown.traffic import vehicle

SMALLEST = 16  # pixels


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

    The output folder appears when it is complete; a failure or an interruption leaves nothing behind.

    Args:
        out: Folder to create; it may exist if it is empty.
        look: "sim" or "real"; the labels do not depend on it.
        frames: Number of frames in each sequence.
        size: (W, H) in pixels.
        seed: Seed of streets, houses and vehicles.
        sequences: Number of scenes, each with its own street.
        cameras: 0 (left), 1 (right) or both.
        labels: Whether to write labels and text files; otherwise only `rgb` is written, as by a real camera.
        archives: Whether to write one outer folder per archive of Virtual KITTI (`vkitti_2.0.3_rgb/...`).
        workers: Number of processes that render.
        progress: Called after each image with the number of written images and of all images.

    Returns:
        The number of images (rgb files) written.

    Raises:
        Sim2RealError: If an argument is invalid, or `out` exists and is not an empty folder.
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
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Sim2RealError(f"{out} exists and is not an empty folder: name another folder, or remove it first")
    out = Path(os.path.realpath(out))  # if it is a link to an empty folder, its target is filled
    staging = out.with_name(f".{out.name}.tmp-{os.getpid()}")
    shots = (
        Shot(staging, checked, size, seed, scene, camera, time, time == frames - 1, labels, archives)
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
    except BaseException as error:
        if isinstance(error, OSError) and (error.filename is None or error.filename == str(staging)):
            error.filename = str(out)  # errors of a full disk have no file name
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
        raise Sim2RealError(f"unknown look '{look}': use one of {', '.join(LOOKS)}")
    if min(size) < SMALLEST:
        raise Sim2RealError(f"size {size[0]}x{size[1]} is too small: at least {SMALLEST}x{SMALLEST} is needed")
    for name, value, least in (("frames", frames, 1), ("sequences", sequences, 1), ("workers", workers, 1)):
        if value < least:
            raise Sim2RealError(f"{name} is {value}: it must be at least {least}")
    if seed < 0:
        raise Sim2RealError(f"seed is {seed}: it must be 0 or more")
    if not cameras or len(set(cameras)) < len(cameras) or not set(cameras) <= {0, 1}:
        raise Sim2RealError(f"cameras are {cameras}: name 0 (left), 1 (right) or both, each once")
    return known


def _scene_numbers(count: int) -> list[int]:
    """Return the numbers of the scenes: first those of Virtual KITTI (1, 2, 6, 18, 20), then 21 onwards."""
    return [*(1, 2, 6, 18, 20), *range(21, 16 + count)][:count]


def _write_all(
    shots: Iterable[Shot],
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


def _rendered(shots: Iterable[Shot], workers: int) -> Iterator[tuple[Shot, Rows]]:
    """Yield rendered shots in order, with a bounded number of frames in flight."""
    if workers == 1:
        for shot in shots:
            yield shot, write_shot(shot)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _calm) as pool:
        waiting: deque[tuple[Shot, Future[Rows]]] = deque()
        try:
            for shot in shots:
                waiting.append((shot, pool.submit(write_shot, shot)))
                if len(waiting) > 4 * workers:
                    first, future = waiting.popleft()
                    yield first, future.result()
            for first, future in waiting:
                yield first, future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _calm() -> None:
    """Limit a worker to one thread, because the workers already share the machine."""
    end_with_parent()
    cv2.setNumThreads(1)


def _open(shot: Shot, name: str) -> TextIO:
    path = shot.folder("textgt") / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("w", encoding="ascii", newline="\n")


def _write_tables(shot: Shot, track_ids: list[int]) -> None:
    """Write colors.txt, and info.txt with the visible vehicles."""
    with _open(shot, "colors") as file:
        file.write("Category r g b\n")
        file.writelines(f"{label.name} {r} {g} {b}\n" for label, (r, g, b) in CLASS_COLOURS.items())
    street = Street(shot.seed, shot.scene)
    with _open(shot, "info") as file:
        file.write("trackID label model color\n")
        for car in (vehicle(street, track_id) for track_id in track_ids):
            file.write(f"{car.track_id} {car.model.label.name} {car.model.name} {car.colour}\n")
