"""The command ``sim2real hypersim-previews``, which renders images from Hypersim's linear colours."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from sim2real.cli.console import progress


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The Hypersim dataset, or some of its scenes.")],
) -> None:
    """Write missing tone-mapped previews of Hypersim next to its linear colours in HDF5 files.

    They have the names and the tone mapping of the released previews, which are kept, but JPEG quality 95.
    """
    from sim2real.datasets.hypersim import write_previews

    with progress("images") as report:
        written = write_previews(folder, partial(report, "tone mapping"))
    print(f"{folder}: {written} previews written")
