"""Measure whether outlines stayed where the labels say, and whether nothing appeared in areas labelled as empty.

Edges are those of :mod:`sim2real.metrics.edges`, which tone curves, tints and grain do not change. The labels say which
edges matter: an edge lost at an outline leaves a label without its object, and an edge that appeared on a road or in
the sky is an object without a label.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from sim2real.datasets.labels import Label
from sim2real.metrics.base import About, Change, Image
from sim2real.metrics.edges import find_edges
from sim2real.metrics.regions import Mask, class_masks, has_name, outlines, within

_BAND = 3.0  # px around an outline that belong to it: masks and edges are both about a pixel off
_REACH = 8.0  # px around an edge that its object is taken to cover
_FEWEST = 0.001  # of the pixels: smallest denominator of a share, so that a speck is no large share
_FEWEST_INSIDE = 0.01  # as above, of the pixels of a class
_LEAST_AREA = 0.005  # of the pixels: values of smaller classes would be chance
_EMPTY: Final = frozenset({"sky", "road", "roads"})  # the last words of names of classes


class StructureMetric:
    """The metric ``structure``: new and lost edges in relation to the labels.

    Each value is a share from 0 to 1; lower is better. Values that the labels of a frame do not define are left out:

    - ``lost_boundaries``: Share of the clear edges within 3 px of a label's outline that were lost.
    - ``new_inside``: Share of the translation's clear edges that are new and away from outlines.
    - ``invented``: Share of the area of sky and road within 8 px of a new edge, for example trees in the sky. Also for
      each class alone, ``invented/Sky``.
    - ``new_edges/Class``: Share of the clear edges inside a class that are new.
    """

    abouts: Mapping[str, About] = {
        "lost_boundaries": About(title="share of edges lost at outlines of labels", better="lower"),
        "new_inside": About(title="share of edges that are new and away from outlines", better="lower"),
        "invented": About(title="share of sky and road covered by new structure", better="lower"),
        "new_edges": About(title="share of edges inside a class that are new", better="lower"),
    }

    def compare(self, before: Image, after: Image, labels: Mapping[str, Label]) -> dict[str, Change]:
        """Compare a frame with its translation.

        Args:
            before: The frame, RGB (H, W, 3).
            after: Its translation, of the same size.
            labels: Labels of the frame; ``"segmentation"``, ``"instance"`` and ``"boxes"`` are used.

        Raises:
            DatasetError: If a mask does not have the frame's size.
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
    """Return the share of the pixels ``of`` that changed, with a denominator of at least ``least``."""
    return float((changed & of).sum()) / max(float(of.sum()), least)
