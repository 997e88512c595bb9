"""How a file comes over byte for byte: copied, sharing its bytes where the file system can, or linked."""

import errno
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from sim2real.datasets.base import Role
from sim2real.errors import Sim2RealError
from sim2real.files import sha256_of

_CHUNK = 1 << 20


class SourceError(Exception):
    """A file of the source that cannot be converted or carried; the others can."""


def mode_of(role: Role, wanted: str) -> str:
    """How a file comes over if links are wanted: images are copied still, for tools repair images in place."""
    return "copy" if role is Role.IMAGE else wanted


def carry(source: Path, target: Path, mode: str) -> str:
    """Bring a file over; times and permissions come along.

    Args:
        source: The file.
        target: A path where nothing is.
        mode: ``"copy"``, ``"hardlink"`` or ``"symlink"``.

    Returns:
        SHA-256 of its bytes, in hexadecimal.

    Raises:
        SourceError: The source cannot be read, or changes meanwhile.
        Sim2RealError: There can be no link of that kind.
        OSError: The target cannot be written.
    """
    if mode == "copy":
        return _copy(source, target)
    link, noun = _LINKS[mode]
    digest = _digest(source)
    try:
        link(target, source.resolve())
    except FileNotFoundError as error:
        raise SourceError("vanished during the conversion") from error
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        others = " or ".join(sorted({"copy", *_LINKS} - {mode}))
        why = _NO_LINKS[error.errno] or error.strerror
        message = f"{source}: no {noun} to it can be made in {target.parent}: {why}; use --carry {others}"
        raise Sim2RealError(message) from error
    return digest


_LINKS: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "hardlink": (Path.hardlink_to, "hard link"),
    "symlink": (Path.symlink_to, "symbolic link"),
}
_NOT_HERE = "the file system has none, or lets nobody link to the files of others"
_NO_LINKS = {
    errno.EXDEV: "that is another file system",
    errno.EPERM: _NOT_HERE,
    errno.ENOSYS: _NOT_HERE,
    errno.EOPNOTSUPP: _NOT_HERE,
    errno.EMLINK: "",
}


def _copy(source: Path, target: Path) -> str:
    digest = hashlib.sha256()
    with _opened(source) as original, target.open("xb") as file:  # never into what is there, be it a link to the source
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
        """Let a file share the blocks of another until one of them changes; False where that cannot be."""
        try:
            fcntl.ioctl(target, _FICLONE, source.fileno())
        except OSError:  # across file systems, or on one without it: plain copying tells whatever else is wrong
            return False
        return True
else:

    def _clone(_source: BinaryIO, _target: BinaryIO) -> bool:
        """Nothing but Linux is asked to share blocks."""
        return False


def can_clone(source: Path, folder: Path) -> bool:
    """Whether copies of a file into a folder share its blocks."""
    try:
        with source.open("rb") as original, tempfile.TemporaryFile(dir=folder) as file:
            return _clone(original, file)
    except OSError:
        return False


def _digest(source: Path) -> str:
    digest = hashlib.sha256()
    with _opened(source) as file:
        for chunk in _chunks(file):
            digest.update(chunk)
    return digest.hexdigest()


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
    """What a file system says of a file that it does not give."""
    return SourceError(f"cannot be read: {error.strerror}")
