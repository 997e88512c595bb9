"""Measure time and memory of listing large trees, compared with a bare os.walk.

First a Virtual KITTI 2 as published, stage by stage; then the trees of the tests, one of each layout, enlarged to a
given number of files. Times are CPU seconds, so that other load matters little; the trees have just been written, so
that nothing waits for the disk.
"""

import argparse
import importlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from types import MappingProxyType, ModuleType

from benchmarks.common import in_fresh_process, make_parser, peak_memory, print_table, processor

_ROOT = Path(__file__).parents[1]
_QUICK_FRAMES = 400
_QUICK_FILES = 300
_QUICK_LAYOUTS = "kitti-raw"
_FEW, _MORE = 4, 12  # frames of two small trees, to find the number of files per frame
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
    """Yield the paths of a Virtual KITTI 2, its frames spread evenly over 100 videos, with one folder per archive."""
    for scene, variation in product(_SCENES, _VARIATIONS):
        yield from (f"vkitti_2.0.3_textgt/{scene}/{variation}/{text}.txt" for text in _TEXTS)
    videos = list(product(_SCENES, _VARIATIONS, _CAMERAS))
    for place, (scene, variation, camera) in enumerate(videos):
        length = frames * (place + 1) // len(videos) - frames * place // len(videos)
        for archive, folder, name in _KINDS:
            parent = f"vkitti_2.0.3_{archive}/{scene}/{variation}/frames/{folder}/{camera}"
            count = length - 1 if folder == "forwardFlow" else length
            yield from (f"{parent}/{name.format(number)}" for number in range(count))


def write_tree(root: Path, frames: int, contents: Mapping[str, bytes] = MappingProxyType({})) -> int:
    """Write files, empty where their archive has no ``contents``, and return their number."""
    made: set[Path] = set()
    count = 0
    for count, path in enumerate(files(frames), 1):  # noqa: B007  the last count is the total
        file = root / path
        if file.parent not in made:
            file.parent.mkdir(parents=True)
            made.add(file.parent)
        file.write_bytes(contents.get(path.split("/", 1)[0].removeprefix("vkitti_2.0.3_"), b""))
    return count


@dataclass(frozen=True)
class Measured:
    """Seconds by stage, the peak memory of the whole process in MB, and a summary of the findings."""

    seconds: dict[str, float]
    peak: float
    found: str


def walk(root: str) -> Measured:
    """List the names with os.walk only."""
    began = time.process_time()
    count = sum(len(names) for _, _, names in os.walk(root))
    return Measured({"os.walk": time.process_time() - began}, peak_memory(), f"{count} files")


def load(_root: str) -> Measured:
    """Import the code that lists datasets, without listing one."""
    began = time.process_time()
    from sim2real.datasets.vkitti import VirtualKitti2

    return Measured({"import sim2real.datasets": time.process_time() - began}, peak_memory(), VirtualKitti2.name)


def list_dataset(root: str) -> Measured:
    """Open the dataset, iterate over its frames and their labels, then over every file and its role."""
    from sim2real import open_dataset

    times = [time.process_time()]
    dataset = open_dataset(root)
    times.append(time.process_time())
    labels = sum(len(frame.labels) for frame in dataset.frames())
    times.append(time.process_time())
    roles = dataset.roles()
    times.append(time.process_time())
    seconds = {stage: end - begin for stage, (begin, end) in zip(_STAGES, pairwise(times), strict=True)}
    counted = ", ".join(f"{count} {role}" for role, count in roles.items() if count)
    found = f"{dataset.name}, {dataset.match.images} frames with {labels} labels, {counted}"
    return Measured({**seconds, _ALL: sum(seconds.values())}, peak_memory(), found)


_STAGES = ("open_dataset", "frames and labels", "files and roles")
_ALL = "sim2real, these three"


