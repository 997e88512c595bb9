"""``evaluate``, as a user runs it."""

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sim2real.config import resolve
from sim2real.conversion import ConvertOptions, convert
from sim2real_toytown import render_dataset
from tests.commands import Cli, Write, succeed

QUICK = ("--metrics", "colour,edges,structure", "--segmenter-steps", "0", "--device", "cpu")


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, write_run: Write) -> Path:
    """``sim``, ``real``, and conversions of ``sim`` by another tool: ``same`` and ``mirrored``, which fits no label."""
    root = tmp_path_factory.mktemp("town")
    render_dataset(root / "sim", frames=32, size=(160, 48), seed=1, cameras=(0,))
    render_dataset(root / "real", frames=32, size=(160, 48), seed=7, cameras=(0,), look="real", labels=False)
    shutil.copytree(root / "sim", root / "same")
    shutil.copytree(root / "sim", root / "mirrored")
    for path in (root / "mirrored").rglob("rgb_*.jpg"):
        image = cv2.imread(str(path))
        assert image is not None
        assert cv2.imwrite(str(path), image[:, ::-1])
    return root


@pytest.fixture(scope="module")
def converted(town: Path, write_run: Write) -> Path:
    convert(town / "sim", town / "out", ConvertOptions(model=write_run(town / "run"), device="cpu"))
    return town / "out"


def evaluate(cli: Cli, town: Path, out: str, *more: object, **settings: Any) -> subprocess.CompletedProcess[str]:
    return cli("evaluate", town / out, "--real", town / "real", *QUICK, *more, **settings)


def test_the_output_fits_one_screen_with_the_verdict_first(cli: Cli, town: Path, converted: Path) -> None:
    done = cli("evaluate", "out", "--real", "real", *QUICK, cwd=town, env={"COLUMNS": "80"})
    lines = done.stdout.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith(("PASS: ", "WARN: ", "FAIL: "))
    assert lines[1].startswith("- ")
    assert any(line.startswith("change (grey levels)") for line in lines)
    assert lines[-2].startswith("took 0:0")
    assert lines[0].startswith("FAIL")
    assert lines[-1] == "more: --classes; sim2real report out; sim2real help trees-in-the-sky"
    assert [line.partition(" ")[0] for line in done.stderr.splitlines() if " in 0:0" in line] == [
        "listing", "real", "frames", "frames", "colour",
    ]  # fmt: skip


def test_the_target_side_is_found_without_being_named(cli: Cli, paint: Write, write_run: Write, tmp_path: Path) -> None:
    for number, side in enumerate(("both/trainA", "both/trainB", "renders", "photos")):
        paint(tmp_path / side, 4, seed=number)
    write_run(tmp_path / "runs/both", "real2sim")
    write_run(tmp_path / "runs/apart", "real2sim", seed=1)
    config = resolve(sim="renders", real="photos", sets=["data.sim_exclude=0000.*"])
    (tmp_path / "runs/apart/config.toml").write_text(config.dump())
    for source, run, target in (("both", "both", "both"), ("photos", "apart", "renders")):
        options = ("--model", f"runs/{run}", "--direction", "real2sim", "--device", "cpu")
        succeed(cli("convert", source, f"out-{run}", *options, cwd=tmp_path))
        done = cli("evaluate", f"out-{run}", *QUICK, cwd=tmp_path)
        assert f"{target}: {'the other side of the source' if run == 'both' else 'as in the training'}" in done.stderr
        assert f"4 of 4 frames, {3 if run == 'apart' else 4} of" in done.stderr
        kept = json.loads((tmp_path / f"out-{run}/.sim2real/evaluation.json").read_text())
        assert kept["real"] == str(tmp_path / target)
    (tmp_path / "sim2real.toml").write_text('sim = "renders"\nreal = "photos"\n')
    done = cli("evaluate", "out-apart", *QUICK, cwd=tmp_path)
    assert "4 of 4 frames, 4 of 4 real images" in done.stderr


def test_the_output_uses_a_wider_screen(cli: Cli, town: Path, converted: Path) -> None:
    sides = ("evaluate", "out", "--real", "real", "--segmenter-steps", "0", "--device", "cpu")
    lines = cli(*sides, "--metrics", "colour,edges", cwd=town, env={"COLUMNS": "110"}).stdout.splitlines()
    assert 10 <= len(lines) <= 40
    assert max(map(len, lines)) <= 110
    assert sum("PASS" in line or "WARN" in line or "FAIL" in line for line in lines[1:]) <= 12
    assert not any("Sky" in line.split()[:1] for line in lines)  # classes


