"""Commands that are killed and restarted at once: none is refused, and all give the result of an undisturbed one."""

import os
import random
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.forkserver import Command, ForkServer, survivors
from tests.commands import Write, digests, flags, generators, metrics

if TYPE_CHECKING:
    import psutil


pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
KILLS = [3, pytest.param(20, marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def work(make_work: Write, paint: Write) -> Path:
    """A folder with images ``sim`` and ``real``, a dataset ``in`` and a run under ``runs``."""
    folder = make_work(12, size=(96, 64))
    paint(folder / "sim", 8, seed=1)
    paint(folder / "real", 9, seed=2)
    return folder


@pytest.fixture(scope="module")
def training(tiny: list[str]) -> list[object]:
    """A training with worker processes and a cache."""
    more = ["train.steps=30", "data.workers=2", "data.cache=true", "evaluate.every=10", "data.validation=2"]
    return ["train", "sim", "real", *flags([*tiny, *more])]


def kill_repeatedly(
    server: ForkServer, again: Callable[[], list[object]], begun: Callable[[Command], bool], kills: int
) -> int:
    """Kill a command at a random time after it has begun its work, restart it at once, and let the last one end.

    Args:
        server: Starts the commands.
        again: Gives the arguments of the next command.
        begun: Whether a command has begun its work; called until it has.
        kills: Maximum number of kills.

    Returns:
        The number of kills; a command may end before it is killed.
    """
    chance, killed = random.Random(kills), 0
    orphans: set[psutil.Process] = set()
    while killed < kills:
        command = server.start(*again())
        while command.running() and not begun(command):
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.2))
        orphans.update(command.children())
        command.signal(signal.SIGKILL)
        code, output = command.wait()
        assert code in {0, -signal.SIGKILL}, output
        if not code:
            break
        killed += 1
    code, output = server.start(*again()).wait()
    assert code == 0, output
    assert not survivors(orphans, 1)
    return killed


@pytest.mark.parametrize("kills", KILLS)
def test_a_training_with_worker_processes_is_killed_and_resumed(
    work: Path, server: ForkServer, training: list[object], kills: int
) -> None:
    run, undisturbed = (work / f"runs/{name} {kills}" for name in ("killed", "undisturbed"))
    code, output = server.start(*training, "--run", undisturbed).wait()
    assert code == 0, output

    def again() -> list[object]:
        return [*training, "--run", run, *(["--resume"] if (run / "config.toml").is_file() else [])]

    assert kill_repeatedly(server, again, lambda command: len(command.children()) == 2, kills) > 1
    assert generators(run) == generators(undisturbed)
    assert metrics(run) == metrics(undisturbed)


@pytest.mark.parametrize("kills", KILLS)
@pytest.mark.parametrize("shards", [1, 2])
def test_a_conversion_in_one_or_two_shards_is_killed_and_continued(
    work: Path, server: ForkServer, shards: int, kills: int
) -> None:
    out, undisturbed = (work / f"{name} {shards} {kills}" for name in ("killed", "undisturbed"))
    command = ["convert", "in", out, "--device", "cpu", "--precision", "fp32", "--workers", 1]
    code, output = server.convert(undisturbed).wait()
    assert code == 0, output
    wanted = [2]

    def begun(_command: Command) -> bool:
        """Whether it has written more files than the previous command."""
        count = sum(len(names) for _, _, names in os.walk(out))
        if count < wanted[0]:
            return False
        wanted[0] = count + 1
        return True

    killed = 0
    for shard in range(1, shards + 1):
        part = partial(list[object], [*command, "--shard", f"{shard}/{shards}"])
        killed += kill_repeatedly(server, part, begun, kills)
    assert killed > 1
    assert digests(out) == digests(undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_batch_is_killed_and_continued(work: Path, server: ForkServer, training: list[object]) -> None:
    names = ["batch", "undisturbed batch"]
    command, undisturbed = (
        ["batch", "sim", "real", f"out of {name}", *training[3:], "--run", f"runs/{name}"] for name in names
    )
    code, output = server.start(*undisturbed).wait()
    assert code == 0, output
    assert kill_repeatedly(server, lambda: command, lambda command: command.output() != "", 20) > 1
    trained, converted = ([work / folder.format(name) for name in names] for folder in ("runs/{}", "out of {}"))
    assert generators(trained[0]) == generators(trained[1])
    assert digests(converted[0]).keys() == digests(converted[1]).keys()
