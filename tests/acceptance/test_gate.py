"""convert --gate and what verify says of it, as a user runs them."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import pytest

Write = Callable[..., Path]
Cli = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).parents[2]
FRAMES = 24


def write_scenes(folder: Path) -> Path:
    """Frames with boxes of many colours, and a label for each."""
    random = np.random.default_rng(0)
    (folder / "labels").mkdir(parents=True)
    (folder / "images").mkdir()
    for number in range(FRAMES):
        pixels = np.full((96, 160, 3), 120, np.uint8)
        for colour in random.integers(0, 256, (12, 3)):
            top, left = random.integers(0, 70), random.integers(0, 130)
            pixels[top : top + 20, left : left + 25] = colour
        assert cv2.imwrite(str(folder / f"images/{number:06d}.jpg"), pixels)
        (folder / f"labels/{number:06d}.txt").write_text(f"0 0.5 0.5 0.{number} 0.1\n")
    return folder


def lines(out: Path) -> dict[str, dict[str, Any]]:
    """The manifest by path."""
    return {line["path"]: line for line in map(json.loads, (out / ".sim2real/manifest.jsonl").read_text().splitlines())}


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file, what the conversion writes about itself included."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(files.items())}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, write_run: Write) -> Path:
    folder = tmp_path_factory.mktemp("work")
    write_scenes(folder / "in")
    write_run(folder / "runs/town")
    return folder


@pytest.fixture(scope="module")
def rule(work: Path, cli: Cli) -> str:
    """A gate that about half of the translations pass."""
    done = cli("convert", "in", "measured", "--gate", "preservation>=0", "--rejected", "pass", cwd=work)
    assert done.returncode == 0, done.stderr
    assert "rejects" not in done.stdout
    figures = [line["figures"]["preservation"] for line in lines(work / "measured").values() if "figures" in line]
    assert len(figures) == FRAMES
    return f"preservation>={median(figures):g}"


@pytest.fixture(scope="module")
def gated(work: Path, rule: str, cli: Cli) -> Path:
    """What a conversion with that gate makes of the frames."""
    done = cli("convert", "in", "gated", "--gate", rule, cwd=work)
    assert done.returncode == 0, done.stderr
    assert f"the gate ({rule}) rejects 12 frames: 12 as they were" in done.stdout
    return work / "gated"


def test_rejected_frames_are_as_they_were_and_their_translations_are_kept(work: Path, gated: Path, cli: Cli) -> None:
    images = {path: line for path, line in lines(gated).items() if path.endswith(".jpg")}
    assert sorted(line["status"] for line in images.values()) == ["converted"] * 12 + ["rejected"] * 12
    for path, line in images.items():
        same = (gated / path).read_bytes() == (work / "in" / path).read_bytes()
        translation = gated / (f".sim2real/rejected/{path}" if same else path)
        assert translation.read_bytes() == (work / "measured" / path).read_bytes()
        assert same == (line["status"] == "rejected") == (line.get("instead") == "source")
        assert line["figures"] == lines(work / "measured")[path]["figures"]
    verified = cli("verify", "gated", cwd=work)
    assert verified.returncode == 0, verified.stdout
    assert "24 of them translated images; the gate rejected 12 frames: 12 as they were" in verified.stdout
    report = json.loads(cli("verify", "gated", "--json", cwd=work).stdout)
    assert (report["ok"], report["rejected"]) == (True, {"source": 12})


def test_a_rerun_changes_nothing_and_still_tells_of_them(work: Path, rule: str, gated: Path, cli: Cli) -> None:
    before = digests(gated)
    again = cli("convert", "in", "gated", "--gate", rule, cwd=work)
    assert again.stdout.startswith("0 frames converted, 0 files carried, 48 done before, 0 failed")
    assert "rejects 12 frames" in again.stdout
    assert digests(gated) == before
    other = cli("convert", "in", "gated", "--gate", "new_edges<=0.5", cwd=work)
    assert (other.returncode, other.stderr.count("\n")) == (1, 1)
    assert f"gate was ['{rule}'], is ['new_edges<=0.5']" in other.stderr


def test_the_settings_file_has_the_gate_and_an_option_what_becomes_of_them(
    work: Path, rule: str, cli: Cli, tmp_path: Path
) -> None:
    toml = f'run = "{work}/runs/town"\n[[convert]]\nsource = "{work}/in"\nout = "out"\ngate = ["{rule}"]\n'
    (tmp_path / "sim2real.toml").write_text(toml)
    planned = cli("convert", "--plan", cwd=tmp_path)
    assert f"gate: {rule}; rejected: quarantine" in planned.stdout
    done = cli("convert", "--rejected", "blend", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rejected = [line for line in lines(tmp_path / "out").values() if line["status"] == "rejected"]
    assert len(rejected) == 12
    assert {line["instead"].split()[0] for line in rejected} <= {"blend", "colour", "source"}
    assert any(line["instead"].startswith("blend") for line in rejected)
    assert json.loads(cli("verify", "out", "--json", cwd=tmp_path).stdout)["ok"]


def test_what_is_no_gate_is_said_in_one_line(work: Path, cli: Cli) -> None:
    wrong = cli("convert", "in", "new", "--gate", "preservation>0.9", cwd=work)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (1, 1)
    assert "say new_edges<=N" in wrong.stderr
    useless = cli("convert", "in", "new", "--rejected", "blend", cwd=work)
    assert useless.returncode == 2
    assert "--gate" in useless.stderr
    assert not (work / "new").exists()


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_in_the_same_bytes(work: Path, rule: str, gated: Path, cli: Cli) -> None:
    expected, out, chance = digests(gated), work / "killed", random.Random(0)
    command = [sys.executable, "-m", "sim2real", "convert", "in", "killed", "--gate", rule, "--workers", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for _ in range(3):
        files = len(list(out.rglob("*.*")))
        process = subprocess.Popen(command, cwd=work, env=environment, stdout=-3, stderr=-3)
        deadline = time.monotonic() + 60
        while len(list(out.rglob("*.*"))) < files + chance.randrange(3, 15) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert cli("convert", "in", "killed", "--gate", rule, "--workers", "1", cwd=work).returncode == 0
    assert digests(out) == expected


def test_a_gate_against_artefacts_keeps_halos_and_rims_out(work: Path, cli: Cli) -> None:
    command = (
        "convert",
        "in",
        "clean",
        "--gate",
        "artefacts.rims<=3",
        "--gate",
        "periodic<=1",
        "--rejected",
        "quarantine",
    )
    done = cli(*command, cwd=work)
    assert done.returncode == 0, done.stderr
    judged = [line for line in lines(work / "clean").values() if "figures" in line]
    assert len(judged) == FRAMES
    for line in judged:
        assert set(line["figures"]) == {"artefacts.periodic", "artefacts.rims"}
        bad = line["figures"]["artefacts.rims"] > 3 or line["figures"]["artefacts.periodic"] > 1
        assert (line["status"] == "rejected") == bad
    wrong = cli("convert", "in", "other", "--gate", "artefacts.halos>=1", cwd=work)
    assert wrong.returncode == 1
    assert "would reject the best: say artefacts.halos<=1" in wrong.stderr