def test_artefacts_are_reported_by_name(cli: Cli, town: Path, tmp_path: Path) -> None:
    """Images with checkerboards and a rim, like those of a generator at the start of its training."""
    render_dataset(tmp_path / "sim", frames=32, size=(192, 64), seed=1, cameras=(0,))
    shutil.copytree(tmp_path / "sim", tmp_path / "painted")
    for path in (tmp_path / "painted").rglob("rgb_*.jpg"):
        image = cv2.imread(str(path))
        assert image is not None
        dots = 12 * ((np.indices(image.shape[:2]) // 2).sum(0) % 2)[..., None]
        border = np.pad(np.zeros((52, 180)), 6, constant_values=25)[..., None]
        painted = np.clip(0.8 * image + 20 + dots + border, 0, 255).astype(np.uint8)
        assert cv2.imwrite(str(path), painted, (cv2.IMWRITE_JPEG_QUALITY, 97))
    command = ("evaluate", tmp_path / "painted", "--source", tmp_path / "sim", "--real", town / "real")
    done = cli(*command, "--metrics", "edges,artefacts", "--segmenter-steps", "0", env={"COLUMNS": "110"})
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0].startswith("FAIL: ")
    assert lines[1].startswith("- periodic patterns (checkerboards): periodic ")
    assert any(line.startswith("- a rim along the border: rims ") for line in lines[2:4])
    assert lines[-1].endswith("sim2real help checkerboards")
    found = json.loads((tmp_path / "painted/.sim2real/evaluation.json").read_text())
    figures = {figure["name"]: figure for figure in found["figures"]}
    assert {"periodic", "rims", "seams", "unexplained"} <= figures.keys()
    assert figures["periodic"]["interval"][0] > 2
    assert figures["seams"]["after"] < 2


def test_all_values_of_all_classes_can_be_shown(cli: Cli, town: Path, converted: Path) -> None:
    done = evaluate(cli, town, "out", "--classes")
    lines = done.stdout.splitlines()
    head = next(line for line in lines if "converted" in line and "floor" in line)
    assert "sim" in head
    for name in ("colour", "new_edges", "lost_boundaries", "warp_ratio", "Sky"):
        assert sum(line.split()[:1] == [name] for line in lines) >= 1, name
    assert "32 of 32 frames against 32 real images" in lines[0]
    assert done.returncode == (1 if lines[0].startswith("FAIL") else 0)
    assert f"values of each frame: {converted}/.sim2real/evaluation.csv" in lines
    assert cli("verify", converted).returncode == 0


def test_a_metric_that_lacks_images_says_how_many_it_needs(cli: Cli, town: Path) -> None:
    command = ("evaluate", town / "same", "--source", town / "sim", "--real", town / "real", "--segmenter-steps", 0)
    note = (
        "not judged: colour: needs 32 frames and 32 real images, there are 8 and 8: convert more frames and name "
        "more real images, with --count 32"
    )
    done = cli(*command, "--metrics", "colour", "--count", 8, env={"COLUMNS": "80"})
    assert note in " ".join(line.strip() for line in done.stdout.splitlines())
    assert len(done.stdout.splitlines()) <= 24
    assert note in json.loads((town / "same/.sim2real/evaluation.json").read_text())["notes"]
    assert f"note: {note}" in cli(*command, "--metrics", "colour", "--count", 8, "--classes").stdout


def test_exit_codes_follow_the_verdict(cli: Cli, town: Path) -> None:
    source = ("--source", town / "sim")
    same = evaluate(cli, town, "same", *source)
    assert (same.returncode, same.stdout[:4]) == (0, "WARN")
    assert same.stdout.splitlines()[1].startswith("- nothing changed: frames differ from their source by 0.00 grey lev")
    assert evaluate(cli, town, "same", *source, "--fail-on", "WARN").returncode == 1
    mirrored = evaluate(cli, town, "mirrored", *source)
    assert (mirrored.returncode, mirrored.stdout[:4]) == (1, "FAIL")
    assert "new_edges" in mirrored.stdout
    assert "look at Scene01/" in mirrored.stdout
    assert mirrored.stderr.count("error") == 0


def test_json_on_stdout_or_in_a_file_and_a_copy_of_the_frames(cli: Cli, town: Path, tmp_path: Path) -> None:
    source = ("--source", town / "sim", "--count", 12)
    printed = json.loads(evaluate(cli, town, "same", *source, "--json").stdout)
    done = evaluate(cli, town, "same", *source, "--frames", tmp_path / "frames.csv", "--json", tmp_path / "found.json")
    assert json.loads((tmp_path / "found.json").read_text()) | {"timings": 0} == printed | {"timings": 0}
    assert done.stdout.startswith("WARN: ")
    assert printed["verdict"] == "WARN"
    assert any("12 frames are too few" in reason for reason in printed["reasons"])
    assert {figure["name"] for figure in printed["figures"]} >= {"colour", "new_edges"}
    with (tmp_path / "frames.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:4] == ["path", "status", "sequence", "index"]
    assert sum(bool(row["new_edges"]) for row in rows) == 12


def test_the_settings_file_names_the_real_images(cli: Cli, town: Path, tmp_path: Path) -> None:
    command = ("evaluate", town / "same", "--source", town / "sim", *QUICK, "--count", 4)
    assert cli(*command, cwd=tmp_path).returncode == 2
    (tmp_path / "sim2real.toml").write_text(f'sim = "{town / "sim"}"\nreal = "{town / "real"}"\n')
    done = cli(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "against 4 real images" in done.stdout


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (("--weights", "squeezenet1_0"), 2, "NAME=FILE"),
        (("--set", "edges=1"), 2, "METRIC.OPTION=VALUE"),
        (("found.json",), 2, "--json found.json"),
        (("--json", "nowhere/found.json"), 2, "name a file in a folder that exists"),
        (("--seed", 2**63), 2, "--seed"),
        (("--frames", "frames.xlsx"), 1, ".csv or .parquet"),
        (("--metrics", "kid"), 1, "'kid' needs a value for weights"),
        (("--metrics", "colur"), 1, "did you mean colour"),
        (("--detector", "nothing.onnx"), 1, "nothing.onnx: no such file"),
        (("--real", "nowhere"), 1, "nowhere"),
    ],
)
def test_wrong_arguments_are_an_error_without_traceback(
    cli: Cli, town: Path, more: tuple[str | int, ...], code: int, message: str
) -> None:
    done = cli("evaluate", town / "same", "--real", town / "real", "--source", town / "sim", *more)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_an_interrupted_evaluation_writes_nothing(
    cli: Cli, town: Path, site: Path, install: Callable[..., None], tmp_path: Path
) -> None:
    install(
        "interrupting",
        """
import os, signal
from sim2real import hookimpl

@hookimpl
def register_metrics(register):
    register("interrupting", "plugin_interrupting:Interrupting", summary="Ctrl-C")

class Interrupting:
    abouts = {}

    def __init__(self):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.kill(os.getpid(), signal.SIGINT)
""",
    )
    shutil.copytree(town / "sim", tmp_path / "out")
    command = ("evaluate", tmp_path / "out", "--real", town / "real", "--source", town / "sim")
    done = cli(*command, "--metrics", "interrupting", path=site)
    assert (done.returncode, done.stdout.strip()) == (130, "")
    assert done.stderr.strip() == (
        "interrupted: nothing was written, an earlier evaluation is kept; the same command starts again"
    )
    assert not (tmp_path / "out/.sim2real").exists()


def test_a_folder_of_another_tool_needs_its_source(cli: Cli, town: Path) -> None:
    shutil.rmtree(town / "same/.sim2real", ignore_errors=True)
    done = evaluate(cli, town, "same")
    assert done.returncode == 1
    assert "--source SRC" in done.stderr


def test_a_metric_of_a_plugin_is_used_by_name(cli: Cli, town: Path, site: Path, install: Callable[..., None]) -> None:
    install(
        "light",
        """
from sim2real import hookimpl
from sim2real.metrics.base import About, Change

@hookimpl
def register_metrics(register):
    register("light", "plugin_light:Light", summary="mean light")

class Light:
    abouts = {"light": About(title="mean light", better=None)}

    def __init__(self, *, scale: float = 1.0):
        self.scale = scale

    def compare(self, before, after, labels):
        return {"light": Change(self.scale * after.mean(), before.mean())}
""",
    )
    common = ("--source", town / "sim", "--count", 6, "--segmenter-steps", 0, "--json")
    command = ("evaluate", town / "same", "--real", town / "real", "--metrics", "light", "--set", "light.scale=2")
    found = json.loads(cli(*command, *common, path=site).stdout)
    (light,) = (figure for figure in found["figures"] if figure["name"] == "light")
    assert light["after"] == pytest.approx(2 * light["before"])
    assert found["settings"]["metrics"] == {"light": {"scale": 2}}
