"""The command ``sim2real help``."""

import os
import sys
from typing import Annotated

import typer

from sim2real.cli.console import out
from sim2real.cli.listing import print_table


def command(
    topic: Annotated[
        list[str] | None, typer.Argument(help="A page, or words of a heading; by default the pages are listed.")
    ] = None,
) -> None:
    """Print a page of the manual, or a section of one."""
    from rich.markdown import Markdown

    from sim2real.manual import find, pages, readable

    if not topic:
        print_table((page.name, page.title) for page in pages())
        print("\nsim2real help WORDS prints a page, or the section whose heading has these words.")
        return
    text = readable(find(" ".join(topic)).text)
    if not sys.stdout.isatty():
        print(text)
        return
    os.environ.setdefault("LESS", "-RFX")  # colours; no paging of what fits on the screen
    with out.pager(styles=True):
        out.print(Markdown(text))
