"""The command ``sim2real import-frames``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from sim2real.cli.console import err, out
from sim2real.cli.settings import DatasetOption
from sim2real.files import check_writable
from sim2real.places import command_line

_SHOWN = 3


def command(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="The simulated dataset.")],
    translated: Annotated[
        Path, typer.Argument(metavar="TRANSLATED", help="What another program made of its frames, of any size.")
    ],
    run: Annotated[Path | None, typer.Option(help="Run folder; default: runs/ and the name of TRANSLATED.")] = None,
    match: Annotated[
        Literal["path", "order"] | None,
        typer.Option(help="How translations are found; default: by path, or by order if no name fits."),
    ] = None,
    dataset: DatasetOption = None,
) -> None:
    """Make a run of the frames that another program translated.

    A conversion with it takes over their light and colours at the full size of the frames, and keeps every edge and
    label; with --transfer direct it shows them as they are.
    """
    from sim2real.training.importing import import_frames

    where = run or Path("runs") / translated.resolve().name
    check_writable(where)
    target, pairs = import_frames(source, translated, where, by=match, dataset=dataset, notify=err.print)
    count = len(pairs.found) + len(pairs.missing)
    out.print(f"{target}: {len(pairs.found)} of {count} frames have a translation, matched by {pairs.by}")
    for paths, words in ((pairs.missing, "frames without a translation"), (pairs.unused, "images that no frame has")):
        if paths:
            shown = ", ".join(paths[:_SHOWN]) + (" ..." if len(paths) > _SHOWN else "")
            err.print(f"warning: {len(paths)} {words}: {shown}", style="yellow")
    out.print(f"next: {command_line('sim2real', 'convert', source, 'OUT', '--model', where)}")
