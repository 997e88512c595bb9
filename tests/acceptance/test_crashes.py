"""Conversions that are killed, stopped, or lack space or a readable source: real processes, signals and file systems.

In every case, no file under its final name is partial, and a rerun gives the bytes of an undisturbed conversion.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.forkserver import ForkServer
from tests.commands import Write, digests, manifest

STATE = {".sim2real/conversion.json", ".sim2real/manifest.jsonl", ".sim2real/lock"}


def assert_nothing_partial(out: Path, undisturbed: dict[str, str]) -> None:
    for name, digest in digests(out).items():
        whole = name.startswith(".sim2real/") or ".tmp-" in name or digest == undisturbed[name]
        assert whole, f"{name} is partial under its final name"


def assert_one_line_error(code: int, output: str, *parts: str) -> None:
    assert code == 1, output
    assert "Traceback" not in output
    assert output.splitlines()[-1].startswith("error: "), output
    for part in parts:
        assert part in output.splitlines()[-1]


@pytest.fixture(scope="module")
def work(make_work: Write) -> Path:
    return make_work(12, size=(96, 64))


@pytest.fixture(scope="module")
def seconds(work: Path, server: ForkServer) -> float:
    """Duration of an undisturbed conversion."""
    begin = time.monotonic()
    code, output = server.convert(work / "undisturbed").wait()
    assert code == 0, output
    return time.monotonic() - begin


@pytest.fixture(scope="module")
def undisturbed(work: Path, seconds: float) -> dict[str, str]:
    return digests(work / "undisturbed")


def test_a_conversion_killed_at_any_time_is_completed_by_a_rerun(
    work: Path, server: ForkServer, seconds: float, undisturbed: dict[str, str]
) -> None:
    out, chance = work / "killed", random.Random(0)
    cut_off = 0
    for _ in range(50):
        conversion = server.convert(out)
        time.sleep(chance.uniform(0, seconds))
        conversion.signal(signal.SIGKILL)
        code, output = conversion.wait()
        assert_nothing_partial(out, undisturbed)
        cut_off += code == -signal.SIGKILL
        if digests(out) == undisturbed:
            shutil.rmtree(out)
        assert code in {0, -signal.SIGKILL}, output
    assert cut_off > 20
    code, output = server.convert(out).wait()
    assert code == 0, output
    assert digests(out) == undisturbed


@pytest.mark.parametrize("stop", [[signal.SIGINT], [signal.SIGTERM], [signal.SIGINT, signal.SIGINT]])
def test_a_signal_stops_a_conversion_which_a_rerun_continues(
    work: Path, server: ForkServer, undisturbed: dict[str, str], stop: list[signal.Signals]
) -> None:
    out, chance = work / f"stopped {stop}", random.Random(len(stop))
    codes = {0, {signal.SIGINT: 130, signal.SIGTERM: 143}[stop[0]]}
    ends = []
    for _ in range(6):
        files = len(digests(out))
        conversion = server.convert(out, ends=True)
        conversion.wait_for_output()
        conversion.wait_for_files(out, files + chance.randrange(20))
        for number in stop:
            conversion.signal(number)
            time.sleep(0.002)
        code, output = conversion.wait()
        assert "Traceback" not in output
        assert_nothing_partial(out, undisturbed)
        if len(stop) == 1:  # started files are finished and recorded
            assert code in codes, output
            assert not list(out.rglob("*.tmp-*"))
            assert manifest(out).keys() == digests(out).keys() - STATE
        else:  # the second signal may come after the cleanup
            assert code in {*codes, -signal.SIGINT}
        ends.append(code)
    assert sum(code != 0 for code in ends) > 2
    code, output = server.convert(out).wait()
    assert code == 0, output
    assert digests(out) == undisturbed


def test_a_second_conversion_into_the_same_folder_is_refused(
    work: Path, server: ForkServer, undisturbed: dict[str, str]
) -> None:
    out = work / "twice"
    first = server.convert(out)
    first.wait_for_files(out, 10)
    first.signal(signal.SIGSTOP)
    for options in ([], ["--overwrite"]):
        code, output = server.convert(out, *options).wait()
        assert_one_line_error(code, output, "another conversion is writing here")
    first.signal(signal.SIGCONT)
    assert first.wait()[0] == 0
    assert digests(out) == undisturbed


def test_a_source_that_changes_during_the_conversion(
    work: Path, server: ForkServer, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(work / "in", source)
    late = [source / f"Scene01/fog/frames/rgb/Camera_0/rgb_{number:05}.jpg" for number in range(8, 12)]
    before = {path: (path.read_bytes(), path.stat()) for path in late}
    gone, cut, other, corrupt = late
    conversion = server.convert(out, "--keep-going", "--workers", 1, source=str(source))
    conversion.wait_for_files(out, 5)
    conversion.signal(signal.SIGSTOP)
    gone.unlink()
    os.truncate(cut, 100)
    other.write_bytes(before[gone][0])
    data = bytearray(before[corrupt][0])
    data[2:200] = bytes(198)
    corrupt.write_bytes(data)
    os.utime(corrupt, ns=(0, before[corrupt][1].st_mtime_ns))  # only decoding shows it
    conversion.signal(signal.SIGCONT)
    code, output = conversion.wait()
    assert code == 1
    reasons = dict(line.split(": ", 2)[1:] for line in output.splitlines() if line.startswith("failed: "))
    assert reasons.keys() == {path.relative_to(source).as_posix() for path in late}
    said_of = {path: reasons[path.relative_to(source).as_posix()] for path in late}
    assert "No such file" in said_of[gone]
    assert "truncated" in said_of[cut]
    assert said_of[other] == "changed during the conversion"
    assert "damaged" in said_of[corrupt]
    assert_nothing_partial(out, undisturbed)
    code, output = server.convert(out, source=str(source)).wait()
    assert_one_line_error(code, output, "what is finished is kept")
    for path, (data_before, stat) in before.items():
        path.write_bytes(data_before)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert server.convert(out, source=str(source)).wait()[0] == 0
    files, state = (".sim2real/manifest.jsonl", ".sim2real/conversion.json")
    after = digests(out)
    assert {name for name in after if after[name] != undisturbed[name]} <= {files, state}  # these name the source


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_read_permission(work: Path, server: ForkServer, tmp_path: Path) -> None:
    source = tmp_path / "in"
    shutil.copytree(work / "in", source)
    label = next(source.rglob("bbox.txt"))
    label.chmod(0)
    code, output = server.convert(tmp_path / "out", "--keep-going", source=str(source)).wait()
    assert code == 1
    assert f"failed: {label.relative_to(source)}: cannot be read: Permission denied" in output


def test_a_limit_on_the_size_of_files(
    work: Path, server: ForkServer, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    for largest in (3_000, 10_000, 20_000):  # frames, labels, the manifest
        code, output = server.convert(tmp_path / "out", largest=largest).wait()
        assert_one_line_error(code, output, "File too large", "what is finished is kept")
        assert_nothing_partial(tmp_path / "out", undisturbed)
    assert server.convert(tmp_path / "out").wait()[0] == 0
    assert digests(tmp_path / "out") == undisturbed


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """``disk(size=bytes)``: mount a file system, or remount it with other options; returns a folder in it."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(**options: object) -> Path:
        given = [f"{name}={value}" if value is not True else name for name, value in options.items()]
        remount = ["remount"] if place.is_mount() else []
        command = ["mount", "-t", "tmpfs", "-o", ",".join([*remount, *given]), "tmpfs", str(place)]
        if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("no right to mount a small file system")
        return place / "out"

    yield mount
    if place.is_mount():
        subprocess.run(["umount", "-l", place], check=True)


