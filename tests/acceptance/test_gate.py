"""``convert --gate`` and ``verify``, as a user runs them."""

import json
import random
import signal
import subprocess
import time
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import pytest

from tests.commands import Cli, Write, digests, manifest, refused, start, succeed

FRAMES = 24


def write_scenes(folder: Path) -> Path:
    """Write frames with boxes of many colours, and a label for each."""
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


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, write_run: Write) -> Path:
    folder = tmp_path_factory.mktemp("work")
    write_scenes(folder / "in")
    write_run(folder / "runs/town")
    return folder


@pytest.fixture(scope="module")
def rule(work: Path, cli: Cli) -> str:
    """A gate that about half of the translations pass."""
    done = succeed(cli("convert", "in", "measured", "--gate", "preservation>=0", "--rejected", "pass", cwd=work))
    assert "rejects" not in done
    figures = [line["figures"]["preservation"] for line in manifest(work / "measured").values() if "figures" in line]
    assert len(figures) == FRAMES
    return f"preservation>={median(figures):g}"


@pytest.fixture(scope="module")
def gated(work: Path, rule: str, cli: Cli) -> Path:
    """The conversion with that gate."""
    done = succeed(cli("convert", "in", "gated", "--gate", rule, cwd=work))
    assert f"the gate ({rule}) rejects 12 frames: 12 as they were" in done
    return work / "gated"


def test_rejected_frames_are_unchanged_and_their_translations_are_kept(work: Path, gated: Path, cli: Cli) -> None:
    images = {path: line for path, line in manifest(gated).items() if path.endswith(".jpg")}
    assert sorted(line["status"] for line in images.values()) == ["converted"] * 12 + ["rejected"] * 12
    for path, line in images.items():
        same = (gated / path).read_bytes() == (work / "in" / path).read_bytes()
        translation = gated / (f".sim2real/rejected/{path}" if same else path)
        assert translation.read_bytes() == (work / "measured" / path).read_bytes()
        assert same == (line["status"] == "rejected") == (line.get("instead") == "source")
        assert line["figures"] == manifest(work / "measured")[path]["figures"]
    verified = succeed(cli("verify", "gated", cwd=work))
    assert "24 of them translated images; the gate rejected 12 frames: 12 as they were" in verified
    report = json.loads(cli("verify", "gated", "--json", cwd=work).stdout)
    assert (report["ok"], report["rejected"]) == (True, {"source": 12})


def test_a_rerun_changes_nothing_and_reports_the_rejected_frames_again(
    work: Path, rule: str, gated: Path, cli: Cli
) -> None:
    before = digests(gated)
    again = cli("convert", "in", "gated", "--gate", rule, cwd=work)
    assert again.stdout.startswith("0 frames converted, 0 files carried, 48 done before, 0 failed")
    assert "rejects 12 frames" in again.stdout
    assert digests(gated) == before
    other = cli("convert", "in", "gated", "--gate", "new_edges<=0.5", cwd=work)
    refused(other, f"gate was ['{rule}'], is ['new_edges<=0.5']")


def test_the_settings_file_sets_the_gate_and_an_option_replaces_rejected_frames(
    work: Path, rule: str, cli: Cli, tmp_path: Path
) -> None:
    toml = f'run = "{work}/runs/town"\n[[convert]]\nsource = "{work}/in"\nout = "out"\ngate = ["{rule}"]\n'
    (tmp_path / "sim2real.toml").write_text(toml)
    planned = cli("convert", "--plan", cwd=tmp_path)
    assert f"gate: {rule}; rejected: quarantine" in planned.stdout
    succeed(cli("convert", "--rejected", "blend", cwd=tmp_path))
    rejected = [line for line in manifest(tmp_path / "out").values() if line["status"] == "rejected"]
    assert len(rejected) == 12
    assert {line["instead"].split()[0] for line in rejected} <= {"blend", "colour", "source"}
    assert any(line["instead"].startswith("blend") for line in rejected)
    assert json.loads(cli("verify", "out", "--json", cwd=tmp_path).stdout)["ok"]


def test_a_wrong_gate_is_an_error_of_one_line(work: Path, cli: Cli) -> None:
    refused(cli("convert", "in", "new", "--gate", "preservation>0.9", cwd=work), "say new_edges<=N")
    useless = cli("convert", "in", "new", "--rejected", "blend", cwd=work)
    assert useless.returncode == 2
    assert "--gate" in useless.stderr
    assert not (work / "new").exists()


@pytest.mark.slow
def test_a_gated_conversion_killed_at_any_time_gives_the_same_bytes(
    work: Path, rule: str, gated: Path, cli: Cli
) -> None:
    expected, out, chance = digests(gated), work / "killed", random.Random(0)
    command = ("convert", "in", "killed", "--gate", rule, "--workers", "1")
    for _ in range(3):
        files = len(list(out.rglob("*.*")))
        process = start(*command, cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while len(list(out.rglob("*.*"))) < files + chance.randrange(3, 15) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
    succeed(cli(*command, cwd=work))
    assert digests(out) == expected


def test_a_gate_can_reject_frames_by_their_artefacts(work: Path, cli: Cli) -> None:
    rules = ("--gate", "artefacts.rims<=3", "--gate", "periodic<=1")
    succeed(cli("convert", "in", "clean", *rules, "--rejected", "quarantine", cwd=work))
    measured = [line for line in manifest(work / "clean").values() if "figures" in line]
    assert len(measured) == FRAMES
    for line in measured:
        assert set(line["figures"]) == {"artefacts.periodic", "artefacts.rims"}
        bad = line["figures"]["artefacts.rims"] > 3 or line["figures"]["artefacts.periodic"] > 1
        assert (line["status"] == "rejected") == bad
    wrong = cli("convert", "in", "other", "--gate", "artefacts.halos>=1", cwd=work)
    refused(wrong, "would reject the best: say artefacts.halos<=1")
