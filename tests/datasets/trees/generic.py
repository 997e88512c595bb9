"""Folders of images alone."""

from pathlib import Path

from tests.datasets.trees.common import Grow, jpegs, pngs, write


def cyclegan(root: Path, *, frames: int = 2) -> Path:
    jpegs(root, [f"{split}{side}/{n}.jpg" for split in ("train", "test") for side in "AB" for n in range(frames)])
    return root


def kaggle_monet(root: Path, *, frames: int = 2) -> Path:
    jpegs(root, [*(f"monet_jpg/{n}.jpg" for n in range(frames)), *(f"photo_jpg/{n}.jpg" for n in range(frames + 1))])
    for kind in ("monet", "photo"):
        write(root / f"{kind}_tfrec/{kind}00-1.tfrec", b"records")
    return root


def images(root: Path, *, frames: int = 2) -> Path:
    jpegs(root, ["one.jpg", "deep/er/two.JPEG", *(f"deep/{n}.jpg" for n in range(2, frames))])
    pngs(root, ["three.png"])
    write(root / "metadata.csv", "file_name\none.jpg\n")
    return root


LAYOUTS: dict[str, Grow] = {"cyclegan": cyclegan, "kaggle-monet": kaggle_monet, "images": images}
