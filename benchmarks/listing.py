"""How long it takes, and how much memory, to list large trees, beside a bare os.walk.

First a Virtual KITTI 2 as it is published, stage by stage; then the trees of the tests, one of each layout, grown to a
given number of files. Seconds are of the processor, so that what else the machine does counts little: the trees have
just been written, and no disk is waited for.
"""

import argparse
import importlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from types import ModuleType

from benchmarks.common import in_fresh_process, make_parser, peak_memory, print_table, processor

_ROOT = Path(__file__).parents[1]
_QUICK_FRAMES = 400
_QUICK_FILES = 300
_QUICK_LAYOUTS = "kitti-raw"
_FEW, _MORE = 4, 12  # frames of two small trees, which tell how many files a frame adds
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
    began = time.process_time()
    count = sum(len(names) for _, _, names in os.walk(root))
    return Measured({"os.walk": time.process_time() - began}, peak_memory(), f"{count} files")


def load(_root: str) -> Measured:
    """Import what lists a dataset, and list none."""
    began = time.process_time()
    from sim2real.datasets.vkitti import VirtualKitti2

    return Measured({"import sim2real.datasets": time.process_time() - began}, peak_memory(), VirtualKitti2.name)


def list_dataset(root: str) -> Measured:
    """Open the dataset, go through its frames and their labels, then through every file and its role."""
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
    """Find out all that ``sim2real inspect`` tells but sizes: warnings, what is stale and what nobody knows."""
    from sim2real import open_dataset

    dataset = open_dataset(root)
    began = time.process_time()
    told = len(dataset.warnings()) + len(dataset.stale()) + len(dataset.unmatched())
    return Measured({"warnings": time.process_time() - began}, peak_memory(), f"{told} remarks")


def grow_layouts() -> dict[str, Callable[..., Path]]:
    """What grows the tree of each layout, for the tests: ``grow(root, frames=...)``."""
    package = ModuleType("tests")  # which has no __init__.py, so that tests of an installed package would go before it
    package.__path__ = [str(_ROOT / "tests")]
    sys.modules["tests"] = package
    families = sorted((_ROOT / "tests/datasets/trees").glob("*.py"))
    modules = [importlib.import_module(f"tests.datasets.trees.{family.stem}") for family in families]
    return {name: grow for module in modules for name, grow in getattr(module, "LAYOUTS", {}).items()}


def grow_to(grow: Callable[..., Path], root: Path, files: int) -> None:
    """Grow a tree of about so many files."""
    with tempfile.TemporaryDirectory() as small:
        few, more = (_count(grow(Path(small, str(frames)), frames=frames)) for frames in (_FEW, _MORE))
    grow(root, frames=max(_FEW, _FEW + (files - few) * (_MORE - _FEW) // (more - few)))


def _count(root: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(root))


def measure_published(frames: int, turns: int) -> None:
    """Print the stages for a Virtual KITTI 2 of so many frames."""
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
    """Print a row of medians for each layout with about so many files."""
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
        print(*rows[-1], file=sys.stderr, flush=True)  # for whoever waits
    columns = ["layout", "files", "os.walk", *_STAGES, "warnings", "peak memory"]
    print_table(f"Trees of the tests with about {files} files. {processor()}", columns, rows)


def main() -> None:
    """Write the trees, list them in turns, each time in a fresh process, and print the tables."""
    parser = make_parser(__doc__, repeats=3)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--frames", type=int, default=10_000, help="of Virtual KITTI 2, five files each (%(default)s)")
    parser.add_argument("--files", type=int, default=100_000, help="in the tree of each layout (%(default)s)")
    parser.add_argument("--layouts", default="", help="only these, separated by commas")
    options = parser.parse_args()
    turns = 1 if options.quick else options.repeats
    measure_published(_QUICK_FRAMES if options.quick else options.frames, turns)
    layouts, chosen = grow_layouts(), options.layouts or (_QUICK_LAYOUTS if options.quick else "")
    if chosen:
        layouts = {name: layouts[name] for name in chosen.split(",")}
    measure_layouts(layouts, _QUICK_FILES if options.quick else options.files, turns)


if __name__ == "__main__":
    main()
