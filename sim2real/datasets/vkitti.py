"""Virtual KITTI 2.0.3 and 1.3.1 as their archives unpack: a folder for each archive or one for all, at any depth."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import groupby, islice, product
from pathlib import Path
from typing import ClassVar, Final

import numpy as np

from sim2real.datasets.base import Frame, Match, PathMatch, Role, Tree, nearest
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
from sim2real.errors import DatasetError, ImageError
from sim2real.imageio import read_header, read_rgb

_VARIATIONS: Final = "15-deg-left|15-deg-right|30-deg-left|30-deg-right|clone|fog|morning|overcast|rain|sunset"
_WEATHER: Final = frozenset({"fog", "morning", "overcast", "rain", "sunset"})
_LICENCE: Final = (
    "CC BY-NC-SA 3.0, non-commercial: a converted copy is an adaptation under the same licence; keep its README and "
    "licence files with it"
)


class VirtualKitti2:
    """Virtual KITTI 2: Scene01/clone/frames/rgb/Camera_0/rgb_00000.jpg, with or without a folder for each archive.

    Cabon, Murray, Humenberger 2020, "Virtual KITTI 2", arXiv 2001.10773, and the files' own first lines.
    """

    name: ClassVar = "vkitti2"

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Scene, variation and camera around an rgb file are three facts in one."""
        images = sum(1 for _ in tree.find(_V2_IMAGES, _V2_IMAGE))
        return Match("Scene<nn>/<variation>/frames/rgb/Camera_<k>/rgb_<frame>.jpg", images) if images else None

    def frames(self, tree: Tree) -> Iterator[Frame]:
        """Every rgb image, with the labels of its scene, variation, camera and number, whatever folder they lie in."""
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
        """Labels whose image is not there are still labels."""
        return Role.LABEL if _V2_LABEL_NAME.fullmatch(path.rpartition("/")[2]) else None

    def warnings(self, tree: Tree) -> Iterator[str]:
        """The licence, what is incomplete, and what describes the simulated pixels alone."""
        yield f"Virtual KITTI 2's own frames are licensed {_LICENCE}"
        scenes = {folder["scene"] for folder in tree.find_folders(_V2_VIDEO)}
        if unknown := sorted(scene for scene in scenes if scene[-2:] not in {"01", "02", "06", "18", "20"}):
            yield f"{', '.join(unknown)}: not among the scenes of Virtual KITTI 2; made by another exporter?"
        yield from _common_warnings(self.frames(tree), (*_V2_MAPS, "boxes"))
        if next(tree.find(_V2_VIDEO, r"info\.txt"), None) is not None:
            yield "info.txt is carried over unchanged, but its column 'color' tells the colours of the simulated cars"

    def load_label(self, frame: Frame, kind: str) -> Label:
        """Decode one label; colours and classes of objects come from the text files of the video."""
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
_V2_IMAGE: Final = r"rgb_(?P<frame>\d{5})\.jpe?g"
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
# what every colors.txt says, for copies without the text archive
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


@lru_cache(maxsize=4)
def _v2_boxes(path: Path) -> Mapping[tuple[int, int], tuple[Box, ...]]:
    """The boxes of a video by frame and camera; their classes stand in info.txt."""
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


class VirtualKitti1:
    """Virtual KITTI 1.3.1 (and 1.2): vkitti_1.3.1_rgb/0001/clone/00000.png.

    Images and label images have the same names below the folders of the archives; where those were renamed, the header
    of one PNG tells them apart. Gaidon et al. 2016, "Virtual Worlds as Proxy for Multi-Object Tracking Analysis", and
    the archives' READMEs.
    """

    name: ClassVar = "vkitti1"

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """The archive's name, or the header of a PNG, and world, variation and number of a frame."""
        kinds = _v1_kinds(tree)
        images = sum(len(tree.by_frame(folder.path, _V1_FRAME)) for folder in kinds["rgb"])
        return Match("vkitti_1.3.1_rgb/<world>/<variation>/<frame>.png", images) if images else None

    def frames(self, tree: Tree) -> Iterator[Frame]:
        """Every rgb image, with the labels of its world, variation and number."""
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
        """Labels whose image is not there, and the tables of colours, are labels."""
        return Role.LABEL if _V1_LABEL.search(path) else None

    def warnings(self, tree: Tree) -> Iterator[str]:
        """The licence, what is incomplete, and what describes the simulated pixels alone."""
        yield f"Virtual KITTI's own frames are licensed {_LICENCE}"
        yield from _common_warnings(self.frames(tree), ("segmentation", "depth", "flow", "boxes"))
        if any("boxes" in frame.labels for frame in self.frames(tree)):
            yield "motgt is carried over unchanged, but its columns 'model' and 'color' tell the simulated looks"

    def load_label(self, frame: Frame, kind: str) -> Label:
        """Decode one label; the colours of classes come from the table of the video."""
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


