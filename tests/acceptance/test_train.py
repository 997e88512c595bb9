"""``train`` and ``recipes``, as a user runs them."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sim2real.registry import registry
from tests.commands import ROOT, Cli, Program, Write, flags, generators, metrics, start, succeed, training


def test_a_run_that_is_stopped_and_resumed_equals_an_undisturbed_one(
    cli: Cli, photos: Path, tmp_path: Path, tiny: list[str]
) -> None:
    """SIGTERM to the process, Ctrl-C to its group while workers decode, and SIGKILL; after each one --resume."""
    args = training(photos, [*tiny, "log.every=1", "checkpoint.every=4", "sample.every=10"], "--steps", 24)
    succeed(cli(*args, "--run", tmp_path / "whole"))
    folder = tmp_path / "parts"
    command = [*args, "--run", folder, "--set", "data.workers=2"]
    again: list[object] = []
    for step, number, code in ((1, signal.SIGTERM, 143), (6, signal.SIGINT, 130), (12, signal.SIGKILL, -9)):
        process = start(*command, *again, stderr=subprocess.PIPE, start_new_session=True)
        assert process.stderr
        with process:
            seen = ""
            for line in process.stderr:
                seen += line
                if line.startswith(f"step {step}/"):
                    os.killpg(process.pid, number) if number == signal.SIGINT else os.kill(process.pid, number)
                    break
            seen += process.stderr.read()
        assert process.returncode == code, seen
        assert "Traceback" not in seen
        assert not (folder / "sim2real.safetensors").exists()
        if number != signal.SIGKILL:
            assert seen.count("stopping after this step") == 1  # workers print nothing
            assert re.search(r"stopped at step \d+ of 24 and saved; continue with --resume", seen)
        again = ["--resume"]
    last = cli(*args, "--run", folder, "--resume")
    assert last.returncode == 0, last.stderr
    assert "continuing from step" in last.stderr
    assert generators(folder) == generators(tmp_path / "whole")
    assert metrics(folder) == metrics(tmp_path / "whole")
    assert [record["step"] for record in metrics(folder) if "note" not in record] == list(range(1, 25))
    assert {path.name for path in (folder / "samples").iterdir()} == {
        path.name for path in (tmp_path / "whole" / "samples").iterdir()
    }


def test_a_log_has_plain_lines_and_stdout_the_next_commands(
    cli: Cli, photos: Path, tmp_path: Path, tiny: list[str]
) -> None:
    result = cli(*training(photos, tiny, "--run", "runs/first"), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert not re.search(r"[^\n\x20-\x7e]", result.stdout + result.stderr)
    assert "5 simulated and 8 real images to train on, 1 and 1 held out; 6 steps on cpu in fp32" in result.stderr
    assert [line.split()[1] for line in result.stderr.splitlines() if line.startswith("step ")] == ["2/6", "4/6", "6/6"]
    assert re.search(r"step 6/6  epoch 0\.8  .*cycle \d+\.\d+ .* images/s  0:00:00 left", result.stderr)
    assert result.stdout.splitlines()[1] == "trained 6 steps: runs/first"  # after the summary
    assert f"sim2real convert {photos / 'sim'} OUT --model runs/first" in result.stdout


def test_a_terminal_shows_losses_speed_and_remaining_time(photos: Path, tmp_path: Path, tiny: list[str]) -> None:
    ours, theirs = pty.openpty()
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "100", "LINES": "40", "TERM": "xterm"}
    command = [sys.executable, "-m", "sim2real", *map(str, training(photos, tiny, "--run", tmp_path / "run"))]
    process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += (part := os.read(ours, 4096))
        except OSError:  # the other end is closed
            break
        if not part:
            break
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert process.wait() == 0, text
    assert "Traceback" not in text
    assert re.search(r"adversarial_real +\d+\.\d+ +\d+\.\d+", text)
    assert re.search(r"training +held out, step 6", text)
    assert re.search(r"score +\d+\.\d+\s+distance +\d+\.\d+", text)
    assert re.search(
        r"step 6 of 6 +epoch 0\.8 +best score \S+ at step 6 +\d+\.\d images/s +0:00:00 left +\d+\.\d [MG]B", text
    )
    assert "━" in text


def test_a_run_can_be_resumed_and_extended_but_keeps_its_settings(
    program: Program, photos: Path, tmp_path: Path, tiny: list[str]
) -> None:
    args = training(photos, [*tiny, "checkpoint.use=last"], "--run", tmp_path / "run")
    assert program(*args, "--resume")[2] == (
        f"error: {tmp_path / 'run'}: there is no run to resume here; omit --resume to start one"
        "; more: sim2real help stop-and-resume\n"
    )
    assert program(*args)[0] == 0
    before = generators(tmp_path / "run")

    code, out, err = program(*args)
    assert (code, out) == (1, "")
    assert err == (
        f"error: {tmp_path / 'run'}: exists already; add --resume to continue that run, or choose another --run"
        "; more: sim2real help stop-and-resume\n"
    )
    code, out, err = program(*args, "--resume")
    assert (code, err) == (0, "")
    assert out.endswith(f"\n{tmp_path / 'run'}: already finished, 6 steps; use --steps to extend it\n")
    code, out, err = program(*args, "--resume", "--seed", 3, "--set", "losses.cycle=4")
    assert (code, out) == (1, "")
    assert "a run keeps its settings" in err
    assert "losses.cycle was 3.0 and is now 4.0; seed was 0 and is now 3" in err
    assert generators(tmp_path / "run") == before

    code, out, err = program("train", "--resume", "--run", tmp_path / "run", "--steps", 8)
    assert (code, out.splitlines()[1]) == (0, f"trained 8 steps: {tmp_path / 'run'}")
    assert "continuing from step 6" in err
    assert generators(tmp_path / "run") != before


def test_a_training_can_take_everything_from_the_settings_file(
    program: Program, photos: Path, tmp_path: Path, tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sim2real.toml").write_text(
        f'sim = "{photos / "sim"}"\nreal = "{photos / "real"}"\nrun = "runs/town"\nseed = 5\n[losses]\ncycle = 7.0\n'
    )
    code, out, err = program("train", *flags(tiny), "--seed", 6)
    assert (code, out.splitlines()[1]) == (0, "trained 6 steps: runs/town"), err
    config = (tmp_path / "runs" / "town" / "config.toml").read_text()
    assert "seed = 6" in config
    assert "cycle = 7.0" in config
    (tmp_path / "sim2real.toml").write_text("[generator]\nwidht = 3\n")
    code, out, err = program("train")
    assert (code, out) == (1, "")
    assert err.startswith("error: sim2real.toml: generator.widht: no such setting; did you mean ")
    assert "generator.options.width" in err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["train"], "no simulated images: give SIM and REAL, or set sim and real in sim2real.toml"),
        (["train", "PHOTOS/sim"], "recognised as images, which holds one domain; give the real images too: SIM REAL"),
        (["train", "PHOTOS/sim", "absent"], "absent: no such folder"),
        (["train", "PHOTOS/sim", "PHOTOS/real", "--recipe", "cyclgan"], "did you mean cyclegan"),
        (["train", "PHOTOS/sim", "PHOTOS/real", "--set", "data.sise=3"], "did you mean data.size?"),
        (["train", "PHOTOS/sim", "PHOTOS/real", "--device", "tpu"], "device 'tpu': no such device; available: cpu"),
        (["train", "PHOTOS/sim", "PHOTOS/real", "--precision", "fp8"], "precision: must be 'auto', 'fp32'"),
        (["recipes", "defualt"], "did you mean default"),
    ],
)
def test_wrong_arguments_are_an_error_of_one_line(
    *, program: Program, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = program(*(arg.replace("PHOTOS", str(photos)) for arg in args))
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err
    assert list(tmp_path.iterdir()) == []


PLUGIN = """
import sim2real

