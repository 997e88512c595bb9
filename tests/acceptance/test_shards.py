"""One conversion shared by several processes, as torchrun, srun and a SLURM array start them."""

import fcntl
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from sim2real.conversion import verify

Write = Callable[..., Path]
Cli = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., "subprocess.Popen[str]"]

ROOT = Path(__file__).parents[2]
FRAMES = 60


def srun(index: int, count: int) -> dict[str, str]:
    """What srun tells each of its tasks."""
    return {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": str(count), "SLURM_PROCID": str(index), "SLURM_LOCALID": "0"}


def array(index: int, count: int) -> dict[str, str]:
    """What each task of ``sbatch --array=10-...:10`` is told, which is a batch script too."""
    numbers = {"ID": 10 + 10 * index, "MIN": 10, "MAX": 10 * count, "STEP": 10, "COUNT": count}
    batch = {"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_LOCALID": "0"}
    return batch | {f"SLURM_ARRAY_TASK_{name}": str(number) for name, number in numbers.items()}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory, write_vkitti: Write, write_run: Write) -> Path:
    """A folder with a dataset ``in`` and a run under ``runs``."""
    folder = tmp_path_factory.mktemp("work")
    write_vkitti(folder / "in", FRAMES // 2, size=(160, 96))
    write_run(folder / "runs/town")
    return folder


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file, what the conversion writes about itself included."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(files.items())}


@pytest.fixture(scope="module")
def alone(work: Path, cli: Cli) -> dict[str, str]:
    """The dataset that one process makes of it, undisturbed."""
    done = cli("convert", "in", "alone", "--device", "cpu", cwd=work)
    assert done.returncode == 0, done.stderr
    return digests(work / "alone")


@pytest.fixture
def start(work: Path) -> Iterator[Start]:
    """``start(out, *options, env=..., launcher=...)``: a conversion of ``in`` on its way; killed at the end."""
    processes = []

    def begin(
        out: Path, *options: object, env: dict[str, str] | None = None, launcher: tuple[object, ...] = ()
    ) -> "subprocess.Popen[str]":
        parts = [sys.executable, *launcher, "-m", "sim2real", "convert", "in", out, "--device", "cpu", *options]
        command = [str(part) for part in parts]
        surroundings = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "NO_COLOR": "1", **(env or {})}
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [*map(str, command)], cwd=work, env=surroundings, stdout=pipe, stderr=pipe, text=True
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def said_by(process: "subprocess.Popen[str]", code: int = 0) -> str:
    """What a process has said at its end, which must be with this exit code."""
    output, errors = process.communicate(timeout=200)
    assert process.returncode == code, errors
    assert f'File "{ROOT / "sim2real"}' not in errors  # torchrun's own traceback is not ours
    return output + errors


def torchrun(count: int) -> tuple[object, ...]:
    return ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", count)


def wait_for_files(process: "subprocess.Popen[str]", out: Path, count: int) -> None:
    """Wait until so many files have been written, or the process has ended."""
    while process.poll() is None and sum(len(names) for _, _, names in os.walk(out)) < count:
        time.sleep(0.001)


def wait_until_at_work(process: "subprocess.Popen[str]", out: Path, count: int) -> None:
    """Wait until so many processes have come in and closed the door behind them, or this one has ended."""
    while process.poll() is None:
        if len(list(out.glob(".sim2real/manifest.*-of-*.jsonl"))) == count:
            with (out / ".sim2real/lock").open("ab") as door, suppress(BlockingIOError):
                fcntl.flock(door, fcntl.LOCK_EX | fcntl.LOCK_NB)
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


def test_torchrun_splits_and_makes_the_same_dataset(work: Path, alone: dict[str, str], start: Start, cli: Cli) -> None:
    out = work / "torchrun"
    said = said_by(start(out, launcher=torchrun(2)))
    assert "shard 1 of 2 (torchrun): this process converts one file in 2" in said
    for shard in (1, 2):
        assert f"shard {shard} of 2: {FRAMES // 2} frames converted" in said
    assert said.count(f"converted dataset: {out}") >= 1
    assert digests(out) == alone


@pytest.mark.slow
def test_a_killed_process_of_torchrun_costs_only_a_rerun(work: Path, alone: dict[str, str], start: Start) -> None:
    out, chance = work / "killed", random.Random()
    group = start(out, launcher=torchrun(2))
    wait_for_files(group, out, chance.randrange(5, len(alone) - 20))
    children = Path(f"/proc/{group.pid}/task/{group.pid}/children").read_text().split()
    ranks = [int(child) for child in children if "sim2real" in Path(f"/proc/{child}/cmdline").read_text()]
    os.kill(chance.choice(ranks), signal.SIGKILL)
    said_by(group, 1)
    for name, digest in digests(out).items():
        assert name.startswith(".sim2real/") or ".tmp-" in name or digest == alone[name]
    assert "shard 3 of 3" in said_by(start(out, launcher=torchrun(3)))
    assert digests(out) == alone


