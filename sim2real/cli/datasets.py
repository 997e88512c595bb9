"""``sim2real datasets``: the dataset layouts that can be named, and what there is to know of each."""

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from sim2real.datasets.facts import Facts
    from sim2real.registry import Entry

LICENCE: Final = 40  # characters in the list; the card has all of it


def command(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Print the card of this layout alone.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the dataset layouts that --dataset can name, with their licences and labels; they are found by themselves.

    With NAME, its card: what it is, how to get it, the tree, the labels, the licence, the commands, what surprises.
    """
    import json

    from sim2real.registry import registry

    if name is not None:
        entry = registry().entry("datasets", name)
        print(json.dumps(_dump(entry), indent=2) if as_json else _card(entry))
        return
    entries = registry().entries("datasets")
    if as_json:
        print(json.dumps([_dump(entry) for entry in entries], indent=2))
        return
    rows = [_row(entry) for entry in entries]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _row(entry: "Entry") -> tuple[str, str, str, str]:
    """Name, title, licence and kinds of labels."""
    facts = _facts(entry)
    plugin = "" if entry.owner == "sim2real" else f"  (plugin {entry.owner})"
    if facts is None:
        return entry.name, entry.summary, "", plugin.strip()
    licence = facts.licence if len(facts.licence) <= LICENCE else f"{facts.licence[: LICENCE - 3].rstrip()}..."
    return entry.name, facts.title, licence, (", ".join(facts.labels) or "no labels") + plugin


def _dump(entry: "Entry") -> dict[str, Any]:
    """All that is known of a layout; no more than the registry knows of one without facts."""
    from dataclasses import asdict

    from sim2real.datasets.cards import commands

    known = {"name": entry.name, "summary": entry.summary, "plugin": entry.owner}
    facts = _facts(entry)
    return known if facts is None else {**known, **asdict(facts), "commands": commands(facts)}


def _card(entry: "Entry") -> str:
    from sim2real.datasets.cards import render

    facts = _facts(entry)
    return f"# {entry.name}\n\n{entry.summary}" if facts is None else render(entry.name, facts).rstrip()


def _facts(entry: "Entry") -> "Facts | None":
    """What the adapter tells; None of a plugin's that tells nothing, or cannot be loaded."""
    from sim2real.datasets.contract import adapter_of
    from sim2real.errors import PluginError
    from sim2real.registry import BUILTIN

    try:
        return adapter_of(entry).facts
    except PluginError:
        if entry.owner == BUILTIN:
            raise
        return None
