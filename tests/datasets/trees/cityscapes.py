"""Cityscapes: each archive in a folder of its own, coarse labels without fine ones, images of 16 bits beside."""

import json
import re
from pathlib import Path

import numpy as np

from tests.datasets.trees.common import CITYSCAPES_MASK, Grow, photo, pngs, raw_png, write

INSTANCES = np.full((24, 32), 26, np.uint16)  # a group of cars
INSTANCES[12:] = 26003
DISPARITY = np.full((24, 32), 1 + 256 * 10 + 64, np.uint16)
DISPARITY[:, 16:] = 0
PERSONS = {
    "imgWidth": 32,
    "imgHeight": 24,
    "objects": [
        {"label": "pedestrian", "instanceId": 24000, "bbox": [3, 4, 5, 6], "bboxVis": [3, 4, 5, 3]},
        {"label": "ignore", "instanceId": 0, "bbox": [10, 2, 8, 8], "bboxVis": [10, 2, 8, 8]},
    ],
}
POLYGONS = {"imgWidth": 32, "imgHeight": 24, "objects": [{"label": "road", "polygon": [[0, 0], [9, 0], [9, 9]]}]}


def cityscapes(root: Path, *, frames: int = 2) -> Path:
    def plant(archive: str, split: str, city: str, kind: str, content: str | bytes) -> None:
        folder = root / archive / re.split(r"[_.]", kind)[0] / split / city
        for frame in range(frames):
            write(folder / f"{city}_{frame:06d}_000019_{kind}", content)

    packed = {mask: raw_png(np.full((24, 32), mask, np.uint8)) for mask in (3, 7, 11)}
    for split, city in (("train", "aachen"), ("train_extra", "bad-honnef"), ("test", "bielefeld")):
        for eye in ("left", "right"):
            plant(f"{eye}Img8bit_trainvaltest", split, city, f"{eye}Img8bit.png", raw_png(photo()))
        plant("camera", split, city, "camera.json", "{}")
    plant("gtFine_trainvaltest", "train", "aachen", "gtFine_labelIds.png", packed[7])
    plant("gtFine_trainvaltest", "train", "aachen", "gtFine_instanceIds.png", raw_png(INSTANCES))
    plant("gtFine_trainvaltest", "train", "aachen", "gtFine_color.png", raw_png(photo()))
    plant("gtFine_trainvaltest", "train", "aachen", "gtFine_polygons.json", json.dumps(POLYGONS))
    plant("gtFine_trainvaltest", "test", "bielefeld", "gtFine_labelIds.png", packed[3])
    for split, city in (("train", "aachen"), ("train_extra", "bad-honnef")):
        plant("gtCoarse", split, city, "gtCoarse_labelIds.png", packed[11])
        plant("disparity", split, city, "disparity.png", raw_png(DISPARITY))
    plant("gtBbox", "train", "aachen", "gtBboxCityPersons.json", json.dumps(PERSONS))
    plant("hdr", "train", "aachen", "leftImg16bit.png", raw_png(photo().astype(np.uint16) * 257))
    pngs(root / "gtFine_trainvaltest/gtFine/cityscapes_panoptic_train", ["a_gtFine_panoptic.png"], CITYSCAPES_MASK)
    write(root / "README", "Cityscapes\n")
    return root


LAYOUTS: dict[str, Grow] = {"cityscapes": cityscapes}
