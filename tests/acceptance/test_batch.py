"""init, batch and demo, as a user runs them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

Cli = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).parents[2]
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


def furnish(folder: Path) -> Path:
    """A tiny simulation with labels, and real photos."""
    write_photos(folder / "sim/images", 5, seed=1)
    (folder / "sim/labels").mkdir()
    for number in range(5):
        (folder / f"sim/labels/{number:06d}.txt").write_text(f"0 0.5 0.5 0.{number} 0.1\n")
    write_photos(folder / "real", 7, seed=2)
    return folder


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    return furnish(tmp_path)


def assert_done(result: subprocess.CompletedProcess[str], run: Path) -> list[dict[str, Any]]:
    """Make sure that a batch was done to its end, and with the exit code of its verdicts; returns its conversions."""
    said = result.stdout + result.stderr
    assert "Traceback" not in said, said
    assert "\nerror: " not in said, said
    conversions: list[dict[str, Any]] = json.loads((run / "batch.json").read_text())["conversions"]
    verdicts = [conversion["evaluation"]["verdict"] for conversion in conversions]
    assert result.returncode == ("FAIL" in verdicts), said
    return conversions


@pytest.fixture
def ok(cli: Cli) -> Cli:
    """Run a command that must succeed."""

    def run(*args: object, cwd: Path) -> subprocess.CompletedProcess[str]:
        result = cli(*args, cwd=cwd)
        assert result.returncode == 0, result.stdout + result.stderr
        return result

    return run


def settle(workplace: Path, cli: Cli) -> None:
    """`sim2real init`, then settings small enough for a test."""
    assert cli("init", "sim", "real", cwd=workplace).returncode == 0
    path = workplace / "sim2real.toml"
    path.write_text(path.read_text().replace("[[convert]]", SMALL + "[[convert]]"))


@pytest.fixture(scope="module")
def done(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workplace where `sim2real batch` has done the whole job of its sim2real.toml."""
    workplace = furnish(tmp_path_factory.mktemp("done"))
    settle(workplace, cli)
    write_photos(workplace / "second", 3, seed=5)
    with (workplace / "sim2real.toml").open("a") as file:
        file.write('\n[[convert]]\nsource = "second"\nout = "converted/second"\nquality = 80\n')
    assert_done(cli("batch", cwd=workplace), workplace / "runs/sim")
    return workplace


def test_init_writes_all_that_train_convert_and_verify_need(workplace: Path, cli: Cli, ok: Cli) -> None:
    settle(workplace, cli)
    settings = tomllib.loads((workplace / "sim2real.toml").read_text())
    assert (settings["sim"], settings["real"]) == ("sim", "real")

    ok("train", "--steps", 2, cwd=workplace)
    ok("convert", cwd=workplace)
    ok("verify", settings["convert"][0]["out"], cwd=workplace)

    out = workplace / settings["convert"][0]["out"]
    assert (out / "labels/000003.txt").read_bytes() == (workplace / "sim/labels/000003.txt").read_bytes()
    assert size_of(out / "images/000003.jpg") == (48, 40)


@pytest.mark.parametrize("recipe", ["default", "combined", "cyclegan"])
def test_what_init_suggests_is_accepted_and_is_what_the_recipe_says(workplace: Path, recipe: str) -> None:
    from sim2real.cli.init import settings_text
    from sim2real.config import resolve

    text = settings_text(workplace / "sim", [workplace / "real"], recipe)
    suggested = tomllib.loads(re.sub(r"^# (?=\[|[a-z_]+ = )", "", text, flags=re.MULTILINE))
    config, plain = resolve(file=suggested), resolve(recipe)
    assert config.generator.options["width"] == 64
    assert config.discriminator.name == "combined"
    assert (config.data.size, config.data.load_size) == (plain.data.size, plain.data.load_size)
    assert (config.data.batch_size, config.train) == (plain.data.batch_size, plain.train)


def test_init_keeps_an_existing_file(workplace: Path, cli: Cli) -> None:
    (workplace / "sim2real.toml").write_text("seed = 3\n")
    result = cli("init", "sim", "real", cwd=workplace)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "sim2real.toml" in result.stderr
    assert (workplace / "sim2real.toml").read_text() == "seed = 3\n"


def test_init_of_a_folder_that_is_not_there(workplace: Path, cli: Cli) -> None:
    result = cli("init", "simm", "real", cwd=workplace)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "simm" in result.stderr
    assert not (workplace / "sim2real.toml").exists()


def test_batch_does_the_whole_job_and_a_rerun_nothing(done: Path, cli: Cli) -> None:
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


