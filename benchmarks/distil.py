"""How near does a student come to its teacher on frames that neither was fitted to, and how fast is it?

There are two teachers, both at half size. ``graded`` is a function of the frame: local contrast, warm colours, a
vignette. ``weather`` is the town's own real look of the same geometry, with another sun and other clouds over each
street, which no frame tells. The student is the recipe ``distil``. Printed are PSNR against the teacher's frames, on
streets that the student has not seen, and the student's frames per second.
"""

import os
import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import device

import sim2real
from benchmarks.common import in_turns, make_parser, print_table, processor
from sim2real.engines.guided import guided, shrunk, shrunk_size
from sim2real.imageio import encode_png, read_rgb
from sim2real.training.importing import import_frames
from sim2real_toytown import render_dataset

Image = NDArray[np.uint8]
SIZE = (416, 128)


def psnr(one: Image, other: Image) -> float:
    """Return the peak signal-to-noise ratio of two images, in dB."""
    return float(-10 * np.log10(np.square((one.astype(float) - other) / 255).mean()))


def graded(frame: Image) -> Image:
    """Return a frame with more local contrast, warm colours and a vignette."""
    lab = cv2.cvtColor(frame, cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(2.0, (4, 4)).apply(lab[..., 0])
    lit = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB).astype(np.float32) / 255
    height, width = frame.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    vignette = (1 - 0.35 * (x**2 + y**2) / 2)[..., None]
    return np.asarray(np.clip(lit ** [0.9, 1.0, 1.25] * vignette * 255, 0, 255), np.uint8)


def main() -> None:
    """Render, train, compare, and print the tables."""
    options = make_parser(__doc__, repeats=10).parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root, streets, frames = Path(scratch), *((5, 2) if options.quick else (20, 4))
        for look in ("sim", "real"):
            render_dataset(
                root / look,
                look=look,
                frames=frames,
                sequences=streets,
                size=SIZE,
                seed=3,
                cameras=(0,),
                labels=False,
                workers=os.cpu_count() or 1,
            )
        for name in ("graded", "weather"):
            compare(root, name, steps=4 if options.quick else 1500, repeats=options.repeats)


def compare(root: Path, name: str, *, steps: int, repeats: int) -> None:
    """Train a student of one teacher, and print a table."""
    for path in (root / "sim").rglob("*.jpg"):
        place = path.relative_to(root / "sim")
        made = graded(read_rgb(path)) if name == "graded" else read_rgb(root / "real" / place)
        target = root / name / place.with_suffix(".png")
        target.parent.mkdir(parents=True, exist_ok=True)
        half = cv2.resize(made, (SIZE[0] // 2, SIZE[1] // 2), interpolation=cv2.INTER_AREA)
        target.write_bytes(encode_png(np.asarray(half, np.uint8)))
    held = sorted(path.name for path in (root / "sim").iterdir() if path.is_dir())[4::5]
    globs = [f"{street}/*" for street in held]
    teacher, run = root / "runs" / f"teacher-{name}", root / "runs" / f"student-{name}"
    import_frames(root / "sim", root / name, teacher)
    settings = {"data.translations": str(teacher), "data.sim_exclude": globs, "data.real_exclude": globs}
    sim2real.train(root / "sim", root / name, run=run, recipe="distil", steps=steps, settings=settings)
    student = sim2real.load(run)
    figures: dict[str, list[float]] = {"frame itself": [], "guided teacher": [], "student": []}
    held_out = sorted(path for street in held for path in (root / "sim" / street).rglob("*.jpg"))
    for path in held_out:
        frame = read_rgb(path)
        made = read_rgb(root / name / path.relative_to(root / "sim").with_suffix(".png"))
        whole = np.asarray(cv2.resize(made, SIZE, interpolation=cv2.INTER_CUBIC), np.uint8)
        small = shrunk(frame, shrunk_size(SIZE, 448))
        figures["frame itself"].append(psnr(frame, whole))
        figures["guided teacher"].append(psnr(guided(frame, small, whole, device("cpu")), whole))
        figures["student"].append(psnr(student(frame), whole))
    large = np.asarray(cv2.resize(read_rgb(held_out[0]), (1920, 1080)), np.uint8)
    seconds = in_turns({"student": lambda: student(large)}, repeats=repeats)["student"]
    rows = [[title, f"{np.mean(values):.2f}", f"{np.std(values):.2f}"] for title, values in figures.items()]
    print_table(f"Teacher {name}: {len(held_out)} frames of held-out streets", ["", "PSNR, dB", "spread"], rows)
    print(f"student: {1 / np.median(seconds):.1f} frames of 1920x1080 per second on {processor()}")


if __name__ == "__main__":
    main()
