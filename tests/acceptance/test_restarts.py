"""Commands that are killed and begun again at once: none is refused, and all end as if nothing had disturbed them."""

import json
import os
import random
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.nursery import Command, Nursery, digests, survivors

if TYPE_CHECKING:
    import psutil

Paint = Callable[..., Path]
Write = Callable[..., Path]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
KILLS = [3, pytest.param(20, marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, paint: Paint, write_vkitti: Write, write_run: Write) -> Path:
    """A folder with images ``sim`` and ``real``, a dataset ``in`` and a run under ``runs``."""
    folder = tmp_path_factory.mktemp("work")
    paint(folder / "sim", 8, seed=1)
    paint(folder / "real", 9, seed=2)
    write_vkitti(folder / "in", 12, size=(96, 64))
    write_run(folder / "runs/town")
    return folder


@pytest.fixture(scope="module")
def training(tiny: list[str]) -> list[object]:
    """A training with worker processes and a cache."""
    more = ["train.steps=30", "data.workers=2", "data.cache=true", "evaluate.every=10", "data.validation=2"]
    return ["train", "sim", "real", *(word for text in [*tiny, *more] for word in ("--set", text))]


def kill_again_and_again(
    nursery: Nursery, again: Callable[[], list[object]], begun: Callable[[Command], bool], kills: int
) -> int:
    """Kill a command at some moment after it has begun its work, and begin it once more at once; at last let it end.

    How often that was is returned: it may end before it is killed.

    Args:
        nursery: Where it is begun.
        again: The arguments of the command now.
        begun: Whether it is at work, asked until it is.
        kills: How often it is killed at work.
    """
    chance, killed = random.Random(kills), 0
    orphans: set[psutil.Process] = set()
    while killed < kills:
        command = nursery.begin(*again())
        while command.running() and not begun(command):
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.2))
        orphans.update(command.children())
        command.signal(signal.SIGKILL)
        code, said = command.wait()
        assert code in {0, -signal.SIGKILL}, said
        if not code:
            break
        killed += 1
    code, said = nursery.begin(*again()).wait()
    assert code == 0, said
    assert not survivors(orphans, 1)
    return killed


@pytest.mark.parametrize("kills", KILLS)
def test_a_training_with_workers(work: Path, nursery: Nursery, training: list[object], kills: int) -> None:
    run, undisturbed = (work / f"runs/{name} {kills}" for name in ("killed", "undisturbed"))
    code, said = nursery.begin(*training, "--run", undisturbed).wait()
    assert code == 0, said

    def again() -> list[object]:
        return [*training, "--run", run, *(["--resume"] if (run / "config.toml").is_file() else [])]

    assert kill_again_and_again(nursery, again, lambda command: len(command.children()) == 2, kills) > 1
    assert generators(run) == generators(undisturbed)
    assert losses(run) == losses(undisturbed)


@pytest.mark.parametrize("kills", KILLS)
@pytest.mark.parametrize("shards", [1, 2])
def test_a_conversion_alone_or_one_of_two(work: Path, nursery: Nursery, shards: int, kills: int) -> None:
    out, undisturbed = (work / f"{name} {shards} {kills}" for name in ("killed", "undisturbed"))
    command = ["convert", "in", out, "--device", "cpu", "--precision", "fp32", "--workers", 1]
    code, said = nursery.convert(undisturbed).wait()
    assert code == 0, said
    wanted = [2]

    def begun(_command: Command) -> bool:
        """Whether it has written more files than when it was killed before."""
        count = sum(len(names) for _, _, names in os.walk(out))
        if count < wanted[0]:
            return False
        wanted[0] = count + 1
        return True

    killed = 0
    for shard in range(1, shards + 1):
        part = partial(list[object], [*command, "--shard", f"{shard}/{shards}"])
        killed += kill_again_and_again(nursery, part, begun, kills)
    assert killed > 1
    assert digests(out) == digests(undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_batch(work: Path, nursery: Nursery, training: list[object]) -> None:
    names = ["batch", "undisturbed batch"]
    command, undisturbed = (
        ["batch", "sim", "real", f"out of {name}", *training[3:], "--run", f"runs/{name}"] for name in names
    )
    code, said = nursery.begin(*undisturbed).wait()
    assert code == 0, said
    assert kill_again_and_again(nursery, lambda: command, lambda command: command.said() != "", 20) > 1
    trained, converted = ([work / folder.format(name) for name in names] for folder in ("runs/{}", "out of {}"))
    assert generators(trained[0]) == generators(trained[1])
    assert digests(converted[0]).keys() == digests(converted[1]).keys()


def generators(run: Path) -> dict[str, Any]:
    """The weights of the generators of a run."""
    return {path.name: path.read_bytes() for path in run.glob("*.safetensors")}


def losses(run: Path) -> list[dict[str, Any]]:
    """What a training measured, but for its speed."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{**line, "images_per_second": None} for line in lines]
