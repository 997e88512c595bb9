"""Virtual KITTI 2.0.3 and 1.3.1 as their archives unpack: one folder per archive or one for all, at any depth."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from sim2real.datasets.base import Frame, Match, PathMatch, Role, Tree, nearest
from sim2real.datasets.facts import Facts
from sim2real.datasets.labels import (
    Box,
    Boxes,
    Instances,
    Label,
    read_colour_mask,
    read_depth,
    read_index_mask,
    read_table,
    read_vkitti_flow,
    read_vkitti_scene_flow,
)
from sim2real.datasets.layout import Decoders, FolderLayout
from sim2real.datasets.readers import per_tree, remembered
from sim2real.datasets.resizing import (
    KEEP,
    NEAREST,
    Intrinsics,
    along_x,
    along_y,
    centre_x,
    centre_y,
    columns,
    first_x,
    first_y,
    last_x,
    last_y,
    pixels,
)
from sim2real.errors import DatasetError, ImageError
from sim2real.imageio import read_header, read_rgb

_VARIATIONS: Final = "15-deg-left|15-deg-right|30-deg-left|30-deg-right|clone|fog|morning|overcast|rain|sunset"
_facts = partial(Facts, licence="CC BY-NC-SA 3.0, non-commercial", binds=True, recipe="vkitti2kitti")
_KEEP: Final = "The READMEs of the archives state the licence: keep them with a converted copy."


_DECODERS: Final[Decoders] = {"depth": partial(read_depth, per_metre=100, nothing=65535), "flow": read_vkitti_flow}
_V2_VIDEO: Final = rf"(?P<scene>Scene\d\d)/(?P<variation>{_VARIATIONS})"
_V2_CAMERA: Final = r"(?P<camera>Camera_[01])"
# kind of label -> its folder and the beginning of the names in it
_V2_MAPS: Final = {
    "segmentation": ("classSegmentation", "classgt"),
    "instance": ("instanceSegmentation", "instancegt"),
    "depth": ("depth", "depth"),
    "flow": ("forwardFlow", "flow"),
    "backward_flow": ("backwardFlow", "backwardFlow"),
    "scene_flow": ("forwardSceneFlow", "sceneFlow"),
    "backward_scene_flow": ("backwardSceneFlow", "backwardSceneFlow"),
}
# the contents of every colors.txt, for copies without the text archive
_V2_COLOURS: Final = (
    ("Terrain", (210, 0, 200)),
    ("Sky", (90, 200, 255)),
    ("Tree", (0, 199, 0)),
    ("Vegetation", (90, 240, 0)),
    ("Building", (140, 140, 140)),
    ("Road", (100, 60, 100)),
    ("GuardRail", (250, 100, 255)),
    ("TrafficSign", (255, 255, 0)),
    ("TrafficLight", (200, 200, 0)),
    ("Pole", (255, 130, 0)),
    ("Misc", (80, 80, 80)),
    ("Truck", (160, 60, 60)),
    ("Car", (255, 127, 80)),
    ("Van", (0, 139, 139)),
    ("Undefined", (0, 0, 0)),
)


class VirtualKitti2(FolderLayout):
    """Virtual KITTI 2: Scene01/clone/frames/rgb/Camera_0/rgb_00000.jpg, with or without a folder for each archive.

    Sources: Cabon, Murray, Humenberger 2020, "Virtual KITTI 2", arXiv 2001.10773, and the header lines of the files.
    """

    name = "vkitti2"
    facts = _facts(
        title="Virtual KITTI 2",
        about="Five driving scenes in ten variations (weather, light, turned cameras), rendered for a stereo camera "
        "with complete ground truth.",
        size="42,520 images of 1242x375; the archive `rgb` has 7.5 GB, the archives of flow and scene flow 93 GB.",
        get="The archives are linked from "
        "<https://europe.naverlabs.com/research/computer-vision/proxy-virtual-worlds-vkitti-2/>. `rgb` is enough "
        "for training; add the archives of the labels that you need with the converted images. Unpack them below "
        "one folder, each in a folder of its own or all together.",
        tree="[vkitti_2.0.3_rgb/]Scene01/clone/frames/rgb/Camera_0/rgb_00000.jpg\n"
        "[vkitti_2.0.3_depth/]Scene01/clone/frames/depth/Camera_0/depth_00000.png\n"
        "[vkitti_2.0.3_textgt/]Scene01/clone/{bbox,pose,info,colors,extrinsic,intrinsic}.txt\n"
        "...",
        labels={
            "segmentation": "by the colours of `colors.txt`, or by the published table if that file is missing",
            "instance": "",
            "depth": "",
            "flow": "",
            "backward_flow": "",
            "scene_flow": "",
            "backward_scene_flow": "",
            "boxes": "with tracks",
        },
        irregularities=(
            (
                "Labels are matched by scene, variation, camera and number, wherever their archive lies. The outer "
                "folders may have any name; the folder of a single scene or camera is recognised too."
            ),
            (
                "The last frame of a video has no forward flow and the first has no backward flow; neither is reported "
                "as missing."
            ),
            (
                "`classSegmentation` holds RGB pictures that look like camera images; they are labels and are never "
                "translated."
            ),
            "The columns of `bbox.txt` are left, right, top, bottom, and the edge pixels belong to the box.",
            (
                "The column `color` of `info.txt` and folder names like `fog` and `rain` describe the simulated "
                "pixels; they are carried unchanged, and `inspect` reports them."
            ),
            "Exporters of other simulators imitate this layout: other scene numbers are accepted with a warning.",
            "Instance labels are palette images: index 0 is no object, index n is track n - 1.",
            _KEEP,
        ),
        folder="vkitti",
    )
    rule = "Scene<nn>/<variation>/frames/rgb/Camera_<k>/rgb_<frame>.jpg"
    images = (rf"{_V2_VIDEO}/frames/rgb/{_V2_CAMERA}", r"rgb_(?P<frame>\d{5})\.(?:jpe?g|png)")
    apart = (
        *(
            (kind, rf"{_V2_VIDEO}/frames/{folder}/{_V2_CAMERA}", rf"{name}_(?P<frame>\d{{5}})\.png")
            for kind, (folder, name) in _V2_MAPS.items()
        ),
        ("boxes", _V2_VIDEO, r"bbox\.txt"),
    )
    decoders: ClassVar[Decoders] = {
        "instance": lambda path: Instances(read_index_mask(path).ids - 1),
        **_DECODERS,
        "backward_flow": read_vkitti_flow,
        "scene_flow": read_vkitti_scene_flow,
        "backward_scene_flow": read_vkitti_scene_flow,
    }
    roles = (
        (r"(?:^|/)(?:classgt|instancegt|depth|flow|backwardFlow|sceneFlow|backwardSceneFlow)_\d{5}\.png$", Role.LABEL),
        (r"(?:^|/)(?:bbox|pose|info|colors)\.txt$", Role.LABEL),
        (r"(?:^|/)(?:ex|in)trinsic\.txt$", Role.AUX),
    )
    stale = ((r"(?:^|/)info\.txt$", "the simulated cars' colours, column 'color'"),)
    resizing = (
        # flow is stored as fractions of the image size
        (r"(?:^|/)(?:classgt|instancegt|depth|flow|backwardFlow|sceneFlow|backwardSceneFlow)_\d{5}\.png$", NEAREST),
        (
            r"(?:^|/)bbox\.txt$",
            columns({"left": first_x, "right": last_x, "top": first_y, "bottom": last_y, "number_pixels": pixels}),
        ),
        (
            r"(?:^|/)intrinsic\.txt$",
            columns({"K[0,0]": along_x, "K[1,1]": along_y, "K[0,2]": centre_x, "K[1,2]": centre_y}),
        ),
        (r"(?:^|/)(?:colors|info|pose|extrinsic)\.txt$", KEEP),
    )
    consecutive = True

    def sequence_of(self, folder: PathMatch, camera: str) -> str:  # noqa: ARG002  a folder holds those of one
        """Return the scene, the variation and the camera of a folder, wherever it lies."""
        return "/".join(folder[part] for part in ("scene", "variation", "camera"))

    def warnings(self, tree: Tree) -> Iterator[str]:
        """Warn about scenes that Virtual KITTI 2 does not have."""
        scenes = {folder["scene"] for folder in tree.find_folders(_V2_VIDEO)}
        if unknown := sorted(scene for scene in scenes if scene[-2:] not in {"01", "02", "06", "18", "20"}):
            yield f"{', '.join(unknown)}: not among the scenes of Virtual KITTI 2; made by another exporter?"

    def load_label(self, frame: Frame, kind: str) -> Label:
        """Decode one label; the text files of the video provide the colours and the classes of objects."""
        path = self.root / frame.labels[kind]
        texts = (self.root / frame.labels["boxes"]).parent if "boxes" in frame.labels else None
        match kind:
            case "segmentation":
                colours = texts and texts / "colors.txt"
                return read_colour_mask(path, _v2_colours(colours) if colours and colours.exists() else _V2_COLOURS)
            case "boxes":
                return Boxes(_v2_boxes(path).get((frame.index, int(frame.sequence[-1])), ()))
            case _:
                return super().load_label(frame, kind)


def _v2_colours(path: Path) -> list[tuple[str, tuple[int, int, int]]]:
    rows = read_table(path, {"Category": str, "r": int, "g": int, "b": int})
    return [(row["Category"], (row["r"], row["g"], row["b"])) for row in rows]


def _box(label: str, row: Mapping[str, Any], *columns: str) -> Box:
    """Return a box from the columns with its edge pixels, which belong to it, its track and its truncation."""
    left, top, right, bottom, track, truncated = (row[column] for column in columns)
    return Box(label, left, top, right + 1, bottom + 1, track=track, truncated=truncated)


@remembered(4)
def _v2_boxes(path: Path) -> Mapping[tuple[int, int], tuple[Box, ...]]:
    """Return the boxes of a video by frame and camera; info.txt provides their classes."""
    info = path.parent / "info.txt"
    tracks = read_table(info, {"trackID": int, "label": str}) if info.exists() else []
    classes = {row["trackID"]: row["label"] for row in tracks}
    numbers = ("frame", "cameraID", "trackID", "left", "right", "top", "bottom")
    boxes: dict[tuple[int, int], tuple[Box, ...]] = defaultdict(tuple)
    for row in read_table(path, {**dict.fromkeys(numbers, int), "truncation_ratio": float}):
        label = classes.get(row["trackID"], "")
        box = _box(label, row, "left", "top", "right", "bottom", "trackID", "truncation_ratio")
        boxes[row["frame"], row["cameraID"]] += (box,)
    return boxes


class VirtualKitti1(FolderLayout):
    """Virtual KITTI 1.3.1 (and 1.2): vkitti_1.3.1_rgb/0001/clone/00000.png.

    Images and label images have the same names inside the folders of the archives. If these folders were renamed, the
    contents are inferred from the PNGs. Sources: Gaidon et al. 2016, "Virtual Worlds as Proxy for Multi-Object Tracking
    Analysis", and the READMEs of the archives.
    """

    name = "vkitti1"
    facts = _facts(
        title="Virtual KITTI 1.3.1",
        about="The first edition, including 1.2.1: five worlds in ten variations, seen by one camera.",
        size="21,260 images of 1242x375.",
        get="The archives are linked from "
        "<https://europe.naverlabs.com/research/computer-vision/proxy-virtual-worlds-vkitti-1/>. Unpack them side "
        "by side.",
        tree="vkitti_1.3.1_{rgb,depthgt,flowgt,scenegt}/0001/clone/00000.png\n"
        "vkitti_1.3.1_scenegt/0001_clone_scenegt_rgb_encoding.txt\n"
        "vkitti_1.3.1_motgt/0001_clone.txt\n"
        "vkitti_1.3.1_extrinsicsgt/0001_clone.txt",
        labels={
            "segmentation": "by the table of each world and variation",
            "depth": "",
            "flow": "",
            "boxes": "with tracks",
        },
        irregularities=(
            (
                "Images, depth, flow and class pictures have the same names inside the folders of the archives. If "
                "these folders were renamed, their contents are inferred from some of their files."
            ),
            (
                "The colours of classes differ between worlds and variations: a class picture without its table is "
                "carried, but cannot be decoded."
            ),
            (
                "The columns `model` and `color` of motgt describe the appearance of the simulated cars; they are "
                "carried unchanged, and `inspect` reports them."
            ),
            _KEEP,
        ),
        folder="vkitti1",
    )
    rule = "vkitti_1.3.1_rgb/<world>/<variation>/<frame>.png"
    images = (
        rf"(?P<archive>[^/]+)/(?P<scene>\d{{4}})/(?P<variation>{_VARIATIONS})",
        r"(?P<frame>\d{5})\.(?:png|jpe?g)",
    )
    apart = (("boxes", r"[^/]*mot[^/]*", rf"(?P<scene>\d{{4}})_(?P<variation>{_VARIATIONS})\.txt"),)
    decoders = _DECODERS
    roles = (
        (rf"/\d{{4}}/(?:{_VARIATIONS})/\d{{5}}\.png$|_scenegt_rgb_encoding\.txt$|mot[^/]*/[^/]*\.txt$", Role.LABEL),
        (r"extrinsics[^/]*/[^/]*\.txt$", Role.AUX),
    )
    stale = ((r"mot[^/]*/[^/]*\.txt$", "the simulated cars' appearance, columns 'model' and 'color'"),)
    resizing = (
        (rf"/\d{{4}}/(?:{_VARIATIONS})/\d{{5}}\.png$", NEAREST),  # flow is stored as fractions of the image size
        (r"mot[^/]*/\d{4}_[^/]*\.txt$", columns({"l": first_x, "t": first_y, "r": last_x, "b": last_y})),
        (r"_scenegt_rgb_encoding\.txt$|extrinsics[^/]*/[^/]*\.txt$", KEEP),
    )
    intrinsics: ClassVar[Intrinsics] = {(1242, 375): (725, 725, 620.5, 187)}
    consecutive = True

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Match PNGs in folders of a world and a variation, in an archive known by its name or by its contents."""
        images = sum(1 for folder in _v1_kinds(tree)["rgb"] for _ in tree.numbered(folder.path, cls.images[1]))
        return Match(cls.rule, images) if images else None

    def image_folders(self, tree: Tree) -> Iterable[PathMatch]:
        """Return the folders of images of the archives of images."""
        return _v1_kinds(tree)["rgb"]

    def sequence_of(self, folder: PathMatch, camera: str) -> str:  # noqa: ARG002  there is one camera
        """Return the world and the variation of a folder, wherever it lies."""
        return f"{folder['scene']}/{folder['variation']}"

    def labels_of(self, tree: Tree, folder: PathMatch) -> Mapping[str, Mapping[str, str]]:
        """Return the label images of the world and the variation, from the nearest archives."""
        video = self.sequence_of(folder, "").lower()
        labels = {}
        for kind in ("segmentation", "depth", "flow"):
            folders = [each for each in _v1_kinds(tree)[kind] if self.sequence_of(each, "").lower() == video]
            if found := nearest(folders, folder.path):
                labels[kind] = tree.by_frame(found.path, self.images[1])
        return labels

    def load_label(self, frame: Frame, kind: str) -> Label:
        """Decode one label; the table of the video provides the colours of the classes."""
        path = self.root / frame.labels[kind]
        match kind:
            case "segmentation":
                return read_colour_mask(path, _v1_colours(path))
            case "boxes":
                return Boxes(_v1_boxes(path).get(frame.index, ()))
            case _:
                return super().load_label(frame, kind)


