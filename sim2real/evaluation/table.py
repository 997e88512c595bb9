"""The table of each frame's values on disk."""

import csv
import io
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from sim2real.errors import Sim2RealError
from sim2real.evaluation.figures import frames_path
from sim2real.files import replacing, write_whole

Row = Mapping[str, str | int | float]

FACTS = ("path", "status", "sequence", "index")
"""The columns that are no values of frames."""


def write_frames(out: Path, rows: Sequence[Row]) -> None:
    """Write ``evaluation.csv`` of a conversion, complete or not at all.

    Args:
        out: The converted dataset.
        rows: One row per frame: ``path``, ``status``, ``sequence``, ``index``, and its values by name; missing values
            stay empty.
    """
    columns = list(dict.fromkeys([*FACTS, *(name for row in rows for name in row)]))
    file = io.StringIO(newline="")
    table = csv.DictWriter(file, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(
        {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in row.items()} for row in rows
    )
    write_whole(frames_path(out), file.getvalue().encode())


def check_copy(path: Path) -> None:
    """Check that the values of frames can be copied to a file, before hours are spent on measuring them.

    Raises:
        Sim2RealError: If they cannot.
    """
    if path.suffix not in {".csv", ".parquet"}:
        message = f"{path}: values of frames are written as .csv or .parquet; name a file with one of these endings"
        raise Sim2RealError(message)
    if not path.parent.is_dir():
        message = f"{path.parent}: no such folder; create it, or name another one"
        raise Sim2RealError(message)
    if path.suffix == ".parquet" and find_spec("pyarrow") is None:
        message = f'{path}: Parquet files need pyarrow: pip install "sim2real[parquet]", or name a .csv file'
        raise Sim2RealError(message)


def copy_frames(out: Path, path: Path) -> None:
    """Copy ``evaluation.csv`` of a conversion to a .csv file, or write its values to a .parquet file.

    Raises:
        Sim2RealError: If the file cannot be written, see :func:`check_copy`.
    """
    check_copy(path)
    if path.suffix == ".csv":
        write_whole(path, frames_path(out).read_bytes())
        return
    csv_files, parquet_files = (import_module(f"pyarrow.{name}") for name in ("csv", "parquet"))
    with replacing(path) as temporary:
        parquet_files.write_table(csv_files.read_csv(frames_path(out)), temporary)
