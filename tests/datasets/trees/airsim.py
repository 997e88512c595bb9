"""AirSim recordings."""

import struct
from pathlib import Path

import numpy as np

from tests.datasets.trees.common import Grow, Pixels, halves, photo, raw_png, write

METRES = np.linspace(1, 90, 24 * 32, dtype=np.float32).reshape(24, 32)
METRES[0] = 65504  # the sky, in the top row
SEGMENTS = halves((153, 108, 6, 255), (112, 105, 191, 255))
START = 1_769_860_800_123_456_789


def pfm(values: Pixels, order: str = "<") -> bytes:
    """As AirSim writes it: the top row first."""
    height, width = values.shape
    scale = -1 if order == "<" else 1
    return f"Pf\n{width} {height}\n{scale}\n".encode() + struct.pack(f"{order}{values.size}f", *values.flat)


def ppm(pixels: Pixels) -> bytes:
    return f"P6\n{pixels.shape[1]} {pixels.shape[0]}\n255\n".encode() + pixels.tobytes()


def airsim(root: Path, *, frames: int = 2) -> Path:
    """A drone whose name has underscores with a camera of all kinds, a car of no name that has compressed nothing;
    each image has its own time, and the table alone tells which belong together."""
    recording = root / "2026-01-31-12-00-00"
    header = "VehicleName\tTimeStamp\tPOS_X\tPOS_Y\tPOS_Z\tQ_W\tQ_X\tQ_Y\tQ_Z\t"
    rows = [header + "ImageFile\n"]
    opaque = np.full((24, 32, 1), 255, np.uint8)
    scenes = [photo(seed) for seed in range(4)]
    drone = (
        ("0", "png", [raw_png(np.dstack((scene, opaque))) for scene in scenes]),
        ("1", "pfm", [pfm(METRES)]),
        ("2", "pfm", [pfm(METRES * 2, ">")]),
        ("3", "png", [raw_png(photo(5))]),
        ("4", "pfm", [pfm(1 / METRES)]),
        ("5", "png", [raw_png(SEGMENTS)]),
        ("6", "png", [raw_png(photo(6))]),
    )
    car = (("0", "ppm", [ppm(scene) for scene in scenes]), ("1", "png", [raw_png(photo(7))]))
    time = START
    for frame in range(frames):
        for vehicle, camera, files in (("Drone_1", "front_0", drone), ("", "0", car)):
            names = []
            for kind, suffix, contents in files:
                time += 1_000_003
                names.append(f"img_{vehicle}_{camera}_{kind}_{time}.{suffix}")
                write(recording / "images" / names[-1], contents[frame % len(contents)])
            rows.append(f"{vehicle}\t{time // 10**6}" + "\t0" * 7 + "\t" + ";".join(names) + "\n")
    write(recording / "airsim_rec.txt", "".join(rows))
    write(root / "settings.json", "{}")
    return root


LAYOUTS: dict[str, Grow] = {"airsim": airsim}
