"""How long it takes, and how much memory, to list a large Virtual KITTI 2 tree, beside a bare os.walk."""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path

from benchmarks.common import in_fresh_process, make_parser, peak_memory, print_table, processor

_QUICK_FRAMES = 400
_SCENES = ("Scene01", "Scene02", "Scene06", "Scene18", "Scene20")
_VARIATIONS = (
    *("15-deg-left", "15-deg-right", "30-deg-left", "30-deg-right", "clone"),
    *("fog", "morning", "overcast", "rain", "sunset"),
)
_CAMERAS = ("Camera_0", "Camera_1")
_TEXTS = ("bbox", "colors", "extrinsic", "info", "intrinsic", "pose")
# archive, folder, name; forward flow ends one frame early
_KINDS = (
    ("rgb", "rgb", "rgb_{:05d}.jpg"),
    ("depth", "depth", "depth_{:05d}.png"),
    ("classSegmentation", "classSegmentation", "classgt_{:05d}.png"),
    ("instanceSegmentation", "instanceSegmentation", "instancegt_{:05d}.png"),
    ("forwardFlow", "forwardFlow", "flow_{:05d}.png"),
)


def files(frames: int) -> Iterator[str]:
    """Paths of a Virtual KITTI 2 with so many frames, spread evenly over its 100 videos; a folder for each archive."""
    for scene, variation in product(_SCENES, _VARIATIONS):
        yield from (f"vkitti_2.0.3_textgt/{scene}/{variation}/{text}.txt" for text in _TEXTS)
    videos = list(product(_SCENES, _VARIATIONS, _CAMERAS))
    for place, (scene, variation, camera) in enumerate(videos):
        length = frames * (place + 1) // len(videos) - frames * place // len(videos)
        for archive, folder, name in _KINDS:
            parent = f"vkitti_2.0.3_{archive}/{scene}/{variation}/frames/{folder}/{camera}"
            count = length - 1 if folder == "forwardFlow" else length
            yield from (f"{parent}/{name.format(number)}" for number in range(count))


def write_tree(root: Path, frames: int) -> int:
    """Write the files, empty; returns how many there are."""
    made: set[Path] = set()
    count = 0
    for count, path in enumerate(files(frames), 1):  # noqa: B007  the last count is the total
        file = root / path
        if file.parent not in made:
            file.parent.mkdir(parents=True)
            made.add(file.parent)
        file.touch()
    return count


@dataclass(frozen=True)
class Measured:
    """Seconds by stage, the peak memory of the whole process in MB, and what was found."""

    seconds: dict[str, float]
    peak: float
    found: str


def walk(root: str) -> Measured:
    """List the names with os.walk, and no more."""
    began = time.perf_counter()
    count = sum(len(names) for _, _, names in os.walk(root))
    return Measured({"os.walk": time.perf_counter() - began}, peak_memory(), f"{count} files")


def load(_root: str) -> Measured:
    """Import what lists a dataset, and list none."""
    began = time.perf_counter()
    from sim2real.datasets.vkitti import VirtualKitti2

    return Measured({"import sim2real.datasets": time.perf_counter() - began}, peak_memory(), VirtualKitti2.name)


def list_dataset(root: str) -> Measured:
    """Open the dataset, go through its frames and their labels, then through every file and its role."""
    from sim2real import open_dataset

    times = [time.perf_counter()]
    dataset = open_dataset(root)
    times.append(time.perf_counter())
    labels = sum(len(frame.labels) for frame in dataset.frames())
    times.append(time.perf_counter())
    roles = dataset.roles()
    times.append(time.perf_counter())
    stages = ("open_dataset", "frames and labels", "files and roles")
    seconds = {stage: end - begin for stage, (begin, end) in zip(stages, pairwise(times), strict=True)}
    counted = ", ".join(f"{count} {role}" for role, count in roles.items() if count)
    found = f"{dataset.name}, {dataset.match.images} frames with {labels} labels, {counted}"
    return Measured({**seconds, "sim2real, these three": sum(seconds.values())}, peak_memory(), found)


def main() -> None:
    """Write the tree, list it in turns, each time in a fresh process, and print the table."""
    parser = make_parser(__doc__, repeats=3)
    parser.add_argument("--frames", type=int, default=10_000, help="five files each (%(default)s)")
    options = parser.parse_args()
    frames = _QUICK_FRAMES if options.quick else options.frames
    listers: tuple[Callable[[str], Measured], ...] = (walk, load, list_dataset)
    with tempfile.TemporaryDirectory(prefix="sim2real-listing-") as root:
        count = write_tree(Path(root), frames)
        turns = range(1 if options.quick else options.repeats)
        rounds = [[in_fresh_process(lister, root) for lister in listers] for _ in turns]
    rows = []
    for repeats in zip(*rounds, strict=True):
        stages = list(repeats[0].seconds)
        for stage in stages:
            times = [measured.seconds[stage] for measured in repeats]
            peak = f"{statistics.median(measured.peak for measured in repeats):.0f} MB" if stage == stages[-1] else ""
            rows.append([stage, f"{statistics.median(times):.3f} s", f"{min(times):.3f} to {max(times):.3f}", peak])
    title = f"Virtual KITTI 2 of {frames} frames in {count} files. {processor()}"
    print_table(title, ["stage", "median", "range", "peak memory"], rows)
    for measured in rounds[0]:
        print(f"found: {measured.found}")


if __name__ == "__main__":
    main()
