"""The results of an evaluation, and their files under ``OUT/.sim2real``.

``evaluation.json`` holds the figures, the verdict and the alarms; ``evaluation.csv`` has one line per frame.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from sim2real.datasets.base import STATE_FOLDER
from sim2real.errors import Sim2RealError
from sim2real.files import write_whole
from sim2real.inside import inside, read_regular
from sim2real.metrics.base import Better
from sim2real.stored import Count, MisfitError, Place, RelativePath, parse

Group = Literal["realism", "preservation", "temporal"]
State = Literal["PASS", "WARN", "FAIL"]
Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One measured value, before and after the conversion: a line of the evaluation's table.

    Attributes:
        group: The question that the figure answers.
        name: Name of the figure, e.g. ``"sliced-wasserstein"`` or ``"new_edges"``.
        title: What it measures, with its unit.
        better: The better direction; None for a figure that only describes.
        after: Value on the converted frames; None if it could not be measured, which ``remark`` explains.
        before: Value on the source frames; None if it has no meaning there.
        interval: 95 % confidence interval of ``after``; None if it was measured on too few.
        before_interval: 95 % confidence interval of ``before``, or None.
        change: 95 % confidence interval of ``after - before``, or None. Both are measured on the same frames, so it is
            more certain than the other two.
        floor: The same distance between real images and other real ones, the best value to expect; None if there is
            none.
        count: Number of frames (or objects) that it was measured on.
        least: Smallest count for which the value is meaningful.
        label: The class that it describes; empty for all.
        remark: A note on the figure.
    """

    group: Group
    name: str
    title: str
    better: Better | None
    after: float | None
    before: float | None = None
    interval: Interval | None = None
    before_interval: Interval | None = None
    change: Interval | None = None
    floor: float | None = None
    count: Count = 0
    least: Count = 1
    label: str = ""
    remark: str = ""

    @property
    def is_meaningful(self) -> bool:
        """Whether it was measured on enough frames or images to be meaningful."""
        return self.after is not None and self.count >= self.least


@dataclass(frozen=True, kw_only=True, slots=True)
class Alarm:
    """Something that must be inspected: a text, and the paths of the frames, worst first."""

    text: str
    frames: tuple[RelativePath, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """The evaluation of a converted dataset.

    Attributes:
        tool_version: Version of sim2real.
        source: Absolute path of the source dataset.
        real: Absolute paths of the real images' places, separated by ``", "``.
        settings: The settings used: seed, metrics, weight files with their checksums, and others.
        counts: Numbers of ``frames`` of the dataset, ``evaluated`` frames, ``real`` images, ``rejected`` and
            ``missing`` frames.
        verdict: The verdict on the conversion.
        reasons: The reasons for the verdict, one sentence each, worst first.
        figures: The measured values.
        alarms: What must be inspected.
        notes: What was left out and why, and other remarks.
        timings: Seconds of each stage, and under ``"metric NAME"`` the seconds of a metric summed over all threads.
            Evaluations that differ only in their timings compare equal.
        pictures: Absolute paths of a few real images, evenly spread over those that were used.
    """

    tool_version: str
    source: Place
    real: Place
    settings: Mapping[str, Any]
    counts: Mapping[str, Count]
    verdict: State
    reasons: tuple[str, ...]
    figures: tuple[Figure, ...]
    alarms: tuple[Alarm, ...] = ()
    notes: tuple[str, ...] = field(default=())
    timings: Mapping[str, float] = field(default_factory=dict, compare=False)
    pictures: tuple[Place, ...] = ()

    def dump(self) -> str:
        """Return the evaluation as JSON."""
        return json.dumps(asdict(self), indent=1, allow_nan=False)


def evaluation_path(out: Path) -> Path:
    """Return the path of a conversion's evaluation."""
    return inside(out, f"{STATE_FOLDER}/evaluation.json")


def frames_path(out: Path) -> Path:
    """Return the path of the values of each frame, a CSV file with ``path``, ``status`` and a column per figure."""
    return inside(out, f"{STATE_FOLDER}/evaluation.csv")


def write_evaluation(out: Path, evaluation: Evaluation) -> None:
    """Write an evaluation, complete or not at all."""
    write_whole(evaluation_path(out), f"{evaluation.dump()}\n".encode())


def read_evaluation(out: Path) -> Evaluation | None:
    """Read the evaluation of a conversion; None if there is none.

    Raises:
        Sim2RealError: If it is damaged, or another version of sim2real wrote it in another form.
    """
    path = evaluation_path(out)
    try:
        return parse(Evaluation, read_regular(path))
    except FileNotFoundError:
        return None
    except MisfitError as error:
        message = f"{path}: damaged, or written by another version of sim2real ({error}); run sim2real evaluate again"
        raise Sim2RealError(message) from error
