"""How does a conversion stand? PASS, WARN or FAIL, and why.

Labels that no longer hold make it fail, and so do faults that a person sees at once. What gives reason to look makes it
warn: frames that are as they were, a figure between its two limits, single frames that are bad, pictures that are no
nearer to real ones than they were, or too few frames to be sure. A figure whose interval reaches back over its limit,
or that compares with next to nothing, judges nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sim2real.evaluation.figures import Figure, State
from sim2real.metrics import faults

FEWEST_FRAMES: Final = 30
"""A conversion of fewer frames cannot pass: means of fewer say little, and rare faults are not among them."""

FAULTS: Final[Mapping[str, str]] = {name: fault.text for name, fault in faults.FAULTS.items()}
"""Name of a figure of the metric ``artefacts`` -> the fault that it tells of, as a person calls it."""

_Finding = tuple[State, str]
_ORDER: Final = ("PASS", "WARN", "FAIL")


@dataclass(frozen=True, slots=True)
class Gate:
    """The limits of a figure.

    Attributes:
        passes: It passes up to here.
        fails: It fails from here on, and warns in between; None: it only warns.
        of_before: What is judged is its share of what it was before. A limit below 1 is how far that may fall, one
            above 1 how far it may rise, as the limits of figures themselves are.
        knows: Of a figure that was less than this before, no share is judged: there was next to nothing to lose.
    """

    passes: float
    fails: float | None
    of_before: bool = False
    knows: float = 0.0

    @property
    def of_falling(self) -> bool:
        """Whether less is worse."""
        return self.of_before and self.passes < 1

    def state(self, value: float) -> State:
        """How a figure, or its share of what it was, stands."""
        sign = -1 if self.of_falling else 1
        if sign * value <= sign * self.passes:
            return "PASS"
        return "FAIL" if self.fails is not None and sign * value >= sign * self.fails else "WARN"


_IOU, _RECALL, _CONTRAST = 0.4, 0.2, 0.2  # a segmenter or a detector that knows less, a class that stands out less

GATES: Final[Mapping[str, Gate]] = {
    "new_edges": Gate(0.03, 0.15),
    "lost_boundaries": Gate(0.05, 0.10),
    "invented": Gate(0.01, 0.10),
    "relearnt-miou": Gate(0.95, 0.75, of_before=True, knows=_IOU),
    "recall": Gate(0.95, 0.75, of_before=True, knows=_RECALL),
    "contrast": Gate(0.65, None, of_before=True, knows=_CONTRAST),
    "warp_ratio": Gate(1.5, None),
    "flicker": Gate(1.25, None, of_before=True),
    **{name: Gate(fault.least, fault.sure) for name, fault in faults.FAULTS.items()},
}
"""Name of a figure of all classes together -> its limits.

