"""The KITTI family as its archives unpack: colour images are translated, all other files are carried.

A folder of images is recognised by the end of its path. The dataset may therefore lie at any depth, and the folders
``training`` and ``testing`` may be missing. Layouts and codings: the development kits of the KITTI benchmarks.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

from sim2real.datasets.base import Frame, Match, PathMatch, Role, Tree, nearest
from sim2real.datasets.classes import CITYSCAPES
from sim2real.datasets.facts import Facts
from sim2real.datasets.labels import Box, Boxes, Label, read_depth, read_disparity, read_index_mask, read_kitti_flow
from sim2real.datasets.layout import Beside, Decoders, FolderLayout
from sim2real.datasets.readers import read_kitti_boxes, read_kitti_instances, read_kitti_rows, remembered
from sim2real.datasets.resizing import (
    KEEP,
    KITTI_CALIBRATION,
    KITTI_FLOW,
    MATRIX,
    NEAREST,
    PHOTO,
    disparity,
    kitti_boxes,
)
from sim2real.errors import DatasetError
from sim2real.imageio import is_image

_facts = partial(
    Facts, licence="CC BY-NC-SA 3.0, non-commercial", binds=True, side="real", folder="kitti", recipe="vkitti2kitti"
)


class _Kitti(FolderLayout):
    """Base class of the layouts: images of cameras 2 (left) and 3 (right), labels of camera 2."""

    roles = (
        (r"(?:^|/)(?:semantic_rgb|viz_\w+)/", Role.PSEUDO),
        (r"(?:^|/)(?:label_0?[23]|disp_\w+|flow_\w+|semantic|instance|obj_map)/", Role.LABEL),
        (r"(?:^|/)(?:proj_depth|groundtruth_depth)/|/velodyne_raw/|(?:^|/)tracklet_labels\.xml$", Role.LABEL),
        (r"(?:^|/)(?:calib\w*|oxts|velodyne\w*|intrinsics|image_0?[01]|prev_[23])/", Role.AUX),
        (r"(?:^|/)(?:planes|poses|mapping|ImageSets|devkit\w*)/", Role.AUX),
        (r"(?:^|/)(?:calib\w*|times|timestamps\w*)\.txt$", Role.AUX),
    )

    resizing = (
        (r"(?:^|/)(?:proj_depth|groundtruth_depth|semantic|semantic_rgb|instance|obj_map|viz_\w+)/.*\.png$", NEAREST),
        (r"(?:^|/)(?:val_selection_\w+|test_depth_\w+)/velodyne_raw/.*\.png$", NEAREST),
        (r"(?:^|/)disp_\w+/\w+\.png$", disparity()),
        (r"(?:^|/)flow_\w+/\w+\.png$", KITTI_FLOW),
        (r"(?:^|/)label_[23]/[^/]+\.txt$", kitti_boxes()),
        (r"(?:^|/)label_0[23]/[^/]+\.txt$", kitti_boxes(ahead=2)),
        (r"(?:^|/)calib(?:_cam_to_cam)?(?:/[^/]+)?\.txt$", KITTI_CALIBRATION),
        (r"(?:^|/)intrinsics/\w+\.txt$", MATRIX),
        (r"(?:^|/)(?:image_0?[01]|prev_[23])/.*\.(?:png|jpe?g)$", PHOTO),
        (r"(?:^|/)(?:calib_(?:velo|imu)\w+|oxts|velodyne\w*|planes|poses|mapping|ImageSets|devkit\w*)/", KEEP),
        (r"(?:^|/)(?:calib_(?:velo|imu)\w+|times|timestamps\w*)\.txt$|(?:^|/)tracklet_labels\.xml$", KEEP),
    )

    decoders: ClassVar[Decoders] = {
        "segmentation": partial(read_index_mask, names=CITYSCAPES),
        "instance": read_kitti_instances,
        "depth": partial(read_depth, per_metre=256, nothing=0),
        "flow": read_kitti_flow,
        "disparity": read_disparity,
        "boxes": read_kitti_boxes,
    }

    def labels_of(self, tree: Tree, folder: PathMatch) -> Mapping[str, Mapping[str, str]]:
        """Return the labels of the left camera."""
        if not folder["camera"].endswith("2"):
            return {}
        return {kind: tree.by_frame(_place(tree, folder, place), names) for kind, (place, names) in self.labels.items()}


def _place(tree: Tree, folder: PathMatch, name: str) -> str:
    """Return the folder of labels next to a folder of images.

    If it is empty, return the nearest folder of labels in another ``training`` or ``testing`` that has no images.
    """
    beside = tree.folder(folder.base + name)
    around = folder.base.rstrip("/").rpartition("/")[2]
    if tree.names(beside) or around.lower() not in {"training", "testing"}:
        return beside
    images = folder.path.removeprefix(folder.base)
    apart = [
        found for found in tree.find_folders(f"{around}/{name}") if not _holds(tree, f"{found.base}{around}/{images}")
    ]
    return found.path if (found := nearest(apart, folder.path)) else beside


def _holds(tree: Tree, folder: str) -> bool:
    return bool(tree.names(tree.folder(folder)))


_SEMANTICS: Final = {
    "segmentation": ("semantic", r"(?:Kitti2015_)?(?P<frame>\d+_10)\.png"),
    "instance": ("instance", r"(?:Kitti2015_)?(?P<frame>\d+_10)\.png"),
}


class KittiRaw(_Kitti):
    """KITTI raw: 2011_09_26/2011_09_26_drive_0001_sync/image_02/data/0000000000.png."""

    name = "kitti-raw"
    facts = _facts(
        title="KITTI raw",
        about="Recorded drives through Karlsruhe, with the data of all sensors.",
        size="Colour images of two cameras at 10 Hz, about 1242x375; the number depends on the drives.",
        get="Drives are listed at <https://www.cvlibs.net/datasets/kitti/raw_data.php>; download the synced and "
        "rectified ones and the calibration of the same day.",
        tree="2011_09_26/calib_cam_to_cam.txt\n"
        "2011_09_26/2011_09_26_drive_0001_sync/image_02/data/0000000000.png\n"
        "2011_09_26/2011_09_26_drive_0001_sync/{image_00,image_01,image_03,oxts,velodyne_points}/...\n"
        "train/2011_09_26_drive_0001_sync/proj_depth/groundtruth/image_02/0000000005.png",
        labels={"depth": "sparse; only if the archive of the depth benchmark is unpacked into the same tree"},
        irregularities=(
            "Tracklets, poses and point clouds are carried, not decoded.",
            "Cameras 0 and 1 are grey and are carried unchanged; 2 and 3 are translated.",
            "Image sizes differ by day (1242x375, 1241x376, 1224x370, 1226x370, 1238x374).",
            "Copies with images converted to JPEG are accepted.",
            "The depth archive `data_depth_annotated.zip` has no images; the first and last 5 frames have no depth.",
        ),
    )
    rule = "<drive>_sync/image_02/data/<frame>.png"
    images = (
        r"(?P<drive>\w+_drive_\w+_(?:sync|extract))/image_(?P<camera>0[23])/data",
        r"(?P<frame>\d+)\.(?:png|jpe?g)",
    )
    apart = (
        (
            "depth",
            r"(?P<drive>\w+_drive_\w+_(?:sync|extract))/proj_depth/groundtruth/image_(?P<camera>0[23])",
            r"(?P<frame>\d+)\.png",
        ),
    )
    consecutive = True
    sparse = ("depth",)

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Match the folders and names of the images.

        Raises:
            DatasetError: If there are depth maps of KITTI raw drives but no images.
        """
        match = super().recognise(tree)
        depth = None if match else next(tree.find(*cls.apart[0][1:]), None)
        if depth and all("/proj_depth/" in f"/{path.lower()}" for path in tree if is_image(path)):
            message = f"{tree.root / depth.path}: depth maps without images; unpack the KITTI raw drives next to them"
            raise DatasetError(message)
        return match


