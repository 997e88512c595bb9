"""Format settings for a page."""

from collections.abc import Iterator, Mapping
from typing import Any


def flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested tables with their dotted keys."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def grouped(settings: Mapping[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """Group settings by their table; return the last part of each key and its formatted value."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for key, value in settings.items():
        group, dot, rest = key.rpartition(".")
        groups.setdefault(group if dot else "general", []).append((rest, shown(value)))
    return groups


def shown(value: object) -> str:
    """Format a value."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value)) or "none"
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {shown(part)}".strip() for key, part in value.items())
    return "none" if value is None or value == "" else str(value)
