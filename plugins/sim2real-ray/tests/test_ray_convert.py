"""A conversion on a Ray cluster of one machine with two workers."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import typer

from sim2real import Sim2RealError
from sim2real.cli.convert import command as convert_command
from sim2real.conversion import ConvertOptions, convert, verify
from sim2real.model import GeneratorInfo, save_generator
from sim2real.networks.generators import EncoderDecoder

ray = pytest.importorskip("ray", reason="ray is not installed")

from sim2real_ray import plugin  # noqa: E402  needs ray
from sim2real_ray.cluster import convert_on_ray  # noqa: E402  needs ray
from sim2real_ray.command import command as ray_command  # noqa: E402  needs ray

FRAMES = 48


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[str]:
    """Connect to a cluster on this machine; yields its address."""
    torch.set_num_threads(1)  # like workers of one CPU; sums depend on it
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # for the workers
        ray.init(num_cpus=2, object_store_memory=80 << 20, include_dashboard=False, log_to_driver=False)
        yield ray.get_runtime_context().gcs_address
        ray.shutdown()


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> ConvertOptions:
    """Options with an untrained model, in fp32 on the CPU."""
    torch.manual_seed(0)
    network = EncoderDecoder(3, 3, width=8, blocks=2)
    info = GeneratorInfo(
        name="encoder-decoder",
        options={"width": 8, "blocks": 2, "norm": "instance"},
        value_range=network.value_range,
        direction="sim2real",
        recipe="default",
        settings={},
        fingerprint="none",
        tool_version="0.1.0",
    )
    run = tmp_path_factory.mktemp("runs") / "run"
    run.mkdir()
    save_generator(run / "sim2real.safetensors", network, info)
    return ConvertOptions(model=run, device="cpu", precision="fp32", workers=1)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photos and a few other files."""
    folder = tmp_path_factory.mktemp("source") / "in"
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(FRAMES):
        assert cv2.imwrite(str(folder / f"{number:03}.png"), random.integers(0, 256, (96, 160, 3), np.uint8))
    for number in range(5):
        (folder / f"{number}.txt").write_text(str(number))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a conversion by relative path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def alone(source: Path, options: ConvertOptions) -> dict[str, bytes]:
    """The conversion by one process."""
    convert(source, source.parent / "alone", options)
    return contents(source.parent / "alone")


def workers(parent: int) -> Iterator[int]:
    """Yield the descendants of a process that convert."""
    for thread in Path(f"/proc/{parent}/task").iterdir():
        for child in map(int, (thread / "children").read_text().split()):
            if Path(f"/proc/{child}/cmdline").read_bytes().startswith(b"ray::_convert_shard"):
                yield child
            yield from workers(child)


@contextmanager
def killing_a_worker(out: Path, files: int) -> Iterator[None]:
    """Kill a worker as soon as ``out`` has this number of files."""
    killed: list[int] = []

    def kill() -> None:
        while len(list(out.glob("*"))) < files and not over.is_set():
            time.sleep(0.001)
        for worker in islice(workers(os.getpid()), 1):
            os.kill(worker, signal.SIGKILL)
            killed.append(worker)

    over = threading.Event()
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield
    finally:
        over.set()
        killer.join()
    assert killed


def test_the_command_is_registered() -> None:
    offered: list[str] = []
    plugin.register_commands(lambda name, target, **_: offered.append(f"{name} {target}"))
    assert offered == ["ray-convert sim2real_ray.command:command"]


def test_a_cluster_gives_the_bytes_of_one_process(
    source: Path, options: ConvertOptions, alone: dict[str, bytes], tmp_path: Path
) -> None:
    states: list[tuple[str, int, int]] = []
    out = tmp_path / "out"
    summary = convert_on_ray(source, out, options, lambda *state: states.append(state[:3]), cpus=1)
    assert (summary.converted, summary.carried, summary.skipped, summary.failed) == (FRAMES, 5, 0, [])
    assert summary.record.frames == FRAMES
    assert states[-1] in {("converting", FRAMES, FRAMES), ("carrying", 5, 5)}
    assert contents(out) == alone
    assert verify(out).ok
    again = convert_on_ray(source, out, options, shards=3, cpus=1)
    assert (again.converted, again.skipped) == (0, FRAMES + 5)
    assert contents(out) == alone


