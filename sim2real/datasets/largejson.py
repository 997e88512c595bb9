"""JSON files of any size, an element at a time: annotations of whole datasets have gigabytes."""

import io
import json
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np

from sim2real.errors import DatasetError

_PIECE: Final = 1 << 20
_BLANK: Final = " \t\n\r,:\xef\xbb\xbf"  # with the bytes of a mark that some editors put first


class Element(NamedTuple):
    """A value in a JSON file.

    Attributes:
        key: Name of the array, or of the member, that it stands in or is; empty if the file is one array.
        value: What it holds.
        start: Its first byte in the file.
        end: The byte behind it.
    """

    key: str
    value: Any
    start: int
    end: int


def read_elements(path: Path) -> Iterator[Element]:
    """Go through a JSON file: the elements of the array that it is, or of its members that are arrays, and the others.

    No more of it is held in memory than its largest element.

    Raises:
        DatasetError: It cannot be read, or is no JSON.
    """
    try:
        with path.open("rb") as file:
            yield from _elements(_Window(file))
    except (OSError, RecursionError, ValueError) as error:
        message = f"{path}: cannot be read as JSON: {error}"
        raise DatasetError(message) from error


def elements_of(data: bytes) -> Iterator[Element]:
    """Go through the bytes of a JSON file likewise.

    Raises:
        ValueError: It is no JSON.
    """
    yield from _elements(_Window(io.BytesIO(data)))


def read_at(path: Path, places: Sequence[tuple[int, int]]) -> list[Any]:
    """Read elements of a JSON file again, at the bytes that :func:`read_elements` told.

    Raises:
        DatasetError: The file cannot be read, or is another one by now.
    """
    try:
        with path.open("rb") as file:
            values = []
            for start, end in places:
                file.seek(start)
                values.append(json.loads(file.read(end - start)))
            return values
    except (OSError, RecursionError, ValueError) as error:
        message = f"{path}: cannot be read as JSON: {error}"
        raise DatasetError(message) from error


class Places:
    """Where in a JSON file the elements of each owner are: three numbers for each, whatever they hold."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._owners: dict[int | str, int] = {}
        self._numbers = array("q")
        self._table = np.empty((0, 3), np.int64)

    def add(self, owner: int | str, element: Element) -> None:
        """Remember the place of an element."""
        self._numbers.extend((self._owners.setdefault(owner, len(self._owners)), element.start, element.end))

    def read(self, owner: int | str) -> list[Any]:
        """Read the elements of an owner again, in the order of the file.

        Raises:
            DatasetError: The file cannot be read, or is another one by now.
        """
        if self._numbers:
            table = np.concatenate([self._table, np.array(self._numbers, np.int64).reshape(-1, 3)])
            self._table = table[np.argsort(table[:, 0], kind="stable")]
            self._numbers = array("q")
        first, last = np.searchsorted(self._table[:, 0], np.array([0, 1]) + self._owners.get(owner, -2))
        return read_at(self._path, [(start, end) for _, start, end in self._table[first:last].tolist()])


class _Window:
    """A part of a file as text, a character for each byte, so that places in it are places in the file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._text = ""
        self._place = 0  # of what comes next, in the text
        self._begin = 0  # of the text, in the file
        self._decode = json.JSONDecoder().raw_decode

    def peek(self) -> str:
        """The next character that is neither blank nor between values; empty at the end."""
        while True:
            while self._place < len(self._text):
                if self._text[self._place] not in _BLANK:
                    return self._text[self._place]
                self._place += 1
            if not self._read():
                return ""

    def skip(self) -> None:
        """Pass over the character that was peeked at."""
        self._place += 1

    def element(self, key: str) -> Element:
        """The value that begins at the character that was peeked at."""
        while True:
            try:
                value, end = self._decode(self._text, self._place)
            except ValueError:
                if self._read():
                    continue
                raise
            if end < len(self._text) or not self._read():  # a number may go on in the next piece
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
            raise ValueError(f"it begins with {first!r}, neither with an object nor with an array")


def _array(window: _Window, key: str) -> Iterator[Element]:
    window.skip()
    while window.peek() != "]":
        yield window.element(key)
    window.skip()
