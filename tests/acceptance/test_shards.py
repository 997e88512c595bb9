"""Several processes share one conversion, started by torchrun, srun or a SLURM array."""

import fcntl
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from sim2real.conversion import verify
from tests.commands import ROOT, Cli, Write, digests, json_lines, start, succeed, torchrun

Start = Callable[..., "subprocess.Popen[str]"]

FRAMES = 60


def srun(index: int, count: int) -> dict[str, str]:
    """Environment variables that srun sets for a task."""
    return {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": str(count), "SLURM_PROCID": str(index), "SLURM_LOCALID": "0"}


def array(index: int, count: int) -> dict[str, str]:
    """Environment variables of a task of ``sbatch --array=10-...:10``, which is a batch script too."""
    numbers = {"ID": 10 + 10 * index, "MIN": 10, "MAX": 10 * count, "STEP": 10, "COUNT": count}
    batch = {"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_LOCALID": "0"}
    return batch | {f"SLURM_ARRAY_TASK_{name}": str(number) for name, number in numbers.items()}


@pytest.fixture(scope="module")
def work(make_work: Write) -> Path:
    return make_work(FRAMES // 2, size=(160, 96))


@pytest.fixture(scope="module")
def alone(work: Path, cli: Cli) -> dict[str, str]:
    """The conversion by one process."""
    succeed(cli("convert", "in", "alone", "--device", "cpu", cwd=work))
    return digests(work / "alone")


@pytest.fixture
def convert(work: Path) -> Iterator[Start]:
    """Start a conversion of ``in`` and kill it at the end of the test: ``convert(out, *options, env=, launcher=)``."""
    processes = []

    def begin(out: Path, *options: object, **more: Any) -> "subprocess.Popen[str]":
        args = ("convert", "in", out, "--device", "cpu", *options)
        process = start(*args, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def output_of(process: "subprocess.Popen[str]", code: int = 0) -> str:
    """Wait for the end of a process, which must have this exit code; returns its output."""
    output, errors = process.communicate(timeout=200)
    assert process.returncode == code, errors
    assert f'File "{ROOT / "sim2real"}' not in errors  # torchrun prints a traceback of its own
    return output + errors


RANKS = (*torchrun(2), "-m", "--")


def wait_for_files(process: "subprocess.Popen[str]", out: Path, count: int) -> None:
    """Wait until ``out`` has ``count`` files or the process has ended."""
    while process.poll() is None and sum(len(names) for _, _, names in os.walk(out)) < count:
        time.sleep(0.001)


def wait_for_locks(process: "subprocess.Popen[str]", out: Path, count: int) -> None:
    """Wait until ``count`` processes hold the lock of the conversion or this one has ended."""
    while process.poll() is None:
        if len(list(out.glob(".sim2real/manifest.*-of-*.jsonl"))) == count:
            with (out / ".sim2real/lock").open("ab") as lock, suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
        time.sleep(0.001)


@contextmanager
def stopped(process: "subprocess.Popen[str]") -> Iterator[None]:
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def test_processes_of_torchrun_share_a_conversion(work: Path, alone: dict[str, str], convert: Start, cli: Cli) -> None:
    out = work / "torchrun"
    output = output_of(convert(out, launcher=RANKS))
    assert "shard 1 of 2 (torchrun): this process converts one file in 2" in output
    for shard in (1, 2):
        assert f"shard {shard} of 2: {FRAMES // 2} frames converted" in output
    assert output.count(f"converted dataset: {out}") >= 1
    assert digests(out) == alone


@pytest.mark.slow
def test_a_rerun_completes_a_conversion_after_a_process_of_torchrun_was_killed(
    work: Path, alone: dict[str, str], convert: Start
) -> None:
    out, chance = work / "killed", random.Random()
    group = convert(out, launcher=RANKS)
    wait_for_files(group, out, chance.randrange(5, len(alone) - 20))
    children = Path(f"/proc/{group.pid}/task/{group.pid}/children").read_text().split()
    ranks = [int(child) for child in children if "sim2real" in Path(f"/proc/{child}/cmdline").read_text()]
    os.kill(chance.choice(ranks), signal.SIGKILL)
    output_of(group, 1)
    for name, digest in digests(out).items():
        assert name.startswith(".sim2real/") or ".tmp-" in name or digest == alone[name]
    assert "shard 3 of 3" in output_of(convert(out, launcher=(*torchrun(3), "-m", "--")))
    assert digests(out) == alone


def test_tasks_of_srun_run_at_once_and_a_group_of_another_size_continues(
    work: Path, alone: dict[str, str], convert: Start
) -> None:
    out = work / "srun"
    tasks = [convert(out, env=srun(index, 3)) for index in range(3)]
    wait_for_files(tasks[0], out, 40)
    tasks[1].kill()
    outputs = [output_of(task, -signal.SIGKILL if task is tasks[1] else 0) for task in tasks]
    assert any("not complete yet: " in output and "belong to other shards" in output for output in outputs)
    assert not any("next: sim2real verify" in output for output in outputs)
    outputs = [output_of(task) for task in [convert(out, env=srun(index, 4)) for index in range(4)]]
    assert any("next: sim2real verify" in output for output in outputs)
    assert digests(out) == alone


def test_tasks_of_an_array_run_one_after_the_other(work: Path, alone: dict[str, str], convert: Start) -> None:
    out = work / "array"
    others = len(alone) - 3 - FRAMES  # without lock, record and manifest
    left = FRAMES + others
    for index in range(3):
        output = output_of(convert(out, env=array(index, 3)))
        assert f"shard {index + 1} of 3 (SLURM array 10-30): " in output
        left -= len(range(index, FRAMES, 3)) + len(range(index, others, 3))
        assert (f"not complete yet: {left} of {FRAMES + others} files of {out}" in output) == (index < 2)
        assert verify(out, work / "in").ok == (index == 2)
    assert digests(out) == alone


def test_a_shard_that_starts_late_or_again_does_not_disturb_a_running_one(
    work: Path, alone: dict[str, str], convert: Start
) -> None:
    out = work / "late"
    first = convert(out, "--shard", "1/2")
    wait_for_files(first, out, 20)
    with stopped(first):
        before = digests(out)
        second = convert(out, "--shard", "2/2")
        wait_for_files(second, out, len(before) + 20)
        second.kill()
        output_of(second, -signal.SIGKILL)
        assert "not complete yet: other processes are still working" in output_of(convert(out, "--shard", "2/2"))
        assert before.items() <= digests(out).items()  # including temporary files of the running process
    output = output_of(first)
    assert f"converted dataset: {out}" in output
    assert digests(out) == alone


@pytest.mark.slow
def test_a_second_group_is_refused_while_the_first_converts(work: Path, alone: dict[str, str], convert: Start) -> None:
    out = work / "groups"
    group = []
    with ExitStack() as stopped_group:
        for index in range(2):
            group.append(convert(out, env=srun(index, 2)))
            wait_for_locks(group[index], out, index + 1)
            stopped_group.enter_context(stopped(group[index]))
        before = digests(out)
        others = [convert(out, env=env) for env in (srun(0, 2), srun(2, 3), {})]
        for other in others:
            assert f"error: {out}: another conversion is writing here (" in output_of(other, 1)
        assert digests(out) == before
    for task in group:
        output_of(task)
    assert digests(out) == alone


def test_a_batch_script_converts_everything(work: Path, alone: dict[str, str], convert: Start) -> None:
    batch = {name: value for name, value in array(0, 1).items() if "ARRAY" not in name}
    output = output_of(convert(work / "batch", env={**batch, "RANK": "1", "WORLD_SIZE": "2"}))
    assert "shard" not in output
    assert digests(work / "batch") == alone


def test_a_terminated_shard_saves_what_it_has_converted(
    work: Path, alone: dict[str, str], convert: Start, cli: Cli
) -> None:
    out = work / "terminated"
    task = convert(out, "--shard", "2/2")
    wait_for_files(task, out, 25)
    task.send_signal(signal.SIGTERM)
    output_of(task, 143)
    lines = json_lines(out / ".sim2real/manifest.2-of-2.jsonl")
    assert {line["path"] for line in lines} == {name for name in digests(out) if not name.startswith(".sim2real/")}
    planned = cli("convert", "in", out, "--plan", cwd=work).stdout
    assert [str(len(lines)), "files", "already", "done"] in [line.split() for line in planned.splitlines()]
    assert f", {len(lines)} done before," in output_of(convert(out))
    assert digests(out) == alone


def test_a_shard_reports_its_own_failed_file(work: Path, cli: Cli, write_vkitti: Write, tmp_path: Path) -> None:
    source, out = write_vkitti(tmp_path / "in"), tmp_path / "out"
    frame = "Scene01/clone/frames/rgb/Camera_0/rgb_00001.jpg"
    (source / frame).write_bytes(b"no image")
    ended = [cli("convert", source, out, "--keep-going", "--shard", f"{n}/2", cwd=work) for n in (1, 2)]
    assert [done.returncode for done in ended] == [0, 1]
    assert f"failed: {frame}: " in ended[1].stdout
    assert [(problem.kind, problem.path) for problem in verify(out).problems] == [("failed", frame)]
