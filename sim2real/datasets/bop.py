"""BOP: the datasets of the Benchmark for 6D Object Pose Estimation, and BlenderProc's output in their format.

Names, fields and units: thodan/bop_toolkit, docs/bop_datasets_format.md. Coding of boxes: bop_toolkit_lib/misc.py,
calc_2d_bbox; its widths do not include the last pixel.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sim2real.datasets.base import Frame, PathMatch, Role, Tree
from sim2real.datasets.facts import Facts
from sim2real.datasets.labels import NOTHING, Box, Boxes, Depth, Instances, Label, Segmentation, read_index_mask
from sim2real.datasets.layout import FolderLayout
from sim2real.datasets.readers import errors_in, finite, read_channels, read_json, remembered
from sim2real.datasets.resizing import KEEP, NEAREST, Resizing
from sim2real.datasets.resizing_documents import COCO
from sim2real.datasets.resizing_shapes import BOP_CAMERA, BOP_CAMERAS, BOP_OBJECTS
from sim2real.errors import DatasetError

_SCENE = r"(?:^|/)\d{6}/"
_read_again = remembered(8)(read_json)


class Bop(FolderLayout):
    """BOP: train_pbr/000000/{rgb,gray}/000000.png with depth, mask, mask_visib, scene_gt.json, scene_camera.json."""

    name = "bop"
    rule = "<scene>/{rgb,gray}/<frame>.png with scene_camera.json or scene_gt.json"
    ordered: ClassVar[bool] = False
    images = (r"(?P<scene>\d{6})/(?:rgb|gray)", r"(?P<frame>\d{6})\.(?:png|jpe?g|tiff?)")
    evidence = ((r"\d{6}", r"scene_(?:camera|gt)\.json"),)
    roles = (
        (_SCENE + r"(?:scene_(?:camera|gt|gt_info|gt_coco)\w*\.json$|(?:depth|mask|mask_visib)/)", Role.LABEL),
        (r"(?:^|/)(?:camera\w*|test_targets\w*)\.json$|(?:^|/)dataset_info\.md$|(?:^|/)models\w*/", Role.AUX),
    )
    resizing: ClassVar[Resizing] = (
        (_SCENE + r"scene_camera\w*\.json$", BOP_CAMERAS),
        (_SCENE + r"scene_gt_info\w*\.json$", BOP_OBJECTS),
        (_SCENE + r"scene_gt_coco\w*\.json$", COCO),
        (_SCENE + r"scene_gt\w*\.json$", KEEP),
        (_SCENE + r"(?:depth|mask|mask_visib)/\d{6}\w*\.(?:png|tiff?)$", NEAREST),
        (r"(?:^|/)camera\w*\.json$", BOP_CAMERA),
        (r"(?:^|/)test_targets\w*\.json$|(?:^|/)models\w*/", KEEP),
    )
    sparse = ("instance", "segmentation", "depth", "boxes")  # boxes of test images are not published
    facts = Facts(
        title="BOP",
        about="The format of the Benchmark for 6D Object Pose Estimation (LM, T-LESS, YCB-V, HB, ITODD, ...), also "
        "written by BlenderProc and other renderers.",
        size="train_pbr of each dataset: 50,000 rendered images in 50 scenes.",
        get="<https://bop.felk.cvut.cz/datasets>, or BlenderProc's `write_bop`.",
        tree="{camera,test_targets_bop19}.json\n"
        "models/obj_000001.ply\n"
        "train_pbr/000000/{rgb,gray}/000000.{jpg,png}\n"
        "train_pbr/000000/depth/000000.png\n"
        "train_pbr/000000/{mask,mask_visib}/000000_000000.png\n"
        "train_pbr/000000/{scene_camera,scene_gt,scene_gt_info}.json",
        labels={
            "depth": "millimetres / `depth_scale` of `scene_camera.json`; 0 is unknown",
            "instance": "the position of the object in `scene_gt.json`, from the masks of its visible part",
            "segmentation": "`obj_id`, from the same masks",
            "boxes": "`bbox_visib` with `obj_id`; invisible objects have none",
        },
        licence="that of the dataset, see its `dataset_info.md`",
        irregularities=(
            "Each object has its own mask file; the label of a frame combines all of them.",
            "Widths and heights of boxes do not include the last pixels; these are added when boxes are read.",
            "Camera matrices may differ between images; `--resize` adapts each of them.",
            "Older copies with YAML files are not recognised.",
        ),
        side=None,
        folder="ycbv",
    )

    def labels_of(self, tree: Tree, folder: PathMatch) -> Mapping[str, Mapping[str, str]]:
        """Return depth by frame, the first mask of each frame, and the files of the scene."""
        scene = tree.folder(folder.beside("{scene}"))
        inside = f"{scene}/" if scene else ""
        frames = tree.by_frame(folder.path, self.images[1])
        masks: dict[str, str] = {}
        for name in tree.names(tree.folder(f"{inside}mask_visib")):
            masks.setdefault(name.partition("_")[0], f"{inside}mask_visib/{name}")
        return {
            "depth": tree.by_frame(tree.folder(f"{inside}depth"), r"(?P<frame>\d{6})\.(?:png|tiff?)"),
            "instance": masks,
            "segmentation": masks,
            "boxes": dict.fromkeys(frames, tree.at(f"{inside}scene_gt_info.json")),
        }

    def load_label(self, frame: Frame, kind: str) -> Label:
        """Decode one label."""
        path = self.root / frame.labels[kind]
        if kind == "depth":
            cameras = path.parent.with_name("scene_camera.json")
            with errors_in(cameras, f"it does not state the scale of {frame.labels[kind]}"):
                scale = float(_read_again(cameras)[str(frame.index)]["depth_scale"])
            return Depth(_metres(path, scale))
        scene = path.parent if kind == "boxes" else path.parent.parent
        objects = _objects(scene / "scene_gt.json", frame.index)
        if kind == "boxes":
            with errors_in(path, f"its boxes of {frame.image} are damaged"):
                return Boxes(tuple(_boxes(_read_again(path)[str(frame.index)], objects)))
        ids = _positions(path.parent, frame)
        if kind == "instance":
            return Instances(ids)
        numbers = np.array([*objects, NOTHING], np.int32)  # index -1 is the last entry
        if ids.max() >= len(objects):
            with errors_in(scene / "scene_gt.json", "it does not list the objects of all masks"):
                raise LookupError(f"object {ids.max()} of {frame.image}")
        return Segmentation(numbers[ids], {number: f"obj_{number:06d}" for number in objects})


def _positions(folder: Path, frame: Frame) -> NDArray[np.int32]:
    """Return for each pixel the position of its object in ``scene_gt.json``, by the masks of a folder."""
    ids: NDArray[np.int32] | None = None
    for mask in sorted(folder.glob(f"{frame.index:06d}_*.png")):
        inside = read_index_mask(mask).ids > 0
        ids = np.full(inside.shape, NOTHING, np.int32) if ids is None else ids
        with errors_in(mask, "it is not the mask of an object"):
            ids[inside] = int(mask.stem.rpartition("_")[2])
    if ids is None:
        raise DatasetError(f"{folder}: no mask is named like those of {frame.image}")
    return ids


def _metres(path: Path, scale: float) -> NDArray[np.float32]:
    values = read_channels(path, 1)[0]
    return np.where(values == 0, np.nan, values * (scale / 1000)).astype(np.float32)


def _objects(path: Path, frame: int) -> list[int]:
    """Return the ids of the objects of a frame."""
    with errors_in(path, f"it does not list the objects of frame {frame}"):
        return [int(each["obj_id"]) for each in _read_again(path)[str(frame)]]


def _boxes(entries: list[Mapping[str, Any]], objects: list[int]) -> Iterator[Box]:
    for entry, number in zip(entries, objects, strict=True):
        left, top, width, height = map(finite, entry["bbox_visib"])
        if width >= 0 and height >= 0:  # -1: invisible
            yield Box(f"obj_{number:06d}", left, top, left + width + 1, top + height + 1)
