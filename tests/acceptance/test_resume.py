"""Trainings that are killed at any time and resumed give the files of an undisturbed training, byte for byte.

A child is forked for each training; SIGKILL ends it before its n-th change of the run folder.
"""

import json
import os
import random
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
import torch

from sim2real.config import Config, resolve
from sim2real.training import Trainer
from tests.commands import Write, metrics

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.symlink", "os.truncate"}
_NEVER = 10**9


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, paint: Write) -> Path:
    root = tmp_path_factory.mktemp("photos")
    paint(root / "sim", 6, seed=1)
    paint(root / "real", 9, seed=2)
    (root / "real" / "0003.png").write_bytes(b"no picture")
    return root


@pytest.fixture(scope="module")
def config(photos: Path, tiny: list[str]) -> Config:
    sets = [
        "train.steps=9", "log.every=2", "checkpoint.every=2", "evaluate.every=3", "sample.every=4", "data.validation=2",
        "data.batch_size=2", "train.gradient_accumulation_steps=2", "image_pool_size=3", "ema_decay=0.9",
        "optim.generator_lr=0.01", "data.cache=true",
        "discriminator.regularization={r1=1, r1_every=4, lecam=0.1, augment=['color', 'cutout'], augment_target=0.6}",
        "schedule={constant=1, decay=1, warmup=3}",
    ]  # fmt: skip
    return resolve(sets=[*tiny, *sets], sim=str(photos / "sim"), real=str(photos / "real"))


def train(config: Config, folder: Path, *, killed_at: int = _NEVER, resume: bool = False) -> int:
    """Train in a child process that is killed before a change of the folder; returns its number of changes."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            _train_until_killed(config, folder, killed_at, writing, resume=resume)
        except BaseException:  # noqa: BLE001  the child must not run other tests
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(writing)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with os.fdopen(reading, "rb") as pipe:
        changes = len(pipe.read())
    assert code == (0 if killed_at == _NEVER or changes < killed_at else -signal.SIGKILL)
    return changes


def _train_until_killed(config: Config, folder: Path, killed_at: int, writing: int, *, resume: bool) -> None:
    changes = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal changes
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (event in _CHANGES or writes) and str(folder) in str(arguments[0]):
            if changes == killed_at:
                os.kill(os.getpid(), signal.SIGKILL)
            changes += 1
            os.write(writing, b".")

    sys.addaudithook(watch)
    for _ in (Trainer.resume if resume else Trainer.begin)(config, folder).train():
        pass


def contents(folder: Path) -> dict[str, Any]:
    """All files of a run without speeds, with states as values, and the targets of its links."""
    return {
        str(path.relative_to(folder)): _content(path) for path in sorted(folder.rglob("*")) if not path.is_dir()
    } | {name: (folder / name).readlink() for name in ("last", "best") if (folder / name).is_symlink()}


def _content(path: Path) -> Any:
    if path.name == "metrics.jsonl":
        return metrics(path.parent)
    if path.name == "checkpoint.json":
        return {key: value for key, value in json.loads(path.read_text()).items() if key != "sha256"}
    if path.suffix == ".pt":
        return _plain(torch.load(path, weights_only=True))
    return path.read_bytes()


def _plain(state: Any) -> Any:
    """A state as comparable values, with tensors as types, shapes and bytes."""
    if isinstance(state, torch.Tensor):
        return str(state.dtype), tuple(state.shape), state.numpy().tobytes()
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    return [_plain(value) for value in state] if isinstance(state, list | tuple) else state


@pytest.fixture(scope="module")
def undisturbed(config: Config, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], int]:
    """Contents of the run of an undisturbed training, and its number of changes."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    changes = train(config, folder)
    return contents(folder), changes


def test_an_undisturbed_run_keeps_the_best_and_the_newest_checkpoint(
    undisturbed: tuple[dict[str, Any], int],
) -> None:
    files, changes = undisturbed
    assert changes > 60
    assert files["last"] == Path("checkpoints/step_00000009")
    best = str(files["best"])
    assert files["sim2real.safetensors"] == files[f"{best}/sim2real.safetensors"]
    assert {"state.pt", "own_0.pt", "checkpoint.json"} <= {Path(name).name for name in files if best in name}
    assert not any("cache" in name or ".tmp-" in name for name in files)


@pytest.mark.parametrize("part", range(8))
def test_a_killed_and_resumed_run_equals_an_undisturbed_one(
    config: Config, tmp_path: Path, undisturbed: tuple[dict[str, Any], int], part: int
) -> None:
    files, changes = undisturbed
    killed_at = int((part + random.Random(part).random()) * changes / 8)
    train(config, tmp_path / "run", killed_at=killed_at)
    resume = (tmp_path / "run" / "config.toml").is_file()
    train(config, tmp_path / "run", resume=resume)
    assert contents(tmp_path / "run") == files


def test_a_run_that_is_killed_repeatedly_equals_an_undisturbed_one(
    config: Config, tmp_path: Path, undisturbed: tuple[dict[str, Any], int]
) -> None:
    files, changes = undisturbed
    dice = random.Random(7)
    for _ in range(4):
        killed_at = dice.randrange(changes // 3, changes)
        resume = (tmp_path / "run" / "config.toml").is_file()
        if train(config, tmp_path / "run", killed_at=killed_at, resume=resume) < killed_at:
            break
    train(config, tmp_path / "run", resume=True)
    assert contents(tmp_path / "run") == files
