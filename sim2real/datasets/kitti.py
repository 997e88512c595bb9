"""The KITTI family as its archives unpack: colour images are translated, and all else is carried.

A folder of images is known by the end of its path, so that it does not matter how deep the dataset lies, or whether
the folders ``training`` and ``testing`` are there. Layouts and codings: the development kits of the KITTI benchmarks.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import ClassVar, Final

import numpy as np

from sim2real.datasets.base import Frame, PathMatch, Role, Tree
from sim2real.datasets.classes import CITYSCAPES
from sim2real.datasets.labels import (
    NOTHING,
    Box,
    Boxes,
    Instances,
    Label,
    read_disparity,
    read_index_mask,
    read_kitti_flow,
)
from sim2real.datasets.layout import FolderLayout
from sim2real.datasets.readers import read_kitti_boxes, read_kitti_rows


def _read_instances(path: Path) -> Instances:
    """16 bits: the class in the upper 8, the number of the object, or 0, in the lower ones."""
    ids = read_index_mask(path).ids
    return Instances(np.where(ids % 256 > 0, ids, np.int32(NOTHING)))


class _Kitti(FolderLayout):
    """What the layouts share: folders of camera 2 and 3, the labels are those of camera 2, the left one."""

    roles = (
        (r"(?:^|/)(?:semantic_rgb|viz_\w+)/", Role.PSEUDO),
        (
            r"(?:^|/)(?:label_0?[23]|disp_\w+|flow_\w+|semantic|instance|obj_map)/|(?:^|/)tracklet_labels\.xml$",
            Role.LABEL,
        ),
    )

    decoders: ClassVar[Mapping[str, Callable[[Path], Label]]] = {
        "segmentation": partial(read_index_mask, names=CITYSCAPES),
        "instance": _read_instances,
        "flow": read_kitti_flow,
        "disparity": read_disparity,
        "boxes": read_kitti_boxes,
    }

    def labels_of(self, tree: Tree, folder: PathMatch) -> Mapping[str, Mapping[str, str]]:
        """The labels of the left camera."""
        return super().labels_of(tree, folder) if folder["camera"].endswith("2") else {}

    def warnings(self, tree: Tree) -> Iterator[str]:  # noqa: ARG002  the protocol's arguments
        """The licence."""
        yield "KITTI is licensed CC BY-NC-SA 3.0, non-commercial: a converted copy is an adaptation under that licence"


_SEMANTICS: Final = {
    "segmentation": ("semantic", r"(?:Kitti2015_)?(?P<frame>\d{6}_10)\.png"),
    "instance": ("instance", r"(?:Kitti2015_)?(?P<frame>\d{6}_10)\.png"),
}


class KittiRaw(_Kitti):
    """KITTI raw: 2011_09_26/2011_09_26_drive_0001_sync/image_02/data/0000000000.png."""

    name = "kitti-raw"
    rule = "<drive>_sync/image_02/data/<frame>.png"
    images = (r"\w+_drive_\w+_(?:sync|extract)/image_(?P<camera>0[23])/data", r"(?P<frame>\d{10})\.(?:png|jpe?g)")


class KittiOdometry(_Kitti):
    """KITTI odometry: sequences/00/image_2/000000.png."""

    name = "kitti-odometry"
    rule = "sequences/<nn>/image_2/<frame>.png with calib.txt"
    images = (r"sequences/\d\d/image_(?P<camera>[23])", r"(?P<frame>\d{6})\.(?:png|jpe?g)")
    evidence = ((r"sequences/\d\d", r"calib\.txt"),)


class KittiTracking(_Kitti):
    """KITTI tracking: training/image_02/0000/000000.png with label_02/0000.txt."""

    name = "kitti-tracking"
    rule = "image_02/<sequence>/<frame>.png"
    images = (r"image_(?P<camera>0[23])/(?P<sequence>\d{4})", r"(?P<frame>\d{6})\.(?:png|jpe?g)")

    def labels_of(self, tree: Tree, folder: PathMatch) -> Mapping[str, Mapping[str, str]]:
        """One file of boxes for all frames of a sequence."""
        if not folder["camera"].endswith("2"):
            return {}
        sequence = folder["sequence"]
        path = tree.by_frame(tree.folder(f"{folder.base}label_02"), rf"(?P<frame>{sequence})\.txt").get(sequence, "")
        return {"boxes": dict.fromkeys(tree.by_frame(folder.path, self.images[1]), path)}

    def load_label(self, frame: Frame, kind: str) -> Label:
        """The boxes of a frame, out of those of its sequence."""
        return Boxes(_tracks(self.root / frame.labels[kind]).get(frame.index, ()))


class KittiFlow2015(_Kitti):
    """KITTI stereo, flow and scene flow 2015: training/image_2/000000_10.png with disp_occ_0 and flow_occ."""

    name = "kitti-flow2015"
    rule = "image_2/<frame>_10.png with disp_* or flow_*"
    images = (r"image_(?P<camera>[23])", r"(?P<frame>\d{6}_\d\d)\.png")
    evidence = ((r"(?:disp_(?:occ|noc)_[01]|flow_(?:occ|noc))", r"\d{6}_10\.png"),)
    labels: ClassVar[Mapping[str, tuple[str, str]]] = {
        "disparity": ("disp_occ_0", r"(?P<frame>\d{6}_10)\.png"),
        "flow": ("flow_occ", r"(?P<frame>\d{6}_10)\.png"),
        **_SEMANTICS,
    }


class KittiSemantics(_Kitti):
    """KITTI semantics 2015: training/image_2/000000_10.png with semantic, instance and semantic_rgb."""

    name = "kitti-semantics"
    rule = "image_2/<frame>_10.png with semantic or semantic_rgb"
    images = (r"image_(?P<camera>2)", r"(?:Kitti2015_)?(?P<frame>\d{6}_\d\d)\.png")
    evidence = ((r"semantic(?:_rgb)?", r"(?:Kitti2015_)?\d{6}_10\.png"),)
    labels = _SEMANTICS


class KittiObject(_Kitti):
    """KITTI object: training/image_2/000000.png with calib/000000.txt or label_2/000000.txt."""

    name = "kitti-object"
    rule = "image_2/<frame>.png with calib or label_2"
    images = (r"image_(?P<camera>[23])", r"(?P<frame>\d{6})\.(?:png|jpe?g)")
    evidence = ((r"(?:calib|label_2)", r"\d{6}\.txt"),)
    labels: ClassVar[Mapping[str, tuple[str, str]]] = {"boxes": ("label_2", r"(?P<frame>\d{6})\.txt")}


@lru_cache(maxsize=4)
def _tracks(path: Path) -> Mapping[int, tuple[Box, ...]]:
    """The boxes of a sequence by frame: two columns more than those of a frame, its number and the track."""
    boxes: dict[int, tuple[Box, ...]] = defaultdict(tuple)
    for (frame, track), box in read_kitti_rows(path, ahead=2):
        boxes[frame] += (replace(box, track=track),)
    return boxes
