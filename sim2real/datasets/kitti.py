"""The KITTI family as its archives unpack: colour images are translated, and all else is carried.

A folder of images is known by the end of its path, so that it does not matter how deep the dataset lies, or whether
the folders ``training`` and ``testing`` are there. Layouts and codings: the development kits of the KITTI benchmarks.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Final

import numpy as np

from sim2real.datasets.base import Frame, Match, PathMatch, Role, Tree
from sim2real.datasets.labels import (
    NOTHING,
    Box,
    Boxes,
    Instances,
    Label,
    read_disparity,
    read_index_mask,
    read_kitti_flow,
    read_rows,
)
from sim2real.errors import DatasetError


class _Kitti:
    """What the layouts share; each of them is a table.

    Attributes:
        rule: What :meth:`recognise` looks for, in words.
        images: End of the path of a folder of colour images, with a group ``camera``, and the names in it, with a group
            ``frame``.
        evidence: Folder and names of files of which one has to be there too; none if ``images`` says enough.
        labels: Kind of label of camera 2 -> folder and names, likewise, beside the folder of images.
    """

    name: ClassVar[str]
    rule: ClassVar[str]
    images: ClassVar[tuple[str, str]]
    evidence: ClassVar[tuple[str, str] | None] = None
    labels: ClassVar[Mapping[str, tuple[str, str]]] = {}

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """The images, and what else belongs to the layout."""
        images = sum(1 for _ in tree.find(*cls.images))
        if not images or (cls.evidence and next(tree.find(*cls.evidence), None) is None):
            return None
        return Match(cls.rule, images)

    def frames(self, tree: Tree) -> Iterator[Frame]:
        """Every colour image; the labels are those of the left camera."""
        for folder in tree.find_folders(self.images[0]):
            left = folder["camera"].endswith("2")
            labels = self._labels(tree, folder) if left else {}
            for number, image in tree.by_frame(folder.path, self.images[1]).items():
                yield Frame(
                    image,
                    sequence=folder.path,
                    index=int(number.replace("_", "")),
                    labels={kind: paths.get(number, "") for kind, paths in labels.items()},
                )

    def _labels(self, tree: Tree, folder: PathMatch) -> dict[str, Mapping[str, str]]:
        """For each kind of label the paths by the number of the frame."""
        return {
            kind: tree.by_frame(tree.folder(folder.base + name), names) for kind, (name, names) in self.labels.items()
        }

    def role(self, path: str) -> Role | None:
        """Colour pictures of labels are never translated, labels of missing images are still labels."""
        return next((role for pattern, role in _ROLES if pattern.search(path)), None)

    def warnings(self, tree: Tree) -> Iterator[str]:  # noqa: ARG002  the protocol's arguments
        """The licence."""
        yield "KITTI is licensed CC BY-NC-SA 3.0, non-commercial: a converted copy is an adaptation under that licence"

    def load_label(self, frame: Frame, kind: str) -> Label:
        """Decode one label."""
        path = self.root / frame.labels[kind]
        match kind:
            case "segmentation":
                return read_index_mask(path, names=CITYSCAPES)
            case "instance":
                ids = read_index_mask(path).ids
                return Instances(np.where(ids % 256 > 0, ids, np.int32(NOTHING)))
            case "flow":
                return read_kitti_flow(path)
            case "disparity":
                return read_disparity(path)
            case _:
                return Boxes(self._boxes(path, frame))

    def _boxes(self, path: Path, frame: Frame) -> tuple[Box, ...]:  # noqa: ARG002  tracks have a file for all frames
        return tuple(box for _, box in _boxes(path))


_ROLES: Final = (
    (re.compile(r"(?:^|/)(?:semantic_rgb|viz_\w+)/", re.IGNORECASE), Role.PSEUDO),
    (
        re.compile(
            r"(?:^|/)(?:label_0?[23]|disp_\w+|flow_\w+|semantic|instance|obj_map)/|(?:^|/)tracklet_labels\.xml$",
            re.IGNORECASE,
        ),
        Role.LABEL,
    ),
)
_SEMANTICS: Final = {
    "segmentation": ("semantic", r"(?:Kitti2015_)?(?P<frame>\d{6}_10)\.png"),
    "instance": ("instance", r"(?:Kitti2015_)?(?P<frame>\d{6}_10)\.png"),
}
CITYSCAPES: Final = (
    *("unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "road"),
    *("sidewalk", "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole"),
    *("polegroup", "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car", "truck"),
    *("bus", "caravan", "trailer", "train", "motorcycle", "bicycle"),
)
"""Names of the class ids 0 to 33 (cityscapesScripts, labels.py), which KITTI's semantics share."""


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
    evidence = (r"sequences/\d\d", r"calib\.txt")


