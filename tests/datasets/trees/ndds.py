"""NDDS and Falling Things."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.datasets.trees.common import Grow, halves, jpegs, photo, pngs, raw_png, write

SETTINGS: dict[str, Any] = {
    "camera_settings": [
        {
            "name": "left",
            "intrinsic_settings": {"resX": 32, "resY": 24, "fx": 25.5, "fy": 25.5, "cx": 16, "cy": 12, "s": 0},
            "captured_image_size": {"width": 32, "height": 24},
        }
    ]
}
OBJECTS: dict[str, Any] = {
    "exported_object_classes": ["can", "box"],
    "exported_objects": [
        {"class": "can", "segmentation_class_id": 12, "cuboid_dimensions": [10, 8, 9]},
        {"class": "box", "segmentation_class_id": 24, "cuboid_dimensions": [1, 2, 3]},
    ],
}
FRAME: dict[str, Any] = {
    "camera_data": {"location_worldframe": [1.0, 2.0, 3.0]},
    "objects": [
        {
            "class": "can",
            "visibility": 1,
            "bounding_box": {"top_left": [2.5, 4], "bottom_right": [20, 30.5]},
            "projected_cuboid_centroid": [17.0, 11.0],
            "projected_cuboid": [[4.0, 2.5], [30.5, 20.0]],
        }
    ],
}


def _settings(folder: Path) -> None:
    write(folder / "_camera_settings.json", json.dumps(SETTINGS, indent="\t"))
    write(folder / "_object_settings.json", json.dumps(OBJECTS, indent="\t"))


def falling_things(root: Path, *, frames: int = 2) -> Path:
    for folder in ("mixed/kitchen_0", "single/002_master_chef_can_16k/temple_1"):
        _settings(root / folder)
        for number in range(frames):
            for camera in ("left", "right"):
                stem = root / folder / f"{number:06d}.{camera}"
                jpegs(stem.parent, [f"{stem.name}.jpg"])
                write(stem.with_name(f"{stem.name}.json"), json.dumps(FRAME, indent="\t"))
                write(stem.with_name(f"{stem.name}.seg.png"), raw_png(halves(0, 12)))
                write(stem.with_name(f"{stem.name}.depth.png"), raw_png(halves(65535, 15000, np.uint16)))
    return root


def ndds(root: Path, *, frames: int = 2, viewpoints: tuple[str, ...] = ("", ".close")) -> Path:
    _settings(root)
    for number in range(frames):
        for viewpoint in viewpoints:
            stem = f"{number:06d}{viewpoint}"
            pngs(root, [f"{stem}.png"])
            write(root / f"{stem}.json", json.dumps(FRAME, indent="\t"))
            write(root / f"{stem}.cs.png", raw_png(halves(0, 24)))
            write(root / f"{stem}.is.png", raw_png(photo(number)))
            write(root / f"{stem}.depth.png", raw_png(halves(3, 255)))
            write(root / f"{stem}.depth.mm.16.png", raw_png(halves(65535, 1500, np.uint16)))
            write(root / f"{stem}.depth.cm.8.png", raw_png(halves(3, 150)))
    return root


LAYOUTS: dict[str, Grow] = {"falling-things": falling_things, "ndds": ndds}
