"""Reports on runs and conversions: a single HTML file that needs no network."""

from collections.abc import Sequence
from pathlib import Path

from sim2real.conversion.looks import require_one
from sim2real.datasets.base import STATE_FOLDER
from sim2real.errors import Sim2RealError
from sim2real.files import check_writable, write_whole
from sim2real.inside import inside
from sim2real.places import absent, is_run
from sim2real.progress import Progress, quiet
from sim2real.report.conversion import conversion_page
from sim2real.report.converted import find_run, is_conversion, read_conversion
from sim2real.report.naming import Naming
from sim2real.report.page import Page, render
from sim2real.report.run import read_run
from sim2real.report.training import run_page

REPORT_FILE = "report.html"


def report_path(folder: Path) -> Path:
    """Return the default path of the report of a run or of a conversion."""
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
    """Write the report of a run or of a conversion, whether it is finished, in progress or was interrupted.

    Args:
        folder: The run folder, or the converted dataset.
        out: The file to write; None: ``report.html`` in a run, ``.sim2real/report.html`` in a converted dataset, which
            otherwise only holds the files of its source.
        frames: For a conversion, paths of frames to show in addition to those chosen by their values.
        run: For a conversion, the run that its generator comes from; None: it is searched under ``runs``.
        real: For a conversion, whether to show some of the real images that it was compared with.
        paths: Whether to show full paths; else only the names of folders and files, so that a report can be shared.
        progress: Called while the images of a conversion are drawn.

    Returns:
        The written file.

    Raises:
        Sim2RealError: If the folder holds neither a run nor a conversion, there is no such frame, the folder of the
            file does not exist, or Matplotlib, which draws the plots, is not installed.
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
        message = f"{file}: name a file in a folder that exists"
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
    """Return the page of a run, and the objects that hold the paths shown on it."""
    if frames or run:
        message = f"{folder}: a training run; frames and the run can only be named for the report of a conversion"
        raise Sim2RealError(message)
    training = read_run(folder)
    return run_page(training), training.settings


def _conversion_page(
    folder: Path, frames: Sequence[str], run: Path | None, *, real: bool, progress: Progress
) -> tuple[Page, object]:
    """Return the page of a conversion, and the objects that hold the paths shown on it."""
    if run and not is_run(run):
        message = f"{run}: no run here; name a folder that sim2real train wrote"
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
