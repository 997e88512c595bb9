"""NVIDIA's Deep learning Dataset Synthesizer (NDDS), and Falling Things, a dataset made with it.

Names and fields: NVIDIA/Dataset_Synthesizer, Source/Plugins/NVSceneCapturer/Source/NVSceneCapturer/Public/
NVSceneCapturerUtils.h (corners of boxes are row and column, in this order) and NVSceneFeatureExtractor*.h; Tremblay,
To, Birchfield, "Falling Things", CVPR workshops 2018; for the unit of its depth, princeton-vl/RAFT-Stereo,
core/utils/frame_utils.py.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

from sim2real.datasets.base import Frame, Match, Role, Tree
from sim2real.datasets.facts import RENDERED, Facts
from sim2real.datasets.labels import Box, Boxes, Segmentation, read_index_mask
from sim2real.datasets.layout import Beside, Decoders, FolderLayout
from sim2real.datasets.readers import errors_in, finite, read_bounded_depth, read_json, read_packed_ids, remembered
from sim2real.datasets.resizing import KEEP, NEAREST, Resizing
from sim2real.datasets.resizing_shapes import NDDS, NDDS_CAMERAS
from sim2real.imageio import read_header

OBJECTS: Final = "_object_settings.json"
_CAMERAS: Final = r"(?:^|/)_camera_settings\.json$"
_SETTINGS: Final = r"(?:^|/)_(?:camera|object)_settings\.json$"


def _read_boxes(path: Path) -> Boxes:
    with errors_in(path, "the box of an object is damaged"):
        return Boxes(tuple(map(_box, read_json(path)["objects"])))


def _box(thing: Mapping[str, Any]) -> Box:
    corners = (map(finite, thing["bounding_box"][corner]) for corner in ("top_left", "bottom_right"))
    (top, left), (bottom, right) = corners
    return Box(str(thing["class"]), left, top, right, bottom)


def _read_segmentation(path: Path) -> Segmentation:
    header = read_header(path)
    names = _names(path.parent)
    if header.channels >= 3:  # some versions write ids as colours
        return Segmentation(read_packed_ids(path), {})
    return read_index_mask(path, names=names)


@remembered(16)
def _names(folder: Path) -> Mapping[int, str]:
    """Return the classes of a folder by their number in masks; empty if there is no file of object settings."""
    path = folder / OBJECTS
    if not path.is_file():
        return {}
    with errors_in(path, "its objects are damaged"):
        objects: list[dict[str, Any]] = read_json(path)["exported_objects"]
        return {int(each["segmentation_class_id"]): str(each["class"]) for each in objects}


class Ndds(FolderLayout):
    """NDDS: 000000.png or 000000.main.png, with .json, .cs.png, .is.png and .depth*.png of the same number."""

    name = "ndds"
    rule = "<number>.png with _camera_settings.json or _object_settings.json"
    ordered: ClassVar[bool] = False
    _camera: ClassVar[str] = r"(?P<camera>(?:\.(?!(?:depth|cs|is|vm|micon|seg)\.)[A-Za-z]\w*)?)"
    images = (r"(?P<scene>[^/]*)", rf"(?P<frame>\d{{6}}){_camera}\.(?:png|jpe?g)")
    evidence: ClassVar[Sequence[tuple[str, str]]] = (
        (r"[^/]*", r"_(?:camera|object)_settings\.json"),
        (r"[^/]*", r"\d{6}(?:\.\w+)?\.json"),
    )
    labels: ClassVar[Beside] = {
        "depth": ("{scene}", rf"(?P<frame>\d{{6}}){_camera}\.depth\.mm\.16\.png"),
        "segmentation": ("{scene}", rf"(?P<frame>\d{{6}}){_camera}\.cs\.png"),
        "boxes": ("{scene}", rf"(?P<frame>\d{{6}}){_camera}\.json"),
    }
    roles = (
        (r"(?:^|/)\d{6}\.(?:.+\.)?(?:json|(?:cs|is|vm|micon|seg|depth[\w.]*)\.\w+)$", Role.LABEL),
        (_SETTINGS, Role.AUX),
    )
    resizing: ClassVar[Resizing] = (
        (_CAMERAS, NDDS_CAMERAS),
        (r"(?:^|/)_object_settings\.json$", KEEP),
        (r"(?:^|/)\d{6}\.(?:\w+\.)?json$", NDDS),
        (r"(?:^|/)\d{6}\.(?:\w+\.)?(?:cs|is|seg|depth(?:\.[cm]m\.(?:8|16))?)\.png$", NEAREST),
    )
    decoders: ClassVar[Decoders] = {
        "boxes": _read_boxes,
        "depth": partial(read_bounded_depth, per_metre=1000),
        "segmentation": _read_segmentation,
    }
    sparse: ClassVar[Collection[str]] = ("depth", "segmentation")
    facts = Facts(
        title="NDDS",
        about="Exports of NVIDIA's Deep learning Dataset Synthesizer from Unreal Engine: objects with poses, boxes, "
        "masks and depth.",
        size="As rendered.",
        get="Render it with the plugin, <https://github.com/NVIDIA/Dataset_Synthesizer>.",
        tree="{_camera_settings,_object_settings}.json\n000000.json\n000000.png\n"
        "000000.{cs,is,depth,depth.mm.16,depth.cm.16,depth.cm.8}.png\n000000.<viewpoint>.{png,json,...}",
        labels={
            "depth": "from `.depth.mm.16.png`, millimetres; 0 and the largest value, 65535, are unknown",
            "segmentation": "from `.cs.png`, by `segmentation_class_id` of `_object_settings.json`",
            "boxes": "pixels; the files store rows first",
        },
        licence=RENDERED,
        irregularities=(
            "Instance masks (`.is.png`) and depth in other codings are carried, not decoded.",
            "If several viewpoints are rendered, their names precede the suffix.",
        ),
    )

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Match photos and settings; Falling Things differs in the names of its masks."""
        if next(tree.find(*cls.evidence[0]), None) is None:  # cheap test before listing the photos
            return None
        return None if cls is Ndds and FallingThings.recognise(tree) else super().recognise(tree)


