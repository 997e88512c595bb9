"""Read a run folder for a report, tolerating missing, damaged and outdated files."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any

from sim2real.config import read_settings
from sim2real.errors import Sim2RealError
from sim2real.inside import inside
from sim2real.model import DIRECTIONS, GeneratorInfo, read_info
from sim2real.report.plots import Points
from sim2real.stored import Positive, fit, fits
from sim2real.training.progress import list_samples
from sim2real.training.run import RunFolder, read_log
from sim2real.training.validation import CHOICE

_NO_LOSSES = {"step", "epoch", "rate", "images_per_second", "note"}
_VALIDATION = "validation/"
_SCORE = "evaluation/score"
_SHORTEST = 1e-6  # epochs: shortest part from which the number of steps is extrapolated


@dataclass(frozen=True)
class Run:
    """The contents of a run folder.

    Attributes:
        folder: The folder.
        settings: The nested tables of its config.toml; empty if it cannot be read.
        records: The lines of metrics.jsonl with values, by step.
        notes: The notes of metrics.jsonl, each with its step.
        samples: Steps and their sample grids.
        checkpoints: Steps of the existing checkpoints.
        generators: Direction -> metadata of its generator: those of the run, else those of the newest checkpoint.
        finished: Whether the run has written its generators.
    """

    folder: Path
    settings: Mapping[str, Any]
    records: list[Mapping[str, Any]]
    notes: list[tuple[int, str]]
    samples: list[tuple[int, Path]]
    checkpoints: list[int]
    generators: Mapping[str, GeneratorInfo]
    finished: bool

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.resolve().name

    @cached_property
    def step(self) -> int:
        """The last step in the log, the samples or the checkpoints."""
        known_steps = (
            [record["step"] for record in self.records] + [step for step, _ in self.samples] + self.checkpoints
        )
        return max(known_steps, default=0)

    @cached_property
    def total(self) -> int | None:
        """Number of steps of the whole run; None if it is unknown."""
        if self.finished:
            return self.step
        steps: int | None = self.setting("train.steps", Positive)
        if steps:
            return steps
        last = self.records[-1] if self.records else {}
        epochs = self.setting("train.epochs", Positive)
        return round(epochs * last["step"] / last["epoch"]) if epochs and last.get("epoch", 0) >= _SHORTEST else None

    @cached_property
    def best(self) -> tuple[int, float] | None:
        """Step and score of the best evaluation by the criterion that selects checkpoints, the earliest of equals."""
        scores = dict(self.points(_SCORE))
        chosen = [point for point in self.points(CHOICE) or scores.items() if point[0] in scores]
        step = min(chosen, key=lambda point: point[1])[0] if chosen else None
        return None if step is None else (int(step), scores[step])

    def setting(self, key: str, kind: Any, default: Any = None) -> Any:  # noqa: ANN401  any annotation, any value
        """Return a setting by its dotted key; the default if it is missing or does not match the annotation."""
        found: Any = self.settings
        for part in key.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        return fit(kind, found) if fits(kind, found) else default

    def points(self, name: str) -> Points:
        """Return the finite values of a metric over steps."""
        return [(record["step"], record[name]) for record in self.records if name in record]

    def losses(self) -> list[str]:
        """Return the names of the losses, on training or on held-out images, in order of their first appearance."""
        names = (key.removeprefix(_VALIDATION) for record in self.records for key in record)
        return [name for name in dict.fromkeys(names) if name not in _NO_LOSSES and "/" not in name]


def read_run(folder: Path) -> Run:
    """Read a run folder."""
    run = RunFolder(folder)
    lines = [line for _, line in read_log(run.metrics_file)]
    checkpoints = [int(path.name.removeprefix("step_")) for path in run.checkpoints.paths()]
    given = _generators(folder)
    newest = run.checkpoints.paths()[-1] if checkpoints else folder
    return Run(
        folder=folder,
        settings=_settings(run.config_file),
        records=sorted((line for line in lines if "note" not in line), key=itemgetter("step")),
        notes=[(line["step"], line["note"]) for line in lines if "note" in line],
        samples=list_samples(run.samples),
        checkpoints=checkpoints,
        generators=given or _generators(newest),
        finished=bool(given),
    )


def _settings(file: Path) -> dict[str, Any]:
    try:
        return read_settings(file)
    except Sim2RealError:
        return {}


def _generators(folder: Path) -> dict[str, GeneratorInfo]:
    found = dict[str, GeneratorInfo]()
    for direction in DIRECTIONS:
        try:
            found[direction] = read_info(inside(folder, f"{direction}.safetensors"))
        except Sim2RealError:
            continue
    return found
