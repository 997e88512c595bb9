"""Format settings for a page."""

from collections.abc import Mapping
from typing import Any


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
