"""The command ``sim2real datasets``, which lists the dataset layouts and describes each of them."""

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from sim2real.cli.settings import JsonOption

if TYPE_CHECKING:
    from sim2real.datasets.facts import Facts
    from sim2real.registry import Entry

LICENCE: Final = 40  # characters shown in the list; the card has the full text


def command(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Print the card of this layout.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the dataset layouts for --dataset, with their licences and labels; by default a layout is detected.

    With NAME, print its card: description, download, folder tree, labels, licence, commands and pitfalls.
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
    """Return name, title, licence and kinds of labels."""
    facts = _facts(entry)
    plugin = "" if entry.owner == "sim2real" else f"  (plugin {entry.owner})"
    if facts is None:
        return entry.name, entry.summary, "", plugin.strip()
    licence = facts.licence if len(facts.licence) <= LICENCE else f"{facts.licence[: LICENCE - 3].rstrip()}..."
    return entry.name, facts.title, licence, (", ".join(facts.labels) or "no labels") + plugin


def _dump(entry: "Entry") -> dict[str, Any]:
    """Return all facts on a layout, or only its registry entry if it has none."""
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
    """Return the facts of an adapter; None if a plugin's adapter has none or cannot be loaded."""
    from sim2real.datasets.contract import adapter_of
    from sim2real.errors import PluginError
    from sim2real.registry import BUILTIN

    try:
        return adapter_of(entry).facts
    except PluginError:
        if entry.owner == BUILTIN:
            raise
        return None
