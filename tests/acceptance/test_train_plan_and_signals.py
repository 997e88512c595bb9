"""``train``: the schema of settings, plans, signals, several processes, and what the end of a run prints."""

import json
import os
import re
import signal
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Cli, Write, metrics, start, succeed, torchrun, training


def test_the_settings_of_init_match_the_schema(cli: Cli, paint: Write, tmp_path: Path) -> None:
    import jsonschema  # type: ignore[import-untyped]  # it ships no types

    paint(tmp_path / "sim", 2)
    paint(tmp_path / "real", 2)
    succeed(cli("init", "sim", "real", cwd=tmp_path))
    schema = json.loads(succeed(cli("recipes", "--schema")))
    text = (tmp_path / "sim2real.toml").read_text()
    jsonschema.validate(tomllib.loads(text), schema)
    uncommented = [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# ") and " = " in line]
    assert len(uncommented) > 5
    known = {name for section in (schema, *schema["$defs"].values()) for name in section["properties"]}
    assert {line.split(" = ")[0] for line in uncommented} <= known | {"name", "width"}


def test_a_plan_describes_the_training_and_writes_nothing(
    cli: Cli, photos: Path, tmp_path: Path, tiny: list[str]
) -> None:
    shown = succeed(cli(*training(photos, tiny, "--plan", "--run", "runs/one"), cwd=tmp_path))
    assert list(tmp_path.iterdir()) == []
    lines = shown.splitlines()
    assert lines[0] == "combined on cpu in fp32, into runs/one"
    assert lines[1] == "images      5 simulated and 8 real to train on, 1 and 1 held out"
    assert re.fullmatch(r"G_sim2real  encoder-decoder, [\d,]+ parameters", lines[2])
    assert re.fullmatch(r"D_sim       combined, [\d,]+ parameters", lines[5])
    assert lines[6] == "steps       6, 8 an epoch: 0.8 epochs"
    assert re.fullmatch(r"memory      about \d+\.\d [MG]B of \d+\.\d [GT]B that are free", lines[7])
    assert re.fullmatch(r"time        about 0:\d\d:\d\d: .* s a step, .* images/s, limited by .*", lines[8])
    found = json.loads(succeed(cli(*training(photos, tiny, "--plan", "--json"), cwd=tmp_path)))
    assert found["steps"] == 6
    assert set(found["parameters"]) == {"G_sim2real", "G_real2sim", "D_real", "D_sim"}
    assert found["seconds"] == found["steps"] * found["seconds_per_step"]


def test_a_plan_is_refused_like_its_training(cli: Cli, photos: Path, tmp_path: Path, tiny: list[str]) -> None:
    (tmp_path / "runs" / "combined").mkdir(parents=True)
    (tmp_path / "runs" / "combined" / "notes.txt").touch()
    for wrong in ([], ["--run", "new", "--set", "data.batch_size=9"], ["--run", "new", "--device", "cuda:99"]):
        plan, real = (cli(*training(photos, tiny, *wrong, *flag), cwd=tmp_path) for flag in (["--plan"], []))
        assert (plan.returncode, plan.stdout) == (1, "")
        assert plan.stderr == real.stderr
        assert plan.stderr.startswith("error: ")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("options", [["--json"], ["--plan", "--resume"]])
def test_options_that_exclude_each_other_are_wrong_usage(
    cli: Cli, photos: Path, tmp_path: Path, tiny: list[str], options: list[str]
) -> None:
    done = cli(*training(photos, tiny, *options), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_deterministic_run_stays_deterministic(cli: Cli, photos: Path, tmp_path: Path, tiny: list[str]) -> None:
    args = training(photos, [*tiny, "train.steps=1"], "--run", tmp_path / "run")
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
    register("slow", "plugin_parts:Slow", summary="slow at its fourth call")
"""
PARTS = """
import sys, time

class Slow:
    def __init__(self, *, seconds):
        self.seconds, self.calls = seconds, 0

    def __call__(self, images):
        self.calls += 1
        if self.calls == 4:
            print("slow step", file=sys.stderr, flush=True)
            end = time.monotonic() + self.seconds
            while time.monotonic() < end:
                time.sleep(0.01)  # a signal just before a long sleep is handled only after it
        return images.fake_real.mean()
"""
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start_slow(install: Callable[..., None], site: Path, photos: Path, tiny: list[str], tmp_path: Path) -> Start:
    """Start a training of 6 steps into ``run`` whose fourth step is slow, and wait for that step."""
    install("acme", PLUGIN)
    (site / "plugin_parts.py").write_text(PARTS)

    def begin(seconds: float) -> "subprocess.Popen[str]":
        sets = [*tiny, f"losses.slow={{weight=0.1, options={{seconds={seconds}}}}}"]
        process = start(*training(photos, sets, "--run", tmp_path / "run"), path=site, stderr=subprocess.PIPE)
        read_until(process, "slow step")
        return process

    return begin


def read_until(process: subprocess.Popen[str], text: str) -> None:
    """Read lines of stderr up to one that contains ``text``."""
    assert process.stderr
    assert any(text in line for line in process.stderr)


def finish(process: subprocess.Popen[str]) -> str:
    """Wait for the end of a process; returns the rest of its stderr."""
    with process:
        assert process.stderr
        return process.stderr.read()


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_sent_twice_saves_the_step_and_exits_with_143(start_slow: Start, tmp_path: Path, number: int) -> None:
    process = start_slow(4)
    process.send_signal(number)
    read_until(process, "stopping after this step and saving")
    process.send_signal(number)
    output = finish(process)
    assert process.returncode == 143, output
    assert "stopped at step 4 of 6 and saved; continue with --resume" in output
    assert "stopping after" not in output
    assert (tmp_path / "run" / "checkpoints" / "step_00000004").is_dir()
    assert not (tmp_path / "run" / "sim2real.safetensors").exists()


def test_a_second_ctrl_c_exits_within_the_step(start_slow: Start, tmp_path: Path) -> None:
    process = start_slow(600)
    process.send_signal(signal.SIGINT)
    read_until(process, "Ctrl-C stops at once")
    process.send_signal(signal.SIGINT)
    output = finish(process)
    assert (process.returncode, output) == (130, "interrupted\n")
    assert [path.name for path in (tmp_path / "run" / "checkpoints").glob("step_*")] == ["step_00000003"]


@pytest.fixture
def start_two(photos: Path, tiny: list[str], tmp_path: Path) -> Start:
    """Start a training of some steps in two processes."""

    def begin(steps: int) -> "subprocess.Popen[str]":
        sets = [*tiny, "data.batch_size=2", "log.every=1", f"train.steps={steps}"]
        pipes: dict[str, Any] = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
        launcher = (*torchrun(2), "-m", "--")
        args = training(photos, sets, "--run", tmp_path / "run")
        return start(*args, launcher=launcher, start_new_session=True, **pipes)

    return begin


def test_only_one_of_several_processes_prints(start_two: Start) -> None:
    with start_two(2) as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    assert [line.partition(":")[0] for line in out.splitlines()][1:2] == ["trained 2 steps"]
    assert out.count("trained 2 steps") == out.count("its generators are") == out.count("\nnext: ") == 1
    assert err.count("5 simulated and 8 real images to train on") == err.count("step 1/2") == err.count("step 2/2") == 1


def test_ctrl_c_in_a_terminal_makes_all_processes_save_once(start_two: Start, tmp_path: Path) -> None:
    """Each process gets the signal from the terminal and again from the launcher."""
    process = start_two(100_000)
    read_until(process, "step 1/")
    os.killpg(process.pid, signal.SIGINT)
    with process:
        output = process.communicate()[1]
    assert output.count("stopping after this step and saving\n") == 1
    [step] = re.findall(r"stopped at step (\d+) of 100000 and saved", output)
    assert (tmp_path / "run" / "checkpoints" / f"step_{int(step):08d}").is_dir()


# ----------------------------------------------------------------------------------------------------------- the result


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("checkpoint.use=last", "its generators are those of step 6, the last"),
        ("data.validation=0", "its generators are those of step 6, the last"),
        (
            "evaluate.every=1",
            r"its generators are those of step [1-6], (the best on held-out images|the last)(; the score .*)?",
        ),
    ],
)
def test_the_output_names_the_step_of_the_generators(
    *, cli: Cli, photos: Path, tmp_path: Path, tiny: list[str], setting: str, sentence: str
) -> None:
    output = succeed(cli(*training(photos, [*tiny, setting], "--run", tmp_path / "run"))).splitlines()
    assert output[0].startswith("not evaluated on held-out images") == (setting == "data.validation=0")
    assert output[1] == f"trained 6 steps: {tmp_path / 'run'}"
    assert re.fullmatch(sentence, output[2])
    scores = {
        record["evaluation/score"]: record["step"]
        for record in reversed(metrics(tmp_path / "run"))
        if "evaluation/score" in record
    }
    if setting == "evaluate.every=1":
        assert f"step {scores[min(scores)]}," in output[2]
