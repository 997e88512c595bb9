"""Checkpoints that are damaged, replaced, pruned, or do not fit the disk."""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from sim2real.errors import SettingsError
from sim2real.training.checkpoints import Checkpoints, damage, read_state


def writer(value: float, size: int = 9) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        torch.save({"weights": torch.full((size,), value)}, folder / "state.pt")
        (folder / "sim2real.safetensors").write_bytes(b"weights")

    return write


def value_of(path: Path) -> float:
    return float(read_state(path, "state.pt")["weights"][0])


def names(checkpoints: Checkpoints) -> list[int]:
    return [int(path.name.removeprefix("step_")) for path in checkpoints.paths()]


def test_what_is_saved_is_read_again_and_the_links_name_the_last_and_the_best(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.newest() == (None, [])
    checkpoints.save(1, writer(1), best=0, keep=2)
    assert not (tmp_path / "best").exists()
    checkpoints.save(2, writer(2), best=2, keep=2)
    checkpoints.save(3, writer(3), best=2, keep=2)
    newest, notes = checkpoints.newest()
    assert newest == checkpoints.path(3)
    assert notes == []
    assert value_of(newest) == 3
    assert (tmp_path / "last").resolve() == checkpoints.path(3)
    assert (tmp_path / "best").readlink() == Path("checkpoints/step_00000002")


def test_the_newest_stay_and_with_each_the_one_that_was_the_best_by_then(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    bests = [1, 1, 1, 1, 5, 5, 5]
    kept = []
    for step, best in enumerate(bests, start=1):
        checkpoints.save(step, writer(step), best=best, keep=2)
        kept.append(names(checkpoints))
    assert kept == [[1], [1, 2], [1, 2, 3], [1, 3, 4], [1, 4, 5], [5, 6], [5, 6, 7]]


@pytest.mark.parametrize("name", ["state.pt", "sim2real.safetensors", "checkpoint.json"])
@pytest.mark.parametrize("harm", ["flipped", "cut", "gone", "empty"])
def test_a_damaged_newest_one_falls_back_to_the_one_before_and_says_so(tmp_path: Path, name: str, harm: str) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2, 3):
        checkpoints.save(step, writer(step), best=1, keep=3)
    file = checkpoints.path(3) / name
    data = file.read_bytes()
    middle = len(data) // 2
    harmed = {
        "flipped": data[:middle] + bytes([data[middle] ^ 0x80]) + data[middle + 1 :],
        "cut": data[:middle],
        "empty": b"",
    }
    file.unlink() if harm == "gone" else file.write_bytes(harmed[harm])
    newest, notes = checkpoints.newest()
    assert newest == checkpoints.path(2)
    assert len(notes) == 1
    assert notes[0].startswith(f"{checkpoints.path(3)}: damaged checkpoint ({name}")
    assert notes[0].endswith("continuing from an earlier one, step_00000002")
    checkpoints.go_on_from(2, best=1, keep=2)
    assert names(checkpoints) == [1, 2]
    assert (tmp_path / "last").resolve() == checkpoints.path(2)
    assert (tmp_path / "best").resolve() == checkpoints.path(1)


def test_checkpoints_that_a_dead_writer_no_longer_removed_are_removed_when_the_run_goes_on(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2, 3, 4):
        checkpoints.save(step, writer(step), best=1, keep=4)
    checkpoints.go_on_from(4, best=1, keep=2)
    assert names(checkpoints) == [1, 3, 4]


def test_where_all_are_damaged_it_is_an_error(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, writer(1), best=0, keep=1)
    (checkpoints.path(1) / "state.pt").write_bytes(b"")
    with pytest.raises(
        SettingsError, match=r"step_00000001: damaged checkpoint .* no intact one before it; delete .*checkpoints"
    ):
        checkpoints.newest()


class Killed(BaseException):
    """Stands for the death of the process: nothing catches it but the test."""


@pytest.mark.parametrize("harmed", [False, True])
def test_whenever_replacing_one_of_the_same_step_is_cut_short_a_whole_one_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harmed: bool
) -> None:
    moments = 0
    for moment in range(99):
        checkpoints = Checkpoints(tmp_path / str(moment))
        checkpoints.save(1, writer(1), best=1, keep=2)
        checkpoints.save(2, writer(2), best=1, keep=2)
        if harmed:
            (checkpoints.path(2) / "state.pt").write_bytes(b"")
        with monkeypatch.context() as patch:
            kill_at(moment, patch)
            try:
                checkpoints.save(2, writer(2), best=1, keep=2)
            except Killed:
                moments += 1
                newest, _ = checkpoints.newest()
                assert newest in ([checkpoints.path(1), checkpoints.path(2)] if harmed else [checkpoints.path(2)])
                assert damage(checkpoints.path(1)) is None
                continue
        assert damage(checkpoints.path(2)) is None
        break
    assert moments >= 8


def kill_at(moment: int, patch: pytest.MonkeyPatch) -> None:
    """Let the process "die" before its ``moment``-th change of the file system."""
    changes = iter(range(10**6))

    def dying(change: Callable[..., Any]) -> Callable[..., Any]:
        def act(*args: Any, **kwargs: Any) -> Any:
            if next(changes) >= moment:
                raise Killed
            return change(*args, **kwargs)

        return act

    for name in ("rename", "replace", "unlink", "rmdir", "mkdir", "symlink", "fsync"):
        patch.setattr(os, name, dying(getattr(os, name)))


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file may be longer than 64 KiB."""
    if sys.platform == "win32":
        pytest.skip("Windows has no limit on the size of files")
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_disk")
def test_one_that_does_not_fit_the_disk_is_told_and_leaves_the_one_before(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    first = checkpoints.save(1, writer(1), best=0, keep=1)
    with pytest.raises(SettingsError, match=r"step_00000002: the checkpoint cannot be written; .*free space"):
        checkpoints.save(2, writer(2, size=2**16), best=0, keep=1)
    assert list(checkpoints.folder.iterdir()) == [first]
    assert checkpoints.newest() == (first, [])


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_what_another_version_adds_to_a_checkpoint_stays_and_is_told(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, writer(1), best=1, keep=2)
    contents = checkpoints.path(1) / "checkpoint.json"
    assert json.loads(contents.read_text())["format_version"] == 1
    change(contents, host="here")
    text = f"{contents}: has fields that this version does not know (host); they stay as they are"
    assert checkpoints.newest() == (checkpoints.path(1), [text])
    checkpoints.save(1, writer(1), best=1, keep=2)
    assert json.loads(contents.read_text())["host"] == "here"
    contents.write_text(json.dumps({key: json.loads(contents.read_text())[key] for key in ("step", "best", "sha256")}))
    assert checkpoints.newest() == (checkpoints.path(1), [])


def test_a_checkpoint_of_a_newer_format_is_refused_and_not_passed_over(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.save(step, writer(step), best=1, keep=2)
    contents = checkpoints.path(2) / "checkpoint.json"
    change(contents, format_version=7, sha256=None)
    told = f"{contents}: written by a newer sim2real (format 7, this one reads 1); use that version"
    with pytest.raises(SettingsError, match=re.escape(told)):
        checkpoints.newest()
    with pytest.raises(SettingsError, match=re.escape(told)):
        checkpoints.go_on_from(1, best=1, keep=2)
    assert names(checkpoints) == [1, 2]
