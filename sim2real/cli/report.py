"""``sim2real report``."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|OUT",
            help="A run folder, of a training that is finished, under way or cut off; or a converted dataset.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="The HTML file to write.", show_default="RUN/report.html or OUT/.sim2real/report.html"),
    ] = None,
    frame: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="A frame to show besides those chosen by their figures; repeatable."),
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="Of a conversion: the run of its model.", show_default="looked for under runs/")
    ] = None,
    real: Annotated[
        bool, typer.Option("--real/--no-real", help="Of a conversion: show a few of the real pictures beside it.")
    ] = True,
    paths: Annotated[
        bool, typer.Option("--paths", help="Show paths in full; else names alone, as a report may be passed on.")
    ] = False,
) -> None:
    """Write one HTML file that shows a training, or a conversion.

    Of a training: samples, scores, losses, notes, settings. Of a conversion: its verdict, frames before and after with
    their labels and a few of the real pictures, figures, rejected frames, settings. It needs no network and no other
    file, and opens on a phone as well. Leave the real pictures out (--no-real) where they must not be passed on.
    """
    from sim2real.cli.console import byte_size, progress
    from sim2real.cli.console import out as console
    from sim2real.report import write_report

    with progress("frames") as show:
        file = write_report(folder, out, frames=frame or (), run=run, real=real, paths=paths, progress=show)
    console.print(f"report of {folder}: {file} ({byte_size(file.stat().st_size)})")
