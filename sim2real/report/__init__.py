"""Reports: one HTML file that shows what was done, needs no network and opens from anywhere."""

from pathlib import Path

from sim2real.errors import Sim2RealError
from sim2real.files import write_whole
from sim2real.report.page import render
from sim2real.report.run import is_run, read_run
from sim2real.report.training import run_page

REPORT_FILE = "report.html"


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Write the report of a run: of what is there, whether it is finished, under way or was cut off.

    Args:
        folder: The run folder.
        out: The file to write; None: ``report.html`` in the folder.

    Returns:
        The file.

    Raises:
        Sim2RealError: There is no run in the folder, none for the file, or what draws the plots is not installed.
    """
    if not is_run(folder):
        message = f"{folder}: no run here to report on; name a folder that sim2real train wrote, such as runs/default"
        raise Sim2RealError(message)
    file = out or folder / REPORT_FILE
    if not file.parent.is_dir():
        message = f"{file}: name a file in a folder that is there"
        raise Sim2RealError(message)
    write_whole(file, render(run_page(read_run(folder))).encode())
    return file


__all__ = ["REPORT_FILE", "write_report"]
