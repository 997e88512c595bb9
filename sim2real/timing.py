"""Which of several ways to do the same work is the fastest here, found by doing it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

LEAD: Final = 1.05
"""Least factor by which a less exact way has to be faster."""
_ENOUGH: Final = 1.5  # seconds of timed work after which no further round begins
_ROUNDS: Final = 5


@dataclass(frozen=True, slots=True)
class Choice:
    """The way to take, and how long each one took.

    Attributes:
        name: Name of the way.
        seconds: Name of a way -> least time of a call.
    """

    name: str
    seconds: Mapping[str, float]

    @property
    def told(self) -> str:
        """The choice in words: ``"fp32: 1.62 times as fast as bf16 here"``."""
        least = self.seconds[self.name]
        others = {name: seconds / least for name, seconds in self.seconds.items() if name != self.name}
        ratios = ", ".join(f"{ratio:.2f} times as fast as {name}" for name, ratio in others.items())
        return f"{self.name}: {ratios} here"


def fastest(ways: Mapping[str, Callable[[], object]], clock: Callable[[], float] = time.perf_counter) -> Choice:
    """Do some work in several ways, in turns, and return the fastest way.

    Each way is called once before it is timed, then up to five times, but no round begins after a second and a half.

    Args:
        ways: Name of a way -> function that does the work and returns when it is done. The first way is the most exact
            one: another is chosen only if it is more than 5 % faster.
        clock: Returns the time in seconds.
    """
    for work in ways.values():
        work()
    seconds = dict.fromkeys(ways, float("inf"))
    begin = clock()
    for number in range(_ROUNDS):
        if number and clock() - begin > _ENOUGH:
            break
        for name, work in ways.items():
            began = clock()
            work()
            seconds[name] = min(seconds[name], clock() - began)
    exact = next(iter(ways))
    best = min(seconds, key=lambda name: seconds[name])
    return Choice(best if seconds[best] * LEAD < seconds[exact] else exact, seconds)
