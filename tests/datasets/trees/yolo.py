"""YOLO."""

from pathlib import Path

from tests.datasets.trees.common import Grow, jpegs, write

BOXES = "1 0.5 0.25 0.25 0.5\n0 0.125 0.5 0.25 0.25\n"
OUTLINES = "0 0.25 0.25 0.75 0.25 0.75 0.75 0.5 0.875 0.25 0.75\n2 0.5 0.5 0.625 0.5 0.625 0.625\n"
NAMES = "path: data\ntrain: images/train\nval: images/val\nnames:\n  0: car\n  1: traffic light\n  2: wheel\n"


def yolo(root: Path, *, frames: int = 2, shape: str = "images/{split}", rows: str = BOXES, sheet: str = NAMES) -> Path:
    """The last image of each split is background: it has no text; that of the first is empty."""
    for split in ("train", "val"):
        images = shape.format(split=split)
        jpegs(root, [f"{images}/a b {number}.JPG" for number in range(frames)] + [f"{images}/background.jpg"])
        above, found, below = images.rpartition("images")
        labels = f"{above}labels{below}" if found else images
        for number in range(frames):
            write(root / f"{labels}/a b {number}.txt", rows if number else "")
    write(root / "data.yaml", sheet)
    write(root / "train.cache", b"loader's cache")
    return root


LAYOUTS: dict[str, Grow] = {"yolo": yolo}
