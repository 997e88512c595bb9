"""Waiting for threads."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sim2real.threads import in_order, true_interrupts


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
