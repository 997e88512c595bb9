"""Whatever stands in a run or in a converted dataset, nothing outside of it is written, deleted or read.

Every command meets links, pipes and devices in the place of each file and folder that it knows; what lies outside stays
as it is, and the command ends soon, with one line if it ends badly.
"""

import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from sim2real.config import resolve
from sim2real.conversion import ConvertOptions, convert
from sim2real.training import Trainer
from tests.commands import run_here

Write = Callable[..., Path]
Capture = pytest.CaptureFixture[str]

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")

IN_OUT = (
    ".sim2real", ".sim2real/conversion.json", ".sim2real/manifest.jsonl", ".sim2real/manifest.1-of-2.jsonl",
    ".sim2real/lock", ".sim2real/rejected", ".sim2real/evaluation.json", ".sim2real/evaluation.csv",
    ".sim2real/report.html", "Scene01", "Scene01/clone/frames/rgb", "Scene01/clone/frames/rgb/Camera_0/rgb_00000.jpg",
    "Scene01/clone/bbox.txt", "nothing here",
)  # fmt: skip
IN_RUN = (
    "config.toml", "metrics.jsonl", "samples", "samples/step_00000002.png", "samples/progress.webp", "checkpoints",
    "checkpoints/.lock", "checkpoints/step_00000002", "checkpoints/step_00000002/checkpoint.json",
    "checkpoints/step_00000002/state.pt", "checkpoints/step_00000009", "sim2real.safetensors", "last", "best", "frames",
    "cache", "loggers.json", "batch.json", "report.html",
)  # fmt: skip
KINDS = ("link", "link to the like", "pipe", "device")


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """What hangs, as at a pipe that nobody writes to, is an error."""

    def stop(_signal: int, _frame: object) -> None:
        raise TimeoutError(f"hangs for {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """The files of a folder with their times of change."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return {path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes()) for path in sorted(files)}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, write_vkitti: Write, photos: Path, tiny: list[str]) -> Path:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("work")
    write_vkitti(root / "in", 1)
    sets = [*tiny, "train.steps=2", "checkpoint.every=1", "sample.every=1", "data.cache=true", "log.every=1"]
    config = resolve(sets=sets, sim=str(photos / "sim"), real=str(photos / "real"), run="runs/town")
    (root / "settings.toml").write_text(config.dump())
    for _ in Trainer.begin(config, root / "runs/town").train():
        pass
    options = ConvertOptions(model=root / "runs/town", device="cpu", precision="fp32", workers=1)
    convert(root / "in", root / "out", options)
    (root / "outside/frames").mkdir(parents=True)
    for name in ("a.txt", ".a.png.tmp-7", "step_00000002.png", "frames/step_00000009.png", "conversion.json"):
        (root / "outside" / name).write_text("outside")
    return root


@pytest.fixture
def here(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the dataset ``in``, its conversion ``out``, ``runs/town``, and what is ``outside``."""
    shutil.copytree(work, tmp_path / "work", symlinks=True)
    record = tmp_path / "work/out/.sim2real/conversion.json"
    record.write_text(record.read_text().replace(str(work.resolve()), str((tmp_path / "work").resolve())))
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def plant(place: Path, kind: str, outside: Path) -> None:
    """Put something else in the place of a file or folder."""
    like = outside / "like"
    if place.is_dir() and not place.is_symlink():
        shutil.copytree(place, like, symlinks=True)
        shutil.rmtree(place)
    elif place.is_file():
        shutil.copy(place, like)
        place.unlink()
    elif place.is_symlink():
        place.unlink()
    place.parent.mkdir(parents=True, exist_ok=True)
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "device":
        place.symlink_to("/dev/zero")
    elif kind == "link to the like" and like.exists():
        place.symlink_to(like)
    else:
        place.symlink_to(outside)


def run(*args: object) -> int:
    """Run ``sim2real ARGS`` in this process, soon; returns the exit code. A traceback is an error."""
    with within(60):
        return run_here(*args)


ON_OUT: Mapping[str, tuple[str, ...]] = {
    "convert": ("convert", "in", "out", "--model", "runs/town", "--device", "cpu", "--shard", "off"),
    "verify": ("verify", "out"),
    "overwrite": ("convert", "in", "out", "--model", "runs/town", "--device", "cpu", "--overwrite", "--quality", "90"),
    "evaluate": ("evaluate", "out", "--real", "in", "--segmenter-steps", "0", "--metrics", "edges", "--count", "2"),
    "report": ("report", "out"),
}
ON_RUN: Mapping[str, tuple[str, ...]] = {
    "resume": ("train", "--run", "runs/town", "--resume", "--steps", "3"),
    "report": ("report", "runs/town"),
    "preview": ("preview", "runs/town", "in", "-n", "1", "--device", "cpu"),
    "convert": ("convert", "in", "new", "--model", "runs/town", "--device", "cpu"),
}


def meet(here: Path, place: str, kind: str, commands: Iterable[tuple[str, ...]], capsys: Capture) -> None:
    """Let commands meet something that stands in the place of a file or folder."""
    plant(here / place, kind, here / "outside")
    before = snapshot(here / "outside")
    for command in commands:
        code = run(*command)
        said = capsys.readouterr().err
        assert code in {0, 1}, said
        assert "Traceback" not in said
        assert sum(line.startswith("error: ") for line in said.splitlines()) <= 1, said
        assert snapshot(here / "outside") == before, command


@pytest.mark.parametrize("kind", ["link", "pipe"])
@pytest.mark.parametrize("place", IN_OUT)
def test_a_conversion_reads_and_writes_nothing_else(here: Path, place: str, kind: str, capsys: Capture) -> None:
    meet(here, f"out/{place}", kind, [ON_OUT["verify"], ON_OUT["convert"]], capsys)


@pytest.mark.parametrize("kind", ["link", "pipe"])
@pytest.mark.parametrize("place", IN_RUN)
def test_a_run_reads_and_writes_nothing_else(here: Path, place: str, kind: str, capsys: Capture) -> None:
    meet(here, f"runs/town/{place}", kind, [ON_RUN["resume"]], capsys)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", [f"out/{place}" for place in IN_OUT] + [f"runs/town/{place}" for place in IN_RUN])
def test_no_command_reads_or_writes_anything_else(here: Path, place: str, kind: str, capsys: Capture) -> None:
    commands = ON_OUT if place.startswith("out/") else ON_RUN
    meet(here, place, kind, reversed([*commands.values()]), capsys)


@pytest.mark.parametrize(("place", "kind", "command"), [
    ("out/.sim2real", "link to the like", "report"), ("out/.sim2real/evaluation.json", "pipe", "report"),
    ("out/Scene01", "link to the like", "evaluate"), ("out/.sim2real/manifest.jsonl", "device", "evaluate"),
    ("runs/town/samples", "link to the like", "report"), ("runs/town/metrics.jsonl", "pipe", "report"),
    ("runs/town/samples/step_00000002.png", "pipe", "report"),
    ("runs/town/sim2real.safetensors", "pipe", "preview"), ("runs/town/sim2real.safetensors", "link", "convert"),
])  # fmt: skip
def test_the_slower_commands(here: Path, place: str, kind: str, command: str, capsys: Capture) -> None:
    commands = ON_OUT if place.startswith("out/") else ON_RUN
    meet(here, place, kind, [commands[command]], capsys)


def test_a_folder_that_is_a_link_is_told_in_a_line(here: Path, capsys: Capture) -> None:
    plant(here / "runs/town/samples", "link", here / "outside")
    assert run(*ON_RUN["resume"]) == 1
    assert capsys.readouterr().err.endswith(
        "error: runs/town/samples: a link; links inside runs/town are not followed, so nothing outside is read or "
        "written: remove it, or replace it by its target\n"
    )


@pytest.mark.parametrize("path", ["../outside/a.txt", "{outside}/a.txt"])
def test_paths_that_lead_out_are_damage(here: Path, path: str, capsys: Capture) -> None:
    manifest = here / "out/.sim2real/manifest.jsonl"
    rows = manifest.read_bytes().splitlines(keepends=True)
    row = json.loads(rows[0]) | {"path": path.format(outside=here / "outside"), "aside_sha256": "0" * 64}
    manifest.write_bytes(b"".join([*rows, json.dumps(row).encode() + b"\n"]))
    before = snapshot(here / "outside")
    assert run("verify", "out") == 1
    assert "path: should be a path within the folder" in capsys.readouterr().out
    assert run(*ON_OUT["convert"]) == 0
    assert run("verify", "out") == 0
    table = here / "out/.sim2real/evaluation.csv"
    table.write_text(f"path,status,preservation\n{row['path']},converted,0.5\n")
    assert run("report", "out") == 0
    assert snapshot(here / "outside") == before
    checkpoint = here / "runs/town/checkpoints/step_00000002/checkpoint.json"
    contents = json.loads(checkpoint.read_text())
    checkpoint.write_text(json.dumps(contents | {"sha256": contents["sha256"] | {row["path"]: "0" * 64}}))
    assert run(*ON_RUN["resume"]) == 0
    assert "should be the name of a file" in capsys.readouterr().err


def test_folders_that_are_links_themselves_work(here: Path) -> None:
    for name in ("out", "runs/town"):
        shutil.move(here / name, here / f"disk {Path(name).name}")
        (here / name).symlink_to(here / f"disk {Path(name).name}", target_is_directory=True)
    assert run(*ON_RUN["resume"]) == 0
    assert (here / "runs/town/last").resolve().name == "step_00000003"
    assert (here / "runs/town/last").readlink() == Path("checkpoints/step_00000003")
    assert run("report", "runs/town") == 0
    assert run("verify", "out") == 0
    (here / "fresh").symlink_to(here / "disk fresh", target_is_directory=True)
    (here / "disk fresh").mkdir()
    assert run("convert", "in", "fresh", "--model", "runs/town/last", "--device", "cpu") == 0
    assert run("verify", "fresh") == 0
    assert (here / "disk fresh/.sim2real/conversion.json").is_file()


def test_carried_links_and_a_source_with_links_work(here: Path) -> None:
    shutil.move(here / "in/Scene01/fog", here / "outside/fog")
    (here / "in/Scene01/fog").symlink_to(here / "outside/fog", target_is_directory=True)
    command = ("convert", "in", "linked", "--model", "runs/town", "--device", "cpu", "--carry", "symlink")
    assert run(*command) == 0
    assert (here / "linked/Scene01/fog/bbox.txt").is_symlink()
    assert not (here / "linked/Scene01/fog").is_symlink()
    assert run("verify", "linked") == 0
    assert run(*command) == 0


@pytest.mark.parametrize("kind", ["link", "pipe", "device"])
@pytest.mark.parametrize(
    "command",
    [
        ("init", "in", "in"),
        ("train", "in", "in"),
        ("batch",),
        ("convert",),
        ("evaluate", "out"),
        ("demo", ".", "--quick"),
    ],
)
def test_settings_that_are_no_file(here: Path, kind: str, command: tuple[str, ...], capsys: Capture) -> None:
    plant(here / "sim2real.toml", kind, here / "outside")
    before = snapshot(here / "outside")
    assert run(*command) == 1
    assert "error: " in capsys.readouterr().err
    assert snapshot(here / "outside") == before


@pytest.mark.parametrize("kind", ["pipe", "device"])
@pytest.mark.parametrize("command", [
    ("inspect", "odd"), ("preview", "odd", "in"), ("preview", "runs/town", "odd"), ("export", "odd", "x.onnx"),
    ("export", "runs/town", "odd.onnx"), ("convert", "odd", "new", "--model", "runs/town"), ("verify", "odd"),
    ("convert", "in", "new", "--model", "odd"), ("convert", "in", "odd", "--model", "runs/town"), ("report", "odd"),
    ("report", "runs/town", "--out", "odd"), ("train", "odd", "in"), ("toytown", "odd", "--frames", "1"),
    ("demo", "odd"), ("evaluate", "odd", "--real", "in"), ("verify", "out", "--source", "odd"),
])  # fmt: skip
def test_pipes_and_devices_that_a_user_names(here: Path, kind: str, command: tuple[str, ...], capsys: Capture) -> None:
    for name in ("odd", "odd.onnx"):
        plant(here / name, kind, here / "outside")
    assert run(*command) in {1, 2}
    said = capsys.readouterr().err
    assert "odd" in said
    assert "Traceback" not in said
    assert (here / "odd").is_fifo() or (here / "odd").is_symlink()


def test_a_run_does_not_say_where_a_batch_writes(here: Path) -> None:
    settings = here / "runs/town/config.toml"
    text = re.sub(r"(?m)^run = .*$", f'run = "{here / "outside/run"}"', settings.read_text())
    settings.write_text(text)
    shutil.copytree(here / "in", here / "sim")
    before = snapshot(here / "outside")
    run("batch", "--run", "runs/town", "--steps", "3")
    run("train", "--run", "runs/town", "--resume", "--steps", "3")
    assert snapshot(here / "outside") == before
    assert (here / "runs/town/checkpoints/step_00000003").is_dir()


def test_a_demo_is_in_its_folder(here: Path, capsys: Capture) -> None:
    (here / "demo").mkdir()
    for name in ("sim", "converted", "runs"):
        (here / "demo" / name).symlink_to(here / "outside", target_is_directory=True)
        before = snapshot(here / "outside")
        assert run("demo", "demo", "--quick") == 1
        assert f"demo/{name}: a link" in capsys.readouterr().err
        assert snapshot(here / "outside") == before
        (here / "demo" / name).unlink()
