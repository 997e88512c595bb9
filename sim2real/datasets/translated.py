"""Frames with the images that another program made of them, and how these are found.

The images may be of any size. They are found by their paths, which may be shorter than those of the frames, or by their
order.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any, Final

from sim2real.datasets.base import Frame
from sim2real.errors import DatasetError

KIND: Final = "translation"
GENERATOR: Final = "frames"
"""The registered name of the generator that shows these images."""
# pytorch-CycleGAN-and-pix2pix names its results so, beside _real and _rec.
_FAKE: Final = re.compile(r"_fake(_[ab])?$", re.IGNORECASE)
_DIGITS: Final = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class TranslatedFrame(Frame):
    """A frame and the image that another program made of it.

    Attributes:
        translation: Path of that image.
    """

    translation: Path = Path()


def with_translations(frames: Iterable[Frame], generator: str, options: Mapping[str, Any]) -> Iterator[Frame]:
    """Yield frames with the images of a generator's options, if it is the one that shows them.

    Args:
        frames: Frames of a dataset.
        generator: Registered name of the generator.
        options: Its options: ``folder`` and ``frames``, image of a frame -> path within the folder.
    """
    if generator != GENERATOR:
        yield from frames
        return
    folder, paths = Path(options["folder"]), options["frames"]
    for frame in frames:
        if path := paths.get(frame.image):
            own = {each.name: getattr(frame, each.name) for each in fields(Frame)}
            own["labels"] = {**frame.labels, KIND: str(folder / path)}
            yield TranslatedFrame(**own, translation=folder / path)
        else:
            yield frame


@dataclass(frozen=True, slots=True)
class Pairs:
    """The translated images of frames.

    Attributes:
        by: ``"path"`` or ``"order"``.
        found: Image of a frame -> path of its translation.
        missing: Images of frames without a translation.
        unused: Translations that belong to no frame.
    """

    by: str
    found: Mapping[str, str]
    missing: Sequence[str]
    unused: Sequence[str]


def match(images: Sequence[str], files: Sequence[str], by: str | None = None) -> Pairs:
    """Match the images of frames with translated images.

    By path: the names without suffix must be equal, and the folders of the translation must be among those of the
    frame, in the same order; folders that all translations share may have other names. Names may end in ``_fake_B`` or
    the like; other results of the same program are then ignored.
    By order: sorted, numbers by value; there must be as many translations as frames.

    Args:
        images: Paths of the frames' images, in the order of the dataset.
        files: Paths of the translated images.
        by: ``"path"``, ``"order"``, or None: by path, or by order if no path fits and the numbers are equal.

    Raises:
        DatasetError: If the order is asked for and the numbers differ.
    """
    if by != "order":
        found = _by_path(images, files)
        if found or by == "path" or len(images) != len(files):
            return _pairs("path", found, images, files)
    if len(images) != len(files):
        raise DatasetError(f"{len(images)} frames and {len(files)} translations cannot be matched by their order")
    ordered = sorted(files, key=_natural)
    return _pairs("order", dict(zip(sorted(images, key=_natural), ordered, strict=True)), images, files)


def _pairs(by: str, found: Mapping[str, str], images: Sequence[str], files: Sequence[str]) -> Pairs:
    used = set(found.values())
    missing = [image for image in images if image not in found]
    return Pairs(by, found, missing, [file for file in files if file not in used])


def _by_path(images: Sequence[str], files: Sequence[str]) -> dict[str, str]:
    """Match by names and by those folders that both paths have, in the same order; the longest match counts."""
    if found := _matched(images, files, 0):
        return found
    folders = [PurePosixPath(file).parts[:-1] for file in files]
    shared = takewhile(lambda names: len({*names}) == 1, zip(*folders, strict=False))
    return _matched(images, files, len(list(shared)))


def _matched(images: Sequence[str], files: Sequence[str], above: int) -> dict[str, str]:
    """Match by paths, those of translations without so many folders at their start."""
    fakes = [file for file in files if _FAKE.search(PurePosixPath(file).stem)]
    paths = {file: _parts(file, fake=bool(fakes))[above:] for file in fakes or files}
    counts = Counter((folder, name) for *folders, name in paths.values() for folder in {*folders})
    known: dict[tuple[str, str], list[str]] = defaultdict(list)  # by the rarest folder and the name
    for file, (*folders, name) in paths.items():
        known[min(folders, key=lambda folder: counts[folder, name], default=""), name].append(file)
    found = {}
    for image in images:
        *folders, name = _parts(image)
        fits: dict[int, list[str]] = defaultdict(list)
        for folder in {"", *folders}:
            for file in known.get((folder, name), ()):
                if _is_part(paths[file][:-1], folders):
                    fits[len(paths[file])].append(file)
        if fits and len(best := fits[max(fits)]) == 1:
            found[image] = best[0]
    claims = Counter(found.values())
    return {image: file for image, file in found.items() if claims[file] == 1}


def _is_part(some: Iterable[str], whole: Iterable[str]) -> bool:
    """Return whether names occur in a longer list in the same order."""
    rest = iter(whole)
    return all(each in rest for each in some)


def _parts(path: str, *, fake: bool = False) -> tuple[str, ...]:
    """Return the folders and the name without suffix, in lower case."""
    whole = PurePosixPath(path.lower())
    return (*whole.parts[:-1], _FAKE.sub("", whole.stem) if fake else whole.stem)


def _natural(path: str) -> list[tuple[int, int, str]]:
    """Return a sort key that orders numbers by value."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in _DIGITS.split(path)]
