"""TartanAir and TartanAir V2."""

import json
from pathlib import Path

import numpy as np

from tests.datasets.trees.common import Grow, Pixels, halves, npy, photo, pngs, raw_png, write

METRES = np.linspace(0.5, 400, 24 * 32, dtype=np.float32).reshape(24, 32)
METRES[0] = 10_000  # the sky
IDS = halves(3, 250)
MOTION = np.full((24, 32, 2), -2.5, np.float32)
MOTION[..., 1] = np.linspace(0, 7, 24 * 32).reshape(24, 32)
HIDDEN = np.zeros((24, 32), np.uint8)
HIDDEN[:2] = 100  # leads out of the image


def floats_as_png(values: Pixels) -> bytes:
    """The bytes of each float as blue, green, red and alpha."""
    return raw_png(np.ascontiguousarray(values, "<f4").view(np.uint8).reshape(*values.shape, 4)[..., [2, 1, 0, 3]])


def flow_as_png() -> bytes:
    """u in blue, v in green, the mask in red."""
    codes = np.rint(MOTION * 64 + 2**15).astype(np.uint16)
    return raw_png(np.stack((HIDDEN.astype(np.uint16), codes[..., 1], codes[..., 0]), axis=-1))


def tartanair(root: Path, *, frames: int = 2) -> Path:
    """An easy flight with everything, and a hard one with images alone; the environment's folder is there twice."""
    environment = root / "seasonsforest_winter/seasonsforest_winter"
    flight = environment / "Easy/P000"
    depth, ids, uv, mask = npy(METRES), npy(IDS), npy(MOTION), npy(HIDDEN)
    for side in ("left", "right"):
        pngs(flight, [f"image_{side}/{frame:06d}_{side}.png" for frame in range(frames)])
        pngs(environment, [f"Hard/P011/image_{side}/000000_{side}.png"])
        write(flight / f"pose_{side}.txt", "0 0 0 0 0 0 1\n" * frames)
        for frame in range(frames):
            write(flight / f"depth_{side}/{frame:06d}_{side}_depth.npy", depth)
            write(flight / f"seg_{side}/{frame:06d}_{side}_seg.npy", ids)
    for frame in range(frames - 1):
        write(flight / f"flow/{frame:06d}_{frame + 1:06d}_flow.npy", uv)
        write(flight / f"flow/{frame:06d}_{frame + 1:06d}_mask.npy", mask)
    return root


def tartanair_v2(root: Path, *, frames: int = 2) -> Path:
    """Two pinhole cameras and a fisheye of a flight, and the front camera of a robot's drive."""
    environment = root / "OldTownNight"
    flight = environment / "Data_easy/P000"
    depth, ids, flow = floats_as_png(METRES), raw_png(IDS), flow_as_png()
    for camera in ("lcam_front", "rcam_front", "lcam_fish"):
        pngs(flight, [f"image_{camera}/{frame:06d}_{camera}.png" for frame in range(frames)])
        for frame in range(frames):
            write(flight / f"depth_{camera}/{frame:06d}_{camera}_depth.png", depth)
            write(flight / f"seg_{camera}/{frame:06d}_{camera}_seg.png", ids)
        write(flight / f"pose_{camera}.txt", "0 0 0 0 0 0 1\n" * frames)
    for frame in range(frames - 1):
        write(flight / f"flow_lcam_front/{frame:06d}_{frame + 1:06d}_flow.png", flow)
    write(flight / "image_lcam_front.mp4", bytes(8))
    write(flight / "events/events.h5", bytes(8))
    write(flight / "imu/acc.npy", npy(np.zeros(3)))
    drive = environment / "Data_omni/P0000"
    write(drive / "image_lcam_front/000000_lcam_front.png", raw_png(photo(9)))
    write(drive / "lidar/000000_lcam_front_lidar.ply", "ply\n")
    write(environment / "OldTownNight_rgb.pcd", "pcd\n")
    write(environment / "OldTownNight_sem.pcd", "pcd\n")
    write(environment / "seg_label_map.json", json.dumps({"name_map": {"sky": 3, "brick wall": 250}}))
    return root


LAYOUTS: dict[str, Grow] = {"tartanair-v2": tartanair_v2, "tartanair": tartanair}