class KittiDepth(_Kitti):
    """The selected frames of the depth benchmark: val_selection_cropped/{image,groundtruth_depth,velodyne_raw}.

    Names and codings: readme.txt of the benchmark's development kit.
    """

    name = "kitti-depth"
    facts = _facts(
        title="KITTI depth, selected frames",
        about="Cropped frames of KITTI raw for the depth benchmark; its only frames that come with images.",
        size="1,000 validation images with measured depth, and 1,000 and 500 test images without; 1216x352.",
        get="<https://www.cvlibs.net/datasets/kitti/eval_depth_all.php>: `data_depth_selection.zip`.",
        tree="depth_selection/val_selection_cropped/image/2011_09_26_drive_0002_sync_image_0000000005_image_02.png\n"
        "depth_selection/val_selection_cropped/groundtruth_depth/"
        "2011_09_26_drive_0002_sync_groundtruth_depth_0000000005_image_02.png\n"
        "depth_selection/val_selection_cropped/{velodyne_raw,intrinsics}/...\n"
        "depth_selection/{test_depth_completion_anonymous,test_depth_prediction_anonymous}/image/0000000000.png",
        labels={"depth": "accumulated from laser scans, sparse"},
        irregularities=(
            "The depth maps of the full benchmark come without images: see kitti-raw.",
            "Single laser scans (`velodyne_raw`) are carried, not decoded.",
        ),
    )
    rule = "val_selection_cropped or test_depth_*_anonymous, with image/<frame>.png"
    images = (
        r"(?P<selection>val_selection_cropped|test_depth_(?:completion|prediction)_anonymous)/image",
        r"(?P<frame>(?:\w+_drive_\w+_image_0[23])|\d+)\.(?:png|jpe?g)",
    )
    labels: ClassVar[Beside] = {
        "depth": ("{selection}/groundtruth_depth", r"(?P<frame>\w+_drive_\w+_image_0[23])\.png")
    }

    def labels_of(self, tree: Tree, folder: PathMatch) -> Mapping[str, Mapping[str, str]]:
        """Return the depth maps; their names have ``groundtruth_depth`` where most image names have ``image``."""
        place, names = self.labels["depth"]
        depth = tree.by_frame(tree.folder(folder.beside(place)), names)
        images = {number.replace("_groundtruth_depth_", "_image_"): path for number, path in depth.items()}
        return {"depth": {**depth, **images}}


