"""Who does what of a shared conversion, and who may come in."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sim2real.conversion import ConversionSummary, ConvertOptions, make_plan, shards, verify
from sim2real.conversion.plan import survey
from sim2real.conversion.shards import Shard, find_shard, own_device
from sim2real.errors import Sim2RealError
from sim2real.files import exclusive
from tests.commands import contents

Write = Callable[..., Path]
Translate = Callable[..., ConversionSummary]
ReadTree = Callable[[Path], dict[str, bytes]]

IMAGE = "Scene01/clone/frames/rgb/Camera_0/rgb_{:05}.jpg"

TORCHRUN = {"RANK": "2", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "host"}
BATCH = {"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_NPROCS": "4", "SLURM_LOCALID": "0"}
SRUN = BATCH | {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3", "SLURM_LOCALID": "1"}
ONE_TASK = {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}


def array(task: int, first: int, last: int, step: int, count: int) -> dict[str, str]:
    numbers = {"ID": task, "MIN": first, "MAX": last, "STEP": step, "COUNT": count}
    return BATCH | {f"SLURM_ARRAY_TASK_{name}": str(number) for name, number in numbers.items()}


@pytest.mark.parametrize(
    ("requested", "environment", "expected"),
    [
        ("auto", {}, None),
        ("2/3", {}, (1, 3, None)),
        ("1/1", SRUN, None),
        ("2/3", TORCHRUN, (1, 3, None)),
        ("off", TORCHRUN, None),
        ("auto", TORCHRUN, (2, 4, 1)),
        ("auto", {"RANK": "1", "WORLD_SIZE": "2"}, None),
        ("auto", {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "host"}, None),
        ("auto", {"RANK": "1", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none"}, (1, 2, None)),
        ("auto", TORCHRUN | {"RANK": "0", "WORLD_SIZE": "1"}, None),
        ("auto", BATCH, None),
        ("auto", SRUN, (3, 4, 1)),
        ("auto", SRUN | ONE_TASK, None),
        ("auto", SRUN | TORCHRUN | {"WORLD_SIZE": "16", "RANK": "13"}, (13, 16, 1)),
        ("auto", array(6, 2, 8, 2, 4), (2, 4, None)),
        ("auto", array(5, 5, 5, 1, 1), None),
        ("auto", array(1, 0, 2, 1, 3) | SRUN, (7, 12, 1)),
        ("auto", array(1, 0, 2, 1, 3) | SRUN | ONE_TASK, (1, 3, 1)),
        ("auto", array(2, 0, 2, 1, 3) | TORCHRUN, (10, 12, 1)),
    ],
)
def test_who_says_which_shard(
    requested: str, environment: dict[str, str], expected: tuple[int, int, int | None] | None
) -> None:
    shard = find_shard(requested, environment)
    assert (shard and (shard.index, shard.count, shard.local)) == expected


@pytest.mark.parametrize(
    ("requested", "environment", "complaint"),
    [
        ("both", {}, "--shard both: use auto, off, or I/N"),
        ("0/2", {}, "there is no shard 0 of 2, as set by --shard"),
        ("3/2", {}, "there is no shard 3 of 2"),
        ("1/0", {}, "there is no shard 1 of 0"),
        ("auto", TORCHRUN | {"RANK": "4"}, "there is no shard 5 of 4, as set by torchrun"),
        ("auto", TORCHRUN | {"RANK": "first"}, "RANK=first"),
        ("auto", array(5, 1, 7, 1, 3), "this SLURM array of 3 tasks from 1 to 7 is not regular"),
        ("auto", {"SLURM_ARRAY_TASK_ID": "1"}, "SLURM_ARRAY_TASK_COUNT="),
    ],
)
def test_what_is_no_shard_is_said_in_one_line(requested: str, environment: dict[str, str], complaint: str) -> None:
    with pytest.raises(Sim2RealError, match=complaint):
        find_shard(requested, environment)


def test_a_shell_that_srun_opened_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = SRUN | {"SLURM_PROCID": "0", "SLURM_PTY_PORT": "34889"}
    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda _: True})())
    assert find_shard("auto", shell) is None
    monkeypatch.setattr("sys.stdin", type("Pipe", (), {"isatty": lambda _: False})())
    assert find_shard("auto", shell) is not None  # of a step begun from such a shell


def test_each_process_of_a_machine_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    third = Shard(index=6, count=8, local=2, set_by="srun")
    for count, expected in {0: "auto", 1: "auto", 2: "cuda:0", 4: "cuda:2"}.items():
        monkeypatch.setattr(torch.cuda, "device_count", lambda count=count: count)
        assert own_device("auto", third) == expected
    assert own_device("cuda", third) == "cuda:2"
    for device, shard in [("cpu", third), ("cuda:1", third), ("auto", replace(third, local=None)), ("auto", None)]:
        assert own_device(device, shard) == device


@pytest.mark.parametrize("count", [1, 2, 3, 7, 30])
def test_shards_are_disjoint_even_and_whole(tmp_path: Path, run: Path, write_vkitti: Write, count: int) -> None:
    source, options = write_vkitti(tmp_path / "in", 5), ConvertOptions(model=run, device="cpu")
    found = survey(source, tmp_path / "out", options)
    plans = [
        make_plan(source, tmp_path / "out", replace(options, shard=(index, count)), found) for index in range(count)
    ]
    assert sorted(job.path for plan in plans for job in plan.own) == sorted(job.path for job in found.jobs)
    for translate in (True, False):
        sizes = [sum(job.translate is translate for job in plan.own) for plan in plans]
        assert max(sizes) - min(sizes) <= 1
    assert {(plan.record.frames, plan.record.files) for plan in plans} == {(10, len(found.jobs))}
    assert all(len(plan.todo) + len(plan.elsewhere) == len(found.jobs) for plan in plans)


@pytest.fixture
def source(tmp_path: Path, write_vkitti: Write) -> Path:
    return write_vkitti(tmp_path / "in", 6)


@pytest.fixture
def alone(tmp_path: Path, source: Path, translate: Translate) -> dict[str, bytes]:
    translate(source, tmp_path / "alone")
    return contents(tmp_path / "alone")


def test_shards_of_any_size_add_up_to_what_one_process_makes(
    tmp_path: Path, source: Path, translate: Translate, alone: dict[str, bytes]
) -> None:
    out, files = tmp_path / "out", len(alone) - 3
    first = translate(source, out, shard=(2, 3))
    assert (first.converted, first.left) == (4, files - first.converted - first.carried)
    second = translate(source, out, shard=(0, 2))
    assert second.skipped > 0
    assert second.left == files - sum(summary.converted + summary.carried for summary in (first, second))
    assert not verify(out).ok
    last = translate(source, out, shard=(1, 2))
    assert (last.left, last.failed) == (0, [])
    assert contents(out) == alone


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is at work is refused at once; else it might be a killed process in its last moments."""
    monkeypatch.setattr(shards, "PATIENCE", 0)


