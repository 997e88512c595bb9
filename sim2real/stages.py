"""Work of several stages: how long each took, and what is left of all of them.

Nothing is said that was not measured. A stage that has not begun takes as long a unit as another one whose name begins
with the same word; if there is none that was measured, it is not known what is left in all.
"""

import time
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

_LEAST = 2.0  # seconds that a pace is measured over
_BETWEEN = 1.0  # seconds, at least, between two marks of it
_MARKS = 60


class Left(NamedTuple):
    """What is left of a stage.

    Attributes:
        rate: Units a second, lately; 0 until that can be told.
        own: Seconds that the stage still takes; None until that can be told.
        whole: Seconds that all stages still take; None where that of some is not known.
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
    begin: float | None = None  # when the stage before it ended
    end: float | None = None
    marks: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_MARKS))

    def rate(self, now: float) -> float:
        """Units a second, lately; what came before the first one was done was preparation and does not count."""
        begin, first = self.marks[0] if self.marks else (now, self.done)
        return (self.done - first) / (now - begin) if now - begin >= _LEAST else 0

    def pace(self, now: float) -> float | None:
        """Seconds a unit; None until that can be told."""
        if self.end is not None and self.begin is not None:
            return (self.end - self.begin) / self.total
        rate = self.rate(now)
        return 1 / rate if rate else None


class Stages:
    """Told how far each stage has come; a total of 0 takes a stage back that was announced."""

    def __init__(self) -> None:
        self._ended = time.monotonic()  # the last stage that did
        self._stages: dict[str, _Stage] = {}

    def note(self, name: str, done: int, total: int) -> None:
        """Hear that so many units of a stage are done; 0 announces it."""
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
        """What a stage has taken so far."""
        stage = self._stages.get(name)
        if stage is None or stage.begin is None:
            return 0.0
        return (time.monotonic() if stage.end is None else stage.end) - stage.begin

    def timings(self) -> dict[str, float]:
        """Name of each stage that was begun -> seconds that it took."""
        return {name: self.seconds(name) for name, stage in self._stages.items() if stage.begin is not None}

    def left(self, name: str) -> Left:
        """What is left, seen from a stage that is under way; of others that are, the slowest decides."""
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
