"""Figures of metrics by name: ``"metric.figure"``, or ``"figure"`` alone where one metric has it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sim2real.errors import PluginError, SettingsError
from sim2real.metrics.base import About, FrameMetric, Metric
from sim2real.registry import accepted_options, registry

NAME: Final = r"(?:(?P<metric>[\w-]+)\.)?(?P<figure>[\w-]+(?:/[^<>=,]*[^<>=,\s])?)"
"""A name as a pattern; what follows a slash is a class."""

_SIGNS: Final = {"higher": ">=N", "lower": "<=N", None: ""}


def split_name(text: str) -> tuple[str, str]:
    """The metric, empty where it is not told, and the figure.

    Raises:
        SettingsError: It is no name.
    """
    match = re.fullmatch(NAME, text)
    if not match:
        raise SettingsError(f"{text!r} is no name of a figure; say METRIC.FIGURE, for example contrast.contrast")
    return match["metric"] or "", match["figure"]


def owner_of(figure: str, place: str, usual: str = "", *, but: Sequence[str] = ()) -> str:
    """The metric that has a figure which is named alone.

    Args:
        figure: Its name, with or without a class.
        place: What names it, for messages.
        usual: What is usually said there, for messages.
        but: Metrics that are not meant.

    Raises:
        SettingsError: None has it, or several have.
    """
    known = _frame_figures(but)
    owners = [metric for metric, figures in known.items() if figure.partition("/")[0] in figures]
    if len(owners) == 1:
        return owners[0]
    if owners:
        named = " or ".join(f"{metric}.{figure}" for metric in owners)
        raise SettingsError(f"{place}: {' and '.join(owners)} have a figure of that name; say {named}")
    there = ", ".join(told(metric, figures) for metric, figures in known.items()) or "none"
    raise SettingsError(f"{place}: {usual or 'no metric has such a figure'}; of other metrics there are {there}")


def told(metric: str, figures: Mapping[str, About]) -> str:
    """The figures of a metric, each as it is named, with the sign of what is better."""
    return ", ".join(f"{metric}.{name}{_SIGNS[about.better]}" for name, about in figures.items())


def _frame_figures(but: Sequence[str]) -> dict[str, Mapping[str, About]]:
    """The figures of metrics that compare frames, as far as they tell them before they are made."""
    found = {}
    for entry in registry().entries("metrics"):
        if entry.name in but:
            continue
        try:
            target = entry.load()
        except PluginError:  # it needs what is not installed; named in full, it says so
            continue
        if hasattr(target, "compare") and (abouts := getattr(target, "abouts", None)):
            found[entry.name] = abouts
    return found


def make_metric(name: str, place: str, common: Mapping[str, Any] | None = None) -> Metric:
    """A metric, told what it accepts of what is common to all.

    Raises:
        Sim2RealError: There is none of that name, or it needs options.
    """
    accepted = accepted_options(registry().load("metrics", name))
    options = {option: value for option, value in (common or {}).items() if accepted is None or option in accepted}
    metric: Metric = registry().create("metrics", name, options=options, place=place)
    return metric


def about_of(metric: FrameMetric, name: str, figure: str, place: str) -> About:
    """What a figure of a metric is.

    Raises:
        SettingsError: It has no such figure.
    """
    about = metric.abouts.get(figure.partition("/")[0])
    if about is None:
        raise SettingsError(f"{place}: {name} has no such figure; it has {told(name, metric.abouts)}")
    return about
