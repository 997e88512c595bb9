"""BOP."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.datasets.trees.common import Grow, Pixels, jpegs, pngs, raw_png, write

MATRIX = [25.0, 0.0, 15.5, 0.0, 24.0, 11.25, 0.0, 0.0, 1.0]


def mask(rows: slice, columns: slice) -> Pixels:
    pixels = np.zeros((24, 32), np.uint8)
    pixels[rows, columns] = 255
    return pixels


def objects(number: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Two objects that can be seen and one that cannot."""
    ids = [5, 21 + number, 5]
    pose = {"cam_R_m2c": [1, 0, 0, 0, 1, 0, 0, 0, 1], "cam_t_m2c": [1.0, 2.0, 700.0]}
    boxes = [[4, 6, 9, 3], [20, 0, 11, 23], [-1, -1, -1, -1]]
    info = [
        {"bbox_obj": box, "bbox_visib": box, "px_count_all": 40, "px_count_valid": 40, "px_count_visib": 40}
        for box in boxes
    ]
    return [{**pose, "obj_id": number} for number in ids], info


def bop(root: Path, *, frames: int = 2) -> Path:
    write(root / "camera.json", json.dumps({"cx": 15.5, "cy": 11.25, "depth_scale": 0.1, "fx": 25.0, "fy": 24.0}))
    write(root / "models/obj_000005.ply", "ply\n")
    for scene, folder in (("train_pbr/000000", "rgb"), ("test/000001", "gray")):
        base = root / scene
        names = [f"{number:06d}" for number in range(frames)]
        (jpegs if folder == "rgb" else pngs)(
            base, [f"{folder}/{name}.{'jpg' if folder == 'rgb' else 'png'}" for name in names]
        )
        truth, info, cameras = {}, {}, {}
        for number, name in enumerate(names):
            depth = np.full((24, 32), 8000 + number, np.uint16)
            depth[0] = 0
            write(base / f"depth/{name}.png", raw_png(depth))
            for place, shape in enumerate(
                (mask(np.s_[6:10], np.s_[4:14]), mask(np.s_[:], np.s_[20:]), mask(np.s_[:0], np.s_[:]))
            ):
                for kind in ("mask", "mask_visib"):
                    write(base / f"{kind}/{name}_{place:06d}.png", raw_png(shape))
            truth[str(number)], info[str(number)] = objects(number)
            cameras[str(number)] = {"cam_K": MATRIX, "depth_scale": 0.1}
        write(base / "scene_gt.json", json.dumps(truth))
        write(base / "scene_gt_info.json", json.dumps(info))
        write(base / "scene_camera.json", json.dumps(cameras))
    return root


LAYOUTS: dict[str, Grow] = {"bop": bop}
