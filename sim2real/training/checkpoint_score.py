"""The metric that checkpoints are chosen by if ``evaluate.score`` names one instead of the validator's score."""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import cast

import numpy as np
import torch

from sim2real.datasets.labels import Label
from sim2real.errors import SettingsError
from sim2real.metrics.base import About, FrameMetric, Image, SetMetric
from sim2real.metrics.edges import EdgeMetric
from sim2real.metrics.named import about_of, make_metric, owner_of, split_name
from sim2real.registry import registry

Labels = Mapping[str, Label]
_SETTING = "evaluate.score"


class CheckpointScore:
    """The value of a metric of sets, or the mean value of a metric of frames over the frames that have it.

    Args:
        requested: Its name: that of a metric of sets, or ``"metric.figure"`` or ``"figure"`` of a metric of frames.
        seed: Seed of metrics that sample at random.
        device: Device for metrics with networks.

    Attributes:
        name: The full name.
        about: The description of the value.

    Raises:
        Sim2RealError: If there is no such value, its metric needs options, or it is not known whether lower or higher
            is better.
    """

    def __init__(self, requested: str, *, seed: int, device: str) -> None:
        place = f"{_SETTING} = '{requested}'"
        metric, self._figure = split_name(requested)
        if not metric and requested in {entry.name for entry in registry().entries("metrics")}:
            metric, self._figure = (requested, "") if _is_of_sets(requested) else ("", requested)
        if not metric:
            metric = "edges" if self._figure in EdgeMetric.abouts else owner_of(self._figure, place)
        self.name = f"{metric}.{self._figure}".removesuffix(".")
        self._device = device
        made = make_metric(metric, place, {"seed": seed, "device": device})
        self._sets = cast("SetMetric", made) if hasattr(made, "distance") else None
        self._frames = cast("FrameMetric", made)
        if self._sets and self._figure:
            raise SettingsError(f"{place}: '{metric}' compares sets of images and has a single value; use {metric}")
        self.about: About = self._sets.about if self._sets else about_of(self._frames, metric, self._figure, place)
        if self.about.better is None:
            raise SettingsError(f"{place}: this metric has no better or worse; name one that has")

    @cached_property
    def sign(self) -> float:
        """1 if lower is better, -1 if higher is."""
        return 1.0 if self.about.better == "lower" else -1.0

    def check(self, before: Sequence[Image], real: Sequence[Image], labels: Sequence[Labels]) -> None:
        """Make sure that the metric can be computed for the held-out images.

        Raises:
            SettingsError: If there are too few images, or they do not have the metric.
        """
        place = f"{_SETTING} = '{self.name}'"
        if (few := min(len(before), len(real))) < self.about.least:
            message = (
                f"{place}: it needs at least {self.about.least} images of each side, and {few} are used; raise "
                "data.validation and evaluate.count"
            )
            raise SettingsError(message, topic="judged-on-held-out-images")
        if not self._sets and self(before, before, real, labels) is None:
            message = f"{place}: the held-out images lack what this metric needs, e.g. labels; name another"
            raise SettingsError(message, topic="judged-on-held-out-images")

    def __call__(
        self, before: Sequence[Image], after: Sequence[Image], real: Sequence[Image], labels: Sequence[Labels]
    ) -> float | None:
        """Return the value for translations; None if they do not have it.

        Args:
            before: The source images, RGB (H, W, 3).
            after: Their translations, in the same order.
            real: Real images.
            labels: The labels of each source image by kind, on its pixels.
        """
        with torch.random.fork_rng(devices=[self._device] if self._device.startswith("cuda") else []):
            if self._sets:
                value = self._sets.distance(self._sets.describe(after), self._sets.describe(real))
            else:
                frames = zip(before, after, labels, strict=True)
                changes = [self._frames.compare(*frame).get(self._figure) for frame in frames]
                values = [change.after for change in changes if change and math.isfinite(change.after)]
                value = float(np.mean(values)) if values else math.nan
        return value if math.isfinite(value) else None


def _is_of_sets(name: str) -> bool:
    return hasattr(registry().load("metrics", name), "distance")
