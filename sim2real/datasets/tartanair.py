"""TartanAir, TartanAir V2 and TartanGround: flights and drives through environments that AirSim rendered.

Layouts and codings: castacks/tartanair_tools, README.md, data_type.md and processing/flow_generate; for V2
castacks/tartanairpy, docs/modalities.rst, docs/tartanground.rst, tartanair/reader.py and tartanair/customizer.py.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from sim2real.datasets.airsim import FAR
from sim2real.datasets.base import Frame, Match, PathMatch, Role, Tree
from sim2real.datasets.facts import Facts
from sim2real.datasets.labels import Depth, Distance, Flow, Label, Segmentation, read_index_mask
from sim2real.datasets.layout import Beside, Decoders, FolderLayout
from sim2real.datasets.readers import (
    find_above,
    in_metres,
    of_shape,
    read_array,
    read_json,
    remembered,
    telling,
)
from sim2real.datasets.resizing import KEEP, NEAREST, TARTANAIR_FLOW, Intrinsics
from sim2real.datasets.resizing_documents import ARRAY, ARRAY_FLOW
from sim2real.errors import ImageError
from sim2real.imageio import read_label


def _map(path: Path) -> NDArray[Any]:
    return of_shape(read_array(path), (None, None), path)


def _flow(uv: NDArray[np.floating], mask: NDArray[np.integer]) -> Flow:
    """Motion in pixels; the mask is 0 where a pixel is seen in both images."""
    valid = (mask == 0) & np.isfinite(uv).all(axis=-1)
    return Flow(np.where(valid[..., None], uv, 0).astype(np.float32), valid)


def _read_depth(path: Path) -> Depth:
    return Depth(in_metres(_map(path), FAR))


def _read_segmentation(path: Path) -> Segmentation:
    """Numbers of meshes, which differ between environments; nobody has published their names."""
    return Segmentation(_map(path).astype(np.int32), {})


def _read_flow(path: Path) -> Flow:
    """000000_000001_flow.npy, and the mask beside it if that was downloaded too."""
    uv = of_shape(read_array(path), (None, None, 2), path)
    mask = path.with_name(re.sub(r"_flow(?=\.npy$)", "_mask", path.name, flags=re.IGNORECASE))
    return _flow(uv, _map(mask) if mask.exists() else np.zeros(uv.shape[:2], np.uint8))


class TartanAir(FolderLayout):
    """TartanAir: abandonedfactory/Easy/P000/image_left/000000_left.png."""

    name = "tartanair"
    facts = Facts(
        title="TartanAir",
        about=(
            "Over 1,000 flights of a stereo camera through 30 environments, indoors and outdoors, in all seasons, for "
            "visual odometry and SLAM."
        ),
        size="Images of 640x480, several hundred to several thousand of each camera in a flight; up to 3 TB in all.",
        get="`download_training.py` of <https://github.com/castacks/tartanair_tools>; take `--rgb` and what you need.",
        tree=(
            "abandonedfactory/Easy/P000/image_left/000000_left.png\n"
            "abandonedfactory/Easy/P000/depth_left/000000_left_depth.npy\n"
            "abandonedfactory/Easy/P000/seg_left/000000_left_seg.npy\n"
            "abandonedfactory/Easy/P000/flow/000000_000001_{flow,mask}.npy\n"
            "abandonedfactory/Easy/P000/pose_left.txt\n"
            "abandonedfactory/Easy/P000/{image,depth,seg}_right/...\n"
            "..."
        ),
        labels={
            "depth": "metres to the camera's plane",
            "segmentation": "numbers of meshes without names, other ones in each environment",
            "flow": "pixels, of the left camera",
        },
        licence="as <https://theairlab.org/tartanair-dataset> says; the tools that read it are BSD 3-Clause",
        irregularities=(
            "The sky is a sphere some 10 km away: from 10,000 m on there is no depth.",
            "Without its mask, which is another download, flow is valid everywhere, also where it leads behind things.",
            "A flight whose folder has another name is known by `pose_left.txt` or by its depth or masks.",
            "The archives unpack to a folder of the environment's name twice, one in the other; that does not matter.",
        ),
        folder="tartanair",
    )
    rule = "image_left/<frame>_left.png in a folder P<nnn>, or with pose_left.txt or depth_left"
    images = (r"image_(?P<side>left|right)", r"(?P<frame>\d+)_(?:left|right)\.(?:png|jpe?g)")
    labels: ClassVar[Beside] = {
        "depth": ("depth_{side}", r"(?P<frame>\d+)_(?:left|right)_depth\.npy"),
        "segmentation": ("seg_{side}", r"(?P<frame>\d+)_(?:left|right)_seg\.npy"),
        "flow": ("flow", r"(?P<frame>\d+)_\d+_flow\.npy"),
    }
    decoders: ClassVar[Decoders] = {
        "depth": _read_depth,
        "segmentation": _read_segmentation,
        "flow": _read_flow,
    }
    resizing = (
        (r"(?:^|/)(?:(?:depth|seg)_(?:left|right)/\d+_\w+|flow/\d+_\d+_mask)\.npy$", ARRAY),
        (r"(?:^|/)flow/\d+_\d+_flow\.npy$", ARRAY_FLOW),
        (r"(?:^|/)pose_(?:left|right)\.txt$", KEEP),
    )
    intrinsics: ClassVar[Intrinsics] = {(640, 480): (320, 320, 320, 240)}
    roles = (
        (r"(?:^|/)(?:(?:depth|seg)_(?:left|right)/\d+_\w+|flow/\d+_\d+_(?:flow|mask))\.npy$", Role.LABEL),
        (r"(?:^|/)pose_(?:left|right)\.txt$", Role.AUX),
    )
    consecutive = True
    _FLIGHT: ClassVar = (
        (r"(?:P\d+|S[EH]\d+)/image_(?:left|right)", r"\d+_(?:left|right)\.(?:png|jpe?g)"),
        (r"(?:depth|seg)_(?:left|right)", r"\d+_(?:left|right)_(?:depth|seg)\.npy"),
        (r"[^/]+", r"pose_(?:left|right)\.txt"),
    )

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Images in the folder of a flight, or, if it is called otherwise, beside what else a flight has."""
        match = super().recognise(tree)
        return match if match and any(next(tree.find(*row), None) for row in cls._FLIGHT) else None

    def labels_of(self, tree: Tree, folder: PathMatch) -> Mapping[str, Mapping[str, str]]:
        """The flow is that of the left camera."""
        labels = super().labels_of(tree, folder)
        return labels if folder["side"].lower() == "left" else {**labels, "flow": {}}


