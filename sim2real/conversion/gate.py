"""The gate of a conversion: a translation that does not keep what its frame shows does not take the frame's place.

It is measured on the file that is about to be written, as an evaluation would measure it afterwards.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, cast

import cv2
import numpy as np

from sim2real.cielab import give_colours, moments, to_lab, to_rgb
from sim2real.errors import SettingsError
from sim2real.imageio import Encoding, Picture, decode_picture, encode_picture
from sim2real.metrics.base import About, FrameMetric, Image
from sim2real.metrics.edges import EdgeMetric, Edges, compare_edges, find_edges, preservation
from sim2real.metrics.named import NAME, about_of, make_metric, owner_of

if TYPE_CHECKING:
    from sim2real.datasets.labels import Label

Rejected = Literal["quarantine", "blend", "colour", "guided", "pass"]
"""What takes the place of a rejected translation.

``quarantine``: the source's own image, byte for byte. ``blend``: the source with the largest share of the translation
mixed in that the gate lets through; if none, as ``colour``: the source in the colours of its translation; if that does
not come through either, as ``quarantine``. ``guided``: the source with the light and the colours of its translation by
place and brightness, as of a guided transfer; if that does not come through, as ``colour``. ``pass``: the translation
itself, marked in the manifest. But for ``pass``, the translation is kept under ``OUT/.sim2real/rejected``.
"""

EDGES: Final = "edges"
_SIGNS: Final = {"higher": ">=", "lower": "<="}
_FIGURES: Final = {name: _SIGNS[about.better] for name, about in EdgeMetric.abouts.items() if about.better}
_RULE: Final = re.compile(NAME + r"\s*(?P<sign>[<>]=)\s*(?P<bound>[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)")
_DIGITS = 4  # of the figures of edges, as they are kept and judged
_SIGNIFICANT = 6  # digits of the others
_SHARES = (0.75, 0.5, 0.25)  # of the translation in a blend


class Rule(NamedTuple):
    """What a figure of a frame must be.

    Attributes:
        figure: Its name, with ``"/Class"`` where it is of one class.
        sign: ``">="`` or ``"<="``.
        bound: The number.
        metric: The metric that it is of; empty where the user does not say and nobody has looked yet.
    """

    figure: str
    sign: str
    bound: float
    metric: str = EDGES

    @property
    def name(self) -> str:
        """The figure as the manifest calls it."""
        return self.figure if self.metric in {EDGES, ""} else f"{self.metric}.{self.figure}"

    def __str__(self) -> str:
        return f"{self.name}{self.sign}{self.bound:g}"

    def holds(self, value: float) -> bool:
        """Whether a figure's value is good enough."""
        return value >= self.bound if self.sign == ">=" else value <= self.bound


def parse_gate(texts: Iterable[str]) -> tuple[Rule, ...]:
    """Read what the user asks for, without a look at other metrics than ``edges``.

    Args:
        texts: Rules such as ``"preservation>=0.9"`` or ``"contrast.contrast/Car>=0.2"``, each text one or several with
            commas between them.

    Returns:
        The rules, each once, in order of their names.

    Raises:
        SettingsError: One is no such rule, or would reject what is good.
    """
    return tuple(sorted({_parse(rule.strip()) for text in texts for rule in text.split(",")}))


def _parse(text: str) -> Rule:
    match = _RULE.fullmatch(text)
    if not match or not math.isfinite(float(match["bound"])):
        raise SettingsError(f"gate {text!r}: {_usual()}; or METRIC.FIGURE>=N of another metric")
    rule = Rule(match["figure"], match["sign"], float(match["bound"]), match["metric"] or "")
    if rule.metric not in {"", EDGES} or rule.figure not in _FIGURES:
        return rule
    if not 0 <= rule.bound <= 1:
        raise SettingsError(f"gate {text!r}: {_usual()}")
    _require_direction(rule, text, EdgeMetric.abouts[rule.figure])
    return rule._replace(metric=EDGES)


