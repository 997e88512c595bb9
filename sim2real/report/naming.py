"""Replace paths by names in reports, which may be shared, since paths reveal people and machines."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePath, PureWindowsPath
from shlex import quote
from typing import Any

_BEFORE = r"(?<![^\s\"'`(=:,;\[<|])"
_AFTER = r"(?=$|[\s\"'`)=:,;\]>|/\\])"
_ABSOLUTE = re.compile(
    _BEFORE
    + r"(?:file://)?(?:[A-Za-z]:[\\/]|\\\\|/(?!/))(?:[^\s\"'`(),:;\[\]<>|]*[\\/])?([^\s\"'`(),:;\[\]<>|\\/]+)[\\/]?"
)


class Naming:
    """Replaces paths in texts by names; a path below a known folder becomes relative to it.

    Args:
        known: Strings, mappings and lists that may hold the paths that occur in texts: the end of a path with spaces is
            only certain for a known path. Relative paths that stay in the working folder count as names already.
        paths: Whether to leave paths as they are.
    """

    def __init__(self, *known: object, paths: bool = False) -> None:
        self._paths = paths
        forms = {form: name for place in _paths_in(known) for form, name in _forms(place)}
        lost = {Path.home(), Path.cwd(), *(parent for form in forms for parent in PurePath(form).parents[:-1])}
        self._names = {str(Path.home()): "~", str(Path.cwd()): ".", **forms}
        self._names |= {f"{folder}{mark}": "" for folder in lost if str(folder) not in forms for mark in "/\\"}
        self._names |= {quote(form): quote(name) for form, name in forms.items()}  # in commands
        longest_first = sorted(self._names, key=len, reverse=True)
        ends = (re.escape(form) + ("" if form[-1] in "/\\" else _AFTER) for form in longest_first if len(form) > 1)
        self._known = re.compile(f"{_BEFORE}(?:{'|'.join(ends)})")

    def __call__(self, text: str) -> str:
        """Return a text with its paths replaced by names."""
        if self._paths:
            return text
        return _ABSOLUTE.sub(r"\1", self._known.sub(lambda match: self._names[match[0]], text))

    def inside(self, value: Any) -> Any:  # noqa: ANN401  whatever JSON holds
        """Replace the paths in all texts of nested mappings and lists."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, Mapping):
            return {key: self.inside(part) for key, part in value.items()}
        return [self.inside(part) for part in value] if isinstance(value, list | tuple) else value


def _paths_in(value: object) -> Iterator[str]:
    """Yield the strings that are absolute paths or lead out of the working folder."""
    match value:
        case Mapping():
            for part in value.values():
                yield from _paths_in(part)
        case list() | tuple():
            for part in value:
                yield from _paths_in(part)
        case str() | PurePath():
            path = PureWindowsPath(value)
            if path.root or path.drive or ".." in path.parts:
                yield str(value)


def _forms(place: str) -> Iterable[tuple[str, str]]:
    """Return the spellings of a path, each with its name."""
    path = Path(place)
    name = path.resolve().name or place
    return ((form, name) for form in (place.rstrip("/\\"), str(path.absolute()), str(path.resolve())) if form)
