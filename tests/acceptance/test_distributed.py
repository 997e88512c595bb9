"""Trainings of two real processes under torchrun, on the CPU."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sim2real.config import Config, resolve
from sim2real.training import Trainer
from sim2real.training.checkpoints import Checkpoints, read_state

Paint = Callable[..., Path]
ROOT = Path(__file__).parents[2]
FILES = ("sim2real.safetensors", "real2sim.safetensors")
DRIVER = """
import json, os, sys
from pathlib import Path

import torch

import sim2real.training.data as data
from sim2real.cli import main
from sim2real.methods.cyclegan import CycleGAN

torch.set_num_threads(1)
rank, order = int(os.environ["RANK"]), json.loads(os.environ["ORDER"])
diary = {"seen": [], "written": [], "steps": 0, "code": None}
read, step = data.read_scaled, CycleGAN.step


def watched_read(path, *args):
    diary["seen"].append(str(path))
    return read(path, *args)


def watched_step(self, batch):
    if [rank, diary["steps"]] == order["at"]:
        os.kill(os.getpid(), order["signal"])
    diary["steps"] += 1
    return step(self, batch)


def watch(event, arguments):
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if (writes or event in ("os.mkdir", "os.rename", "os.remove")) and order["run"] in str(arguments[0]):
        diary["written"].append(str(arguments[0]))


data.read_scaled, CycleGAN.step = watched_read, watched_step
sys.addaudithook(watch)
try:
    main()
    diary["code"] = 0
except SystemExit as ended:
    diary["code"] = ended.code or 0
    raise
finally:
    Path(os.environ["DIARIES"], f"{rank}.json").write_text(json.dumps(diary))
