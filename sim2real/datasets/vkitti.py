"""Virtual KITTI 2.0.3 and 1.3.1 as their archives unpack: one folder per archive or one for all, at any depth."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final

import numpy as np

from sim2real.datasets.base import Adapter, Frame, Match, PathMatch, Role, Tree, nearest
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
from sim2real.datasets.readers import remembered
from sim2real.datasets.resizing import (
    KEEP,
    NEAREST,
    Intrinsics,
    Resizing,
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
_LICENCE: Final = "CC BY-NC-SA 3.0, non-commercial"
_KEEP: Final = "The READMEs of the archives state the licence: keep them with a converted copy."


class VirtualKitti2(Adapter):
    """Virtual KITTI 2: Scene01/clone/frames/rgb/Camera_0/rgb_00000.jpg, with or without a folder for each archive.

    Sources: Cabon, Murray, Humenberger 2020, "Virtual KITTI 2", arXiv 2001.10773, and the header lines of the files.
    """

    name: ClassVar = "vkitti2"
    knows_images: ClassVar = True
    facts: ClassVar = Facts(
        title="Virtual KITTI 2",
        about=(
            "Five driving scenes in ten variations (weather, light, turned cameras), rendered for a stereo camera with "
            "complete ground truth."
        ),
        size="42,520 images of 1242x375; the archive `rgb` has 7.5 GB, the archives of flow and scene flow 93 GB.",
        get=(
            "The archives are linked from "
            "<https://europe.naverlabs.com/research/computer-vision/proxy-virtual-worlds-vkitti-2/>. `rgb` is enough "
            "for training; add the archives of the labels that you need with the converted images. Unpack them below "
            "one folder, each in a folder of its own or all together."
        ),
        tree=(
            "[vkitti_2.0.3_rgb/]Scene01/clone/frames/rgb/Camera_0/rgb_00000.jpg\n"
            "[vkitti_2.0.3_depth/]Scene01/clone/frames/depth/Camera_0/depth_00000.png\n"
            "[vkitti_2.0.3_textgt/]Scene01/clone/{bbox,pose,info,colors,extrinsic,intrinsic}.txt\n"
            "..."
        ),
        licence=_LICENCE,
        binds=True,
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
        recipe="vkitti2kitti",
    )
    stale: ClassVar[Sequence[tuple[str, str]]] = (
        (r"(?:^|/)info\.txt$", "the simulated cars' colours, column 'color'"),
    )
    resizing: ClassVar[Resizing] = (
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
    consecutive: ClassVar = True

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Match rgb files inside the folders of a scene, a variation and a camera."""
        images = sum(1 for _ in tree.find(_V2_IMAGES, _V2_IMAGE))
        return Match("Scene<nn>/<variation>/frames/rgb/Camera_<k>/rgb_<frame>.jpg", images) if images else None

    def frames(self, tree: Tree) -> Iterator[Frame]:
        """Yield every rgb image with the labels of its scene, variation, camera and number, wherever they lie."""
        maps = {kind: _by(_CAMERA, tree.find_folders(_v2_folder(kind))) for kind in _V2_MAPS}
        texts = _by(_VIDEO, tree.find(_V2_VIDEO, r"bbox\.txt"))
        for folder in tree.find_folders(_V2_IMAGES):
            scene, variation, camera = (folder[part] for part in _CAMERA)
            labels = {
                kind: tree.by_frame(found.path, _V2_MAPS[kind][1])
                for kind, videos in maps.items()
                if (found := nearest(videos[_key(folder, _CAMERA)], folder.path))
            }
            text = nearest(texts[_key(folder, _VIDEO)], folder.path)
            for number, image in tree.by_frame(folder.path, _V2_IMAGE).items():
                yield Frame(
                    image,
                    sequence=f"{scene}/{variation}/{camera}",
                    index=int(number),
                    labels={kind: paths.get(number, "") for kind, paths in labels.items()}
                    | {"boxes": text.path if text else ""},
                )

    def role(self, path: str) -> Role | None:
        """Return LABEL for labels whose image is missing, and AUX for tables of camera parameters."""
        name = path.rpartition("/")[2]
        if _V2_LABEL_NAME.fullmatch(name):
            return Role.LABEL
        return Role.AUX if _V2_CAMERAS_NAME.fullmatch(name) else None

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
            case "instance":
                return Instances(read_index_mask(path).ids - 1)
            case "depth":
                return read_depth(path, per_metre=100, nothing=65535)
            case "flow" | "backward_flow":
                return read_vkitti_flow(path)
            case "scene_flow" | "backward_scene_flow":
                return read_vkitti_scene_flow(path)
            case _:
                return Boxes(_v2_boxes(path).get((frame.index, int(frame.sequence[-1])), ()))


