"""Looks: several conversions of one dataset, OUT/look_00, OUT/look_01 ..., whose generator samples differently."""

import re
from pathlib import Path
from typing import Final

from sim2real.conversion.manifest import read_record, record_path
from sim2real.errors import Sim2RealError
from sim2real.files import LEFTOVER

MOST: Final = 100
_NAME: Final = re.compile(r"look_(\d{2})")


def look_folder(out: Path, number: int) -> Path:
    """Return the folder of a look."""
    return out / f"look_{number:02}"


def looks_in(out: Path) -> list[Path]:
    """Return the folders of the looks in a folder, begun or not, in order; none if it holds no looks.

    Raises:
        Sim2RealError: If a record is damaged.
    """
    begun = {}
    for path in out.iterdir() if out.is_dir() else ():
        if (match := _NAME.fullmatch(path.name)) and record_path(path).is_file():
            begun[int(match[1])] = read_record(path)
    count = max([number + 1 for number in begun] + [record.looks for record in begun.values() if record], default=0)
    return [look_folder(out, number) for number in range(count)]


def require_one(out: Path) -> None:
    """Check that a folder does not hold several looks, of which one must be named.

    Raises:
        Sim2RealError: If it does.
    """
    if looks := looks_in(out):
        raise Sim2RealError(f"{out}: holds {len(looks)} looks of a conversion; name one of them, such as {looks[0]}")


def places_of(out: Path, looks: int) -> list[Path]:
    """Return the folder of each look; ``out`` itself if there is one look.

    Raises:
        Sim2RealError: If the folder holds something else.
    """
    if looks == 1:
        if begun := looks_in(out):
            message = f"{out}: holds {len(begun)} looks of a conversion; continue with --looks {len(begun)}"
            raise Sim2RealError(f"{message}, or name a new or empty folder")
        return [out]
    if record_path(out).is_file():
        message = f"{out}: holds a conversion of one look; name a new or empty folder for --looks {looks}"
        raise Sim2RealError(message)
    folders = [look_folder(out, number) for number in range(looks)]
    names = {folder.name for folder in folders}
    for path in out.iterdir() if out.is_dir() else ():
        if path.name not in names and not LEFTOVER.fullmatch(path.name):
            if _NAME.fullmatch(path.name):
                message = f"{out}: holds more looks than {looks} ({path.name}); use --looks {len(looks_in(out))}"
            else:
                message = f"{out}: not empty ({path.name}); name a new or empty folder for --looks {looks}"
            raise Sim2RealError(message)
    return folders


def with_look(text: str, look: int) -> str:
    """Return a path or sequence name with the number of the look, for seeds; unchanged for the first look."""
    return f"{text}\0{look}" if text and look else text
