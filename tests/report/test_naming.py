"""Reports are passed on: they name places, and tell no path unless they are asked to."""

import csv
import getpass
import html
import json
import re
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sim2real.config import resolve
from sim2real.conversion import ConvertOptions, convert
from sim2real.evaluation.figures import Evaluation, frames_path, write_evaluation
from sim2real.report import write_report
from sim2real.report.naming import Naming
from sim2real_toytown import render_dataset

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/data/sim", "sim"),
        ("'/home/o'\"'\"'brien x/out' --real REAL", "out --real REAL"),
        ("/home/o'brien x/out/a b/c.png: damaged", "out/a b/c.png: damaged"),
        ("of /data/sim/a.png, /data/sim, (/data/sim)", "of sim/a.png, sim, (sim)"),
        ("/home/o'brien x/more in/c.png", "more in/c.png"),
        ("/data/simple.txt and /data/sim-2", "simple.txt and sim-2"),
        ("kept at /mnt/elsewhere/weights.pt", "kept at weights.pt"),
        ("path=/mnt/elsewhere/", "path=elsewhere"),
        ("file:///mnt/elsewhere/mlruns", "mlruns"),
        (r"C:\Users\joe\weights.pt: no", "weights.pt: no"),
        (r"\\server\share\sim", "sim"),
        ("../joe/real/0001.png", "real/0001.png"),
        ("Scene01/clone/data/sim/rgb_00001.jpg", "Scene01/clone/data/sim/rgb_00001.jpg"),
        ("0.5 images/s; 1 / 2; https://a.example/b/c", "0.5 images/s; 1 / 2; https://a.example/b/c"),
        ("runs/town", "runs/town"),
    ],
)
def test_paths_become_names(text: str, expected: str) -> None:
    known = {"sim": "/data/sim", "out": Path("/home/o'brien x/out"), "more": ["../joe/real", "runs/town", 7]}
    assert Naming(known)(text) == expected
    assert Naming(known, paths=True)(text) == text


def test_what_is_at_home_or_here_is_named_from_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/joe smith")
    monkeypatch.setenv("USERPROFILE", "/home/joe smith")
    monkeypatch.chdir(tmp_path)
    assert Naming()(f"{Path.home()}/my data/a.png, {tmp_path}/x y/b.png") == "my data/a.png, x y/b.png"
    assert Naming()(f"{Path.home()}, {tmp_path}") == "~, ."


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A folder whose name nobody should read."""
    folder = tmp_path / "tell tale's" / "person"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def run(secret: Path, write_run: Callable[..., Path]) -> Path:
    folder = write_run(secret / "runs/town")
    settings = resolve(sim=str(secret / "sim"), real=[str(secret / "photos"), str(secret / "film.mp4")])
    (folder / "config.toml").write_text(settings.dump())
    notes = [f"skipped: {secret}/photos/a b.png: cannot be decoded", f"{secret / 'lost'} is gone"]
    lines = [{"step": 1, "cycle": 0.5}, *({"step": 1, "note": note} for note in notes), {"step": 2, "cycle": 0.25}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture
def out(secret: Path, run: Path) -> Path:
    """A conversion with an evaluation."""
    render_dataset(secret / "sim", frames=2, size=(64, 32), seed=6, cameras=(0,))
    out = secret / "out"
    convert(secret / "sim", out, ConvertOptions(model=run, device="cpu", engine="torch"))
    frame = next(path.relative_to(out).as_posix() for path in out.rglob("rgb_*.*"))
    with frames_path(out).open("w", newline="") as file:
        csv.writer(file).writerows([["path", "status", "preservation"], [frame, "converted", 0.5]])
    evaluation = Evaluation(
        tool_version="0.1.0", source=str(secret / "sim"), real=f"{secret / 'photos'}, {secret / 'film.mp4'}",
        settings={"files": {"fid": {"path": str(secret / "weights.pt"), "sha256": "0" * 64}}},
        counts={"frames": 2, "evaluated": 2}, verdict="WARN", reasons=(f"{secret / 'photos'} are few",), figures=(),
        notes=(f"{secret / 'out' / frame}: dark",),
    )  # fmt: skip
    write_evaluation(out, evaluation)
    return out


@pytest.mark.parametrize("which", ["run", "out", "gone"])
def test_a_page_holds_no_path_unless_it_is_wanted(
    monkeypatch: pytest.MonkeyPatch, which: str, out: Path, secret: Path, tmp_path: Path
) -> None:
    if which == "gone":
        shutil.rmtree(secret / "sim")
    folder, page = secret / "runs/town" if which == "run" else out, tmp_path / "page.html"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    text = re.sub(r'(?<=")data:[^"]*|(?<="small": ){[^}]*}', "", write_report(folder, page).read_text("utf-8"))
    for tale in (str(tmp_path), "tell tale", "person", f"{Path.home()}/", socket.gethostname()):
        assert tale not in text
    assert not re.search(rf"/{re.escape(getpass.getuser())}\b", text)
    assert "photos" in text
    if which == "run":
        assert "photos/a b.png: cannot be decoded" in text
    assert str(secret / "photos") in html.unescape(write_report(folder, page, paths=True).read_text("utf-8"))


def test_paths_are_shown_if_one_says_so(out: Path, secret: Path, cli: Cli) -> None:
    for options, expected in (([], False), (["--paths"], True)):
        done = cli("report", out, *options, cwd=secret)
        assert done.returncode == 0, done.stderr
        page = html.unescape((out / ".sim2real/report.html").read_text("utf-8"))
        assert (str(secret) in page) is expected
