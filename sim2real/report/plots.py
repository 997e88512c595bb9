"""Draw plots as SVG for embedding in a page; their colours follow the page's style, light or dark."""

import io
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from sim2real.errors import Sim2RealError

Points = Sequence[tuple[float, float]]

_SIZE = (3.7, 2.3)  # inches, so that text keeps about its size in a column of a page
_LEAST_RANGE = 0.02  # of the values: smallest range of a plot
_BINS = 240  # of a line with more points
_BARS = 40  # of a histogram
_COLOURS = {"ink": "#010101", "faint": "#020202", "first": "#030303", "second": "#040404", "third": "#050505"}
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "sim2real",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _COLOURS["faint"],
    "axes.labelcolor": _COLOURS["ink"],
    "axes.formatter.useoffset": False,
    "axes.grid": True,
    "grid.color": _COLOURS["faint"],
    "grid.alpha": 0.45,
    "grid.linewidth": 0.6,
    "xtick.color": _COLOURS["faint"],
    "ytick.color": _COLOURS["faint"],
    "xtick.labelcolor": _COLOURS["ink"],
    "ytick.labelcolor": _COLOURS["ink"],
    "text.color": _COLOURS["ink"],
    "text.parse_math": False,  # names from users are no formulas
    "axes.axisbelow": True,
}


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a plot.

    Attributes:
        points: (step, value), by step.
        colour: ``"first"``, ``"second"`` or ``"third"`` of the page's series colours.
        marked: Whether to mark each point. A line of more than 240 points is drawn as a mean within a band.
    """

    points: Points
    colour: str = "first"
    marked: bool = False


class Drawing(ABC):
    """A named drawing."""

    __slots__ = ()
    name: str

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in inches."""
        return _SIZE

    def svg(self) -> Markup:
        """Return the drawing as SVG that fills the available width.

        Raises:
            Sim2RealError: If Matplotlib is not installed.
        """
        try:
            figures, style = import_module("matplotlib.figure"), import_module("matplotlib").rc_context
        except ModuleNotFoundError as error:
            message = 'the plots of a report need matplotlib; pip install "sim2real[report]"'
            raise Sim2RealError(message) from error
        with style(_STYLE):
            figure = figures.Figure(figsize=self.size, layout="constrained")
            axes = figure.add_subplot()
            self._draw(axes)
            axes.tick_params(length=0)
            file = io.StringIO()
            figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        return Markup(_made_to_fit(file.getvalue(), self.name))  # noqa: S704  our own drawing; its texts are escaped

    @abstractmethod
    def _draw(self, axes: Any) -> None:  # noqa: ANN401  Matplotlib is imported late
        """Draw on Matplotlib axes."""


