"""What an evaluation finds, and how that is kept under ``OUT/.sim2real``.

``evaluation.json`` has the table, the verdict and the alarms; ``evaluation.csv`` has a line for each frame.
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
    """One line of the table.

    Attributes:
        group: What it is about.
        name: Of the figure, e.g. ``"sliced-wasserstein"`` or ``"new_edges"``.
        title: What it measures, with its unit.
        better: Which way it should go; None for a figure that only describes.
        after: Of the converted frames; None where it could not be measured, which ``remark`` explains.
        before: Of the frames as they were; None where that has no meaning.
        interval: Of ``after``, 95 % confidence; None of too few.
        before_interval: Of ``before``, likewise.
        change: Of ``after - before``, likewise: as both are measured on the same frames, it is surer than either.
        floor: The same figure of real pictures against others: the best to be hoped for; None where there is none.
        count: Frames (or objects) that it was measured on.
        least: Of fewer than this it tells nothing.
        label: The class that it is about; empty for all.
        remark: What is to be known of it.
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
    def tells(self) -> bool:
        """Whether it was measured on enough to mean anything."""
        return self.after is not None and self.count >= self.least


@dataclass(frozen=True, kw_only=True, slots=True)
class Alarm:
    """Something that must be looked at: what, and in which frames (paths, the worst first)."""

    text: str
    frames: tuple[RelativePath, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """Of a converted dataset.

    Attributes:
        tool_version: Version of sim2real.
        source: Absolute path of the dataset before; likewise ``real``.
        real: Of the real pictures.
        settings: What the user said, and what was used: seed, metrics, files of weights with their checksums.
        counts: ``frames`` of the dataset, ``evaluated`` ones, ``real`` pictures, ``rejected`` frames.
        verdict: How the conversion stands, with the reasons, the worst first.
        reasons: Why, a sentence each.
        figures: The table.
        alarms: What must be looked at.
        notes: What was left out and why, and what else is to be known.
        timings: Seconds of each stage, and under ``"metric NAME"`` what a metric took of all threads together. Two
            evaluations that differ in nothing else are equal.
        pictures: Absolute paths of a few of the real pictures, evenly spread over those that were looked at.
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
        """As JSON."""
        return json.dumps(asdict(self), indent=1, allow_nan=False)


def evaluation_path(out: Path) -> Path:
    """Where the evaluation of a conversion is."""
    return inside(out, f"{STATE_FOLDER}/evaluation.json")


def frames_path(out: Path) -> Path:
    """Where its figures of each frame are: a CSV file with ``path``, ``status`` and a column for each figure."""
    return inside(out, f"{STATE_FOLDER}/evaluation.csv")


def write_evaluation(out: Path, evaluation: Evaluation) -> None:
    """Keep an evaluation, whole or not at all."""
    write_whole(evaluation_path(out), f"{evaluation.dump()}\n".encode())


def read_evaluation(out: Path) -> Evaluation | None:
    """The evaluation of a conversion; None where there is none.

    Raises:
        Sim2RealError: It is damaged, or another version of sim2real wrote it in another form.
    """
    path = evaluation_path(out)
    try:
        return parse(Evaluation, read_regular(path))
    except FileNotFoundError:
        return None
    except MisfitError as error:
        message = f"{path}: damaged, or of another version of sim2real ({error}); run sim2real evaluate again"
        raise Sim2RealError(message) from error