_V2_VIDEO: Final = rf"(?P<scene>Scene\d\d)/(?P<variation>{_VARIATIONS})"
_V2_IMAGES: Final = rf"{_V2_VIDEO}/frames/rgb/(?P<camera>Camera_[01])"
_V2_IMAGE: Final = r"rgb_(?P<frame>\d{5})\.(?:jpe?g|png)"
# kind of label -> its folder and the names in it
_V2_MAPS: Final = {
    "segmentation": ("classSegmentation", r"classgt_(?P<frame>\d{5})\.png"),
    "instance": ("instanceSegmentation", r"instancegt_(?P<frame>\d{5})\.png"),
    "depth": ("depth", r"depth_(?P<frame>\d{5})\.png"),
    "flow": ("forwardFlow", r"flow_(?P<frame>\d{5})\.png"),
    "backward_flow": ("backwardFlow", r"backwardFlow_(?P<frame>\d{5})\.png"),
    "scene_flow": ("forwardSceneFlow", r"sceneFlow_(?P<frame>\d{5})\.png"),
    "backward_scene_flow": ("backwardSceneFlow", r"backwardSceneFlow_(?P<frame>\d{5})\.png"),
}
_V2_LABEL_NAME: Final = re.compile(
    r"(?:classgt|instancegt|depth|flow|backwardFlow|sceneFlow|backwardSceneFlow)_\d{5}\.png"
    r"|(?:bbox|pose|info|colors)\.txt",
    re.IGNORECASE,
)
_V2_CAMERAS_NAME: Final = re.compile(r"(?:ex|in)trinsic\.txt", re.IGNORECASE)
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


def _v2_folder(kind: str) -> str:
    return rf"{_V2_VIDEO}/frames/{_V2_MAPS[kind][0]}/(?P<camera>Camera_[01])"


def _v2_colours(path: Path) -> list[tuple[str, tuple[int, int, int]]]:
    rows = read_table(path, {"Category": str, "r": int, "g": int, "b": int})
    return [(row["Category"], (row["r"], row["g"], row["b"])) for row in rows]


@remembered(4)
def _v2_boxes(path: Path) -> Mapping[tuple[int, int], tuple[Box, ...]]:
    """Return the boxes of a video by frame and camera; info.txt provides their classes."""
    info = path.parent / "info.txt"
    tracks = read_table(info, {"trackID": int, "label": str}) if info.exists() else []
    classes = {row["trackID"]: row["label"] for row in tracks}
    numbers = ("frame", "cameraID", "trackID", "left", "right", "top", "bottom")
    boxes: dict[tuple[int, int], tuple[Box, ...]] = defaultdict(tuple)
    for row in read_table(path, {**dict.fromkeys(numbers, int), "truncation_ratio": float}):
        box = Box(
            classes.get(row["trackID"], ""),
            left=row["left"],
            top=row["top"],
            right=row["right"] + 1,
            bottom=row["bottom"] + 1,
            track=row["trackID"],
            truncated=row["truncation_ratio"],
        )
        boxes[row["frame"], row["cameraID"]] += (box,)
    return boxes


