"""The gate of a conversion: it rejects translations that change the content of their frame too much.

It measures the file that is about to be written, as a later evaluation does.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, cast

import cv2
import numpy as np

from sim2real.cielab import give_colours, moments, to_lab, to_rgb
from sim2real.errors import SettingsError
from sim2real.imageio import Encoding, Picture, decode_picture, encode_picture
from sim2real.metrics.base import About, FrameMetric, Image
from sim2real.metrics.edges import EdgeMetric, compare_edges, find_edges, preservation
from sim2real.metrics.named import NAME, about_of, make_metric, owner_of

if TYPE_CHECKING:
    from sim2real.datasets.labels import Label

Rejected = Literal["quarantine", "blend", "colour", "guided", "pass"]
"""What replaces a rejected translation.

``quarantine``: the source image, byte for byte. ``blend``: the source blended with the largest share of the translation
that passes the gate; if none passes, as ``colour``. ``colour``: the source in the colours of its translation; if that
does not pass, as ``quarantine``. ``guided``: the source with the light and colours of its translation by place and
brightness, as in a guided transfer; if that does not pass, as ``colour``. ``pass``: the translation itself, marked in
the manifest. In all cases except ``pass``, the translation is kept under ``OUT/.sim2real/rejected``.
"""

EDGES: Final = "edges"
_SIGNS: Final = {"higher": ">=", "lower": "<="}
_FIGURES: Final = {name: _SIGNS[about.better] for name, about in EdgeMetric.abouts.items() if about.better}
_RULE: Final = re.compile(NAME + r"\s*(?P<sign>[<>]=)\s*(?P<bound>[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)")
_DIGITS = 4  # decimals of the values of edges, for storing and judging
_SIGNIFICANT = 6  # significant digits of other values
_SHARES = (0.75, 0.5, 0.25)  # of the translation in a blend


class Rule(NamedTuple):
    """A bound on a metric's value for each frame.

    Attributes:
        figure: Name of the value, with ``"/Class"`` if it is of one class.
        sign: ``">="`` or ``"<="``.
        bound: The bound.
        metric: Name of the metric; empty if the user did not give it and it has not been found yet.
    """

    figure: str
    sign: str
    bound: float
    metric: str = EDGES

    @property
    def name(self) -> str:
        """The name of the value in the manifest."""
        return self.figure if self.metric in {EDGES, ""} else f"{self.metric}.{self.figure}"

    def __str__(self) -> str:
        return f"{self.name}{self.sign}{self.bound:g}"

    def holds(self, value: float) -> bool:
        """Return whether a value meets the rule."""
        return value >= self.bound if self.sign == ">=" else value <= self.bound


def parse_gate(texts: Iterable[str]) -> tuple[Rule, ...]:
    """Parse the rules of a gate without loading metrics other than ``edges``.

    Args:
        texts: Rules, for example ``"preservation>=0.9"`` or ``"contrast.contrast/Car>=0.2"``; each text holds one or
            several, separated by commas.

    Returns:
        The rules without duplicates, sorted by name.

    Raises:
        SettingsError: If a rule is malformed or would reject good translations.
    """
    return tuple(sorted({_parse(rule.strip()) for text in texts for rule in text.split(",")}))


def _parse(text: str) -> Rule:
    match = _RULE.fullmatch(text)
    if not match or not math.isfinite(float(match["bound"])):
        raise SettingsError(f"gate {text!r}: {_usage()}; or METRIC.FIGURE>=N of another metric")
    rule = Rule(match["figure"], match["sign"], float(match["bound"]), match["metric"] or "")
    if rule.metric not in {"", EDGES} or rule.figure not in _FIGURES:
        return rule
    if not 0 <= rule.bound <= 1:
        raise SettingsError(f"gate {text!r}: {_usage()}")
    _require_direction(rule, text, EdgeMetric.abouts[rule.figure])
    return rule._replace(metric=EDGES)


def _usage() -> str:
    known = ", ".join(f"{name}{sign}N" for name, sign in _FIGURES.items())
    return f"say {known}, with N between 0 and 1, for example preservation>=0.9"


def _require_direction(rule: Rule, text: str, about: About) -> None:
    if about.better and rule.sign != _SIGNS[about.better]:
        right = rule._replace(sign=_SIGNS[about.better])
        raise SettingsError(f"gate {text!r} would reject the best: say {right}")


def find_metrics(rules: Iterable[Rule]) -> tuple[tuple[Rule, ...], dict[str, FrameMetric]]:
    """Find the metrics that the rules name, and check the rules against them.

    Returns:
        The rules with the names of their metrics, sorted by name; and the metrics except ``edges``, by name.

    Raises:
        Sim2RealError: If a value does not exist or belongs to two metrics, its metric needs options or weights, or the
            rule would reject good translations or all of them.
    """
    found, metrics = [], dict[str, FrameMetric]()
    for rule in rules:
        if rule.metric == EDGES and rule.figure in _FIGURES:
            found.append(rule)
            continue
        place = f"gate '{rule}'"
        named = rule
        if not rule.metric:
            named = rule._replace(metric=owner_of(rule.figure, place, _usage(), but=(EDGES,)))
        if named.metric not in metrics:
            metrics[named.metric] = _create(named)
        _check(named, metrics[named.metric])
        found.append(named)
    return tuple(sorted(set(found))), metrics


def _create(rule: Rule) -> FrameMetric:
    metric = make_metric(rule.metric, f"gate '{rule}'")
    if not hasattr(metric, "compare"):
        message = f"gate '{rule}': the metric '{rule.metric}' compares sets of pictures and cannot judge single frames"
        raise SettingsError(message, topic="reject-bad-frames-while-converting")
    return cast("FrameMetric", metric)


def _check(rule: Rule, metric: FrameMetric) -> None:
    """Check that a metric has the value of a rule, and that the rule does not reject good or all translations."""
    about = about_of(metric, rule.metric, rule.figure, f"gate '{rule}'")
    _require_direction(rule, str(rule), about)
    if rule.sign == ">=" and rule.bound > about.most:
        raise SettingsError(
            f"gate '{rule}' would reject everything: {rule.name} is at most {about.most:g}",
            topic="reject-bad-frames-while-converting",
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class GateOutcome:
    """The result of the gate for a frame.

    Attributes:
        data: The file to write; None for the source's own.
        figures: Values of its translation; None if it was not measured.
        reason: Why the translation was rejected; None if it was not.
        instead: Name of the substitute in the manifest, if the translation was rejected.
        quarantined: The file of the translation to keep in quarantine, if any.
        notes: Notes on rules that could not be applied to this frame.
    """

    data: bytes | None
    figures: Mapping[str, float] | None = None
    reason: str | None = None
    instead: str | None = None
    quarantined: bytes | None = None
    notes: tuple[str, ...] = ()


class Gate:
    """A judge of translations.

    Args:
        rules: Rules that a translation must all meet.
        rejected: What replaces a translation that does not, see ``Rejected``.
        encoding: How files are written.
        metrics: The metrics that the rules name except ``edges``, see :func:`find_metrics`.
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
            data: The translation as a file in the format of the frame's.
            labels: The labels of the frame, by kind.

        Raises:
            Sim2RealError: If a label that a metric needs cannot be read.
        """
        edges = find_edges(before.rgb) if self._by_edges else None

        def figures_of(file: bytes) -> dict[str, float]:
            image = decode_picture(file, Path("translation")).rgb
            figures = {}
            if edges:
                changes = compare_edges(edges, find_edges(image))
                figures = {"new_edges": changes.new, "lost_edges": changes.lost, "preservation": preservation(changes)}
                figures = {name: round(value, _DIGITS) for name, value in figures.items()}
            return figures | self._others(before.rgb, image, labels or {})

        figures = figures_of(data)
        lacking = dict.fromkeys(rule.name for rule in self._rules if rule.name not in figures)
        notes = tuple(f"the gate has no {name} to judge by" for name in lacking)
        outcome = GateOutcome(data=data, figures=figures, notes=notes)
        if not (objections := self._objections(figures)):
            return outcome
        rejected = partial(replace, outcome, reason="; ".join(objections))
        if self._rejected == "pass":
            return rejected(instead="translation")
        for name, picture in self._substitutes(before.rgb, after):
            substitute = encode_picture(picture, before, self._encoding)
            if not self._objections(figures_of(substitute)):
                return rejected(data=substitute, instead=name, quarantined=data)
        return rejected(data=None, instead="source", quarantined=data)

    def _others(self, before: Image, after: Image, labels: "Mapping[str, Label]") -> dict[str, float]:
        """Return the values that rules name, except those of ``edges``; values that this frame lacks are left out."""
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
        """Yield the possible substitutes for a translation, the best first."""
        if self._rejected == "blend":
            for share in _SHARES:
                yield f"blend {share:.2f}", np.asarray(cv2.addWeighted(after, share, before, 1 - share, 0), np.uint8)
        if self._rejected == "guided":
            yield "guided", in_light_of(after, before)
        if self._rejected in {"blend", "colour", "guided"}:
            yield "colour", in_colours_of(after, before)


def in_light_of(other: Image, image: Image) -> Image:
    """Return an image with the light and colours of another by place and brightness.

    See :mod:`sim2real.engines.guided`.

    Args:
        other: The image whose light and colours are used, RGB (H, W, 3).
        image: The image to change, RGB (H, W, 3).
    """
    import torch  # noqa: PLC0415  slow and seldom needed

    from sim2real.engines.guided import guided  # noqa: PLC0415

    found: Image = guided(image[None], image[None], other[None], torch.device("cpu"))[0]
    return found


def in_colours_of(other: Image, image: Image) -> Image:
    """Return an image with the mean and spread of another's colours in CIELAB (after Reinhard et al. 2001).

    Args:
        other: The image whose colours are used, RGB (H, W, 3).
        image: The image to change, RGB (H, W, 3).
    """
    lab = to_lab(image)
    return to_rgb(give_colours(lab, moments(lab), moments(to_lab(other))))