def test_tasks_of_srun_at_once_and_a_group_of_another_size_goes_on(
    work: Path, alone: dict[str, str], start: Start
) -> None:
    out = work / "srun"
    tasks = [start(out, env=srun(index, 3)) for index in range(3)]
    wait_for_files(tasks[0], out, 40)
    tasks[1].kill()
    said = [said_by(task, -signal.SIGKILL if task is tasks[1] else 0) for task in tasks]
    assert any("not complete yet: " in words and "belong to other shards" in words for words in said)
    assert not any("next: sim2real verify" in words for words in said)
    said = [said_by(task) for task in [start(out, env=srun(index, 4)) for index in range(4)]]
    assert any("next: sim2real verify" in words for words in said)
    assert digests(out) == alone


def test_tasks_of_an_array_one_after_the_other(work: Path, alone: dict[str, str], start: Start) -> None:
    out = work / "array"
    others = len(alone) - 3 - FRAMES  # but the lock, the record and the manifest
    left = FRAMES + others
    for index in range(3):
        said = said_by(start(out, env=array(index, 3)))
        assert f"shard {index + 1} of 3 (SLURM array 10-30): " in said
        left -= len(range(index, FRAMES, 3)) + len(range(index, others, 3))
        assert (f"not complete yet: {left} of {FRAMES + others} files of {out}" in said) == (index < 2)
        assert verify(out, work / "in").ok == (index == 2)
    assert digests(out) == alone


def test_who_comes_late_or_comes_again_disturbs_nobody(work: Path, alone: dict[str, str], start: Start) -> None:
    out = work / "late"
    first = start(out, "--shard", "1/2")
    wait_for_files(first, out, 20)
    with stopped(first):
        before = digests(out)
        second = start(out, "--shard", "2/2")
        wait_for_files(second, out, len(before) + 20)
        second.kill()
        said_by(second, -signal.SIGKILL)
        assert "not complete yet: other processes are still working" in said_by(start(out, "--shard", "2/2"))
        assert before.items() <= digests(out).items()  # leftovers of the living among them
    said = said_by(first)
    assert f"converted dataset: {out}" in said
    assert digests(out) == alone


@pytest.mark.slow
def test_a_second_group_stays_outside(work: Path, alone: dict[str, str], start: Start) -> None:
    out = work / "groups"
    group = []
    with ExitStack() as at_work:
        for index in range(2):
            group.append(start(out, env=srun(index, 2)))
            wait_until_at_work(group[index], out, index + 1)
            at_work.enter_context(stopped(group[index]))
        before = digests(out)
        strangers = [start(out, env=env) for env in (srun(0, 2), srun(2, 3), {})]
        for stranger in strangers:
            assert f"error: {out}: another conversion is writing here (" in said_by(stranger, 1)
        assert digests(out) == before
    for task in group:
        said_by(task)
    assert digests(out) == alone


def test_a_batch_script_alone_does_everything(work: Path, alone: dict[str, str], start: Start) -> None:
    batch = {name: value for name, value in array(0, 1).items() if "ARRAY" not in name}
    said = said_by(start(work / "batch", env={**batch, "RANK": "1", "WORLD_SIZE": "2"}))
    assert "shard" not in said
    assert digests(work / "batch") == alone


def test_told_to_end_a_shard_saves(work: Path, alone: dict[str, str], start: Start, cli: Cli) -> None:
    out = work / "told"
    task = start(out, "--shard", "2/2")
    wait_for_files(task, out, 25)
    task.send_signal(signal.SIGTERM)
    said_by(task, 143)
    lines = [json.loads(line) for line in (out / ".sim2real/manifest.2-of-2.jsonl").read_text().splitlines()]
    assert {line["path"] for line in lines} == {name for name in digests(out) if not name.startswith(".sim2real/")}
    planned = cli("convert", "in", out, "--plan", cwd=work).stdout
    assert [str(len(lines)), "files", "already", "done"] in [line.split() for line in planned.splitlines()]
    assert f", {len(lines)} done before," in said_by(start(out))
    assert digests(out) == alone


def test_a_file_that_cannot_be_done_is_told_by_its_shard(
    work: Path, cli: Cli, write_vkitti: Write, tmp_path: Path
) -> None:
    source, out = write_vkitti(tmp_path / "in"), tmp_path / "out"
    frame = "Scene01/clone/frames/rgb/Camera_0/rgb_00001.jpg"
    (source / frame).write_bytes(b"no image")
    ended = [cli("convert", source, out, "--keep-going", "--shard", f"{n}/2", cwd=work) for n in (1, 2)]
    assert [done.returncode for done in ended] == [0, 1]
    assert f"failed: {frame}: " in ended[1].stdout
    assert [(problem.kind, problem.path) for problem in verify(out).problems] == [("failed", frame)]
