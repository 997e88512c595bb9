"""The contract of a metric: a measure of sets of pictures, or of a frame before and after its translation."""

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
"""What a metric keeps of pictures: (N, ...), a row for each."""

Better = Literal["lower", "higher"]


@dataclass(frozen=True, kw_only=True, slots=True)
class About:
    """What a figure is.

    Attributes:
        title: What it measures, in a few words, with its unit.
        better: Which way it should go; None for a figure that only describes.
        least: Of fewer pictures than this it tells nothing.
        most: It cannot be higher.
    """

    title: str
    better: Better | None
    least: int = 1
    most: float = math.inf


class SetMetric(Protocol):
    """How far a set of pictures is from real ones.

    All pictures that it is given have one size, whichever set they are of. Nothing pairs them.

    Attributes:
        about: What its figure is.
        resamples: How many distances of parts of the sets are worth their time for a confidence interval; about 20
            where one takes a second.
    """

    about: About
    resamples: int

    def describe(self, images: Sequence[Image]) -> Features:
        """What is to be known of some pictures, a row for each; a row does not depend on the other pictures."""

    def distance(self, images: Features, real: Features) -> float:
        """The distance of pictures from real ones, by their descriptions; the numbers of them may differ."""


class SlowSetMetric(SetMetric, Protocol):
    """A metric of sets whose distances take so long that each tells how far it is.

    Attributes:
        ticks: How often a distance calls ``tick``.
    """

    ticks: int

    def distance(self, images: Features, real: Features, tick: Callable[[], None] = ...) -> float:
        """As of any metric of sets; ``tick`` is called after each part of the work, all alike."""


class Change(NamedTuple):
    """A figure of a frame: of its translation, and of the frame as it was, where that has one."""

    after: float
    before: float | None = None


class FrameMetric(Protocol):
    """What became of a frame: it is compared with its translation.

    Attributes:
        abouts: Name of each figure -> what it is. The figures of a class are named ``"name/Class"`` and share the
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
            The figures by name; those that this frame does not have are left out.
        """


Metric = SetMetric | FrameMetric
