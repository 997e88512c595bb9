"""``init``, ``batch`` and ``demo``, as a user runs them."""

import json
import os
import re
import signal
import subprocess
import time
import tomllib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.commands import Cli, Program, flags, refused, start, succeed

STEPS = 60
SMALL = f"""
[data]
size = [32, 32]
load_size = [32, 32]
batch_size = 2
workers = 0
validation = 1
[generator.options]
width = 4
blocks = 1
[discriminator]
name = "patch"
[discriminator.options]
width = 4
[train]
steps = {STEPS}
[checkpoint]
every = 2
"""


def write_photos(folder: Path, count: int, seed: int) -> None:
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    for number in range(count):
        coarse = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{number:06d}.jpg"), cv2.resize(coarse, (48, 40), interpolation=cv2.INTER_CUBIC))


def size_of(image: Path) -> tuple[int, int]:
    with Image.open(image) as opened:
        opened.load()
        return opened.size


def write_sides(folder: Path) -> Path:
    """Write a tiny simulation with labels and real photos."""
    write_photos(folder / "sim/images", 5, seed=1)
    (folder / "sim/labels").mkdir()
    for number in range(5):
        (folder / f"sim/labels/{number:06d}.txt").write_text(f"0 0.5 0.5 0.{number} 0.1\n")
    write_photos(folder / "real", 7, seed=2)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return write_sides(tmp_path)


def assert_done(result: subprocess.CompletedProcess[str], run: Path) -> list[dict[str, Any]]:
    """Require that a batch is finished with the exit code of its verdicts; returns its conversions."""
    output = result.stdout + result.stderr
    assert "Traceback" not in output, output
    assert "\nerror: " not in output, output
    conversions: list[dict[str, Any]] = json.loads((run / "batch.json").read_text())["conversions"]
    verdicts = [conversion["evaluation"]["verdict"] for conversion in conversions]
    assert result.returncode == ("FAIL" in verdicts), output
    return conversions


def init_small(project: Path, cli: Cli) -> None:
    """Run ``sim2real init`` and add settings that make training quick."""
    succeed(cli("init", "sim", "real", cwd=project))
    path = project / "sim2real.toml"
    path.write_text(path.read_text().replace("[[convert]]", SMALL + "[[convert]]"))


