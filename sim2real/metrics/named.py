"""Names of metric values: ``"metric.figure"``, or ``"figure"`` alone if only one metric has it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sim2real.errors import PluginError, SettingsError
from sim2real.metrics.base import About, FrameMetric, Metric
from sim2real.registry import accepted_options, registry

NAME: Final = r"(?:(?P<metric>[\w-]+)\.)?(?P<figure>[\w-]+(?:/[^<>=,]*[^<>=,\s])?)"
"""Pattern of a name; a class follows the slash."""

_SIGNS: Final = {"higher": ">=N", "lower": "<=N", None: ""}


def split_name(text: str) -> tuple[str, str]:
    """Split a name into the metric, empty if it is not given, and the figure.

    Raises:
        SettingsError: If the text is no such name.
    """
    match = re.fullmatch(NAME, text)
    if not match:
        raise SettingsError(f"{text!r} is no name of a figure; use METRIC.FIGURE, for example contrast.contrast")
    return match["metric"] or "", match["figure"]


def owner_of(figure: str, place: str, usual: str = "", *, but: Sequence[str] = ()) -> str:
    """Return the metric that has a figure named without its metric.

    Args:
        figure: Name of the figure, with or without a class.
        place: The setting or option that names it, for messages.
        usual: Start of the message if no metric has the figure; empty for the default.
        but: Metrics to leave out.

    Raises:
        SettingsError: If no metric has it, or several have.
    """
    known = _frame_figures(but)
    owners = [metric for metric, figures in known.items() if figure.partition("/")[0] in figures]
    if len(owners) == 1:
        return owners[0]
    if owners:
        named = " or ".join(f"{metric}.{figure}" for metric in owners)
        raise SettingsError(f"{place}: {' and '.join(owners)} have a figure of that name; use {named}")
    there = ", ".join(listed(metric, figures) for metric, figures in known.items()) or "none"
    raise SettingsError(f"{place}: {usual or 'no metric has such a figure'}; other metrics have {there}")


def listed(metric: str, figures: Mapping[str, About]) -> str:
    """Return the full names of a metric's figures, each with the sign of its better direction."""
    return ", ".join(f"{metric}.{name}{_SIGNS[about.better]}" for name, about in figures.items())


def _frame_figures(but: Sequence[str]) -> dict[str, Mapping[str, About]]:
    """Return the figures of frame metrics whose class declares them."""
    found = {}
    for entry in registry().entries("metrics"):
        if entry.name in but:
            continue
        try:
            target = entry.load()
        except PluginError:  # a dependency is missing; the error is reported if the metric is named in full
            continue
        if hasattr(target, "compare") and (abouts := getattr(target, "abouts", None)):
            found[entry.name] = abouts
    return found


def make_metric(name: str, place: str, common: Mapping[str, Any] | None = None) -> Metric:
    """Create a metric, passing those of the common options that it accepts.

    Raises:
        Sim2RealError: If there is no metric of this name, or it needs other options.
    """
    metric: Metric = registry().create("metrics", name, options=options_for(name, common or {}), place=place)
    return metric


def options_for(name: str, common: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the common options that a metric accepts."""
    accepted = accepted_options(registry().load("metrics", name))
    return {option: value for option, value in common.items() if accepted is None or option in accepted}


def about_of(metric: FrameMetric, name: str, figure: str, place: str) -> About:
    """Return the description of a metric's figure.

    Raises:
        SettingsError: If the metric has no such figure.
    """
    about = metric.abouts.get(figure.partition("/")[0])
    if about is None:
        raise SettingsError(f"{place}: {name} has no such figure; it has {listed(name, metric.abouts)}")
    return about
