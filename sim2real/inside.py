"""What lies below a folder and nowhere else, whatever a file there says, and wherever a link there leads."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from sim2real.errors import Sim2RealError

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading; of a pipe or a device the end might never come.

    Raises:
        Sim2RealError: It is no regular file.
        OSError: It is not there, or may not be read.
    """
    require_regular(path)
    return path.open("rb")


def read_regular(path: Path) -> bytes:
    """The bytes of a file, as of :func:`open_regular`."""
    with open_regular(path) as file:
        return file.read()


def require_regular(path: Path) -> None:
    """Make sure that a path is that of a regular file.

    Raises:
        Sim2RealError: It is of something else.
        OSError: There is nothing.
    """
    kind = stat.S_IFMT(os.stat(path).st_mode)  # noqa: PTH116  asked of every frame, for which no Path need be made
    if kind != stat.S_IFREG:
        raise Sim2RealError(f"{path}: {_KINDS.get(kind, 'a special file')}, not a file; remove it, or name another")