"""


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def sets(tiny: list[str]) -> list[str]:
    return [
        *tiny, "data.batch_size=4", "image_pool_size=0", "train.steps=6", "log.every=1", "checkpoint.every=2",
        "evaluate.every=3", "data.validation=2", "optim.generator_lr=0.001", "discriminator.name=patch",
        "losses.identity=1", "generator.name=encoder-decoder", "generator.options={width=4, blocks=1, norm='instance'}",
        "discriminator.options={width=4, norm='instance'}",
    ]  # fmt: skip


def torchrun(
    run: Path, photos: Path, sets: list[str], *options: str, at: tuple[int, int] = (-1, -1), number: int = 0
) -> tuple[subprocess.CompletedProcess[str], list[dict[str, Any]]]:
    """``sim2real train`` in two processes, one of which sends itself a signal before a step; and their diaries."""
    diaries = run.with_name(f"{run.name} diaries")
    diaries.mkdir(exist_ok=True)
    for diary in diaries.iterdir():
        diary.unlink()
    driver = diaries.with_name("driver.py")
    driver.write_text(DRIVER)
    order = {"run": str(run) + "/", "at": at, "signal": number}
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "ORDER": json.dumps(order),
        "DIARIES": str(diaries),
    }  # fmt: skip
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["--", str(driver), "train", str(photos / "sim"), str(photos / "real"), "--run", str(run), *options]
    command += [part for text in sets for part in ("--set", text)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    return done, [json.loads(path.read_text()) for path in sorted(diaries.iterdir())]


def lines(folder: Path) -> list[dict[str, Any]]:
    every = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "images_per_second"} for line in every]


def weights(folder: Path) -> torch.Tensor:
    """Of convolutions; the gradients of the biases before a norm are noise, which Adam makes as large as any."""
    tensors = [tensor for name in FILES for tensor in load_file(folder / name).values() if tensor.ndim > 1]
    return torch.cat([tensor.flatten() for tensor in tensors])


Done = tuple[Path, subprocess.CompletedProcess[str], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, photos: Path, sets: list[str]) -> Done:
    """A training of two processes that nothing disturbs."""
    run = tmp_path_factory.mktemp("two") / "run"
    return run, *torchrun(run, photos, sets)


def test_two_processes_train_cut_as_one_does(photos: Path, sets: list[str], tmp_path: Path) -> None:
    more = [*sets, "method.name=cut", "losses.cycle=0", "losses.identity=0", "method.options.flip_equivariance=true"]
    done, _ = torchrun(tmp_path / "two", photos, more)
    assert done.returncode == 0, done.stderr
    config = resolve(sets=more, sim=str(photos / "sim"), real=str(photos / "real"))
    for _ in Trainer.begin(config, tmp_path / "one").train():
        pass
    of_one, of_two = (
        [[line[name] for name in ("nce", "nce_identity", "D_real")] for line in lines(tmp_path / run) if "nce" in line]
        for run in ("one", "two")
    )
    assert len(of_one) == 6
    for one, other in zip(of_one, of_two, strict=True):
        assert other == pytest.approx(one, rel=0.02)
    ours, theirs = (load_file(tmp_path / name / FILES[0]) for name in ("two", "one"))
    for name, tensor in theirs.items():
        if tensor.ndim > 1:
            torch.testing.assert_close(ours[name], tensor, rtol=0.02, atol=2e-3)


def test_two_processes_give_what_one_does_with_as_many_images(
    two: Done, photos: Path, sets: list[str], tmp_path: Path
) -> None:
    run, done, _ = two
    assert done.returncode == 0, done.stderr
    config: Config = resolve(sets=sets, sim=str(photos / "sim"), real=str(photos / "real"))
    begun = Trainer.begin(config, tmp_path / "one")
    start = {direction: generator.network.state_dict() for direction, generator in begun.method.generators.items()}
    first = torch.cat([t.flatten().clone() for state in start.values() for t in state.values() if t.ndim > 1])
    for _ in begun.train():
        pass
    of_one, of_two = lines(tmp_path / "one"), lines(run)
    assert [line.keys() for line in of_two] == [line.keys() for line in of_one]
    for ours, theirs in zip(of_two, of_one, strict=True):
        assert {key: value for key, value in ours.items() if key != "note"} == pytest.approx(
            {key: value for key, value in theirs.items() if key != "note"}, rel=2e-3, abs=1e-4
        )
    trained = weights(tmp_path / "one")
    assert (weights(run) - trained).norm() < 0.02 * (trained - first).norm()


def test_every_image_is_seen_once_before_any_is_seen_again(two: Done, photos: Path) -> None:
    _, _, diaries = two
    seen = [path for diary in diaries for path in diary["seen"] if "sim/" in path]
    assert len(seen) == 6 * 4
    assert {seen.count(path) for path in seen} == {6}  # 4 images of the side to train on
    assert all(len(diary["seen"]) == 6 * 2 * 2 for diary in diaries)


def test_the_first_process_alone_writes_and_tells(two: Done) -> None:
    run, done, diaries = two
    assert diaries[0]["written"]
    assert diaries[1]["written"] == []
    assert done.stdout.count("trained 6 steps") == 1
    assert done.stderr.count("step 6/6") == 1
    assert "distributed_backend" not in done.stderr
    assert sorted(path.name for path in (run / "last").iterdir()) == sorted(
        ["checkpoint.json", "own_0.pt", "own_1.pt", "state.pt", *FILES]
    )


def test_a_killed_process_ends_the_run_which_goes_on_as_if_nothing_had_been(
    two: Done, photos: Path, sets: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done, diaries = torchrun(run, photos, sets, at=(1, 5), number=signal.SIGKILL)
    assert done.returncode != 0
    assert [diary["code"] for diary in diaries] == [1]
    assert "another process of this training has ended" in done.stderr
    assert Checkpoints(run).newest() == (run / "checkpoints" / "step_00000004", [])
    done, _ = torchrun(run, photos, sets, "--resume")
    assert done.returncode == 0, done.stderr
    assert [(run / name).read_bytes() for name in FILES] == [(two[0] / name).read_bytes() for name in FILES]
    assert lines(run) == lines(two[0])


def test_a_signal_to_any_process_stops_all_after_the_same_step(photos: Path, sets: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    done, diaries = torchrun(run, photos, sets, at=(1, 2), number=signal.SIGTERM)
    assert done.returncode != 0
    assert [(diary["code"], diary["steps"]) for diary in diaries] == [(143, 3), (143, 3)]
    assert done.stderr.count("stopped at step 3 of 6 and saved") == 1
    newest, _ = Checkpoints(run).newest()
    assert newest
    assert read_state(newest, "state.pt")["step"] == 3


def test_images_that_cannot_be_shared_out_are_told(photos: Path, sets: list[str], tmp_path: Path) -> None:
    done, _ = torchrun(tmp_path / "run", photos, [*sets, "data.batch_size=3"])
    assert done.returncode != 0
    assert (
        "data.batch_size = 3: 2 processes x train.gradient_accumulation_steps = 1 need a multiple of 2; the next is 4"
        in done.stderr
    )
    assert not (tmp_path / "run").exists()
