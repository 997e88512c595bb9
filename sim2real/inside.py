"""Safe access to files below a folder: links are not followed, and only regular files are opened."""

import os
import stat
from io import BufferedReader
from pathlib import Path

from sim2real.errors import Sim2RealError

_JUNCTION = getattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", -1)
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def is_link(path: str | Path) -> bool:
    """Return whether a path is a symbolic link or, on Windows, a junction."""
    try:
        status = os.lstat(path)
    except (OSError, ValueError):
        return False
    return stat.S_ISLNK(status.st_mode) or getattr(status, "st_reparse_tag", 0) == _JUNCTION


def inside(root: Path, path: str = "") -> Path:
    """Return a path below a folder that sim2real writes, such as a run, and check that it contains no links.

    The folder itself may be a link, for example to another disk. Below it, sim2real never creates links to folders.

    Args:
        root: The folder; it need not exist.
        path: Relative path with forward slashes; it need not exist.

    Raises:
        Sim2RealError: If a part of the path is a link, or its last part is neither a file nor a folder.
    """
    place = root
    for part in path.split("/") if path else ():
        place /= part
        if is_link(place):
            message = f"{place}: a link; links inside {root} are not followed, so nothing outside is read or written"
            raise Sim2RealError(f"{message}: remove it, or replace it by its target")
    if path and place.exists() and not (place.is_file() or place.is_dir()):
        require_regular(place)
    return place


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading; pipes and devices, which may have no end, are refused.

    Raises:
        Sim2RealError: If it is not a regular file.
        OSError: If it does not exist or cannot be read.
    """
    require_regular(path)
    return path.open("rb")


def read_regular(path: Path) -> bytes:
    """Return the bytes of a file, opened with :func:`open_regular`."""
    with open_regular(path) as file:
        return file.read()


def require_regular(path: Path) -> None:
    """Check that a path is a regular file.

    Raises:
        Sim2RealError: If it is something else.
        OSError: If it does not exist.
    """
    kind = stat.S_IFMT(os.stat(path).st_mode)  # noqa: PTH116  called for every frame; faster without Path
    if kind != stat.S_IFREG:
        raise Sim2RealError(f"{path}: {_KINDS.get(kind, 'a special file')}, not a file; remove it, or name another")
