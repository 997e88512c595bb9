"""LabelMe."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

from sim2real.imageio import encode_jpeg, encode_png
from tests.datasets.trees.common import Grow, halves, jpegs, photo, pngs, raw_png, write

SHAPES: list[dict[str, Any]] = [
    {
        "label": "straße",
        "points": [[0, 12.0], [32, 12.0], [32, 24], [0, 24]],
        "group_id": None,
        "shape_type": "polygon",
    },
    {"label": "car", "points": [[9.5, 20.0], [4, 14]], "group_id": 7, "shape_type": "rectangle", "flags": {}},
    {"label": "car", "points": [[20, 14], [25, 14], [25, 18]], "group_id": 7, "shape_type": "polygon", "flags": {}},
    {"label": "sun", "points": [[24.0, 6.0], [28.0, 6.0]], "group_id": None, "shape_type": "circle", "flags": {}},
    {"label": "wire", "points": [[0, 1], [32, 1]], "group_id": None, "shape_type": "line", "flags": {}},
    {"label": "nail", "points": [[3, 3]], "group_id": None, "shape_type": "point", "flags": {}},
]


def document(image: str, picture: bytes | None, shapes: list[dict[str, Any]] = SHAPES, **more: Any) -> str:
    """A file as LabelMe 5 saves it."""
    content = {
        "version": "5.4.1",
        "flags": {},
        "shapes": shapes,
        "imagePath": image,
        "imageData": picture and base64.b64encode(picture).decode(),
        "imageHeight": 24,
        "imageWidth": 32,
        **more,
    }
    return json.dumps(content, ensure_ascii=False, indent=2)


def labelme(root: Path, *, frames: int = 2, apart: bool = False, inside: bool = True) -> Path:
    """The last photo is not labelled; with ``apart`` the JSON files lie in a folder of their own."""
    names = [f"street {number:02d}" for number in range(frames)]
    jpegs(root, [f"photos/{name}.jpg" for name in (*names, "unlabelled")])
    for seed, name in enumerate(names):
        picture = encode_jpeg(photo(seed)) if inside else None
        place, path = ("labels", f"..\\photos\\{name}.jpg") if apart else ("photos", f"{name}.jpg")
        write(root / place / f"{name}.json", document(path, picture))
    write(root / "labels.txt", "__ignore__\n_background_\ncar\n")
    return root


def exported(root: Path, *, frames: int = 2) -> Path:
    names = [f"street_{number}_json" for number in range(frames)]
    pngs(root, [f"{name}/img.png" for name in names])
    palette = np.array([(0, 0, 0), (128, 0, 0), (0, 128, 0)], np.uint8)
    for name in names:
        write(root / name / "label.png", raw_png(halves(0, 2), palette))
        write(root / name / "label_viz.png", encode_png(photo(9)))
        write(root / name / "label_names.txt", "_background_\ncar\nstraße\n")
    return root


LAYOUTS: dict[str, Grow] = {"labelme": labelme, "labelme-export": exported}
