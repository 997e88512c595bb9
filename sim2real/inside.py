"""What lies below a folder and nowhere else, whatever a file there says, and wherever a link there leads."""

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
    """Whether a path is a symbolic link, or, on Windows, a junction, which is one but in name."""
    try:
        status = os.lstat(path)
    except (OSError, ValueError):
        return False
    return stat.S_ISLNK(status.st_mode) or getattr(status, "st_reparse_tag", 0) == _JUNCTION


def inside(root: Path, path: str = "") -> Path:
    """A path below a folder of ours, such as a run or a converted dataset: no link leads from there to somewhere else.

    The folder itself may be a link, as to another disk. What is below it we have made, and we make no links to folders.

    Args:
        root: The folder, which need not be there.
        path: Relative to it, with forward slashes; what it names need not be there.

    Raises:
        Sim2RealError: One of its parts is a link, or the last is neither a file nor a folder.
    """
    place = root
    for part in path.split("/") if path else ():
        place /= part
        if is_link(place):
            message = f"{place}: a link; inside {root} none is followed, so that nothing outside is read or written"
            raise Sim2RealError(f"{message}: remove it, or put what it leads to in its place")
    if path and place.exists() and not (place.is_file() or place.is_dir()):
        require_regular(place)
    return place


def open_regular(path: Path) -> BufferedReader:
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
