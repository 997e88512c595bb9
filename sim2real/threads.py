"""The number of threads, ordered results from them, and interrupts during waits."""

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

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
