"""Copies, clones and links: the bytes of the source arrive, and the source stays what it is."""

import errno
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from sim2real.conversion import ConversionSummary, carry, verify
from sim2real.errors import Sim2RealError

Write = Callable[..., Path]
Translate = Callable[..., ConversionSummary]

LABEL = "Scene01/clone/bbox.txt"


@pytest.fixture
def source(tmp_path: Path, write_vkitti: Write) -> Path:
    return write_vkitti(tmp_path / "in", 1)


def state(folder: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """Inode, mode, time and bytes of every file."""
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    stats = {name: path.stat() for name, path in files.items()}
    return {
        name: (stat.st_ino, stat.st_mode, stat.st_mtime_ns, files[name].read_bytes()) for name, stat in stats.items()
    }


@pytest.mark.parametrize("modes", list(itertools.permutations(["copy", "hardlink", "symlink"], 2)))
def test_no_rerun_reaches_the_source_through_a_link(
    tmp_path: Path, source: Path, translate: Translate, modes: tuple[str, str]
) -> None:
    out, before = tmp_path / "out", state(source)
    first, second = modes
    for mode, overwrite in [(first, False), (first, True), (second, True), (first, False)]:
        translate(source, out, carry=mode, overwrite=overwrite)
        assert state(source) == before
        assert state(out)[LABEL][1:] == before[LABEL][1:]
    assert verify(out).ok


@pytest.mark.parametrize("mode", ["copy", "hardlink", "symlink"])
def test_a_label_that_is_lost_or_spoilt_comes_again(
    tmp_path: Path, source: Path, translate: Translate, mode: str
) -> None:
    out, before = tmp_path / "out", state(source)
    translate(source, out)
    for content in (None, "", "spoilt"):
        (out / LABEL).unlink()
        if content is not None:
            (out / LABEL).write_text(content)
        assert translate(source, out, carry=mode).carried == 1
        assert (out / LABEL).samefile(source / LABEL) == (mode != "copy")
        assert (out / LABEL).is_symlink() == (mode == "symlink")
        assert state(source) == before
    assert verify(out).ok


def test_what_a_killed_writer_of_the_same_number_left_is_not_written_through(
    tmp_path: Path, source: Path, translate: Translate
) -> None:
    """In a container every run has the same process number; a leftover of hard-linking is the source itself."""
    out = tmp_path / "out"
    translate(source, out, carry="hardlink")
    before = state(source)
    label = out / LABEL
    label.rename(label.with_name(f".{label.name}.tmp-{os.getpid()}"))
    translate(source, out, carry="copy")
    assert state(source) == before
    assert not label.samefile(source / LABEL)
    assert verify(out).ok
    (tmp_path / "leftover").hardlink_to(source / LABEL)
    with pytest.raises(FileExistsError):
        carry.carry(source / LABEL, tmp_path / "leftover", "copy")
    assert state(source) == before


def test_bytes_written_are_those_of_copies(tmp_path: Path, source: Path, translate: Translate) -> None:
    linked = translate(source, tmp_path / "linked", carry="hardlink")
    copied = translate(source, tmp_path / "copied")
    images = sum(path.stat().st_size for path in (tmp_path / "linked").rglob("rgb_*.jpg"))
    assert linked.bytes == images
    assert copied.bytes == sum(path.stat().st_size for path in (tmp_path / "copied/Scene01").rglob("*.*")) + len(
        "kept\n"
    )


def test_a_clone_is_the_source_and_shares_its_blocks(tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(os.urandom(100_000))
    os.utime(source, ns=(1, 2))
    if not carry.can_clone(source, tmp_path):
        pytest.skip("this file system shares no blocks")
    carry.carry(source, target, "copy")
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_mtime_ns == 2


def test_a_clone_is_compared_with_its_source(
    tmp_path: Path, source: Path, translate: Translate, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloned: list[str] = []

    def clone(original: BinaryIO, target: BinaryIO) -> bool:
        """What the file system does, on one that cannot."""
        cloned.append(target.name)
        target.write(Path(original.name).read_bytes())
        return True

    monkeypatch.setattr(carry, "_clone", clone)
    translate(source, tmp_path / "out")
    assert len(cloned) == 11
    assert verify(tmp_path / "out").ok
    assert (tmp_path / "out" / LABEL).stat().st_mtime_ns == (source / LABEL).stat().st_mtime_ns

    def spoil(_original: BinaryIO, target: BinaryIO) -> bool:
        target.write(b"older bytes")
        return True

    monkeypatch.setattr(carry, "_clone", spoil)
    with pytest.raises(Sim2RealError, match="changed during the conversion"):
        translate(source, tmp_path / "other")
    assert not list((tmp_path / "other").rglob("*.txt"))


@pytest.mark.parametrize("mode", ["copy", "hardlink", "symlink"])
def test_a_file_that_vanishes_at_the_last_moment_is_the_only_one_that_fails(
    tmp_path: Path, source: Path, translate: Translate, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    label = (source / LABEL).resolve()

    def after_all(act: Callable[..., None]) -> Callable[..., None]:
        def late(*paths: Path) -> None:
            if label in {path.resolve() for path in paths}:
                label.unlink()
            act(*paths)

        return late

    if mode == "copy":
        monkeypatch.setattr("shutil.copystat", after_all(shutil.copystat))
    else:
        link, noun = carry._LINKS[mode]
        monkeypatch.setitem(carry._LINKS, mode, (after_all(link), noun))
    summary = translate(source, tmp_path / "out", carry=mode, keep_going=True)
    assert [path for path, _ in summary.failed] == [LABEL]
    assert not os.path.lexists(tmp_path / "out" / LABEL)


@pytest.mark.parametrize(
    ("mode", "number", "why", "instead"),
    [
        ("hardlink", errno.EXDEV, "it is on another file system", "--carry copy or symlink"),
        ("hardlink", errno.EPERM, "the file system does not support it", "--carry copy or symlink"),
        ("hardlink", errno.EMLINK, "Too many links", "--carry copy or symlink"),
        ("symlink", errno.EPERM, "the file system does not support it", "--carry copy or hardlink"),
    ],
)
def test_links_that_cannot_be_are_told_in_a_line(
    tmp_path: Path,
    source: Path,
    translate: Translate,
    monkeypatch: pytest.MonkeyPatch,
    *,
    mode: str,
    number: int,
    why: str,
    instead: str,
) -> None:
    def refuse(*_paths: Path) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setitem(carry._LINKS, mode, (refuse, carry._LINKS[mode][1]))
    with pytest.raises(Sim2RealError) as refusal:
        translate(source, tmp_path / "out", carry=mode)
    message = str(refusal.value)
    assert why in message
    assert message.endswith(f"use {instead}")
    assert "\n" not in message
    assert translate(source, tmp_path / "out", carry="copy").failed == []


def test_hard_links_across_file_systems(tmp_path: Path, source: Path, translate: Translate) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system at hand")
    with tempfile.TemporaryDirectory(dir=elsewhere) as folder:
        with pytest.raises(Sim2RealError, match="another file system; use --carry copy or symlink"):
            translate(source, Path(folder) / "out", carry="hardlink")
        assert translate(source, Path(folder) / "out", carry="symlink").failed == []
        assert verify(Path(folder) / "out").ok
