"""The choice between ways to do the same work, with injected times."""

from collections.abc import Callable

import pytest

from sim2real.timing import fastest


class Clock:
    """Time passes only in works."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def __call__(self) -> float:
        return self.now

    def work(self, name: str, *seconds: float) -> Callable[[], None]:
        """A work whose calls take these seconds, the last ones again and again."""
        left = list(seconds)

        def run() -> None:
            self.calls.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return run


@pytest.mark.parametrize(
    ("exact", "other", "name"),
    [(1.0, 0.25, "bf16"), (1.0, 1.9, "fp32"), (1.0, 0.96, "fp32"), (1.0, 0.94, "bf16"), (0.001, 0.0005, "bf16")],
)
def test_the_faster_way_wins_by_more_than_five_percent(exact: float, other: float, name: str) -> None:
    clock = Clock()
    choice = fastest({"fp32": clock.work("fp32", exact), "bf16": clock.work("bf16", other)}, clock)
    assert choice.name == name
    assert choice.seconds == pytest.approx({"fp32": exact, "bf16": other})


def test_first_calls_do_not_count_and_disturbed_ones_neither() -> None:
    clock = Clock()
    choice = fastest({"fp32": clock.work("fp32", 9, 0.1), "bf16": clock.work("bf16", 0.01, 3, 0.05)}, clock)
    assert choice.name == "fp32"  # the only timed round of bf16 took 3 seconds, after which no other begins
    clock = Clock()
    choice = fastest({"fp32": clock.work("fp32", 9, 0.1), "bf16": clock.work("bf16", 8, 0.9, 0.05)}, clock)
    assert choice.name == "bf16"


def test_ways_take_turns_and_end_soon() -> None:
    clock = Clock()
    fastest({"a": clock.work("a", 0.01), "b": clock.work("b", 0.01)}, clock)
    assert clock.calls == ["a", "b"] * 6
    clock = Clock()
    fastest({"a": clock.work("a", 4), "b": clock.work("b", 4)}, clock)
    assert clock.calls == ["a", "b"] * 2


def test_the_choice_is_told_with_its_ratio() -> None:
    clock = Clock()
    choice = fastest({"fp32": clock.work("fp32", 1.0), "bf16": clock.work("bf16", 1.62)}, clock)
    assert choice.told == "fp32: 1.62 times as fast as bf16 here"
