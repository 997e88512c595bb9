"""Locks and leftovers."""

import errno
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sim2real.errors import Sim2RealError
from sim2real.files import LEFTOVER, exclusive, leftovers_of, lock, replacing


def test_one_at_a_time_even_if_the_lock_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "folder/lock"
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        for _ in range(20):
            with exclusive(path, "busy", patience=60):
                inside.append(number)
                most.append(len(inside))
                time.sleep(0.001)
                inside.remove(number)
                if number % 2:
                    path.unlink()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 80


def test_without_patience_it_is_refused_at_once(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with exclusive(lock, "never said"), pytest.raises(Sim2RealError, match="busy"), exclusive(lock, "busy"):
        pytest.fail("two at a time")
    with exclusive(lock, "never said"):
        assert lock.read_bytes() == b""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_that_is_forked_has_no_part_in_the_locks_of_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with exclusive(path, "never said"):
        child = _forked(lambda: time.sleep(60))
        time.sleep(0.1)
        with pytest.raises(Sim2RealError, match="busy"), exclusive(path, "busy"):
            pytest.fail("the child has let go of its parent's lock")
    with exclusive(path, "the child holds it"):
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_that_is_forked_locks_for_itself(tmp_path: Path) -> None:
    reading, writing = os.pipe()

    def hold() -> None:
        with exclusive(tmp_path / "lock", "never said"):
            os.write(writing, b".")
            time.sleep(60)

    child = _forked(hold)
    os.read(reading, 1)
    with (tmp_path / "lock").open("ab", buffering=0) as file:
        assert not lock(file)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with exclusive(tmp_path / "lock", "busy"):
        pass


def _forked(work: Callable[[], None]) -> int:
    """The number of a process that does something and ends."""
    if child := os.fork():
        return child
    try:
        work()
    finally:
        os._exit(0)


@pytest.mark.parametrize("name", ["a.png", "x" * 255])
def test_leftovers_are_known_by_the_file_that_they_were_to_become(tmp_path: Path, name: str) -> None:
    for relative in (name, f"folder/{name}"):
        path = tmp_path / relative
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(b"")
            leftover = temporary.relative_to(tmp_path).as_posix()
        assert LEFTOVER.fullmatch(temporary.name)
        assert leftovers_of([relative, "other.png"], [leftover, "other"]) == [leftover]
        assert leftovers_of([f"elsewhere/{name}", "other.png"], [leftover]) == []


@pytest.mark.parametrize("name", [None, "temporary"])
def test_what_cannot_be_written_is_told_by_the_name_that_it_was_to_have(tmp_path: Path, name: str | None) -> None:
    def write_to(path: Path) -> None:
        with replacing(path) as temporary:
            temporary.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device", name and str(temporary))

    with pytest.raises(OSError, match="No space left") as caught:
        write_to(tmp_path / "a.png")
    assert caught.value.filename == str(tmp_path / "a.png")
    assert not any(tmp_path.iterdir())
