"""Choose the frames of a conversion that a page shows, and draw their images."""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sim2real.errors import ImageError, Sim2RealError
from sim2real.evaluation.figures import Alarm
from sim2real.imageio import read_header, read_rgb, read_scaled, resize
from sim2real.inside import require_regular
from sim2real.progress import Progress
from sim2real.report.converted import Conversion, FrameFigures
from sim2real.report.overlays import Layer, layers
from sim2real.report.pictures import data_uri, fitted
from sim2real.threads import in_order, usable_cores
from sim2real.training.progress import thinned

T = TypeVar("T")
R = TypeVar("R")

JUDGED_BY = "preservation"
_WORST, _BEST, _RANDOM, _ALARMING, _REJECTED = 6, 3, 6, 2, 3
_LARGE, _LARGE_BUDGET = 960, 7_000_000  # px wide; bytes in all
_REAL, _REAL_WIDTH, _REAL_BUDGET = 4, 480, 1_000_000
_SMALL, _SMALL_BUDGET = 160, 5_000_000
_MOST_SMALL, _LEAST_SMALL = 400, 40
_PIXELS = 600_000_000  # to decode for thumbnails: about ten seconds
IN_A_LIST = 12  # thumbnails of each alarm
REJECTED_IN_A_LIST = 60


@dataclass(frozen=True, slots=True)
class Shown:
    """A frame that a page shows large.

    Attributes:
        frame: Its status and values.
        why: Why it was chosen, e.g. ``"worst"``.
        size: (W, H) of the coordinates of its layers.
        pictures: ``data:`` URIs of the source image, if it still exists, and of the translation.
        layers: Its labels.
    """

    frame: FrameFigures
    why: str
    size: tuple[int, int]
    pictures: Sequence[str]
    layers: Sequence[Layer]


def choose(conversion: Conversion, wanted: Sequence[str] = ()) -> dict[str, str]:
    """Choose the frames to show large; return their paths and the reasons, those that the user wants first.

    Raises:
        Sim2RealError: If a wanted frame does not exist or is ambiguous.
    """
    there = [frame for frame in conversion.frames.values() if frame.status != "failed"]
    judged = sorted((frame for frame in there if JUDGED_BY in frame.figures and frame.status != "rejected"), key=_order)
    rejected = [frame.path for frame in conversion.rejected]
    groups: list[tuple[str, Iterable[str]]] = [
        ("chosen", (_named(conversion, text) for text in wanted)),
        ("rejected", rejected[:_REJECTED]),
        ("worst", (frame.path for frame in judged[:_WORST])),
        *(("alarm", alarm.frames[:_ALARMING]) for alarm in _alarms(conversion)),
        ("best", (frame.path for frame in judged[_WORST:][::-1][:_BEST])),
        ("random", random.Random(0).sample([frame.path for frame in there], min(_RANDOM, len(there)))),
    ]
    why: dict[str, str] = {}
    for reason, paths in groups:
        for path in paths:
            if path in conversion.frames:
                why.setdefault(path, reason)
    return why


def _order(frame: FrameFigures) -> tuple[float, str]:
    return frame.figures[JUDGED_BY], frame.path


def _alarms(conversion: Conversion) -> Sequence[Alarm]:
    return conversion.evaluation.alarms if conversion.evaluation else ()


def _named(conversion: Conversion, text: str) -> str:
    """Return the frame that a path names: its path in the dataset, the end of that path, or its path on the disk."""
    if text in conversion.frames:
        return text
    for root in (conversion.folder, conversion.source):
        if root and Path(text).resolve().is_relative_to(root.resolve()):
            text = Path(text).resolve().relative_to(root.resolve()).as_posix()
    found = [path for path in conversion.frames if f"/{path}".endswith(f"/{text}")]
    if len(found) == 1:
        return found[0]
    hint = f"matches several frames, e.g. {found[0]} and {found[1]}" if found else "no frame of the conversion"
    message = f"--frame {text}: {hint}; name its path within {conversion.folder}"
    raise Sim2RealError(message)


