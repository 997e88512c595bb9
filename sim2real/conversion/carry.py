"""Copies, clones and links of files that do not change."""

import errno
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO

from sim2real.datasets.base import Role
from sim2real.errors import Sim2RealError
from sim2real.files import sha256_of

_CHUNK = 1 << 20
Stat = tuple[int, int] | None
"""The size and the modification time of a file (bytes, ns); None if it is not a readable regular file."""


class SourceError(Exception):
    """Raised if one file of the source cannot be converted or carried; other files are not affected."""


def stat_of(path: str | Path) -> Stat:
    """Return the size and modification time of a file."""
    try:
        stat = os.stat(path)  # noqa: PTH116  faster than Path for a million files
    except OSError:
        return None
    return (stat.st_size, stat.st_mtime_ns) if S_ISREG(stat.st_mode) else None


def mode_of(role: Role, wanted: str) -> str:
    """Return how a file is carried if links are requested; images are always copied.

    Tools may edit images in place, which would change the source through a link.
    """
    return "copy" if role is Role.IMAGE else wanted


def carry(source: Path, target: Path, mode: str) -> str:
    """Copy or link a file, with its times and permissions.

    Args:
        source: The file.
        target: A path that does not exist.
        mode: ``"copy"``, ``"hardlink"`` or ``"symlink"``.

    Returns:
        SHA-256 of its content, in hexadecimal.

    Raises:
        SourceError: If the source cannot be read, or changes meanwhile.
        Sim2RealError: If a link of that kind cannot be created.
        OSError: If the target cannot be written.
    """
    if mode == "copy":
        return _copy(source, target)
    link, noun = _LINKS[mode]
    digest = digest_of(source)
    try:
        link(target, source.resolve())
    except FileNotFoundError as error:
        raise SourceError("vanished during the conversion") from error
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        others = " or ".join(sorted({"copy", *_LINKS} - {mode}))
        why = _NO_LINKS[error.errno] or error.strerror
        message = f"{source}: cannot create a {noun} to it in {target.parent}: {why}; use --carry {others}"
        raise Sim2RealError(message, topic="disk-space") from error
    return digest


_LINKS: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "hardlink": (Path.hardlink_to, "hard link"),
    "symlink": (Path.symlink_to, "symbolic link"),
}
_NOT_HERE = "the file system does not support it, or forbids links to other users' files"
_NO_LINKS = {
    errno.EXDEV: "it is on another file system",
    errno.EPERM: _NOT_HERE,
    errno.ENOSYS: _NOT_HERE,
    errno.EOPNOTSUPP: _NOT_HERE,
    errno.EMLINK: "",
}


def _copy(source: Path, target: Path) -> str:
    digest = hashlib.sha256()
    with _opened(source) as original, target.open("xb") as file:  # "x": the target may link to the source
        cloned = _clone(original, file)
        for chunk in _chunks(original):
            digest.update(chunk)
            if not cloned:
                file.write(chunk)
        file.flush()
        try:
            shutil.copystat(source, target)
        except FileNotFoundError as error:
            raise SourceError("vanished during the conversion") from error
        os.fsync(file.fileno())
    if cloned and sha256_of(target) != digest.hexdigest():
        raise SourceError("changed during the conversion")
    return digest.hexdigest()


if sys.platform == "linux":
    import fcntl

    _FICLONE = 0x40049409  # linux/fs.h; see ioctl_ficlone(2)

    def _clone(source: BinaryIO, target: BinaryIO) -> bool:
        """Let a file share the blocks of another until one of them changes; return False if that is impossible."""
        try:
            fcntl.ioctl(target, _FICLONE, source.fileno())
        except OSError:  # other or unsupported file system; copying reports other errors
            return False
        return True
else:

    def _clone(_source: BinaryIO, _target: BinaryIO) -> bool:
        """Return False: blocks are shared on Linux only."""
        return False


def can_clone(source: Path, folder: Path) -> bool:
    """Return whether copies of a file into a folder share its blocks."""
    try:
        with source.open("rb") as original, tempfile.TemporaryFile(dir=folder) as file:
            return _clone(original, file)
    except OSError:
        return False


def digest_of(source: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal.

    Raises:
        SourceError: If it cannot be read.
    """
    try:
        return sha256_of(source)
    except OSError as error:
        raise unreadable(error) from error


def _opened(source: Path) -> BinaryIO:
    try:
        return source.open("rb")
    except OSError as error:
        raise unreadable(error) from error


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    try:
        while chunk := file.read(_CHUNK):
            yield chunk
    except OSError as error:
        raise unreadable(error) from error


def unreadable(error: OSError) -> SourceError:
    """Return the error for a file that cannot be read."""
    return SourceError(f"cannot be read: {error.strerror}")