@sim2real.hookimpl
def register_losses(register):
    register("breaks", "plugin_parts:Breaks", summary="not a number at its fifth call")

@sim2real.hookimpl
def register_discriminators(register):
    register("pyramid", "plugin_parts:Pyramid", summary="two scales")
"""
PARTS = """
import torch
from torch import nn

class Breaks:
    def __init__(self, *, at):
        self.at, self.calls = at, 0

    def __call__(self, images):
        self.calls += 1
        return images.fake_real.mean() * (torch.nan if self.calls == self.at else 1.0)

class Pyramid(nn.Module):
    def __init__(self, in_channels, image_size, *, width=4):
        super().__init__()
        self.fine, self.coarse = (nn.Conv2d(in_channels, width, 4, stride=stride) for stride in (2, 4))
        self.score_weights = (0.5, 2.0)

    def forward(self, images):
        return self.fine(images), self.coarse(images)
"""


def test_parts_of_plugins_are_trained_and_a_loss_of_nan_ends_the_run(
    *,
    cli: Cli,
    install: Callable[..., None],
    site: Path,
    photos: Path,
    tmp_path: Path,
    tiny: list[str],
) -> None:
    install("acme", PLUGIN)
    (site / "plugin_parts.py").write_text(PARTS)
    parts = ["discriminator.name=pyramid", "losses.breaks={weight=0.5, options={at=5}}", "checkpoint.every=2"]
    result = cli(*training(photos, [*tiny, *parts], "--run", tmp_path / "run"), path=site)
    assert (result.returncode, result.stdout) == (1, "")
    newest = tmp_path / "run" / "checkpoints" / "step_00000004"
    error = result.stderr.splitlines()[-1]
    assert error.startswith("error: step 6: ")
    assert f"the last good checkpoint is {newest};" in error
    assert "breaks" in metrics(tmp_path / "run")[0]
    assert not (tmp_path / "run" / "sim2real.safetensors").exists()


# ----------------------------------------------------------------------------------------------------- the default

SMALL = {
    "data.size": [48, 32],
    "data.load_size": [48, 32],
    "data.workers": 0,
    "generator.options.width": 4,
    "discriminator.options.width": 4,
    "optim.generator_lr": 1e-2,
    "train.steps": 6,
    "log.every": 1,
    "checkpoint.every": 3,
    "precision": "fp32",
    "device": "cpu",
}


@pytest.fixture
def project(program: Program, paint: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with ``sim``, which has labels, ``real``, and a run of the default recipe."""
    paint(tmp_path / "sim", 6, size=(48, 32), seed=1)
    paint(tmp_path / "real", 6, size=(64, 40), seed=2)
    (tmp_path / "sim" / "labels.txt").write_text("0000 car 1 2 3 4\n")
    monkeypatch.chdir(tmp_path)
    sets = flags([f"{key}={json.dumps(value)}" for key, value in SMALL.items()])
    code, _, err = program("train", "sim", "real", *sets)
    assert code == 0, err
    assert not [setting for setting in ("losses.cycle", "losses.identity", "guided") if setting in err]
    return tmp_path


