"""The listing of registered components of one kind."""

from collections.abc import Iterable, Sequence

from sim2real.registry import BUILTIN, Entry


def print_table(rows: Iterable[Sequence[str]]) -> None:
    """Print rows of cells in aligned columns."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def described(entry: Entry) -> dict[str, str]:
    """Return the name, the summary and the plugin of a component as JSON values."""
    return {"name": entry.name, "summary": entry.summary, "plugin": entry.owner}


def plugin_note(entry: Entry) -> str:
    """Return what follows the last cell of a component's row: the plugin that it is from; nothing if it is built in."""
    return "" if entry.owner == BUILTIN else f"  (plugin {entry.owner})"
