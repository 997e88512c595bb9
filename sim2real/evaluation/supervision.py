"""Find out which trainings and metrics the labels of two sides allow, and which classes mean the same."""

from collections.abc import Sequence
from dataclasses import dataclass

from sim2real.datasets.base import Frame
from sim2real.datasets.labels import NOTHING
from sim2real.datasets.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Supervision:
    """The uses that the labels of two sides allow.

    Attributes:
        sim: Kind of label -> number of simulated frames that have it.
        real: Kind of label -> number of real images that have it.
        allows: What can be done with the labels, one sentence each.
        same: Pairs of class names, simulated and real, that a training treats as one class.
        apart: Class names of one side only, under ``"sim"`` and ``"real"``.
    """

    sim: dict[str, int]
    real: dict[str, int]
    allows: tuple[str, ...]
    same: tuple[tuple[str, str], ...]
    apart: dict[str, tuple[str, ...]]


def supervision(
    sim: Sequence[Frame], real: Sequence[Frame], sim_classes: Sequence[str] = (), real_classes: Sequence[str] = ()
) -> Supervision:
    """Find out what the labels of two sides allow, without decoding a label.

    Args:
        sim: The simulated frames.
        real: The real frames.
        sim_classes: Names of the classes in the simulated frames' masks.
        real_classes: Names of the classes in the real frames' masks.
    """
    counts, others = _counts(sim), _counts(real)
    same, apart = _meeting(sim_classes, real_classes)
    return Supervision(counts, others, tuple(_allowed(counts, others, len(sim), len(real))), same, apart)


def _counts(frames: Sequence[Frame]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for frame in frames:
        for kind in frame.labels:
            counts[kind] = counts.get(kind, 0) + 1
    return dict(sorted(counts.items()))


def _allowed(sim: dict[str, int], real: dict[str, int], frames: int, photos: int) -> list[str]:
    """List what the labels allow, and what lacks a label."""
    found = []
    if sim.get("segmentation", 0) == frames:
        beside = (
            "the real images' own masks give their classes"
            if real.get("segmentation", 0) == photos
            else "a segmenter predicts the classes of real images, which have no masks of their own, or not all"
        )
        ways = "the recipes labelled and class-distribution; of one-sided class_moments, consistency, masked"
        found.append(f"masks on all simulated frames: {ways}; {beside}")
    elif some := sim.get("segmentation", 0):
        found.append(f"masks on {some} of {frames} simulated frames: no recipe that uses masks; leave the others out")
    else:
        found.append("no masks on simulated frames: recipes that use none")
    if "flow" in sim:
        found.append("optical flow: flicker is measured along it, and losses and generators can use it")
    if "depth" in sim or "distance" in sim:
        found.append("depth: losses and generators can use it")
    if "disparity" in sim or "disparity" in real:
        found.append("stereo: disparities still fit after a conversion by grids, which moves no edge")
    if "boxes" in sim:
        found.append("boxes: evaluate --detector FILE.onnx measures whether objects are still found")
    return found


def _meeting(sim: Sequence[str], real: Sequence[str]) -> tuple[tuple[tuple[str, str], ...], dict[str, tuple[str, ...]]]:
    """Return the pairs of names that mean the same, and the names of one side only."""
    vocabulary = Vocabulary.found(sim)
    numbers = {vocabulary.number(name): name for name in sim}
    pairs = [(numbers[number], name) for name in real if (number := vocabulary.number(name)) != NOTHING]
    met = {name for name, _ in pairs}, {name for _, name in pairs}
    return tuple(pairs), {
        "sim": tuple(name for name in sim if name not in met[0]),
        "real": tuple(name for name in real if name not in met[1]),
    }
