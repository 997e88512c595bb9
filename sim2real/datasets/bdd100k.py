"""BDD100K: the images of its four packages, each with its own labels.

Layout and codings: github.com/bdd100k/bdd100k (doc/source/download.rst and format.rst, bdd100k/label/label.py and
to_mask.py); corners of boxes: github.com/scalabel/scalabel (scalabel/label/transforms.py).
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from sim2real.datasets.base import Frame, PathMatch, Role
from sim2real.datasets.facts import Facts
from sim2real.datasets.labels import NOTHING, Boxes, Instances, Label, Segmentation, read_index_mask
from sim2real.datasets.layout import FolderLayout
from sim2real.datasets.readers import read_channels, read_scalabel_boxes
from sim2real.datasets.resizing import KEEP, NEAREST
from sim2real.datasets.resizing_documents import SCALABEL

_SPLIT: Final = r"(?P<split>train|val|test)"
_VIDEO: Final = r"[0-9a-f]{8}-[0-9a-f]{8}"
_PNG: Final = rf"(?P<frame>{_VIDEO}(?:-\d{{7}})?)\.png"
_KINDS: Final = {
    "images/10k": ("segmentation", "instance"),
    "images/100k": ("boxes",),
    "images/track": ("boxes",),
    "images/seg_track_20": ("instance",),
    "seg/images": ("segmentation",),
}
_CLASSES: Final = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"),
    *("terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
)
_UNKNOWN: Final = 255
_PANOPTIC: Final = (
    *("unlabeled", "dynamic", "ego vehicle", "ground", "static", "parking", "rail track", "road", "sidewalk", "bridge"),
    *("building", "fence", "garage", "guard rail", "tunnel", "wall", "banner", "billboard", "lane divider"),
    *("parking sign", "pole", "polegroup", "street light", "traffic cone", "traffic device", "traffic light"),
    *("traffic sign", "traffic sign frame", "terrain", "vegetation", "sky", "person", "rider", "bicycle", "bus", "car"),
    *("caravan", "motorcycle", "trailer", "train", "truck"),
)
_FIRST_THING: Final = _PANOPTIC.index("person")


class Bdd100k(FolderLayout):
    """BDD100K: images/10k/train/0a0a0b1a-7c39d841.jpg with labels/...; also 100k, track and seg_track_20."""

    name = "bdd100k"
    rule = "images/{100k,10k,track,seg_track_20}/<split>/<8 hex digits>-<8 hex digits>.jpg"
    images = (
        rf"(?P<package>images/(?:100k|10k|track|seg_track_20)|seg/images)/{_SPLIT}(?:/(?P<video>{_VIDEO}))?",
        rf"(?P<frame>{_VIDEO}(?:-\d{{7}})?)\.(?:jpe?g|png)",
    )
    apart = (
        ("segmentation", rf"labels/sem_seg/masks/{_SPLIT}", _PNG),
        ("segmentation", rf"labels/pan_seg/bitmasks/{_SPLIT}", _PNG),
        ("segmentation", rf"seg/labels/{_SPLIT}", rf"(?P<frame>{_VIDEO})_train_id\.png"),
        ("instance", rf"labels/ins_seg/bitmasks/{_SPLIT}", _PNG),
        ("instance", rf"labels/pan_seg/bitmasks/{_SPLIT}", _PNG),
        ("instance", rf"labels/seg_track_20/bitmasks/{_SPLIT}/(?P<video>{_VIDEO})", _PNG),
        # for images outside of video folders
        ("boxes", r"labels/det_20(?P<video>)", rf"det_{_SPLIT}\.json"),
        ("boxes", r"labels(?P<video>)", rf"bdd100k_labels_images_{_SPLIT}\.json"),
        ("boxes", rf"labels/box_track_20/{_SPLIT}", rf"(?P<video>{_VIDEO})\.json"),
    )
    resizing = (
        (r"(?:^|/)(?:labels|drivable_maps|seg)/.*\.png$", NEAREST),
        (r"(?:^|/)labels/.*\.json$", SCALABEL),
        (r"(?:^|/)info/", KEEP),
    )
    roles = (
        (r"(?:^|/)(?:colormaps|color_labels)/", Role.PSEUDO),
        (r"(?:^|/)(?:labels|drivable_maps|seg)/", Role.LABEL),
        (r"(?:^|/)info/", Role.AUX),
    )
    stale = (
        (
            r"(?:^|/)labels/(?:(?:det|box_track)_20/|100k/|bdd100k_labels_images_).*json$",
            "the attributes 'weather', 'timeofday' and 'trafficLightColor'",
        ),
    )
    facts = Facts(
        title="BDD100K",
        about="Dash camera videos from the United States in many places, times of day and kinds of weather.",
        size="100,000 images (package `100k`, 5.3 GB), 10,000 others (`10k`, 1.1 GB) and the frames of 2,000 videos "
        "(`track`, `seg_track_20`); 1280x720.",
        get="<https://bdd-data.berkeley.edu/> after registration; each archive unpacks into a folder `bdd100k`, and "
        "all of them may share one.",
        tree="bdd100k/images/10k/train/0a0a0b1a-7c39d841.jpg\n"
        "bdd100k/labels/sem_seg/masks/train/0a0a0b1a-7c39d841.png\n"
        "bdd100k/labels/{ins_seg,pan_seg}/bitmasks/train/0a0a0b1a-7c39d841.png\n"
        "bdd100k/images/100k/train/0000f77c-6257be58.jpg\nbdd100k/labels/det_20/det_train.json\n"
        "bdd100k/images/track/train/0000f77c-6257be58/0000f77c-6257be58-0000001.jpg\n"
        "bdd100k/labels/box_track_20/train/0000f77c-6257be58.json\n"
        "bdd100k/{images,labels}/seg_track_20/...",
        licence="by the University of California for education, research and not-for-profit purposes",
        binds=True,
        labels={
            "segmentation": "for `10k` and the release of 2018 (`seg/`): 19 classes, or the 40 of `pan_seg`",
            "instance": "for `10k`, and for `seg_track_20` with tracks",
            "boxes": "for `100k`, and for `track` with tracks",
        },
        irregularities=(
            "`10k` is not a subset of `100k`; images of the same name are labelled separately.",
            (
                "Instances are RGBA images whose blue and **alpha** channels hold one 16-bit number; readers that drop "
                "the alpha channel lose it."
            ),
            "The corners of boxes are pixels inside the box: its width is `x2 - x1 + 1`.",
            "Drivable areas, lanes (packed in bits), polygons and poses are carried, not decoded.",
            "Test images have no labels.",
        ),
        side="real",
        folder="bdd100k",
    )

    def labelled(self, folder: PathMatch, kind: str) -> bool:
        """Return whether the package of the images has labels of this kind."""
        return kind in _KINDS[folder["package"].lower()]

    def load_label(self, frame: Frame, kind: str) -> Label:
        """Decode one label; an image without an entry in its file of boxes has no boxes."""
        path = self.root / frame.labels[kind]
        panoptic = path.parents[2].name.lower() == "pan_seg"
        match kind:
            case "segmentation":
                return _read_panoptic(path) if panoptic else _read_classes(path)
            case "instance":
                return _read_instances(path, first=_FIRST_THING if panoptic else 1)
            case _:
                return _read_boxes(path, Path(frame.image))


def _read_classes(path: Path) -> Segmentation:
    ids = read_index_mask(path).ids
    return Segmentation(np.where(ids == _UNKNOWN, np.int32(NOTHING), ids), dict(enumerate(_CLASSES)))


def _read_panoptic(path: Path) -> Segmentation:
    (ids,) = read_channels(path, 1)
    return Segmentation(np.where(ids > 0, ids, np.int32(NOTHING)), dict(enumerate(_PANOPTIC)))


def _read_instances(path: Path, *, first: int) -> Instances:
    """Read the class from red and the object's number from blue and alpha; classes below ``first`` are no objects."""
    classes, _, high, low = read_channels(path, 4)
    ids = (high << 8) | low
    return Instances(np.where((classes >= first) & (ids > 0), ids, np.int32(NOTHING)))


def _read_boxes(path: Path, image: Path) -> Boxes:
    """Read the boxes of an image; the ids of objects are tracks only in videos."""
    if path.parent.parent.name.lower() == "box_track_20":
        return read_scalabel_boxes(path, image.name, video=image.parent.name)
    return Boxes(tuple(replace(box, track=None) for box in read_scalabel_boxes(path, image.name).boxes))