_PINHOLES: Final = ("front", "right", "back", "left", "top", "bottom")


def _read_floats(path: Path) -> NDArray[np.float32]:
    """Floats of 32 bits, the lowest byte first, in the channels blue, green, red and alpha."""
    pixels = read_label(path)
    if pixels.ndim != 3 or pixels.shape[2] != 4 or pixels.dtype != np.uint8:
        message = f"{path}: floats are stored as RGBA of 8 bits; this is {pixels.dtype} {pixels.shape}"
        raise ImageError(message)
    return np.ascontiguousarray(pixels[..., [2, 1, 0, 3]]).view("<f4")[..., 0]


def _read_packed_depth(path: Path) -> Depth:
    return Depth(in_metres(_read_floats(path), FAR))


def _read_packed_distance(path: Path) -> Distance:
    return Distance(in_metres(_read_floats(path), FAR))


def _read_packed_flow(path: Path) -> Flow:
    """16 bits: u in blue, v in green, both ``(value - 2^15) / 64``, the mask in red."""
    pixels = read_label(path)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint16:
        message = f"{path}: flow is stored as RGB of 16 bits; this is {pixels.dtype} {pixels.shape}"
        raise ImageError(message)
    return _flow((pixels[..., [2, 1]].astype(np.float32) - 2**15) / 64, pixels[..., 0])


