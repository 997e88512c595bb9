"""Measure whether a detector that never saw the dataset still finds the labelled objects, before and after."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sim2real.datasets.labels import Box, Boxes, Label
from sim2real.metrics.base import About, Change, Image
from sim2real.metrics.detector import Detection, Detector
from sim2real.metrics.regions import has_name

_FOUND = 0.5  # IoU
_LEAST_HEIGHT = 25  # px, as in KITTI's benchmark
_MOST_TRUNCATED = 0.5
_NO_OBJECT = frozenset({"dontcare"})


class ObjectsMetric:
    """The metric ``objects``: the labelled boxes that a detector finds, regardless of the class it assigns.

    The values cover boxes at least 25 px high and at most half outside of the image, after and before; higher is
    better:

    - ``recall``: Share of the boxes that a detection overlaps with an IoU of at least 0.5. Also per class:
      ``recall/Car``.
    - ``box_iou``: Mean over the boxes of the largest IoU with a detection.

    Args:
        detector: An ONNX file, see :class:`sim2real.metrics.detector.Detector`.
        score: Smallest score of a detection, 0 to 1.

    Raises:
        Sim2RealError: If the detector cannot be used.
    """

    abouts: Mapping[str, About] = {
        "recall": About(title="share of labelled boxes that a detector finds", better="higher"),
        "box_iou": About(title="mean IoU of labelled and detected boxes", better="higher"),
    }

    def __init__(self, *, detector: str | Path, score: float = 0.4) -> None:
        self._detect = Detector(detector, score=score)

    def compare(self, before: Image, after: Image, labels: Mapping[str, Label]) -> dict[str, Change]:
        """Compare a frame with its translation.

        Args:
            before: The frame, RGB (H, W, 3).
            after: Its translation, of the same size.
            labels: Labels of the frame; ``"boxes"`` are used.

        Raises:
            Sim2RealError: If the detector fails.
        """
        boxes = labels.get("boxes")
        wanted = [box for box in boxes.boxes if _counts(box)] if isinstance(boxes, Boxes) else []
        if not wanted:
            return {}
        now, old = (_best_overlaps(wanted, self._detect(image)) for image in (after, before))
        groups = defaultdict[str, list[int]](list)
        for number, box in enumerate(wanted):
            groups["recall"].append(number)
            if box.label:
                groups[f"recall/{box.label}"].append(number)
        recall = {name: Change(_found(now[places]), _found(old[places])) for name, places in groups.items()}
        return {**recall, "box_iou": Change(float(now.mean()), float(old.mean()))}


def _counts(box: Box) -> bool:
    """Return whether a detector can be expected to find the object of a box."""
    is_whole = (box.truncated or 0) <= _MOST_TRUNCATED
    return box.bottom - box.top >= _LEAST_HEIGHT and is_whole and not has_name(box.label, _NO_OBJECT)


def _best_overlaps(boxes: Sequence[Box], found: Sequence[Detection]) -> NDArray[np.float64]:
    """Return the largest IoU of each box with a detection, (boxes,)."""
    wanted = np.array([(box.left, box.top, box.right, box.bottom) for box in boxes])[:, None]
    seen = np.array([box[:4] for box in found]).reshape(-1, 4)[None]
    low, high = np.maximum(wanted[..., :2], seen[..., :2]), np.minimum(wanted[..., 2:], seen[..., 2:])
    common = (high - low).clip(0).prod(axis=-1)
    areas = [(some[..., 2:] - some[..., :2]).prod(axis=-1) for some in (wanted, seen)]
    overlaps: NDArray[np.float64] = common / (areas[0] + areas[1] - common)
    return np.asarray(overlaps.max(axis=1, initial=0))


def _found(overlaps: NDArray[np.float64]) -> float:
    return float((overlaps >= _FOUND).mean())