They lie between what the look of a real camera and what deliberate damage do to rendered frames, see
benchmarks/preservation.py: a real look has shadows and reflections that are new, and some classes fade in it.
"""

CLASS_GATES: Final[Mapping[str, Gate]] = {
    "invented/sky": Gate(0.01, 0.03),
    "relearnt-miou": Gate(0.85, 0.50, of_before=True, knows=_IOU),
    "recall": Gate(0.85, 0.50, of_before=True, knows=_RECALL),
    "contrast": Gate(0.35, None, of_before=True, knows=_CONTRAST),
}
"""The same of single classes, by the name of the figure, or by that and the name of the class in lower case."""

BAD_FRAME: Final[Mapping[str, float]] = {"new_edges": 0.10, "lost_boundaries": 0.15, "invented": 0.05}
"""What a single frame may have at most before somebody should look at it."""

UNCHANGED: Final[Mapping[str, float]] = {"change": 1.0, "local_change": 3.0}
"""Name of a figure -> grey levels up to which nothing was changed: JPEG at quality 95 does up to 0.95 and 0.6."""

_LIKE_WRITING: Final = 1.25  # times what writing the frames again does: no more than that is no change either


def judge(figures: Sequence[Figure], frames: int, concerns: Sequence[str] = ()) -> tuple[State, tuple[str, ...]]:
    """Find the verdict.

    Args:
        figures: The table.
        frames: How many were evaluated.
        concerns: What else gives reason to look, a sentence each.

    Returns:
        The verdict and its reasons, the worst first; what is good is told of a PASS alone, first what was won.
    """
    same, kept, won = unchanged(figures), [*_labels(figures), *_faults(figures)], _looks(figures)
    found: list[_Finding] = [("WARN", same)] if same else [*kept, *won]
    found += [("WARN", concern) for concern in concerns]
    if frames < FEWEST_FRAMES:
        found.append(("WARN", f"{frames} frames are too few to be sure; a PASS takes {FEWEST_FRAMES}"))
    worst: State = max((state for state, _ in found), key=_ORDER.index)
    if worst == "PASS":
        return worst, tuple(text for _, text in [*won, *kept])
    return worst, tuple(text for state in ("FAIL", "WARN") for its, text in found if its == state)


def unchanged(figures: Sequence[Figure]) -> str:
    """The sentence that frames are as they were; empty where something was changed, or where that was not measured.

    Frames are as they were where neither their pixels nor the mean colours of their regions differ by more than what no
    eye sees, or by more than what writing the frames again does: then labels hold as they did, whatever networks say.
    """
    found = {figure.name: figure for figure in figures if figure.name in UNCHANGED and not figure.label}
    for name, least in UNCHANGED.items():
        figure = found.get(name)
        if figure is None or figure.after is None or figure.after > max(least, _LIKE_WRITING * (figure.before or 0)):
            return ""
    change = found["change"]
    again = "" if change.before is None else f" (writing them again alone: {change.before:.2f})"
    return f"nothing changed: frames differ from their source by {change.after:.2f} grey levels{again}"


def untold(figures: Sequence[Figure], count: int) -> list[str]:
    """Which metrics of sets tell nothing of these pictures, and why: a line for those that are alike.

    Args:
        figures: The table.
        count: How many pictures of each side the user allowed; 0 for all.
    """
    alike: dict[str, list[Figure]] = {}
    for figure in figures:
        if figure.group == "realism" and not figure.tells:
            alike.setdefault(figure.remark, []).append(figure)
    lines = []
    for remark, those in alike.items():
        most = 2 * max(figure.least for figure in those)
        more = f", with --count {most}" if 0 < count < most and remark.startswith("needs") else ""
        lines.append(f"not judged: {', '.join(figure.name for figure in those)}: {remark}{more}")
    return lines


def assess(figure: Figure) -> State | None:
    """Hold a figure against its limits; None if it has none, tells nothing, or is not sure, see :func:`doubt`."""
    gate, value = _gate(figure), _value(figure)
    if gate is None or value is None or not figure.tells or doubt(figure):
        return None
    return "PASS" if gate.state(value) == "PASS" else gate.state(_at_best(figure, gate) or 0.0)


def doubt(figure: Figure) -> str:
    """Why a figure that has limits is not held against them; empty where it is, or has none."""
    gate, value = _gate(figure), _value(figure)
    if gate is None or value is None or not figure.tells:
        return ""
    if gate.of_before and (figure.before or 0) < gate.knows:
        return f"not judged: {figure.before:.2g} before is too little to compare with"
    if gate.state(value) == "PASS":
        return ""
    best = _at_best(figure, gate)
    if best is None:
        return "not judged: measured on too few to be sure"
    return "not judged: by its interval it may be within the limit" if gate.state(best) == "PASS" else ""


def _gate(figure: Figure) -> Gate | None:
    name, label = figure.name, figure.label
    if not label:
        return GATES.get(name)
    return CLASS_GATES.get(f"{name}/{label.lower()}") or CLASS_GATES.get(name)


def _value(figure: Figure) -> float | None:
    """What the limits of a figure are about."""
    if (gate := _gate(figure)) and gate.of_before:
        return figure.after / figure.before if figure.after is not None and figure.before else None
    return figure.after


def _at_best(figure: Figure, gate: Gate) -> float | None:
    """The end of the interval that is best, of what the limits are about; None where that is not known.

    A figure that compares nothing is what these frames have, and needs no interval.
    """
    if not gate.of_before:
        return figure.interval[0] if figure.interval else figure.after
    best, worst = (1, 0) if gate.of_falling else (0, 1)
    if figure.change and figure.before:
        return 1 + figure.change[best] / figure.before
    if figure.interval and figure.before_interval and figure.before_interval[worst]:
        return figure.interval[best] / figure.before_interval[worst]
    return None


def nearer(figure: Figure) -> bool | None:
    """Whether frames are surely nearer to real pictures than they were (True), surely farther (False), or neither."""
    if not figure.tells or figure.change is None or figure.better is None:
        return None
    low, high = sorted(limit if figure.better == "lower" else -limit for limit in figure.change)
    return True if high < 0 else False if low > 0 else None


def _labels(figures: Sequence[Figure]) -> list[_Finding]:
    """Whether labels still hold."""
    about_labels = [figure for figure in figures if figure.name not in FAULTS]
    findings = _judged(about_labels)
    if not any(figure.group == "preservation" and assess(figure) for figure in about_labels):
        findings.append(("WARN", "nothing was measured that tells whether labels still hold"))
    return findings


def _faults(figures: Sequence[Figure]) -> list[_Finding]:
    """Whether pictures have faults that a person sees at once; those that they have not share a sentence."""
    clean = [figure for figure in figures if figure.name in FAULTS and assess(figure) == "PASS"]
    findings = _judged([figure for figure in figures if figure.name in FAULTS and figure not in clean])
    if clean:
        findings.append(("PASS", f"none of these: {', '.join(FAULTS[figure.name] for figure in clean)}"))
    return findings


def _judged(figures: Sequence[Figure]) -> list[_Finding]:
    """A sentence for each figure that has limits, and one for all of its classes that stand alike."""
    alike: dict[tuple[str, bool, Gate, State, str], list[tuple[float, str]]] = {}
    for figure in figures:
        state, gate, value, why_not = assess(figure), _gate(figure), _value(figure), doubt(figure)
        if gate and value is not None and (state or why_not):
            key = figure.name, bool(figure.label), gate, state or "PASS", why_not.partition(":")[0]
            alike.setdefault(key, []).append((value, figure.label))
    return [
        (state, f"{_sentence(name, values, gate)}{f', {why_not}' if why_not else ''}")
        for (name, _, gate, state, why_not), values in alike.items()
    ]


def _sentence(name: str, values: list[tuple[float, str]], gate: Gate) -> str:
    """Such as ``"recall of Car 23%, Van 31% of what it was (good from 85%, bad up to 50%)"``."""
    form, of_before = ("{:.0%}", " of what it was") if gate.of_before else ("{:.3g}", "")
    good, bad = ("from", "up to") if gate.of_falling else ("up to", "from")
    worst_first = sorted(values, reverse=not gate.of_falling)
    shown = ", ".join(f"{label} {form.format(value)}".strip() for value, label in worst_first)
    limits = f"good {good} {form.format(gate.passes)}"
    if gate.fails is not None:
        limits += f", bad {bad} {form.format(gate.fails)}"
    fault = f"{FAULTS[name]}: " if name in FAULTS else ""
    return f"{fault}{name}{' of' if values[0][1] else ''} {shown}{of_before} ({limits})"


def _looks(figures: Sequence[Figure]) -> list[_Finding]:
    """Whether frames look more real."""
    directions = {figure.name: nearer(figure) for figure in figures if figure.group == "realism" and figure.tells}
    if not directions:
        return [("WARN", "nothing was measured, on enough pictures, that tells whether frames look more real")]
    better, worse = ([name for name, way in directions.items() if way is wanted] for wanted in (True, False))
    findings: list[_Finding] = []
    if worse:
        findings.append(("WARN", f"farther from real pictures than before by {', '.join(worse)}"))
    if better:
        findings.append(("PASS", f"nearer to real pictures than before by {', '.join(better)}"))
    elif not worse:
        findings.append(("WARN", f"not surely nearer to real pictures than before by {' or '.join(directions)}"))
    return findings
