"""Atomic writing of files, file locks and checksums."""

import errno
import hashlib
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from sim2real.errors import Sim2RealError
from sim2real.inside import open_regular, require_regular

LEFTOVER = re.compile(r"\..+\.tmp-\d+")
_LONGEST = 255 - len("..tmp-") - 20  # at most 20 digits of a process id


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to ``path``; rename it to ``path`` if the block succeeds, else remove it.

    An existing file is replaced, never written to, so hard links to it and the target of a symbolic link are not
    changed. Leftovers of killed writers match ``LEFTOVER``.

    Raises:
        Sim2RealError: If the path is a pipe or a device.
        OSError: If the file cannot be written; ``filename`` is that of ``path``.
    """
    if path.exists() and not path.is_dir():
        require_regular(path)
    temporary = path.with_name(f".{_short(path.name)}.tmp-{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.filename in (None, str(temporary)):  # a full disk reports no name, other errors the temporary one
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _short(name: str) -> str:
    """Return the name, or its hash if it is too long for a suffix: file systems allow 255 bytes."""
    encoded = os.fsencode(name)
    return name if len(encoded) <= _LONGEST else hashlib.sha256(encoded).hexdigest()


def leftovers_of(paths: Iterable[str], leftovers: Iterable[str]) -> list[str]:
    """Return the leftovers that writers of the given files left, all as relative paths."""
    folders_and_names = (path.rpartition("/") for path in paths)
    beginnings = {f"{folder}{slash}.{_short(name)}.tmp" for folder, slash, name in folders_and_names}
    return [path for path in leftovers if path.rpartition("-")[0] in beginnings]


def write_whole(path: Path, data: bytes) -> None:
    """Write a file atomically and flush it to disk."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def check_writable(folder: Path) -> None:
    """Check that a folder is writable, or can be created.

    Raises:
        Sim2RealError: If it is not.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    if not there.is_dir():
        raise Sim2RealError(f"{folder}: cannot be created: {there} is no folder; name another place")
    if not os.access(there, os.W_OK | os.X_OK):
        is_read_only = hasattr(os, "statvfs") and os.statvfs(there).f_flag & os.ST_RDONLY
        why = os.strerror(errno.EROFS if is_read_only else errno.EACCES)
        raise Sim2RealError(f"{folder}: cannot be written: {why}: {there}; name another place")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


PATIENCE = 3  # seconds that a killed process may hold its locks until its memory is freed
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})
_locked = set[FileIO]()  # locked by this process, perhaps closed; no weak references, whose callbacks swallow Ctrl-C

if sys.platform == "win32":
    import msvcrt

    def _lock(file: FileIO) -> None:
        file.seek(0x7FFF_FFFE)  # far behind the end, as locked bytes cannot be read on Windows
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(file: FileIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _let_go() -> None:
        """Close locked files in a forked process, where a copy of the file would keep the parent's lock alive."""
        for file in _locked:
            file.close()

    os.register_at_fork(after_in_child=_let_go)


def lock(file: FileIO) -> bool:
    """Lock a file that is open for writing until it is closed or its process dies.

    Child processes do not inherit the lock: the file is closed in forked ones.

    Returns:
        True, or False if another process holds the lock.

    Raises:
        Sim2RealError: If the file system does not support locks.
    """
    try:
        _lock(file)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise Sim2RealError(
            f"{file.name}: this file system has no locks (Lustre: mount with -o flock); name a folder elsewhere"
        ) from error
    _locked.difference_update([other for other in _locked.copy() if other.closed])
    _locked.add(file)
    return True


@contextmanager
def exclusive(path: Path, refusal: str, *, patience: float = 0) -> Iterator[None]:
    """Hold a lock file, which remains as an empty file; a process that dies releases its lock.

    Args:
        path: The lock file; the process that holds the lock may remove it.
        refusal: Error message if another process holds the lock.
        patience: Seconds to wait for the lock.

    Raises:
        Sim2RealError: If another process holds the lock.
    """
    end = time.monotonic() + patience
    while (handle := _open_locked(path)) is None:
        if time.monotonic() >= end:
            raise Sim2RealError(refusal)
        time.sleep(0.02)
    with handle:
        yield


def _open_locked(path: Path) -> FileIO | None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = path.open("ab", buffering=0)
    try:
        if lock(handle) and os.path.samestat(os.fstat(handle.fileno()), path.stat()):
            return handle
    except FileNotFoundError:
        pass  # its holder has removed it, so that the locked file has no name
    except BaseException:
        handle.close()
        raise
    handle.close()
    return None
