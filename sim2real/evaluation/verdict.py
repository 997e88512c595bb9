"""Decide the verdict on a conversion, PASS, WARN or FAIL, and give the reasons.

A conversion fails if its labels no longer hold or if its images have obvious faults. It warns if something should be
inspected: frames that did not change, a figure between its two limits, single bad frames, images that are no nearer to
real ones than before, or too few frames for a reliable result. A figure is not judged if its confidence interval
reaches back over the limit or if its value before the translation is too small to compare with.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sim2real.errors import TopicName
from sim2real.evaluation.figures import Figure, State
from sim2real.metrics import faults

FEWEST_FRAMES: Final = 30
"""Fewest frames with which a conversion can pass: means over fewer say little, and rare faults go unseen."""

_TOPICS: Final[Mapping[str, TopicName]] = {
    **{name: fault.topic for name, fault in faults.FAULTS.items()},
    **dict.fromkeys(("invented", "new_edges"), "trees-in-the-sky"),
    **dict.fromkeys(("warp_ratio", "flicker"), "flicker"),
    **dict.fromkeys(("lost_boundaries", "relearnt-miou", "recall", "contrast"), "do-the-labels-hold"),
}
"""Name of a figure -> the section of the manual on what it finds; causes come before what they cause."""

FAULTS: Final[Mapping[str, str]] = {name: fault.text for name, fault in faults.FAULTS.items()}
"""Name of a figure of the metric ``artefacts`` -> the fault it measures, in plain words."""

_Finding = tuple[State, str]
_ORDER: Final = ("PASS", "WARN", "FAIL")


@dataclass(frozen=True, slots=True)
class Gate:
    """The limits of a figure.

    Attributes:
        passes: The figure passes up to this value.
        fails: The figure fails from this value on and warns in between; None: it only warns.
        of_before: Whether the limits apply to the ratio of the figure to its value before the translation. A limit
            below 1 says how far the ratio may fall, a limit above 1 how far it may rise.
        knows: Smallest value before the translation for which a ratio is judged; below it there is too little to lose.
    """

    passes: float
    fails: float | None
    of_before: bool = False
    knows: float = 0.0

    @property
    def of_falling(self) -> bool:
        """Whether smaller values are worse."""
        return self.of_before and self.passes < 1

    def state(self, value: float) -> State:
        """Return the state of a figure's value, or of its ratio to the value before."""
        sign = -1 if self.of_falling else 1
        if sign * value <= sign * self.passes:
            return "PASS"
        return "FAIL" if self.fails is not None and sign * value >= sign * self.fails else "WARN"


_IOU, _RECALL, _CONTRAST = 0.4, 0.2, 0.2  # smallest values before the translation that allow a comparison

GATES: Final[Mapping[str, Gate]] = {
    "new_edges": Gate(0.03, 0.15),
    "lost_boundaries": Gate(0.05, 0.10),
    "invented": Gate(0.01, 0.10),
    "relearnt-miou": Gate(0.80, 0.60, of_before=True, knows=_IOU),
    "recall": Gate(0.95, 0.75, of_before=True, knows=_RECALL),
    "contrast": Gate(0.65, None, of_before=True, knows=_CONTRAST),
    "warp_ratio": Gate(1.5, None),
    "flicker": Gate(1.25, None, of_before=True),
    **{name: Gate(fault.least, fault.sure) for name, fault in faults.FAULTS.items()},
}
"""Name of a figure over all classes -> its limits.

The limits lie between the values of rendered frames given a real camera's appearance and those of deliberately damaged
frames, see benchmarks/preservation.py: a real appearance adds shadows and reflections, and some classes fade in it.
"""

CLASS_GATES: Final[Mapping[str, Gate]] = {
    "invented/sky": Gate(0.01, 0.03),
    "relearnt-miou": Gate(0.65, 0.40, of_before=True, knows=_IOU),
    "recall": Gate(0.85, 0.50, of_before=True, knows=_RECALL),
    "contrast": Gate(0.35, None, of_before=True, knows=_CONTRAST),
}
"""Limits for single classes, keyed by the figure's name, or by ``name/class`` with the class in lower case."""

BAD_FRAME: Final[Mapping[str, float]] = {
    "new_edges": 0.10,
    "lost_boundaries": 0.15,
    "invented": 0.05,
    "inverted": 0.5,
}
"""Name of a figure -> the value above which a single frame should be inspected."""

