"""What Replicator's writers leave: RGBA photos, numbers that are times or not padded, structured arrays, 16 bits."""

import json
from pathlib import Path

import numpy as np

from sim2real.imageio import encode_jpeg
from tests.datasets.trees.common import Grow, Pixels, photo, raw_png, write

BOX = [("semanticId", "<u4"), ("x_min", "<i4"), ("y_min", "<i4"), ("x_max", "<i4"), ("y_max", "<i4")]
CLASSES = {
    "(0, 0, 0, 0)": {"class": "BACKGROUND"},
    "(0, 0, 0, 255)": {"class": "UNLABELLED"},
    "(140, 25, 255, 255)": {"class": "car"},
    "(255, 197, 25, 255)": {"class": "cone", "colour": "orange"},
}
PRIMS = {"(0, 0, 0, 0)": "BACKGROUND", "(0, 0, 0, 255)": "UNLABELLED", "(9, 8, 7, 255)": "/World/Car_01"}


def rgba(seed: int = 0) -> bytes:
    return raw_png(np.dstack((photo(seed), np.full((24, 32), 255, np.uint8))))


def halves(upper: Pixels | list[int] | int, lower: Pixels | list[int] | int, kind: type = np.uint8) -> bytes:
    """A PNG, one value, or colour, in its upper half and one in its lower."""
    pixels = np.full((24, 32, *np.shape(upper)), upper, kind)
    pixels[12:] = lower
    return raw_png(pixels)


def npy(path: Path, array: Pixels) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def annotate(folder: Path, stem: str, seed: int, *, nested: bool = False, product: str = "") -> None:
    """A frame as BasicWriter writes it: flat, in a folder by annotator, or with the product in the name."""

    def at(annotator: str, suffix: str, what: str = "") -> Path:
        name = f"{product}{annotator}{what}_{stem}.{suffix}"
        return folder / annotator / name if nested or product else folder / name

    write(at("rgb", "png"), rgba(seed))
    write(at("semantic_segmentation", "png"), halves([0, 0, 0, 0], [140, 25, 255, 255]))
    write(at("semantic_segmentation", "json", "_labels"), json.dumps(CLASSES))
    write(at("instance_segmentation", "png"), halves([0, 0, 0, 255], [9, 8, 7, 255]))
    write(at("instance_segmentation", "json", "_mapping"), json.dumps(PRIMS))
    write(at("instance_segmentation", "json", "_semantics_mapping"), json.dumps(CLASSES))
    metres = np.full((24, 32), 2.5, "<f4")
    metres[0] = np.inf
    npy(at("distance_to_image_plane", "npy"), metres)
    write(at("distance_to_image_plane", "png"), rgba(seed))
    npy(at("distance_to_camera", "npy"), metres[..., None] + 1)
    write(at("normals", "png"), rgba(seed))
    npy(at("bounding_box_2d_tight", "npy"), np.array([(0, 1, 2, 30, 20), (7, 3, 4, 5, 6)], BOX))
    write(at("bounding_box_2d_tight", "json", "_labels"), json.dumps({"0": {"class": "car"}, "7": {"class": "cone"}}))
    write(at("bounding_box_2d_tight", "json", "_prim_paths"), json.dumps(["/World/Car_01", "/World/Cone"]))
    npy(at("motion_vectors", "npy"), np.zeros((24, 32, 4), "<f4"))
    npy(at("pointcloud", "npy", "_rgb"), np.zeros((4, 4), np.uint8))
    write(at("camera_params", "json"), json.dumps({"renderProductResolution": [32, 24]}))


def replicator_basic(root: Path, *, frames: int = 2) -> Path:
    """One render product; the last frame has a time for a number."""
    for n in range(frames):
        annotate(root, f"{n:04d}" if n + 1 < frames else f"{n}.066667", n)
    write(root / "metadata.txt", json.dumps({"name": "BasicWriter", "version": "0.0.2"}))
    return root


def replicator_kitti(root: Path, *, frames: int = 2, standard: bool = False) -> Path:
    """Two cameras; numbers that are not padded, and in one camera quoted dictionaries."""
    rgb, boxes, colours, instances = (
        ("image_02", "label_02", "semantic_rgb", "instance")
        if standard
        else ("rgb", "object_detection", "semantic_segmentation", "instance_segmentation")
    )
    for camera, label in (("Camera_0", "car"), ("Camera 1", "\"{'class': 'traffic cone'}\"")):
        for n in range(9, 9 + frames):
            at = root / f"RenderProduct_{camera}" / camera
            write(at / f"{rgb}/{n}.png", rgba(n))
            write(at / f"semantic/{n}.png", halves(0, 26))
            write(at / f"{colours}/{n}.png", halves([0, 0, 0, 255], [0, 0, 142, 255]))
            write(at / f"{instances}/{n}.png", halves(26 * 256, 26 * 256 + 2, np.uint16))
            write(at / f"instance_rgb/{n}.png", halves([1, 2, 3, 255], [4, 5, 6, 255]))
            write(at / f"depth/{n}.png", halves(0, 640, np.uint16))
            write(at / f"{boxes}/{n}.txt", f"{label} 0.00 1 0.00 1 2 31 23{7 * ' 0.00'}\r\n")
    return root


def replicator_pose(root: Path, *, frames: int = 2) -> Path:
    for n in range(frames):
        write(root / f"{n:06d}.png", rgba(n))
        told = {"camera_data": {"intrinsics": {"fx": 32.0}}, "objects": [{"label": "mug", "visibility": 0.5}]}
        write(root / f"{n:06d}.json", json.dumps(told, indent=2))
        write(root / f"{n:06d}_overlay.png", rgba(n))
    return root


def replicator_mobilitygen(root: Path, *, frames: int = 2) -> Path:
    camera = "robot.front_camera.left"
    for n in range(frames):
        state = root / "2025-01-21T12-00-00/state"
        write(state / f"rgb/{camera}.rgb_image/{n:08d}.jpg", encode_jpeg(photo(n)))
        write(state / f"segmentation/{camera}.segmentation_image/{n:08d}.png", halves(1, 5, np.uint16))
        write(state / f"segmentation/{camera}.instance_id_segmentation_image/{n:08d}.png", halves(0, 300, np.uint16))
        write(state / f"depth/{camera}.depth_image/{n:08d}.png", halves(0, 16383, np.uint16))
        npy(state / f"normals/{camera}.normals_image/{n:08d}.npy", np.zeros((24, 32, 4), "<f4"))
        write(state / f"common/{n:08d}.npz", b"PK")
    write(root / "2025-01-21T12-00-00/occupancy_map/map.png", raw_png(np.full((4, 4), 254, np.uint8)))
    write(root / "2025-01-21T12-00-00/config.json", "{}")
    return root


LAYOUTS: dict[str, Grow] = {
    "replicator-basic": replicator_basic,
    "replicator-kitti": replicator_kitti,
    "replicator-pose": replicator_pose,
    "replicator-mobilitygen": replicator_mobilitygen,
}
