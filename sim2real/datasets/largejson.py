"""Read JSON files of any size one element at a time: annotations of whole datasets may have gigabytes."""

import io
import json
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np

from sim2real.errors import DatasetError

_PIECE: Final = 1 << 20
_BLANK: Final = " \t\n\r,:\xef\xbb\xbf"  # with the bytes of a UTF-8 byte order mark


class Element(NamedTuple):
    """A value in a JSON file.

    Attributes:
        key: Name of the member that the value is, or whose array it is in; empty if the file is one array.
        value: The decoded value.
        start: Offset of its first byte in the file.
        end: Offset of the byte after its last one.
    """

    key: str
    value: Any
    start: int
    end: int


def read_elements(path: Path) -> Iterator[Element]:
    """Yield the elements of a JSON array, or of an object the elements of array members and the other members.

    Memory use is limited by the largest element.

    Raises:
        DatasetError: If the file cannot be read, or is not JSON.
    """
    try:
        with path.open("rb") as file:
            yield from _elements(_Window(file))
    except (OSError, RecursionError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read as JSON: {error}") from error


def elements_of(data: bytes) -> Iterator[Element]:
    """Yield the elements of the bytes of a JSON file, see :func:`read_elements`.

    Raises:
        ValueError: If it is not JSON.
    """
    yield from _elements(_Window(io.BytesIO(data)))


def read_at(path: Path, places: Sequence[tuple[int, int]]) -> list[Any]:
    """Read elements of a JSON file again, at offsets from :func:`read_elements`.

    Raises:
        DatasetError: If the file cannot be read, or has changed.
    """
    try:
        with path.open("rb") as file:
            values = []
            for start, end in places:
                file.seek(start)
                values.append(json.loads(file.read(end - start)))
            return values
    except (OSError, RecursionError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read as JSON: {error}") from error


class Places:
    """An index of the elements of a JSON file by owner, which stores three numbers per element."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._owners: dict[int | str, int] = {}
        self._numbers = array("q")
        self._table = np.empty((0, 3), np.int64)

    def add(self, owner: int | str, element: Element) -> None:
        """Store the position of an element."""
        self._numbers.extend((self._owners.setdefault(owner, len(self._owners)), element.start, element.end))

    def read(self, owner: int | str) -> list[Any]:
        """Read the elements of an owner again, in the order of the file.

        Raises:
            DatasetError: If the file cannot be read, or has changed.
        """
        if self._numbers:
            table = np.concatenate([self._table, np.array(self._numbers, np.int64).reshape(-1, 3)])
            self._table = table[np.argsort(table[:, 0], kind="stable")]
            self._numbers = array("q")
        first, last = np.searchsorted(self._table[:, 0], np.array([0, 1]) + self._owners.get(owner, -2))
        return read_at(self._path, [(start, end) for _, start, end in self._table[first:last].tolist()])


class _Window:
    """A part of a file as text with one character per byte, so that positions correspond to offsets in the file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._text = ""
        self._place = 0  # of the next character in the text
        self._begin = 0  # of the text in the file
        self._decode = json.JSONDecoder().raw_decode

    def peek(self) -> str:
        """Return the next character that is no whitespace or separator; an empty string at the end."""
        while True:
            while self._place < len(self._text):
                if self._text[self._place] not in _BLANK:
                    return self._text[self._place]
                self._place += 1
            if not self._read():
                return ""

    def skip(self) -> None:
        """Skip the character that :meth:`peek` returned."""
        self._place += 1

    def element(self, key: str) -> Element:
        """Return the value that begins at the character that :meth:`peek` returned."""
        while True:
            try:
                value, end = self._decode(self._text, self._place)
            except ValueError:
                if self._read():
                    continue
                raise
            if end < len(self._text) or not self._read():  # a number may continue in the next piece
                break
        start, text = self._place, self._text[self._place : end]
        if not text.isascii():
            value = json.loads(text.encode("latin-1"))
        self._place = end
        return Element(key, value, self._begin + start, self._begin + end)

    def _read(self) -> bool:
        rest = self._text[self._place :]
        piece = self._file.read(max(_PIECE, len(rest)))
        self._begin += self._place
        self._place = 0
        self._text = rest + piece.decode("latin-1")
        return bool(piece)


def _elements(window: _Window) -> Iterator[Element]:
    match window.peek():
        case "[":
            yield from _array(window, "")
        case "{":
            window.skip()
            while window.peek() != "}":
                key = window.element("").value
                if window.peek() == "[":
                    yield from _array(window, key)
                else:
                    yield window.element(key)
        case first:
            raise ValueError(f"it begins with {first!r}, not with an object or an array")


def _array(window: _Window, key: str) -> Iterator[Element]:
    window.skip()
    while window.peek() != "]":
        yield window.element(key)
    window.skip()
