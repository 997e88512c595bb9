"""Every tree against every rule."""

from collections.abc import Callable
from pathlib import Path

from sim2real.datasets.base import Tree
from sim2real.registry import BUILTIN, registry

Grow = Callable[..., Path]
LAST_RESORT = "images"


def test_no_rule_takes_the_tree_of_another(grow: Grow, layouts: list[str]) -> None:
    rules = {
        entry.name: entry.load().recognise
        for entry in registry().entries("datasets")
        if entry.owner == BUILTIN and entry.name != LAST_RESORT
    }
    matrix = {name: [rule for rule in rules if rules[rule](tree)] for name, tree in _trees(grow, layouts)}
    print(_draw(matrix, list(rules)))  # noqa: T201  for `pytest -s`
    assert matrix == {name: [] if name == LAST_RESORT else [name] for name in layouts}


def _trees(grow: Grow, layouts: list[str]) -> list[tuple[str, Tree]]:
    return [(name, Tree(grow(name, into=name))) for name in layouts]


def _draw(matrix: dict[str, list[str]], rules: list[str]) -> str:
    """A row for each tree, a column for each rule in the order of the rules: X where the rule takes the tree."""
    width = max(map(len, matrix))
    rows = [
        f"{tree:>{width}} {''.join('X' if rule in found else '.' for rule in rules)} {' '.join(found)}"
        for tree, found in sorted(matrix.items(), key=lambda row: [rules.index(rule) for rule in row[1]])
    ]
    return "\n".join(["", *rows])
