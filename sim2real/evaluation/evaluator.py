"""Measure a converted dataset and decide the verdict on it."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from sim2real import __version__
from sim2real.conversion.plan import evenly
from sim2real.datasets.base import Frame
from sim2real.datasets.sources import frames_of_videos, open_sources, shared
from sim2real.datasets.video import Extraction
from sim2real.devices import resolve_device
from sim2real.errors import DatasetError, ImageError, Sim2RealError
from sim2real.evaluation.figures import Alarm, Evaluation, Figure, evaluation_path, write_evaluation
from sim2real.evaluation.frames import Converted, FramePair, open_converted, runs
from sim2real.evaluation.intervals import blocks_of
from sim2real.evaluation.measures import (
    THREADS,
    Changes,
    Seen,
    frame_figures,
    see_frames,
    see_real,
    set_figure,
    steps_of,
)
from sim2real.evaluation.metric_selection import MetricSelection, select_metrics
from sim2real.evaluation.segmenter import STEPS, segment
from sim2real.evaluation.segmenter import stages as segmenter_stages
from sim2real.evaluation.table import Row, write_frames
from sim2real.evaluation.temporal import temporal_figures
from sim2real.evaluation.verdict import BAD_FRAME, judge, unmeasured
from sim2real.evaluation.view import Size, View, common_view
from sim2real.files import sha256_of
from sim2real.imageio import read_header
from sim2real.progress import Progress, quiet
from sim2real.stages import Stages
from sim2real.threads import in_order

T = TypeVar("T")
_IN_RUNS = 240  # frames for temporal figures, in runs of consecutive ones
_MANY_REJECTED = 0.1  # share of the frames; above it, the remaining frames say little about the model
_LEAST_PIXELS = 64 * 64
_KEPT_PICTURES = 12  # real images that a report can show
_ALARMS = {
    "new_edges": "many new edges",
    "lost_boundaries": "lost outlines of labelled objects",
    "invented": "new structure in the sky or on the road",
    "inverted": "light and dark swapped",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateOptions:
    """The options of an evaluation.

    Attributes:
        metrics: Registered names; if empty, the metrics that need no weights and those that files are given for.
        metric_options: Name of a metric -> options of its constructor.
        weights: Weight files, keyed by the metric that needs them or by the torchvision network whose features ``kid``
            and ``frechet`` use.
        detector: ONNX file of a detector, for ``objects``.
        real_include: Globs of real images; if there are any, an image must match at least one.
        real_exclude: Globs of real images to leave out.
        real_as_image: Globs of real images that are camera images, whatever their names and pixels suggest.
        extraction: Which frames to extract from real videos.
        extracted: Folder for the extracted frames, reused if it holds them already; None: they are not kept.
        count: Largest number of frames and of real images, evenly spread; 0 for all.
        segmenter_steps: Training steps of a segmenter on the simulation's masks; 0: none is trained.
        seed: Seed of all random numbers.
        device: Device of the networks, see ``sim2real.devices``.
        dataset: Registered layout of the source; None: the layout that the conversion recorded, else it is recognised.
    """

    metrics: tuple[str, ...] = ()
    metric_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    weights: Mapping[str, Path] = field(default_factory=dict)
    detector: Path | None = None
    real_include: tuple[str, ...] = ()
    real_exclude: tuple[str, ...] = ()
    real_as_image: tuple[str, ...] = ()
    extraction: Extraction = field(default_factory=Extraction)
    extracted: Path | None = None
    count: int = 1000
    segmenter_steps: int = STEPS
    seed: int = 0
    device: str = "auto"
    dataset: str | None = None


def evaluate(
    out: Path,
    real: Path | Sequence[Path],
    *,
    source: Path | None = None,
    options: EvaluateOptions | None = None,
    progress: Progress = quiet,
    notify: Callable[[str], None] = lambda _line: None,
) -> Evaluation:
    """Measure a converted dataset, before and after, and write ``evaluation.json`` and ``evaluation.csv`` into it.

    Args:
        out: The converted dataset, or a folder of images that another tool wrote under the names of their sources.
        real: Real images: a dataset of any layout, a folder that holds both domains, a video; or several of them.
        source: The source dataset; None: the one that the conversion recorded.
        options: Options of the evaluation; None: the defaults.
        progress: Called for the stages ``"extracting"`` (from videos), ``"listing"``, ``"real"``, ``"frames"``,
            ``"frames in sequence"``, ``"METRIC compared"`` and those of the segmenter. All but the first two are
            announced before they begin.
        notify: Called with a line about what will be measured.

    Raises:
        Sim2RealError: If there is nothing to compare, or a requested metric cannot be used.
    """
    options = options or EvaluateOptions()
    if options.extracted is None:
        with TemporaryDirectory() as extracted:
            options = replace(options, extracted=Path(extracted))
            return evaluate(out, real, source=source, options=options, progress=progress, notify=notify)
    places = [real] if isinstance(real, Path) else list(real)
    seed, device, stages = options.seed, resolve_device(options.device), Stages()
    progress = _noting(stages, progress)
    common = {"seed": seed, "device": device}
    selection = select_metrics(options.metrics, options.metric_options, options.weights, options.detector, common)
    converted = open_converted(out, source, options.dataset)
    if out.resolve() == converted.source.root.resolve():
        message = f"{out}: this is the source itself, which is never written to; name the converted dataset"
        raise Sim2RealError(message)
    progress("listing", 0, 1)
    reals, warnings = _real_frames(places, converted, options, progress, notify)
    _require_apart(reals, converted)
    if not converted.pairs:
        evaluation = _of_none(converted, places, options)
        _keep(out, evaluation, _rows(converted, {}))
        return evaluation
    pairs, pictures = _spread(converted.pairs, options.count), _spread(reals, options.count)
    sizes = _sizes([pair.translation for pair in pairs])
    view = common_view(sizes, _sizes([picture.path for picture in pictures]))
    progress("listing", 1, 1)
    notify(
        f"{len(pairs)} of {len(converted.pairs)} frames, {len(pictures)} of {len(reals)} real images; set metrics "
        f"see them at {view.width}x{view.height}"
    )
    in_sequence = runs(converted.pairs, min(options.count, _IN_RUNS) or _IN_RUNS)
    planned = {
        "real": len(pictures) if selection.sets else 0,
        "frames": len(pairs),
        "frames in sequence": len(in_sequence),
        **{f"{name} compared": steps_of(metric) for name, metric in selection.sets.items()},
        **(segmenter_stages(pairs, options.segmenter_steps) if options.segmenter_steps else {}),
    }
    for stage, total in planned.items():
        progress(stage, 0, total)
    seen_real = see_real(pictures if selection.sets else [], selection.sets, view, progress)
    seen = see_frames(pairs, selection.frames, selection.sets, view, progress)
    if not seen.changes:
        raise ImageError(seen.faults["reading"][0])
    readable = [pair for pair in pairs if pair.path in seen.changes]
    steadiness = _steadiness(in_sequence, seed, progress)
    figures, seconds = _realism(selection, seen, seen_real, seed, progress)
    blocks = blocks_of([pair.sequence for pair in readable])
    figures += frame_figures(selection.frames, [seen.changes[pair.path] for pair in readable], blocks, seed)
    notes = [*selection.notes, *unmeasured(figures, options.count)]
    notes += [*_faults(seen, "frames"), *_faults(seen_real, "real images")]
    values = {path: _values(changes) for path, changes in seen.changes.items()}
    for found, by_frame, remark in (_segmented(readable, options, device, progress), steadiness):
        figures += found
        notes += [remark] if remark else []
        for path, more in by_frame.items():
            values.setdefault(path, {}).update(more)
    alarms = _alarms(seen)
    verdict, reasons = judge(figures, len(readable), [*_concerns(converted, seen, alarms), *_too_small(sizes)])
    evaluation = Evaluation(
        tool_version=__version__,
        source=str(converted.source.root.resolve()),
        real=name_places(places),
        settings=_settings(options, selection, converted, view, device),
        counts=_counts(converted, len(readable), len(pictures) - len(seen_real.faults["reading"])),
        verdict=verdict,
        reasons=reasons,
        figures=tuple(figures),
        alarms=alarms,
        notes=(*converted.notes, *_left_out(converted), *warnings, *notes),
        timings=_timings(stages, seen.seconds, seen_real.seconds, seconds),
        pictures=tuple(str(picture.path.resolve()) for picture in _spread(pictures, _KEPT_PICTURES)),
    )
    _keep(out, evaluation, _rows(converted, values))
    return evaluation


def name_places(places: Sequence[Path]) -> str:
    """Return the text under which :class:`Evaluation` records the places of the real images."""
    return ", ".join(str(place.resolve()) for place in places)


def _of_none(converted: Converted, real: Sequence[Path], options: EvaluateOptions) -> Evaluation:
    """Return the evaluation of a conversion whose translations the gate rejected without exception."""
    return Evaluation(
        tool_version=__version__,
        source=str(converted.source.root.resolve()),
        real=name_places(real),
        settings={"count": options.count, "seed": options.seed, "dataset": converted.source.name},
        counts=_counts(converted, evaluated=0, real=0),
        verdict="FAIL",
        reasons=(f"the gate rejected all {len(converted.rejected)} frames: no translation is left to evaluate",),
        figures=(),
    )


def _counts(converted: Converted, evaluated: int, real: int) -> dict[str, int]:
    rejected, missing = len(converted.rejected), len(converted.missing)
    frames = len(converted.pairs) + rejected + missing
    return {"frames": frames, "evaluated": evaluated, "real": real, "rejected": rejected, "missing": missing}


def _keep(out: Path, evaluation: Evaluation, rows: Sequence[Row]) -> None:
    evaluation_path(out).parent.mkdir(exist_ok=True)
    write_frames(out, rows)
    evaluation_path(out).unlink(missing_ok=True)  # an earlier evaluation would not match the new table
    write_evaluation(out, evaluation)


def _real_frames(
    real: Sequence[Path],
    converted: Converted,
    options: EvaluateOptions,
    progress: Progress,
    notify: Callable[[str], None],
) -> tuple[list[Frame], list[str]]:
    """Return the images of the target domain, and notes on them."""
    aim = "sim" if converted.record and converted.record.side == "real" else "real"
    sources = open_sources(
        real,
        options.extracted or Path(),
        include=options.real_include,
        exclude=options.real_exclude,
        as_image=options.real_as_image,
        extraction=options.extraction,
        progress=progress,
    )
    if line := frames_of_videos(sources, options.extraction):
        notify(line)
    found = list[Frame]()
    for source in sources:
        frames = [frame for frame in source.frames if frame.side in (None, aim)]
        if not frames:
            message = f"{source.path}: no {aim} images in this {source.layout} dataset; "
            raise DatasetError(f"{message}name the folder of real images with --real", topic="one-side-is-empty")
        found += frames
    return found, [note for source in sources for note in source.notes]


def _require_apart(reals: Sequence[Frame], converted: Converted) -> None:
    """Raise an error if any real image is also an image of the source or of the conversion."""
    pairs = [*converted.pairs, *converted.rejected, *converted.missing]
    sources = [pair.original or pair.frame.path for pair in pairs]
    pictures = [picture.path for picture in reals]
    for what, others in (("the source", sources), ("OUT", [pair.translation for pair in pairs])):
        if both := shared(pictures, others):
            message = f"{both[0]}: a real image that is also an image of {what}, like {len(both) - 1} more; "
            raise DatasetError(
                f"{message}name a folder of real images only with --real", topic="several-folders-and-videos"
            )


def _spread(items: Sequence[T], count: int) -> list[T]:
    return evenly(items, count or len(items))


def _sizes(images: Sequence[Path]) -> list[Size]:
    """Return the sizes of the images whose header can be read; the others fail when they are decoded."""
    found = [size for size in in_order(_size, images, THREADS) if size]
    if not found:
        message = f"{images[0]}: cannot be read as an image, and neither can any other"
        raise ImageError(message)
    return found


def _size(image: Path) -> Size | None:
    try:
        header = read_header(image)
    except ImageError:
        return None
    return header.width, header.height


def _noting(stages: Stages, progress: Progress) -> Progress:
    def note(stage: str, done: int, total: int, limit: str = "", /) -> None:
        stages.note(stage, done, total)
        progress(stage, done, total, limit)

    return note


def _timings(stages: Stages, *metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the seconds of each stage, and of each metric over all stages."""
    found = stages.timings()
    for name, seconds in (item for some in metrics for item in some.items()):
        found[f"metric {name}"] = found.get(f"metric {name}", 0) + seconds
    return {name: round(seconds, 3) for name, seconds in found.items()}


