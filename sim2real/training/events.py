"""What a training tells as it goes."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training stands.

    Attributes:
        step: Steps done, of ``total``.
        total: Steps of the whole run.
        epoch: Times that the larger domain was gone through.
        losses: Means since the last report, by name; of held-out images under ``"validation/..."``, other figures of
            them under ``"evaluation/..."``.
        images_per_second: Of both domains and all processes together, since the last report.
        seconds_left: Estimate for the rest.
        score: Of an evaluation at this step, the lower the better unless ``evaluate.score`` names a figure that should
            be high; None: there was none.
        best: The best score so far, and its step.
        memory: The most bytes that this process has held so far, in main memory and on its device together.
    """

    step: int
    total: int
    epoch: float
    losses: Mapping[str, float]
    images_per_second: float
    seconds_left: float
    score: float | None = None
    best: tuple[float, int] | None = None
    memory: int = 0


@dataclass(frozen=True, slots=True)
class Note:
    """Something that a user should know, in a line."""

    text: str
