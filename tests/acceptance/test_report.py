"""``report``, as a user runs it, of a real training and a real conversion."""

import re
from pathlib import Path

import pytest

from tests.commands import Cli, Write, refused, succeed, training


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, cli: Cli, paint: Write, tiny: list[str]) -> Path:
    """A folder with the run ``town`` of six steps, with validations and samples."""
    root = tmp_path_factory.mktemp("runs")
    paint(root / "sim", 6, seed=1)
    paint(root / "real", 9, seed=2)
    settings = [*tiny, "data.validation=2", "evaluate.every=2", "evaluate.count=2", "sample.every=2"]
    succeed(cli(*training(root, settings, "--run", root / "town")))
    return root


def test_a_training_has_a_report_of_its_curves_scores_and_samples(cli: Cli, runs: Path) -> None:
    printed = succeed(cli("report", runs / "town"))
    file = runs / "town" / "report.html"
    assert re.fullmatch(
        rf"report of {re.escape(str(runs / 'town'))}: {re.escape(str(file))} \([\d.]+ [kM]B\)\n", printed
    )
    page = file.read_text("utf-8")
    for heading in ("Samples", "Held-out evaluation", "Losses", "Rate and speed", "Data", "Settings"):
        assert f"<h2>{heading}</h2>" in page
    for plot in ("Score", "Distance", "New edges", "Lost edges", "adversarial_real", "cycle", "D_sim", "Learning rate"):
        assert f"<h3>{plot}</h3>" in page
    assert 'data-label="step 6' in page
    assert "All of it as an animation" in page


def test_a_report_can_be_written_to_another_file(cli: Cli, runs: Path, tmp_path: Path) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in runs.rglob("*") if path.is_file())
    succeed(cli("report", runs / "town", "--out", tmp_path / "town.html"))
    assert (tmp_path / "town.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    assert sorted((path, path.stat().st_mtime_ns) for path in runs.rglob("*") if path.is_file()) == before


def test_a_folder_without_a_run_or_conversion_is_an_error_of_one_line(cli: Cli, runs: Path) -> None:
    error = refused(cli("report", runs / "sim"))
    assert re.fullmatch(
        r"error: .*: neither run nor conversion here to report on; name a folder that sim2real train wrote, .*\n",
        error,
    )


def test_a_report_into_a_missing_folder_is_an_error_of_one_line(cli: Cli, runs: Path) -> None:
    error = refused(cli("report", runs / "town", "--out", runs / "nowhere" / "town.html"))
    assert re.fullmatch(r"error: .*nowhere/town\.html: name a file in a folder that exists\n", error)


def test_the_report_of_a_conversion_shows_chosen_frames(cli: Cli, runs: Path, tmp_path: Path, write_run: Write) -> None:
    out = tmp_path / "out"
    succeed(cli("convert", runs / "sim", out, "--model", write_run(tmp_path / "run"), "--device", "cpu"))
    printed = succeed(cli("report", out, "--frame", "0003.png", "--run", runs / "town"))
    file = out / ".sim2real/report.html"
    assert re.fullmatch(rf"report of {re.escape(str(out))}: {re.escape(str(file))} \([\d.]+ [kM]B\)\n", printed)
    page = file.read_text("utf-8")
    for heading in ("Verdict", "Before and after", "All frames", "Files", "Training: losses", "Settings and versions"):
        assert f"<h2>{heading}</h2>" in page
    assert page.index('<optgroup label="chosen">') < page.index("0003.png</option>") < page.index('label="random"')
    succeed(cli("verify", out))
    unknown = refused(cli("report", out, "--frame", "x.png"))
    assert re.search(r"error: --frame x\.png: no frame of the conversion; name its path within .*\n", unknown)
