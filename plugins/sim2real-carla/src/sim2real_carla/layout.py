"""The layout of carla_garage, the data of TransFuser and its successors."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from sim2real import Sim2RealError
from sim2real.datasets.base import Frame, Match, Role, Tree
from sim2real.datasets.labels import Depth, Label, read_index_mask
from sim2real.imageio import read_label

TAGS_TO_0_9_13 = (
    "Unlabeled Building Fence Other Pedestrian Pole RoadLine Road SideWalk Vegetation Vehicles Wall TrafficSign Sky "
    "Ground Bridge RailTrack GuardRail TrafficLight Static Dynamic Water Terrain"
)
TAGS_FROM_0_9_14 = (
    "Unlabeled Roads SideWalks Building Wall Fence Pole TrafficLight TrafficSign Vegetation Terrain Sky Pedestrian "
    "Rider Car Truck Bus Train Motorcycle Bicycle Static Dynamic Other Water RoadLine Ground Bridge RailTrack GuardRail"
)
DEPTH_RANGE = 50.0  # metres at the largest stored value
BEYOND = 255  # stored where the depth is that or more


class CarlaGarage:
    """carla_garage: <route>/rgb/0000.jpg with semantics, depth, boxes, measurements beside it.

    Files and codings: autonomousvision/carla_garage, team_code/data_agent.py and team_code/transfuser_utils.py.
    """

    name: ClassVar[str] = "carla-garage"

    _IMAGES: ClassVar = r"rgb(?P<view>|_augmented)"
    _IMAGE: ClassVar = r"(?P<frame>\d{4,})\.jpg"
    _LABEL_FOLDERS: ClassVar = re.compile(
        r"(.*/)?(boxes|lidar|(semantics|depth|bev_semantics)(_augmented)?)/[^/]*", re.IGNORECASE
    )
    _DEBUG_VIEW: ClassVar = re.compile(r"(.*/)?\d{4,}\.jpg", re.IGNORECASE)

    @classmethod
    def recognise(cls, tree: Tree) -> Match | None:
        """Numbered images in rgb/, and boxes or measurements of the same number."""
        images = list(tree.find(cls._IMAGES, cls._IMAGE))
        for image in images:
            for folder in ("boxes", "measurements"):
                if tree.has(f"{image.base}{folder}/{image['frame']}.json.gz"):
                    return Match(f"rgb/<number>.jpg and {folder}/<number>.json.gz", len(images))
        return None

    def __init__(self, root: Path) -> None:
        self.root = root

    def frames(self, tree: Tree) -> Iterator[Frame]:
        """Every image of a route's two cameras; those of rgb_augmented are moved and turned a little."""
        for image in tree.find(self._IMAGES, self._IMAGE):
            folder, number = image.path.rpartition("/")[0], image["frame"]
            labels = {
                "segmentation": tree.at(f"{image.base}semantics{image['view']}/{number}.png"),
                "depth": tree.at(f"{image.base}depth{image['view']}/{number}.png"),
            }
            yield Frame(image.path, sequence=folder, index=int(number), labels=labels)

    def role(self, path: str) -> Role | None:
        """Maps from above, boxes and lidar are labels; what the agent drew to look at is not for translation."""
        if self._LABEL_FOLDERS.fullmatch(path):
            return Role.LABEL
        return Role.PSEUDO if self._DEBUG_VIEW.fullmatch(path) else None

    def load_label(self, frame: Frame, kind: str) -> Label:
        """Decode a segmentation (CARLA's ids) or a depth.

        Raises:
            Sim2RealError: The frame has no label of that kind, or it is damaged.
        """
        if kind not in frame.labels:
            raise Sim2RealError(f"{frame.image}: no label '{kind}'; it has {', '.join(frame.labels) or 'none'}")
        path = self.root / frame.labels[kind]
        return _read_depth(path) if kind == "depth" else read_index_mask(path, names=_tags(path.parent))


def _read_depth(path: Path) -> Depth:
    stored = read_label(path)
    if stored.ndim != 2 or stored.dtype != np.uint8:
        raise Sim2RealError(f"{path}: a depth of carla_garage is 8-bit grey, this is {stored.dtype} {stored.shape}")
    return Depth(np.where(stored == BEYOND, np.nan, stored * (DEPTH_RANGE / BEYOND)).astype(np.float32))


@cache
def _tags(folder: Path) -> list[str]:
    """The names of the class ids in a route's masks, as the newest id that a sample of them shows."""
    masks = sorted(folder.glob("*.png"))
    newest = max(int(read_label(mask).max()) for mask in masks[:: len(masks) // 16 + 1])
    old, new = TAGS_TO_0_9_13.split(), TAGS_FROM_0_9_14.split()
    return old if newest < len(old) else new
