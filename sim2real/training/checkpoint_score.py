"""The figure that checkpoints are chosen by, where that is not the validator's score."""

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
    """A figure of a metric of sets, or the mean of one of frames over those that have it.

    Args:
        requested: Its name: of a metric of sets, ``"metric.figure"`` of one of frames, or such a figure alone.
        seed: Of metrics that sample at random.
        device: Where metrics with networks run.

    Attributes:
        name: The figure's full name.
        about: What it is.

    Raises:
        Sim2RealError: There is no such figure, its metric needs options, or nothing tells which way it should go.
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
            raise SettingsError(f"{place}: '{metric}' compares sets of pictures and has one figure; say {metric}")
        self.about: About = self._sets.about if self._sets else about_of(self._frames, metric, self._figure, place)
        if self.about.better is None:
            raise SettingsError(f"{place}: this figure only describes; name one of which more or less is better")

    @cached_property
    def sign(self) -> float:
        """1 where less is better, -1 where more is."""
        return 1.0 if self.about.better == "lower" else -1.0

    def check(self, before: Sequence[Image], real: Sequence[Image], labels: Sequence[Labels]) -> None:
        """Make sure that the held-out pictures have the figure.

        Raises:
            SettingsError: They are too few, or have not.
        """
        place = f"{_SETTING} = '{self.name}'"
        if (few := min(len(before), len(real))) < self.about.least:
            message = (
                f"{place}: of fewer than {self.about.least} pictures of each side it tells nothing, and {few} are "
                "looked at; raise data.validation and evaluate.count"
            )
            raise SettingsError(message)
        if not self._sets and self(before, before, real, labels) is None:
            message = f"{place}: held-out pictures do not have this figure, by the labels that are there; name another"
            raise SettingsError(message)

    def __call__(
        self, before: Sequence[Image], after: Sequence[Image], real: Sequence[Image], labels: Sequence[Labels]
    ) -> float | None:
        """The figure of translations; None where they do not have it.

        Args:
            before: Pictures, RGB (H, W, 3).
            after: Their translations, in their order.
            real: Real pictures.
            labels: Of each picture, by kind, on its pixels.
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