def test_a_run_of_the_default_recipe_converts_in_both_directions(program: Program, project: Path) -> None:
    import cv2
    import numpy as np

    for source, way in (("sim", "sim2real"), ("real", "real2sim")):
        code, _, err = program("convert", source, way, "--model", "runs/default", "--direction", way)
        assert code == 0, err
        assert program("verify", way)[0] == 0
        for path in (project / source).glob("*.png"):
            before, after = (cv2.imread(str(project / folder / path.name)) for folder in (source, way))
            assert before is not None
            assert after is not None
            assert before.shape == after.shape
            assert np.abs(before.astype(int) - after).mean() > 0.5
    assert (project / "sim2real/labels.txt").read_bytes() == (project / "sim/labels.txt").read_bytes()


def test_a_run_of_the_default_recipe_resumes_to_the_same_bytes(program: Program, project: Path) -> None:
    from sim2real.api import train as begin

    stops = iter([False, False, False, True])
    halted = begin("sim", "real", run="part", settings=SMALL, stop=lambda: next(stops))
    assert 0 < halted.step < 6
    code, _, err = program("train", "--resume", "--run", "part")
    assert code == 0, err
    assert generators(project / "part") == generators(project / "runs/default")


# --------------------------------------------------------------------------------------------------------- recipes


