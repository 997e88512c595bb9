"""What the labels of two sides allow: which ways to train and to measure, and which classes mean the same."""

from collections.abc import Sequence
from dataclasses import dataclass

from sim2real.datasets.base import Frame
from sim2real.datasets.labels import NOTHING
from sim2real.datasets.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Supervision:
    """What the labels allow.

    Attributes:
        sim: Kind of label -> how many simulated frames have it; likewise ``real``.
        real: Of the real images.
        allows: What can be done with them, a sentence each.
        same: Pairs of names, simulated and real, that a training takes for one class.
        apart: Names of one side alone, ``"sim"`` and ``"real"``.
    """

    sim: dict[str, int]
    real: dict[str, int]
    allows: tuple[str, ...]
    same: tuple[tuple[str, str], ...]
    apart: dict[str, tuple[str, ...]]


def supervision(
    sim: Sequence[Frame], real: Sequence[Frame], sim_classes: Sequence[str] = (), real_classes: Sequence[str] = ()
) -> Supervision:
    """Find out what the labels of two sides allow; no label is decoded.

    Args:
        sim: The simulated frames.
        real: The real ones.
        sim_classes: Names of classes in the masks of the simulated frames; likewise ``real_classes``.
        real_classes: Of the real ones.
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
    """What can be done, and what cannot for want of a label."""
    found = []
    if sim.get("segmentation", 0) == frames:
        beside = (
            "the real images' own masks tell their classes"
            if real.get("segmentation", 0) == photos
            else "a segmenter tells the classes of real images, which have no masks of their own, or not all"
        )
        ways = "the recipes labelled and class-distribution; of one-sided class_moments, consistency, masked"
        found.append(f"masks on all simulated frames: {ways}; {beside}")
    elif some := sim.get("segmentation", 0):
        found.append(f"masks on {some} of {frames} simulated frames: no recipe that sees masks; leave the others out")
    else:
        found.append("no masks on simulated frames: recipes that see none")
    if "flow" in sim:
        found.append("optical flow: flicker is measured along it, and losses and generators may see it")
    if "depth" in sim or "distance" in sim:
        found.append("depth: losses and generators may see it")
    if "disparity" in sim or "disparity" in real:
        found.append("stereo: disparities fit after a conversion by grids, which moves no edge")
    if "boxes" in sim:
        found.append("boxes: evaluate --detector FILE.onnx tells whether objects are still found")
    return found


def _meeting(sim: Sequence[str], real: Sequence[str]) -> tuple[tuple[tuple[str, str], ...], dict[str, tuple[str, ...]]]:
    """Which names mean the same, and which are of one side alone."""
    vocabulary = Vocabulary.found(sim)
    numbers = {vocabulary.number(name): name for name in sim}
    pairs = [(numbers[number], name) for name in real if (number := vocabulary.number(name)) != NOTHING]
    met = {name for name, _ in pairs}, {name for _, name in pairs}
    return tuple(pairs), {
        "sim": tuple(name for name in sim if name not in met[0]),
        "real": tuple(name for name in real if name not in met[1]),
    }
