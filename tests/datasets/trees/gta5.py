"""GTA5: two parts that were unpacked apart, with names in mixed case; one label has no image, another no palette."""

from pathlib import Path

import numpy as np

from tests.datasets.trees.common import Grow, photo, raw_png, write

IDS = np.full((24, 32), 7, np.uint8)
IDS[:, 30:] = 34
# the colours say nothing: they are those of no class in place 7
PALETTE = np.full((35, 3), 99, np.uint8)


def gta5(root: Path, *, frames: int = 2) -> Path:
    label = raw_png(IDS, PALETTE)
    for part in ("01", "02"):
        for frame in range(frames):
            number = (int(part) - 1) * frames + frame + 1
            write(root / f"{part}_images/Images/{number:05d}.png", raw_png(photo(number)))
            write(root / f"{part}_labels/labels/{number:05d}.png", label)
    write(root / "02_labels/labels/99999.png", label)
    write(root / "read_mapping/mapping.mat", b"MATLAB 5.0")
    return root


LAYOUTS: dict[str, Grow] = {"gta5": gta5}