UNCHANGED: Final[Mapping[str, float]] = {"change": 1.0, "local_change": 3.0}
"""Name of a figure -> grey levels up to which a frame counts as unchanged; JPEG at quality 95 reaches 0.95 and 0.6."""

_LIKE_WRITING: Final = 1.25  # times the change from re-encoding alone: up to this, a frame counts as unchanged


def judge(figures: Sequence[Figure], frames: int, concerns: Sequence[str] = ()) -> tuple[State, tuple[str, ...]]:
    """Decide the verdict.

    Args:
        figures: The figures of the evaluation.
        frames: Number of evaluated frames.
        concerns: Further reasons to inspect the conversion, one sentence each.

    Returns:
        The verdict and its reasons, worst first. Good results are listed only for a PASS, improvements first.
    """
    same, kept, won = unchanged(figures), [*_labels(figures), *_faults(figures)], _looks(figures)
    found: list[_Finding] = [("WARN", same)] if same else [*kept, *won]
    found += [("WARN", concern) for concern in concerns]
    if frames < FEWEST_FRAMES:
        found.append(("WARN", f"{frames} frames are too few to be sure; a PASS needs {FEWEST_FRAMES}"))
    worst: State = max((state for state, _ in found), key=_ORDER.index)
    if worst == "PASS":
        return worst, tuple(text for _, text in [*won, *kept])
    return worst, tuple(text for state in ("FAIL", "WARN") for its, text in found if its == state)


def unchanged(figures: Sequence[Figure]) -> str:
    """Return a sentence saying that the frames are unchanged; empty if they changed or if this was not measured.

    Frames are unchanged if neither their pixels nor the mean colours of their regions differ visibly, or by much more
    than re-encoding the frames changes them. Their labels then hold as before, whatever networks report.
    """
    found = {figure.name: figure for figure in figures if figure.name in UNCHANGED and not figure.label}
    for name, least in UNCHANGED.items():
        figure = found.get(name)
        if figure is None or figure.after is None or figure.after > max(least, _LIKE_WRITING * (figure.before or 0)):
            return ""
    change = found["change"]
    again = "" if change.before is None else f" (re-encoding alone: {change.before:.2f})"
    return f"nothing changed: frames differ from their source by {change.after:.2f} grey levels{again}"


def topic_of(verdict: State, figures: Sequence[Figure]) -> TopicName | None:
    """Return the section of the manual on the worst finding; None after a PASS."""
    if verdict == "PASS":
        return None
    if not figures:
        return "reject-bad-frames-while-converting"  # the gate rejected all frames
    if unchanged(figures):
        return "nothing-changes"
    for state in ("FAIL", "WARN"):
        found = {figure.name for figure in figures if assess(figure) == state}
        if topics := [topic for name, topic in _TOPICS.items() if name in found]:
            return topics[0]
    return "the-verdict" if any(map(nearer, figures)) else "does-it-look-more-real"


def unmeasured(figures: Sequence[Figure], count: int) -> list[str]:
    """List the set metrics that have no usable value, one line for all that share a reason.

    Args:
        figures: The figures of the evaluation.
        count: The user's limit on the images of each side; 0 for all.
    """
    alike: dict[str, list[Figure]] = {}
    for figure in figures:
        if figure.group == "realism" and not figure.is_meaningful:
            alike.setdefault(figure.remark, []).append(figure)
    lines = []
    for remark, those in alike.items():
        most = 2 * max(figure.least for figure in those)
        more = f", with --count {most}" if 0 < count < most and remark.startswith("needs") else ""
        lines.append(f"not judged: {', '.join(figure.name for figure in those)}: {remark}{more}")
    return lines


def assess(figure: Figure) -> State | None:
    """Judge a figure by its limits; None if it has no limits, no usable value, or is uncertain, see :func:`doubt`."""
    gate, value = _gate(figure), _value(figure)
    if gate is None or value is None or not figure.is_meaningful or doubt(figure):
        return None
    return "PASS" if gate.state(value) == "PASS" else gate.state(_at_best(figure, gate) or 0.0)