def _realism(
    selection: MetricSelection, seen: Seen, real: Seen, seed: int, progress: Progress
) -> tuple[list[Figure], dict[str, float]]:
    """Return the figures of the set metrics, and the seconds that each metric took."""
    figures, seconds = list[Figure](), dict[str, float]()
    for name, metric in selection.sets.items():
        begin, done, stage, steps = time.perf_counter(), count(1), f"{name} compared", steps_of(metric)
        tick = partial(_tick, progress, stage, done, steps)
        figures.append(set_figure(name, metric, seen.looks.get(name), real.looks.get(name), seed=seed, tick=tick))
        seconds[name] = time.perf_counter() - begin
        if next(done) <= steps:
            progress(stage, 0, 0)  # the metric could not be measured
    return figures, seconds


def _tick(progress: Progress, stage: str, done: Iterator[int], total: int) -> None:
    progress(stage, next(done), total)


Found = tuple[Sequence[Figure], Mapping[str, Mapping[str, float]], str]
"""Figures, values of frames by path and name, and a remark."""


def _segmented(pairs: Sequence[FramePair], options: EvaluateOptions, device: str, progress: Progress) -> Found:
    if not options.segmenter_steps:
        return [], {}, ""
    try:
        result = segment(pairs, steps=options.segmenter_steps, seed=options.seed, device=device, progress=progress)
    except Sim2RealError as error:
        return [], {}, f"no segmenter was trained: {error}"
    by_frame = {path: {"segmenter-accuracy": value} for path, value in result.by_frame.items()}
    return result.figures, by_frame, result.remark