class VirtualKitti1(Adapter):
    """Virtual KITTI 1.3.1 (and 1.2): vkitti_1.3.1_rgb/0001/clone/00000.png.

    Images and label images have the same names inside the folders of the archives. If these folders were renamed, the
    contents are inferred from the PNGs. Sources: Gaidon et al. 2016, "Virtual Worlds as Proxy for Multi-Object Tracking
    Analysis", and the READMEs of the archives.
    """

    name: ClassVar = "vkitti1"
    knows_images: ClassVar = True
    facts: ClassVar = Facts(
        title="Virtual KITTI 1.3.1",
        about="The first edition, including 1.2.1: five worlds in ten variations, seen by one camera.",
        size="21,260 images of 1242x375.",
        get=(
            "The archives are linked from "
            "<https://europe.naverlabs.com/research/computer-vision/proxy-virtual-worlds-vkitti-1/>. Unpack them side "
            "by side."
        ),
        tree=(
            "vkitti_1.3.1_{rgb,depthgt,flowgt,scenegt}/0001/clone/00000.png\n"
            "vkitti_1.3.1_scenegt/0001_clone_scenegt_rgb_encoding.txt\n"
            "vkitti_1.3.1_motgt/0001_clone.txt\n"
            "vkitti_1.3.1_extrinsicsgt/0001_clone.txt"
        ),
        licence=_LICENCE,
        binds=True,
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
        recipe="vkitti2kitti",
    )
    stale: ClassVar[Sequence[tuple[str, str]]] = (
        (r"mot[^/]*/[^/]*\.txt$", "the simulated cars' appearance, columns 'model' and 'color'"),
    )
    resizing: ClassVar[Resizing] = (
        (rf"/\d{{4}}/(?:{_VARIATIONS})/\d{{5}}\.png$", NEAREST),  # flow is stored as fractions of the image size
        (r"mot[^/]*/\d{4}_[^/]*\.txt$", columns({"l": first_x, "t": first_y, "r": last_x, "b": last_y})),
        (r"_scenegt_rgb_encoding\.txt$|extrinsics[^/]*/[^/]*\.txt$", KEEP),
    )
    intrinsics: ClassVar[Intrinsics] = {(1242, 375): (725, 725, 620.5, 187)}
    consecutive: ClassVar = True

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Match PNGs in folders of a world and a variation, in an archive known by its name or by its contents."""
        kinds = _v1_kinds(tree)
        images = sum(len(tree.by_frame(folder.path, _V1_FRAME)) for folder in kinds["rgb"])
        return Match("vkitti_1.3.1_rgb/<world>/<variation>/<frame>.png", images) if images else None

    def frames(self, tree: Tree) -> Iterator[Frame]:
        """Yield every rgb image with the labels of its world, variation and number."""
        kinds = _v1_kinds(tree)
        maps = {kind: _by(_VIDEO, kinds[kind]) for kind in ("segmentation", "depth", "flow")}
        texts = _by(_VIDEO, tree.find(r"[^/]*mot[^/]*", rf"(?P<scene>\d{{4}})_(?P<variation>{_VARIATIONS})\.txt"))
        for folder in kinds["rgb"]:
            labels = {
                kind: tree.by_frame(found.path, _V1_FRAME)
                for kind, videos in maps.items()
                if (found := nearest(videos[_key(folder, _VIDEO)], folder.path))
            }
            text = nearest(texts[_key(folder, _VIDEO)], folder.path)
            for number, image in tree.by_frame(folder.path, _V1_FRAME).items():
                yield Frame(
                    image,
                    sequence=f"{folder['scene']}/{folder['variation']}",
                    index=int(number),
                    labels={kind: paths.get(number, "") for kind, paths in labels.items()}
                    | {"boxes": text.path if text else ""},
                )

    def role(self, path: str) -> Role | None:
        """Return LABEL for labels whose image is missing and for tables of colours, AUX for extrinsics."""
        if _V1_LABEL.search(path):
            return Role.LABEL
        return Role.AUX if _V1_CAMERAS.search(path) else None

    def load_label(self, frame: Frame, kind: str) -> Label:
        """Decode one label; the table of the video provides the colours of the classes."""
        path = self.root / frame.labels[kind]
        match kind:
            case "segmentation":
                return read_colour_mask(path, _v1_colours(path))
            case "depth":
                return read_depth(path, per_metre=100, nothing=65535)
            case "flow":
                return read_vkitti_flow(path)
            case _:
                return Boxes(_v1_boxes(path).get(frame.index, ()))


_V1_FRAME: Final = r"(?P<frame>\d{5})\.(?:png|jpe?g)"
_V1_VIDEO: Final = rf"(?P<archive>[^/]+)/(?P<scene>\d{{4}})/(?P<variation>{_VARIATIONS})"
_V1_ARCHIVE: Final = re.compile(r"vkitti_1\.\d\.\d_(rgb|depthgt|scenegt|flowgt)", re.IGNORECASE)
_V1_KINDS: Final = {"rgb": "rgb", "depthgt": "depth", "scenegt": "segmentation", "flowgt": "flow"}
_V1_LABEL: Final = re.compile(
    rf"/\d{{4}}/(?:{_VARIATIONS})/\d{{5}}\.png$|_scenegt_rgb_encoding\.txt$|mot[^/]*/[^/]*\.txt$", re.IGNORECASE
)
_V1_CAMERAS: Final = re.compile(r"extrinsics[^/]*/[^/]*\.txt$", re.IGNORECASE)
_FEW_COLOURS: Final = 256


def _v1_kinds(tree: Tree) -> Mapping[str, list[PathMatch]]:
    """Return the folders of frames by their contents; those of a renamed archive are inferred from one folder."""
    kinds: dict[str, list[PathMatch]] = {kind: [] for kind in _V1_KINDS.values()}
    judged: dict[str, str] = {}
    for folder in tree.find_folders(_V1_VIDEO):
        archive = folder.base + folder["archive"]
        if archive not in judged:
            known = _V1_ARCHIVE.fullmatch(folder["archive"])
            judged[archive] = _V1_KINDS[known[1].lower()] if known else _v1_judge(tree, folder)
        if judged[archive]:
            kinds[judged[archive]].append(folder)
    return kinds


def _v1_judge(tree: Tree, folder: PathMatch) -> str:
    """Infer the contents of a renamed archive from some of its PNGs; return an empty string if that fails."""
    table = f"{folder['scene']}_{folder['variation']}_scenegt_rgb_encoding.txt"
    if _named(tree, f"{folder.base}{folder['archive']}", table):
        return "segmentation"
    paths = list(tree.by_frame(folder.path, _V1_FRAME).values())
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
        box = Box(
            row["label"],
            left=row["l"],
            top=row["t"],
            right=row["r"] + 1,
            bottom=row["b"] + 1,
            track=row["tid"],
            truncated=row["truncr"],
        )
        boxes[row["frame"]] += (box,)
    return boxes


_VIDEO: Final = ("scene", "variation")
_CAMERA: Final = ("scene", "variation", "camera")


def _key(folder: PathMatch, parts: Iterable[str]) -> tuple[str, ...]:
    return tuple(folder[part].lower() for part in parts)


def _by(parts: Iterable[str], paths: Iterable[PathMatch]) -> Mapping[tuple[str, ...], list[PathMatch]]:
    """Group paths by the named parts, ignoring case."""
    found: dict[tuple[str, ...], list[PathMatch]] = defaultdict(list)
    for path in paths:
        found[_key(path, parts)].append(path)
    return found


def _named(tree: Tree, folder: str, name: str) -> str:
    """Return the path of a file in a folder, ignoring case; an empty string if it does not exist."""
    prefix = f"{folder}/" if folder else ""
    return next((prefix + entry for entry in tree.names(folder) if entry.lower() == name.lower()), "")
