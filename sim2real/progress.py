"""What long work reports: stages by a callback, trainings by events."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from sim2real.errors import TopicName


class Progress(Protocol):
    """A callback that reports the progress of long work; called by one thread at a time."""

    def __call__(self, stage: str, done: int, total: int, limit: str = "", /) -> None:
        """Report progress.

        Args:
            stage: Name of the stage. Units of stages whose names begin with the same word take about the same time.
            done: Number of finished units; 0 announces a stage that is still to come.
            total: Total number of units; 0 withdraws an announced stage.
            limit: The stage that limits the speed: ``"decoding"``, ``"translating"``, ``"judging"`` (the gate),
                ``"encoding and writing"`` or ``"carrying"``; empty if unknown.
        """


def quiet(_stage: str, _done: int, _total: int, _limit: str = "", /) -> None:
    """Ignore all progress."""


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """The progress of a training.

    Attributes:
        step: Number of steps done, of ``total``.
        total: Number of steps of the whole run.
        epoch: Number of passes through the larger domain.
        losses: Mean losses since the last report, by name; those of held-out images as ``"validation/..."``, other
            metrics of held-out images as ``"evaluation/..."``.
        images_per_second: Images of both domains and all processes together, since the last report.
        seconds_left: Estimated time for the remaining steps.
        score: Score of a validation at this step, lower is better unless ``evaluate.score`` names a metric that should
            be high; None if there was no validation.
        best: The best score so far and its step; None if there is none.
        memory: Peak memory of this process in bytes, main memory and memory of its device together.
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
    """A message for the user, in one line.

    Attributes:
        text: The message.
        topic: The section of the manual on it, if it has one.
    """

    text: str
    topic: TopicName | None = None