def test_recipes_are_listed(program: Program) -> None:
    code, out, _ = program("recipes")
    assert code == 0
    promised = "default grid labelled combined vkitti2kitti monet2photo resnet9-sigmoid cyclegan-256 cyclegan"
    for name in promised.split():
        assert re.search(rf"^{name} +\w", out, re.MULTILINE)
    listed = json.loads(program("recipes", "--json")[1])
    assert listed[0]["name"] == "default"


@pytest.mark.parametrize("recipe", [entry.name for entry in registry().entries("recipes")])
def test_every_recipe_can_be_shown(program: Program, recipe: str) -> None:
    code, out, err = program("recipes", recipe)
    assert (code, err) == (0, "")
    assert re.search(r"^G_sim2real.* parameters$", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("recipe", "generator", "discriminator"),
    [
        ("default", 144_326, 694_241),
        ("vkitti2kitti", 5_773_312, 2_760_192 + 5_966_977),
        ("monet2photo", 8_402_176, 2_765_568),
    ],
)
def test_a_recipe_shows_its_settings_and_networks(
    program: Program, recipe: str, generator: int, discriminator: int
) -> None:
    code, out, err = program("recipes", recipe)
    assert (code, err) == (0, "")
    assert f'recipe = "{recipe}"' in out
    assert f"G_sim2real and G_real2sim, each {generator:,} parameters" in out
    assert f"D_real and D_sim, each {discriminator:,} parameters" in out
    networks = json.loads(program("recipes", recipe, "--json")[1])["networks"]
    assert {name: network["parameters"] for name, network in networks.items()} == {
        "G_sim2real": generator, "G_real2sim": generator, "D_real": discriminator, "D_sim": discriminator,
    }  # fmt: skip
    assert all(
        sum(layer["parameters"] for layer in network["layers"]) == network["parameters"]
        for network in networks.values()
    )


@pytest.mark.parametrize(("recipe", "least"), [("default", 11), ("grid", 2), ("combined", 21)])
def test_a_recipe_shows_its_comments_and_their_settings_are_valid(program: Program, recipe: str, least: int) -> None:
    import torch

    from sim2real.config import resolve
    from sim2real.training.setup import build_method

    shown = program("recipes", recipe)[1]
    comments = "\n".join(line for line in shown.splitlines() if line.startswith("#"))
    suggested = re.findall(r"\b([a-z_]+(?:\.[a-z_0-9]+)*=\S*[\w\]])", comments)
    assert len(suggested) >= least
    for setting in suggested:
        config = resolve(
            recipe,
            sets=['discriminator.regularization.augment=["color"]', "data.batch_size=2", "compile=false", setting],
        )
        with torch.device("meta"):
            build_method(config, "cpu", "fp32")


def test_a_recipe_can_be_shown_with_other_settings(program: Program) -> None:
    sets = flags(["discriminator.name=patchgan70", "data.size=[64, 64]"])
    networks = json.loads(program("recipes", "combined", "--json", *sets)[1])["networks"]
    assert networks["D_sim"]["parameters"] == 2_764_737


# ------------------------------------------------------------------------------------------------------- real images


@pytest.fixture
def real_data() -> Path:
    if "SIM2REAL_TEST_DATA" not in os.environ:
        pytest.skip("SIM2REAL_TEST_DATA is not set: no real images")
    return Path(os.environ["SIM2REAL_TEST_DATA"])


@pytest.mark.parametrize(
    "folders", [("carla/train/images", "kitti/frames"), ("monet2photo-mini",)], ids=["carla-kitti", "monet2photo"]
)
def test_real_images_are_inspected_and_trained_on(
    program: Program, real_data: Path, tmp_path: Path, tiny: list[str], folders: tuple[str, ...]
) -> None:
    roots = [real_data / folder for folder in folders]
    for root in roots:
        found = json.loads(program("inspect", root, "--json")[1])
        assert found["frames"] > 100
    sets = [*tiny, "data.size=[64, 64]", "data.workers=1"]
    code, out, err = program("train", *roots, *flags(sets), "--steps", 2, "--run", tmp_path / "run")
    assert code == 0, err
    assert "\ntrained 2 steps" in out
    assert "skipped" not in err
    counts = (740, 127, 39, 7) if len(folders) == 2 else (250, 1000, 50, 200)
    assert "{} simulated and {} real images to train on, {} and {} held out".format(*counts) in err
