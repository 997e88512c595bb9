"""``report``, as a user runs it, of a training and a conversion that were really done."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]
Paint = Callable[..., Path]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, cli: Cli, paint: Paint, tiny: list[str]) -> Path:
    """A folder with the run ``town``, six steps long, that was evaluated and drew samples on the way."""
    root = tmp_path_factory.mktemp("runs")
    paint(root / "sim", 6, seed=1)
    paint(root / "real", 9, seed=2)
    settings = [*tiny, "data.validation=2", "evaluate.every=2", "evaluate.count=2", "sample.every=2"]
    sets = [word for text in settings for word in ("--set", text)]
    trained = cli("train", root / "sim", root / "real", "--run", root / "town", *sets)
    assert trained.returncode == 0, trained.stderr
    return root


def test_a_training_has_a_report_of_its_curves_scores_and_samples(cli: Cli, runs: Path) -> None:
    told = cli("report", runs / "town")
    assert told.returncode == 0, told.stderr
    file = runs / "town" / "report.html"
    assert re.fullmatch(
        rf"report of {re.escape(str(runs / 'town'))}: {re.escape(str(file))} \([\d.]+ [kM]B\)\n", told.stdout
    )
    page = file.read_text("utf-8")
    for heading in ("Samples", "Held-out evaluation", "Losses", "Rate and speed", "Data", "Settings"):
        assert f"<h2>{heading}</h2>" in page
    for plot in ("Score", "Distance", "New edges", "Lost edges", "adversarial_real", "cycle", "D_sim", "Learning rate"):
        assert f"<h3>{plot}</h3>" in page
    assert 'data-label="step 6' in page
    assert "All of it as an animation" in page


def test_the_report_goes_where_it_is_wanted_and_leaves_the_run_alone(cli: Cli, runs: Path, tmp_path: Path) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in runs.rglob("*") if path.is_file())
    told = cli("report", runs / "town", "--out", tmp_path / "town.html")
    assert told.returncode == 0, told.stderr
    assert (tmp_path / "town.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    assert sorted((path, path.stat().st_mtime_ns) for path in runs.rglob("*") if path.is_file()) == before


def test_what_is_no_run_is_an_error_of_one_line(cli: Cli, runs: Path) -> None:
    told = cli("report", runs / "sim")
    assert (told.returncode, told.stdout) == (1, "")
    assert re.fullmatch(
        r"error: .*: neither run nor conversion here to report on; name a folder that sim2real train wrote, .*\n",
        told.stderr,
    )


def test_a_report_that_cannot_be_written_there_is_an_error_of_one_line(cli: Cli, runs: Path) -> None:
    told = cli("report", runs / "town", "--out", runs / "nowhere" / "town.html")
    assert (told.returncode, told.stdout) == (1, "")
    assert re.fullmatch(r"error: .*nowhere/town\.html: name a file in a folder that exists\n", told.stderr)


def test_a_conversion_has_a_report_with_the_frames_that_one_names(
    cli: Cli, runs: Path, tmp_path: Path, write_run: Callable[..., Path]
) -> None:
    out = tmp_path / "out"
    converted = cli("convert", runs / "sim", out, "--model", write_run(tmp_path / "run"), "--device", "cpu")
    assert converted.returncode == 0, converted.stderr
    told = cli("report", out, "--frame", "0003.png", "--run", runs / "town")
    assert told.returncode == 0, told.stderr
    file = out / ".sim2real/report.html"
    assert re.fullmatch(rf"report of {re.escape(str(out))}: {re.escape(str(file))} \([\d.]+ [kM]B\)\n", told.stdout)
    page = file.read_text("utf-8")
    for heading in ("Verdict", "Before and after", "All frames", "Files", "Training: losses", "Settings and versions"):
        assert f"<h2>{heading}</h2>" in page
    assert page.index('<optgroup label="chosen">') < page.index("0003.png</option>") < page.index('label="random"')
    assert cli("verify", out).returncode == 0
    unknown = cli("report", out, "--frame", "x.png")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert re.search(r"error: --frame x\.png: no frame of the conversion; name its path within .*\n", unknown.stderr)
