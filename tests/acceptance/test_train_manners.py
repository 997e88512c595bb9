"""How ``train`` and its kin behave towards those who run them, and towards what runs them."""

import json
import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]
Paint = Callable[..., Path]
ROOT = Path(__file__).parents[2]


def succeed(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


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
    assert lines[0] == "combined on cpu in fp32, into runs/one"
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
    (tmp_path / "runs" / "combined").mkdir(parents=True)
    (tmp_path / "runs" / "combined" / "notes.txt").touch()
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


@pytest.mark.slow
def test_a_run_remembers_that_it_is_to_be_reproducible(cli: Cli, photos: Path, tmp_path: Path, tiny: list[str]) -> None:
    args = train(photos, [*tiny, "train.steps=1"], "--run", tmp_path / "run")
    succeed(cli(*args, "--deterministic"))
    assert "deterministic = true" in (tmp_path / "run" / "config.toml").read_text()
    succeed(cli(*args, "--deterministic", "--resume", "--steps", 2))
    succeed(cli("batch", photos / "sim", photos / "real", tmp_path / "out", *args[3:], "--deterministic", "--steps", 2))
    again = cli(*args, "--resume", "--set", "deterministic=false", "--steps", 3)
    assert "deterministic was True and is now False" in again.stderr


# ------------------------------------------------------------------------------------------------------------- signals

PLUGIN = """
import sim2real

@sim2real.hookimpl
def register_losses(register):
    register("dawdles", "plugin_parts:Dawdles", summary="slow at its fourth call")
"""
PARTS = """
import sys, time

class Dawdles:
    def __init__(self, *, seconds):
        self.seconds, self.calls = seconds, 0

    def __call__(self, images):
        self.calls += 1
        if self.calls == 4:
            print("dawdling", file=sys.stderr, flush=True)
            end = time.monotonic() + self.seconds
            while time.monotonic() < end:
                time.sleep(0.01)  # a signal just before a long sleep is handled only after it
        return images.fake_real.mean()
"""
Begin = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def begin(install: Callable[..., None], site: Path, photos: Path, tiny: list[str], tmp_path: Path) -> Begin:
    """Begin a training of 6 steps into ``run`` whose fourth takes long, and wait until it is in there."""
    install("acme", PLUGIN)
    (site / "plugin_parts.py").write_text(PARTS)

    def start(seconds: float) -> subprocess.Popen[str]:
        sets = [*tiny, f"losses.dawdles={{weight=0.1, options={{seconds={seconds}}}}}"]
        command = [sys.executable, "-m", "sim2real", *map(str, train(photos, sets, "--run", tmp_path / "run"))]
        environment = {**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        read_until(process, "dawdling")
        return process

    return start


def read_until(process: subprocess.Popen[str], words: str) -> None:
    assert process.stderr
    assert any(words in line for line in process.stderr)


def finish(process: subprocess.Popen[str]) -> str:
    """What else it says to the end."""
    with process:
        assert process.stderr
        return process.stderr.read()


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_scheduler_that_sends_its_signal_twice_gets_the_step_saved_and_143(
    begin: Begin, tmp_path: Path, number: int
) -> None:
    process = begin(4)
    process.send_signal(number)
    read_until(process, "stopping after this step and saving")
    process.send_signal(number)
    said = finish(process)
    assert process.returncode == 143, said
    assert "stopped at step 4 of 6 and saved; continue with --resume" in said
    assert "stopping after" not in said
    assert (tmp_path / "run" / "checkpoints" / "step_00000004").is_dir()
    assert not (tmp_path / "run" / "sim2real.safetensors").exists()


def test_ctrl_c_twice_quits_in_the_middle_of_a_step(begin: Begin, tmp_path: Path) -> None:
    process = begin(600)
    process.send_signal(signal.SIGINT)
    read_until(process, "Ctrl-C stops at once")
    process.send_signal(signal.SIGINT)
    said = finish(process)
    assert (process.returncode, said) == (130, "interrupted\n")
    assert [path.name for path in (tmp_path / "run" / "checkpoints").glob("step_*")] == ["step_00000003"]


@pytest.fixture
def together(photos: Path, tiny: list[str], tmp_path: Path) -> Begin:
    """Begin a training of so many steps in two processes."""

    def start(steps: int) -> subprocess.Popen[str]:
        sets = [*tiny, "data.batch_size=2", "log.every=1", f"train.steps={steps}"]
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--"]
        command = [*launcher, "sim2real", *map(str, train(photos, sets, "--run", tmp_path / "run"))]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        pipes: dict[str, Any] = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
        return subprocess.Popen(command, env=environment, text=True, start_new_session=True, **pipes)

    return start


def test_of_many_processes_one_speaks(together: Begin) -> None:
    with together(2) as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    assert [line.partition(":")[0] for line in out.splitlines()][1:2] == ["trained 2 steps"]
    assert out.count("trained 2 steps") == out.count("its generators are") == out.count("\nnext: ") == 1
    assert err.count("5 simulated and 8 real images to train on") == err.count("step 1/2") == err.count("step 2/2") == 1


def test_one_ctrl_c_reaches_many_processes_twice_and_has_them_save(together: Begin, tmp_path: Path) -> None:
    """From the terminal, and from their launcher once more."""
    process = together(100_000)
    read_until(process, "step 1/")
    os.killpg(process.pid, signal.SIGINT)
    with process:
        said = process.communicate()[1]
    assert said.count("stopping after this step and saving\n") == 1
    [step] = re.findall(r"stopped at step (\d+) of 100000 and saved", said)
    assert (tmp_path / "run" / "checkpoints" / f"step_{int(step):08d}").is_dir()


# ----------------------------------------------------------------------------------------------------------- the result


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("checkpoint.use=last", "its generators are those of step 6, the last"),
        ("data.validation=0", "its generators are those of step 6, the last"),
        ("evaluate.every=1", r"its generators are those of step [1-6], (the best on held-out images|the last)"),
    ],
)
def test_the_end_tells_whose_generators_a_run_gives(
    *, cli: Cli, photos: Path, tmp_path: Path, tiny: list[str], setting: str, words: str
) -> None:
    said = succeed(cli(*train(photos, [*tiny, setting], "--run", tmp_path / "run"))).splitlines()
    assert said[0].startswith("not evaluated on held-out images") == (setting == "data.validation=0")
    assert said[1] == f"trained 6 steps: {tmp_path / 'run'}"
    assert re.fullmatch(words, said[2])
    scores = {
        record["evaluation/score"]: record["step"]
        for record in map(json.loads, reversed((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()))
        if "evaluation/score" in record
    }
    if setting == "evaluate.every=1":
        assert f"step {scores[min(scores)]}," in said[2]
