"""Trainings in two processes of torchrun, on the CPU."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sim2real.config import Config, resolve
from sim2real.training import Trainer
from sim2real.training.checkpoints import Checkpoints, read_state
from tests.commands import GENERATORS, environment, generators, metrics, torchrun, training

pytestmark = pytest.mark.usefixtures("one_thread")
DRIVER = """
import json, os, sys
from pathlib import Path

import torch

import sim2real.training.data as data
from sim2real.cli import main
from sim2real.methods.cyclegan import CycleGAN

torch.set_num_threads(1)
rank, order = int(os.environ["RANK"]), json.loads(os.environ["ORDER"])
record = {"seen": [], "written": [], "steps": 0, "code": None}
read, step = data.read_scaled, CycleGAN.step


def watched_read(path, *args):
    record["seen"].append(str(path))
    return read(path, *args)


def watched_step(self, batch):
    if [rank, record["steps"]] == order["at"]:
        os.kill(os.getpid(), order["signal"])
    record["steps"] += 1
    return step(self, batch)


def watch(event, arguments):
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if (writes or event in ("os.mkdir", "os.rename", "os.remove")) and order["run"] in str(arguments[0]):
        record["written"].append(str(arguments[0]))


data.read_scaled, CycleGAN.step = watched_read, watched_step
sys.addaudithook(watch)
try:
    main()
    record["code"] = 0
except SystemExit as ended:
    record["code"] = ended.code or 0
    raise
finally:
    Path(os.environ["RECORDS"], f"{rank}.json").write_text(json.dumps(record))
