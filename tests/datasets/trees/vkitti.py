"""Virtual KITTI."""

from pathlib import Path

import numpy as np

from sim2real.imageio import encode_jpeg, encode_png
from tests.datasets.trees.common import GREY16, MASK, RGB16, Grow, photo, pngs, write

V2_TEXTS = {
    "colors.txt": "Category r g b\nTerrain 210 0 200\nSky 90 200 255\nCar 255 127 80\n",
    "info.txt": "trackID label model color\n0 Car Sedan4Door Grey\n3 Van Multi White\n",
    "bbox.txt": "frame cameraID trackID left right top bottom number_pixels truncation_ratio occupancy_ratio isMoving\n"
    "0 0 0 10 19 5 8 40 0 1.0 True\n0 1 0 8 17 5 8 40 0 1.0 True\n1 0 3 0 0 2 2 1 0.5 0.5 False\n",
    "pose.txt": "frame cameraID trackID alpha\n0 0 0 0.1\n",
    "extrinsic.txt": "frame cameraID r1,1\n0 0 1\n",
    "intrinsic.txt": "frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]\n0 0 725 725 16 12\n",
}


def vkitti2(
    root: Path, *, frames: int = 3, archives: bool = False, scene: str = "Scene01", variation: str = "clone"
) -> Path:
    """Two cameras with every kind of label."""

    def at(kind: str, place: str) -> Path:
        return root / (f"vkitti_2.0.3_{kind}" if archives else "") / scene / variation / place

    for camera in (0, 1):
        for frame in range(frames):

            def named(kind: str, stem: str, suffix: str = "png") -> Path:
                return at(kind, f"frames/{kind}/Camera_{camera}/{stem}_{frame:05d}.{suffix}")  # noqa: B023  used at once

            write(named("rgb", "rgb", "jpg"), encode_jpeg(photo(frame + frames * camera)))
            write(named("depth", "depth"), encode_png(GREY16))
            write(named("classSegmentation", "classgt"), encode_png(MASK))
            ids = np.full((24, 32), 1 + 3 * (frame > 0), np.uint8)
            write(named("instanceSegmentation", "instancegt"), encode_png(ids, palette=photo()[0]))
            if frame < frames - 1:
                write(named("forwardFlow", "flow"), encode_png(RGB16))
                write(named("forwardSceneFlow", "sceneFlow"), encode_png(RGB16))
            if frame > 0:
                write(named("backwardFlow", "backwardFlow"), encode_png(RGB16))
                write(named("backwardSceneFlow", "backwardSceneFlow"), encode_png(RGB16))
    for name, text in V2_TEXTS.items():
        write(at("textgt", name), text)
    write(root / "README.txt", "Virtual KITTI 2")
    return root


def vkitti1(root: Path, names: dict[str, str] | None = None, *, frames: int = 2) -> Path:
    """One video with every kind of label; ``names`` renames the folders of the archives."""
    names = names or {}

    def at(kind: str) -> Path:
        return root / names.get(kind, f"vkitti_1.3.1_{kind}")

    for kind, pixels in (("rgb", None), ("depthgt", GREY16), ("flowgt", RGB16), ("scenegt", MASK)):
        pngs(at(kind), [f"0001/clone/{frame:05d}.png" for frame in range(frames)], pixels)
        write(at(kind) / f"README_{kind}.txt", kind)
    table = "Category(:id) r g b\nTerrain 210 0 200\nCar:0 255 127 80\nCar:1 1 2 3\n"
    write(at("scenegt") / "0001_clone_scenegt_rgb_encoding.txt", table)
    header = (
        "frame tid label truncated occluded alpha l t r b w3d h3d l3d x3d y3d z3d ry rx rz truncr occupr orig_label "
        "moving model color"
    )
    row = "0 0 Car 0 0 -1.7 10 5 19 8 1.6 1.6 4.1 -4.2 2.2 30 -1.8 0 0 0.25 0.9 Car 0 Hatchback Red"
    write(at("motgt") / "0001_clone.txt", f"{header}\n{row}\n")
    write(at("extrinsicsgt") / "0001_clone.txt", "frame r1,1 r1,2\n0 1 0\n")
    return root


LAYOUTS: dict[str, Grow] = {"vkitti2": vkitti2, "vkitti1": vkitti1}