@pytest.mark.usefixtures("impatient")
def test_while_others_are_at_work(tmp_path: Path, source: Path, translate: Translate, alone: dict[str, bytes]) -> None:
    out = tmp_path / "out"
    visits: list[str] = []

    def visit(_stage: str, _done: int, _total: int, _limit: str = "") -> None:
        if visits:
            return
        visits.append("now")
        attempts: list[tuple[dict[str, Any], str]] = [
            ({}, "another conversion is writing here (shard 1 of 2)"),
            ({"overwrite": True}, "another conversion is writing here (shard 1 of 2)"),
            ({"shard": (0, 2)}, "another conversion is writing here (shard 1 of 2)"),
            ({"shard": (1, 3)}, "another conversion is writing here (shard 1 of 2)"),
            ({"shard": (1, 2), "quality": 80}, "quality was 95, is 80"),
            ({"shard": (1, 2), "limit": 3}, "were started differently (limit was None, is 3; frames was 12, is 3"),
            ({"shard": (1, 2), "carry": "symlink"}, "were started differently (carry was copy, is symlink)"),
            ({"shard": (1, 2), "overwrite": True}, "no --overwrite with shards"),
        ]
        for options, complaint in attempts:
            with pytest.raises(Sim2RealError) as refusal:
                translate(source, out, **options)
            assert complaint in str(refusal.value)
        mine, theirs = out / IMAGE.format(1), out / IMAGE.format(0)
        leftovers = [path.with_name(f".{path.name}.tmp-1") for path in (mine, theirs)]
        for path in leftovers:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"half")
        summary = translate(source, out, shard=(1, 2))
        assert (summary.converted, summary.left) == (6, None)
        assert [path.exists() for path in leftovers] == [False, True]  # its own of an earlier time; of the living
        leftovers[1].unlink()

    assert translate(source, out, visit, shard=(0, 2)).left == 0
    assert visits
    assert contents(out) == alone


