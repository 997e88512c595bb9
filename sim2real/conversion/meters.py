"""Measurement of the stage that limits a conversion: the one whose threads are idle least."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Meters:
    """Meters of the share of time in which the threads of each stage are busy.

    The time before the first batch is translated is ignored, since the engine may be compiled then.

    Args:
        translators: Number of threads that translate.
        codecs: Number of threads that do everything else.
    """

    _CODECS = ("decoding", "judging", "encoding and writing")  # done by the same threads

    def __init__(self, translators: int, codecs: int) -> None:
        self._threads = {"translating": translators, **dict.fromkeys(self._CODECS, codecs)}
        self._lock = threading.Lock()
        self._begin: float | None = None
        self._seconds = dict.fromkeys(self._threads, 0.0)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Measure the time that a thread spends on a stage."""
        begin = time.monotonic()
        yield
        end = time.monotonic()
        with self._lock:
            if self._begin is not None:
                self._seconds[stage] += end - max(begin, self._begin)
            elif stage == "translating":
                self._begin = end

    def busy(self) -> dict[str, float]:
        """Return the share of time in which the threads of each stage have been busy."""
        with self._lock:
            if self._begin is None:
                return {}
            elapsed = max(time.monotonic() - self._begin, 1e-9)
            return {stage: seconds / elapsed / self._threads[stage] for stage, seconds in self._seconds.items()}

    def limit(self) -> str:
        """Return the stage whose threads are idle least; empty before the second batch is translated."""
        busy = self.busy()
        if not busy.get("translating"):
            return ""
        if busy["translating"] > sum(busy[stage] for stage in self._CODECS):
            return "translating"
        return max(self._CODECS, key=busy.__getitem__)
