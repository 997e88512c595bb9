"""Measure a conversion of 200,000 files: its plan, itself, its rerun, verify; and the listing of 1,000,000 files.

The tree is a Virtual KITTI 2 with small images and labels, one in five files a frame, and the generator changes
nothing: what is measured is everything around it. Each step runs in a fresh process; memory is counted above imports.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.common import in_fresh_process, make_parser, peak_memory, print_table, processor
from benchmarks.convert import write_model
from benchmarks.listing import list_dataset, write_tree
from benchmarks.plain import make_picture
from sim2real.conversion import ConvertOptions, convert, survey, verify
from sim2real.conversion.plan import make_plan
from sim2real.imageio import encode_jpeg, encode_png

_SIZE = (48, 24)
_PER_FRAME = 5  # files


def write_dataset(root: Path, frames: int) -> int:
    """Write a tree whose images and labels are small but whole, and return the number of its files."""
    contents = {
        "textgt": b"frame cameraID\n",
        "rgb": encode_jpeg(make_picture(_SIZE, 0)),
        "depth": encode_png(np.full(_SIZE[::-1], 1000, np.uint16)),
        "classSegmentation": encode_png(np.full((*_SIZE[::-1], 3), 90, np.uint8)),
        "instanceSegmentation": encode_png(np.zeros(_SIZE[::-1], np.uint8)),
        "forwardFlow": encode_png(np.full((*_SIZE[::-1], 3), 32768, np.uint16)),
    }
    return write_tree(root, frames, contents)


def plan(source: Path, out: Path, model: Path) -> str:
    """Plan the conversion, as ``convert --plan`` does."""
    options = ConvertOptions(model=model, device="cpu")
    found = make_plan(source, out, options, survey(source, out, options))
    return f"{len(found.todo)} files to do"


def run(source: Path, out: Path, model: Path) -> str:
    """Convert, or continue a conversion."""
    summary = convert(source, out, ConvertOptions(model=model, device="cpu"))
    return f"{summary.converted} frames, {summary.carried} files carried, {summary.skipped} done before"


def check(_source: Path, out: Path, _model: Path) -> str:
    """Verify the conversion."""
    found = verify(out)
    return f"{len(found.problems)} problems"


def listing(source: Path, _out: Path, _model: Path) -> str:
    """List the frames with their labels, and the roles of all files."""
    return list_dataset(str(source)).found


def measured(work: Callable[[Path, Path, Path], str], *places: Path) -> tuple[float, float, str]:
    """Return seconds, MB above the imports, and a summary; called in a fresh process."""
    held, began = peak_memory(), time.perf_counter()
    found = work(*places)
    return time.perf_counter() - began, peak_memory() - held, found


def main() -> None:
    """Write the trees, measure, and print the table."""
    parser = make_parser(__doc__, repeats=1)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--files", type=int, default=200_000, help="files of the conversion (%(default)s)")
    parser.add_argument("--listed", type=int, default=1_000_000, help="files of the listing (%(default)s)")
    options = parser.parse_args()
    if options.quick:
        options.files, options.listed = 1_000, 2_000
    print(processor())
    rows = []

    def measure(name: str, work: Callable[[Path, Path, Path], str], count: int, *places: Path) -> None:
        seconds, memory, found = in_fresh_process(measured, work, *places, imports="benchmarks.scale")
        cells = [f"{count:,}", f"{seconds:.1f} s", f"{memory:.0f} MB", f"{1e3 * memory / count:.2f} kB"]
        rows.append([name, *cells, found])
        print(f"{name}: {seconds:.1f} s", flush=True)

    steps = {"convert --plan": plan, "convert": run, "convert, again": run, "verify": check}
    with tempfile.TemporaryDirectory(prefix="sim2real-scale-") as place:
        root = Path(place)
        count = write_dataset(root / "sim", options.files // _PER_FRAME)
        places = root / "sim", root / "out", write_model(root / "model.safetensors", "camera", None)
        for name, work in steps.items():
            measure(name, work, count, *places)
    with tempfile.TemporaryDirectory(prefix="sim2real-scale-") as place:
        tree = Path(place)
        measure("listing", listing, write_tree(tree, options.listed // _PER_FRAME), tree, tree, tree)
    print("aims: a finished conversion of 200,000 files is done again in 20 s; memory grows with the paths alone")
    print_table("At scale", ["step", "files", "time", "memory", "a file", "result"], rows)


if __name__ == "__main__":
    main()
