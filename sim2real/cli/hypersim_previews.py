"""``sim2real hypersim-previews``: images of Hypersim's linear colours."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Hypersim, or scenes of it.")],
) -> None:
    """Write the tone-mapped previews that are missing in Hypersim, beside its linear colours in HDF5 files.

    They are named as the released ones, which stay as they are, and made as those are, but at quality 95 of JPEG.
    """
    from sim2real.cli.console import progress
    from sim2real.datasets.hypersim import write_previews

    with progress("images") as report:
        written = write_previews(folder, partial(report, "tone mapping"))
    print(f"{folder}: {written} previews written")
