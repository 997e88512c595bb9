"""GTA5, "Playing for Data": images and labels with equal numbers; the ten archives may lie apart or together.

Sources: Richter, Vineet, Roth, Koltun 2016, arXiv 1608.02192; for class ids and names, its mapping for Matlab.
"""

from functools import partial
from itertools import islice
from pathlib import Path
from typing import ClassVar, Final

from sim2real.datasets.base import Match, Role, Tree
from sim2real.datasets.classes import CITYSCAPES
from sim2real.datasets.facts import Facts
from sim2real.datasets.labels import read_index_mask
from sim2real.datasets.layout import Decoders, FolderLayout
from sim2real.datasets.resizing import KEEP, NEAREST
from sim2real.errors import ImageError
from sim2real.imageio import read_header

_LOOKED_AT: Final = 4
_CLASSES: Final = (*CITYSCAPES, "license plate")


class Gta5(FolderLayout):
    """GTA5: images/00001.png with the palette image labels/00001.png."""

    name = "gta5"
    rule = "images/<nnnnn>.png with palette images labels/<nnnnn>.png"
    # the folders of the archives are called 01_images and 01_labels
    images = (r"(?P<part>[^/]*?)(?:_images)?/images", r"(?P<frame>\d{5})\.(?:png|jpe?g)")
    evidence = ((r"labels", r"\d{5}\.png"),)
    apart = (("segmentation", r"(?P<part>[^/]*?)(?:_labels)?/labels", r"(?P<frame>\d{5})\.png"),)
    decoders: ClassVar[Decoders] = {"segmentation": partial(read_index_mask, names=_CLASSES)}
    resizing = ((r"(?:^|/)labels/\d{5}\w*\.png$", NEAREST), (r"(?:^|/)read_mapping/|\.mat$", KEEP))
    roles = ((r"(?:^|/)labels/\d{5}\w*\.png$", Role.LABEL), (r"(?:^|/)read_mapping/|\.mat$", Role.AUX))
    facts = Facts(
        title="GTA5 (Playing for Data)",
        about="Frames of the computer game Grand Theft Auto V with the classes of Cityscapes.",
        size="24,966 images in 10 parts, most of them 1914x1052.",
        get="<https://download.visinf.tu-darmstadt.de/data/from_games/>: the parts of images and labels; unpack each "
        "pair into its own folder, or all of them into one.",
        tree="gta5/images/00001.png\ngta5/labels/00001.png\n...",
        licence="for research and education only; the game's publisher allows non-commercial use of its footage",
        binds=True,
        labels={"segmentation": "palette images with the ids 0 to 33 of Cityscapes, and 34 for licence plates"},
        irregularities=(
            (
                "Some images are 1046 pixels high, and the sizes of some labels and images differ; `inspect` reports "
                "these."
            ),
            "Some copies have only 24,941 pairs.",
            "Labels that were converted to grey images with other ids are not recognised.",
        ),
        folder="gta5",
    )

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Match images and labels if at least one of the first labels is a palette image."""
        labels = islice(tree.find(*cls.evidence[0]), _LOOKED_AT)
        return super().recognise(tree) if any(_has_palette(tree.root / label.path) for label in labels) else None


def _has_palette(path: Path) -> bool:
    try:
        return read_header(path).palette
    except ImageError:  # reported when it is decoded
        return False