_V1_ARCHIVE: Final = re.compile(r"vkitti_1\.\d\.\d_(rgb|depthgt|scenegt|flowgt)", re.IGNORECASE)
_V1_KINDS: Final = {"rgb": "rgb", "depthgt": "depth", "scenegt": "segmentation", "flowgt": "flow"}
_FEW_COLOURS: Final = 256


@per_tree
def _v1_kinds(tree: Tree) -> Mapping[str, list[PathMatch]]:
    """Return the folders of frames by their contents; those of a renamed archive are inferred from one folder."""
    kinds: dict[str, list[PathMatch]] = {kind: [] for kind in _V1_KINDS.values()}
    judged: dict[str, str] = {}
    for folder in tree.find_folders(VirtualKitti1.images[0]):
        archive = folder.base + folder["archive"]
        if archive not in judged:
            known = _V1_ARCHIVE.fullmatch(folder["archive"])
            judged[archive] = _V1_KINDS[known[1].lower()] if known else _v1_judge(tree, folder)
        if judged[archive]:
            kinds[judged[archive]].append(folder)
    return kinds


def _v1_judge(tree: Tree, folder: PathMatch) -> str:
    """Infer the contents of a renamed archive from some of its PNGs; return an empty string if that fails."""
    table = f"{folder['scene']}_{folder['variation']}_scenegt_rgb_encoding.txt".lower()
    if table in map(str.lower, tree.names(f"{folder.base}{folder['archive']}")):
        return "segmentation"
    paths = list(tree.by_frame(folder.path, VirtualKitti1.images[1]).values())
    if not paths:
        return ""
    looked_at = {paths[0], paths[len(paths) // 2], paths[-1]}  # a single photo may be black, or fog
    try:
        header = read_header(tree.root / paths[0])
        if header.bits == 16 and not header.palette:
            return {1: "depth", 3: "flow"}.get(header.channels, "")
        few = all(_colours(tree.root / path) < _FEW_COLOURS for path in looked_at)
    except ImageError:
        return ""
    return "segmentation" if few else "rgb"


def _colours(path: Path) -> int:
    return len(np.unique(read_rgb(path).reshape(-1, 3), axis=0))


def _v1_colours(mask: Path) -> list[tuple[str, tuple[int, int, int]]]:
    """Return the table of a video: a row for each class and for each vehicle, named like "Car:0"."""
    world, variation = mask.parts[-3:-1]
    name = f"{world}_{variation}_scenegt_rgb_encoding.txt"
    table = next((path for path in mask.parents[2].iterdir() if path.name.lower() == name.lower()), None)
    if table is None:
        message = f"{mask.parents[2] / name}: missing; without it the colours of the classes are unknown; restore it"
        raise DatasetError(message)
    rows = read_table(table, {"Category(:id)": str, "r": int, "g": int, "b": int})
    return [(row["Category(:id)"].partition(":")[0], (row["r"], row["g"], row["b"])) for row in rows]


@remembered(4)
def _v1_boxes(path: Path) -> Mapping[int, tuple[Box, ...]]:
    numbers = {"frame": int, "tid": int, **dict.fromkeys(("l", "t", "r", "b", "truncr"), float)}
    boxes: dict[int, tuple[Box, ...]] = defaultdict(tuple)
    for row in read_table(path, {**numbers, "label": str}):
        boxes[row["frame"]] += (_box(row["label"], row, "l", "t", "r", "b", "tid", "truncr"),)
    return boxes
