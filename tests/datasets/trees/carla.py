"""What CARLA's exporters write. PNGs are written by hand: RGBA and numbers packed into colours are the traps."""

import gzip
import json
from pathlib import Path

import numpy as np

from sim2real.imageio import encode_jpeg
from tests.datasets.trees.common import Grow, halves, photo, raw_png, write

NEAR = 12_345  # of 24 bits, in the upper half of depth images; the lower half is the sky
ROAD_AND_CAR_OLD = (7, 10)  # in the upper and the lower half
ROAD_AND_CAR_NEW = (1, 14)
PACKED_RUNS = {"17": "0`1`f0", "4": "6b0Xg0"}  # all of two columns; the first of them below its sixth row


def packed(number: int, *alpha: int) -> tuple[int, ...]:
    return (number & 255, number >> 8 & 255, number >> 16, *alpha)


def packed_json(content: object) -> bytes:
    return gzip.compress(json.dumps(content).encode(), mtime=0)


DEPTH = raw_png(halves(packed(NEAR), packed(2**24 - 1)))
DEPTH_RGBA = raw_png(halves(packed(NEAR, 255), packed(2**24 - 1, 255)))


def bench2drive(root: Path, *, frames: int = 2) -> Path:
    """One clip; the first frame of the camera at the back lacks its instances."""
    clip = root / "Accident_Town03_Route101_Weather23"
    semantic = raw_png(halves(*ROAD_AND_CAR_NEW))
    instance = raw_png(halves((1, 0, 0, 255), (14, 0x34, 0x12, 255)))
    depth = raw_png(halves(8, 255))
    for frame in range(frames):
        for seed, view in enumerate(("front", "back", "back_left")):
            write(clip / f"camera/rgb_{view}/{frame:05d}.jpg", encode_jpeg(photo(3 * frame + seed)))
            write(clip / f"camera/semantic_{view}/{frame:05d}.png", semantic)
            write(clip / f"camera/depth_{view}/{frame:05d}.png", depth)
            if (frame, view) != (0, "back"):
                write(clip / f"camera/instance_{view}/{frame:05d}.png", instance)
        write(clip / f"camera/rgb_top_down/{frame:05d}.jpg", encode_jpeg(photo(frame)))
        write(clip / f"anno/{frame:05d}.json.gz", packed_json({"weather": {"cloudiness": 90}, "bounding_boxes": []}))
        write(clip / f"lidar/{frame:05d}.laz", b"LASF")
        write(clip / f"radar/{frame:05d}.h5", b"\x89HDF")
        write(clip / f"expert_assessment/{frame - 1:05d}.npz", b"PK")
    return root


def garage(root: Path, *, frames: int = 2) -> Path:
    """Two routes, the second without masks and depth; the agent's view of a step."""
    tags, depth = raw_png(halves(*ROAD_AND_CAR_OLD)), raw_png(halves(51, 255))
    for seed, route in enumerate((root / "Town01/route a", root / "Town02/route_b")):
        for frame in range(frames):
            for camera in ("rgb", "rgb_augmented"):
                write(route / f"{camera}/{frame:04d}.jpg", encode_jpeg(photo(2 * frame + seed)))
            write(route / f"boxes/{frame:04d}.json.gz", packed_json([{"class": "ego_car"}]))
            write(route / f"measurements/{frame:04d}.json.gz", packed_json({"speed": 1.0}))
            write(route / f"bev_semantics/{frame:04d}.png", raw_png(np.zeros((4, 4), np.uint8)))
            write(route / f"lidar/{frame:04d}.laz", b"LASF")
            if not seed:
                write(route / f"semantics/{frame:04d}.png", tags)
                write(route / f"depth/{frame:04d}.png", depth)
        write(route / "results.json.gz", packed_json({}))
    write(root / "Town01/route a/semantics_augmented/0000.png", tags)
    write(root / "Town01/route a/0000.jpg", encode_jpeg(photo(9)))
    return root


def opv2v(root: Path, *, frames: int = 2) -> Path:
    """A car and a roadside unit, whose number is negative and whose camera 3 is missing; numbers go up by two."""
    scenario = "2021_08_22_21_41_24"
    for vehicle, cameras in (("1732", 4), ("-1", 3)):
        for frame in range(69, 69 + 2 * frames, 2):
            at = root / f"train/{scenario}/{vehicle}/{frame:06d}"
            for camera in range(cameras):
                write(at.with_name(f"{at.name}_camera{camera}.png"), raw_png(photo(frame + camera)))
            write(at.with_suffix(".yaml"), "lidar_pose: [0, 0, 0]\nvehicles: {}\n")
            write(at.with_suffix(".pcd"), "# .PCD v0.7\n")
    write(root / f"train/{scenario}/data_protocol.yaml", "world: {weather: {sun_altitude_angle: 15}}\n")
    for kind in ("dynamic", "visibility", "vis"):
        path = root / f"additional/train/{scenario}/1732/000069_bev_{kind}.png"
        write(path, raw_png(np.zeros((8, 8), np.uint8)))
    return root