def _steadiness(pairs: Sequence[FramePair], seed: int, progress: Progress) -> Found:
    try:
        return *temporal_figures(pairs, seed=seed, progress=progress), ""
    except Sim2RealError as error:
        return [], {}, f"temporal stability was not measured: {error}"


def _values(changes: Changes) -> dict[str, float]:
    """Return the values of a frame as columns, those before the translation under ``"NAME before"``."""
    values = {name: change.after for name, change in changes.items()}
    return values | {f"{name} before": change.before for name, change in changes.items() if change.before is not None}


def _rows(converted: Converted, values: Mapping[str, Mapping[str, float]]) -> list[Row]:
    """Return the table rows of the measured, rejected and missing frames."""
    frames = [*(pair for pair in converted.pairs if pair.path in values), *converted.rejected, *converted.missing]
    rows = list[Row]()
    for pair in sorted(frames, key=lambda pair: (pair.sequence, pair.index)):
        facts: Row = {"path": pair.path, "status": pair.status, "sequence": pair.sequence, "index": pair.index}
        rows.append({**facts, **values.get(pair.path, {})})
    return rows


def _alarms(seen: Seen) -> tuple[Alarm, ...]:
    """Return the alarms, each with its frames, worst first."""
    alarms = []
    for name, most in BAD_FRAME.items():
        bad = {path: changes[name].after for path, changes in seen.changes.items() if name in changes}
        paths = sorted((path for path in bad if bad[path] > most), key=lambda path: -bad[path])
        if paths:
            alarms.append(Alarm(text=f"{_ALARMS[name]} ({name} above {most:g})", frames=tuple(paths)))
    return tuple(alarms)