def _usual() -> str:
    known = ", ".join(f"{name}{sign}N" for name, sign in _FIGURES.items())
    return f"say {known}, with N between 0 and 1, for example preservation>=0.9"


def _require_direction(rule: Rule, text: str, about: About) -> None:
    if about.better and rule.sign != _SIGNS[about.better]:
        right = rule._replace(sign=_SIGNS[about.better])
        raise SettingsError(f"gate {text!r} would reject the best: say {right}")


def find_metrics(rules: Iterable[Rule]) -> tuple[tuple[Rule, ...], dict[str, FrameMetric]]:
    """Find the metrics that rules name, and check the rules against them.

    Returns:
        The rules with the names of their metrics, in order of their names; and the metrics but for ``edges``, by name.

    Raises:
        Sim2RealError: There is no such figure, two metrics have it, its metric needs options or weights, or the rule
            would reject what is good, or all.
    """
    found, metrics = [], dict[str, FrameMetric]()
    for rule in rules:
        if rule.metric == EDGES and rule.figure in _FIGURES:
            found.append(rule)
            continue
        place = f"gate '{rule}'"
        named = rule
        if not rule.metric:
            named = rule._replace(metric=owner_of(rule.figure, place, _usual(), but=(EDGES,)))
        if named.metric not in metrics:
            metrics[named.metric] = _create(named)
        _check(named, metrics[named.metric])
        found.append(named)
    return tuple(sorted(set(found))), metrics


def _create(rule: Rule) -> FrameMetric:
    metric = make_metric(rule.metric, f"gate '{rule}'")
    if not hasattr(metric, "compare"):
        message = f"gate '{rule}': the metric '{rule.metric}' compares sets of pictures and tells nothing of one frame"
        raise SettingsError(message)
    return cast("FrameMetric", metric)


def _check(rule: Rule, metric: FrameMetric) -> None:
    """Make sure that a rule can be judged by its metric, and does not reject what is good."""
    about = about_of(metric, rule.metric, rule.figure, f"gate '{rule}'")
    _require_direction(rule, str(rule), about)
    if rule.sign == ">=" and rule.bound > about.most:
        raise SettingsError(f"gate '{rule}' would reject everything: {rule.name} is at most {about.most:g}")


@dataclass(frozen=True, kw_only=True, slots=True)
class GateOutcome:
    """What becomes of a frame.

    Attributes:
        data: The file that takes its place; None: the source's own.
        figures: Of its translation; None where nobody measured it.
        reason: Why the translation is rejected; None if it is not.
        instead: What ``data`` is if it is rejected, as the manifest says it.
        quarantined: The file of the translation that is to be kept in quarantine, if it is.
        notes: Which rules tell nothing of this frame.
    """

    data: bytes | None
    figures: Mapping[str, float] | None = None
    reason: str | None = None
    instead: str | None = None
    quarantined: bytes | None = None
    notes: tuple[str, ...] = ()


