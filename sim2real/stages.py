"""Timing of work in several stages: the duration of each stage, and the time left.

All estimates are based on measurements. A stage that has not started is assumed to take as long per unit as a measured
stage whose name begins with the same word; if there is none, the total time left is unknown.
"""

import time
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

_LEAST = 2.0  # minimum seconds for measuring a pace
_BETWEEN = 1.0  # minimum seconds between two marks
_MARKS = 60


class Left(NamedTuple):
    """The pace of a stage and the time left.

    Attributes:
        rate: Recent units per second; 0 while unknown.
        own: Seconds left for the stage; None while unknown.
        whole: Seconds left for all stages; None if one of them is unknown.
        is_last: Whether no other stage is left.
    """

    rate: float
    own: float | None
    whole: float | None
    is_last: bool


@dataclass(slots=True)
class _Stage:
    total: int
    done: int = 0
    begin: float | None = None  # when the previous stage ended
    end: float | None = None
    marks: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_MARKS))

    def rate(self, now: float) -> float:
        """Return the recent units per second; the time before the first mark is preparation and does not count."""
        begin, first = self.marks[0] if self.marks else (now, self.done)
        return (self.done - first) / (now - begin) if now - begin >= _LEAST else 0

    def pace(self, now: float) -> float | None:
        """Return the seconds per unit; None while unknown."""
        if self.end is not None and self.begin is not None:
            return (self.end - self.begin) / self.total
        rate = self.rate(now)
        return 1 / rate if rate else None


class Stages:
    """The progress of all stages."""

    def __init__(self) -> None:
        self._ended = time.monotonic()  # when the last finished stage ended
        self._stages: dict[str, _Stage] = {}

    def note(self, name: str, done: int, total: int) -> None:
        """Record the finished units of a stage; 0 announces a stage, and a total of 0 removes it."""
        now = time.monotonic()
        if not total:
            self._stages.pop(name, None)
            return
        stage = self._stages.setdefault(name, _Stage(total))
        stage.done, stage.total = done, total
        if done:
            stage.begin = self._ended if stage.begin is None else stage.begin
            if not stage.marks or now - stage.marks[-1][0] >= _BETWEEN:
                stage.marks.append((now, done))
            if done >= total and stage.end is None:
                stage.end = self._ended = now

    def seconds(self, name: str) -> float:
        """Return the seconds that a stage has taken so far."""
        stage = self._stages.get(name)
        if stage is None or stage.begin is None:
            return 0.0
        return (time.monotonic() if stage.end is None else stage.end) - stage.begin

    def timings(self) -> dict[str, float]:
        """Return the seconds of each stage that has started, by name."""
        return {name: self.seconds(name) for name, stage in self._stages.items() if stage.begin is not None}

    def left(self, name: str) -> Left:
        """Return what is left for a running stage and in total; the slowest running stage determines the total."""
        now = time.monotonic()
        lefts = {each: self._left(each, now) for each, stage in self._stages.items() if stage.end is None}
        own = lefts.get(name)
        known = {each: left for each, left in lefts.items() if left is not None}
        whole = None
        if len(known) == len(lefts):
            begun = [left for each, left in known.items() if self._stages[each].begin is not None]
            whole = max(begun, default=0.0) + sum(known.values()) - sum(begun)
        return Left(self._stages[name].rate(now), own, whole, not lefts.keys() - {name})

    def _left(self, name: str, now: float) -> float | None:
        stage = self._stages[name]
        pace = stage.pace(now)
        if pace is None:
            alike = [other for each, other in self._stages.items() if _kind(each) == _kind(name)]
            pace = max((known for other in alike if (known := other.pace(now)) is not None), default=None)
        return None if pace is None else (stage.total - stage.done) * pace


def _kind(name: str) -> str:
    return name.partition(" ")[0]
