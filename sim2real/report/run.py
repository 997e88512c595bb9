"""What a run folder says, read so that nothing that is missing, torn or of another time stops a report."""

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sim2real.errors import Sim2RealError
from sim2real.model import DIRECTIONS, GeneratorInfo, read_info
from sim2real.report.plots import Points
from sim2real.training.progress import list_samples

_BOOKS = {"step", "epoch", "rate", "images_per_second", "note"}
_VALIDATION = "validation/"
_SCORE = "evaluation/score"


@dataclass(frozen=True)
class Run:
    """A run as its folder shows it.

    Attributes:
        folder: Where it is.
        settings: Of its config.toml, in nested tables; empty if that cannot be read.
        records: The lines of metrics.jsonl with figures, by step.
        notes: What was noticed, and at which step.
        samples: Steps and their sample grids.
        checkpoints: Steps of the checkpoints that are there.
        generators: Direction -> what its file says: those that the run gives, else those of the newest checkpoint.
        finished: Whether the run has given its generators.
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
        """Of its folder."""
        return self.folder.resolve().name

    @cached_property
    def step(self) -> int:
        """The last step that is told of."""
        told = [record["step"] for record in self.records] + [step for step, _ in self.samples] + self.checkpoints
        return max(told, default=0)

    @cached_property
    def total(self) -> int | None:
        """Steps of the whole run, where that can be told."""
        train = self.table("train")
        if self.finished:
            return self.step
        if "steps" in train:
            return int(train["steps"])
        last = self.records[-1] if self.records else {}
        if "epochs" in train and last.get("epoch"):
            return round(float(train["epochs"] * last["step"] / last["epoch"]))
        return None

    @cached_property
    def best(self) -> tuple[int, float] | None:
        """Step and score of the best evaluation, the earliest of equals."""
        scores = self.points(_SCORE)
        return min(scores, key=lambda point: point[1]) if scores else None  # type: ignore[return-value]  # steps are whole

    def table(self, name: str) -> Mapping[str, Any]:
        """A table of the settings; empty where there is none."""
        found = self.settings.get(name, {})
        return found if isinstance(found, dict) else {}

    def points(self, name: str) -> Points:
        """The finite values of a figure over steps."""
        return [(record["step"], record[name]) for record in self.records if _is_number(record.get(name))]

    def losses(self) -> list[str]:
        """Names of the losses, of training or of held-out images, in the order of their appearance."""
        names = (key.removeprefix(_VALIDATION) for record in self.records for key in record)
        return [name for name in dict.fromkeys(names) if name not in _BOOKS and "/" not in name]


def read_run(folder: Path) -> Run:
    """Read all that is there."""
    lines = [*_lines(folder / "metrics.jsonl")]
    found = (path.name.removeprefix("step_") for path in (folder / "checkpoints").glob("step_*"))
    checkpoints = sorted(int(step) for step in found if step.isdigit())
    given = _generators(folder)
    newest = folder / "checkpoints" / f"step_{checkpoints[-1]:08d}" if checkpoints else folder
    return Run(
        folder=folder,
        settings=_settings(folder / "config.toml"),
        records=sorted((_figures(line) for line in lines if "note" not in line), key=lambda line: line["step"]),
        notes=[(line["step"], str(line["note"])) for line in lines if "note" in line],
        samples=list_samples(folder / "samples"),
        checkpoints=checkpoints,
        generators=given or _generators(newest),
        finished=bool(given),
    )


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    """Those lines of a log that are whole and tell a step."""
    for text in file.read_text("utf-8", errors="replace").splitlines() if file.is_file() else ():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:  # the last line of a killed run may be torn
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            yield line


def _figures(line: Mapping[str, Any]) -> dict[str, Any]:
    return {name: figure for name, figure in line.items() if _is_number(figure)}


def _settings(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError):  # also what is not UTF-8 or not TOML
        return {}


def _generators(folder: Path) -> dict[str, GeneratorInfo]:
    found = {}
    for direction in DIRECTIONS:
        try:
            found[direction] = read_info(folder / f"{direction}.safetensors")
        except Sim2RealError:
            continue
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) < float("inf")  # NaN is not either
