"""Decide which of the images that a layout lists are camera images, by one rule for all layouts.

There are four kinds of evidence, the cheapest first. Images are judged in groups whose paths differ only in digits, by
a sample of each group, so that one odd file decides nothing.

1. **Names**, see :mod:`sim2real.datasets.modalities`: the images are named like others except for a word that denotes
   labels, e.g. ``depth/7.png`` next to ``rgb/7.jpg``, or ``7_cs.png`` next to ``7.png``.
2. **Headers**: palette images, and images without 8 bits per channel, cannot be translated.
3. **Pixels that cannot be light**, see :mod:`sim2real.datasets.pixels`: numbers encoded in colours, directions,
   coordinates, visualised optical flow.
4. **Doubts**: few colours, or no colour at all. Photos can have these too, so they count only where at least one other
   image remains for every four, and not in layouts that define which of their folders hold camera images.

Images that are set aside are carried unchanged. Only the user can overrule this, by naming the images.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from sim2real.datasets.base import Frame, Role
from sim2real.datasets.modalities import is_colour_coded, is_lossy, label_words, labels_by_name
from sim2real.datasets.pixels import ONE_CHANNEL, Kind, kind_of
from sim2real.errors import ImageError
from sim2real.imageio import Header, read_header, read_rgb

_COPIES: Final = re.compile(r"(?:^|/)(?:\.[^/]+|@eaDir)/")
_DIGITS: Final = re.compile(r"\d+")
_GROUPS: Final = 64  # the largest groups, whose pixels are checked
_VALUES: Final = 8  # distinct folder names at one depth; beyond, they are pooled
_HEADERS: Final = 8  # read of each group at first
_DECODED: Final = 4  # images decoded of each group
_LARGEST: Final = 2**26  # pixels of the largest image that is decoded
_REMAINING: Final = 4  # doubtful images for each other one
_NAMED: Final = 3  # folders in a message


class Finding(NamedTuple):
    """Images that are not camera images: how many there are, where, and why."""

    images: int
    folders: Counter[str]
    example: str
    reason: str

    @property
    def place(self) -> str:
        """Their folders and an example, as part of a message."""
        most = [folder or "the outermost folder" for folder, _ in self.folders.most_common(_NAMED)]
        more = f" and {len(self.folders) - _NAMED} more folders" if len(self.folders) > _NAMED else ""
        return f"in {', '.join(most)}{more}, e.g. {self.example}"

    @property
    def glob(self) -> str:
        """A glob for the first of them and similar files: those of its folder with the same end of the name."""
        folder, slash, name = self.example.rpartition("/")
        return f"{folder}{slash}*{_DIGITS.split(name)[-1]}"

    def __str__(self) -> str:
        """Return the warning for the user."""
        return (
            f"{self.images} images are carried unchanged: {self.reason}, {self.place}; if they are camera images, "
            f'pass --as-image "{self.glob}"'
        )


@dataclass(slots=True)
class NonPhotos:
    """Images of a dataset that are not camera images.

    Attributes:
        roles: Their roles by path.
        findings: The reasons, one finding each.
        doubts: Warnings about images that are treated as camera images nevertheless.
    """

    roles: dict[str, Role] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)

    def add(self, paths: Sequence[str], role: Role, reason: str) -> None:
        """Set images aside; images with the same reason share a finding."""
        if not paths:
            return
        self.roles.update(dict.fromkeys(paths, role))
        folders = Counter(path.rpartition("/")[0] for path in paths)
        for place, finding in enumerate(self.findings):
            if finding.reason == reason:
                merged = Finding(finding.images + len(paths), finding.folders + folders, finding.example, reason)
                self.findings[place] = merged
                return
        self.findings.append(Finding(len(paths), folders, paths[0], reason))


def find_non_photos(root: Path, frames: Iterable[Frame], *, stated: re.Pattern[str], known: bool) -> NonPhotos:
    """Find the images that a layout lists and that are not camera images.

    Args:
        root: The folder of the dataset.
        frames: The frames that the layout lists.
        stated: Pattern for the paths of images that the user declares to be camera images.
        known: Whether the layout itself defines which folders hold camera images; doubts are then ignored.
    """
    own = dict[tuple[str, str], str]()
    groups: dict[str, list[str]] = {}
    photos: dict[str, list[str]] = {}
    for frame in frames:
        sure = stated.fullmatch(frame.image)
        (photos if sure else groups).setdefault(_shape(frame.image), []).append(frame.image)
        for label in () if known else frame.labels.values():
            named_alike = (label, frame.image.rpartition("/")[2].rpartition(".")[0])
            own[named_alike] = frame.image if own.get(named_alike, frame.image) == frame.image else ""
    labelled = set(own.values())  # a label shared by images of one name is no evidence
    non_photos = NonPhotos()
    if not known:
        _take(non_photos, groups, _COPIES.search, Role.STALE, "in hidden folders, like thumbnails")
    _take(non_photos, groups, is_colour_coded, Role.PSEUDO, "named like the colour-coded labels of known datasets")
    for shape in labels_by_name(groups, photos):
        non_photos.add(groups.pop(shape), Role.LABEL, "named like labels of other images")
    sorted_out = [part for paths in _pooled(groups) for part in _by_header(root, paths, non_photos, each=not known)]
    doubts = list(_look(root, sorted_out, non_photos, labelled, known=known))
    _follow(doubts, sum(map(len, [*groups.values(), *photos.values()])), non_photos, known=known)
    if not known:
        _doubt_names(groups, non_photos)
    return non_photos


def _take(
    non_photos: NonPhotos, groups: dict[str, list[str]], fits: Callable[[str], object], role: Role, reason: str
) -> None:
    """Set aside the groups whose shape fulfils a condition."""
    for shape in [shape for shape in groups if fits(shape)]:
        non_photos.add(groups.pop(shape), role, reason)


def _shape(path: str) -> str:
    """Return a path with each number replaced by 0, as numbers usually count frames."""
    folder, slash, name = path.rpartition("/")
    return f"{_folder_shape(folder)}{slash}{_DIGITS.sub('0', name)}"


@lru_cache(maxsize=4096)
def _folder_shape(folder: str) -> str:
    return _DIGITS.sub("0", folder)


def _pooled(groups: Mapping[str, list[str]]) -> list[list[str]]:
    """Return the groups; if names are not numbered and there are too many groups, pool those of similar folders."""
    if len(groups) <= _GROUPS:
        return list(groups.values())
    keys = {shape: _pool(shape, shape.split("/")[:-1]) for shape in groups}
    if len(set(keys.values())) > _GROUPS:
        values: dict[int, set[str]] = {}
        for shape in groups:
            for depth, folder in enumerate(shape.split("/")[:-1]):
                values.setdefault(depth, set()).add(folder)
        for shape in groups:
            folders = shape.split("/")[:-1]
            kept = [name if len(values[depth]) <= _VALUES else "*" for depth, name in enumerate(folders)]
            keys[shape] = _pool(shape, kept)
    pools: dict[tuple[str, ...], list[str]] = {}
    for shape, paths in groups.items():
        pools.setdefault(keys[shape], []).extend(paths)
    return list(pools.values())


def _pool(shape: str, folders: Sequence[str]) -> tuple[str, ...]:
    return (*folders, "", *sorted(label_words(shape)), shape.rpartition(".")[2].lower())


class _Part(NamedTuple):
    """Images of a group with similar headers."""

    paths: list[str]
    grey: bool


def _by_header(root: Path, paths: list[str], non_photos: NonPhotos, *, each: bool) -> Iterator[_Part]:
    """Set aside images that cannot be translated, and yield the colour images of a group and the grey ones.

    If ``each`` is set, the header of every PNG is read: that is cheap, and labels are PNG. Otherwise a few odd images
    among photos stay photos, and decoding them later fails with an error that names the file.
    """
    every = each and paths[0].lower().endswith(".png")
    sample = {path: _check(root / path) for path in (paths if every else spread(paths, _HEADERS))}
    if len(set(sample.values()) - {None}) > 1 and not every:
        sample = {path: _check(root / path) for path in paths}
    known = [checked for checked in sample.values() if checked]
    no_photos = each or all(checked.reason for checked in known)
    parts: dict[bool, list[str]] = {}
    for path in paths:
        checked = sample.get(path) or (known[0] if known and path not in sample else None)
        if checked and checked.reason and no_photos:
            non_photos.add([path], Role.LABEL, checked.reason)
        else:
            parts.setdefault(bool(checked and checked.grey), []).append(path)
    yield from (_Part(part, grey) for grey, part in parts.items())


class _Checked(NamedTuple):
    """What a header shows: the reason why it cannot be a photo, or empty, and whether the image is grey."""

    reason: str
    grey: bool


def _check(path: Path) -> _Checked | None:
    """Read a header; return None for a damaged image, which is reported when it is decoded."""
    header = _header(path)
    if header is None:
        return None
    if header.palette:
        return _Checked("palette images", grey=False)
    if header.bits != 8:
        return _Checked(f"{header.bits} bits per channel", grey=False)
    return _Checked("", grey=header.channels < 3)


def _header(path: Path) -> Header | None:
    try:
        return read_header(path)
    except ImageError:
        return None


class _Doubt(NamedTuple):
    """Images that may be labels."""

    paths: list[str]
    kind: Kind


def _look(
    root: Path, parts: Iterable[_Part], non_photos: NonPhotos, labelled: set[str], *, known: bool
) -> Iterator[_Doubt]:
    """Decode some images of each group, set aside those that cannot be photos, and yield the doubtful ones."""
    for rank, (paths, grey) in enumerate(sorted(parts, key=lambda part: -len(part.paths))):
        kind = (_kind(root, paths) if rank < _GROUPS else None) or (ONE_CHANNEL if grey else None)
        if kind is ONE_CHANNEL and (known or is_lossy(paths[0]) or labelled & {*spread(paths, _HEADERS)}):
            continue  # images of a grey camera
        if kind and kind.doubtful:
            yield _Doubt(paths, kind)
        elif kind:
            non_photos.add(paths, kind.role, kind.reason)


def _kind(root: Path, paths: Sequence[str]) -> Kind | None:
    """Return the kind of most images of a sample; None for photos."""
    found = Counter(_kind_of(root / path) for path in spread(paths, _DECODED))
    del found[_UNREADABLE]
    total, photos = found.total(), found.pop(None, 0)
    return found.most_common(1)[0][0] if found and 3 * photos <= total else None


_UNREADABLE: Final = Kind("", Role.AUX, doubtful=True)


def _kind_of(path: Path) -> Kind | None:
    header = _header(path)
    if header is None or header.width * header.height > _LARGEST:
        return _UNREADABLE
    try:
        return kind_of(read_rgb(path))
    except ImageError:
        return _UNREADABLE


def _follow(doubts: Iterable[_Doubt], images: int, non_photos: NonPhotos, *, known: bool) -> None:
    """Set doubtful images aside if enough others remain of all ``images``; otherwise record the doubt."""
    doubts = list(doubts)
    remaining = images - sum(len(doubt.paths) for doubt in doubts)
    for paths, kind in doubts:
        if not known and _REMAINING * remaining >= len(paths):
            non_photos.add(paths, kind.role, kind.reason)
        elif kind is not ONE_CHANNEL:
            which = f"{len(paths)} images" if remaining else "all images"
            non_photos.doubts.append(
                f"{which} have {kind.reason}, e.g. {paths[0]}; if they are labels, do not convert them"
            )


def _doubt_names(groups: Mapping[str, list[str]], non_photos: NonPhotos) -> None:
    named = [
        path for shape, paths in groups.items() if label_words(shape) for path in paths if path not in non_photos.roles
    ]
    if named:
        non_photos.doubts.append(
            f"{len(named)} images are taken for photos, though their names suggest labels, e.g. {named[0]}; if they "
            "are labels, leave them out with --exclude"
        )


def spread(paths: Sequence[str], count: int) -> list[str]:
    """Return ``count`` of the paths, evenly spread and including the first; all if there are fewer."""
    step = max(1.0, len(paths) / count)
    return [paths[int(place * step)] for place in range(min(count, len(paths)))]