@pytest.mark.usefixtures("impatient")
def test_a_lone_process_shards_with_nobody(tmp_path: Path, source: Path, translate: Translate) -> None:
    out = tmp_path / "out"
    refusals: list[Any] = []

    def visit(_stage: str, _done: int, _total: int, _limit: str = "") -> None:
        for shard in (None, (0, 2)) if not refusals else ():
            with pytest.raises(Sim2RealError, match="another conversion is writing here; wait for it") as refusal:
                translate(source, out, shard=shard)
            refusals.append(refusal)

    translate(source, out, visit)
    assert len(refusals) == 2
    assert verify(out).ok


def test_automatic_choices_are_made_once(
    tmp_path: Path, source: Path, translate: Translate, monkeypatch: pytest.MonkeyPatch
) -> None:
    translate(source, tmp_path / "out", shard=(0, 2), precision="auto")
    record = (tmp_path / "out/.sim2real/conversion.json").read_bytes()
    other = "fp32" if json.loads(record)["precision"] == "bf16" else "bf16"
    monkeypatch.setattr("sim2real.devices._native_bf16", lambda _: other == "bf16")
    translate(source, tmp_path / "out", shard=(1, 2), precision="auto")
    assert (tmp_path / "out/.sim2real/conversion.json").read_bytes() == record
    assert verify(tmp_path / "out").ok


@pytest.mark.parametrize("crash", ["replace", "unlink"])
def test_a_crash_while_parts_are_merged_loses_nothing(
    tmp_path: Path, source: Path, translate: Translate, alone: dict[str, bytes], crash: str
) -> None:
    out, broken = tmp_path / "out", source / IMAGE.format(1)
    whole, stat = broken.read_bytes(), broken.stat()
    broken.write_bytes(b"")
    for index in (0, 1, 2, 1):
        failed = translate(source, out, shard=(index, 3), keep_going=True).failed
        assert len(failed) == (index == 1)
    broken.write_bytes(whole)

    def break_off(*_paths: Path, **_options: bool) -> None:
        raise KeyboardInterrupt

    def last(_stage: str, done: int, total: int, _limit: str = "") -> None:
        if done == total == 1:
            patch.setattr(Path, crash, break_off)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        translate(source, out, last, shard=(1, 3))
    assert list((out / ".sim2real").glob("manifest.2-of-3.jsonl"))
    assert verify(out).ok
    os.utime(broken, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    translate(source, out)
    assert contents(out) == alone


def test_who_waits_at_the_door_is_told_why(
    tmp_path: Path, source: Path, translate: Translate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "_PATIENCE", 0.1)
    with (
        exclusive(tmp_path / "out/.sim2real/lock", "never said"),
        pytest.raises(Sim2RealError, match="another conversion has been planning here"),
    ):
        translate(source, tmp_path / "out", shard=(0, 2))


def test_what_cannot_begin_leaves_no_trace(tmp_path: Path, source: Path, translate: Translate) -> None:
    (tmp_path / "there").mkdir()
    for out in (tmp_path / "there", tmp_path / "new"):
        with pytest.raises(Sim2RealError, match="no engine"):
            translate(source, out, engine="none", shard=(0, 2))
    assert list((tmp_path / "there").iterdir()) == []
    assert not (tmp_path / "new").exists()
