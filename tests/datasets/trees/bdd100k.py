"""BDD100K: one image in two packages, ids of objects in blue and alpha, one file of boxes for a whole split."""

import json
from pathlib import Path

import numpy as np

from tests.datasets.trees.common import Grow, jpegs, photo, raw_png, write

# class, attributes, upper and lower byte of the object's number: alpha is 0 where the number is a multiple of 256
BITMASK = np.zeros((24, 32, 4), np.uint8)
BITMASK[12:] = (3, 0b1000, 1, 0)
BITMASK[12:, 16:] = (1, 0, 0, 9)
PANOPTIC = np.zeros((24, 32, 4), np.uint8)
PANOPTIC[12:] = (35, 0, 0, 31)
PANOPTIC[:6] = (30, 0, 0, 30)
CLASSES = np.full((24, 32), 255, np.uint8)
CLASSES[12:] = 13
BOX = {"x1": 3.5, "y1": 4.25, "x2": 9.5, "y2": 7.25}
ATTRIBUTES = {"weather": "rainy", "scene": "city street", "timeofday": "night"}


def _name(number: int) -> str:
    return f"{number:08x}-7c39d8{number % 256:02x}"


def bdd100k(root: Path, *, frames: int = 2) -> Path:
    root = root / "bdd100k"
    names = [_name(number) for number in range(frames)]
    videos = [_name(number) for number in (0xB1C66A42, 0xB1C66A43)]
    tracked = {video: [f"{video}-{frame:07d}" for frame in range(1, frames + 1)] for video in videos}
    picture = raw_png(photo())
    for name in names:
        write(root / f"labels/sem_seg/masks/train/{name}.png", raw_png(CLASSES))
        write(root / f"labels/ins_seg/bitmasks/train/{name}.png", raw_png(BITMASK))
        write(root / f"labels/sem_seg/colormaps/train/{name}.png", picture)
        write(root / f"labels/pan_seg/bitmasks/val/{name}.png", raw_png(PANOPTIC))
    jpegs(root, [f"images/{package}/{split}/{name}.jpg" for name in names for package, split in _SPLITS])
    labels = [
        {"id": "00048", "category": "car", "attributes": {"trafficLightColor": "none"}, "box2d": BOX},
        {"id": "00049", "category": "lane/road curb", "poly2d": [{"vertices": [[0, 0], [1, 1]]}]},
    ]
    # the last image of the split stands in no list
    split = [{"name": f"{name}.jpg", "attributes": ATTRIBUTES, "labels": labels} for name in names[:-1]]
    write(root / "labels/det_20/det_train.json", json.dumps(split, indent=1))
    write(root / "info/100k/train/0.json", "{}")
    for video, images in tracked.items():
        jpegs(root, [f"images/track/train/{video}/{image}.jpg" for image in images])
        jpegs(root, [f"images/seg_track_20/val/{video}/{image}.jpg" for image in images])
        for image in images:
            write(root / f"labels/seg_track_20/bitmasks/val/{video}/{image}.png", raw_png(BITMASK))
        rows = [
            {"name": f"{image}.jpg", "labels": labels[:1], "videoName": video, "frameIndex": index}
            for index, image in enumerate(images)
        ]
        write(root / f"labels/box_track_20/train/{video}.json", json.dumps(rows))
    return root.parent


_SPLITS = (("10k", "train"), ("10k", "val"), ("100k", "train"), ("100k", "test"))
LAYOUTS: dict[str, Grow] = {"bdd100k": bdd100k}
