"""Mapillary Vistas: both releases side by side, test images without labels, keys that begin with a dash."""

import json
from pathlib import Path

import numpy as np

from tests.datasets.trees.common import Grow, jpegs, photo, raw_png, write

CLASSES = [
    {"name": "nature--sky", "readable": "Sky", "instances": False},
    {"name": "construction--flat--road", "readable": "Road", "instances": False},
    {"name": "object--vehicle--car", "readable": "Car", "instances": True},
]
IDS = np.full((24, 32), 1, np.uint8)
IDS[12:] = 2
PALETTE = np.array([[70, 130, 180], [128, 64, 128], [0, 0, 142]], np.uint8)
INSTANCES = IDS.astype(np.uint16) << 8
INSTANCES[12:, 16:] += 5


def mapillary(root: Path, *, frames: int = 2) -> Path:
    root = root / "mapillary"
    keys = [f"-{number:020d}Q" for number in range(frames)]
    for split in ("training", "validation", "testing"):
        jpegs(root, [f"{split}/images/{key}.jpg" for key in keys])
    for key in keys:
        for version, split in (("v1.2", "training"), ("v2.0", "training"), ("v1.2", "validation")):
            write(root / f"{split}/{version}/labels/{key}.png", raw_png(IDS, PALETTE))
            write(root / f"{split}/{version}/instances/{key}.png", raw_png(INSTANCES))
            write(root / f"{split}/{version}/panoptic/{key}.png", raw_png(photo()))
        write(root / f"training/v2.0/polygons/{key}.json", "{}")
    write(root / "training/v2.0/panoptic/panoptic_2020.json", "{}")
    for version in ("v1.2", "v2.0"):
        write(root / f"config_{version}.json", json.dumps({"labels": CLASSES, "version": version}))
    write(root / "demo.py", "print()\n")
    return root.parent


LAYOUTS: dict[str, Grow] = {"mapillary-vistas": mapillary}
