"""What limits a conversion: the stage whose threads rest least."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Meters:
    """How much of the time the threads of each stage are at work: where they rest least is the limit.

    What comes before the first batch is translated is left out: a first batch may be compiled for.

    Args:
        translators: How many threads translate.
        codecs: How many threads do all the rest.
    """

    _CODECS = ("decoding", "judging", "encoding and writing")  # the same threads

    def __init__(self, translators: int, codecs: int) -> None:
        self._threads = {"translating": translators, **dict.fromkeys(self._CODECS, codecs)}
        self._lock = threading.Lock()
        self._begin: float | None = None
        self._seconds = dict.fromkeys(self._threads, 0.0)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Measure something that a thread of a stage does."""
        begin = time.monotonic()
        yield
        end = time.monotonic()
        with self._lock:
            if self._begin is not None:
                self._seconds[stage] += end - max(begin, self._begin)
            elif stage == "translating":
                self._begin = end

    def busy(self) -> dict[str, float]:
        """For each stage, the share of the time that its threads have been at work."""
        with self._lock:
            if self._begin is None:
                return {}
            elapsed = max(time.monotonic() - self._begin, 1e-9)
            return {stage: seconds / elapsed / self._threads[stage] for stage, seconds in self._seconds.items()}

    def limit(self) -> str:
        """The stage whose threads rest least; empty before the second batch is translated."""
        busy = self.busy()
        if not busy.get("translating"):
            return ""
        if busy["translating"] > sum(busy[stage] for stage in self._CODECS):
            return "translating"
        return max(self._CODECS, key=busy.__getitem__)
