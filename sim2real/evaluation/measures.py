"""Run metrics over images and compute the figures from their results.

Each image is decoded once, in threads, and not kept. Kept are the values of frames and the descriptions of set metrics,
the latter for as many images as fit into a fixed amount of memory.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar, cast

import numpy as np

from sim2real.conversion.plan import evenly
from sim2real.datasets.base import Frame
from sim2real.errors import PluginError, Sim2RealError
from sim2real.evaluation.figures import Figure, Interval
from sim2real.evaluation.frames import FramePair
from sim2real.evaluation.intervals import Floats, Rows, blocks_of, draw, mean_interval, spread_interval
from sim2real.evaluation.view import View
from sim2real.metrics import change
from sim2real.metrics.base import About, Change, Features, FrameMetric, Image, SetMetric, SlowSetMetric
from sim2real.progress import Progress
from sim2real.threads import in_order, usable_cores

_SIDES: Final = 3  # sets compared with real images: frames before and after, and other real images
_FEWEST: Final = 2  # images on each side of a comparison
_WRITTEN_AGAIN: Final = 32  # frames that are re-encoded to measure the change by that alone
_ROOM: Final = 2**27  # bytes for a metric's descriptions of a set
THREADS: Final = min(usable_cores(), 16)
"""Number of threads that decode and measure."""

T = TypeVar("T", FramePair, Frame)
SetMetrics = Mapping[str, SetMetric]
FrameMetrics = Mapping[str, FrameMetric]
Changes = Mapping[str, Change]
"""Name of a figure -> its value for a frame."""


@dataclass(frozen=True, slots=True)
class Look:
    """The descriptions of images by a set metric.

    Attributes:
        features: Descriptions (N, ...): two arrays for frames, before and after; one array for real images.
        blocks: The block of neighbours that each image belongs to, (N,).
    """

    features: tuple[Features, ...]
    blocks: Rows


@dataclass(frozen=True, slots=True)
class Seen:
    """The results of a pass over images.

    Attributes:
        changes: Path of each frame that could be read -> its values.
        looks: Name of a set metric -> its descriptions, without metrics that described no image.
        faults: What failed (a metric, or ``"reading"``) -> the reasons, one for each image.
        seconds: Name of a metric -> its seconds, summed over all threads.
    """

    changes: dict[str, Changes] = field(default_factory=dict)
    looks: dict[str, Look] = field(default_factory=dict)
    faults: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))


@dataclass(slots=True)
class _Glimpse:
    """The results for one image, or for a frame and its translation."""

    changes: Changes | None = None
    features: dict[str, list[Features]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timing(self, name: str) -> Iterator[None]:
        """Record the seconds that a metric takes."""
        begin = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - begin

    def describe(self, images: Sequence[Image], metrics: SetMetrics, view: View) -> None:
        """Let set metrics describe the views of images of the same size, if these are large enough."""
        if not metrics or not view.fits(images[0]):
            return
        images = [view(image) for image in images]
        for name, metric in metrics.items():
            with self.timing(name):
                self.features[name] = [metric.describe([image]) for image in images]


def see_frames(
    pairs: Sequence[FramePair], frame_metrics: FrameMetrics, set_metrics: SetMetrics, view: View, progress: Progress
) -> Seen:
    """Run metrics over frames and their translations; the amount of change is always measured.

    Args:
        pairs: The frames, in order.
        frame_metrics: Metrics that see the full images.
        set_metrics: Metrics that see the view of the images.
        view: The common view of all images.
        progress: Called for the stage ``"frames"``.
    """
    again = frozenset(pair.path for pair in evenly(pairs, _WRITTEN_AGAIN))

    def look(pair: FramePair, wanted: SetMetrics) -> _Glimpse:
        before, after = pair.both()
        glimpse, labels = _Glimpse(), pair.labels()
        changes = change.changes(before, after, pair.again(before) if pair.path in again else None)
        for name, metric in frame_metrics.items():
            try:
                with glimpse.timing(name):
                    changes |= metric.compare(before, after, labels)
            except Sim2RealError as error:
                glimpse.faults[name] = f"{pair.path}: {error}"
            except Exception as error:
                error.add_note(f"by the metric '{name}', of {pair.path}")
                raise
        glimpse.changes = changes
        glimpse.describe([before, after], wanted, view)
        glimpse.faults |= _too_small(before, view, wanted, pair.path)
        return glimpse

    return _see(pairs, look, set_metrics, view, partial(progress, "frames"))


def see_real(frames: Sequence[Frame], set_metrics: SetMetrics, view: View, progress: Progress) -> Seen:
    """Run set metrics over real images; ``progress`` is called for the stage ``"real"``."""

    def look(frame: Frame, wanted: SetMetrics) -> _Glimpse:
        image = frame.load_image()
        glimpse = _Glimpse(faults=_too_small(image, view, wanted, frame.image))
        glimpse.describe([image], wanted, view)
        return glimpse

    return _see(frames, look, set_metrics, view, partial(progress, "real"))


def _too_small(image: Image, view: View, wanted: SetMetrics, path: str) -> dict[str, str]:
    if not wanted or view.fits(image):
        return {}
    return {"realism": f"{path}: smaller than the {view.width}x{view.height} pixels that are compared"}


def _see(
    items: Sequence[T],
    look: Callable[[T, SetMetrics], _Glimpse],
    set_metrics: SetMetrics,
    view: View,
    progress: Callable[[int, int], None],
) -> Seen:
    blank = np.zeros((view.height, view.width, 3), np.uint8)
    most = {name: max(1, _ROOM // metric.describe([blank]).nbytes) for name, metric in set_metrics.items()}
    described = {name: frozenset(evenly(range(len(items)), count)) for name, count in most.items()}

    def see(number: int) -> _Glimpse:
        wanted = {name: metric for name, metric in set_metrics.items() if number in described[name]}
        try:
            return look(items[number], wanted)
        except Sim2RealError as error:
            return _Glimpse(faults={"reading": str(error)})

    glimpses = []
    for glimpse in in_order(see, range(len(items)), THREADS):
        glimpses.append(glimpse)
        progress(len(glimpses), len(items))
    seen = Seen()
    for item, glimpse in zip(items, glimpses, strict=True):
        if isinstance(item, FramePair) and glimpse.changes is not None:
            seen.changes[item.path] = glimpse.changes
        for name, fault in glimpse.faults.items():
            seen.faults[name].append(fault)
        for name, seconds in glimpse.seconds.items():
            seen.seconds[name] += seconds
    for name in set_metrics:
        there = [number for number, glimpse in enumerate(glimpses) if name in glimpse.features]
        if there:
            sides = zip(*(glimpses[number].features.pop(name) for number in there), strict=True)
            blocks = blocks_of([items[number].sequence for number in there])
            seen.looks[name] = Look(tuple(map(np.concatenate, sides)), blocks)
    return seen


def steps_of(metric: SetMetric) -> int:
    """Return how often :func:`set_figure` calls its ``tick``."""
    ticks: int = getattr(metric, "ticks", 1)
    return _SIDES * metric.resamples * ticks


def _distance(metric: SetMetric, images: Features, real: Features, tick: Callable[[], None]) -> float:
    if hasattr(metric, "ticks"):
        return cast("SlowSetMetric", metric).distance(images, real, tick)
    distance = metric.distance(images, real)
    tick()
    return distance


def set_figure(
    name: str, metric: SetMetric, frames: Look | None, real: Look | None, *, seed: int, tick: Callable[[], None]
) -> Figure:
    """Measure how far frames are from real images before and after, and how far real images are from each other.

    All three distances are measured between equal numbers of images, half as many as the smaller set has, since the
    distance of finite sets depends on their sizes. They are measured repeatedly on different images, before and after
    on the same frames and against the same real images, and averaged. With too few images to mean anything, a slow
    metric is not measured.

    Args:
        name: Name of the metric.
        metric: The metric.
        frames: Its descriptions of frames before and after; None if it described none.
        real: Its descriptions of real images; None if it described none.
        seed: Seed of the sampling of images.
        tick: Called as often as :func:`steps_of` returns, unless the metric fails.
    """
    about = metric.about
    figure = partial(Figure, group="realism", name=name, title=about.title, better=about.better, least=about.least)
    counts = [len(look.blocks) if look else 0 for look in (frames, real)]
    count = min(counts) // 2
    few = _too_few(2 * max(about.least, _FEWEST), *counts)
    is_slow = hasattr(metric, "ticks")  # and would say nothing
    if not frames or not real or count < _FEWEST or (few and is_slow):
        return figure(after=None, remark=few)
    draws = zip(
        draw(frames.blocks, count, metric.resamples, seed),
        draw(real.blocks, 2 * count, metric.resamples, seed + 1),
        strict=True,
    )
    distances = []
    try:
        for rows, both in draws:
            (others, reals), (features,) = np.split(both, 2), real.features
            sets = (frames.features[0][rows], frames.features[1][rows], features[others])
            distances.append([_distance(metric, each, features[reals], tick) for each in sets])
    except Sim2RealError as error:
        return figure(after=None, remark=str(error))
    if not np.isfinite(distances).all():
        return figure(after=None, remark="not finite on these images")
    before, after, floor = np.array(distances).T
    return figure(
        after=float(after.mean()),
        before=float(before.mean()),
        interval=spread_interval(after, about.most),
        before_interval=spread_interval(before, about.most),
        change=spread_interval(after - before),
        floor=float(floor.mean()),
        count=count,
        remark=few,
    )


def _too_few(least: int, frames: int, real: int) -> str:
    """Return a remark on how many more images a set metric needs; empty if there are enough."""
    lacks = [
        *(["convert more frames"] if frames < least else []),
        *(["name more real images"] if real < least else []),
    ]
    needs = f"needs {least} frames and {least} real images, there are {frames} and {real}"
    return f"{needs}: {' and '.join(lacks)}" if lacks else ""


def frame_figures(metrics: FrameMetrics, changes: Sequence[Changes], blocks: Rows, seed: int) -> list[Figure]:
    """Average the values of frames, over all classes and for each class; the amount of change comes first.

    Args:
        metrics: The frame metrics, by name.
        changes: Their values for each frame.
        blocks: The block of neighbours that each frame belongs to, (N,).
        seed: Seed of the resampling.

    Raises:
        PluginError: If a metric returned a value that is missing in its ``abouts``.
    """
    abouts = dict(change.ABOUTS)
    for metric in metrics.values():
        abouts |= {name: about for name, about in metric.abouts.items() if name not in abouts}
    found = {name: name.partition("/")[0] for each in changes for name in each}
    if stray := sorted(name for name, base in found.items() if base not in abouts):
        message = f"'{stray[0]}' was measured, but no abouts of the metrics {', '.join(metrics)} describe it"
        raise PluginError(message)
    order = list(abouts)
    return [
        _frame_figure(name, abouts[base], [each.get(name) for each in changes], blocks, seed)
        for name, base in sorted(found.items(), key=lambda item: (order.index(item[1]), item[0]))
    ]


def _frame_figure(name: str, about: About, changes: Sequence[Change | None], blocks: Rows, seed: int) -> Figure:
    values = np.array([each or (math.nan, math.nan) for each in changes], np.float64)  # None becomes NaN
    base, _, label = name.partition("/")
    figure = partial(Figure, name=base, label=label, title=about.title, better=about.better, least=about.least)
    return mean_figure(partial(figure, group="preservation"), values[:, 0], values[:, 1], blocks, seed)


def mean_figure(figure: Callable[..., Figure], after: Floats, before: Floats, blocks: Rows, seed: int) -> Figure:
    """Average the values of frames, after and before, with confidence intervals.

    Args:
        figure: Makes the figure of the averages; everything else is already given.
        after: Values after the translation, (N,); NaN for frames without one.
        before: Values before the translation, (N,); NaN for frames without one.
        blocks: The block of neighbours that each frame belongs to, (N,).
        seed: Seed of the resampling.
    """
    (mean, interval), (before_mean, before_interval), (_, change) = (
        _mean(values, blocks, seed) for values in (after, before, after - before)
    )
    return figure(
        after=mean,
        before=before_mean,
        interval=interval,
        before_interval=before_interval,
        change=change,
        count=int(np.isfinite(after).sum()),
    )


def _mean(values: Floats, blocks: Rows, seed: int) -> tuple[float | None, Interval | None]:
    """Average values (N,) over the frames that have one; the others are NaN."""
    there = np.isfinite(values)
    if not there.any():
        return None, None
    values, blocks = values[there], blocks[there]
    return float(values.mean()), mean_interval(values, blocks, seed)