class FallingThings(Ndds):
    """Falling Things: mixed/kitchen_0/000000.left.jpg with .left.json, .left.seg.png and .left.depth.png."""

    name = "falling-things"
    rule = "<number>.left.jpg with <number>.left.json and _camera_settings.json"
    images = (r"(?P<scene>[^/]*)", r"(?P<frame>\d{6})\.(?P<camera>left|right)\.(?:jpe?g|png)")
    evidence = (
        (r"[^/]*", r"_(?:camera|object)_settings\.json"),
        (r"[^/]*", r"\d{6}\.(?:left|right)\.json"),
        (r"[^/]*", r"\d{6}\.(?:left|right)\.seg\.png"),
    )
    labels: ClassVar[Beside] = {
        "depth": ("{scene}", r"(?P<frame>\d{6})\.(?P<camera>left|right)\.depth\.png"),
        "segmentation": ("{scene}", r"(?P<frame>\d{6})\.(?P<camera>left|right)\.seg\.png"),
        "boxes": ("{scene}", r"(?P<frame>\d{6})\.(?P<camera>left|right)\.json"),
    }
    decoders: ClassVar[Decoders] = {**Ndds.decoders, "depth": partial(read_bounded_depth, per_metre=10_000)}
    sparse = ()
    facts = Facts(
        title="Falling Things (FAT)",
        about="Household objects falling through rendered rooms, seen by a stereo camera, with poses, boxes, masks and "
        "depth.",
        size="61,500 stereo pairs of 960x540, 43 GB.",
        get="<https://research.nvidia.com/publication/2018-06_falling-things-synthetic-dataset-3d-object-detection-and-"
        "pose-estimation>.",
        tree="fat/mixed/kitchen_0/{_camera_settings,_object_settings}.json\n"
        "fat/mixed/kitchen_0/000000.{left,right}.{jpg,json,seg.png,depth.png}\n"
        "fat/single/002_master_chef_can_16k/kitchen_0/...",
        labels={
            "depth": "tenths of a millimetre; 0 and the largest value, 65535, are unknown",
            "segmentation": "by `segmentation_class_id` of `_object_settings.json`",
            "boxes": "pixels; the files store rows first",
        },
        licence="CC BY-NC-SA 4.0",
        binds=True,
        irregularities=("Object sizes and intrinsics are in the files `_*_settings.json` of each folder.",),
        folder="fat",
    )

    def frames(self, tree: Tree) -> Iterator[Frame]:
        """Yield every image with its labels; a sequence is a stereo pair, as the camera jumps between frames."""
        for frame in super().frames(tree):
            yield replace(frame, sequence=f"{frame.sequence.rpartition('/')[0]}/{frame.index:06}".lstrip("/"))