class Gate:
    """Judges translations.

    Args:
        rules: What a translation must fulfil, each of them.
        rejected: What takes the place of one that does not, see ``Rejected``.
        encoding: How files are written.
        metrics: Those that the rules name but for ``edges``, see :func:`find_metrics`.
    """

    def __init__(
        self, rules: Iterable[Rule], rejected: str, encoding: Encoding, metrics: Mapping[str, FrameMetric] | None = None
    ) -> None:
        self._rules = tuple(rules)
        self._rejected = rejected
        self._encoding = encoding
        self._metrics = metrics or {}
        self._by_edges = any(rule.metric == EDGES for rule in self._rules)

    def judge(
        self, before: Picture, after: Image, data: bytes, labels: "Mapping[str, Label] | None" = None
    ) -> GateOutcome:
        """Judge the translation of a frame.

        Args:
            before: The frame.
            after: Its translation, RGB (H, W, 3).
            data: The translation as a file like that of the frame.
            labels: Of the frame, by kind.

        Raises:
            Sim2RealError: A label that a metric asks for cannot be read.
        """
        edges = find_edges(before.rgb) if self._by_edges else None

        def figures_of(file: bytes) -> dict[str, float]:
            image = decode_picture(file, Path("translation")).rgb
            figures = _figures(edges, image) if edges else {}
            return figures | self._others(before.rgb, image, labels or {})

        figures = figures_of(data)
        lacking = dict.fromkeys(rule.name for rule in self._rules if rule.name not in figures)
        notes = tuple(f"the gate has no {name} to judge by" for name in lacking)
        if not (objections := self._objections(figures)):
            return GateOutcome(data=data, figures=figures, notes=notes)
        reason = "; ".join(objections)
        if self._rejected == "pass":
            return GateOutcome(data=data, figures=figures, reason=reason, instead="translation", notes=notes)
        for name, picture in self._substitutes(before.rgb, after):
            substitute = encode_picture(picture, before, self._encoding)
            if not self._objections(figures_of(substitute)):
                return GateOutcome(
                    data=substitute, figures=figures, reason=reason, instead=name, quarantined=data, notes=notes
                )
        return GateOutcome(data=None, figures=figures, reason=reason, instead="source", quarantined=data, notes=notes)

    def _others(self, before: Image, after: Image, labels: "Mapping[str, Label]") -> dict[str, float]:
        """The figures that rules name of metrics but for ``edges``; what this frame does not have is left out."""
        found = {}
        for name, metric in self._metrics.items():
            changes = metric.compare(before, after, labels)
            for rule in self._rules:
                if rule.metric == name and rule.figure in changes and math.isfinite(changes[rule.figure].after):
                    found[rule.name] = float(f"{changes[rule.figure].after:.{_SIGNIFICANT}g}")
        return found

    def _objections(self, figures: Mapping[str, float]) -> list[str]:
        return [
            f"{rule.name} {figures[rule.name]:g}, the gate asks for {rule.sign} {rule.bound:g}"
            for rule in self._rules
            if rule.name in figures and not rule.holds(figures[rule.name])
        ]

    def _substitutes(self, before: Image, after: Image) -> Iterator[tuple[str, Image]]:
        """What may take the place of a translation, the best first."""
        if self._rejected == "blend":
            for share in _SHARES:
                yield f"blend {share:.2f}", np.asarray(cv2.addWeighted(after, share, before, 1 - share, 0), np.uint8)
        if self._rejected == "guided":
            yield "guided", in_light_of(after, before)
        if self._rejected in {"blend", "colour", "guided"}:
            yield "colour", in_colours_of(after, before)


def _figures(before: Edges, after: Image) -> dict[str, float]:
    """The figures of a translation by the edges of its source."""
    changes = compare_edges(before, find_edges(after))
    values = {"new_edges": changes.new, "lost_edges": changes.lost, "preservation": preservation(changes)}
    return {name: round(value, _DIGITS) for name, value in values.items()}


def in_light_of(other: Image, image: Image) -> Image:
    """A picture with another's light and colours by place and brightness, see :mod:`sim2real.engines.guided`.

    Args:
        other: Whose they are, RGB (H, W, 3).
        image: What they are given to, RGB (H, W, 3).
    """
    import torch  # noqa: PLC0415  slow, and a gate seldom needs it

    from sim2real.engines.guided import guided  # noqa: PLC0415  likewise

    found: Image = guided(image[None], image[None], other[None], torch.device("cpu"))[0]
    return found


def in_colours_of(other: Image, image: Image) -> Image:
    """A picture with the mean and the spread of another's colours in CIELAB (after Reinhard et al. 2001).

    Args:
        other: Whose colours they are, RGB (H, W, 3).
        image: What they are given to, RGB (H, W, 3).
    """
    lab = to_lab(image)
    return to_rgb(give_colours(lab, moments(lab), moments(to_lab(other))))
