"""The listing of registered components of one kind."""

import json

from sim2real.registry import registry


def print_entries(kind: str, *, as_json: bool) -> None:
    """Print the names, summaries and plugins of all components of one kind."""
    entries = registry().entries(kind)
    if as_json:
        rows = [{"name": entry.name, "summary": entry.summary, "plugin": entry.owner} for entry in entries]
        print(json.dumps(rows, indent=2))
        return
    width = max(len(entry.name) for entry in entries)
    for entry in entries:
        plugin = "" if entry.owner == "sim2real" else f"  (plugin {entry.owner})"
        print(f"{entry.name:<{width}}  {entry.summary}{plugin}")
