"""TartanAir, TartanAir V2 and TartanGround: flights and drives through environments rendered by AirSim.

Layouts and codings: castacks/tartanair_tools, README.md, data_type.md and processing/flow_generate; for V2
castacks/tartanairpy, docs/modalities.rst, docs/tartanground.rst, tartanair/reader.py and tartanair/customizer.py.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from sim2real.datasets.airsim import FAR
from sim2real.datasets.base import Frame, Match, PathMatch, Role, Tree
from sim2real.datasets.facts import Facts
from sim2real.datasets.labels import Depth, Distance, Flow, Label, Segmentation, read_index_mask
from sim2real.datasets.layout import Beside, Decoders, FolderLayout
from sim2real.datasets.readers import (
    errors_in,
    find_above,
    in_metres,
    of_shape,
    read_array,
    read_json,
    read_map,
    remembered,
)
from sim2real.datasets.resizing import KEEP, NEAREST, TARTANAIR_FLOW, Intrinsics
from sim2real.datasets.resizing_documents import ARRAY, ARRAY_FLOW
from sim2real.errors import ImageError
from sim2real.imageio import read_label


def _flow(uv: NDArray[np.floating], mask: NDArray[np.integer]) -> Flow:
    """Return flow in pixels; the mask is 0 where a pixel is visible in both images."""
    valid = (mask == 0) & np.isfinite(uv).all(axis=-1)
    return Flow(np.where(valid[..., None], uv, 0).astype(np.float32), valid)


def _read_flow(path: Path) -> Flow:
    """Read 000000_000001_flow.npy and the mask next to it, if it was downloaded."""
    uv = of_shape(read_array(path), (None, None, 2), path)
    mask = path.with_name(re.sub(r"_flow(?=\.npy$)", "_mask", path.name, flags=re.IGNORECASE))
    return _flow(uv, read_map(mask) if mask.exists() else np.zeros(uv.shape[:2], np.uint8))


class TartanAir(FolderLayout):
    """TartanAir: abandonedfactory/Easy/P000/image_left/000000_left.png."""

    name = "tartanair"
    facts = Facts(
        title="TartanAir",
        about="Over 1,000 flights of a stereo camera through 30 environments, indoors and outdoors, in all seasons, "
        "for visual odometry and SLAM.",
        size="Images of 640x480, hundreds to thousands per camera and flight; up to 3 TB in total.",
        get="`download_training.py` of <https://github.com/castacks/tartanair_tools>, with `--rgb` and the labels that "
        "you need.",
        tree="abandonedfactory/Easy/P000/image_left/000000_left.png\n"
        "abandonedfactory/Easy/P000/depth_left/000000_left_depth.npy\n"
        "abandonedfactory/Easy/P000/seg_left/000000_left_seg.npy\n"
        "abandonedfactory/Easy/P000/flow/000000_000001_{flow,mask}.npy\n"
        "abandonedfactory/Easy/P000/pose_left.txt\n"
        "abandonedfactory/Easy/P000/{image,depth,seg}_right/...\n"
        "...",
        labels={
            "depth": "metres to the camera's plane",
            "segmentation": "numbers of meshes without names, different in each environment",
            "flow": "pixels, of the left camera",
        },
        licence="see <https://theairlab.org/tartanair-dataset>; the tools that read it are BSD 3-Clause",
        irregularities=(
            "The sky is a sphere about 10 km away: depths of 10,000 m or more are unknown.",
            "Without its mask, which is a separate download, flow is valid everywhere, even at occlusions.",
            "A flight in a folder of another name is recognised by `pose_left.txt` or by its depth or masks.",
            "The archives unpack to two nested folders with the environment's name; both forms are accepted.",
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
        "depth": lambda path: Depth(in_metres(read_map(path), FAR)),
        "segmentation": lambda path: Segmentation(read_map(path).astype(np.int32), {}),
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
        """Match images in the folder of a flight, or next to its other files if the folder has another name."""
        match = super().recognise(tree)
        return match if match and any(next(tree.find(*row), None) for row in cls._FLIGHT) else None

    def labels_of(self, tree: Tree, folder: PathMatch) -> Mapping[str, Mapping[str, str]]:
        """Return the labels of a folder; only the left camera has flow."""
        labels = super().labels_of(tree, folder)
        return labels if folder["side"].lower() == "left" else {**labels, "flow": {}}


_PINHOLES: Final = ("front", "right", "back", "left", "top", "bottom")


def _read_floats(path: Path) -> NDArray[np.float32]:
    """Read 32-bit floats, lowest byte first, from the channels blue, green, red and alpha."""
    pixels = read_label(path)
    if pixels.ndim != 3 or pixels.shape[2] != 4 or pixels.dtype != np.uint8:
        raise ImageError(f"{path}: floats are stored as RGBA of 8 bits; this is {pixels.dtype} {pixels.shape}")
    return np.ascontiguousarray(pixels[..., [2, 1, 0, 3]]).view("<f4")[..., 0]


def _read_packed_flow(path: Path) -> Flow:
    """Read 16-bit flow: u in blue, v in green, both ``(value - 2^15) / 64``, and the mask in red."""
    pixels = read_label(path)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint16:
        raise ImageError(f"{path}: flow is stored as RGB of 16 bits; this is {pixels.dtype} {pixels.shape}")
    return _flow((pixels[..., [2, 1]].astype(np.float32) - 2**15) / 64, pixels[..., 0])


class TartanAirV2(FolderLayout):
    """TartanAir V2 and TartanGround: AbandonedCable/Data_easy/P000/image_lcam_front/000000_lcam_front.png."""

    name = "tartanair-v2"
    facts = Facts(
        title="TartanAir V2, TartanGround",
        about="Flights through 65 environments and drives of ground robots through 63, seen by twelve cameras in all "
        "directions, with LiDAR, IMU and events.",
        size="Images of 640x640 from twelve cameras at 10 Hz; TartanGround alone has 17.3 million in about 16 TB.",
        get="`pip install tartanair`, see <https://tartanair.org>; download `image` and the labels that you need.",
        tree="AbandonedCable/seg_label_map.json\n"
        "AbandonedCable/Data_{easy,hard}/P000/image_lcam_front/000000_lcam_front.png\n"
        "AbandonedCable/Data_{easy,hard}/P000/depth_lcam_front/000000_lcam_front_depth.png\n"
        "AbandonedCable/Data_{easy,hard}/P000/seg_lcam_front/000000_lcam_front_seg.png\n"
        "AbandonedCable/Data_{easy,hard}/P000/flow_lcam_front/000000_000001_flow.png\n"
        "AbandonedCable/Data_{easy,hard}/P000/pose_lcam_front.txt\n"
        "AbandonedCable/Data_{omni,diff,anymal}/P0000/...\n"
        "...",
        labels={
            "depth": "metres to the camera's plane, for the pinhole cameras",
            "distance": "metres along the ray, for the fisheye, equirectangular and custom cameras",
            "segmentation": "classes, named by the environment's seg_label_map.json",
            "flow": "pixels, for trajectories that were downloaded while it was offered",
        },
        licence="CC BY 4.0: name the authors and state that the images were changed",
        irregularities=(
            "Depth is a 32-bit float in the four channels of a PNG: tools that drop or blend alpha destroy it.",
            "The sky is very far away: depths of 10,000 m or more are unknown.",
            "Fisheye and equirectangular images differ in projection: train and convert them separately (`--include`).",
            "Flow computed by the package itself (.npz) is carried, not decoded.",
            "Events and videos were made from the old pixels.",
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
        "depth": lambda path: Depth(in_metres(_read_floats(path), FAR)),
        "distance": lambda path: Distance(in_metres(_read_floats(path), FAR)),
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
        """Return the labels of a folder: pinhole cameras have depth to the plane, others distance along the ray."""
        labels = super().labels_of(tree, folder)
        other = "distance" if folder["lens"].lower() in _PINHOLES else "depth"
        return {kind: paths for kind, paths in labels.items() if kind != other}

    def load_label(self, frame: Frame, kind: str) -> Label:
        """Decode one label; class names come from the nearest table in its parent folders, if it was downloaded."""
        if kind == "segmentation":
            path = self.root / frame.labels[kind]
            table = find_above(path, "seg_label_map.json", self.root)
            return read_index_mask(path, names=_label_map(table) if table else {})
        return super().load_label(frame, kind)

    def warnings(self, tree: Tree) -> Iterator[str]:
        """Warn about images that are not from a pinhole camera."""
        lenses = {folder["lens"].lower() for folder in tree.find_folders(self.images[0])}
        if len(lenses) > 1 and (others := sorted(lenses.difference(_PINHOLES))):
            yield f"{', '.join(others)}: other projections than the pinhole cameras; train and convert them separately"


@remembered(4)
def _label_map(path: Path) -> Mapping[int, str]:
    """Return the names of the values in an environment's masks."""
    with errors_in(path, "has no table 'name_map' of names and numbers"):
        return {int(value): name for name, value in read_json(path)["name_map"].items()}