class KittiOdometry(_Kitti):
    """KITTI odometry: sequences/00/image_2/000000.png."""

    name = "kitti-odometry"
    facts = _facts(
        title="KITTI odometry",
        about="Long sequences of stereo images; 11 of them have poses.",
        size="22 sequences.",
        get="<https://www.cvlibs.net/datasets/kitti/eval_odometry.php>: the *colour* archive; grey images are a "
        "separate archive.",
        tree="sequences/00/image_2/000000.png\nsequences/00/{calib.txt,times.txt,image_3,velodyne}\nposes/00.txt",
        irregularities=(
            "Poses are carried, not decoded.",
            "The grey archive alone (`image_0`, `image_1`) contains nothing to translate.",
        ),
    )
    rule = "sequences/<nn>/image_2/<frame>.png with calib.txt"
    images = (r"sequences/\d+/image_(?P<camera>[23])", r"(?P<frame>\d+)\.(?:png|jpe?g)")
    evidence = ((r"sequences/\d+", r"calib\.txt"),)
    consecutive = True


class KittiTracking(_Kitti):
    """KITTI tracking: training/image_02/0000/000000.png with label_02/0000.txt."""

    name = "kitti-tracking"
    facts = _facts(
        title="KITTI tracking",
        about="Sequences with boxes that keep their track number over time.",
        size="21 training and 29 test sequences.",
        get="<https://www.cvlibs.net/datasets/kitti/eval_tracking.php>: left colour images, labels and calibration.",
        tree="training/image_02/0000/000000.png\ntraining/label_02/0000.txt\ntraining/calib/0000.txt\ntesting/...",
        labels={"boxes": "with tracks, of the left colour camera"},
        irregularities=("One label file holds the boxes of a whole sequence and belongs to each of its frames.",),
    )
    rule = "image_02/<sequence>/<frame>.png"
    images = (r"image_(?P<camera>0[23])/(?P<sequence>\d+)", r"(?P<frame>\d+)\.(?:png|jpe?g)")
    consecutive = True

    def labels_of(self, tree: Tree, folder: PathMatch) -> Mapping[str, Mapping[str, str]]:
        """Return one file of boxes for all frames of a sequence."""
        if not folder["camera"].endswith("2"):
            return {}
        sequence = folder["sequence"]
        path = tree.by_frame(_place(tree, folder, "label_02"), rf"(?P<frame>{sequence})\.txt").get(sequence, "")
        return {"boxes": dict.fromkeys(tree.by_frame(folder.path, self.images[1]), path)}

    def load_label(self, frame: Frame, kind: str) -> Label:
        """Return the boxes of a frame from the file of its sequence."""
        return Boxes(_tracks(self.root / frame.labels[kind]).get(frame.index, ()))


