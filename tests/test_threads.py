"""Waiting for threads."""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from sim2real import threads
from sim2real.threads import InBatches, in_order, limit_threads, true_interrupts, usable_cores


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "250000 100000"}, 3),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.max": "6400000 100000"}, None),  # more than there are
        ({"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({}, None),
    ],
)
def test_a_container_limits_the_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], cores: int | None
) -> None:
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(f"{text}\n")
    monkeypatch.setattr(threads, "_GROUPS", tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(12)), raising=False)
    assert usable_cores() == (cores or 12)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # so that it is restored
    monkeypatch.delenv("OMP_NUM_THREADS")
    limit_threads()
    assert os.environ.get("OMP_NUM_THREADS") == (str(cores) if cores else None)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")  # set by the user
    limit_threads()
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_results_come_in_order() -> None:
    gates = [threading.Event() for _ in range(3)]
    gates[2].set()

    def work(number: int) -> int:
        gates[number].wait(10)
        if number:
            gates[number - 1].set()
        return number

    assert list(in_order(work, range(3), 3)) == [0, 1, 2]


@contextmanager
def hit(interrupt: BaseException) -> Iterator[None]:
    """What a Condition does that is hit between two steps: its lock is not held when it is left."""
    condition = threading.Condition()
    with condition:
        condition.release()
        yield
        raise interrupt


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt("stop"), SystemExit(143)])
def test_an_interrupt_that_hits_a_condition_stays_one(interrupt: BaseException) -> None:
    with pytest.raises(type(interrupt)) as raised, true_interrupts(), hit(interrupt):
        pass
    assert raised.value is interrupt


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="un-acquired"), true_interrupts(), hit(ValueError("else")):
        pass
    with pytest.raises(RuntimeError, match="mine"), true_interrupts():
        raise RuntimeError("mine")


def test_threads_share_batches() -> None:
    batches: list[list[int]] = []
    gathered = threading.Event()

    def work(items: list[int]) -> list[int]:
        batches.append(items)
        assert len(batches) > 1 or gathered.wait(10)
        if 7 in items:
            raise ValueError("seven")
        return [item**2 for item in items]

    square = InBatches(work)
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(square, 0)
        while not batches:
            time.sleep(0.001)
        others = [pool.submit(square, number) for number in range(1, 6)]
        while len(square._waiting) < 5:
            time.sleep(0.001)
        gathered.set()
        assert [future.result() for future in (first, *others)] == [0, 1, 4, 9, 16, 25]
    assert [sorted(batch) for batch in batches] == [[0], [1, 2, 3, 4, 5]]
    with pytest.raises(ValueError, match="seven"):
        square(7)
    assert square(8) == 64
