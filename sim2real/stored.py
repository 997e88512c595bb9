"""Strict reading of JSON files into dataclasses, with one-line errors.

A file may be truncated, written by another version, edited by hand or malicious. Annotations are therefore checked
strictly: no numbers as text, no ``true`` for 1, no NaN, no integers that exceed 64 bits. Text may contain lone
surrogates, which ``os.fsdecode`` creates for names that are not UTF-8. JSON has neither tuples nor enumerations: they
are stored as lists and as values of their members. A field without a default is required; a new field needs a default,
so that older files can still be read.

Unknown fields are an error, unless the dataclass has a field of type :data:`Original`, which keeps the fields that
newer versions have added. Other changes of a format need a new ``format_version``, which older versions refuse.
"""

import json
import math
import os
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")
_Check = Callable[[object], Any]  # maps a JSON value to its annotation's type; raises MisfitError

_DEEPEST: Final = 32  # levels of nesting in values of any type
_LARGEST: Final = 2**63
_LONGEST: Final = 40  # characters of a value in messages
_LONGEST_PATH: Final = 4096  # bytes including the final zero, as on Linux
_LONGEST_NAME: Final = 255  # bytes


class MisfitError(ValueError):
    """A value does not match its annotation; the message is one line with the place and the expected type."""

    def __init__(self, reason: str, place: str = "") -> None:
        super().__init__(f"{place}: {reason}" if place else reason)
        self.reason = reason
        self.place = place

    def within(self, part: object) -> "MisfitError":
        """Return the same error with the place prefixed by the enclosing part."""
        return type(self)(self.reason, f"{_name(part)}.{self.place}" if self.place else _name(part))


class UnknownFieldError(MisfitError):
    """There are only unknown fields, as written by another version."""


class NewerFormatError(MisfitError):
    """The format is newer than this version."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition in addition to the type, as in ``Annotated[int, Rule("a size", ...)]``.

    Attributes:
        words: Description of a valid value.
        holds: Returns whether a value is valid.
    """

    words: str
    holds: Callable[[Any], bool]


def is_within(path: str) -> bool:
    """Return whether a relative path with forward slashes stays below its starting folder."""
    odd = "\\:" if os.name == "nt" else ""
    parts = path.split("/")
    return {"", ".", ".."}.isdisjoint(parts) and not any(sign in path for sign in odd) and can_be_a_path(path)


def can_be_a_path(path: str) -> bool:
    """Return whether a path can exist on a file system; for other paths, systems raise various errors."""
    try:
        parts = os.fsencode(path).split(b"/")
    except UnicodeEncodeError:
        return False
    return "\0" not in path and len(path) < _LONGEST_PATH and max(map(len, parts)) <= _LONGEST_NAME


FORMAT: Final = 1
"""Current version of all files with a ``format_version``; files without one have the first."""

Format = Annotated[int, Rule(str(FORMAT), lambda number: number == FORMAT)]
Original = Annotated[dict[str, Any], "the whole object if it has unknown fields, else empty"]
Count = Annotated[int, Rule("a whole number of at least 0", lambda number: number >= 0)]
Positive = Annotated[int, Rule("a whole number of at least 1", lambda number: number >= 1)]
Size = Annotated[list[Positive], Rule("a width and a height", lambda sides: len(sides) == 2)]
Digest = Annotated[str, Rule("a SHA-256 in hexadecimal", lambda text: bool(re.fullmatch("[0-9a-f]{64}", text)))]
Place = Annotated[str, Rule("a path", can_be_a_path)]
RelativePath = Annotated[str, Rule("a path within the folder", is_within)]
FileName = Annotated[str, Rule("the name of a file", lambda text: is_within(text) and "/" not in text)]


def parse(kind: type[T], data: bytes) -> T:
    """Parse JSON into the type of an annotation.

    Args:
        kind: A dataclass, or any annotation that its fields may have.
        data: UTF-8 text, with or without a byte order mark.

    Raises:
        MisfitError: If the data do not match; UnknownFieldError if there are only unknown fields.
    """
    return fit(kind, parse_json(data))


def parse_json(data: bytes) -> Any:  # noqa: ANN401  any JSON value
    """Parse JSON into plain values.

    Raises:
        MisfitError: If the data are not JSON.
    """
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise MisfitError(f"byte {error.start} is not UTF-8") from error
    except json.JSONDecodeError as error:
        said = "it is empty" if not data.strip() else f"no JSON: {error.msg} at line {error.lineno}"
        raise MisfitError(said) from error
    except RecursionError as error:
        raise MisfitError("nested too deeply") from error
    except ValueError as error:  # a number of thousands of digits
        raise MisfitError("no JSON: a number is too large") from error