"""


@pytest.fixture(scope="module")
def sets(tiny: list[str]) -> list[str]:
    return [
        *tiny, "data.batch_size=4", "image_pool_size=0", "train.steps=6", "log.every=1", "checkpoint.every=2",
        "evaluate.every=3", "data.validation=2", "optim.generator_lr=0.001", "discriminator.name=patch",
        "losses.identity=1", "generator.name=encoder-decoder", "generator.options={width=4, blocks=1, norm='instance'}",
        "discriminator.options={width=4, norm='instance'}",
    ]  # fmt: skip


def train(
    run: Path, photos: Path, sets: list[str], *options: str, at: tuple[int, int] = (-1, -1), number: int = 0
) -> tuple[subprocess.CompletedProcess[str], list[dict[str, Any]]]:
    """Run ``sim2real train`` in two processes and return their records; one may send itself a signal before a step."""
    records = run.with_name(f"{run.name} records")
    records.mkdir(exist_ok=True)
    for record in records.iterdir():
        record.unlink()
    driver = records.with_name("driver.py")
    driver.write_text(DRIVER)
    order = {"run": str(run) + "/", "at": at, "signal": number}
    command = [sys.executable, *torchrun(2), "--", driver, *training(photos, sets, "--run", run, *options)]
    variables = environment(ORDER=json.dumps(order), RECORDS=str(records))
    done = subprocess.run([*map(str, command)], env=variables, capture_output=True, text=True, timeout=200)
    return done, [json.loads(path.read_text()) for path in sorted(records.iterdir())]


def weights(folder: Path) -> torch.Tensor:
    """Weights of convolutions, without biases: before a norm their gradients are noise, which Adam scales up."""
    tensors = [tensor for name in GENERATORS for tensor in load_file(folder / name).values() if tensor.ndim > 1]
    return torch.cat([tensor.flatten() for tensor in tensors])


Done = tuple[Path, subprocess.CompletedProcess[str], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, photos: Path, sets: list[str]) -> Done:
    """An undisturbed training in two processes."""
    run = tmp_path_factory.mktemp("two") / "run"
    return run, *train(run, photos, sets)


def test_two_processes_train_cut_like_one(photos: Path, sets: list[str], tmp_path: Path) -> None:
    more = [*sets, "method.name=cut", "losses.cycle=0", "losses.identity=0", "method.options.flip_equivariance=true"]
    done, _ = train(tmp_path / "two", photos, more)
    assert done.returncode == 0, done.stderr
    config = resolve(sets=more, sim=str(photos / "sim"), real=str(photos / "real"))
    for _ in Trainer.begin(config, tmp_path / "one").train():
        pass
    of_one, of_two = (
        [
            [line[name] for name in ("nce", "nce_identity", "D_real")]
            for line in metrics(tmp_path / run)
            if "nce" in line
        ]
        for run in ("one", "two")
    )
    assert len(of_one) == 6
    for one, other in zip(of_one, of_two, strict=True):
        assert other == pytest.approx(one, rel=0.02)
    ours, theirs = (load_file(tmp_path / name / GENERATORS[0]) for name in ("two", "one"))
    for name, tensor in theirs.items():
        if tensor.ndim > 1:
            torch.testing.assert_close(ours[name], tensor, rtol=0.02, atol=2e-3)


def test_two_processes_give_the_result_of_one_with_the_same_batch(
    two: Done, photos: Path, sets: list[str], tmp_path: Path
) -> None:
    run, done, _ = two
    assert done.returncode == 0, done.stderr
    config: Config = resolve(sets=sets, sim=str(photos / "sim"), real=str(photos / "real"))
    trainer = Trainer.begin(config, tmp_path / "one")
    start = {direction: generator.network.state_dict() for direction, generator in trainer.method.generators.items()}
    first = torch.cat([t.flatten().clone() for state in start.values() for t in state.values() if t.ndim > 1])
    for _ in trainer.train():
        pass
    of_one, of_two = metrics(tmp_path / "one"), metrics(run)
    assert [line.keys() for line in of_two] == [line.keys() for line in of_one]
    for ours, theirs in zip(of_two, of_one, strict=True):
        assert {key: value for key, value in ours.items() if key != "note"} == pytest.approx(
            {key: value for key, value in theirs.items() if key != "note"}, rel=2e-3, abs=1e-4
        )
    trained = weights(tmp_path / "one")
    assert (weights(run) - trained).norm() < 0.02 * (trained - first).norm()


def test_two_processes_together_read_each_image_once_per_epoch(two: Done, photos: Path) -> None:
    _, _, records = two
    seen = [path for record in records for path in record["seen"] if "sim/" in path]
    assert len(seen) == 6 * 4
    assert {seen.count(path) for path in seen} == {6}  # 4 images of the side to train on
    assert all(len(record["seen"]) == 6 * 2 * 2 for record in records)


def test_only_the_first_process_writes_and_prints(two: Done) -> None:
    run, done, records = two
    assert records[0]["written"]
    assert records[1]["written"] == []
    assert done.stdout.count("trained 6 steps") == 1
    assert done.stderr.count("step 6/6") == 1
    assert "distributed_backend" not in done.stderr
    assert sorted(path.name for path in (run / "last").iterdir()) == sorted(
        ["checkpoint.json", "own_0.pt", "own_1.pt", "state.pt", *GENERATORS]
    )


def test_a_killed_process_ends_the_run_which_resumes_to_the_same_result(
    two: Done, photos: Path, sets: list[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done, records = train(run, photos, sets, at=(1, 5), number=signal.SIGKILL)
    assert done.returncode != 0
    assert [record["code"] for record in records] == [1]
    assert "another process of this training has ended" in done.stderr
    assert Checkpoints(run).newest() == (run / "checkpoints" / "step_00000004", [])
    done, _ = train(run, photos, sets, "--resume")
    assert done.returncode == 0, done.stderr
    assert generators(run) == generators(two[0])
    assert metrics(run) == metrics(two[0])


def test_a_signal_to_any_process_stops_all_after_the_same_step(photos: Path, sets: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    done, records = train(run, photos, sets, at=(1, 2), number=signal.SIGTERM)
    assert done.returncode != 0
    assert [(record["code"], record["steps"]) for record in records] == [(143, 3), (143, 3)]
    assert done.stderr.count("stopped at step 3 of 6 and saved") == 1
    newest, _ = Checkpoints(run).newest()
    assert newest
    assert read_state(newest, "state.pt")["step"] == 3


def test_a_batch_size_that_the_processes_cannot_share_is_refused(photos: Path, sets: list[str], tmp_path: Path) -> None:
    done, _ = train(tmp_path / "run", photos, [*sets, "data.batch_size=3"])
    assert done.returncode != 0
    assert (
        "data.batch_size = 3: 2 processes x train.gradient_accumulation_steps = 1 need a multiple of 2; the next is 4"
        in done.stderr
    )
    assert not (tmp_path / "run").exists()
