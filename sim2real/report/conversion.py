"""Build the report of a conversion from the files in its folder."""

from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import groupby, islice
from operator import attrgetter
from shlex import quote
from statistics import median
from typing import TYPE_CHECKING, Any

from sim2real.config import flat
from sim2real.conversion.gate import parse_gate
from sim2real.datasets.base import Role
from sim2real.datasets.findings import OLD_PIXELS
from sim2real.evaluation.figures import Evaluation, Figure, Interval
from sim2real.evaluation.verdict import BAD_FRAME, assess, doubt, nearer, unchanged
from sim2real.progress import Progress
from sim2real.report.converted import Conversion, FrameFigures
from sim2real.report.frames import (
    IN_A_LIST,
    JUDGED_BY,
    REJECTED_IN_A_LIST,
    Shown,
    choose,
    draw_large,
    draw_real,
    draw_small,
)
from sim2real.report.overlays import hues
from sim2real.report.page import Fact, Page, Section
from sim2real.report.plots import Bar, Bars, Drawing, Histogram
from sim2real.report.run import Run
from sim2real.report.settings import grouped
from sim2real.report.training import standing_of, training_sections

if TYPE_CHECKING:
    from sim2real.conversion.manifest import Status

_STATES = {"PASS": "good", "WARN": "open", "FAIL": "bad"}
_GROUPS = {
    "realism": ("Realism", "distance of the frames from the real images, before and after"),
    "preservation": ("Label preservation", "whether the labels still hold"),
    "temporal": ("Temporal stability", "whether neighbouring frames are still consistent"),
}
_WAYS = {True: ("nearer", "good"), False: ("farther", "bad"), None: ("no clear change", "soft")}
_NOTED = 4  # values beneath a frame
_COLUMNS = 8  # listed values of each frame
_ROWS = 50_000  # listed frames
_NAMED = 200  # listed paths of an alarm, and of stale labels
_LONG = {"settings", "real_encoding", "original"}
_SHOWN_ELSEWHERE = {"source", "frames", "files", "generator", "stale", "original"}


def conversion_page(
    conversion: Conversion, run: Run | None, wanted: Sequence[str], progress: Progress, *, real: bool = True
) -> Page:
    """Return the page of a conversion.

    Args:
        conversion: The contents of its folder.
        run: The run that its generator comes from, if it was found.
        wanted: Frames that the user wants to see.
        progress: Called while the images are drawn.
        real: Whether to show some of the real images.

    Raises:
        Sim2RealError: If a wanted frame does not exist or is ambiguous.
    """
    pictures = draw_real(conversion) if real else []
    if real and not pictures and conversion.evaluation and (compared := conversion.evaluation.pictures):
        gone = f"The real images that it was compared with are missing, e.g. {compared[0]}: none is shown."
        conversion = replace(conversion, warnings=[*conversion.warnings, gone])
    chosen = choose(conversion, wanted)
    large = draw_large(conversion, chosen, progress)
    table = _Table(conversion, large, draw_small(conversion, chosen, progress))
    of_training = _of_bad_training(run)
    sections = [
        _verdict(conversion, of_training),
        _viewer(conversion, large, pictures),
        _figures(conversion),
        _classes(conversion),
        _distribution(conversion, table),
        _alarms(conversion, table),
        _rejected(conversion, table),
        table.section(),
        _files(conversion),
        *(training_sections(run) if run else ()),
        _settings(conversion, run),
        _next(conversion),
    ]
    record = conversion.record
    how = f"by a model of the recipe {record.generator.get('recipe')}" if record else "by another tool"
    return Page(
        title=conversion.name,
        subtitle=f"A conversion {how}" + (f" with sim2real {record.tool_version}" if record else ""),
        state=_state(conversion, of_training),
        headline=_headline(conversion.evaluation, of_training),
        facts=[*_facts(conversion)],
        sections=[section for section in sections if section],
    )


def _of_bad_training(run: Run | None) -> list[str]:
    """Return the bad result of a training on held-out images, which the verdict on a conversion does not consider."""
    training = standing_of(run) if run else None
    return [f"its training is {training.text}"] if training and training.state == "bad" else []


def _headline(evaluation: Evaluation | None, of_training: Sequence[str]) -> str:
    """Return the most important reason of the verdict, after that of a bad training."""
    return "; ".join([*of_training, *(evaluation.reasons[:1] if evaluation else ())])


def _state(conversion: Conversion, of_training: Sequence[str]) -> tuple[str, str]:
    if conversion.done < conversion.total:
        return "not finished", "open"
    if conversion.evaluation is None:
        return "not evaluated", "open"
    verdict = conversion.evaluation.verdict
    return verdict, "open" if of_training and verdict == "PASS" else _STATES[verdict]