def look_through(root: str) -> Measured:
    """Collect what ``sim2real inspect`` reports, except sizes: warnings, stale files and unknown files."""
    from sim2real import open_dataset

    dataset = open_dataset(root)
    began = time.process_time()
    remarks = len(dataset.warnings()) + len(dataset.stale()) + len(dataset.unmatched())
    return Measured({"warnings": time.process_time() - began}, peak_memory(), f"{remarks} remarks")


def grow_layouts() -> dict[str, Callable[..., Path]]:
    """Return the tests' builder of each layout's tree: ``grow(root, frames=...)``."""
    package = ModuleType("tests")  # it has no __init__.py, so an installed package of this name would take precedence
    package.__path__ = [str(_ROOT / "tests")]
    sys.modules["tests"] = package
    families = sorted((_ROOT / "tests/datasets/trees").glob("*.py"))
    modules = [importlib.import_module(f"tests.datasets.trees.{family.stem}") for family in families]
    return {name: grow for module in modules for name, grow in getattr(module, "LAYOUTS", {}).items()}


def grow_to(grow: Callable[..., Path], root: Path, files: int) -> None:
    """Grow a tree of about the given number of files."""
    with tempfile.TemporaryDirectory() as small:
        few, more = (_count(grow(Path(small, str(frames)), frames=frames)) for frames in (_FEW, _MORE))
    grow(root, frames=max(_FEW, _FEW + (files - few) * (_MORE - _FEW) // (more - few)))


def _count(root: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(root))


def measure_published(frames: int, turns: int) -> None:
    """Print the stages for a Virtual KITTI 2 with the given number of frames."""
    listers: tuple[Callable[[str], Measured], ...] = (walk, load, list_dataset)
    with tempfile.TemporaryDirectory(prefix="sim2real-listing-") as root:
        count = write_tree(Path(root), frames)
        rounds = [[in_fresh_process(lister, root) for lister in listers] for _ in range(turns)]
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


def measure_layouts(layouts: dict[str, Callable[..., Path]], files: int, turns: int) -> None:
    """Print a row of medians for each layout with about the given number of files."""
    listers: tuple[Callable[[str], Measured], ...] = (walk, list_dataset, look_through)
    rows = []
    for name, grow in layouts.items():
        with tempfile.TemporaryDirectory(prefix="sim2real-listing-") as root:
            grow_to(grow, Path(root), files)
            count = _count(Path(root))
            rounds = [[in_fresh_process(lister, root) for lister in listers] for _ in range(turns)]
        times = [
            statistics.median(measured.seconds[stage] for measured in repeats)
            for repeats in zip(*rounds, strict=True)
            for stage in repeats[0].seconds
            if stage != _ALL
        ]
        peak = statistics.median(max(measured.peak for measured in measureds) for measureds in rounds)
        rows.append([name, str(count), *(f"{seconds:.2f} s" for seconds in times), f"{peak:.0f} MB"])
        print(*rows[-1], file=sys.stderr, flush=True)  # shows progress
    columns = ["layout", "files", "os.walk", *_STAGES, "warnings", "peak memory"]
    print_table(f"Trees of the tests with about {files} files. {processor()}", columns, rows)


def main() -> None:
    """Write the trees, list them in turn, each time in a fresh process, and print the tables."""
    parser = make_parser(__doc__, repeats=3)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--frames", type=int, default=10_000, help="frames of Virtual KITTI 2, five files each (%(default)s)"
    )
    parser.add_argument("--files", type=int, default=100_000, help="files in the tree of each layout (%(default)s)")
    parser.add_argument("--layouts", default="", help="only these layouts, separated by commas")
    options = parser.parse_args()
    turns = 1 if options.quick else options.repeats
    measure_published(_QUICK_FRAMES if options.quick else options.frames, turns)
    layouts, chosen = grow_layouts(), options.layouts or (_QUICK_LAYOUTS if options.quick else "")
    if chosen:
        layouts = {name: layouts[name] for name in chosen.split(",")}
    measure_layouts(layouts, _QUICK_FILES if options.quick else options.files, turns)


if __name__ == "__main__":
    main()
