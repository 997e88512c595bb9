"""``sim2real datasets``: the dataset layouts that can be named."""

import json
from typing import Annotated

import typer

from sim2real.registry import registry


def command(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the dataset layouts that --dataset can name; they are found by themselves, too."""
    entries = registry().entries("datasets")
    if as_json:
        listing = [{"name": entry.name, "summary": entry.summary, "owner": entry.owner} for entry in entries]
        print(json.dumps(listing, indent=2))
        return
    width = max(len(entry.name) for entry in entries)
    for entry in entries:
        owner = "" if entry.owner == "sim2real" else f"  (plugin {entry.owner})"
        print(f"{entry.name:<{width}}  {entry.summary}{owner}")