def _facts(conversion: Conversion) -> Iterator[Fact]:
    done, total, evaluation = conversion.done, conversion.total, conversion.evaluation
    failed = len(conversion.frames) - done
    warnings = [
        f"{len(conversion.rejected):,} rejected" if conversion.rejected else "",
        f"{failed:,} failed" if failed else "",
    ]
    yield Fact("Frames", f"{done:,}" + (f" of {total:,}" if done != total else ""), ", ".join(filter(None, warnings)))
    if conversion.lines:
        yield _labels(conversion)
    if evaluation is None:
        return
    yield Fact(
        "Evaluated",
        f"{evaluation.counts.get('evaluated', 0):,} frames",
        f"with {evaluation.counts.get('real', 0):,} real",
    )
    for figure in evaluation.figures:
        if figure.name == "change" and figure.after is not None:
            again = "" if figure.before is None else f"writing frames again alone: {number(figure.before)}"
            yield Fact("Change", f"{number(figure.after)} grey levels", again)
    if not unchanged(evaluation.figures):
        yield from islice(_gaps(evaluation.figures), 1)


def _labels(conversion: Conversion) -> Fact:
    labels = Counter(line.status for line in conversion.lines.values() if line.role == Role.LABEL)
    ways: dict[Status, str] = {
        "resized": "resized with the images",
        "edited": "unchanged but for the photos inside",
        "carried": "carried byte for byte",
    }
    counts = [(labels[status], how) for status, how in ways.items() if labels[status]]
    details = ", ".join(f"{count:,} {how}" if len(counts) > 1 else how for count, how in counts)
    return Fact("Labels", f"{sum(count for count, _ in counts):,} files", details)


def _gaps(figures: Iterable[Figure]) -> Iterator[Fact]:
    """Yield the share of the distance to real images that the conversion closed, for each figure that measures it."""
    for each in figures:
        if each.group == "realism" and each.is_meaningful and None not in {each.before, each.floor, each.after}:
            before, after, floor = float(each.before or 0), float(each.after or 0), float(each.floor or 0)
            if each.better == "lower" and before > floor:
                yield Fact("Gap closed", f"{(before - after) / (before - floor):.0%}", f"to reality, by {each.name}")


def _verdict(conversion: Conversion, of_training: Sequence[str]) -> Section:
    evaluation = conversion.evaluation
    content = {
        "state": _state(conversion, of_training),
        "reasons": [*of_training, *(evaluation.reasons if evaluation else ())],
        "notes": [*conversion.warnings, *(evaluation.notes if evaluation else ())],
        "real": evaluation.real if evaluation else "",
        "command": None if evaluation else f"sim2real evaluate {quote(str(conversion.folder))} --real REAL",
    }
    return Section("verdict", "Verdict", content)


def _viewer(conversion: Conversion, large: Sequence[Shown], real: Sequence[str]) -> Section | None:
    if not large:
        return None
    names = {
        kind: sorted({layer.name for shown in large for layer in shown.layers if layer.kind == kind})
        for kind in ("areas", "boxes")
    }
    content = {
        "frames": large,
        "groups": [(why, [*group]) for why, group in groupby(enumerate(large), key=lambda item: item[1].why)],
        "names": {kind: found for kind, found in names.items() if found},
        "hues": hues(sorted({name for found in names.values() for name in found})),
        "sides": _sides(conversion),
        "note": _frame_note,
        "real": real,
    }
    return Section("viewer", "Before and after", content)


def _sides(conversion: Conversion) -> tuple[str, str]:
    side = conversion.record.side if conversion.record else "sim"
    return side, f"as {'real' if side == 'sim' else 'sim'}"


def _frame_note(frame: FrameFigures) -> str:
    """Return a line on a frame: the reason of its rejection, or its first values."""
    if frame.line and frame.status == "rejected":
        return f"{frame.line.reason or 'rejected'}; {_instead(frame.line.instead)}"
    figures = [f"{_words(name)} {number(value)}" for name, value in frame.figures.items() if "/" not in name]
    return ", ".join(figures[:_NOTED])


def _instead(instead: str | None) -> str:
    if instead is None:
        return "what is in the dataset is not recorded"
    return f"in the dataset: the {instead}" if instead != "translation" else "it is in the dataset nevertheless"


def _figures(conversion: Conversion) -> Section | None:
    if conversion.evaluation is None or not conversion.evaluation.figures:
        return None
    groups = []
    for group, (title, remark) in _GROUPS.items():
        figures = [figure for figure in conversion.evaluation.figures if figure.group == group]
        by_class = [figure for figure in figures if figure.label]
        if figures:
            groups.append((title, remark, [figure for figure in figures if not figure.label], by_class))
    content = {
        "groups": groups,
        "effect": _effect,
        "number": number,
        "interval": _interval,
        "explanation": _explanation,
        "words": _words,
        "sides": _sides(conversion),
    }
    return Section("figures", "Figures", content)