class KittiTracking(_Kitti):
    """KITTI tracking: training/image_02/0000/000000.png with label_02/0000.txt."""

    name = "kitti-tracking"
    rule = "image_02/<sequence>/<frame>.png"
    images = (r"image_(?P<camera>0[23])/(?P<sequence>\d{4})", r"(?P<frame>\d{6})\.(?:png|jpe?g)")

    def _labels(self, tree: Tree, folder: PathMatch) -> dict[str, Mapping[str, str]]:
        sequence = folder["sequence"]
        path = tree.by_frame(tree.folder(f"{folder.base}label_02"), rf"(?P<frame>{sequence})\.txt").get(sequence, "")
        return {"boxes": dict.fromkeys(tree.by_frame(folder.path, self.images[1]), path)}

    def _boxes(self, path: Path, frame: Frame) -> tuple[Box, ...]:
        return _tracks(path).get(frame.index, ())


class KittiFlow2015(_Kitti):
    """KITTI stereo, flow and scene flow 2015: training/image_2/000000_10.png with disp_occ_0 and flow_occ."""

    name = "kitti-flow2015"
    rule = "image_2/<frame>_10.png with disp_* or flow_*"
    images = (r"image_(?P<camera>[23])", r"(?P<frame>\d{6}_\d\d)\.png")
    evidence = (r"(?:disp_(?:occ|noc)_[01]|flow_(?:occ|noc))", r"\d{6}_10\.png")
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
    evidence = (r"semantic(?:_rgb)?", r"(?:Kitti2015_)?\d{6}_10\.png")
    labels = _SEMANTICS


class KittiObject(_Kitti):
    """KITTI object: training/image_2/000000.png with calib/000000.txt or label_2/000000.txt."""

    name = "kitti-object"
    rule = "image_2/<frame>.png with calib or label_2"
    images = (r"image_(?P<camera>[23])", r"(?P<frame>\d{6})\.(?:png|jpe?g)")
    evidence = (r"(?:calib|label_2)", r"\d{6}\.txt")
    labels: ClassVar[Mapping[str, tuple[str, str]]] = {"boxes": ("label_2", r"(?P<frame>\d{6})\.txt")}


@lru_cache(maxsize=4)
def _tracks(path: Path) -> Mapping[int, tuple[Box, ...]]:
    """The boxes of a sequence by frame: two columns more than those of a frame, its number and the track."""
    boxes: dict[int, tuple[Box, ...]] = defaultdict(tuple)
    for (frame, track), box in _boxes(path, ahead=2):
        boxes[frame] += (replace(box, track=track),)
    return boxes


def _boxes(path: Path, ahead: int = 0) -> Iterator[tuple[list[int], Box]]:
    """The boxes of a label file, each with the numbers that stand in the columns ahead of it.

    15 columns tell of a box; results of a detector have one more, the score.
    """
    for number, row in read_rows(path):
        try:
            label, truncated, *_ = row[ahead:]
            left, top, right, bottom = map(float, row[ahead + 4 : ahead + 8])
            share = float(truncated)
            yield (
                [int(each) for each in row[:ahead]],
                Box(label, left, top, right, bottom, truncated=share if 0 <= share <= 1 else None),
            )
        except ValueError as error:
            message = f"{path}: line {number} tells of no box: {error}"
            raise DatasetError(message) from error
