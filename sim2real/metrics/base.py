"""The contract of metrics: they compare two sets of images, or a frame with its translation."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sim2real.datasets.labels import Label

Image = NDArray[np.uint8]
"""RGB, (H, W, 3)."""

Features = NDArray[np.float32]
"""A metric's descriptions of images, (N, ...), one row per image."""

Better = Literal["lower", "higher"]


@dataclass(frozen=True, kw_only=True, slots=True)
class About:
    """The description of a metric's value.

    Attributes:
        title: What it measures, in a few words, with its unit.
        better: The better direction; None for a value that only describes.
        least: Smallest number of images for which the value is meaningful.
        most: Upper bound of the value.
    """

    title: str
    better: Better | None
    least: int = 1
    most: float = math.inf


class SetMetric(Protocol):
    """A metric of the distance between a set of images and a set of real images.

    All images passed to it have the same size, whichever set they belong to. The sets are not paired.

    Attributes:
        about: Description of its value.
        resamples: Number of distances to measure on parts of the sets for a confidence interval; about 20 if one takes
            a second.
    """

    about: About
    resamples: int

    def describe(self, images: Sequence[Image]) -> Features:
        """Describe images, one row per image; a row does not depend on the other images."""

    def distance(self, images: Features, real: Features) -> float:
        """Return the distance of images from real ones, given their descriptions; the sets may differ in size."""


class SlowSetMetric(SetMetric, Protocol):
    """A set metric with slow distances, which report their progress.

    Attributes:
        ticks: Number of times that one distance calls ``tick``.
    """

    ticks: int

    def distance(self, images: Features, real: Features, tick: Callable[[], None] = ...) -> float:
        """Return the distance as any set metric does, calling ``tick`` after each of the equal parts of the work."""


class Change(NamedTuple):
    """A value of a frame after its translation, and before it where that is defined."""

    after: float
    before: float | None = None


class FrameMetric(Protocol):
    """A metric that compares a frame with its translation.

    Attributes:
        abouts: Name of each value -> its description. The values of a class are named ``"name/Class"`` and share the
            entry of ``"name"``.
    """

    abouts: Mapping[str, About]

    def compare(self, before: Image, after: Image, labels: "Mapping[str, Label]") -> Mapping[str, Change]:
        """Compare a frame with its translation.

        Args:
            before: The frame.
            after: Its translation, of the same size.
            labels: The labels of the frame that could be read, by kind (``"segmentation"``, ``"boxes"``, ...).

        Returns:
            The values by name, without those that are undefined for this frame.
        """


Metric = SetMetric | FrameMetric