def number(value: float | None) -> str:
    """Format a value with three significant digits; empty for None."""
    return "" if value is None else f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _interval(interval: Interval | None) -> str:
    return f"{number(interval[0])} to {number(interval[1])}" if interval else ""


def _words(name: str) -> str:
    return name.replace("_", " ")


def _effect(figure: Figure) -> tuple[str, str]:
    """Return a figure's state in a word and its colour: within its limits or not, nearer to real images or not."""
    if doubt(figure):
        return "not judged", "soft"
    if state := assess(figure):
        return state, _STATES[state]
    if figure.group != "realism" or not figure.is_meaningful or figure.change is None:
        return "", ""
    return _WAYS[nearer(figure)]


def _explanation(figure: Figure) -> str:
    """Return the explanation of a figure: its title, its remark and the number that it needs."""
    measured = figure.after is not None and not figure.is_meaningful
    words = (
        figure.title if not figure.label else "",
        figure.remark or doubt(figure),
        f"With fewer than {figure.least:,} it is not meaningful" if measured else "",
    )
    return " ".join(f"{text.removesuffix('.')}." for text in words if text)


def _classes(conversion: Conversion) -> Section | None:
    figures = conversion.evaluation.figures if conversion.evaluation else ()
    named: dict[str, list[Figure]] = {}
    for figure in figures:
        if figure.label and figure.after is not None and figure.is_meaningful:
            named.setdefault(figure.name, []).append(figure)
    plots: list[Drawing] = [
        Bars(
            f"{_words(name).capitalize()} by class",
            [Bar(each.label, each.after or 0, each.interval, each.before) for each in found],
            found[0].title,
        )
        for name, found in named.items()
    ]
    legend = [("first", "converted, with its confidence interval"), ("second", "before")]
    return Section("plots", "Classes", {"plots": plots, "legend": legend}) if plots else None


def _distribution(conversion: Conversion, table: "_Table") -> Section | None:
    plots: list[Drawing] = []
    for name in table.columns:
        values = [frame.figures[name] for frame in conversion.frames.values() if name in frame.figures]
        if len(values) > 1:
            remark = f"{table.title(name)}: median {number(median(values))}{_tail(values, table.better(name))}"
            plots.append(
                Histogram(f"{_words(name).capitalize()} by frame", values, remark, [*_limits(conversion, name, values)])
            )
    return Section("plots", "Distribution", {"plots": plots, "legend": []}) if plots else None


def _tail(values: Sequence[float], better: str | None) -> str:
    """Return the limit of the worst twentieth of some values; empty if no direction is worse."""
    if better is None:
        return ""
    ordered = sorted(values, reverse=better == "lower")
    return f"; the worst 5 % are {'above' if better == 'lower' else 'below'} {number(ordered[len(values) // 20])}"


def _limits(conversion: Conversion, name: str, values: Sequence[float]) -> Iterator[tuple[float, str]]:
    """Yield the limits of the conversion's gate for a value, and the value from which a frame should be inspected."""
    for rule in parse_gate(conversion.record.gate) if conversion.record else ():
        if name in {rule.name, rule.figure}:
            yield rule.bound, "the gate"
    if name in BAD_FRAME and max(values) >= BAD_FRAME[name]:
        yield BAD_FRAME[name], "inspect these"


def _alarms(conversion: Conversion, table: "_Table") -> Section | None:
    alarms = conversion.evaluation.alarms if conversion.evaluation else ()
    content = {
        "alarms": [
            (
                alarm.text,
                len(alarm.frames),
                [(table.row(path), path) for path in alarm.frames[:IN_A_LIST]],
                alarm.frames[IN_A_LIST:_NAMED],
            )
            for alarm in alarms
        ]
    }
    return Section("alarms", "Alarms", content) if alarms else None


def _rejected(conversion: Conversion, table: "_Table") -> Section | None:
    frames = conversion.rejected
    if not frames:
        return None
    content = {
        "count": len(frames),
        "gate": ", ".join(conversion.record.gate) if conversion.record else "",
        "instead": Counter(frame.line.instead for frame in frames if frame.line).most_common(),
        "frames": [(table.row(frame.path), frame) for frame in frames[:REJECTED_IN_A_LIST]],
        "sides": _sides(conversion),
    }
    return Section("rejected", "Rejected frames", content)


