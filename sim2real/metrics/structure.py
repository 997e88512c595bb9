"""Did outlines stay where the labels say, and did nothing grow where the labels say that nothing is?

Edges are those of :mod:`sim2real.metrics.edges`, which tone curve, tint and grain do not change. Labels tell which of
them matter: one that went at an outline takes the object from its label, and one that appeared on a road or in the sky
is an object without a label.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import numpy as np

from sim2real.metrics.base import About, Change, Image
from sim2real.metrics.edges import find_edges
from sim2real.metrics.regions import Mask, class_masks, has_name, outlines, within

if TYPE_CHECKING:
    from sim2real.datasets.labels import Label

_BAND = 3.0  # px beside an outline that belong to it: masks and edges are both a pixel or so off
_REACH = 8.0  # px around an edge that what it belongs to covers
_FEWEST = 0.001  # of the pixels: fewer edges count as so many, so that a speck is no large share
_FEWEST_INSIDE = 0.01  # likewise, of the pixels of a class
_LEAST_AREA = 0.005  # of the pixels: what is told of a smaller class would be chance
_EMPTY: Final = frozenset({"sky", "road", "roads"})  # the last words of names of classes


class StructureMetric:
    """The metric ``structure``: what became of the edges at, inside and outside of what is labelled.

    Figures of a frame, each a share from 0 to 1, lower is better; those that its labels do not tell of are left out:

    - ``lost_boundaries``: of the clear edges within 3 px of an outline of a label, those that went.
    - ``new_inside``: of the clear edges of the translation, those that appeared elsewhere than at outlines.
    - ``invented``: of the area of sky and road, what is within 8 px of an edge that appeared: trees in the sky. Also of
      each alone, ``invented/Sky``.
    - ``new_edges/Class``: of the clear edges inside of a class, those that appeared.
    """

    abouts: Mapping[str, About] = {
        "lost_boundaries": About(title="label outlines that lost their edge, share", better="lower"),
        "new_inside": About(title="edges that appeared away from outlines, share", better="lower"),
        "invented": About(title="sky and road under new structure, share", better="lower"),
        "new_edges": About(title="edges that appeared inside of a class, share", better="lower"),
    }

    def compare(self, before: Image, after: Image, labels: "Mapping[str, Label]") -> dict[str, Change]:
        """Compare a frame with its translation.

        Args:
            before: The frame, RGB (H, W, 3).
            after: Its translation, of the same size.
            labels: Of its kinds ``"segmentation"``, ``"instance"`` and ``"boxes"`` are used.

        Raises:
            DatasetError: A mask is not of the frame's size.
        """
        if (outline := outlines(labels, before.shape)) is None:
            return {}
        old, now = find_edges(before), find_edges(after)
        new, at_outlines = now.clear & ~old.near, within(outline, _BAND)
        fewest = _FEWEST * outline.size
        figures = {
            "lost_boundaries": _share(~now.near, old.clear & at_outlines, fewest),
            "new_inside": _share(new & ~at_outlines, now.clear, fewest),
        }
        empty: dict[str, Mask] = {}
        for name, mask in class_masks(labels, before.shape).items():
            inside = mask & ~at_outlines
            if (area := float(inside.sum())) >= _LEAST_AREA * mask.size:
                figures[f"new_edges/{name}"] = _share(new, now.clear & inside, _FEWEST_INSIDE * area)
                if has_name(name, _EMPTY):
                    empty[f"invented/{name}"] = inside
        if empty:
            empty["invented"] = np.logical_or.reduce(list(empty.values()))
            figures |= {name: _share(within(new & inside, _REACH), inside, 1) for name, inside in empty.items()}
        return {name: Change(figure) for name, figure in figures.items()}


def _share(changed: Mask, of: Mask, least: float) -> float:
    """The share of some pixels that changed; of fewer than ``least``, as if they were so many."""
    return float((changed & of).sum()) / max(float(of.sum()), least)