def _concerns(converted: Converted, seen: Seen, alarms: Sequence[Alarm]) -> list[str]:
    concerns = [f"{alarm.text}: {_frames(len(alarm.frames))}" for alarm in alarms]
    whole, rejected = len(converted.pairs) + len(converted.rejected), len(converted.rejected)
    if rejected > _MANY_REJECTED * whole:
        concerns.append(
            f"the gate rejected {rejected} of {_frames(whole)}; all figures describe the others, the better ones"
        )
    if missing := converted.missing:
        concerns.append(f"{_frames(len(missing))} without a converted image, e.g. {missing[0].path}")
    if unread := seen.faults["reading"]:
        concerns.append(f"{_frames(len(unread))} could not be compared: {unread[0]}")
    unjudged = {name: len(faults) for name, faults in seen.faults.items() if name != "reading"}
    return [*concerns, *(f"{name} could not judge {_frames(many)}, see the notes" for name, many in unjudged.items())]


def _too_small(sizes: Sequence[Size]) -> list[str]:
    width, height = min(sizes, key=lambda size: size[0] * size[1])
    if width * height >= _LEAST_PIXELS:
        return []
    return [f"frames of {width}x{height} pixels are so small that edges hardly show whether labels hold"]


def _left_out(converted: Converted) -> list[str]:
    if not converted.rejected:
        return []
    left_out = f"left out: {_frames(len(converted.rejected))}, e.g. {converted.rejected[0].path}"
    return [f"{left_out}; the gate rejected them, and the images in their place are not their translations"]


def _faults(seen: Seen, what: str) -> list[str]:
    return [f"{name}: {len(faults)} {what} left out: {faults[0]}" for name, faults in seen.faults.items() if faults]


def _frames(count: int) -> str:
    return f"{count} frame{'' if count == 1 else 's'}"


def _settings(
    options: EvaluateOptions, selection: MetricSelection, converted: Converted, view: View, device: str
) -> dict[str, Any]:
    files = [*options.weights.items(), *([("detector", options.detector)] if options.detector else [])]
    return {
        "metrics": {
            name: {key: _plain(value) for key, value in options_of.items()}
            for name, options_of in selection.options.items()
        },
        "files": {name: {"path": str(path), "sha256": sha256_of(path)} for name, path in files},
        "count": options.count,
        "segmenter_steps": options.segmenter_steps,
        "seed": options.seed,
        "device": device,
        "dataset": converted.source.name,
        "view": [view.width, view.height],
    }


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value
