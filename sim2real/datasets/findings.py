"""Checks of a dataset before its conversion, for any layout: gaps, wrong sizes, traces of the old appearance."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Final

from sim2real.datasets.base import Frame, Tree
from sim2real.datasets.modalities import WORDS
from sim2real.datasets.readers import size_of
from sim2real.errors import ImageError
from sim2real.imageio import is_image
from sim2real.places import is_pointer

_LOOKED_AT: Final = 64
_LOOKS: Final = frozenset(
    (
        *("fog", "foggy", "mist", "rain", "rainy", "raining", "softrain", "hardrain", "rainnight", "wet", "storm"),
        *("stormy", "snow", "snowy", "overcast", "cloudy", "dust", "duststorm"),
        *("dawn", "sunrise", "morning", "sunset", "dusk", "twilight", "night", "nighttime", "winternight"),
        *("spring", "summer", "autumn", "fall", "winter"),
    )
)
ABOUT: Final = re.compile(
    r"(?:read_?me|licen[cs]e|copying|copyright|changelog|citation|notice|index\.html)[^/]*"
    r"|\.[^/]+|thumbs\.db|desktop\.ini",
    re.IGNORECASE,
)
"""Names of files that come with many downloads, or that a system leaves behind."""

OLD_PIXELS: Final = "made from the old pixels"
OLD_PICTURES: Final = "the old photos inside of label files, unless --labelme-image embeds the new ones or drops them"
FOLDER_NAMES: Final = "weather, light or season in the names of folders"


def pointers(tree: Tree) -> Iterator[str]:
    """Yield files that Git LFS has not fetched, at most one per suffix; three files of each suffix are checked."""
    by_suffix: dict[str, list[str]] = {}
    for path in tree:
        by_suffix.setdefault(path[path.rfind(".") :].lower(), []).append(path)
    for paths in by_suffix.values():
        sample = dict.fromkeys((paths[0], paths[len(paths) // 2], paths[-1]))
        yield from islice((path for path in sample if is_pointer(tree.root / path)), 1)


@lru_cache(maxsize=1024)
def looks_in(folder: str) -> tuple[str, ...]:
    """Return the parts of a folder's path that name weather, light or a season, like "fog" and "HardRainNoon"."""
    return tuple(name for name in folder.split("/") if any(word.lower() in _LOOKS for word in WORDS.findall(name)))


@dataclass(slots=True)
class _Video:
    """Statistics of a sequence: the number of images, of labels by kind, and its first and last index."""

    first: int
    last: int
    images: int = 0
    labels: Counter[str] = field(default_factory=Counter)

    def missing(self) -> int:
        return self.last + 1 - self.first - self.images

    def lacking(self, kind: str) -> int:
        """Return how many images lack a label that others have; one may lack motion, as the first or last does."""
        present = self.labels[kind]
        return max(0, self.images - present - kind.endswith("flow")) if present else 0


def incomplete(
    frames: Callable[[], Iterable[Frame]], *, sparse: Collection[str] = (), consecutive: bool = False
) -> Iterator[str]:
    """Warn of images that lack a label that others of their sequence have, and of missing frame numbers in videos.

    Args:
        frames: Returns an iterable of all frames.
        sparse: Kinds of labels that only some images have by design.
        consecutive: Whether the indices of a sequence count the frames of a video.
    """
    videos: dict[tuple[str, str], _Video] = {}
    for frame in frames():
        index = frame.index
        if (video := videos.get(_video(frame))) is None:
            video = videos[_video(frame)] = _Video(index, index)
        video.first, video.last = min(video.first, index), max(video.last, index)
        video.images += 1
        video.labels.update(frame.labels.keys())
    total = sum(video.images for video in videos.values())
    for kind in dict.fromkeys(kind for video in videos.values() for kind in video.labels if kind not in sparse):
        if lacking := sum(video.lacking(kind) for video in videos.values()):
            without = (frame for frame in frames() if kind not in frame.labels and videos[_video(frame)].lacking(kind))
            example = next(islice(without, kind.startswith("backward"), None)).image
            yield f"{lacking} of {total} images have no {kind}, which others of their sequence have, e.g. {example}"
    gaps = {video: missing for video, seen in videos.items() if (missing := seen.missing()) > 0}
    if consecutive and gaps:
        sequence, _ = next(iter(gaps))
        yield f"{sum(gaps.values())} frame numbers are missing inside {len(gaps)} videos, {sequence} among them"


def without_image(labels: Iterable[str], claimed: Collection[str]) -> list[str]:
    """Return text and XML label files without an image, in folders where at least two others belong to images.

    A single one may belong to all images, next to files that belong to none, like Virtual KITTI's ``bbox.txt`` and
    ``info.txt``.

    Args:
        labels: Label files that belong to no image.
        claimed: Label files that belong to images.
    """
    kinds = Counter(map(_kind, claimed))
    return [path for path in labels if path.lower().endswith((".txt", ".xml")) and kinds[_kind(path)] > 1]


def _kind(path: str) -> tuple[str, str]:
    """Return the folder and the suffix of a file."""
    return path.rpartition("/")[0], path[path.rfind(".") :].lower()


def _video(frame: Frame) -> tuple[str, str]:
    """Return the sequence and the folder of a frame, which keep two copies of a dataset apart."""
    return frame.sequence, frame.image.rpartition("/")[0]


def other_looks(frames: Iterable[Frame]) -> Iterator[str]:
    """Warn of images in folders that are named for different weather, light or seasons."""
    folders = Counter(frame.image.rpartition("/")[0] for frame in frames)
    counts: Counter[tuple[str, ...]] = Counter()
    for folder, count in folders.items():
        counts[looks_in(folder)] += count
    if len(counts) > 1:
        named = ", ".join(f"{'/'.join(names)} ({count})" for names, count in sorted(counts.items()) if names)
        yield (
            f"folders are named for weather, light or season: {named}; a training on all images mixes their "
            "appearances: choose with --include or --exclude"
        )


def misfits(root: Path, frames: Iterable[Frame], count: int) -> Iterator[str]:
    """Warn of label images of another size than their image, by the headers of a sample of ``count`` frames."""
    for frame in islice(frames, 0, None, max(1, count // _LOOKED_AT)):
        for path in filter(is_image, frame.labels.values()):
            try:
                image, label = size_of(root / frame.image), size_of(root / path)
            except ImageError:  # reported when it is decoded
                continue
            if image != label:
                sizes = f"{label[0]}x{label[1]}, {frame.image} {image[0]}x{image[1]}"
                yield f"labels do not fit their images: {path} is {sizes}"
                return


@dataclass(frozen=True, slots=True)
class Unmatched:
    """Files of unknown purpose with one suffix below one folder, which are carried unchanged.

    Attributes:
        folder: The outermost folder; empty for files directly under the root.
        suffix: The suffix in lower case; empty if there is none.
        files: The number of files.
        example: The first file.
    """

    folder: str
    suffix: str
    files: int
    example: str


def group_unmatched(paths: Iterable[str]) -> list[Unmatched]:
    """Group files by folder and suffix, the largest groups first."""
    counts: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], str] = {}
    for path in paths:
        folder, slash, _ = path.partition("/")
        key = (folder if slash else "", Path(path).suffix.lower())
        counts[key] += 1
        examples.setdefault(key, path)
    return [Unmatched(*key, count, examples[key]) for key, count in counts.most_common()]
