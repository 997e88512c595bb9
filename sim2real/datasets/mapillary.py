"""Mapillary Vistas: releases 1.2 and 2.0, and the older release without a folder for its version.

Layout and codings: README and demo.py of the dataset, and its description in Datumaro
(github.com/open-edge-platform/datumaro, docs/source/docs/data-formats/formats/mapillary_vistas.md).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from sim2real.datasets.base import Frame, Role, Tree
from sim2real.datasets.facts import Facts
from sim2real.datasets.labels import NOTHING, Instances, Label, Segmentation, read_index_mask
from sim2real.datasets.layout import FolderLayout
from sim2real.datasets.readers import errors_in, read_json, remembered
from sim2real.datasets.resizing import KEEP, NEAREST
from sim2real.datasets.resizing_documents import COCO, outlines
from sim2real.errors import DatasetError

_SPLIT: Final = r"(?P<split>training|validation|testing)"
_PNG: Final = r"(?P<frame>[\w-]{22})\.png"
_KINDS: Final = {"segmentation": "labels", "instance": "instances"}


class MapillaryVistas(FolderLayout):
    """Mapillary Vistas: training/images/<key>.jpg with training/v2.0/labels/<key>.png, or v1.2, or training/labels."""

    name = "mapillary-vistas"
    rule = "{training,validation,testing}/images/<22 letters>.jpg"
    images = (rf"{_SPLIT}/images", r"(?P<frame>[\w-]{22})\.(?:jpe?g|png)")
    apart = tuple(
        (kind, rf"{_SPLIT}/{version}{folder}", _PNG)
        for kind, folder in _KINDS.items()
        for version in (r"v2\.0/", r"v1\.2/", "")
    )
    resizing = (
        (r"(?:^|/)(?:labels|instances|panoptic)/.*\.png$", NEAREST),
        (r"(?:^|/)polygons/.*\.json$", outlines("width", "height")),
        (r"(?:^|/)panoptic/.*\.json$", COCO),
        (r"(?:^|/)(?:config(?:_v\d\.\d)?\.json|demo\.py)$", KEEP),
    )
    roles = (
        (r"(?:^|/)(?:labels|instances|panoptic|polygons)/.*\.(?:png|json)$", Role.LABEL),
        (r"(?:^|/)(?:config(?:_v\d\.\d)?\.json|demo\.py)$", Role.AUX),
    )
    facts = Facts(
        title="Mapillary Vistas",
        about="Photos of streets from around the world, taken with many kinds of cameras.",
        size="18,000 training, 2,000 validation and 5,000 test images of many sizes, some of more than 20 megapixels.",
        get="<https://www.mapillary.com/dataset/vistas> after registration: the research edition.",
        tree="mapillary/config_v2.0.json\nmapillary/training/images/M2kh294N9c72sICO990Uew.jpg\n"
        "mapillary/training/v2.0/labels/M2kh294N9c72sICO990Uew.png\n"
        "mapillary/training/v2.0/{instances,panoptic,polygons}/...\nmapillary/{validation,testing}/...",
        licence="CC BY-NC-SA 4.0, non-commercial (research edition)",
        binds=True,
        labels={
            "segmentation": "of release 2.0 if present, otherwise of 1.2",
            "instance": "256 times the class plus a number, for classes with instances",
        },
        irregularities=(
            (
                "Only `config_v2.0.json` (`config_v1.2.json`, `config.json`) has the names of the classes and says "
                "which of them have instances."
            ),
            "Masks are palette images; their colours are only for display.",
            "Both releases label the same images: 2.0 has 124 classes, 1.2 has 66.",
            "Panoptic masks and polygons are carried, not decoded.",
        ),
        side="real",
        folder="mapillary",
    )

    def warnings(self, tree: Tree) -> Iterator[str]:
        """Warn about classes without names."""
        labels = (path for frame in self.frames(tree) for path in frame.labels.values())
        if (first := next(labels, "")) and not (config := _config(self.root / first)).exists():
            yield f"{config.name} is missing next to the splits: classes have no names, instances cannot be decoded"

    def load_label(self, frame: Frame, kind: str) -> Label:
        """Decode one label; the file next to the splits provides the names of the classes and their instances."""
        path = self.root / frame.labels[kind]
        config = _config(path)
        ids = read_index_mask(path).ids
        if kind == "segmentation":
            names = {number: name for number, (name, _) in enumerate(_classes(config))} if config.exists() else {}
            return Segmentation(ids, names)
        if not config.exists():
            raise DatasetError(f"{config}: missing; without it the classes with instances are unknown; restore it")
        counted = [number for number, (_, counts) in enumerate(_classes(config)) if counts]
        return Instances(np.where(np.isin(ids >> 8, counted), ids, np.int32(NOTHING)))


def _config(label: Path) -> Path:
    """Return the file with the classes of a label, three or four folders up, possibly above the dataset's root."""
    version = label.absolute().parent.parent
    if version.name.lower() in {"v1.2", "v2.0"}:
        return version.parent.parent / f"config_{version.name.lower()}.json"
    return version.parent / "config.json"


@remembered(4)
def _classes(config: Path) -> list[tuple[str, bool]]:
    """Return, by class number, the names of the classes and whether they have instances."""
    with errors_in(config, "does not list the classes"):
        return [(str(each["name"]), bool(each["instances"])) for each in read_json(config)["labels"]]
