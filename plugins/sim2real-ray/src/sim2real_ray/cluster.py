"""Run the shards of one conversion as tasks of a Ray cluster."""

import logging
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from sim2real import Sim2RealError
from sim2real.conversion import ConversionSummary, ConvertOptions, Progress, convert, is_taken, quiet, survey

if TYPE_CHECKING:
    from ray.actor import ActorHandle

_News = tuple[dict[str, tuple[int, int]], list[str]]
_STAGES = ("converting", "carrying")
_SHARDS_PER_WORKER = 4  # balances the load between fast and slow workers
_LEASE = 300  # seconds after which a network file system has freed the locks of a lost machine


def convert_on_ray(
    source: Path,
    out: Path,
    options: ConvertOptions | None = None,
    progress: Progress = quiet,
    *,
    notify: Callable[[str], None] = lambda _line: None,
    address: str | None = None,
    shards: int | None = None,
    cpus: int | None = None,
    gpus: float | None = None,
    retries: int = 3,
) -> ConversionSummary:
    """Convert a dataset by workers of a Ray cluster, with the same bytes as ``sim2real.conversion.convert``.

    Args:
        source: Folder of the dataset; the paths of source, ``out`` and model must be valid on all machines.
        out: Folder to convert into.
        options: As for ``convert``, except ``shard`` and ``overwrite``.
        progress: Called for the stages ``"converting"`` and ``"carrying"`` about once a second.
        notify: Called with each line that the user should know, once even if several workers report it.
        address: Address of a cluster, or ``"auto"``; None: RAY_ADDRESS, otherwise a new cluster on this machine that
            ends with the conversion. Ignored if this process is already connected.
        shards: Number of shards; None: four times the number of simultaneous workers.
        cpus: CPUs of each worker; None: four, or what the largest machine has.
        gpus: GPUs of each worker; None: one if there are any.
        retries: How often a shard is restarted if its worker is lost.

    Raises:
        Sim2RealError: If the conversion fails; finished files are kept.
    """
    options = options or ConvertOptions()
    source, out = source.absolute(), out.absolute()
    found = survey(source, out, replace(options, shard=(0, 1)))  # report mistakes before a cluster is started
    options = replace(options, model=found.model.absolute())
    frames = sum(job.translate for job in found.jobs)
    begin = time.monotonic()
    with _connected(address):
        cpus, gpus, places = _capacity(cpus, gpus, options.device)
        count = shards or _SHARDS_PER_WORKER * places
        board: Any = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Board).remote(
            {"converting": _sizes(frames, count), "carrying": _sizes(len(found.jobs) - frames, count)}
        )
        # A worker that was interrupted while it imported torch cannot import it again, so none serves twice.
        task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=retries, max_calls=1)(_convert_shard)
        tasks = {task.remote(source, out, options, (index, count), board): index for index in range(count)}
        try:
            summaries = list(_results(tasks, lambda: ray.get(board.read.remote()), progress, notify))
        finally:
            _stop(tasks)
    return replace(
        summaries[0],
        shard=None,
        converted=sum(summary.converted for summary in summaries),
        rejected=dict(sorted(sum((Counter(summary.rejected) for summary in summaries), Counter()).items())),
        resized=sum(summary.resized for summary in summaries),
        edited=sum(summary.edited for summary in summaries),
        carried=sum(summary.carried for summary in summaries),
        skipped=sum(summary.skipped for summary in summaries),
        failed=sorted(failure for summary in summaries for failure in summary.failed),
        left=0,
        bytes=sum(summary.bytes for summary in summaries),
        seconds=time.monotonic() - begin,
        peak_memory=max(summary.peak_memory for summary in summaries),
        warnings=list(dict.fromkeys(warning for summary in summaries for warning in summary.warnings)),
    )


def _convert_shard(
    source: Path, out: Path, options: ConvertOptions, shard: tuple[int, int], board: "ActorHandle[Any]"
) -> ConversionSummary | Sim2RealError:
    """Convert one shard; a user's mistake is returned, because Ray would add its traceback to an exception."""
    reported_at: dict[str, float] = {}

    def progress(stage: str, done: int, total: int, _waits_for: str = "") -> None:
        if done == total or time.monotonic() - reported_at.get(stage, 0) >= 1:
            reported_at[stage] = time.monotonic()
            board.report.remote(shard[0], stage, done, total)

    _wait_for_predecessor(out, shard)
    try:
        summary = convert(source, out, replace(options, shard=shard), progress, notify=board.say.remote)
    except Sim2RealError as error:
        return error
    ray.get([board.report.remote(shard[0], stage, 0, 0) for stage in _STAGES])
    return summary


