"""Files that are there whole or not at all, and folders that one process writes to."""

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
_LONGEST = 255 - len("..tmp-") - 20  # digits of a process id


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write to; it takes the name ``path`` if the block succeeds, else it is removed.

    Whatever stood under the name is replaced, never written to, so that what shares its bytes (a hard link, the
    target of a symbolic link) is left alone. Leftovers of killed writers match ``LEFTOVER``.

    Raises:
        Sim2RealError: A pipe or a device has that name.
        OSError: It cannot be written; ``filename`` is that of ``path``.
    """
    if path.exists() and not path.is_dir():
        require_regular(path)
    temporary = path.with_name(f".{_short(path.name)}.tmp-{os.getpid()}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.filename in (None, str(temporary)):  # a full disk names no file, others the one beside
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _short(name: str) -> str:
    """The name, or its hash where it could not grow: file systems allow 255 bytes."""
    encoded = os.fsencode(name)
    return name if len(encoded) <= _LONGEST else hashlib.sha256(encoded).hexdigest()


def leftovers_of(paths: Iterable[str], leftovers: Iterable[str]) -> list[str]:
    """Those of some leftovers that writers of these files left, all by relative path."""
    folders_and_names = (path.rpartition("/") for path in paths)
    beginnings = {f"{folder}{slash}.{_short(name)}.tmp" for folder, slash, name in folders_and_names}
    return [path for path in leftovers if path.rpartition("-")[0] in beginnings]


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is on the disk, complete, when it appears under its name."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def check_writable(folder: Path) -> None:
    """Make sure that a folder can be made, or written to.

    Raises:
        Sim2RealError: It cannot.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    if not there.is_dir():
        raise Sim2RealError(f"{folder}: cannot be made: {there} is no folder; name another place")
    if not os.access(there, os.W_OK | os.X_OK):
        is_read_only = hasattr(os, "statvfs") and os.statvfs(there).f_flag & os.ST_RDONLY
        why = os.strerror(errno.EROFS if is_read_only else errno.EACCES)
        raise Sim2RealError(f"{folder}: cannot be written: {why}: {there}; name another place")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


PATIENCE = 3  # seconds that a killed process may still hold its locks, until the system has taken its memory back
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})
_locked = set[FileIO]()  # by this process, and perhaps closed since; no weak ones, whose callbacks swallow a Ctrl-C

if sys.platform == "win32":
    import msvcrt

    def _lock(file: FileIO) -> None:
        file.seek(0x7FFF_FFFE)  # far behind the end: there nobody reads what Windows keeps from others
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(file: FileIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _let_go() -> None:
        """In a process that is forked: the lock is its parent's alone, and would outlive it in a copy of the file."""
        for file in _locked:
            file.close()

    os.register_at_fork(after_in_child=_let_go)


def lock(file: FileIO) -> bool:
    """Lock a file that is open for writing, until it is closed or its process dies; False if another process has it.

    Processes that this one begins have no part in it: in a forked one the file is closed.

    Raises:
        Sim2RealError: The file system has no locks.
    """
    try:
        _lock(file)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        message = f"{file.name}: this file system has no locks (Lustre: mount with -o flock); name a folder elsewhere"
        raise Sim2RealError(message) from error
    _locked.difference_update([other for other in _locked.copy() if other.closed])
    _locked.add(file)
    return True


@contextmanager
def exclusive(path: Path, refusal: str, *, patience: float = 0) -> Iterator[None]:
    """Hold a lock file, which stays behind empty; the lock of a process that died is void.

    Args:
        path: The file; whoever holds it may remove it.
        refusal: What to say if another process holds it.
        patience: Seconds to wait until it does not.

    Raises:
        Sim2RealError: Another process holds it.
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
        pass  # its holder has removed it, and what is locked has no name any more
    except BaseException:
        handle.close()
        raise
    handle.close()
    return None
