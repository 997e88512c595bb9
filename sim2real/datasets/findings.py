"""What a user should know of any dataset before converting it, whatever its layout: gaps, misfits, old looks."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Final

from sim2real.datasets.base import Frame, Tree
from sim2real.errors import ImageError
from sim2real.imageio import is_image, read_header
from sim2real.places import is_pointer

_LOOKED_AT: Final = 64
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
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
"""Names of files that come with any download, or that a system leaves behind."""

OLD_PIXELS: Final = "made from the old pixels"
OLD_PICTURES: Final = "the old photos inside of label files, unless --labelme-image embeds the new ones or drops them"
FOLDER_NAMES: Final = "weather, light or season in the names of folders"


def pointers(tree: Tree) -> Iterator[str]:
    """Files that Git LFS has not fetched; of each suffix the first, the last and one between are looked at."""
    by_suffix: dict[str, list[str]] = {}
    for path in tree:
        by_suffix.setdefault(path[path.rfind(".") :].lower(), []).append(path)
    for paths in by_suffix.values():
        sample = dict.fromkeys((paths[0], paths[len(paths) // 2], paths[-1]))
        yield from islice((path for path in sample if is_pointer(tree.root / path)), 1)


@lru_cache(maxsize=1024)
def looks_in(folder: str) -> tuple[str, ...]:
    """The names in a folder's path that tell of weather, light or a season, as "fog" and "HardRainNoon" do."""
    return tuple(name for name in folder.split("/") if any(word.lower() in _LOOKS for word in _WORD.findall(name)))


@dataclass(slots=True)
class _Video:
    """What has been seen of a sequence: its images and their labels by number, its first and its last index."""

    first: int
    last: int
    images: int = 0
    labels: Counter[str] = field(default_factory=Counter)

    def missing(self) -> int:
        return self.last + 1 - self.first - self.images

    def lacking(self, kind: str) -> int:
        """How many images have no label that others have: motion cannot be told of the first or of the last one."""
        present = self.labels[kind]
        return max(0, self.images - present - kind.endswith("flow")) if present else 0


def incomplete(
    frames: Callable[[], Iterable[Frame]], *, sparse: Collection[str] = (), consecutive: bool = False
) -> Iterator[str]:
    """Images that lack a label which others of their sequence have, and gaps in the numbers of videos.

    Args:
        frames: What goes through all frames.
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
    """Text and XML files of labels that no image has, in folders where images have at least two others.

    One alone may be of all images, beside files that are no image's, as Virtual KITTI's ``bbox.txt`` and ``info.txt``.

    Args:
        labels: Label files that no image has.
        claimed: Those that images have.
    """
    kinds = Counter(map(_kind, claimed))
    return [path for path in labels if path.lower().endswith((".txt", ".xml")) and kinds[_kind(path)] > 1]


def _kind(path: str) -> tuple[str, str]:
    """The folder and the suffix of a file."""
    return path.rpartition("/")[0], path[path.rfind(".") :].lower()


def _video(frame: Frame) -> tuple[str, str]:
    """A sequence within a folder: two copies of a dataset are two."""
    return frame.sequence, frame.image.rpartition("/")[0]


def other_looks(frames: Iterable[Frame]) -> Iterator[str]:
    """Folders of images whose names tell of weather, light or a season, where not all images lie in the same ones."""
    folders = Counter(frame.image.rpartition("/")[0] for frame in frames)
    counts: Counter[tuple[str, ...]] = Counter()
    for folder, count in folders.items():
        counts[looks_in(folder)] += count
    if len(counts) > 1:
        named = ", ".join(f"{'/'.join(names)} ({count})" for names, count in sorted(counts.items()) if names)
        yield (
            f"folders tell of weather, light or season: {named}; a training on all images mixes their looks: choose "
            "with --include or --exclude"
        )


def misfits(root: Path, frames: Iterable[Frame], count: int) -> Iterator[str]:
    """Label images of another size than their image, judged by the headers of some of that many frames."""
    for frame in islice(frames, 0, None, max(1, count // _LOOKED_AT)):
        for path in filter(is_image, frame.labels.values()):
            try:
                image, label = (read_header(root / each) for each in (frame.image, path))
            except ImageError:  # whoever decodes it will say so
                continue
            if (image.width, image.height) != (label.width, label.height):
                sizes = f"{label.width}x{label.height}, {frame.image} {image.width}x{image.height}"
                yield f"labels do not fit their images: {path} is {sizes}"
                return


@dataclass(frozen=True, slots=True)
class Unmatched:
    """Files that nobody knows, of one suffix below one folder: they are carried unchanged.

    Attributes:
        folder: The outermost folder; empty for those beside it.
        suffix: Of the names, in lower case; empty for none.
        files: How many there are.
        example: The first of them.
    """

    folder: str
    suffix: str
    files: int
    example: str


def group_unmatched(paths: Iterable[str]) -> list[Unmatched]:
    """Files by folder and suffix, the largest groups first."""
    counts: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], str] = {}
    for path in paths:
        folder, slash, _ = path.partition("/")
        key = (folder if slash else "", Path(path).suffix.lower())
        counts[key] += 1
        examples.setdefault(key, path)
    return [Unmatched(*key, count, examples[key]) for key, count in counts.most_common()]