class _Table:
    """The table of all frames, with their values and thumbnails."""

    def __init__(self, conversion: Conversion, large: Sequence[Shown], small: Mapping[str, bytes]) -> None:
        frames = sorted(conversion.frames.values(), key=lambda frame: frame.figures.get(JUDGED_BY, 1.0))[:_ROWS]
        self._all = len(conversion.frames)
        self._frames = sorted(frames, key=lambda frame: frame.path)
        self._rows = {frame.path: row for row, frame in enumerate(self._frames)}
        self._small = {self._rows[path]: b64encode(data).decode() for path, data in small.items() if path in self._rows}
        self._large = {
            self._rows[shown.frame.path]: place for place, shown in enumerate(large) if shown.frame.path in self._rows
        }
        evaluation = conversion.evaluation
        self._figures = {each.name: each for each in (evaluation.figures if evaluation else ()) if not each.label}
        names = dict.fromkeys(name for frame in self._frames for name in frame.figures if "/" not in name)
        self.columns = sorted(names, key=lambda name: name != JUDGED_BY)[:_COLUMNS]

    def row(self, path: str) -> int | None:
        """Return the row of a frame; None if it is not listed."""
        return self._rows.get(path)

    def better(self, name: str) -> str | None:
        """Return the better direction of a value, if it is known."""
        return self._figures[name].better if name in self._figures else None

    def title(self, name: str) -> str:
        """Return what a value measures, or its name."""
        return self._figures[name].title if name in self._figures else _words(name)

    def section(self) -> Section | None:
        """Return the section that shows the table; None if there are no frames."""
        if not self._frames:
            return None
        folders = dict.fromkeys(frame.path.rpartition("/")[0] for frame in self._frames)
        places = {folder: place for place, folder in enumerate(folders)}
        statuses = sorted({frame.status for frame in self._frames})
        data = {
            "columns": [
                {"name": _words(name), "title": self.title(name), "better": self.better(name)} for name in self.columns
            ],
            "folders": list(folders),
            "statuses": statuses,
            "rows": [self._cells(frame, places, statuses) for frame in self._frames],
            "large": self._large,
        }
        content = {
            "data": data,
            "small": self._small,
            "listed": len(self._frames),
            "all": self._all,
            "pictured": len(self._small),
        }
        return Section("frames", "All frames", content)

    def _cells(self, frame: FrameFigures, places: Mapping[str, int], statuses: Sequence[str]) -> list[Any]:
        folder, _, name = frame.path.rpartition("/")
        figures = [round(frame.figures[name], 4) if name in frame.figures else None for name in self.columns]
        reason = (frame.line.reason if frame.line else None) or ""
        return [places[folder], name, statuses.index(frame.status), figures, *([reason] if reason else ())]


def _files(conversion: Conversion) -> Section | None:
    lines = conversion.lines.values()
    if not lines:
        return None
    counts = Counter((line.role, line.status) for line in lines)
    statuses = sorted({status for _, status in counts})
    stale: dict[str, list[str]] = {}
    for line in sorted((line for line in lines if line.stale or line.role is Role.STALE), key=attrgetter("path")):
        stale.setdefault(line.stale or OLD_PIXELS, []).append(line.path)
    content = {
        "statuses": statuses,
        "rows": [
            (role.value.lower(), [counts[role, status] for status in statuses])
            for role in Role
            if any(counts[role, status] for status in statuses)
        ],
        "stale": [(what, len(paths), paths[:_NAMED]) for what, paths in stale.items()],
        "notes": Counter(note for line in lines for note in line.notes).most_common(),
    }
    return Section("files", "Files", content)


def _settings(conversion: Conversion, run: Run | None) -> Section | None:
    groups = {}
    if record := conversion.record:
        shown = {key: value for key, value in asdict(record).items() if key not in _SHOWN_ELSEWHERE}
        generator = {key: value for key, value in record.generator.items() if key not in _LONG}
        groups["conversion"] = grouped({"source": record.source, **shown})["general"]
        groups |= {
            f"generator {name}".removesuffix(" general"): rows for name, rows in grouped(dict(flat(generator))).items()
        }
    if run:
        groups["training"] = [("run", str(run.folder))]
    if evaluation := conversion.evaluation:
        details = {"tool_version": evaluation.tool_version, "source": evaluation.source, "real": evaluation.real}
        groups["evaluation"] = grouped({**details, **evaluation.settings})["general"]
    content: dict[str, object] = {"recipe": None, "changed": [], "groups": groups}
    return Section("settings", "Settings and versions", content) if groups else None


def _next(conversion: Conversion) -> Section:
    out = quote(str(conversion.folder))
    commands = [f"sim2real verify {out}"] if conversion.record else []
    if conversion.evaluation is None:
        commands.append(f"sim2real evaluate {out} --real REAL")
    return Section("next", "Next", {"commands": commands, "checkpoints": []})


__all__ = ["conversion_page"]
