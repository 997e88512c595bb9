"""COCO, and what others write in its format."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.datasets.trees.common import Grow, jpegs, raw_png, write

CATEGORIES = [
    {"id": 1, "name": "person", "isthing": 1},
    {"id": 90, "name": "straße", "isthing": 0},
]
TRIANGLE = [2.0, 2.0, 18.0, 2.0, 2.0, 18.0]
SQUARE = [4, 4, 8, 4, 8, 8, 4, 8]


def runs(top: int) -> dict[str, Any]:
    """Run lengths of the rows below one."""
    return {"size": [24, 32], "counts": [top, *([24 - top, top] * 32)[:-1]]}


def annotations(image: int) -> list[dict[str, Any]]:
    """A triangle, a square on it with a second part, and a crowd in the lower half."""
    common = {"image_id": image, "iscrowd": 0, "category_id": 1}
    return [
        {**common, "id": 900100000000 + image, "bbox": [2, 2, 16.0, 16], "segmentation": [TRIANGLE]},
        {**common, "id": 2, "bbox": [4, 4, 24, 4], "segmentation": [SQUARE, [26, 4, 28, 4, 28, 6, 26, 6]]},
        {**common, "id": 3, "category_id": 90, "bbox": [0, 12, 32, 12], "segmentation": runs(12), "iscrowd": 1},
    ]


def instances(images: dict[int, str], **more: Any) -> str:
    """A file of annotations, in the order of COCO's members unless others are named first."""
    entries = [{"id": number, "file_name": name, "width": 32, "height": 24} for number, name in images.items()]
    labels = [label for number in images for label in annotations(number)]
    content = {"info": {"year": 2017}, "licenses": []}
    return json.dumps({**more, **content, "images": entries, "annotations": labels, "categories": CATEGORIES})


def panoptic(images: dict[int, str]) -> str:
    def entry(number: int, name: str) -> dict[str, Any]:
        segments = [
            {"id": 70000, "category_id": 1, "iscrowd": 0, "bbox": [0, 0, 32, 12], "area": 384},
            {"id": 3, "category_id": 90, "iscrowd": 0, "bbox": [0, 12, 32, 11], "area": 352},
        ]
        return {"image_id": number, "file_name": f"{Path(name).stem}.png", "segments_info": segments}

    entries = [{"id": number, "file_name": name} for number, name in images.items()]
    labels = [entry(number, name) for number, name in images.items()]
    return json.dumps({"images": entries, "annotations": labels, "categories": CATEGORIES}, ensure_ascii=False)


def panoptic_png() -> bytes:
    """Thing 70000 above, stuff 3 below, nothing in the last row."""
    pixels = np.zeros((24, 32, 3), np.uint8)
    pixels[:12] = (112, 17, 1)
    pixels[12:23] = (3, 0, 0)
    return raw_png(pixels)


def coco(root: Path, *, frames: int = 2) -> Path:
    """Both splits, of which one has panoptic labels, and captions."""
    for split in ("train", "val"):
        images = {number + 1: f"{number + 1:012d}.jpg" for number in range(frames)}
        jpegs(root, [f"{split}2017/{name}" for name in images.values()])
        write(root / f"annotations/instances_{split}2017.json", instances(images))
        captions = {"images": json.loads(instances(images))["images"], "annotations": [{"image_id": 1, "caption": "a"}]}
        write(root / f"annotations/captions_{split}2017.json", json.dumps(captions))
    write(root / "annotations/panoptic_val2017.json", panoptic(images))
    for name in images.values():
        write(root / f"annotations/panoptic_val2017/{Path(name).stem}.png", panoptic_png())
    return root


LAYOUTS: dict[str, Grow] = {"coco": coco}