@pytest.fixture(scope="module")
def done(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which ``sim2real batch`` is finished."""
    project = write_sides(tmp_path_factory.mktemp("done"))
    init_small(project, cli)
    write_photos(project / "second", 3, seed=5)
    with (project / "sim2real.toml").open("a") as file:
        file.write('\n[[convert]]\nsource = "second"\nout = "converted/second"\nquality = 80\n')
    assert_done(cli("batch", cwd=project), project / "runs/sim")
    return project


def test_init_writes_all_that_train_convert_and_verify_need(project: Path, cli: Cli) -> None:
    init_small(project, cli)
    settings = tomllib.loads((project / "sim2real.toml").read_text())
    assert (settings["sim"], settings["real"]) == ("sim", "real")

    succeed(cli("train", "--steps", 2, cwd=project))
    succeed(cli("convert", cwd=project))
    succeed(cli("verify", settings["convert"][0]["out"], cwd=project))

    out = project / settings["convert"][0]["out"]
    assert (out / "labels/000003.txt").read_bytes() == (project / "sim/labels/000003.txt").read_bytes()
    assert size_of(out / "images/000003.jpg") == (48, 40)


@pytest.mark.parametrize("recipe", ["default", "combined", "cyclegan"])
def test_settings_that_init_suggests_are_valid_and_those_of_the_recipe(project: Path, recipe: str) -> None:
    from sim2real.cli.init import settings_text
    from sim2real.config import resolve

    text = settings_text(project / "sim", [project / "real"], recipe)
    suggested = tomllib.loads(re.sub(r"^# (?=\[|[a-z_]+ = )", "", text, flags=re.MULTILINE))
    config, plain = resolve(file=suggested), resolve(recipe)
    assert config.generator.options["width"] == 64
    assert config.discriminator.name == "combined"
    assert (config.data.size, config.data.load_size) == (plain.data.size, plain.data.load_size)
    assert (config.data.batch_size, config.train) == (plain.data.batch_size, plain.train)


def test_init_keeps_an_existing_file(project: Path, cli: Cli) -> None:
    (project / "sim2real.toml").write_text("seed = 3\n")
    refused(cli("init", "sim", "real", cwd=project), "sim2real.toml")
    assert (project / "sim2real.toml").read_text() == "seed = 3\n"


def test_init_refuses_a_missing_folder(project: Path, cli: Cli) -> None:
    refused(cli("init", "simm", "real", cwd=project), "simm")
    assert not (project / "sim2real.toml").exists()


def test_batch_does_every_step_and_a_rerun_does_nothing(done: Path, cli: Cli) -> None:
    run = done / "runs/sim"
    report = json.loads((run / "batch.json").read_text())
    assert report["steps"] == STEPS
    assert [(job["converted"], job["verified"]) for job in report["conversions"]] == [(5, True), (3, True)]
    assert len(list((done / "converted/second").glob("*.jpg"))) == 3
    assert len(list((done / "converted/sim/images").glob("*.jpg"))) == 5

    for job in report["conversions"]:
        evaluation = json.loads((done / job["out"] / ".sim2real/evaluation.json").read_text())
        assert job["evaluation"] == {name: evaluation[name] for name in ("verdict", "reasons")}
        assert Path(evaluation["real"]) == done / "real"
        assert (done / job["report"]).read_text().startswith("<!DOCTYPE html>")
    assert done / report["report"] == run / "report.html"

    states = [done / job["out"] / ".sim2real" for job in report["conversions"]]
    made = [state / name for state in states for name in ("evaluation.json", "evaluation.csv", "report.html")]
    watched = [run / "sim2real.safetensors", *(done / "converted").rglob("*.jpg"), *made]
    times = {path: path.stat().st_mtime_ns for path in watched}
    assert_done(cli("batch", cwd=done), run)
    again = json.loads((run / "batch.json").read_text())
    assert [(job["converted"], job["verified"]) for job in again["conversions"]] == [(0, True), (0, True)]
    assert all(path.stat().st_mtime_ns == then for path, then in times.items())
    assert [job["evaluation"] for job in again["conversions"]] == [job["evaluation"] for job in report["conversions"]]


def test_what_a_training_chose_binds_no_conversion(
    project: Path, cli: Cli, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    init_small(project, cli)
    monkeypatch.chdir(project)
    monkeypatch.setattr("sim2real.training.loop.choose_precision", lambda *_: ("bf16", "bf16: faster here"))
    program("train", "--steps", 2)
    assert program("convert")[0] == 0
    for _ in range(2):
        _, _, said = program("batch", "--steps", 2)
        assert "error" not in said
        record = json.loads((project / "converted/sim/.sim2real/conversion.json").read_text())
        assert record["precision"] == "fp32"  # a short conversion
    assert tomllib.loads((project / "runs/sim/config.toml").read_text())["precision"] == "bf16"


def test_batch_exits_with_1_after_a_failed_evaluation_but_does_the_rest(
    done: Path, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sim2real.errors import Sim2RealError
    from sim2real.evaluation import evaluator

    def fail(*_: object, **__: object) -> None:
        raise Sim2RealError("nothing to compare")

    first, second = (done / "converted" / name / ".sim2real" for name in ("sim", "second"))
    kept = (first / "evaluation.json").stat().st_mtime_ns
    (second / "evaluation.json").unlink()
    monkeypatch.chdir(done)
    monkeypatch.setattr(evaluator, "evaluate", fail)
    code, output, _ = program("batch")
    assert code == 1
    assert "FAIL: converted/second: nothing to compare" in output
    jobs = json.loads((done / "runs/sim/batch.json").read_text())["conversions"]
    assert jobs[1]["evaluation"] == {"verdict": "FAIL", "reasons": ["nothing to compare"]}
    assert [(done / job["report"]).is_file() for job in jobs] == [True, True]
    assert (first / "evaluation.json").stat().st_mtime_ns == kept


def test_batch_with_folders_on_the_command_line_and_no_settings_file(project: Path, cli: Cli) -> None:
    sets = [
        "data.size=32",
        "data.load_size=32",
        "data.workers=0",
        "generator.options.width=4",
        "discriminator.name=patch",
    ]
    result = cli("batch", "sim", "real", "out", "--run", "runs/x", "--steps", 2, *flags(sets), cwd=project)
    assert_done(result, project / "runs/x")
    assert len(list((project / "out/images").glob("*.jpg"))) == 5
    assert (project / "runs/x/sim2real.safetensors").is_file()


def test_init_of_one_domain_names_the_missing_argument(project: Path, cli: Cli) -> None:
    refused(cli("init", "sim", cwd=project), "SIM REAL")
    assert not (project / "sim2real.toml").exists()


def test_options_of_convert_override_the_settings_file(done: Path, cli: Cli) -> None:
    text = (done / "sim2real.toml").read_text()
    assert "quality = 80" in text
    succeed(cli("convert", "--quality", 30, "--overwrite", cwd=done))
    records = [json.loads((out / ".sim2real/conversion.json").read_text()) for out in (done / "converted").iterdir()]
    assert [record["quality"] for record in records] == [30, 30]
    succeed(cli("convert", "--overwrite", cwd=done))
    record = json.loads((done / "converted/second/.sim2real/conversion.json").read_text())
    assert record["quality"] == 80


def test_batch_checks_the_folders_to_convert_before_it_trains(project: Path, cli: Cli) -> None:
    init_small(project, cli)
    path = project / "sim2real.toml"
    path.write_text(path.read_text().replace('source = "sim"', 'source = "simm"'))
    refused(cli("batch", cwd=project), "simm")
    assert not (project / "runs").exists()


def test_batch_checks_the_codecs_before_it_trains(project: Path, cli: Cli) -> None:
    init_small(project, cli)
    with (project / "sim2real.toml").open("a") as file:
        file.write('codecs = "gpu"\n')  # the last table is that of a conversion
    refused(cli("batch", "--device", "cpu", cwd=project), "--codecs gpu: only NVIDIA GPUs have JPEG codecs")
    assert not (project / "runs").exists()


def test_batch_without_a_folder_to_convert_is_refused_before_it_trains(project: Path, cli: Cli) -> None:
    refused(cli("batch", "sim", "real", cwd=project), "convert")
    assert not (project / "runs").exists()


@pytest.mark.parametrize(
    ("how", "code"),
    [
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
        (signal.SIGKILL, -9),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
    ],
)
def test_batch_ended_during_training_gives_the_same_bytes_after_a_rerun(
    done: Path, project: Path, cli: Cli, how: signal.Signals, code: int
) -> None:
    init_small(project, cli)
    process = start("batch", cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoints = project / "runs/sim/checkpoints"
    deadline = time.monotonic() + 200
    while not list(checkpoints.glob("step_*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, how)
    assert process.wait() == code
    assert not (project / "converted").exists()

    assert_done(cli("batch", cwd=project), project / "runs/sim")
    for path in ["runs/sim/sim2real.safetensors", *(f"converted/sim/images/{number:06d}.jpg" for number in range(5))]:
        assert (project / path).read_bytes() == (done / path).read_bytes()


def test_demo_quick_leaves_a_verified_dataset_and_a_picture(tmp_path: Path, cli: Cli) -> None:
    output = succeed(cli("demo", "here", "--quick", cwd=tmp_path))
    demo = tmp_path / "here"
    assert size_of(demo / "before_after_real.png")[0] > 3 * 400
    for line in ("before_after_real.png", "sim2real init", "converted", "verdict", "report.html"):
        assert line in output

    labels = [path for path in (demo / "sim").rglob("*") if path.is_file() and "/rgb/" not in path.as_posix()]
    assert labels
    for label in labels:
        assert (demo / "converted" / label.relative_to(demo / "sim")).read_bytes() == label.read_bytes()
    before = sorted((demo / "sim").rglob("rgb_*.jpg"))
    after = sorted((demo / "converted").rglob("rgb_*.jpg"))
    assert [path.relative_to(demo / "sim") for path in before] == [
        path.relative_to(demo / "converted") for path in after
    ]
    assert all(size_of(a) == size_of(b) for a, b in zip(before, after, strict=True))
    assert any(a.read_bytes() != b.read_bytes() for a, b in zip(before, after, strict=True))

    refused(cli("demo", "here", "--quick", "--seed", 4, cwd=tmp_path), "--seed")

    again = succeed(cli("demo", "here", "--quick", cwd=tmp_path))
    assert "0 frames converted" in again
