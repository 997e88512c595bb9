"""SYNTHIA: labels of 16 bits whose upper bytes are all 0, depth in three equal channels."""

from pathlib import Path

import numpy as np

from tests.datasets.trees.common import MASK, Grow, photo, pngs, raw_png, write

LABELS = np.zeros((24, 32, 3), np.uint16)
LABELS[..., 0] = 1
LABELS[12:, :, 0] = 15
LABELS[12:, :16, 0] = 8
LABELS[12:, :16, 1] = 300
DEPTH = np.full((24, 32, 3), 1234, np.uint16)
DEPTH[:12] = 65535


def synthia_rand(root: Path, *, frames: int = 2) -> Path:
    for frame in range(frames):
        name = f"{frame:07d}.png"
        write(root / f"RAND_CITYSCAPES/RGB/{name}", raw_png(photo(frame)))
        write(root / f"RAND_CITYSCAPES/GT/LABELS/{name}", raw_png(LABELS))
        write(root / f"RAND_CITYSCAPES/Depth/Depth/{name}", raw_png(DEPTH))
    pngs(root, [f"RAND_CITYSCAPES/GT/COLOR/{frame:07d}.png" for frame in range(frames)], MASK)
    write(root / "RAND_CITYSCAPES/README.txt", "SYNTHIA\n")
    return root


def synthia_seqs(root: Path, *, frames: int = 2) -> Path:
    for eye, view in (("Stereo_Left", "Omni_F"), ("Stereo_Right", "Omni_B")):
        folder = root / "SYNTHIA-SEQS-04-SUMMER"
        for frame in range(frames):
            name = f"{eye}/{view}/{frame:06d}"
            write(folder / f"RGB/{name}.png", raw_png(photo(frame)))
            write(folder / f"GT/LABELS/{name}.png", raw_png(LABELS))
            write(folder / f"Depth/{name}.png", raw_png(DEPTH))
            write(folder / f"CameraParams/{name}.txt", "1 0 0 0\n")
        pngs(folder, [f"GT/COLOR/{eye}/{view}/{frame:06d}.png" for frame in range(frames)], MASK)
    return root


LAYOUTS: dict[str, Grow] = {"synthia-rand": synthia_rand, "synthia-seqs": synthia_seqs}
