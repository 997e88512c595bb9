"""SYNTHIA: RAND-CITYSCAPES and the video sequences.

Ros, Sellart, Materzynska, Vazquez, Lopez 2016, "The SYNTHIA Dataset"; codings and classes: the README.txt of each
package.
"""

from pathlib import Path
from typing import ClassVar, Final

import numpy as np

from sim2real.datasets.base import Role
from sim2real.datasets.facts import Facts
from sim2real.datasets.labels import NOTHING, Depth, Instances, Segmentation
from sim2real.datasets.layout import Beside, Decoders, FolderLayout
from sim2real.datasets.readers import read_channels
from sim2real.datasets.resizing import KEEP, NEAREST

_COMMON: Final = (
    *("void", "sky", "building", "road", "sidewalk", "fence", "vegetation", "pole", "car", "traffic sign"),
    *("pedestrian", "bicycle"),
)
_RAND: Final = dict(
    enumerate(
        (
            *_COMMON,
            *("motorcycle", "parking slot", "road work", "traffic light", "terrain", "rider", "truck", "bus", "train"),
            *("wall", "lane marking"),
        )
    )
)
_SEQS: Final = {**dict(enumerate(_COMMON)), 12: "lane marking", 15: "traffic light"}
_LICENCE: Final = "CC BY-NC-SA 3.0, non-commercial"
_FARTHEST: Final = 65535


def _read_instances(path: Path) -> Instances:
    """The second channel: numbers of what moves, 0 elsewhere."""
    _, ids = read_channels(path, 2)
    return Instances(np.where(ids > 0, ids, np.int32(NOTHING)))


def _read_depth(path: Path) -> Depth:
    """Centimetres of 16 bits, the same in each channel; the ends of the coding stand for no distance."""
    (codes,) = read_channels(path, 1)
    known = (codes > 0) & (codes < _FARTHEST)
    return Depth(np.where(known, codes / 100, np.nan).astype(np.float32))


class _Synthia(FolderLayout):
    """What both layouts share."""

    decoders: ClassVar[Decoders] = {"instance": _read_instances, "depth": _read_depth}
    resizing = (
        (r"(?:^|/)(?:GT|Depth)/.*\.png$", NEAREST),
        (r"(?:^|/)CameraParams/.*/\d{6}\.txt$", KEEP),  # poses
    )
    roles = (
        (r"(?:^|/)GT/COLOR/", Role.PSEUDO),
        (r"(?:^|/)(?:GT|Depth)/", Role.LABEL),
        (r"(?:^|/)CameraParams/", Role.AUX),
    )


_KINDS: Final = {
    "segmentation": "class ids of this package alone",
    "instance": "numbers of what moves",
    "depth": "metres, taken as those to the camera's plane: the packages do not say",
}
_CODINGS: Final = (
    (
        "`GT/LABELS` are PNGs of 16 bits: the first channel holds the class, the second the object. Common viewers and "
        "readers keep only the upper 8 bits, which are 0."
    ),
    "`GT/COLOR` is for looking at, says its README; it is never read.",
    "Depths of 0 and of 655.35 m, the ends of the coding, are taken as not known.",
)


class SynthiaRand(_Synthia):
    """SYNTHIA-RAND-CITYSCAPES: RGB/0000000.png with GT/LABELS and Depth."""

    name = "synthia-rand"
    rule = "RGB/<nnnnnnn>.png with GT/LABELS/<nnnnnnn>.png"
    images = (r"RGB", r"(?P<frame>\d{7})\.(?:png|jpe?g)")
    evidence = ((r"GT/(?:LABELS|COLOR)", r"\d{7}\.png"),)
    labels: ClassVar[Beside] = {
        "segmentation": ("GT/LABELS", r"(?P<frame>\d{7})\.png"),
        "instance": ("GT/LABELS", r"(?P<frame>\d{7})\.png"),
    }
    # the archive unpacks to Depth/Depth
    apart = (
        ("depth", r"Depth/Depth", r"(?P<frame>\d{7})\.png"),
        ("depth", r"Depth", r"(?P<frame>\d{7})\.png"),
    )
    decoders: ClassVar[Decoders] = {
        **_Synthia.decoders,
        "segmentation": lambda path: Segmentation(read_channels(path, 1)[0], _RAND),
    }
    facts = Facts(
        title="SYNTHIA-RAND-CITYSCAPES",
        about="Random views of a rendered city with the classes of Cityscapes that are used in tests.",
        size="9,400 images of 1280x760.",
        get="<https://synthia-dataset.net/downloads/>: SYNTHIA-RAND-CITYSCAPES (CVPR16).",
        tree="RAND_CITYSCAPES/RGB/0000000.png\nRAND_CITYSCAPES/GT/LABELS/0000000.png\n"
        "RAND_CITYSCAPES/GT/COLOR/0000000.png\nRAND_CITYSCAPES/Depth/Depth/0000000.png\n...",
        licence=_LICENCE,
        binds=True,
        labels=_KINDS,
        irregularities=(*_CODINGS, "Walls and lane markings have one colour in `GT/COLOR`."),
        folder="RAND_CITYSCAPES",
    )


class SynthiaSequences(_Synthia):
    """SYNTHIA-SEQS: RGB/Stereo_Left/Omni_F/000000.png with GT/LABELS and Depth, eight cameras a sequence."""

    name = "synthia-seqs"
    rule = "RGB/Stereo_<side>/Omni_<view>/<nnnnnn>.png"
    images = (r"RGB/(?P<eye>Stereo_(?:Left|Right))/(?P<view>Omni_[FBLR])", r"(?P<frame>\d{6})\.(?:png|jpe?g)")
    labels: ClassVar[Beside] = {
        "segmentation": ("GT/LABELS/{eye}/{view}", r"(?P<frame>\d{6})\.png"),
        "instance": ("GT/LABELS/{eye}/{view}", r"(?P<frame>\d{6})\.png"),
        "depth": ("Depth/{eye}/{view}", r"(?P<frame>\d{6})\.png"),
    }
    decoders: ClassVar[Decoders] = {
        **_Synthia.decoders,
        "segmentation": lambda path: Segmentation(read_channels(path, 1)[0], _SEQS),
    }
    consecutive = True
    facts = Facts(
        title="SYNTHIA video sequences",
        about="Drives through rendered towns and a motorway, in all seasons, seen by eight cameras at 5 Hz.",
        size="5 drives in up to 11 variations each; images of 1280x760.",
        get="<https://synthia-dataset.net/downloads/>: SYNTHIA-SEQS-01 to 06, an archive for each variation.",
        tree="SYNTHIA-SEQS-04-DAWN/RGB/Stereo_Left/Omni_F/000000.png\n"
        "SYNTHIA-SEQS-04-DAWN/GT/LABELS/Stereo_Left/Omni_F/000000.png\n"
        "SYNTHIA-SEQS-04-DAWN/Depth/Stereo_Left/Omni_F/000000.png\n"
        "SYNTHIA-SEQS-04-DAWN/CameraParams/Stereo_Left/Omni_F/000000.txt\n...",
        licence=_LICENCE,
        binds=True,
        labels=_KINDS,
        irregularities=(*_CODINGS, "Class ids above 11 differ from those of SYNTHIA-RAND-CITYSCAPES."),
        folder="SYNTHIA-SEQS-04-DAWN",
    )
