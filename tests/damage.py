"""Damage to files that are read back: of the values that they hold, and of their bytes."""

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

DEEP_LIST: Any = []
for _ in range(400):
    DEEP_LIST = [DEEP_LIST]
DEEP_OBJECT: Any = {}
for _ in range(400):
    DEEP_OBJECT = {"a": DEEP_OBJECT}
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 1.5, 2**31, 2**63, 10**400, float("nan"), float("inf"), -float("inf")),
    *("", "x", "5", "\ud800", "a\udce9b", "\0", "line\nline", "..", "../x", "/etc/passwd", "a/../../b", "x" * 70_000),
    *([], {}, [1], ["x"], [None], {"x": 1}, {"": None}, [[]], DEEP_LIST, DEEP_OBJECT),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in JSON, the whole first."""
    yield path
    if isinstance(value, dict):
        for name in value:
            yield from places(value[name], (*path, name))
    elif isinstance(value, list):
        for place in range(len(value)):
            yield from places(value[place], (*path, place))


def damaged_value(value: Any, chance: random.Random) -> Any:
    """JSON of which one value is another, is gone, stands under another name, or that has one too many."""
    value = copy.deepcopy(value)
    path = chance.choice([*places(value)])
    if not path:
        return chance.choice(VALUES)
    table = value
    for part in path[:-1]:
        table = table[part]
    last = path[-1]
    kind = chance.randrange(8)
    if kind == 0:
        del table[last]
    elif kind == 1 and isinstance(table, dict):
        table[f"{last}_"] = table.pop(last)
    elif kind == 2 and isinstance(table, dict):
        table["something new"] = chance.choice(VALUES)
    else:
        table[last] = chance.choice(VALUES)
    return value


def damaged_bytes(data: bytes, chance: random.Random) -> bytes:
    """Bytes of which some are others, are gone, or are too many."""
    place = chance.randrange(len(data) + 1)
    kinds: list[Callable[[], bytes]] = [
        lambda: b"",
        lambda: data[:place],
        lambda: data[place:],
        lambda: data[:place] + bytes([chance.randrange(256)]) + data[place + 1 :],
        lambda: data[:place] + chance.randbytes(8) + data[place:],
        lambda: data[:place] + bytes(len(data) - place),
        lambda: chance.randbytes(len(data)),
        lambda: bytes(len(data)),
        lambda: data + data,
        lambda: b"\xef\xbb\xbf" + data,
        lambda: data.decode("latin-1").encode("utf-16"),
        lambda: data[:place] + "é".encode("latin-1") + data[place:],
        lambda: data[:place] + b"[" * 100_000 + data[place:],
        lambda: data[:place] + b"9" * 5000 + data[place:],
        lambda: data.replace(b"\n", b"\r"),
        lambda: data.replace(b"\n", b" "),
        lambda: data.replace(b'"', b"'"),
    ]
    return chance.choice(kinds)()


def damaged_json(data: bytes, chance: random.Random) -> bytes:
    """A JSON file with damage of either kind, sometimes a name that is told twice."""
    if chance.random() < 0.3:
        return damaged_bytes(data, chance)
    text = json.dumps(damaged_value(json.loads(data), chance))
    if chance.random() < 0.1 and text.startswith("{"):
        text = f'{{"path": 3, {text[1:]}'
    return text.encode()


def damaged_lines(data: bytes, chance: random.Random) -> bytes:
    """A file of JSON lines, likewise."""
    if chance.random() < 0.3:
        return damaged_bytes(data, chance)
    rows = data.splitlines()
    place = chance.randrange(len(rows))
    rows[place] = damaged_json(rows[place], chance)
    return b"\n".join([*rows, b""])