def occupied(folder: Path) -> int:
    """Bytes that the files of a folder occupy on a file system with blocks of 4 KiB."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())


def test_a_disk_that_is_too_small_is_refused_before_the_conversion(
    work: Path, server: ForkServer, disk: Callable[..., Path]
) -> None:
    out = disk(size=100_000)
    code, output = server.convert(out).wait()
    assert_one_line_error(code, output, "MB are free")
    assert not list(out.rglob("*.jpg"))
    out = disk(size="50M", nr_inodes=40)
    code, output = server.convert(out).wait()
    assert_one_line_error(code, output, "the file system takes 3", "more")
    assert server.convert(out, "--carry", "hardlink", "--include", "*/rgb/*").wait()[0] == 0


def test_a_disk_that_becomes_full_during_the_conversion(
    work: Path, server: ForkServer, undisturbed: dict[str, str], disk: Callable[..., Path]
) -> None:
    least, most = occupied(work / "in"), occupied(work / "undisturbed")
    for size in random.Random(0).sample(range(least, most, 4096), 4):
        out = disk(size=size + 4096)
        code, output = server.convert(out).wait()
        assert_one_line_error(code, output, "No space left on device", "what is finished is kept")
        assert_nothing_partial(out, undisturbed)
        disk(size="50M")
        assert server.convert(out).wait()[0] == 0
        assert digests(out) == undisturbed
        shutil.rmtree(out)


def test_a_disk_without_space_for_the_manifest(
    work: Path, server: ForkServer, undisturbed: dict[str, str], disk: Callable[..., Path]
) -> None:
    out = disk(size="50M")
    assert server.convert(out).wait()[0] == 0
    filler = out.parent / "filler"
    refused = 0
    for pages in (1, 3, 7, 12, 20):
        next(out.rglob("bbox.txt")).unlink()
        free = os.statvfs(out).f_bavail * 4096
        filler.write_bytes(bytes(free - 4096 * pages))
        code, output = server.convert(out).wait()
        if code:
            assert_one_line_error(code, output, "No space left on device", "what is finished is kept")
            refused += 1
        assert_nothing_partial(out, undisturbed)
        filler.unlink()
        assert server.convert(out).wait()[0] == 0
        assert digests(out) == undisturbed
    assert 0 < refused < 5


def test_a_file_system_without_free_inodes(
    work: Path, server: ForkServer, undisturbed: dict[str, str], disk: Callable[..., Path]
) -> None:
    for more in (3, 9):  # enough for all files, not for folders and temporary files too
        out = disk(size="50M", nr_inodes=len(undisturbed) + more)
        code, output = server.convert(out).wait()
        assert_one_line_error(code, output, "No space left on device", "what is finished is kept")
        assert_nothing_partial(out, undisturbed)
        disk(size="50M", nr_inodes=10_000)
        assert server.convert(out).wait()[0] == 0
        assert digests(out) == undisturbed
        shutil.rmtree(out)


def test_a_target_that_became_read_only(
    work: Path, server: ForkServer, undisturbed: dict[str, str], disk: Callable[..., Path]
) -> None:
    out = disk(size="50M")
    conversion = server.convert(out)
    conversion.wait_for_files(out, 20)
    conversion.signal(signal.SIGKILL)
    conversion.wait()
    disk(ro=True)
    code, output = server.convert(out).wait()
    assert_one_line_error(code, output, "Read-only file system")
    disk(rw=True)
    assert server.convert(out).wait()[0] == 0
    assert digests(out) == undisturbed
