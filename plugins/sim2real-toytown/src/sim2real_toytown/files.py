"""One frame on disk: its images and its rows of the text files, as in Virtual KITTI 2.0.3."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sim2real.imageio import encode_jpeg, encode_png
from sim2real_toytown.labels import encode_flow, encode_scene_flow, object_pose
from sim2real_toytown.render import Frame, Look, render_frame
from sim2real_toytown.shapes import Label

VARIATION = "clone"

#: Colours of the classes, as in Virtual KITTI 2's colors.txt.
CLASS_COLOURS: dict[Label, tuple[int, int, int]] = {
    Label.Terrain: (210, 0, 200),
    Label.Sky: (90, 200, 255),
    Label.Tree: (0, 199, 0),
    Label.Vegetation: (90, 240, 0),
    Label.Building: (140, 140, 140),
    Label.Road: (100, 60, 100),
    Label.GuardRail: (250, 100, 255),
    Label.TrafficSign: (255, 255, 0),
    Label.TrafficLight: (200, 200, 0),
    Label.Pole: (255, 130, 0),
    Label.Misc: (80, 80, 80),
    Label.Truck: (160, 60, 60),
    Label.Car: (255, 127, 80),
    Label.Van: (0, 139, 139),
    Label.Undefined: (0, 0, 0),
}

HEADERS = {
    "intrinsic": "frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]",
    "extrinsic": "frame cameraID r1,1 r1,2 r1,3 t1 r2,1 r2,2 r2,3 t2 r3,1 r3,2 r3,3 t3 0 0 0 1",
    "bbox": "frame cameraID trackID left right top bottom number_pixels truncation_ratio occupancy_ratio isMoving",
    "pose": "frame cameraID trackID alpha width height length world_space_X world_space_Y world_space_Z "
    "rotation_world_space_y rotation_world_space_x rotation_world_space_z camera_space_X camera_space_Y "
    "camera_space_Z rotation_camera_space_y rotation_camera_space_x rotation_camera_space_z",
}


@dataclass(frozen=True)
class Shot:
    """One frame to render, and its place on disk."""

    root: Path
    look: Look
    size: tuple[int, int]
    seed: int
    scene: int
    camera: int
    time: int
    is_last: bool
    labels: bool
    archives: bool

    def folder(self, kind: str) -> Path:
        """Return the folder of the scene's files of a kind; the kind of the text files is `textgt`."""
        outer = self.root / f"vkitti_2.0.3_{kind}" if self.archives else self.root
        return outer / f"Scene{self.scene:02d}" / VARIATION

    def path(self, kind: str, stem: str, extension: str) -> Path:
        """Return the path of an image of this frame; `stem` is the part of the file name before the number."""
        name = f"{stem}_{self.time:05d}.{extension}"
        return self.folder(kind) / "frames" / kind / f"Camera_{self.camera}" / name


@dataclass(frozen=True)
class Rows:
    """The rows of a frame in the text files."""

    text: dict[str, list[str]]
    track_ids: tuple[int, ...]


# images


def write_shot(shot: Shot) -> Rows:
    """Render the frame and write its images."""
    frame = render_frame(
        shot.time,
        look=shot.look,
        size=shot.size,
        seed=shot.seed,
        scene=shot.scene,
        camera=shot.camera,
        forward=shot.labels and not shot.is_last,
        backward=shot.labels and shot.time > 0,
        boxes=shot.labels,
    )
    _save(shot.path("rgb", "rgb", "jpg"), encode_jpeg(frame.rgb))
    if not shot.labels:
        return Rows({}, ())
    classes = np.array([CLASS_COLOURS[label] for label in Label], np.uint8)
    _save(shot.path("depth", "depth", "png"), encode_png(frame.depth))
    _save(shot.path("classSegmentation", "classgt", "png"), encode_png(classes[frame.classes]))
    instances = encode_png(frame.instances, palette=_instance_colours())
    _save(shot.path("instanceSegmentation", "instancegt", "png"), instances)
    for motion, way, flow, scene in (
        (frame.forward, "forward", "flow", "sceneFlow"),
        (frame.backward, "backward", "backwardFlow", "backwardSceneFlow"),
    ):
        if motion:
            scene_flow = encode_scene_flow(motion.scene_flow, motion.valid)
            _save(shot.path(f"{way}Flow", flow, "png"), encode_png(encode_flow(motion.flow, motion.valid)))
            _save(shot.path(f"{way}SceneFlow", scene, "png"), encode_png(scene_flow))
    return Rows(_text_rows(shot, frame), tuple(frame.boxes))


def _save(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _instance_colours() -> NDArray[np.uint8]:
    """Return the palette of instance images; index 0 (no instance) is black."""
    colours = np.random.default_rng(0).integers(40, 256, (256, 3), np.uint8)
    colours[0] = 0
    return colours


# text


def _text_rows(shot: Shot, frame: Frame) -> dict[str, list[str]]:
    camera = frame.camera
    rows: dict[str, list[str]] = {
        "intrinsic": [_row(shot, camera.focal, camera.focal, *camera.principal)],
        "extrinsic": [_row(shot, *camera.extrinsic.ravel().tolist())],
        "bbox": [],
        "pose": [],
    }
    for track_id, box in frame.boxes.items():
        placed = frame.vehicles[track_id]
        sides = box.left, box.right, box.top, box.bottom, box.number_pixels
        ratios = box.truncation_ratio, box.occupancy_ratio
        rows["bbox"].append(_row(shot, track_id, *sides, *ratios) + f" {placed.lane.is_moving}")
        pose = object_pose(camera, placed)
        where = *pose.world, *pose.world_rotation, *pose.camera, *pose.camera_rotation
        rows["pose"].append(_row(shot, track_id, pose.alpha, *pose.size, *where))
    return rows


def _row(shot: Shot, *values: float) -> str:
    return " ".join([str(shot.time), str(shot.camera), *(f"{value + 0.0:.9g}" for value in values)])