@dataclass(frozen=True, slots=True)
class Plot(Drawing):
    """A small plot over steps.

    Attributes:
        name: Its heading.
        remark: How to read it.
        curves: The lines.
        levels: Values drawn as horizontal dashed lines, with their meanings.
        ring: A point to highlight.
        top: Points above this value are drawn as arrows at the upper edge; None: no such limit.
    """

    name: str
    curves: Sequence[Curve]
    remark: str = ""
    levels: Sequence[tuple[float, str]] = field(default=())
    ring: tuple[float, float] | None = None
    top: float | None = None

    def _draw(self, axes: Any) -> None:  # noqa: ANN401  as above
        for curve in self.curves:
            self._draw_curve(axes, np.array(curve.points, float).reshape(-1, 2), curve)
        for value, meaning in self.levels:
            axes.axhline(value, color=_COLOURS["ink"], linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.7)
            axes.annotate(
                meaning, (1, value), (0, 2), xycoords=("axes fraction", "data"), textcoords="offset points",
                ha="right", va="bottom", fontsize=8, alpha=0.85,
            )  # fmt: skip
        if self.ring:
            look = {"markersize": 9, "markerfacecolor": "none", "markeredgecolor": _COLOURS["third"]}
            axes.plot(*self.ring, "o", clip_on=False, **look)
        axes.margins(x=0.02, y=0.14)
        low, high = axes.get_ylim()
        if self.top is not None and high > self.top:
            axes.set_ylim(top=self.top)
        elif high - low < _LEAST_RANGE * abs(high):  # do not magnify tiny changes
            axes.set_ylim(low - _LEAST_RANGE * abs(high), high + _LEAST_RANGE * abs(high))
        axes.set_xlim(left=0)
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(import_module("matplotlib.ticker").MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(_short_number)

    def _draw_curve(self, axes: Any, points: NDArray[np.float64], curve: Curve) -> None:  # noqa: ANN401  as above
        colour = _COLOURS[curve.colour]
        if self.top is not None:
            beyond = points[points[:, 1] > self.top]
            axes.plot(beyond[:, 0], np.full(len(beyond), self.top * 0.97), "^", markersize=5, color=colour)
            points = points[points[:, 1] <= self.top]
        if len(points) > _BINS:
            bins = np.array_split(points, _BINS)
            steps = [part[:, 0].mean() for part in bins]
            band = [part[:, 1].min() for part in bins], [part[:, 1].max() for part in bins]
            axes.fill_between(steps, *band, color=colour, alpha=0.18, linewidth=0)
            points = np.stack([steps, [part[:, 1].mean() for part in bins]], axis=1)
        marker = {"marker": "o", "markersize": 3} if curve.marked or len(points) == 1 else {}
        axes.plot(points[:, 0], points[:, 1], color=colour, linewidth=1.4, **marker)


@dataclass(frozen=True, slots=True)
class Histogram(Drawing):
    """A histogram.

    Attributes:
        name: Its heading.
        values: The values.
        remark: How to read it.
        levels: Values drawn as vertical dashed lines, with their meanings.
    """

    name: str
    values: Sequence[float]
    remark: str = ""
    levels: Sequence[tuple[float, str]] = field(default=())

    def _draw(self, axes: Any) -> None:  # noqa: ANN401  as above
        axes.hist(self.values, bins=min(_BARS, max(5, len(self.values) // 2)), color=_COLOURS["first"])
        for value, meaning in self.levels:
            axes.axvline(value, color=_COLOURS["ink"], linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.7)
            axes.annotate(
                meaning, (value, 1), (-2, -2), xycoords=("data", "axes fraction"), textcoords="offset points",
                ha="right", va="top", rotation=90, fontsize=8, alpha=0.85,
            )  # fmt: skip
        axes.set_ylabel("frames")
        axes.xaxis.set_major_locator(import_module("matplotlib.ticker").MaxNLocator(5))
        axes.yaxis.set_major_locator(import_module("matplotlib.ticker").MaxNLocator(4, integer=True))


class Bar(NamedTuple):
    """A named value with its confidence interval and its value before, if there are any."""

    name: str
    value: float
    interval: tuple[float, float] | None = None
    before: float | None = None


@dataclass(frozen=True, slots=True)
class Bars(Drawing):
    """A bar chart, its bars in order from the top.

    Attributes:
        name: Its heading.
        bars: The bars.
        remark: How to read it.
    """

    name: str
    bars: Sequence[Bar]
    remark: str = ""

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in inches, the height by the number of bars."""
        return _SIZE[0], 0.5 + 0.27 * len(self.bars)

    def _draw(self, axes: Any) -> None:  # noqa: ANN401  as above
        for place, bar in enumerate(self.bars):
            axes.barh(place, bar.value, 0.62, color=_COLOURS["first"])
            if bar.interval:
                axes.plot(bar.interval, (place, place), color=_COLOURS["ink"], linewidth=1.2)
            if bar.before is not None:
                axes.plot((bar.before, bar.before), (place - 0.42, place + 0.42), color=_COLOURS["second"], linewidth=2)
        axes.set_yticks(range(len(self.bars)), [bar.name for bar in self.bars])
        axes.invert_yaxis()
        axes.xaxis.set_major_locator(import_module("matplotlib.ticker").MaxNLocator(5))
        axes.grid(visible=False, axis="y")


def _short_number(value: float, _place: int) -> str:
    return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k" if value >= 1e3 else f"{value:g}"


def _made_to_fit(svg: str, name: str) -> str:
    """Adapt an SVG of Matplotlib to a page: colours and font of its style sheet, flexible size, unique ids."""
    prefix = re.sub(r"\W+", "-", name)
    svg = svg[svg.index("<svg") :]
    for variable, colour in _COLOURS.items():
        svg = svg.replace(colour, f"var(--{variable})")
    replacements: Sequence[tuple[str, str | Callable[[re.Match[str]], str]]] = (
        (r"<metadata>.*?</metadata>", ""),
        (r'(<svg[^>]*?) width="[^"]*"', r"\1"),
        (r'(<svg[^>]*?) height="[^"]*"', r"\1"),
        (r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-"),
        (r"font: ([\d.]+px) [^;\"]*", r"font-size: \1"),
    )
    for pattern, replacement in replacements:
        svg = re.sub(pattern, replacement, svg, flags=re.DOTALL)
    return svg
