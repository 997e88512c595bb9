"""``sim2real datasets``: the dataset layouts that can be named."""

from typing import Annotated

import typer

from sim2real.cli.listing import print_entries


def command(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the dataset layouts that --dataset can name; they are found by themselves, too."""
    print_entries("datasets", as_json=as_json)
