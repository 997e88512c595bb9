"""The nuImages and the nuScenes of the same cameras."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as reference

from tests.datasets.trees.common import Grow, jpegs, photo, raw_png, write

CAMERAS = ("CAM_FRONT", "CAM_BACK")
CATEGORIES = ("vehicle.car", "flat.driveable_surface", "human.pedestrian.adult")


def photo_path(kind: str, camera: str, number: int, log: str = "n003") -> str:
    return f"{kind}/{camera}/{log}-2018-01-02-11-48-43+0800__{camera}__15148649231{number:05d}.jpg"


def encoded(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Packed run lengths in base 64."""
    packed = reference.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [24, 32], "counts": base64.b64encode(packed["counts"]).decode()}


def rows(first: int, last: int) -> NDArray[np.bool_]:
    return np.repeat((np.arange(24) >= first) & (np.arange(24) < last), 32).reshape(24, 32)


def _tables(root: Path, tables: dict[str, list[dict[str, Any]]]) -> None:
    for name, table in tables.items():
        write(root / f"{name}.json", json.dumps(table, indent=0))


def _files(kind: str, frames: int, log: str) -> list[dict[str, Any]]:
    names = [photo_path(kind, camera, number, log) for camera in CAMERAS for number in range(frames)]
    common = {"width": 32, "height": 24, "fileformat": "jpg", "is_key_frame": kind == "samples"}
    return [{"token": f"token of {name}", "filename": name, **common} for name in names]


def nuimages(root: Path, *, frames: int = 2) -> Path:
    """Two versions with annotations, and one without."""
    for version, log in (("train", "n003"), ("val", "n008"), ("test", "n010")):
        samples, sweeps = _files("samples", frames, log), _files("sweeps", frames, log)
        jpegs(root, [each["filename"] for each in (*samples, *sweeps)])
        tables: dict[str, list[dict[str, Any]]] = {
            "sample_data": [*sweeps, *samples],
            "category": [{"token": f"class {name}", "name": name} for name in CATEGORIES],
        }
        if version != "test":
            tables["object_ann"] = [
                {"token": token, "sample_data_token": each["token"], "category_token": f"class {name}", **told}
                for each in samples
                for token, name, told in (
                    ("z", "vehicle.car", {"bbox": [3, 4, 20, 12], "mask": encoded(rows(4, 12))}),
                    ("a", "human.pedestrian.adult", {"bbox": [0, 2, 5, 8], "mask": encoded(rows(2, 8))}),
                    ("n", "vehicle.car", {"bbox": [1, 1, 2, 2], "mask": None}),
                )
            ]
            tables["surface_ann"] = [
                {
                    "token": "s",
                    "sample_data_token": each["token"],
                    "category_token": f"class {CATEGORIES[1]}",
                    "mask": encoded(rows(10, 20)),
                }
                for each in samples
            ]
        _tables(root / f"v1.0-{version}", tables)
    return root


def nuscenes(root: Path, *, frames: int = 2) -> Path:
    samples, sweeps = _files("samples", frames, "n015"), _files("sweeps", frames, "n015")
    jpegs(root, [each["filename"] for each in (*samples, *sweeps)])
    tables = {
        "sample_data": [*samples, *sweeps],
        "scene": [{"token": "scene", "name": "scene-0001", "description": "Rain, night"}],
        "sample_annotation": [{"token": "annotation", "translation": [1, 2, 3], "size": [1, 2, 3]}],
        "category": [{"token": "class", "name": "vehicle.car"}],
    }
    _tables(root / "v1.0-mini", tables)
    write(root / "samples/LIDAR_TOP/n015__LIDAR_TOP__1.pcd.bin", bytes(20))
    write(root / "maps/36092f0b.png", raw_png(photo()[..., 0]))
    return root


LAYOUTS: dict[str, Grow] = {"nuimages": nuimages, "nuscenes": nuscenes}
