"""Labels and edges as the images that ControlNets were trained with.

========================= ====================================================================
kind                      image
========================= ====================================================================
depth, distance           inverse distance, near pixels white, unknown ones black
disparity                 the same from disparities
segmentation              a colour for each class, those of ADE20K's palette
edges                     Canny edges of the frame, white on black
========================= ====================================================================
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from sim2real import SettingsError
from sim2real.datasets.vocabulary import Vocabulary

Image = NDArray[np.uint8]
Palette = Mapping[str, Sequence[int]]

EDGES: Final = "edges"
LABELS: Final = ("depth", "distance", "disparity", "segmentation")
"""The controls that are made of the label of the same name."""
ADE20K: Final[Palette] = {
    "road": (140, 140, 140),
    "sidewalk": (235, 255, 7),
    "building": (180, 120, 120),
    "wall": (120, 120, 120),
    "fence": (255, 184, 6),
    "guard rail": (255, 61, 6),
    "pole": (51, 0, 255),
    "traffic light": (41, 0, 255),
    "traffic sign": (255, 5, 153),
    "vegetation": (4, 200, 3),
    "terrain": (4, 250, 7),
    "sky": (6, 230, 230),
    "person": (150, 5, 61),
    "rider": (150, 5, 61),
    "car": (0, 102, 200),
    "van": (163, 255, 0),
    "truck": (255, 0, 20),
    "bus": (255, 0, 245),
    "motorcycle": (163, 0, 255),
    "bicycle": (255, 245, 0),
    "bridge": (255, 82, 0),
    "water": (61, 230, 250),
    "mountain": (143, 255, 140),
    "rock": (255, 41, 10),
    "earth": (120, 120, 70),
    "floor": (80, 50, 50),
    "ceiling": (120, 120, 80),
    "table": (255, 6, 82),
    "chair": (204, 70, 3),
    "box": (0, 255, 20),
}
"""Colours of ADE20K's classes (Zhou et al. 2017), by names as in Cityscapes where a class has one there.

The segmentation ControlNets of Stable Diffusion were trained with them (Zhang et al. 2023, arXiv 2302.05543).
"""
_CANNY: Final = (100, 200)
_NEAR: Final = 0.98  # share of the known pixels that are farther away than what is white


def nearness(values: NDArray[np.float32], kind: str) -> Image:
    """Return the image (H, W, 3) of distances in metres, or of disparities, (1, H, W), 0 where unknown."""
    plane = values[0]
    known = plane > 0
    inverse = np.zeros_like(plane)
    np.divide(1, plane, out=inverse, where=known)
    if kind == "disparity":
        inverse = np.where(known, plane, 0)
    white = np.quantile(inverse[known], _NEAR) if known.any() else 1.0
    grey = np.clip(inverse / white, 0, 1) * 255
    return np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=2)


def edges(image: Image) -> Image:
    """Return the edges of an RGB image (H, W, 3), in white on black."""
    found = cv2.Canny(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), *_CANNY)
    return np.repeat(found[..., None], 3, axis=2).astype(np.uint8)


class Colouring:
    """The colours of a run's classes.

    Args:
        names: Names of the classes in the order of their numbers.
        palette: Colours by name, in addition to those of ADE20K.

    Raises:
        SettingsError: If no class has a colour.
    """

    def __init__(self, names: Sequence[str], palette: Palette) -> None:
        named = {**ADE20K, **palette}
        vocabulary = Vocabulary(list(named))
        colours = list(named.values())
        numbers = [vocabulary.number(name) for name in names]
        if names and max(numbers) < 0:
            raise SettingsError(
                f"none of the classes {', '.join(names)} has a colour in the palette: add them, e.g. --set "
                f"generator.options.palette.{names[0]}=[140,140,140]"
            )
        table = [colours[number] if number >= 0 else (0, 0, 0) for number in numbers]
        self._table = np.array([*table, (0, 0, 0)], np.uint8)  # the last one for pixels without a class, -1

    def __call__(self, ids: NDArray[np.int64]) -> Image:
        """Return the image (H, W, 3) of class numbers (H, W), black where a class has no colour."""
        return self._table[ids]


def control_image(kind: str, image: Image, label: NDArray[Any] | None, colouring: Colouring) -> Image:
    """Return the control image (H, W, 3) of a kind for an RGB image and its label of that kind."""
    if label is None:
        return edges(image)
    return colouring(label) if kind == "segmentation" else nearness(label, kind)
