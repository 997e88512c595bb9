"""Plain messages for values that pydantic rejects."""

import difflib
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_WORDS: Final = {  # by prefix of the type of pydantic's error
    "int": "must be a whole number",
    "float": "must be a number",
    "finite": "must be a finite number",
    "bool": "must be true or false",
    "path": "must be text",
    "string_pattern": "must fit {pattern}",
    "string": "must be text",
    "list": "must be a list",
    "tuple": "must be a list",
    "dict": "must be a table",
    "model": "must be a table",
    "none": "must be left out",
    "too_long": "must have at most {max_length} values",
    "too_short": "must have at least {min_length} values",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be greater than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "missing": "is missing",
}


def reason(error: "ErrorDetails") -> str:
    """Return why a value is invalid, with the closest name if the value must be one of several.

    Args:
        error: The error from pydantic.
    """
    kind, message = error["type"], error["msg"].removeprefix("Value error, ")
    if kind in ("literal_error", "enum"):
        names = error["ctx"]["expected"].replace("True", "true").replace("False", "false")
        return f"must be {names}" + nearest(error["input"], names)
    if kind == "value_error":
        return message.rstrip(".") + nearest(error["input"], message.partition(" is not one of ")[2])
    words = next((words for start, words in _WORDS.items() if kind.startswith(start)), "is not accepted here")
    return words.format_map(dict(error.get("ctx", {})))


def nearest(value: object, names: str) -> str:
    """Return a suggestion among the quoted names; empty if none is similar."""
    known = {name.lower(): name for name in re.findall(r"'([^']+)'", names)}
    near = difflib.get_close_matches(str(value).lower(), known, n=1)
    return "".join(f"; did you mean {known[name]}?" for name in near)