def test_a_killed_worker_is_replaced(
    source: Path, options: ConvertOptions, alone: dict[str, bytes], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with killing_a_worker(out, FRAMES // 3):
        summary = convert_on_ray(source, out, options, shards=2, cpus=1)
    assert summary.failed == []
    assert summary.converted + summary.carried + summary.skipped == FRAMES + 5
    assert contents(out) == alone
    assert verify(out).ok


def test_errors_have_one_line(source: Path, options: ConvertOptions, alone: dict[str, bytes], tmp_path: Path) -> None:
    attempts: list[tuple[Callable[[], object], str]] = [
        (lambda: convert_on_ray(tmp_path / "none", tmp_path / "out", options), "no such folder"),
        (lambda: convert_on_ray(source, tmp_path / "out", options, cpus=64), "no machine .* has 64 CPUs and 0 GPUs"),
        (lambda: convert_on_ray(source, tmp_path / "out", replace(options, engine="none"), cpus=1), "no engine"),
        (
            lambda: convert_on_ray(source, source.parent / "alone", replace(options, quality=9), cpus=1),
            "quality was 95",
        ),
        (lambda: convert_on_ray(source, tmp_path / "out", replace(options, overwrite=True)), "no --overwrite"),
    ]
    for attempt, message in attempts:
        with pytest.raises(Sim2RealError, match=message) as error:
            attempt()
        assert type(error.value).__module__ == "sim2real.errors"
        assert "\n" not in str(error.value)
    assert not (tmp_path / "out/.sim2real/conversion.json").exists()
    assert contents(source.parent / "alone") == alone


def test_a_shard_that_loses_its_worker_repeatedly_is_an_error(
    source: Path, options: ConvertOptions, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    message = r"shard 1 of 1 lost its worker .*finished files are kept"
    with pytest.raises(Sim2RealError, match=message) as error, killing_a_worker(out, 1):
        convert_on_ray(source, out, options, shards=1, cpus=1, retries=0)
    assert "\n" not in str(error.value)
    convert(source, out, options)
    assert verify(out).ok


def options_of(command: Callable[..., object]) -> set[str]:
    """The arguments and options of a command, as a user writes them."""
    app = typer.Typer()
    app.command()(command)
    return {name for param in typer.main.get_command(app).params for name in (*param.opts, *param.secondary_opts)}


def test_the_command_takes_the_options_of_convert() -> None:
    theirs = options_of(convert_command)
    assert theirs - options_of(ray_command) == {"--shard", "--plan", "--overwrite"}
    own = {"--address", "--shards", "--cpus-per-worker", "--gpus-per-worker", "--retries"}
    assert options_of(ray_command) - theirs == own


def test_the_command_prints_what_convert_prints(
    cluster: str, source: Path, options: ConvertOptions, tmp_path: Path
) -> None:
    entry = "from sim2real_ray.command import command; import typer; typer.run(command)"
    resolved = (
        f"--address {cluster} --cpus-per-worker 1 --shards 2 --keep-going --gate preservation>=0.99 "
        f"--model {options.model} --device cpu --precision fp32 --workers 1"
    )
    (source / "zz.png").write_bytes(b"no image")
    try:
        done = subprocess.run(
            [sys.executable, "-c", entry, source, tmp_path / "out", *resolved.split()],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "NO_COLOR": "1"},
        )
    finally:
        (source / "zz.png").unlink()
    assert done.returncode == 1, done.stderr
    output = done.stdout.splitlines()
    assert output[0].startswith(f"{FRAMES} frames converted, 5 files carried, 0 done before, 1 failed; ")
    rejected = (tmp_path / "out/.sim2real/manifest.jsonl").read_text().count('"status": "rejected"')
    assert f"the gate (preservation>=0.99) rejects {rejected} frames: {rejected} as they were" in output
    assert any(line.startswith("failed: zz.png: ") for line in output)
    assert output[-1] == f"next: sim2real verify {tmp_path / 'out'}"
    assert "Traceback" not in done.stderr
