"""How near does a student come to its teacher on frames that neither was fitted to, and how fast is it?

The teacher is the town's own real look of the same geometry, at half size: a translator that moves nothing, so that
the distance of its guided version is that of the grids alone. The student is the recipe ``distil``. Printed are PSNR
against the teacher's frames, on streets that the student has not seen, and the student's frames per second.
"""

import os
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import device

import sim2real
from benchmarks.common import make_parser, print_table
from sim2real.engines.guided import guided, shrunk, shrunk_size
from sim2real.imageio import encode_png, read_rgb
from sim2real.training.importing import import_frames
from sim2real_toytown import render_dataset

Image = NDArray[np.uint8]
SIZE = (416, 128)


def psnr(one: Image, other: Image) -> float:
    """Return the peak signal-to-noise ratio of two images, in dB."""
    return float(-10 * np.log10(np.square((one.astype(float) - other) / 255).mean()))


def main() -> None:
    """Render, train, compare, and print the table."""
    options = make_parser(__doc__, repeats=10).parse_args()
    streets, frames, steps = (5, 2, 4) if options.quick else (20, 4, 1500)
    with tempfile.TemporaryDirectory() as scratch:
        root, workers = Path(scratch), os.cpu_count() or 1
        for look, name in (("sim", "sim"), ("real", "other")):
            render_dataset(
                root / name,
                look=look,
                frames=frames,
                sequences=streets,
                size=SIZE,
                seed=3,
                cameras=(0,),
                labels=False,
                workers=workers,
            )
        for path in (root / "other").rglob("*.jpg"):
            target = root / "made" / path.relative_to(root / "other").with_suffix(".png")
            target.parent.mkdir(parents=True, exist_ok=True)
            half = cv2.resize(read_rgb(path), (SIZE[0] // 2, SIZE[1] // 2), interpolation=cv2.INTER_AREA)
            target.write_bytes(encode_png(np.asarray(half, np.uint8)))
        held = sorted(path.name for path in (root / "sim").iterdir() if path.is_dir())[4::5]
        globs = [f"{street}/*" for street in held]
        import_frames(root / "sim", root / "made", root / "teacher")
        sim2real.train(
            root / "sim",
            root / "made",
            run=root / "student",
            recipe="distil",
            steps=steps,
            settings={
                "data.translations": str(root / "teacher"),
                "data.sim_exclude": globs,
                "data.real_exclude": globs,
                "data.size": [208, 64],
                "data.load_size": [208, 64],
                "generator.options.side": 64,
            },
        )
        student = sim2real.load(root / "student")
        figures: dict[str, list[float]] = {"frame itself": [], "guided teacher": [], "student": []}
        held_out = sorted(path for street in held for path in (root / "sim" / street).rglob("*.jpg"))
        for path in held_out:
            frame = read_rgb(path)
            made = read_rgb(root / "made" / path.relative_to(root / "sim").with_suffix(".png"))
            whole = np.asarray(cv2.resize(made, SIZE, interpolation=cv2.INTER_CUBIC), np.uint8)
            small = shrunk(frame, shrunk_size(SIZE, 448))
            figures["frame itself"].append(psnr(frame, whole))
            figures["guided teacher"].append(psnr(guided(frame, small, whole, device("cpu")), whole))
            figures["student"].append(psnr(student(frame), whole))
        large = np.asarray(cv2.resize(read_rgb(held_out[0]), (1920, 1080)), np.uint8)
        student(large)
        begin = time.perf_counter()
        for _ in range(options.repeats):
            student(large)
        seconds = (time.perf_counter() - begin) / options.repeats
        rows = [[name, f"{np.mean(values):.2f}", f"{np.std(values):.2f}"] for name, values in figures.items()]
        print_table("Against the teacher's frames, held-out streets", ["", "PSNR, dB", "spread over frames"], rows)
        print(f"\nstudent: {1 / seconds:.1f} frames of 1920x1080 per second; {len(held_out)} held-out frames")


if __name__ == "__main__":
    main()
