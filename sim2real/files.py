"""Files that are there whole or not at all, and folders that one process writes to."""

import hashlib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from sim2real.errors import Sim2RealError

LEFTOVER = re.compile(r"\..+\.tmp-\d+")
_LONGEST = 255 - len("..tmp-") - 20  # digits of a process id


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write to; it takes the name ``path`` if the block succeeds, else it is removed.

    Whatever stood under the name is replaced, never written to, so that what shares its bytes (a hard link, the
    target of a symbolic link) is left alone. Leftovers of killed writers match ``LEFTOVER``.
    """
    temporary = path.with_name(f".{_short(path.name)}.tmp-{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _short(name: str) -> str:
    """The name, or its hash where it could not grow: file systems allow 255 bytes."""
    encoded = os.fsencode(name)
    return name if len(encoded) <= _LONGEST else hashlib.sha256(encoded).hexdigest()


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is on the disk, complete, when it appears under its name."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if sys.platform == "win32":
    _HELD = PermissionError

    def _open_exclusively(path: Path) -> BinaryIO:
        path.unlink(missing_ok=True)  # refused while somebody holds it open
        return path.open("wb")
else:
    import fcntl

    _HELD = BlockingIOError

    def _open_exclusively(path: Path) -> BinaryIO:
        handle = path.open("wb")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException:
            handle.close()
            raise
        return handle


@contextmanager
def exclusive(lock: Path, refusal: str) -> Iterator[None]:
    """Hold a lock file, which stays behind empty; the lock of a process that died is void.

    Raises:
        Sim2RealError: Another process holds it; the message is ``refusal``.
    """
    try:
        handle = _open_exclusively(lock)
    except _HELD as error:
        raise Sim2RealError(refusal) from error
    with handle:
        yield
