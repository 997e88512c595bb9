"""NOCS: CAMERA, whose depth lies in colours, and REAL275, whose depth has 16 bits."""

from pathlib import Path

import numpy as np

from tests.datasets.trees.common import Grow, halves, photo, pngs, raw_png, write

META = "1 3 02942699 2b5ba8\n2 0 scene mesh\n"


def nocs(root: Path, *, frames: int = 2) -> Path:
    for folder, real in (("val/00000", False), ("real_test/scene_1", True)):
        for number in range(frames):
            base = root / folder
            stem = f"{number:04d}"
            pngs(base, [f"{stem}_color.png"])
            write(base / f"{stem}_coord.png", raw_png(photo(number + 5)))
            mask = halves(255, 1)
            mask[20:] = 2
            write(base / f"{stem}_mask.png", raw_png(mask if real else np.dstack([mask] * 3 + [mask * 0 + 255])))
            depth = halves(0, 1537, np.uint16)
            coded = np.dstack([depth % 256, depth // 256, depth * 0, depth * 0 + 255]).astype(np.uint8)
            write(base / f"{stem}_depth.png", raw_png(depth if real else coded))
            write(base / f"{stem}_meta.txt", META)
    write(root / "camera_full_depths/val/00000/0000_composed.png", raw_png(photo(3)))
    return root


LAYOUTS: dict[str, Grow] = {"nocs": nocs}
