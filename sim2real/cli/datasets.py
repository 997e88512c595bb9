"""The command ``sim2real datasets``, which lists the dataset layouts and describes each of them."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from sim2real.cli.listing import described, plugin_note, print_table
from sim2real.cli.settings import JsonOption
from sim2real.errors import PluginError
from sim2real.registry import BUILTIN, Entry, registry

if TYPE_CHECKING:
    from sim2real.datasets.facts import Facts

LICENCE: Final = 40  # characters shown in the list; the card has the full text


def command(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Print the card of this layout.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the dataset layouts for --dataset, with their licences and labels; by default a layout is detected.

    With NAME, print its card: description, download, folder tree, labels, licence, commands and pitfalls.
    """
    if name is not None:
        entry = registry().entry("datasets", name)
        print(json.dumps(_dump(entry), indent=2) if as_json else _card(entry))
        return
    entries = registry().entries("datasets")
    if as_json:
        print(json.dumps([_dump(entry) for entry in entries], indent=2))
        return
    print_table(map(_row, entries))


def _row(entry: Entry) -> tuple[str, str, str, str]:
    """Return name, title, licence and kinds of labels."""
    facts = _facts(entry)
    if facts is None:
        return entry.name, entry.summary, "", plugin_note(entry).strip()
    licence = facts.licence if len(facts.licence) <= LICENCE else f"{facts.licence[: LICENCE - 3].rstrip()}..."
    return entry.name, facts.title, licence, (", ".join(facts.labels) or "no labels") + plugin_note(entry)


def _dump(entry: Entry) -> dict[str, Any]:
    """Return all facts on a layout, or only its registry entry if it has none."""
    from sim2real.datasets.cards import commands

    facts = _facts(entry)
    return described(entry) if facts is None else described(entry) | asdict(facts) | {"commands": commands(facts)}


def _card(entry: Entry) -> str:
    from sim2real.datasets.cards import render

    facts = _facts(entry)
    return f"# {entry.name}\n\n{entry.summary}" if facts is None else render(entry.name, facts).rstrip()


def _facts(entry: Entry) -> "Facts | None":
    """Return the facts of an adapter; None if a plugin's adapter has none or cannot be loaded."""
    from sim2real.datasets.contract import adapter_of

    try:
        return adapter_of(entry).facts
    except PluginError:
        if entry.owner == BUILTIN:
            raise
        return None
