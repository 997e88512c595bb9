"""The KITTI family as its archives unpack: colour images are translated, and all else is carried.

A folder of images is known by the end of its path, so that it does not matter how deep the dataset lies, or whether
the folders ``training`` and ``testing`` are there. Layouts and codings: the development kits of the KITTI benchmarks.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import ClassVar, Final

import numpy as np

from sim2real.datasets.base import Frame, PathMatch, Role, Tree
from sim2real.datasets.classes import CITYSCAPES
from sim2real.datasets.facts import Facts
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


_facts = partial(
    Facts, licence="CC BY-NC-SA 3.0, non-commercial", binds=True, side="real", folder="kitti", recipe="vkitti2kitti"
)


class _Kitti(FolderLayout):
    """What the layouts share: folders of camera 2 and 3, the labels are those of camera 2, the left one."""

    roles = (
        (r"(?:^|/)(?:semantic_rgb|viz_\w+)/", Role.PSEUDO),
        (
            r"(?:^|/)(?:label_0?[23]|disp_\w+|flow_\w+|semantic|instance|obj_map)/|(?:^|/)tracklet_labels\.xml$",
            Role.LABEL,
        ),
        (
            (
                r"(?:^|/)(?:calib\w*|oxts|velodyne\w*|image_0?[01]|prev_[23]|planes|poses|mapping|ImageSets|devkit\w*)/"
                r"|(?:^|/)(?:calib\w*|times|timestamps\w*)\.txt$"
            ),
            Role.AUX,
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


_SEMANTICS: Final = {
    "segmentation": ("semantic", r"(?:Kitti2015_)?(?P<frame>\d{6}_10)\.png"),
    "instance": ("instance", r"(?:Kitti2015_)?(?P<frame>\d{6}_10)\.png"),
}


class KittiRaw(_Kitti):
    """KITTI raw: 2011_09_26/2011_09_26_drive_0001_sync/image_02/data/0000000000.png."""

    name = "kitti-raw"
    facts = _facts(
        title="KITTI raw",
        about="Drives through Karlsruhe as recorded, with all sensors.",
        size="Colour images of two cameras at 10 Hz, about 1242x375; it depends on the drives.",
        get=(
            "Drives are listed at <https://www.cvlibs.net/datasets/kitti/raw_data.php>; take the synced and rectified "
            "ones and the calibration of their day."
        ),
        tree=(
            "2011_09_26/calib_cam_to_cam.txt\n"
            "2011_09_26/2011_09_26_drive_0001_sync/image_02/data/0000000000.png\n"
            "2011_09_26/2011_09_26_drive_0001_sync/{image_00,image_01,image_03,oxts,velodyne_points}/..."
        ),
        irregularities=(
            "Tracklets, poses and point clouds are carried, not decoded.",
            "Cameras 0 and 1 are grey and are carried unchanged; 2 and 3 are translated.",
            "Image sizes differ by day (1242x375, 1241x376, 1224x370, 1226x370, 1238x374).",
            "Copies with the images turned into JPEG are accepted.",
        ),
    )
    rule = "<drive>_sync/image_02/data/<frame>.png"
    images = (r"\w+_drive_\w+_(?:sync|extract)/image_(?P<camera>0[23])/data", r"(?P<frame>\d{10})\.(?:png|jpe?g)")
    consecutive = True


class KittiOdometry(_Kitti):
    """KITTI odometry: sequences/00/image_2/000000.png."""

    name = "kitti-odometry"
    facts = _facts(
        title="KITTI odometry",
        about="Long sequences of stereo images; 11 of them have poses.",
        size="22 sequences.",
        get=(
            "<https://www.cvlibs.net/datasets/kitti/eval_odometry.php>: the *colour* archive; grey and colour come "
            "apart."
        ),
        tree=("sequences/00/image_2/000000.png\nsequences/00/{calib.txt,times.txt,image_3,velodyne}\nposes/00.txt"),
        irregularities=(
            "Poses are carried, not decoded.",
            "With the grey archive alone (`image_0`, `image_1`) there is nothing to translate.",
        ),
    )
    rule = "sequences/<nn>/image_2/<frame>.png with calib.txt"
    images = (r"sequences/\d\d/image_(?P<camera>[23])", r"(?P<frame>\d{6})\.(?:png|jpe?g)")
    evidence = ((r"sequences/\d\d", r"calib\.txt"),)
    consecutive = True


class KittiTracking(_Kitti):
    """KITTI tracking: training/image_02/0000/000000.png with label_02/0000.txt."""

    name = "kitti-tracking"
    facts = _facts(
        title="KITTI tracking",
        about="Sequences with boxes that keep their number through time.",
        size="21 training and 29 test sequences.",
        get="<https://www.cvlibs.net/datasets/kitti/eval_tracking.php>: left colour images, labels and calibration.",
        tree=("training/image_02/0000/000000.png\ntraining/label_02/0000.txt\ntraining/calib/0000.txt\ntesting/..."),
        labels={"boxes": "with tracks, of the left colour camera"},
        irregularities=("One label file serves a whole sequence: it belongs to each of its frames.",),
    )
    rule = "image_02/<sequence>/<frame>.png"
    images = (r"image_(?P<camera>0[23])/(?P<sequence>\d{4})", r"(?P<frame>\d{6})\.(?:png|jpe?g)")
    consecutive = True

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
    facts = _facts(
        title="KITTI stereo, flow and scene flow 2015",
        about="Pairs of stereo frames with disparity and flow of what moves, too.",
        size="200 training and 200 test scenes of two frames each.",
        get="<https://www.cvlibs.net/datasets/kitti/eval_scene_flow.php>.",
        tree=(
            "training/{image_2,image_3}/000000_{10,11}.png\n"
            "training/{disp_occ_0,disp_occ_1,disp_noc_0,disp_noc_1,flow_occ,flow_noc}/000000_10.png\n"
            "testing/{image_2,image_3}/..."
        ),
        labels={
            "disparity": "with occluded pixels",
            "flow": "with occluded pixels",
            "segmentation": "where the archive of the semantics is unpacked into the same folders",
            "instance": "likewise",
        },
        irregularities=(
            "Ground truth belongs to the frame `_10`; `_11` has none.",
            "The maps without occluded pixels, and those of the second frame, are carried as labels.",
            "The test images alone are taken for a plain folder: name the layout with `--dataset`.",
        ),
    )
    rule = "image_2/<frame>_10.png with disp_* or flow_*"
    images = (r"image_(?P<camera>[23])", r"(?P<frame>\d{6}_\d\d)\.png")
    evidence = ((r"(?:disp_(?:occ|noc)_[01]|flow_(?:occ|noc))", r"\d{6}_10\.png"),)
    labels: ClassVar[Mapping[str, tuple[str, str]]] = {
        "disparity": ("disp_occ_0", r"(?P<frame>\d{6}_10)\.png"),
        "flow": ("flow_occ", r"(?P<frame>\d{6}_10)\.png"),
        **_SEMANTICS,
    }
    sparse = tuple(labels)


class KittiSemantics(_Kitti):
    """KITTI semantics 2015: training/image_2/000000_10.png with semantic, instance and semantic_rgb."""

    name = "kitti-semantics"
    facts = _facts(
        title="KITTI semantics 2015",
        about="The first frames of stereo and flow 2015 with classes and instances.",
        size="200 training and 200 test images.",
        get="<https://www.cvlibs.net/datasets/kitti/eval_semseg.php?benchmark=semantics2015>.",
        tree=(
            "training/image_2/000000_10.png\n"
            "training/{semantic,instance,semantic_rgb}/000000_10.png\n"
            "testing/image_2/000000_10.png"
        ),
        labels={"segmentation": "ids of Cityscapes", "instance": "256 x class + number"},
        irregularities=(
            "`semantic_rgb` looks like images but shows classes in colour: it is never translated.",
            (
                "At least one copy with cropped images (1224x370 beside labels of 1242x375) is about, in which labels "
                "and images no longer fit; `inspect` tells when sizes differ."
            ),
            "The names of the Robust Vision Challenge (`Kitti2015_000000_10.png`) are accepted.",
        ),
    )
    rule = "image_2/<frame>_10.png with semantic or semantic_rgb"
    images = (r"image_(?P<camera>2)", r"(?:Kitti2015_)?(?P<frame>\d{6}_\d\d)\.png")
    evidence = ((r"semantic(?:_rgb)?", r"(?:Kitti2015_)?\d{6}_10\.png"),)
    labels = _SEMANTICS


class KittiObject(_Kitti):
    """KITTI object: training/image_2/000000.png with calib/000000.txt or label_2/000000.txt."""

    name = "kitti-object"
    facts = _facts(
        title="KITTI object",
        about="Images with boxes of cars, pedestrians and cyclists.",
        size="7,481 training and 7,518 test images.",
        get=(
            "<https://www.cvlibs.net/datasets/kitti/eval_object.php?obj_benchmark=3d>: left colour images, labels and "
            "calibration."
        ),
        tree=(
            "training/image_2/000000.png\n"
            "training/label_2/000000.txt\n"
            "training/calib/000000.txt\n"
            "testing/image_2/000000.png\n"
            "{training,testing}/{image_3,velodyne}/..."
        ),
        labels={"boxes": "of the left colour camera"},
        irregularities=(
            "Image sizes differ (see kitti-raw).",
            "Rows `DontCare` mark regions, not objects; they are kept as boxes of that name.",
            "The folders `training` and `testing` may be missing, as some exporters of simulators leave them out.",
            "Images alone, without labels or calibration, are taken for a plain folder.",
        ),
    )
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