def draw_large(conversion: Conversion, chosen: Mapping[str, str], progress: Progress) -> list[Shown]:
    """Draw the chosen frames with their labels, without those that cannot be read."""

    def read(path: str) -> tuple[Shown, list[NDArray[np.uint8]]] | None:
        before = conversion.before(path)
        try:
            pictures = [read_rgb(file) for file in (before, conversion.translation(path)) if file]
        except ImageError:
            return None
        height, width = pictures[-1].shape[:2]
        scale = min(1, _LARGE / width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        frame = conversion.labelled.get(path)
        painted = layers(frame, (width, height), size) if frame else []
        shown = Shown(conversion.frames[path], chosen[path], size, (), painted)
        return shown, [resize(picture, size) for picture in pictures]

    found = [each for each in _each(read, list(chosen), "looking closely", progress) if each]
    every = [picture for _, pictures in found for picture in pictures]
    addresses = map(data_uri, fitted(every, widest=_LARGE, budget=_LARGE_BUDGET))
    return [replace(shown, pictures=tuple(islice(addresses, len(pictures)))) for shown, pictures in found]


def draw_real(conversion: Conversion) -> list[str]:
    """Return a few of the real images that a conversion was compared with as ``data:`` URIs, without missing ones.

    They are evenly spread over the images that the evaluation used, not selected.
    """
    pictures = []
    for path in thinned(conversion.evaluation.pictures if conversion.evaluation else (), _REAL):
        with suppress(Sim2RealError, OSError):
            require_regular(Path(path))
            pictures.append(read_rgb(Path(path)))
    return [data_uri(data) for data in fitted(pictures, widest=_REAL_WIDTH, budget=_REAL_BUDGET)]


def draw_small(conversion: Conversion, chosen: Iterable[str], progress: Progress) -> dict[str, bytes]:
    """Draw thumbnails of frames, WebP: the source, the translation, and the image in its place if that is another.

    The frames are the chosen ones, those with alarms, the rejected ones, and others evenly spread, limited to a number
    that can be read quickly.
    """
    there = [path for path, frame in conversion.frames.items() if frame.status != "failed"]
    alarming = (path for alarm in _alarms(conversion) for path in alarm.frames[:IN_A_LIST])
    rejected = (frame.path for frame in conversion.rejected[:REJECTED_IN_A_LIST])
    wanted = [path for path in dict.fromkeys([*chosen, *rejected, *alarming]) if path in conversion.frames]
    count = _count(conversion, there)
    paths = list(dict.fromkeys([*wanted, *thinned(there, count)]))[:count]

    def read(path: str) -> NDArray[np.uint8] | None:
        line = conversion.frames[path].line
        instead = None if line and line.instead == "source" else conversion.after(path)
        files = dict.fromkeys((conversion.before(path), conversion.translation(path), instead))
        try:
            parts = [read_scaled(file, _small) for file in files if file]
        except ImageError:
            return None
        height, width = parts[0].shape[:2]
        return np.hstack([resize(part, (width, height)) for part in parts])

    strips = zip(paths, _each(read, paths, "thumbnails", progress), strict=True)
    painted = {path: strip for path, strip in strips if strip is not None}
    return dict(zip(painted, fitted(list(painted.values()), widest=3 * _SMALL, budget=_SMALL_BUDGET), strict=True))


def _small(width: int, height: int) -> tuple[int, int]:
    scale = min(1, _SMALL / width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _count(conversion: Conversion, paths: Sequence[str]) -> int:
    """Return how many frames can be read quickly, judged by the size of the first."""
    try:
        header = read_header(conversion.after(paths[0]))
    except (ImageError, IndexError):
        return _LEAST_SMALL
    return min(max(_PIXELS // (2 * header.width * header.height), _LEAST_SMALL), _MOST_SMALL)


def _each(work: Callable[[T], R], items: Sequence[T], stage: str, progress: Progress) -> list[R]:
    """Apply ``work`` to each item on all cores; return the results in order."""
    results = []
    for result in in_order(work, items, usable_cores()):
        results.append(result)
        progress(stage, len(results), len(items))
    return results
