"""How ``train`` and its kin behave towards those who run them, and towards what runs them."""

import json
import re
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]
Paint = Callable[..., Path]


def succeed(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, paint: Paint) -> Path:
    """A folder with the plain folders ``sim`` (6 images) and ``real`` (9)."""
    root = tmp_path_factory.mktemp("photos")
    paint(root / "sim", 6, seed=1)
    paint(root / "real", 9, seed=2)
    return root


def train(photos: Path, tiny: list[str], *more: object) -> list[object]:
    """The arguments of a tiny training."""
    return ["train", photos / "sim", photos / "real", *(word for text in tiny for word in ("--set", text)), *more]


def test_the_schema_that_editors_are_given_fits_what_init_writes(cli: Cli, paint: Paint, tmp_path: Path) -> None:
    import jsonschema  # type: ignore[import-untyped]  # it ships no types

    paint(tmp_path / "sim", 2)
    paint(tmp_path / "real", 2)
    succeed(cli("init", "sim", "real", cwd=tmp_path))
    schema = json.loads(succeed(cli("recipes", "--schema")))
    text = (tmp_path / "sim2real.toml").read_text()
    jsonschema.validate(tomllib.loads(text), schema)
    uncommented = [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# ") and " = " in line]
    assert len(uncommented) > 5
    known = {name for section in (schema, *schema["$defs"].values()) for name in section["properties"]} | {
        "name",
        "width",
    }
    assert {line.split(" = ")[0] for line in uncommented} <= known


def test_a_plan_tells_what_would_be_trained_and_writes_nothing(
    cli: Cli, photos: Path, tmp_path: Path, tiny: list[str]
) -> None:
    shown = succeed(cli(*train(photos, tiny, "--plan", "--run", "runs/one"), cwd=tmp_path))
    assert list(tmp_path.iterdir()) == []
    lines = shown.splitlines()
    assert lines[0] == "default on cpu in fp32, into runs/one"
    assert lines[1] == "images      5 simulated and 8 real to train on, 1 and 1 held out"
    assert re.fullmatch(r"G_sim2real  encoder-decoder, [\d,]+ parameters", lines[2])
    assert re.fullmatch(r"D_sim       combined, [\d,]+ parameters", lines[5])
    assert lines[6] == "steps       6, 8 an epoch: 0.8 epochs"
    assert re.fullmatch(r"memory      about \d+\.\d [MG]B of \d+\.\d [GT]B that are free", lines[7])
    assert re.fullmatch(r"time        about 0:\d\d:\d\d: .* s a step, .* images/s, limited by .*", lines[8])
    found = json.loads(succeed(cli(*train(photos, tiny, "--plan", "--json"), cwd=tmp_path)))
    assert found["steps"] == 6
    assert set(found["parameters"]) == {"G_sim2real", "G_real2sim", "D_real", "D_sim"}
    assert found["seconds"] == found["steps"] * found["seconds_per_step"]


def test_a_plan_is_refused_where_the_training_would_be(cli: Cli, photos: Path, tmp_path: Path, tiny: list[str]) -> None:
    (tmp_path / "runs" / "default").mkdir(parents=True)
    (tmp_path / "runs" / "default" / "notes.txt").touch()
    for wrong in ([], ["--run", "new", "--set", "data.batch_size=9"], ["--run", "new", "--device", "cuda:99"]):
        plan, real = (cli(*train(photos, tiny, *wrong, *flag), cwd=tmp_path) for flag in (["--plan"], []))
        assert (plan.returncode, plan.stdout) == (1, "")
        assert plan.stderr == real.stderr
        assert plan.stderr.startswith("error: ")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("flags", [["--json"], ["--plan", "--resume"]])
def test_flags_that_do_not_go_together_are_wrong_usage(
    cli: Cli, photos: Path, tmp_path: Path, tiny: list[str], flags: list[str]
) -> None:
    done = cli(*train(photos, tiny, *flags), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert list(tmp_path.iterdir()) == []


def test_a_run_remembers_that_it_is_to_be_reproducible(cli: Cli, photos: Path, tmp_path: Path, tiny: list[str]) -> None:
    args = train(photos, [*tiny, "train.steps=1"], "--run", tmp_path / "run")
    succeed(cli(*args, "--deterministic"))
    assert "deterministic = true" in (tmp_path / "run" / "config.toml").read_text()
    succeed(cli(*args, "--deterministic", "--resume", "--steps", 2))
    succeed(cli("batch", photos / "sim", photos / "real", tmp_path / "out", *args[3:], "--deterministic", "--steps", 2))
    again = cli(*args, "--resume", "--set", "deterministic=false", "--steps", 3)
    assert "deterministic was True and is now False" in again.stderr