def shift(root: Path, *, frames: int = 2) -> Path:
    """Two views; of one the masks and the flow are still packed."""
    view, sequence = root / "discrete/images/train/front", "003d-7aaa"
    tags = raw_png(halves((7, 0, 0, 255), (10, 0, 0, 255)))
    listed: list[object] = []
    masks: list[object] = []
    for number in range(0, 10 * frames, 10):
        name = f"{number:08d}_img_front.jpg"
        write(view / f"img/{sequence}/{name}", encode_jpeg(photo(number)))
        write(view / f"semseg/{sequence}/{number:08d}_semseg_front.png", tags)
        write(view / f"depth/{sequence}/{number:08d}_depth_front.png", DEPTH)
        write(view / f"flow/{sequence}/{number:08d}_flow_front.npz", b"PK")
        box = {"x1": 4.0, "y1": 5.0, "x2": 9.0, "y2": 19.5}
        car = {"id": "17", "category": "car", "attributes": {"ego": False}, "box2d": box}
        labels = [car, {"id": "x", "category": "pedestrian", "box2d": None}] if number else None
        frame = {"name": name, "videoName": sequence, "attributes": {"weather_coarse": "rainy"}}
        listed.append({**frame, "labels": labels})
        runs = [{"id": track, "rle": {"size": [24, 32], "counts": runs}} for track, runs in PACKED_RUNS.items()]
        masks.append({**frame, "labels": runs if number else None})
        side = root / "discrete/images/train/left_45"
        write(side / f"img/{sequence}/{number:08d}_img_left_45.jpg", encode_jpeg(photo(number + 1)))
    write(view / "det_2d.json", json.dumps({"frames": listed, "config": None}, indent=1))
    write(view / "det_insseg_2d.json", json.dumps(masks))
    write(view / "det_3d.json", '{"frames": []}')
    write(view / "seq.csv", "video,start_weather_coarse\n003d-7aaa,rainy\n")
    for part in ("img.zip", "semseg.zip", "flow.zip"):
        write(root / "discrete/images/train/left_45" / part, b"PK")
    write(root / "discrete/images/train/center/lidar.zip", b"PK")
    return root


def data_collector(root: Path, *, frames: int = 2) -> Path:
    """An episode of three cameras with masks and depth, and one of a single camera without; names in several cases."""
    tags = raw_png(halves((7, 0, 0), (10, 0, 0)))
    first, second = root / "episode_00000", root / "Episode_00001"
    for frame in range(frames):
        for seed, camera in enumerate(("Central", "Left", "Right")):
            write(first / f"{camera}RGB_{frame:05d}.png", raw_png(photo(3 * frame + seed)))
            write(first / f"{camera}SemanticSeg_{frame:05d}.png", tags)
            write(first / f"{camera.lower()}Depth_{frame:05d}.png", DEPTH)
        write(second / f"CameraRGB_{frame:05d}.png", raw_png(photo(frame)))
        write(first / f"Lidar32_{frame:05d}.ply", "ply\n")
        for episode in (first, second):
            write(episode / f"measurements_{frame:05d}.json", json.dumps({"stop_traffic_lights": 1.0}))
    for folder in (root, first, second):
        write(folder / "metadata.json", json.dumps({"weather": 3}))
    write(first / "processed2", "")
    return root


def kitti_carla(root: Path, *, frames: int = 2) -> Path:
    """A town, every PNG RGBA; the last frame of the right camera lacks its depth."""
    town = root / "Town01/generated"
    colours = raw_png(halves((128, 64, 128, 255), (1, 2, 3, 255)))
    for frame in range(frames):
        for camera in range(2):
            rgba = np.dstack([photo(2 * frame + camera), np.full((24, 32), 255, np.uint8)])
            write(town / f"images_rgb/{frame:04d}_{camera}.png", raw_png(rgba))
            write(town / f"images_ss/{frame:04d}_1{camera}.png", colours)
            if (frame, camera) != (frames - 1, 1):
                write(town / f"images_depth/{frame:04d}_2{camera}.png", DEPTH_RGBA)
        write(town / f"frames/frame_{frame:04d}.ply", "ply\n")
    for name in ("full_ts_camera", "full_poses_lidar", "lidar_to_cam0"):
        write(town / f"{name}.txt", "# 0\n")
    write(town / "screenshot.png", raw_png(photo(99)))
    return root


def data_export(root: Path, *, frames: int = 2) -> Path:
    """carla-data-export: KITTI's object layout under a folder of its own, with planes."""
    phase = root / "_out/training"
    for frame in range(frames):
        write(phase / f"image_2/{frame:06d}.png", raw_png(photo(frame)))
        write(phase / f"calib/{frame:06d}.txt", "P0: 1 0 0 0\n")
        write(phase / f"planes/{frame:06d}.txt", "# Plane\n")
        write(phase / f"velodyne/{frame:06d}.bin", bytes(16))
        write(phase / f"label_2/{frame:06d}.txt", "Car 0 0 0 1 2 3 4 1 1 1 0 0 9 0\n")
    for name in ("train", "val", "trainval"):
        write(phase / f"{name}.txt", "000000\n")
    return root


LAYOUTS: dict[str, Grow] = {
    "carla-bench2drive": bench2drive,
    "carla-garage": garage,
    "carla-opv2v": opv2v,
    "carla-shift": shift,
    "carla-data-collector": data_collector,
    "carla-kitti": kitti_carla,
}
