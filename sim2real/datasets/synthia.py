"""SYNTHIA: RAND-CITYSCAPES and the video sequences.

Sources: Ros, Sellart, Materzynska, Vazquez, Lopez 2016, "The SYNTHIA Dataset"; for codings and classes, the README.txt
of each package.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

import numpy as np

from sim2real.datasets.base import PathMatch, Role
from sim2real.datasets.facts import Facts
from sim2real.datasets.labels import NOTHING, Instances
from sim2real.datasets.layout import Beside, Decoders, FolderLayout
from sim2real.datasets.readers import read_bounded_depth, read_channels, read_tags
from sim2real.datasets.resizing import KEEP, NEAREST

_COMMON: Final = (
    *("void", "sky", "building", "road", "sidewalk", "fence", "vegetation", "pole", "car", "traffic sign"),
    *("pedestrian", "bicycle"),
)
_RAND: Final = (
    *_COMMON,
    *("motorcycle", "parking slot", "road work", "traffic light", "terrain", "rider", "truck", "bus", "train"),
    *("wall", "lane marking"),
)
_SEQS: Final = {**dict(enumerate(_COMMON)), 12: "lane marking", 15: "traffic light"}


def _read_instances(path: Path) -> Instances:
    """Read the numbers of moving objects from the second channel; 0 is no object."""
    _, ids = read_channels(path, 2)
    return Instances(np.where(ids > 0, ids, np.int32(NOTHING)))


def _decoders(names: Mapping[int, str] | Sequence[str]) -> Decoders:
    """Return the decoders of a package: classes are in the first channel, and depth is equal in all channels."""
    return {
        "segmentation": partial(read_tags, names=names),
        "instance": _read_instances,
        "depth": partial(read_bounded_depth, per_metre=100),
    }


class _Synthia(FolderLayout):
    """Base class of both layouts."""

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
    "segmentation": "class ids, specific to this package",
    "instance": "numbers of moving objects",
    "depth": "metres, assumed to be to the camera's plane: the packages do not say",
}
_CODINGS: Final = (
    (
        "`GT/LABELS` are 16-bit PNGs: the first channel holds the class, the second the object. Common viewers and "
        "readers keep only the upper 8 bits, which are 0."
    ),
    "`GT/COLOR` is only for display, according to its README; it is never read.",
    "Depths of 0 and 655.35 m, the limits of the coding, are treated as unknown.",
)
_facts = partial(Facts, licence="CC BY-NC-SA 3.0, non-commercial", binds=True, labels=_KINDS)


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
    decoders = _decoders(_RAND)
    facts = _facts(
        title="SYNTHIA-RAND-CITYSCAPES",
        about="Random views of a rendered city, with the Cityscapes classes that are used for evaluation.",
        size="9,400 images of 1280x760.",
        get="<https://synthia-dataset.net/downloads/>: SYNTHIA-RAND-CITYSCAPES (CVPR16).",
        tree="RAND_CITYSCAPES/RGB/0000000.png\nRAND_CITYSCAPES/GT/LABELS/0000000.png\n"
        "RAND_CITYSCAPES/GT/COLOR/0000000.png\nRAND_CITYSCAPES/Depth/Depth/0000000.png\n...",
        irregularities=(*_CODINGS, "Walls and lane markings share a colour in `GT/COLOR`."),
        folder="RAND_CITYSCAPES",
    )

    def sequence_of(self, folder: PathMatch, camera: str) -> str:  # noqa: ARG002  see the base class
        """Return no sequence: each image shows another view."""
        return ""


class SynthiaSequences(_Synthia):
    """SYNTHIA-SEQS: RGB/Stereo_Left/Omni_F/000000.png with GT/LABELS and Depth, eight cameras per sequence."""

    name = "synthia-seqs"
    rule = "RGB/Stereo_<side>/Omni_<view>/<nnnnnn>.png"
    images = (r"RGB/(?P<eye>Stereo_(?:Left|Right))/(?P<view>Omni_[FBLR])", r"(?P<frame>\d{6})\.(?:png|jpe?g)")
    labels: ClassVar[Beside] = {
        "segmentation": ("GT/LABELS/{eye}/{view}", r"(?P<frame>\d{6})\.png"),
        "instance": ("GT/LABELS/{eye}/{view}", r"(?P<frame>\d{6})\.png"),
        "depth": ("Depth/{eye}/{view}", r"(?P<frame>\d{6})\.png"),
    }
    decoders = _decoders(_SEQS)
    consecutive = True
    facts = _facts(
        title="SYNTHIA video sequences",
        about="Drives through rendered towns and a motorway, in all seasons, seen by eight cameras at 5 Hz.",
        size="5 drives in up to 11 variations each; images of 1280x760.",
        get="<https://synthia-dataset.net/downloads/>: SYNTHIA-SEQS-01 to 06, one archive per variation.",
        tree="SYNTHIA-SEQS-04-DAWN/RGB/Stereo_Left/Omni_F/000000.png\n"
        "SYNTHIA-SEQS-04-DAWN/GT/LABELS/Stereo_Left/Omni_F/000000.png\n"
        "SYNTHIA-SEQS-04-DAWN/Depth/Stereo_Left/Omni_F/000000.png\n"
        "SYNTHIA-SEQS-04-DAWN/CameraParams/Stereo_Left/Omni_F/000000.txt\n...",
        irregularities=(*_CODINGS, "Class ids above 11 differ from those of SYNTHIA-RAND-CITYSCAPES."),
        folder="SYNTHIA-SEQS-04-DAWN",
    )
