"""A toy town, converted, with an evaluation as ``sim2real evaluate`` leaves it."""

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sim2real.conversion import ConvertOptions, convert
from sim2real.conversion.manifest import manifest_path, quarantine_path, read_manifest, read_record, write_record
from sim2real.datasets.base import Role
from sim2real.evaluation.figures import Alarm, Evaluation, Figure, frames_path, write_evaluation
from sim2real_toytown import render_dataset

FRAMES = 6
FIGURES = (
    Figure(
        group="realism",
        name="colour",
        title="distance of colours, grey levels",
        better="lower",
        before=18.25,
        before_interval=(16.0, 20.0),
        after=4.125,
        interval=(3.5, 5.5),
        change=(-16.0, -12.0),
        floor=2.25,
        count=6,
    ),
    Figure(group="realism", name="fid", title="Frechet", better="lower", before=9.0, after=8.0, count=6, least=2000),
    Figure(group="preservation", name="change", title="change", better=None, before=0.25, after=7.5, count=6),
    Figure(group="preservation", name="preservation", title="edges kept", better="higher", after=0.875, count=6),
    Figure(
        group="preservation",
        name="contrast",
        title="contrast across the border",
        better="higher",
        before=1.0,
        after=0.3,
        interval=(0.2, 0.33),
        change=(-0.8, -0.67),
        count=5,
        label="<Car> $x$",
    ),
    Figure(
        group="realism", name="spectrum", title="dB", better="lower", before=3.0, after=2.5, change=(-1.0, 0.5), count=6
    ),
    Figure(group="preservation", name="new_edges", title="new", better="lower", after=0.5, count=6),
    Figure(group="temporal", name="flicker", title="flicker", better="lower", after=None, remark="no sequence"),
)


@pytest.fixture(scope="session")
def toytown(tmp_path_factory: pytest.TempPathFactory, write_run: Callable[..., Path]) -> Path:
    root = tmp_path_factory.mktemp("report")
    render_dataset(root / "sim", frames=FRAMES, size=(128, 64), seed=6, cameras=(0,))
    convert(
        root / "sim", root / "out", ConvertOptions(model=write_run(root / "runs/town"), device="cpu", engine="torch")
    )
    return root


@pytest.fixture
def town(toytown: Path, tmp_path: Path) -> Path:
    """A folder with the conversion ``out`` of a toy town of six frames, without the town and not evaluated."""
    shutil.copytree(toytown / "out", tmp_path / "town/out")
    return tmp_path / "town"


@pytest.fixture
def frames(town: Path) -> list[str]:
    """The paths of the frames of the conversion."""
    return [path for path, line in read_manifest(town / "out").items() if line.role is Role.IMAGE]


@pytest.fixture
def evaluated(town: Path, frames: list[str]) -> Path:
    """The conversion with an evaluation; the first frame is the worst, and the gate replaced it by its source."""
    out = town / "out"
    lines = read_manifest(out)
    worst = lines[frames[0]]
    kept = out / quarantine_path(frames[0])
    kept.parent.mkdir(parents=True)
    shutil.move(out / frames[0], kept)
    shutil.copy(out / frames[1], out / frames[0])
    reason = "preservation 0.10, the gate asks for >= 0.5"
    lines[frames[0]] = replace(worst, status="rejected", reason=reason, figures={"preservation": 0.1}, instead="source")
    record = read_record(out)
    assert record
    write_record(out, replace(record, gate=["preservation>=0.5"]))
    manifest_path(out).write_text("".join(f"{line.dump()}\n" for line in lines.values()))
    with frames_path(out).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "status", "sequence", "index", "preservation", "contrast/Car"])
        writer.writerows([path, lines[path].status, "s", at, 0.1 + at / 10, ""] for at, path in enumerate(frames))
    evaluation = Evaluation(
        tool_version="0.1.0",
        source="/data/sim",
        real="/data/photos",
        settings={"seed": 7},
        counts={"frames": 6, "evaluated": 6, "real": 4, "rejected": 1},
        verdict="FAIL",
        reasons=("contrast of <Car> fell to 0.3",),
        figures=FIGURES,
        alarms=(Alarm(text="trees in the sky", frames=(frames[2],)),),
        notes=("few pictures",),
    )
    write_evaluation(out, evaluation)
    return out
