"""Kubric."""

import json
import struct
from pathlib import Path

import numpy as np

from tests.datasets.trees.common import GREY16, RGB16, Grow, halves, photo, raw_png, write


def float_tiff(width: int = 32, height: int = 24, value: float = 2.5) -> bytes:
    """A TIFF of one channel of 32-bit floats, in one strip, by the specification."""
    pixels = struct.pack(f"<{width * height}f", *[value] * (width * height))
    tags = {256: width, 257: height, 258: 32, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: len(pixels), 339: 3}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, number) for tag, number in tags.items())
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return struct.pack("<2sHI", b"II", 42, 8 + len(pixels)) + pixels + directory


def kubric(root: Path, *, frames: int = 2) -> Path:
    palette = np.array([(0, 0, 0), (200, 30, 60), (20, 30, 240)], np.uint8)
    for number in range(frames):
        base, stem = root / "movi/0", f"{number:05d}"
        write(base / f"rgba_{stem}.png", raw_png(np.dstack((photo(number), np.full((24, 32), 255, np.uint8)))))
        write(base / f"segmentation_{stem}.png", raw_png(halves(0, 2), palette))
        write(base / f"normal_{stem}.png", raw_png(RGB16))
        write(base / f"object_coordinates_{stem}.png", raw_png(RGB16))
        write(base / f"forward_flow_{stem}.png", raw_png(RGB16))
        write(base / f"backward_flow_{stem}.png", raw_png(RGB16 - np.uint16(1)))
        write(base / f"depth_{stem}.tiff", float_tiff(value=number + 1.0))
        write(base / f"uv_{stem}.png", raw_png(np.dstack([GREY16] * 3)))
    write(root / "movi/0/metadata.json", json.dumps({"instances": [{"bboxes": [[0, 0, 1, 1]]}]}))
    write(root / "movi/0/data_ranges.json", json.dumps({"forward_flow": {"min": -1, "max": 1}}))
    return root


LAYOUTS: dict[str, Grow] = {"kubric": kubric}
