"""Names of what sim2real ships."""

from sim2real.registry import BUILTIN, registry


def shipped(kind: str) -> list[str]:
    """The names of the built-in components of a kind."""
    return [entry.name for entry in registry().entries(kind) if entry.owner == BUILTIN]
