"""Reports: one HTML file that shows what was done, needs no network and opens from anywhere."""

from collections.abc import Sequence
from pathlib import Path

from sim2real.conversion.looks import require_one
from sim2real.conversion.pipeline import Progress, quiet
from sim2real.datasets.base import STATE_FOLDER
from sim2real.errors import Sim2RealError
from sim2real.files import check_writable, write_whole
from sim2real.inside import inside
from sim2real.places import absent, is_run
from sim2real.report.conversion import conversion_page
from sim2real.report.converted import find_run, is_conversion, read_conversion
from sim2real.report.naming import Naming
from sim2real.report.page import Page, render
from sim2real.report.run import read_run
from sim2real.report.training import run_page

REPORT_FILE = "report.html"


def report_path(folder: Path) -> Path:
    """Where the report of a run or of a conversion is, unless another file is named."""
    return inside(folder, f"{STATE_FOLDER}/{REPORT_FILE}" if is_conversion(folder) else REPORT_FILE)


def write_report(
    folder: Path,
    out: Path | None = None,
    *,
    frames: Sequence[str] = (),
    run: Path | None = None,
    real: bool = True,
    paths: bool = False,
    progress: Progress = quiet,
) -> Path:
    """Write the report of a run or of a conversion: of what is there, whether it is finished, under way or was cut off.

    Args:
        folder: The run folder, or the converted dataset.
        out: The file to write; None: ``report.html`` in a run, ``.sim2real/report.html`` in a converted dataset, whose
            own files are those of its source.
        frames: Of a conversion, frames to show besides those that are chosen by their figures: their paths.
        run: Of a conversion, the training that its generator is from; None: it is looked for under ``runs``.
        real: Of a conversion, whether to show some of the real pictures that it was compared with.
        paths: Show paths in full; else the names of folders and files alone, as a report may be passed on.
        progress: Told of the pictures of a conversion.

    Returns:
        The file.

    Raises:
        Sim2RealError: There is neither run nor conversion in the folder, no such frame, no folder for the file, or what
            draws the plots is not installed.
    """
    conversion = is_conversion(folder)
    if not conversion and not is_run(folder):
        require_one(folder)
        here = f"{folder}: neither run nor conversion here to report on" if folder.is_dir() else absent(folder)
        raise Sim2RealError(
            f"{here}; name a folder that sim2real train wrote, such as runs/default, or the OUT of sim2real convert"
        )
    file = out or report_path(folder)
    if not file.parent.is_dir():
        message = f"{file}: name a file in a folder that is there"
        raise Sim2RealError(message)
    check_writable(file.parent)
    page, known = (
        _conversion_page(folder, frames, run, real=real, progress=progress)
        if conversion
        else _run_page(folder, frames, run)
    )
    write_whole(file, render(page, Naming(folder.absolute(), run, known, paths=paths)).encode())
    return file


def _run_page(folder: Path, frames: Sequence[str], run: Path | None) -> tuple[Page, object]:
    """The page, and what may tell paths that are on it."""
    if frames or run:
        message = f"{folder}: the report of a training; frames and the run are said for that of a conversion"
        raise Sim2RealError(message)
    training = read_run(folder)
    return run_page(training), training.settings


def _conversion_page(
    folder: Path, frames: Sequence[str], run: Path | None, *, real: bool, progress: Progress
) -> tuple[Page, object]:
    """Likewise."""
    if run and not is_run(run):
        message = f"{run}: no run here; name the folder that sim2real train wrote"
        raise Sim2RealError(message)
    conversion = read_conversion(folder)
    places = dict.fromkeys([Path("runs"), folder.resolve().parent / "runs"])
    training = read_run(run) if run else find_run(conversion.record, list(places))
    record, evaluation = conversion.record, conversion.evaluation
    known = [
        [record.source, record.generator] if record else [],
        [evaluation.source, evaluation.real.split(", "), evaluation.settings] if evaluation else [],
        [training.folder, training.settings] if training else [],
    ]
    return conversion_page(conversion, training, frames, progress, real=real), known


__all__ = ["REPORT_FILE", "report_path", "write_report"]
