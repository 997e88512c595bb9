"""``sim2real report``."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    run: Annotated[Path, typer.Argument(help="A run folder, of a training that is finished, under way or cut off.")],
    out: Annotated[Path | None, typer.Option(help="The HTML file to write.", show_default="report.html in RUN")] = None,
) -> None:
    """Write one HTML file that shows a training: samples, scores, losses, notes, settings.

    It needs no network and no other file, and opens on a phone as well.
    """
    from sim2real.cli.console import byte_size
    from sim2real.cli.console import out as console
    from sim2real.report import write_report

    file = write_report(run, out)
    console.print(f"report of {run}: {file} ({byte_size(file.stat().st_size)})")
