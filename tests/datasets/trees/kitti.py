"""The KITTI family."""

from pathlib import Path

import numpy as np

from tests.datasets.trees.common import CITYSCAPES_MASK, GREY16, MASK, RGB16, Grow, pngs, write

KITTI_IGNORED = "DontCare -1 -1 -10 1 2 3 4 -1 -1 -1 0 0 0 -10"
KITTI_BOX = "Car 0.00 0 1.85 387.63 181.54 423.81 203.12 1.67 1.87 3.69 -16.53 2.39 58.49 1.57"


def kitti_object(root: Path, *, frames: int = 2) -> Path:
    for split in ("training", "testing"):
        pngs(root, [f"{split}/image_{camera}/{frame:06d}.png" for camera in (2, 3) for frame in range(frames)])
        for frame in range(frames):
            write(root / f"{split}/calib/{frame:06d}.txt", "P0: 1 0 0 0\n")
            write(root / f"{split}/velodyne/{frame:06d}.bin", bytes(16))
    for frame in range(frames):
        write(root / f"training/label_2/{frame:06d}.txt", f"{KITTI_BOX}\n{KITTI_IGNORED}\n")
    write(root / "ImageSets/train.txt", "000000\n")
    return root


def kitti_raw(root: Path, *, frames: int = 2) -> Path:
    drive = "2011_09_26/2011_09_26_drive_0001_sync"
    pngs(root, [f"{drive}/image_0{camera}/data/{frame:010d}.png" for camera in (2, 3) for frame in range(frames)])
    pngs(root, [f"{drive}/image_00/data/{frame:010d}.png" for frame in range(frames)], CITYSCAPES_MASK)
    write(root / drive / "image_02/timestamps.txt", "2011-09-26 13:02:25.5\n")
    write(root / drive / "tracklet_labels.xml", "<x/>")
    write(root / "2011_09_26/calib_cam_to_cam.txt", "S_rect_02: 1242 375\n")
    return root


def kitti_odometry(root: Path, *, frames: int = 2) -> Path:
    for n in range(2):
        pngs(root, [f"sequences/0{n}/image_{camera}/{frame:06d}.png" for camera in (2, 3) for frame in range(frames)])
        write(root / f"sequences/0{n}/calib.txt", "P0: 1\n")
        write(root / f"sequences/0{n}/times.txt", "0\n0.1\n")
        write(root / f"poses/0{n}.txt", "1 0 0 0\n")
    return root


def kitti_tracking(root: Path, *, frames: int = 2) -> Path:
    for n in (0, 1):
        pngs(root, [f"training/image_0{camera}/000{n}/{frame:06d}.png" for camera in (2, 3) for frame in range(frames)])
        write(root / f"training/label_02/000{n}.txt", f"0 4 {KITTI_BOX}\n1 4 {KITTI_BOX}\n1 5 {KITTI_BOX}\n")
        write(root / f"training/calib/000{n}.txt", "P0: 1\n")
    return root


def kitti_flow2015(root: Path, *, frames: int = 2) -> Path:
    scenes = [f"{n:06d}" for n in range(frames // 2)]
    for split in ("training", "testing"):
        for camera in (2, 3):
            pngs(root, [f"{split}/image_{camera}/{scene}_1{frame}.png" for scene in scenes for frame in (0, 1)])
    for kind in ("occ", "noc"):
        pngs(root, [f"training/disp_{kind}_{n}/{scene}_10.png" for n in (0, 1) for scene in scenes], GREY16)
        pngs(root, [f"training/flow_{kind}/{scene}_10.png" for scene in scenes], RGB16)
    pngs(root, ["training/viz_flow_occ/000000_10.png"])
    return root


def kitti_semantics(root: Path, *, frames: int = 2) -> Path:
    pngs(root, [f"{split}/image_2/{n:06d}_10.png" for split in ("training", "testing") for n in range(frames)])
    pngs(root, [f"training/semantic/{n:06d}_10.png" for n in range(frames)], CITYSCAPES_MASK)
    instance = np.full((24, 32), 26 * 256 + 3, np.uint16)
    instance[:12] = 7 * 256
    pngs(root, [f"training/instance/{n:06d}_10.png" for n in range(frames)], instance)
    pngs(root, [f"training/semantic_rgb/{n:06d}_10.png" for n in range(frames)], MASK)
    return root


def kitti_depth(root: Path, *, frames: int = 2) -> Path:
    selection = root / "depth_selection"
    depth = np.full((24, 32), 2560, np.uint16)
    depth[::2] = 0
    for frame in range(frames):
        names = {
            kind: f"2011_09_26_drive_0002_sync_{kind}_{frame:010d}_image_0{2 + frame % 2}"
            for kind in ("image", "groundtruth_depth", "velodyne_raw")
        }
        pngs(selection / "val_selection_cropped/image", [f"{names['image']}.png"])
        for kind in ("groundtruth_depth", "velodyne_raw"):
            pngs(selection / "val_selection_cropped" / kind, [f"{names[kind]}.png"], depth)
        write(selection / f"val_selection_cropped/intrinsics/{names['image']}.txt", "1 0 0 0 1 0 0 0 1\n")
        pngs(selection / "test_depth_prediction_anonymous/image", [f"{frame:010d}.png"])
        pngs(selection / "test_depth_completion_anonymous/velodyne_raw", [f"{frame:010d}.png"], depth)
    return root


LAYOUTS: dict[str, Grow] = {
    "kitti-flow2015": kitti_flow2015,
    "kitti-raw": kitti_raw,
    "kitti-depth": kitti_depth,
    "kitti-odometry": kitti_odometry,
    "kitti-tracking": kitti_tracking,
    "kitti-semantics": kitti_semantics,
    "kitti-object": kitti_object,
}
