"""How people write sizes and numbers."""

import re
from typing import Final

SIZE: Final = r"\s*([0-9]+)\s*(?:[xX\u00d7,]\s*([0-9]+)\s*)?"
SIDES: Final = r"\s*[0-9]+\s*[xX\u00d7,]\s*[0-9]+\s*"
_COUNT: Final = re.compile(r"(\d+(?:\.\d+)?(?:e\+?\d+)?)\s*([km]?)", re.IGNORECASE | re.ASCII)
_FACTORS: Final = {"": 1, "k": 1_000, "m": 1_000_000}


def parse_size(value: object) -> object:
    """A size as it is written, ``256``, ``"256x128"`` or ``[256, 128]`` -> width and height in pixels.

    Raises:
        ValueError: It is none; what is in a list is not looked at.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value, value
    if isinstance(value, str) and (sides := re.fullmatch(SIZE, value)):
        return int(sides[1]), int(sides[2] or sides[1])
    if isinstance(value, list | tuple) and len(value) == 2:
        return value
    message = 'must be width and height in pixels, for example 256, "256x128" or [256, 128]'
    raise ValueError(message)


def parse_sides(value: object) -> object:
    """A size as of :func:`parse_size`, of which both sides are written: ``"640x192"`` or ``[640, 192]``.

    Raises:
        ValueError: It is none, or a single number, of which frames would become squares.
    """
    if isinstance(value, int) or (isinstance(value, str) and not re.fullmatch(SIDES, value)):
        message = 'must be width and height in pixels, for example "640x192" or [640, 192]'
        raise ValueError(message)
    return parse_size(value)


def parse_count(text: str) -> int:
    """A whole number of at least 0 as it is written: ``20000``, ``20_000``, ``1e4``, ``20k``, ``1.5M``.

    Raises:
        ValueError: It is none.
    """
    plain = text.strip().replace("_", "")
    if match := _COUNT.fullmatch(plain):
        number = float(match[1]) * _FACTORS[match[2].lower()]
        if number == int(number) < 2**53:
            return int(number)
    is_negative = plain.startswith("-") and _COUNT.fullmatch(plain[1:])
    message = f"must be {'at least 1' if is_negative else 'a whole number'}, for example 20000, 20k or 1e4"
    raise ValueError(message)