class KittiFlow2015(_Kitti):
    """KITTI stereo, flow and scene flow 2015: training/image_2/000000_10.png with disp_occ_0 and flow_occ."""

    name = "kitti-flow2015"
    facts = _facts(
        title="KITTI stereo, flow and scene flow 2015",
        about="Pairs of stereo frames with disparity and flow, including those of moving objects.",
        size="200 training and 200 test scenes of two frames each.",
        get="<https://www.cvlibs.net/datasets/kitti/eval_scene_flow.php>.",
        tree="training/{image_2,image_3}/000000_{10,11}.png\n"
        "training/{disp_occ_0,disp_occ_1,disp_noc_0,disp_noc_1,flow_occ,flow_noc}/000000_10.png\n"
        "testing/{image_2,image_3}/...",
        labels={
            "disparity": "with occluded pixels",
            "flow": "with occluded pixels",
            "segmentation": "if the archive of the semantics benchmark is unpacked into the same folders",
            "instance": "under the same condition",
        },
        irregularities=(
            "Only the frame `_10` has ground truth; `_11` has none.",
            "The maps without occluded pixels and the maps of the second frame are carried as labels.",
            "Test images alone are recognised as a plain folder of images: name the layout with `--dataset`.",
        ),
    )
    rule = "image_2/<frame>_10.png with disp_* or flow_*"
    images = (r"image_(?P<camera>[23])", r"(?P<frame>\d+_\d\d)\.(?:png|jpe?g)")
    evidence = ((r"(?:disp_(?:occ|noc)_[01]|flow_(?:occ|noc))", r"\d+_10\.png"),)
    labels: ClassVar[Beside] = {
        "disparity": ("disp_occ_0", r"(?P<frame>\d+_10)\.png"),
        "flow": ("flow_occ", r"(?P<frame>\d+_10)\.png"),
        **_SEMANTICS,
    }
    sparse = tuple(labels)


class KittiSemantics(_Kitti):
    """KITTI semantics 2015: training/image_2/000000_10.png with semantic, instance and semantic_rgb."""

    name = "kitti-semantics"
    facts = _facts(
        title="KITTI semantics 2015",
        about="The first frames of stereo and flow 2015, with classes and instances.",
        size="200 training and 200 test images.",
        get="<https://www.cvlibs.net/datasets/kitti/eval_semseg.php?benchmark=semantics2015>.",
        tree="training/image_2/000000_10.png\n"
        "training/{semantic,instance,semantic_rgb}/000000_10.png\n"
        "testing/image_2/000000_10.png",
        labels={"segmentation": "ids of Cityscapes", "instance": "256 x class + number"},
        irregularities=(
            "`semantic_rgb` looks like images but shows the classes in colour: it is never translated.",
            (
                "At least one copy in circulation has cropped images (1224x370, with labels of 1242x375), so that "
                "labels and images do not fit; `inspect` reports differing sizes."
            ),
            "The names of the Robust Vision Challenge (`Kitti2015_000000_10.png`) are accepted.",
        ),
    )
    rule = "image_2/<frame>_10.png with semantic or semantic_rgb"
    images = (r"image_(?P<camera>2)", r"(?:Kitti2015_)?(?P<frame>\d+_\d\d)\.(?:png|jpe?g)")
    evidence = ((r"semantic(?:_rgb)?", r"(?:Kitti2015_)?\d+_10\.png"),)
    labels = _SEMANTICS


class KittiObject(_Kitti):
    """KITTI object: training/image_2/000000.png with calib/000000.txt or label_2/000000.txt."""

    name = "kitti-object"
    facts = _facts(
        title="KITTI object",
        about="Images with boxes of cars, pedestrians and cyclists.",
        size="7,481 training and 7,518 test images.",
        get="<https://www.cvlibs.net/datasets/kitti/eval_object.php?obj_benchmark=3d>: left colour images, labels and "
        "calibration.",
        tree="training/image_2/000000.png\n"
        "training/label_2/000000.txt\n"
        "training/calib/000000.txt\n"
        "testing/image_2/000000.png\n"
        "{training,testing}/{image_3,velodyne}/...",
        labels={"boxes": "of the left colour camera"},
        irregularities=(
            "Image sizes differ (see kitti-raw).",
            "`DontCare` rows mark regions, not objects; they are kept as boxes of that class.",
            "The folders `training` and `testing` may be missing; some exporters of simulators omit them.",
            "File names with another number of digits or with a word before the number are accepted.",
            "Images without labels or calibration are recognised as a plain folder of images.",
        ),
    )
    rule = "image_2/<frame>.png with calib or label_2"
    images = (r"image_(?P<camera>[23])", r"(?P<frame>[\w-]*\d)\.(?:png|jpe?g)")
    evidence = ((r"(?:calib|label_2)", r"[\w-]*\d\.txt"),)
    labels: ClassVar[Beside] = {"boxes": ("label_2", r"(?P<frame>[\w-]*\d)\.txt")}


@remembered(4)
def _tracks(path: Path) -> Mapping[int, tuple[Box, ...]]:
    """Return the boxes of a sequence by frame; each row begins with two extra columns, the frame and the track.

    Truncation is a level here, 0 to 2, not a fraction (readme.txt of the tracking benchmark's development kit).
    """
    boxes: dict[int, tuple[Box, ...]] = defaultdict(tuple)
    for (frame, track), box in read_kitti_rows(path, ahead=2):
        boxes[frame] += (replace(box, track=track, truncated=None),)
    return boxes