def _wait_for_predecessor(out: Path, shard: tuple[int, int]) -> None:
    """Wait until the file system has released the lock of a lost worker."""
    end = time.monotonic() + _LEASE
    while is_taken(out, shard) and time.monotonic() < end:
        time.sleep(1)


class _Board:
    """An actor that collects the progress of the workers, by stage, then by shard."""

    def __init__(self, files: dict[str, list[int]]) -> None:
        self._all = files
        self._left = {stage: list(sizes) for stage, sizes in files.items()}
        self._known: set[tuple[int, str]] = set()
        self._said: list[str] = []

    def say(self, line: str) -> None:
        """Record a line for the user; several workers may report the same one."""
        if line not in self._said:
            self._said.append(line)

    def report(self, shard: int, stage: str, done: int, total: int) -> None:
        """Record the progress of a shard: finished files out of those that were left when its worker began."""
        if (shard, stage) not in self._known:
            self._known.add((shard, stage))
            self._all[stage][shard] = total
        self._left[stage][shard] = total - done

    def read(self) -> _News:
        """Return the number of finished files and of all files by stage, and the lines for the user."""
        stages = {stage: (sum(sizes) - sum(self._left[stage]), sum(sizes)) for stage, sizes in self._all.items()}
        return stages, self._said


def _sizes(files: int, count: int) -> list[int]:
    return [len(range(index, files, count)) for index in range(count)]


def _results(
    tasks: dict[Any, int], read: Callable[[], _News], progress: Progress, notify: Callable[[str], None]
) -> Iterator[ConversionSummary]:
    """Yield the summaries of the shards as they end, and remove ended shards from ``tasks``."""
    count, shown, notified = len(tasks), dict[str, tuple[int, int]](), 0
    while tasks:
        time.sleep(0.5)  # not in ray.wait, where a signal changes the exit code
        ended, _ = ray.wait(list(tasks), num_returns=len(tasks), timeout=0)
        stages, lines = read()
        for line in lines[notified:]:
            notify(line)
        notified = len(lines)
        for stage, state in stages.items():
            if state != shown.get(stage) and state[0]:
                shown[stage] = state
                progress(stage, *state)
        for task in ended:
            index = tasks.pop(task)
            try:
                result = ray.get(task)
            except ray.exceptions.RayTaskError:
                raise  # a bug, with its traceback
            except ray.exceptions.RayError as error:
                message = (
                    f"shard {index + 1} of {count} lost its worker repeatedly ({str(error).splitlines()[0]}); "
                    "finished files are kept: run the same command again, with fewer workers if memory is short"
                )
                raise Sim2RealError(message) from error
            if isinstance(result, Sim2RealError):
                raise result
            yield result


def _stop(tasks: dict[Any, int]) -> None:
    """End the workers after they have saved their results."""
    for task in tasks:
        ray.cancel(task)
    if tasks:
        ray.wait(list(tasks), num_returns=len(tasks), timeout=30)


@contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """Connect to a cluster for the duration of the block.

    Raises:
        Sim2RealError: If no cluster is reachable at the address or can be started.
    """
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports its use over the network by default
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise Sim2RealError(
            f"no Ray cluster can be reached or started: {reason}; see --address and `ray status`"
        ) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)  # Ray's handler would change the exit code
    try:
        yield
    finally:
        ray.shutdown()


def _capacity(cpus: int | None, gpus: float | None, device: str) -> tuple[int, float, int]:
    """Return the CPUs and the GPUs of a worker, and the number of workers that fit on the cluster.

    Raises:
        Sim2RealError: If no worker fits.
    """
    nodes = ray.nodes()  # type: ignore[no-untyped-call]  # of Ray
    machines = [(node["Resources"].get("CPU", 0), node["Resources"].get("GPU", 0)) for node in nodes if node["Alive"]]
    if gpus is None:
        gpus = 1 if device != "cpu" and any(theirs for _, theirs in machines) else 0
    fit = [theirs for theirs, others in machines if others >= gpus]
    cpus = cpus or int(min(4, max(fit, default=1))) or 1
    places = sum(int(min(theirs // cpus, others // gpus if gpus else theirs // cpus)) for theirs, others in machines)
    if not places:
        message = (
            f"no machine of this Ray cluster has {cpus} CPUs and {gpus:g} GPUs for a worker; "
            "see --cpus-per-worker and --gpus-per-worker"
        )
        raise Sim2RealError(message)
    return cpus, gpus, places
