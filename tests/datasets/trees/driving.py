"""Recordings for behaviour cloning."""

import json
from pathlib import Path

from tests.datasets.trees.common import Grow, jpegs, write

PLACE = "/Users/someone/Desktop/track"


def udacity(root: Path, *, frames: int = 2, place: str = PLACE) -> Path:
    rows = []
    for number in range(frames):
        names = [f"IMG/{camera}_2016_12_01_13_30_48_{number:03d}.jpg" for camera in ("center", "left", "right")]
        jpegs(root, names)
        rows.append(", ".join([*(f"{place}/{name}" for name in names), f"-0.{number}", "0.5", "0", "22.1"]))
    write(root / "driving_log.csv", "center,left,right,steering,throttle,brake,speed\n" + "\n".join(rows) + "\n")
    return root


def donkeycar(root: Path, *, frames: int = 2) -> Path:
    records = []
    for number in range(frames):
        name = f"{number}_cam_image_array_.jpg"
        jpegs(root, [f"images/{name}"])
        records.append(json.dumps({"_index": number, "cam/image_array": name, "user/angle": 0.1, "user/throttle": 0.2}))
    write(root / "catalog_0.catalog", "\n".join(records) + "\n")
    write(root / "catalog_0.catalog_manifest", json.dumps({"line_lengths": [len(row) + 1 for row in records]}))
    write(
        root / "manifest.json", '["cam/image_array", "user/angle"]\n["image_array", "float"]\n{}\n{}\n{"paths": []}\n'
    )
    return root


def records(root: Path, *, frames: int = 2) -> Path:
    for number in range(frames):
        name = f"{number}_cam-image_array_.jpg"
        jpegs(root, [name])
        write(root / f"record_{number}.json", json.dumps({"cam/image_array": name, "user/angle": 0.1}))
    write(root / "meta.json", json.dumps({"inputs": ["cam/image_array"], "types": ["image_array"]}))
    return root


LAYOUTS: dict[str, Grow] = {"udacity": udacity, "donkeycar": donkeycar, "donkeycar-v1": records}