def fit(kind: type[T], value: object) -> T:
    """Convert a value from JSON or a torch file to the type of an annotation.

    Raises:
        MisfitError: If the value does not match; UnknownFieldError if there are only unknown fields.
    """
    result: T = _check(cast("Hashable", kind))(value)
    return result


def fits(kind: Hashable, value: object) -> bool:
    """Return whether a value matches an annotation."""
    try:
        _check(kind)(value)
    except MisfitError:
        return False
    return True


def unknown_fields(kept: object) -> list[str]:
    """Return the sorted names of the unknown fields that a dataclass with an :data:`Original` field was read with."""
    kind = cast("Hashable", type(kept))
    original: dict[str, Any] = getattr(kept, _keeper(kind) or "", {})
    return sorted(map(_name, original.keys() - _known(kind)))


def dumped(kept: object) -> dict[str, Any]:
    """Return a dataclass as a JSON object, including the unknown fields that it was read with."""
    values: dict[str, Any] = asdict(cast("Any", kept))
    original: dict[str, Any] = values.pop(_keeper(cast("Hashable", type(kept))) or "", {})
    return original | values


def unknown_fields_text(names: Iterable[str], who: str = "has") -> str:
    """Return a line on unknown fields."""
    return f"{who} fields that this version does not know ({', '.join(sorted(set(names)))}); they stay as they are"


@cache
def _keeper(kind: Hashable) -> str | None:
    """Return the name of the :data:`Original` field of a dataclass, or None."""
    hints = get_type_hints(kind, include_extras=True)
    return next((name for name, hint in hints.items() if hint == Original), None)


@cache
def _known(kind: Hashable) -> frozenset[str]:
    return frozenset(field.name for field in fields(cast("Any", kind))) - {_keeper(kind)}


