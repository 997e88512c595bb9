"""Select and create the metrics of an evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sim2real.errors import PluginError, SettingsError, Sim2RealError
from sim2real.metrics.base import FrameMetric, SetMetric
from sim2real.metrics.named import options_for
from sim2real.places import absent
from sim2real.registry import registry

USUAL: Final = ("sliced-wasserstein", "colour", "spectrum", "two-sample", "edges", "structure", "contrast", "artefacts")
"""The default metrics, which need neither weights nor a detector."""

_ON_FEATURES: Final = ("kid", "frechet")  # metrics on the features of any network


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricSelection:
    """The metrics of an evaluation, by name.

    Attributes:
        sets: Metrics that compare sets of images with real ones.
        frames: Metrics that compare a frame with its translation.
        options: Options that each was created with.
        notes: Metrics that were left out, and why.
    """

    sets: Mapping[str, SetMetric] = field(default_factory=dict)
    frames: Mapping[str, FrameMetric] = field(default_factory=dict)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def select_metrics(
    named: tuple[str, ...],
    options: Mapping[str, Mapping[str, Any]],
    weights: Mapping[str, Path],
    detector: Path | None,
    common: Mapping[str, Any],
) -> MetricSelection:
    """Select and create the metrics.

    Args:
        named: Registered names; if empty, the default metrics and those that files are given for.
        options: Name of a metric -> options of its constructor.
        weights: Weight files, keyed by the metric that needs them or by the torchvision network whose features ``kid``
            and ``frechet`` use.
        detector: ONNX file of a detector, for ``objects``.
        common: Options for every metric that accepts them: seed, device.

    Raises:
        Sim2RealError: If a requested metric cannot be used.
    """
    wanted, given = check_selection(named, options, weights, detector)
    sets: dict[str, SetMetric] = {}
    frames: dict[str, FrameMetric] = {}
    chosen_options: dict[str, Mapping[str, Any]] = {}
    notes = []
    for name in wanted:
        try:
            chosen_options[name] = options_for(name, common) | given.get(name, {})
            metric = registry().create("metrics", name, options=chosen_options[name], place=f"metric {name}")
        except Sim2RealError as error:
            if name in named or name in given:
                raise
            notes.append(f"{name} is left out: {error}")
            continue
        if hasattr(metric, "distance"):
            sets[name] = metric
        elif hasattr(metric, "compare"):
            frames[name] = metric
        else:
            message = f"metric '{name}': neither a SetMetric nor a FrameMetric (see sim2real.metrics.base)"
            raise PluginError(message)
    return MetricSelection(sets=sets, frames=frames, options=chosen_options, notes=tuple(notes))


def check_selection(
    named: tuple[str, ...],
    options: Mapping[str, Mapping[str, Any]],
    weights: Mapping[str, Path],
    detector: Path | None,
) -> tuple[tuple[str, ...], dict[str, dict[str, Any]]]:
    """Return the selected metrics and the options that the user gave to each, without importing any metric.

    Args:
        named: Registered names; if empty, the default ones.
        options: Name of a metric -> options of its constructor.
        weights: Weight files, as for :func:`select_metrics`.
        detector: ONNX file of a detector.

    Raises:
        Sim2RealError: If there is no such metric or file, or options are given for a metric that is not selected.
    """
    given = _from_files(weights, detector)
    for name, values in options.items():
        given[name] = given.get(name, {}) | dict(values)
    wanted = named or tuple(dict.fromkeys([*USUAL, *given]))
    for name in (*named, *options):
        registry().entry("metrics", name)
    if unused := [name for name in given if name not in wanted]:
        message = f"{unused[0]}: has options or a file, but is not selected; add it to --metrics"
        raise SettingsError(message)
    return wanted, given


def _from_files(weights: Mapping[str, Path], detector: Path | None) -> dict[str, dict[str, Any]]:
    """Return the options of metrics that follow from the user's files."""
    for path in [*weights.values(), *([detector] if detector else [])]:
        if not path.is_file():
            message = f"{path}: a folder" if path.is_dir() else absent(path, "file")
            raise SettingsError(f"{message}; name a file of weights")
    known = {entry.name for entry in registry().entries("metrics")}
    networks = [name for name in weights if name not in known]
    if len(networks) > 1:
        message = f"weights of {' and '.join(networks)}: give the weights of one network at a time"
        raise SettingsError(message, topic="more-figures")
    chosen_options: dict[str, dict[str, Any]] = {name: {"weights": weights[name]} for name in weights if name in known}
    for network in networks:
        chosen_options |= {name: {"weights": weights[network], "network": network} for name in _ON_FEATURES}
    if detector:
        chosen_options["objects"] = {"detector": detector}
    return chosen_options
