"""Pascal VOC."""

from pathlib import Path

import numpy as np

from tests.datasets.trees.common import Grow, jpegs, raw_png, write

XML = """<annotation>
  <folder>VOC2012</folder><filename>{name}.jpg</filename><size><width>32</width><height>24</height></size>
  <object><name>dog</name><truncated>1</truncated>
    <bndbox><xmin>1</xmin><ymin>1</ymin><xmax>32</xmax><ymax>24</ymax></bndbox>
    <part><name>head</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>3</xmax><ymax>3</ymax></bndbox></part>
  </object>
  <object><name>person</name><bndbox><xmax>10.5</xmax><xmin>3</xmin><ymax>6</ymax><ymin>5</ymin></bndbox></object>
  <object><name>cat</name></object>
</annotation>
"""
PALETTE = np.random.default_rng(0).integers(0, 256, (256, 3), np.uint8)


def indices(top: int, bottom: int) -> bytes:
    """A palette mask of two halves, with a border of 255 around it."""
    mask = np.full((24, 32), bottom, np.uint8)
    mask[:12] = top
    mask[[0, -1]] = mask[:, [0, -1]] = 255
    return raw_png(mask, PALETTE)


def voc(root: Path, *, frames: int = 2, year: str = "VOCdevkit/VOC2012") -> Path:
    """Masks belong to the first image alone."""
    base = root / year
    names = [f"2007_{number:06d}" for number in range(frames)]
    jpegs(base, [f"JPEGImages/{name}.jpg" for name in names])
    for name in names:
        write(base / f"Annotations/{name}.xml", XML.format(name=name))
    write(base / f"SegmentationClass/{names[0]}.png", indices(0, 12))
    write(base / f"SegmentationObject/{names[0]}.png", indices(0, 1))
    for kind in ("Main", "Segmentation"):
        write(base / f"ImageSets/{kind}/train.txt", "".join(f"{name}\n" for name in names))
    return root


LAYOUTS: dict[str, Grow] = {"voc": voc}