def one_line(error: BaseException) -> str:
    """Return the message of a foreign error, shortened to a part of a line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 2 * _LONGEST else f"{text[: 2 * _LONGEST]}..."


@cache
def _check(kind: Hashable) -> _Check:
    """Return the function that checks values of an annotation."""
    if kind in _PLAIN:
        return _PLAIN[kind]
    if builder := _BUILDERS.get(get_origin(kind)):
        return builder(*get_args(kind))
    if not isinstance(kind, type):
        raise TypeError(f"{kind} is not a supported annotation")
    if is_dataclass(kind):
        return _object_of(kind)
    return _member_of(kind) if issubclass(kind, Enum) else _instance_of(kind)


def _text(value: object) -> str:
    if type(value) is not str:
        raise _misfit("text", value)
    return value


def _whole(value: object) -> int:
    if type(value) is not int:
        raise _misfit("a whole number", value)
    if not -_LARGEST <= value < _LARGEST:
        raise MisfitError("a number is too large")
    return value


def _number(value: object) -> float:
    if type(value) is int:
        return float(_whole(value))
    if type(value) is not float or not math.isfinite(value):
        raise _misfit("a finite number", value)
    return value


def _flag(value: object) -> bool:
    if type(value) is not bool:
        raise _misfit("true or false", value)
    return value


def _anything(value: object, depth: int = _DEEPEST) -> object:
    """Accept any JSON value that is not nested too deeply and has no huge numbers."""
    if not depth:
        raise MisfitError("nested too deeply")
    if type(value) is int:
        _whole(value)
    elif type(value) is list or type(value) is dict:
        for part in value.values() if isinstance(value, dict) else value:
            _anything(part, depth - 1)
    return value


def _ruled(kind: Hashable, *rules: object) -> _Check:
    check = _check(kind)

    def checked(value: object) -> object:
        found = check(value)
        for rule in rules:
            if isinstance(rule, Rule) and not rule.holds(found):
                raise _misfit(rule.words, value)
        return found

    return checked


def _one_of(*values: object) -> _Check:
    known = {(type(value), value): value for value in values}

    def checked(value: object) -> object:
        with suppress(KeyError, TypeError):  # lists are not hashable
            return known[type(value), value]
        raise _misfit(" or ".join(map(str, values)), value)

    return checked


def _either(*kinds: type) -> _Check:
    *others, last = (_check(kind) for kind in kinds if kind is not NoneType)
    none = NoneType in kinds

    def checked(value: object) -> object:
        if value is None and none:
            return None
        for check in others:
            with suppress(MisfitError):
                return check(value)
        return last(value)

    return checked


def _list_of(kind: Hashable) -> _Check:
    check = _check(kind)

    def checked(value: object) -> list[object]:
        if type(value) is not list:
            raise _misfit("a list", value)
        return [_at(place, check, part) for place, part in enumerate(value)]

    return checked


def _tuple_of(*kinds: Hashable) -> _Check:
    if kinds[-1] is ...:
        every = _list_of(kinds[0])
        return lambda value: tuple(every(value))
    checks = [_check(kind) for kind in kinds]

    def checked(value: object) -> tuple[object, ...]:
        if type(value) is not list or len(value) != len(checks):
            raise _misfit(f"a list of {len(checks)}", value)
        return tuple(_at(place, *pair) for place, pair in enumerate(zip(checks, value, strict=True)))

    return checked


def _table_of(name_kind: Hashable, kind: Hashable) -> _Check:
    check_name, check = _check(name_kind), _check(kind)

    def checked(value: object) -> dict[object, object]:
        if type(value) is not dict:
            raise _misfit("an object", value)
        return {_at(name, check_name, name): _at(name, check, part) for name, part in value.items()}

    return checked


def _object_of(kind: type[Any]) -> _Check:
    hints = get_type_hints(kind, include_extras=True)
    keeper = _keeper(cast("Hashable", kind))
    checks = {name: _check(hints[name]) for name in _known(cast("Hashable", kind))}
    needed = {field.name for field in fields(kind) if field.default is field.default_factory is MISSING}

    def checked(value: object) -> object:
        if type(value) is not dict:
            raise _misfit("an object", value)
        if "format_version" in checks:
            _require_known_format(value.get("format_version"))
        if missing := needed - value.keys():
            raise MisfitError(f"lacks {min(missing)}")
        found = {}
        try:
            for name, part in value.items():
                if name in checks:
                    found[name] = checks[name](part)
        except MisfitError as error:
            raise error.within(name) from None
        if len(found) < len(value):
            if keeper is None:
                unknown = next(name for name in value if name not in checks)
                raise UnknownFieldError("unknown field", _name(unknown))
            found[keeper] = _anything(value)
        return kind(**found)

    return checked


def _require_known_format(number: object) -> None:
    if type(number) is int and number > FORMAT:
        newer = f"written by a newer sim2real (format {_shown(number)}, this one reads {FORMAT}); use that version"
        raise NewerFormatError(newer)


def _member_of(kind: type[Enum]) -> _Check:
    known = _one_of(*(member.value for member in kind))
    return lambda value: kind(known(value))


def _instance_of(kind: type) -> _Check:
    def checked(value: object) -> object:
        if not isinstance(value, kind):
            raise _misfit(f"a {kind.__name__}", value)
        return value

    return checked


_PLAIN: Final[Mapping[Hashable, _Check]] = {str: _text, int: _whole, float: _number, bool: _flag, Any: _anything}
_BUILDERS: Final[Mapping[object, Callable[..., _Check]]] = {
    Annotated: _ruled,
    Literal: _one_of,
    Union: _either,
    UnionType: _either,
    list: _list_of,
    Sequence: _list_of,
    tuple: _tuple_of,
    dict: _table_of,
    Mapping: _table_of,
}


def _at(place: object, check: _Check, value: object) -> Any:  # noqa: ANN401  as the check's annotation says
    try:
        return check(value)
    except MisfitError as error:
        raise error.within(place) from None


def _misfit(wanted: str, value: object) -> MisfitError:
    return MisfitError(f"should be {wanted}, not {_shown(value)}")


def _shown(value: object) -> str:
    """Describe a value in a few ASCII words."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return ascii(value if len(value) <= _LONGEST else f"{value[:_LONGEST]}...")
    if isinstance(value, int | float) and abs(value) < 1e18:
        return repr(value)
    names = {list: "a list", dict: "an object", int: "a huge number", float: "a number that is not finite"}
    return names.get(type(value), type(value).__name__)


def _name(part: object) -> str:
    text = str(part) if isinstance(part, str | int) and not isinstance(part, bool) else type(part).__name__
    return ascii(text)[1:-1][:_LONGEST]
