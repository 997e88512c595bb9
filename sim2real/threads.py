"""The number of threads, ordered results from them, shared batches, and interrupts during waits."""

import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Generic, TypeVar

_GROUPS: Final = Path("/sys/fs/cgroup")

T = TypeVar("T")
R = TypeVar("R")


def usable_cores() -> int:
    """Return the number of processors that this process may use, within the limits of its container."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(own, *(max(1, math.ceil(share)) for share in _container_shares()), own)


def limit_threads() -> None:
    """Make libraries that are imported later use no more threads than the container has processors.

    They count the processors of the machine, and too many threads wait for each other. A number that the user has set
    is kept, and where the container has no limit, the libraries decide.
    """
    if shares := _container_shares():
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, math.ceil(min(shares)))))


def _container_shares() -> list[float]:
    """Return the limits of the control groups of this process, in processors; fewer than this machine has."""
    found = []
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, period = " ".join((_GROUPS / file).read_text() for file in files).split()
            found.append(int(quota) / int(period))
        except (OSError, ValueError, ZeroDivisionError):  # no such group, or one without a limit
            continue
    return [share for share in found if 0 < share < (os.cpu_count() or 1)]


def in_order(work: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[R]:
    """Yield results in the order of the items, computed ahead in threads; at most four per thread wait."""
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= 4 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


class InBatches(Generic[T, R]):
    """A function of one item that does the items of several threads at once; further ones gather meanwhile.

    Args:
        work: Returns the results for one or more items, in their order; only called by one thread at a time.
    """

    def __init__(self, work: Callable[[list[T]], list[R]]) -> None:
        self._work = work
        self._turn = threading.Lock()
        self._lock = threading.Lock()  # guards the attribute below
        self._waiting: list[tuple[T, Future[R]]] = []

    def __call__(self, item: T) -> R:
        """Return the result for an item; an error of ``work`` is raised for each item of its batch."""
        future: Future[R] = Future()
        with self._lock:
            self._waiting.append((item, future))
        with self._turn:
            if not future.done():
                self._do()
        return future.result()

    def _do(self) -> None:
        with self._lock:
            batch, self._waiting = self._waiting, []
        try:
            results = self._work([item for item, _ in batch])
        except BaseException as error:  # noqa: BLE001  raised by each thread
            for _, future in batch:
                future.set_exception(error)
        else:
            for (_, future), result in zip(batch, results, strict=True):
                future.set_result(result)


@contextmanager
def true_interrupts() -> Iterator[None]:
    """Raise the original interrupt if it occurred inside a wait for another thread.

    ``threading.Condition``, which futures and queues wait on, may then raise RuntimeError because its lock is not held.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error.__context__, KeyboardInterrupt | SystemExit):
            raise error.__context__ from None
        raise