def test_a_conversion_that_fails_ends_in_1_after_all_is_done(
    done: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sim2real.cli import main
    from sim2real.errors import Sim2RealError
    from sim2real.evaluation import evaluator

    def refuse(*_: object, **__: object) -> None:
        raise Sim2RealError("nothing to compare")

    first, second = (done / "converted" / name / ".sim2real" for name in ("sim", "second"))
    kept = (first / "evaluation.json").stat().st_mtime_ns
    (second / "evaluation.json").unlink()
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.chdir(done)
    monkeypatch.setattr(evaluator, "evaluate", refuse)
    monkeypatch.setattr(sys, "argv", ["sim2real", "batch"])
    with pytest.raises(SystemExit) as ended:
        main()
    signal.signal(signal.SIGTERM, handler)
    assert ended.value.code == 1
    assert "FAIL: converted/second: nothing to compare" in capsys.readouterr().out
    jobs = json.loads((done / "runs/sim/batch.json").read_text())["conversions"]
    assert jobs[1]["evaluation"] == {"verdict": "FAIL", "reasons": ["nothing to compare"]}
    assert [(done / job["report"]).is_file() for job in jobs] == [True, True]
    assert (first / "evaluation.json").stat().st_mtime_ns == kept


def test_batch_with_folders_on_the_command_line_and_no_settings_file(workplace: Path, cli: Cli) -> None:
    sets = [
        "data.size=32",
        "data.load_size=32",
        "data.workers=0",
        "generator.options.width=4",
        "discriminator.name=patch",
    ]
    flags = [part for text in sets for part in ("--set", text)]
    result = cli("batch", "sim", "real", "out", "--run", "runs/x", "--steps", 2, *flags, cwd=workplace)
    assert_done(result, workplace / "runs/x")
    assert len(list((workplace / "out/images").glob("*.jpg"))) == 5
    assert (workplace / "runs/x/sim2real.safetensors").is_file()


def test_init_of_one_domain_alone_says_what_is_missing(workplace: Path, cli: Cli) -> None:
    result = cli("init", "sim", cwd=workplace)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "SIM REAL" in result.stderr
    assert not (workplace / "sim2real.toml").exists()


def test_options_of_convert_win_over_the_settings_file(done: Path, ok: Cli) -> None:
    text = (done / "sim2real.toml").read_text()
    assert "quality = 80" in text
    ok("convert", "--quality", 30, "--overwrite", cwd=done)
    records = [json.loads((out / ".sim2real/conversion.json").read_text()) for out in (done / "converted").iterdir()]
    assert [record["quality"] for record in records] == [30, 30]
    ok("convert", "--overwrite", cwd=done)
    record = json.loads((done / "converted/second/.sim2real/conversion.json").read_text())
    assert record["quality"] == 80


def test_batch_looks_at_what_it_shall_convert_before_it_trains(workplace: Path, cli: Cli) -> None:
    settle(workplace, cli)
    path = workplace / "sim2real.toml"
    path.write_text(path.read_text().replace('source = "sim"', 'source = "simm"'))
    result = cli("batch", cwd=workplace)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "simm" in result.stderr
    assert not (workplace / "runs").exists()


def test_batch_without_anything_to_convert_says_so_before_it_trains(workplace: Path, cli: Cli) -> None:
    result = cli("batch", "sim", "real", cwd=workplace)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "convert" in result.stderr
    assert not (workplace / "runs").exists()


@pytest.mark.parametrize(
    ("how", "code"),
    [
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
        (signal.SIGKILL, -9),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
    ],
)
def test_batch_ended_in_training_is_finished_by_a_rerun_with_the_same_bytes(
    done: Path, workplace: Path, cli: Cli, how: signal.Signals, code: int
) -> None:
    settle(workplace, cli)
    process = subprocess.Popen(
        [sys.executable, "-m", "sim2real", "batch"],
        cwd=workplace,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    checkpoints = workplace / "runs/sim/checkpoints"
    deadline = time.monotonic() + 200
    while not list(checkpoints.glob("step_*")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, how)
    assert process.wait() == code
    assert not (workplace / "converted").exists()

    assert_done(cli("batch", cwd=workplace), workplace / "runs/sim")
    for path in ["runs/sim/sim2real.safetensors", *(f"converted/sim/images/{number:06d}.jpg" for number in range(5))]:
        assert (workplace / path).read_bytes() == (done / path).read_bytes()


def test_demo_quick_leaves_a_verified_dataset_and_a_picture(tmp_path: Path, cli: Cli, ok: Cli) -> None:
    result = ok("demo", "here", "--quick", cwd=tmp_path)
    demo = tmp_path / "here"
    assert size_of(demo / "before_after_real.png")[0] > 3 * 400
    for line in ("before_after_real.png", "sim2real init", "converted", "verdict", "report.html"):
        assert line in result.stdout

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

    other = cli("demo", "here", "--quick", "--seed", 4, cwd=tmp_path)
    assert (other.returncode, other.stderr.count("\n")) == (1, 1)
    assert "--seed" in other.stderr

    again = ok("demo", "here", "--quick", cwd=tmp_path)
    assert "0 frames converted" in again.stdout