class TartanAirV2(FolderLayout):
    """TartanAir V2 and TartanGround: AbandonedCable/Data_easy/P000/image_lcam_front/000000_lcam_front.png."""

    name = "tartanair-v2"
    facts = Facts(
        title="TartanAir V2, TartanGround",
        about=(
            "Flights through 65 environments, and drives of ground robots through 63, seen by twelve cameras that look "
            "to all sides, with LiDAR, IMU and events."
        ),
        size="Images of 640x640 of twelve cameras at 10 Hz; TartanGround alone has 17.3 million in about 16 TB.",
        get="`pip install tartanair`, as <https://tartanair.org> says; take `image` and what you need.",
        tree=(
            "AbandonedCable/seg_label_map.json\n"
            "AbandonedCable/Data_{easy,hard}/P000/image_lcam_front/000000_lcam_front.png\n"
            "AbandonedCable/Data_{easy,hard}/P000/depth_lcam_front/000000_lcam_front_depth.png\n"
            "AbandonedCable/Data_{easy,hard}/P000/seg_lcam_front/000000_lcam_front_seg.png\n"
            "AbandonedCable/Data_{easy,hard}/P000/flow_lcam_front/000000_000001_flow.png\n"
            "AbandonedCable/Data_{easy,hard}/P000/pose_lcam_front.txt\n"
            "AbandonedCable/Data_{omni,diff,anymal}/P0000/...\n"
            "..."
        ),
        labels={
            "depth": "metres to the camera's plane, of the pinhole cameras",
            "distance": "metres along the ray, of the fisheye, equirectangular and custom cameras",
            "segmentation": "classes, named by the environment's seg_label_map.json",
            "flow": "pixels, of trajectories that were downloaded while it was offered",
        },
        licence="CC BY 4.0: name the authors, and that the images were changed",
        irregularities=(
            "Depth is a float of 32 bits in the four channels of a PNG: what drops or blends alpha destroys it.",
            "The sky is very far away: from 10,000 m on there is no depth.",
            "Fisheye and equirectangular images are other projections: train and convert them apart (`--include`).",
            "Flow that the package computes itself (.npz) is carried, not decoded.",
            "Events and videos were made of the old pixels.",
        ),
        folder="tartanair",
    )
    rule = "image_<camera>/<frame>_<camera>.png of the cameras lcam_front, rcam_fish, ..."
    images = (r"image_(?P<camera>[lr]cam_(?P<lens>\w+))", r"(?P<frame>\d+)_[lr]cam_\w+\.(?:png|jpe?g)")
    labels: ClassVar[Beside] = {
        "depth": ("depth_{camera}", r"(?P<frame>\d+)_[lr]cam_\w+\.png"),
        "distance": ("depth_{camera}", r"(?P<frame>\d+)_[lr]cam_\w+\.png"),
        "segmentation": ("seg_{camera}", r"(?P<frame>\d+)_[lr]cam_\w+\.png"),
        "flow": ("flow_{camera}", r"(?P<frame>\d+)_\d+_flow\.png"),
    }
    decoders: ClassVar[Decoders] = {
        "depth": _read_packed_depth,
        "distance": _read_packed_distance,
        "flow": _read_packed_flow,
    }
    resizing = (
        (r"(?:^|/)(?:depth|seg)_[lr]cam_\w+/\d+_\w+\.png$", NEAREST),
        (r"(?:^|/)flow_[lr]cam_\w+/\d+_\d+_flow\.png$", TARTANAIR_FLOW),
        (r"(?:^|/)(?:imu|lidar)/|(?:^|/)pose_[lr]cam_\w+\.txt$|(?:^|/)seg_label(?:_map)?\.json$|_sem\.pcd$", KEEP),
    )
    roles = (
        (r"(?:^|/)(?:depth|seg)_[lr]cam_\w+/\d+_\w+\.png$", Role.LABEL),
        (r"(?:^|/)flow_[lr]cam_\w+/\d+_\d+_\w+\.(?:png|npz)$|_sem\.pcd$", Role.LABEL),
        (r"(?:^|/)events\w*/|\.mp4$|_rgb\.pcd$", Role.STALE),
        (r"(?:^|/)(?:imu|lidar)/|(?:^|/)pose_[lr]cam_\w+\.txt$", Role.AUX),
        (r"(?:^|/)(?:seg_label(?:_map)?|\w*metadata|camera_model_params_\w+)\.json$", Role.AUX),
    )
    consecutive = True

    def labels_of(self, tree: Tree, folder: PathMatch) -> Mapping[str, Mapping[str, str]]:
        """How far things are is told to the plane by the pinhole cameras, along the ray by all others."""
        labels = super().labels_of(tree, folder)
        other = "distance" if folder["lens"].lower() in _PINHOLES else "depth"
        return {kind: paths for kind, paths in labels.items() if kind != other}

    def load_label(self, frame: Frame, kind: str) -> Label:
        """Decode one label; the names of classes stand in the nearest table around it, if it was downloaded."""
        if kind == "segmentation":
            path = self.root / frame.labels[kind]
            table = find_above(path, "seg_label_map.json", self.root)
            return read_index_mask(path, names=_label_map(table) if table else {})
        return super().load_label(frame, kind)

    def warnings(self, tree: Tree) -> Iterator[str]:
        """Images that are not a pinhole camera's."""
        lenses = {folder["lens"].lower() for folder in tree.find_folders(self.images[0])}
        if len(lenses) > 1 and (others := sorted(lenses.difference(_PINHOLES))):
            yield f"{', '.join(others)}: other projections than the pinhole cameras'; train and convert them apart"


@remembered(4)
def _label_map(path: Path) -> Mapping[int, str]:
    """The names of the values of an environment's masks."""
    with telling(path, "has no table 'name_map' of names and numbers"):
        return {int(value): name for name, value in read_json(path)["name_map"].items()}
