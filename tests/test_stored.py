"""What is read back is what annotations say, or a line on what is wrong."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest

from sim2real.stored import (
    Count,
    FileName,
    MisfitError,
    RelativePath,
    Rule,
    Size,
    UnknownFieldError,
    fit,
    fits,
    is_within,
    parse,
)


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Part:
    path: RelativePath
    share: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Whole:
    name: str
    colour: Colour
    state: Literal["on", "off", 3]
    count: Count = 0
    size: Size | None = None
    flag: bool = False
    words: tuple[str, ...] = ()
    range: tuple[float, float] | None = None
    parts: list[Part] = field(default_factory=list)
    named: Mapping[str, int] = field(default_factory=dict)
    anything: dict[str, Any] = field(default_factory=dict)
    either: str | list[str] = ""
    odd: Annotated[int, Rule("odd", lambda number: number % 2 == 1)] = 1


LEAST = b'{"name": "a", "colour": "red", "state": "on"'


def test_all_that_annotations_say_is_read() -> None:
    text = LEAST + b', "count": 3, "size": [4, 5], "flag": true, "words": ["a", "b"], "range": [1, 2.5],'
    text += b'"either": ["x"],'
    text += b'"parts": [{"path": "a/b", "share": 1}], "named": {"x": -1}, "anything": {"a": [null, 1e400, {"b": ""}]}}'
    whole = parse(Whole, b"\xef\xbb\xbf" + text)
    assert whole == Whole(
        name="a",
        colour=Colour.RED,
        state="on",
        count=3,
        size=[4, 5],
        flag=True,
        words=("a", "b"),
        range=(1.0, 2.5),
        parts=[Part("a/b", 1.0)],
        named={"x": -1},
        anything={"a": [None, float("inf"), {"b": ""}]},
        either=["x"],
    )
    assert isinstance(whole.colour, Colour)
    assert isinstance(whole.parts[0].share, float)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (b'"count": true', "count: should be a whole number, not true"),
        (b'"count": 1.0', "count: should be a whole number, not 1.0"),
        (b'"count": "1"', "count: should be a whole number, not '1'"),
        (b'"count": -1', "count: should be a whole number of at least 0, not -1"),
        (b'"count": 9223372036854775808', "count: a number is too large"),
        (b'"count": 1' + b"0" * 5000, "no JSON: a number is too large"),
        (b'"size": [1]', "size: should be a width and a height, not a list"),
        (b'"size": [1, 0]', "size.1: should be a whole number of at least 1, not 0"),
        (b'"flag": 1', "flag: should be true or false, not 1"),
        (b'"colour": "green"', "colour: should be red or blue, not 'green'"),
        (b'"colour": []', "colour: should be red or blue, not a list"),
        (b'"state": true', "state: should be on or off or 3, not true"),
        (b'"range": [1, NaN]', "range.1: should be a finite number, not a number that is not finite"),
        (b'"range": [1]', "range: should be a list of 2, not a list"),
        (b'"words": "a"', "words: should be a list, not 'a'"),
        (b'"parts": [{"path": "../a"}]', "parts.0.path: should be a path within the folder, not '../a'"),
        (b'"parts": [{}]', "parts.0: lacks path"),
        (b'"named": {"x\\ny": null}', r"named.x\ny: should be a whole number, not null"),
        (b'"either": 3', "either: should be a list, not 3"),
        (b'"odd": 2', "odd: should be odd, not 2"),
        (b'"name": "' + b"a" * 99 + b'", "count": {}', "count: should be a whole number, not an object"),
        (b'"anything": {"a": ' + b"[" * 40 + b"]" * 40 + b"}", "anything.a: nested too deeply"),
        (b'"anything": ' + b"[" * 100_000, "nested too deeply"),
        (b'"name": "\xe9"', "byte 55 is not UTF-8"),
    ],
)
def test_what_does_not_fit_is_said_in_a_line(more: bytes, said: str) -> None:
    with pytest.raises(MisfitError) as raised:
        parse(Whole, LEAST + b", " + more + b"}")
    assert str(raised.value) == said


@pytest.mark.parametrize(("data", "said"), [(b"", "it is empty"), (b"[]", "should be an object, not a list")])
def test_what_is_no_object_is_said(data: bytes, said: str) -> None:
    with pytest.raises(MisfitError, match=said):
        parse(Whole, data)


def test_a_field_that_nobody_knows_is_told_apart_from_damage() -> None:
    with pytest.raises(UnknownFieldError, match="new: unknown field"):
        parse(Whole, LEAST + b', "new": 3}')
    with pytest.raises(MisfitError) as raised:
        parse(Whole, LEAST + b', "new": 3, "count": null}')
    assert not isinstance(raised.value, UnknownFieldError)


def test_names_that_are_not_utf_8_are_text() -> None:
    assert parse(Whole, LEAST.replace(b'"a"', b'"a\\udce9"') + b"}").name == "a\udce9"


def test_what_is_written_is_read_back() -> None:
    part = Part("a", 0.5)
    assert fit(Part, asdict(part)) == part


@pytest.mark.parametrize("path", ["", ".", "..", "../a", "a/../b", "a/..", "/a", "a//b", "a/", "./a", "a\0b"])
def test_paths_that_lead_out_or_nowhere(path: str) -> None:
    assert not is_within(path)
    assert not fits(FileName, path)


@pytest.mark.parametrize("path", ["a", "a/b", "...", "a b/c.jpg", ".hidden", "a\nb"])
def test_paths_that_stay(path: str) -> None:
    assert is_within(path)
    assert fits(FileName, path) == ("/" not in path)