def doubt(figure: Figure) -> str:
    """Return why a figure with limits is not judged; empty if it is judged or has no limits."""
    gate, value = _gate(figure), _value(figure)
    if gate is None or value is None or not figure.is_meaningful:
        return ""
    if gate.of_before and (figure.before or 0) < gate.knows:
        return f"not judged: the value before, {figure.before:.2g}, is too small to compare with"
    if gate.state(value) == "PASS":
        return ""
    best = _at_best(figure, gate)
    if best is None:
        return "not judged: measured on too few frames to be sure"
    return "not judged: its confidence interval reaches into the limit" if gate.state(best) == "PASS" else ""


def _gate(figure: Figure) -> Gate | None:
    name, label = figure.name, figure.label
    if not label:
        return GATES.get(name)
    return CLASS_GATES.get(f"{name}/{label.lower()}") or CLASS_GATES.get(name)


def _value(figure: Figure) -> float | None:
    """Return the number that the limits of a figure apply to."""
    if (gate := _gate(figure)) and gate.of_before:
        return figure.after / figure.before if figure.after is not None and figure.before else None
    return figure.after


def _at_best(figure: Figure, gate: Gate) -> float | None:
    """Return the better end of the interval of the number that the limits apply to; None if it is unknown.

    A figure that is not compared with its value before falls back to the value itself if it has no interval.
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
    """Return True if frames are significantly nearer to real images than before, False if farther, None if neither."""
    if not figure.is_meaningful or figure.change is None or figure.better is None:
        return None
    low, high = sorted(limit if figure.better == "lower" else -limit for limit in figure.change)
    return True if high < 0 else False if low > 0 else None


def _labels(figures: Sequence[Figure]) -> list[_Finding]:
    """Return the findings on whether labels still hold."""
    about_labels = [figure for figure in figures if figure.name not in FAULTS]
    findings = _judged(about_labels)
    if not any(figure.group == "preservation" and assess(figure) for figure in about_labels):
        findings.append(("WARN", "no metric was measured that shows whether labels still hold"))
    return findings


def _faults(figures: Sequence[Figure]) -> list[_Finding]:
    """Return the findings on obvious faults of the images; all faults that are absent share one sentence."""
    clean = [figure for figure in figures if figure.name in FAULTS and assess(figure) == "PASS"]
    findings = _judged([figure for figure in figures if figure.name in FAULTS and figure not in clean])
    if clean:
        findings.append(("PASS", f"none of these: {', '.join(FAULTS[figure.name] for figure in clean)}"))
    return findings


def _judged(figures: Sequence[Figure]) -> list[_Finding]:
    """Return one finding per figure with limits; classes of a figure with the same state share a sentence."""
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
    """Return a sentence like ``"recall of Car 23%, Van 31% of the value before (good from 85%, bad up to 50%)"``."""
    form, of_before = (_share, " of the value before") if gate.of_before else ("{:.3g}".format, "")
    good, bad = ("from", "up to") if gate.of_falling else ("up to", "from")
    worst_first = sorted(values, reverse=not gate.of_falling)
    shown = ", ".join(f"{label} {form(value)}".strip() for value, label in worst_first)
    limits = f"good {good} {form(gate.passes)}"
    if gate.fails is not None:
        limits += f", bad {bad} {form(gate.fails)}"
    fault = f"{FAULTS[name]}: " if name in FAULTS else ""
    return f"{fault}{name}{' of' if values[0][1] else ''} {shown}{of_before} ({limits})"


def _share(value: float) -> str:
    return f"{value:.1%}".replace(".0%", "%")


def _looks(figures: Sequence[Figure]) -> list[_Finding]:
    """Return the findings on whether frames look more real."""
    directions = {
        figure.name: nearer(figure) for figure in figures if figure.group == "realism" and figure.is_meaningful
    }
    if not directions:
        return [("WARN", "no metric was measured on enough images to show whether frames look more real")]
    better, worse = ([name for name, way in directions.items() if way is wanted] for wanted in (True, False))
    findings: list[_Finding] = []
    if worse:
        findings.append(("WARN", f"farther from real images than before by {', '.join(worse)}"))
    if better:
        findings.append(("PASS", f"nearer to real images than before by {', '.join(better)}"))
    elif not worse:
        findings.append(("WARN", f"not significantly nearer to real images than before by {' or '.join(directions)}"))
    return findings
