"""Settings as a page shows them."""

from collections.abc import Iterator, Mapping
from typing import Any


def flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested tables as dotted keys with their values."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def grouped(settings: Mapping[str, Any]) -> dict[str, list[tuple[str, str]]]:
    """Dotted keys by their table: the rest of each key, and its value in words."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for key, value in settings.items():
        group, dot, rest = key.rpartition(".")
        groups.setdefault(group if dot else "general", []).append((rest, shown(value)))
    return groups


def shown(value: object) -> str:
    """A value in words."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value)) or "none"
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {shown(part)}".strip() for key, part in value.items())
    return "none" if value is None or value == "" else str(value)