_V1_FRAME: Final = r"(?P<frame>\d{5})\.png"
_V1_VIDEO: Final = rf"(?P<archive>[^/]+)/(?P<scene>\d{{4}})/(?P<variation>{_VARIATIONS})"
_V1_ARCHIVE: Final = re.compile(r"vkitti_1\.\d\.\d_(rgb|depthgt|scenegt|flowgt)", re.IGNORECASE)
_V1_KINDS: Final = {"rgb": "rgb", "depthgt": "depth", "scenegt": "segmentation", "flowgt": "flow"}
_V1_LABEL: Final = re.compile(
    rf"/\d{{4}}/(?:{_VARIATIONS})/\d{{5}}\.png$|_scenegt_rgb_encoding\.txt$|mot[^/]*/[^/]*\.txt$", re.IGNORECASE
)
_FEW_COLOURS: Final = 256


def _v1_kinds(tree: Tree) -> Mapping[str, list[PathMatch]]:
    """The folders of frames by what they hold; a renamed archive is judged by one of its files."""
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
    """What the PNGs of a renamed archive hold, by the first of them; an empty string if that cannot be told."""
    table = f"{folder['scene']}_{folder['variation']}_scenegt_rgb_encoding.txt"
    if _named(tree, f"{folder.base}{folder['archive']}", table):
        return "segmentation"
    for first in islice(tree.by_frame(folder.path, _V1_FRAME).values(), 1):
        try:
            header = read_header(tree.root / first)
            if header.bits == 16 and not header.palette:
                return {1: "depth", 3: "flow"}.get(header.channels, "")
            colours = np.unique(read_rgb(tree.root / first).reshape(-1, 3), axis=0)
            return "segmentation" if len(colours) < _FEW_COLOURS else "rgb"
        except ImageError:
            return ""
    return ""


def _v1_colours(mask: Path) -> list[tuple[str, tuple[int, int, int]]]:
    """The table of a video: a row for each class and each vehicle, which is named "Car:0"."""
    world, variation = mask.parts[-3:-1]
    name = f"{world}_{variation}_scenegt_rgb_encoding.txt"
    table = next((path for path in mask.parents[2].iterdir() if path.name.lower() == name.lower()), None)
    if table is None:
        message = f"{mask.parents[2] / name}: missing, and only it tells the classes' colours; restore it"
        raise DatasetError(message)
    rows = read_table(table, {"Category(:id)": str, "r": int, "g": int, "b": int})
    return [(row["Category(:id)"].partition(":")[0], (row["r"], row["g"], row["b"])) for row in rows]


@lru_cache(maxsize=4)
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
    """Group paths by parts of them, without regard to case."""
    found: dict[tuple[str, ...], list[PathMatch]] = defaultdict(list)
    for path in paths:
        found[_key(path, parts)].append(path)
    return found


def _named(tree: Tree, folder: str, name: str) -> str:
    """The path of the file of that name in a folder, without regard to case; an empty string if there is none."""
    prefix = f"{folder}/" if folder else ""
    return next((prefix + entry for entry in tree.names(folder) if entry.lower() == name.lower()), "")


def _common_warnings(frames: Iterable[Frame], kinds: Iterable[str]) -> Iterator[str]:
    """Gaps in the numbers of frames, images that lack a label which others have, and weather in folder names."""
    total, gaps, weather = 0, Counter[str](), set[str]()
    present, lacking, example = Counter[str](), Counter[str](), dict[str, str]()
    for sequence, group in groupby(frames, key=lambda frame: frame.sequence):
        video = list(group)
        total += len(video)
        gaps[sequence] = video[-1].index + 1 - video[0].index - len(video)
        weather |= {sequence.split("/")[1].lower()} & _WEATHER
        for frame, kind in product(video, kinds):
            # motion to the next frame cannot be told of the last, nor motion to the previous one of the first
            edge = video[0] if kind.startswith("backward") else video[-1] if kind.endswith("flow") else None
            if kind in frame.labels:
                present[kind] += 1
            elif frame is not edge:
                lacking[kind] += 1
                example.setdefault(kind, frame.image)
    for kind in present:
        if lacking[kind]:
            yield f"{lacking[kind]} of {total} images have no {kind}, which others have; the first is {example[kind]}"
    if incomplete := +gaps:
        first = next(iter(incomplete))
        yield f"{incomplete.total()} frame numbers are missing inside {len(incomplete)} videos, {first} among them"
    if weather:
        yield f"folders named {', '.join(sorted(weather))} keep their names, which tell the weather of the simulation"
