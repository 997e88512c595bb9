"""Parsing of sizes and numbers in settings and options."""

import re
from typing import Final

SIZE: Final = r"\s*([0-9]+)\s*(?:[xX\u00d7,]\s*([0-9]+)\s*)?"
SIDES: Final = r"\s*[0-9]+\s*[xX\u00d7,]\s*[0-9]+\s*"
_COUNT: Final = re.compile(r"(\d+(?:\.\d+)?(?:e\+?\d+)?)\s*([km]?)", re.IGNORECASE | re.ASCII)
_FACTORS: Final = {"": 1, "k": 1_000, "m": 1_000_000}


def parse_size(value: object) -> object:
    """Convert ``256``, ``"256x128"`` or ``[256, 128]`` to width and height in pixels.

    Raises:
        ValueError: If the value is not a size; the elements of lists are not checked.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value, value
    if isinstance(value, str) and (sides := re.fullmatch(SIZE, value)):
        return int(sides[1]), int(sides[2] or sides[1])
    if isinstance(value, list | tuple) and len(value) == 2:
        return value
    raise ValueError('must be width and height in pixels, for example 256, "256x128" or [256, 128]')


def parse_sides(value: object) -> object:
    """Convert a size with both sides, ``"640x192"`` or ``[640, 192]``, like :func:`parse_size`.

    Raises:
        ValueError: If the value is not a size, or a single number, which would make frames square.
    """
    if isinstance(value, int) or (isinstance(value, str) and not re.fullmatch(SIDES, value)):
        raise ValueError('must be width and height in pixels, for example "640x192" or [640, 192]')
    return parse_size(value)


def parse_count(text: str) -> int:
    """Convert ``20000``, ``20_000``, ``1e4``, ``20k`` or ``1.5M`` to a whole number of at least 0.

    Raises:
        ValueError: If the text is not a whole number of at least 0.
    """
    plain = text.strip().replace("_", "")
    if match := _COUNT.fullmatch(plain):
        number = float(match[1]) * _FACTORS[match[2].lower()]
        if number == int(number) < 2**53:
            return int(number)
    is_negative = plain.startswith("-") and _COUNT.fullmatch(plain[1:])
    raise ValueError(f"must be {'at least 1' if is_negative else 'a whole number'}, for example 20000, 20k or 1e4")
