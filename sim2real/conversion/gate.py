"""The gate of a conversion: a translation that does not keep what its frame shows does not take the frame's place.

It is measured on the file that is about to be written, as an evaluation would measure it afterwards.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

import cv2
import numpy as np

from sim2real.cielab import give_colours, moments, to_lab, to_rgb
from sim2real.errors import SettingsError
from sim2real.imageio import Encoding, Picture, decode_picture, encode_picture
from sim2real.metrics.base import Image
from sim2real.metrics.edges import EdgeMetric, Edges, compare_edges, find_edges, preservation

Rejected = Literal["aside", "blend", "colour", "pass"]
"""What takes the place of a rejected translation.

``aside``: the source's own image, byte for byte. ``blend``: the source with the largest share of the translation mixed
in that the gate lets through; if none, as ``colour``: the source in the colours of its translation; if that does not
come through either, as ``aside``. ``pass``: the translation itself, marked in the manifest. But for ``pass``, the
translation is kept under ``OUT/.sim2real/rejected``.
"""

_SIGNS: Final = {"higher": ">=", "lower": "<="}
_FIGURES: Final = {name: _SIGNS[about.better] for name, about in EdgeMetric.abouts.items() if about.better}
_DIGITS = 4  # of the figures, as they are kept and judged
_SHARES = (0.75, 0.5, 0.25)  # of the translation in a blend


class Rule(NamedTuple):
    """What a figure of :mod:`sim2real.metrics.edges` must be: ``figure``, ``">="`` or ``"<="``, and the bound."""

    figure: str
    sign: str
    bound: float

    def __str__(self) -> str:
        return f"{self.figure}{self.sign}{self.bound:g}"

    def holds(self, value: float) -> bool:
        """Whether a figure's value is good enough."""
        return value >= self.bound if self.sign == ">=" else value <= self.bound


def parse_gate(texts: Iterable[str]) -> tuple[Rule, ...]:
    """Read what the user asks for.

    Args:
        texts: Rules such as ``"preservation>=0.9"``, each text one or several with commas between them.

    Returns:
        The rules, each once, in order of their names.

    Raises:
        SettingsError: One is no such rule, or would reject what is good.
    """
    return tuple(sorted({_parse(rule.strip()) for text in texts for rule in text.split(",")}))


def _parse(text: str) -> Rule:
    match = re.fullmatch(r"(\w+)\s*([<>]=)\s*(\d*\.?\d+(?:e-?\d+)?)", text)
    if not match or match[1] not in _FIGURES or not 0 <= float(match[3]) <= 1:
        known = ", ".join(f"{name}{sign}N" for name, sign in _FIGURES.items())
        raise SettingsError(f"gate {text!r}: say {known}, with N between 0 and 1, for example preservation>=0.9")
    figure, sign, bound = match[1], match[2], float(match[3])
    if sign != _FIGURES[figure]:
        raise SettingsError(f"gate {text!r} would reject the best: say {figure}{_FIGURES[figure]}{bound:g}")
    return Rule(figure, sign, bound)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What becomes of a frame.

    Attributes:
        data: The file that takes its place; None: the source's own.
        figures: Of its translation; None where nobody measured it.
        reason: Why the translation is rejected; None if it is not.
        instead: What ``data`` is if it is rejected, as the manifest says it.
        aside: The file of the translation that is to be kept aside, if it is.
    """

    data: bytes | None
    figures: Mapping[str, float] | None = None
    reason: str | None = None
    instead: str | None = None
    aside: bytes | None = None


class Gate:
    """Judges translations.

    Args:
        rules: What a translation must fulfil, each of them.
        rejected: What takes the place of one that does not, see ``Rejected``.
        encoding: How files are written.
    """

    def __init__(self, rules: Iterable[Rule], rejected: str, encoding: Encoding) -> None:
        self._rules = tuple(rules)
        self._rejected = rejected
        self._encoding = encoding

    def judge(self, before: Picture, after: Image, data: bytes) -> Outcome:
        """Judge the translation of a frame.

        Args:
            before: The frame.
            after: Its translation, RGB (H, W, 3).
            data: The translation as a file like that of the frame.
        """
        edges = find_edges(before.rgb)
        figures = _figures(edges, data)
        if not (objections := self._objections(figures)):
            return Outcome(data=data, figures=figures)
        reason = "; ".join(objections)
        if self._rejected == "pass":
            return Outcome(data=data, figures=figures, reason=reason, instead="translation")
        for name, picture in self._substitutes(before.rgb, after):
            substitute = encode_picture(picture, before, self._encoding)
            if not self._objections(_figures(edges, substitute)):
                return Outcome(data=substitute, figures=figures, reason=reason, instead=name, aside=data)
        return Outcome(data=None, figures=figures, reason=reason, instead="source", aside=data)

    def _objections(self, figures: Mapping[str, float]) -> list[str]:
        return [
            f"{rule.figure} {figures[rule.figure]:g}, the gate asks for {rule.sign} {rule.bound:g}"
            for rule in self._rules
            if not rule.holds(figures[rule.figure])
        ]

    def _substitutes(self, before: Image, after: Image) -> Iterator[tuple[str, Image]]:
        """What may take the place of a translation, the best first."""
        if self._rejected == "blend":
            for share in _SHARES:
                yield f"blend {share:.2f}", np.asarray(cv2.addWeighted(after, share, before, 1 - share, 0), np.uint8)
        if self._rejected in {"blend", "colour"}:
            yield "colour", in_colours_of(after, before)


def _figures(before: Edges, after: bytes) -> dict[str, float]:
    """The figures of a file by the edges of its source."""
    changes = compare_edges(before, find_edges(decode_picture(after, Path("translation")).rgb))
    values = {"new_edges": changes.new, "lost_edges": changes.lost, "preservation": preservation(changes)}
    return {name: round(value, _DIGITS) for name, value in values.items()}


def in_colours_of(other: Image, image: Image) -> Image:
    """A picture with the mean and the spread of another's colours in CIELAB (after Reinhard et al. 2001).

    Args:
        other: Whose colours they are, RGB (H, W, 3).
        image: What they are given to, RGB (H, W, 3).
    """
    lab = to_lab(image)
    return to_rgb(give_colours(lab, moments(lab), moments(to_lab(other))))
