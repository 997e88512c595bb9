"""The command ``sim2real evaluate``."""

from enum import StrEnum
from pathlib import Path
from shlex import quote
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from sim2real.cli.checks import check_conversion
from sim2real.cli.console import duration, err, interruptible, out, progress
from sim2real.cli.settings import DeviceOption, VideoEveryOption, config_here, extraction_here, settings_here
from sim2real.files import check_writable, write_whole
from sim2real.inside import inside
from sim2real.manual import where
from sim2real.places import STATE_FOLDER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table
    from rich.text import Text

    from sim2real.conversion.manifest import Record
    from sim2real.evaluation.figures import Evaluation, Figure, Interval

_SHOWN: Final = 5  # frames listed for an alarm
_ARROWS: Final = {"lower": "↓", "higher": "↑", None: ""}
STYLES: Final = {"FAIL": "red", "WARN": "yellow", "PASS": "green"}
_MOST: Final = 2**63 - 1  # the largest seed that all random number generators accept
_WIDEST: Final = 160  # columns, if the output is no terminal
_REASON_LINES, _ROWS, _LACKING, _ALARMS, _STAGES = 5, 9, 6, 2, 4  # fits a terminal of 80x24
_ROOMY: Final = 100  # columns; a terminal of this width is assumed to have 40 lines
_MORE_REASON_LINES, _MORE_ROWS = 10, 12  # for a roomy terminal
_INTERRUPTED: Final = "nothing was written, an earlier evaluation is kept; the same command starts again"
_RANKS: Final = {"FAIL": 0, "WARN": 1, "farther": 1, "nearer": 2, "PASS": 3, "not judged": 4}
_UNITS: Final = {"change": " (grey levels)"}


class State(StrEnum):
    """The values of ``--fail-on``."""

    FAIL = "FAIL"
    WARN = "WARN"


def command(
    out: Annotated[
        Path,
        typer.Argument(
            help="A converted dataset; with --source, any folder of images with the names of their sources."
        ),
    ],
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="With --json: write it to this file.")] = None,
    real: Annotated[
        list[Path] | None,
        typer.Option(
            help="Real images (of a conversion to simulation: simulated ones): a dataset, folder or video; repeatable; "
            "default: as in sim2real.toml, else as the model was trained on."
        ),
    ] = None,
    source: Annotated[Path | None, typer.Option(help="The source of OUT, if it has moved or is not recorded.")] = None,
    metrics: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Metrics, see `sim2real plugins`; default: those without weights."),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE",
            help="Weights of a torchvision network for kid and frechet, or of fid or lpips; repeatable.",
        ),
    ] = None,
    detector: Annotated[
        Path | None, typer.Option(metavar="FILE.onnx", help="A detector, to check whether objects are still detected.")
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="METRIC.OPTION=VALUE", help="An option of a metric; repeatable."),
    ] = None,
    count: Annotated[
        int, typer.Option(min=0, help="Maximum number of frames and of real images, evenly spaced; 0: all.")
    ] = 1000,
    segmenter_steps: Annotated[
        int | None,
        typer.Option(min=0, help="Training steps of each segmenter that learns the simulation's masks; 0: none."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=_MOST, help="Seed of all random numbers.")] = 0,
    device: DeviceOption = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Layout of the source; default: as recorded or detected.")
    ] = None,
    frames: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the values of each frame: .csv or .parquet.")
    ] = None,
    fail_on: Annotated[State, typer.Option(help="Exit with code 1 on this verdict or a worse one.")] = State.FAIL,
    video_every: VideoEveryOption = None,
    classes: Annotated[
        bool, typer.Option("--classes", help="Print all values with their intervals, also for each class.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON, not the table; --json FILE: write it to FILE.")
    ] = False,
) -> None:
    """Does a conversion look more real, and do its labels still hold? Print a verdict and the deciding metrics.

    Source frames and their translations are compared with real images and with each other; labels are taken from the
    source. The result is stored in OUT, and `sim2real report OUT` shows it. Exit code 0: PASS or WARN; 1: FAIL.
    """
    from sim2real.conversion.manifest import read_record
    from sim2real.evaluation.frames import recorded_source
    from sim2real.evaluation.metric_selection import check_selection
    from sim2real.evaluation.table import check_copy, copy_frames
    from sim2real.training.begin import check_images

    if file and not as_json:
        raise typer.BadParameter(f"{file}: a file needs --json; write --json {file}", param_hint="FILE")
    if file and (file.is_dir() or not file.parent.is_dir()):
        raise typer.BadParameter(f"{file}: name a file in a folder that exists", param_hint="--json")
    if frames:
        check_copy(frames)
    named = tuple(name.strip() for name in metrics.split(",") if name.strip()) if metrics else ()
    given, files = _metric_options(sets or []), dict(_named_file(text) for text in weights or [])
    check_selection(named, given, files, detector)
    check_conversion(out)
    check_writable(inside(out, STATE_FOLDER))
    record = read_record(out)
    check_images(source or recorded_source(out, record), dataset)
    extraction = extraction_here(video_every, record.generator.get("settings") if record else None)
    globs: dict[str, Any] = {}
    if not real:
        real, globs = _target(out, source or recorded_source(out, record), record, dataset)
    for place in real:
        check_images(place, videos=True)
    from sim2real.evaluation.evaluator import EvaluateOptions, evaluate
    from sim2real.evaluation.segmenter import STEPS

    options = EvaluateOptions(
        metrics=named,
        metric_options=given,
        weights=files,
        detector=detector,
        **globs,
        extraction=extraction,
        count=count,
        segmenter_steps=STEPS if segmenter_steps is None else segmenter_steps,
        seed=seed,
        device=device or "auto",
        dataset=dataset,
    )
    with interruptible(_INTERRUPTED), progress("steps", stays=False) as show:
        found = evaluate(out, real, source=source, options=options, progress=show, notify=err.print)
    if frames:
        copy_frames(out, frames)
    if file:
        write_whole(file, f"{found.dump()}\n".encode())
    if as_json and not file:
        print(found.dump())
    else:
        show_evaluation(out, found, whole=classes)
    if found.verdict in {"FAIL", fail_on}:
        raise typer.Exit(1)


def _target(
    out: Path, source: Path, record: "Record | None", layout: str | None
) -> tuple[list[Path], dict[str, tuple[str, ...]]]:
    """Return the places of the images that a conversion should resemble, and their globs as options of an evaluation.

    They are those of the side that its direction leads to: in the sim2real.toml of the current folder, else in the
    settings of the run that its generator is from, else in the source if that holds both sides.

    Raises:
        BadParameter: If none of them says where they are.
        Sim2RealError: If a setting is invalid, or the source cannot be listed.
    """
    from sim2real.datasets import open_dataset
    from sim2real.report.converted import find_run

    side, other = ("sim", "real") if record and record.direction == "real2sim" else ("real", "sim")
    settings: Mapping[str, Any] = config_here().model_dump() if settings_here() else {}
    base, told = Path(), ""
    if not (settings.get("sim") or settings.get("real")):
        run = find_run(record, [Path("runs"), out.resolve().parent / "runs"])
        if run:
            settings, base, told = run.settings, run.folder.parent.parent, f"as in the training, {run.folder}"
    if named := settings.get(side) or settings.get("sim"):  # one folder may hold both sides
        places = [base / place for place in ([named] if isinstance(named, str) else named)]
    else:
        translated = record.side if record else other
        dataset = open_dataset(source, layout or (record.dataset if record else None))
        if all(frame.side in {None, translated} for frame in dataset.frames()):
            what = "real" if side == "real" else "simulated"
            message = f"name the {what} images: --real DIR, or {side} in sim2real.toml"
            raise typer.BadParameter(message, param_hint="--real")
        places, told = [source], "the other side of the source"
    if told:
        err.print(f"compared with {', '.join(map(str, places))}: {told}")
    data = settings.get("data", {})
    kinds = ("include", "exclude", "as_image")
    return places, {f"real_{kind}": tuple(data.get(f"{side}_{kind}", ())) for kind in kinds}


def _named_file(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise typer.BadParameter(f"'{text}': write NAME=FILE, e.g. squeezenet1_0=weights.pth", param_hint="--weights")
    return name, Path(path)


def _metric_options(sets: list[str]) -> dict[str, dict[str, Any]]:
    from sim2real.config import parse_set

    options: dict[str, dict[str, Any]] = {}
    for text in sets:
        for name, values in parse_set(text).items():
            if not isinstance(values, dict):
                raise typer.BadParameter(f"'{text}': write METRIC.OPTION=VALUE, e.g. kid.seed=1", param_hint="--set")
            options.setdefault(name, {}).update(values)
    return options


def show_evaluation(folder: Path, found: "Evaluation", *, whole: bool = False) -> None:
    """Print the verdict of an evaluation, its reasons, the deciding values and frames to look at; or all values."""
    from rich.console import Console

    from sim2real.evaluation.verdict import topic_of, unmeasured

    counts, width = found.counts, min(out.width, _WIDEST)
    out.print(
        f"{found.verdict}: {folder}, {counts['evaluated']} of {counts['frames']} frames against {counts['real']} real "
        "images",
        style=f"bold {STYLES[found.verdict]}",
    )
    wide = Console(highlight=False, markup=False, emoji=False, width=None if out.is_terminal else _WIDEST)
    if whole:
        for reason in found.reasons:
            out.print(f"- {reason}")
        wide.print(_table(found))
        _show_rest(folder, found)
    else:
        most, rows = (_MORE_REASON_LINES, _MORE_ROWS) if width >= _ROOMY else (_REASON_LINES, _ROWS)
        reasons = _reasons(found.reasons, width, most)
        lacking = _reasons(unmeasured(found.figures, int(found.settings.get("count", 0))), width, _LACKING)
        if width < _ROOMY:
            rows = min(rows, rows + most - len(reasons) - len(lacking))
        for line in reasons:
            out.print(line)
        wide.print(_deciding(found.figures, rows))
        for line in lacking:
            out.print(line, style="yellow")
        for alarm in found.alarms[:_ALARMS]:
            out.print(_cut(f"look at {alarm.frames[0]}: {alarm.text}", width), style="yellow")
    for line in wrap(_took(found.timings), width)[:2]:
        out.print(line, style="dim")
    lines = [] if whole else [f"more: --classes; sim2real report {quote(str(folder))}"]
    if topic := topic_of(found.verdict, found.figures):
        place = where(topic)
        fits = lines and len(f"{lines[0]}; {place}") <= width
        lines = [f"{lines[0]}; {place}"] if fits else [*lines, f"more: {place}"]
    for line in lines:
        out.print(line, style="dim")


def _reasons(reasons: "Sequence[str]", width: int, most: int) -> list[str]:
    """Return the reasons as wrapped lines, at most this many and a line on the rest."""
    lines: list[str] = []
    for number, reason in enumerate(reasons):
        given = wrap(f"- {reason}", width, subsequent_indent="  ")
        if len(lines) + len(given[:2]) > most:
            return [*lines, f"- and {len(reasons) - number} more: --classes"]
        lines += given if len(given) <= 2 else [given[0], _cut(f"{given[1]} {given[2].strip()}", width)]
    return lines


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _took(timings: "Mapping[str, float]") -> str:
    """Describe the longest stages with their durations, similar ones summed, short ones left out."""
    stages = {name: seconds for name, seconds in timings.items() if not name.startswith("metric ")}
    alike: dict[str, float] = {}
    for name, seconds in stages.items():
        first = "comparing" if name.endswith(" compared") else name.partition(" ")[0]
        alike[first] = alike.get(first, 0) + seconds
    longest = sorted((item for item in alike.items() if item[1] >= 1), key=lambda item: -item[1])
    given = ", ".join(f"{name} {duration(seconds)}" for name, seconds in longest[:_STAGES])
    return f"took {duration(sum(stages.values()))}{': ' if given else ''}{given}" if stages else ""


def _deciding(figures: "Sequence[Figure]", rows: int) -> "Table":
    """Return a table of the values that decide the verdict, over all classes; the worst ones if there are too many."""
    from rich.table import Table

    ranks = {place: _RANKS.get(_standing(figure)[0]) for place, figure in enumerate(figures)}
    ranks |= {place: 0 for place, figure in enumerate(figures) if figure.name == "change"}
    wanted = [place for place, rank in ranks.items() if rank is not None and not figures[place].label]
    chosen = sorted(wanted, key=lambda place: ranks[place] or 0)[:rows]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    for name in ("", "sim", "converted", "floor"):
        table.add_column(name, justify="right" if name else "left")
    table.add_column("")
    for figure in (
        figures[place] for place in sorted(chosen, key=lambda place: (figures[place].name != "change", place))
    ):
        before = None if figure.name == "change" else figure.before
        values = map(_number, (before, figure.after, figure.floor))
        table.add_row(f"{figure.name}{_UNITS.get(figure.name, '')}", _ARROWS[figure.better], *values, _word(figure))
    return table


def _show_rest(folder: Path, found: "Evaluation") -> None:
    """Print the remarks, alarms, notes and durations below the full table."""
    from sim2real.evaluation.figures import frames_path

    out.print(
        "↓ lower is better, ↑ higher; [95 % confidence]; floor: real images against other real images", style="dim"
    )
    for (name, remark), labels in _remarks(found.figures).items():
        of = f" of {', '.join(label or 'all classes' for label in labels)}" if any(labels) else ""
        out.print(f"{name}{of}: {remark}")
    for alarm in found.alarms:
        out.print(f"alarm: {alarm.text}: {len(alarm.frames)} frames, the worst first", style="yellow")
        for frame in alarm.frames[:_SHOWN]:
            out.print(f"  {frame}")
        if len(alarm.frames) > _SHOWN:
            out.print(f"  and {len(alarm.frames) - _SHOWN} more; --json lists all")
    for note in found.notes:
        out.print(f"note: {note}")
    out.print(f"values of each frame: {frames_path(folder)}")
    for name, seconds in found.timings.items():
        out.print(f"  {name}: {duration(seconds)}", style="dim")


def _table(found: "Evaluation") -> "Table":
    """Return the table of all values, with classes below each metric; values from too few samples are dim."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True)
    table.add_column("")
    for name in ("sim", "converted", "floor", "n"):
        table.add_column(name, justify="right")
    table.add_column("")
    group, name = "", ""
    for figure in found.figures:
        if figure.after is None:  # a remark explains why
            continue
        if figure.group != group:
            group = figure.group
            table.add_row(group, style="bold")
        if figure.label and figure.name != name:
            table.add_row(f"  {figure.name}")
        name = figure.name
        table.add_row(
            f"    {figure.label}" if figure.label else f"  {figure.name}",
            _ARROWS[figure.better],
            _number(figure.before, figure.before_interval),
            _number(figure.after, figure.interval),
            _number(figure.floor),
            str(figure.count),
            _word(figure),
            style=None if figure.is_meaningful else "dim",
        )
    return table


def _word(figure: "Figure") -> "Text":
    from rich.text import Text

    return Text(*_standing(figure))


def _standing(figure: "Figure") -> tuple[str, str]:
    """Return the assessment of a figure in a word, and its colour."""
    from sim2real.evaluation.verdict import assess, doubt, nearer

    if not figure.is_meaningful:
        return "", ""
    if doubt(figure):
        return "not judged", "dim"
    if figure.group == "realism":
        way = nearer(figure)
        return ("", "") if way is None else ("nearer", "green") if way else ("farther", "yellow")
    state = assess(figure)
    return (state, STYLES[state]) if state else ("", "")


def _number(value: float | None, interval: "Interval | None" = None) -> str:
    """Format a value and its interval with about three digits."""
    if value is None:
        return ""
    size = max(abs(each) for each in (value, *(interval or ())))
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    text = f"{value:.{digits}f}"
    return f"{text} [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]" if interval else text


def _remarks(figures: "Sequence[Figure]") -> "Mapping[tuple[str, str], list[str]]":
    """Return a mapping from (name of a figure, remark) to the classes that the remark applies to."""
    from sim2real.evaluation.verdict import doubt

    remarks: dict[tuple[str, str], list[str]] = {}
    for figure in figures:
        few = f"measured on {figure.count}; needs at least {figure.least} to be meaningful"
        if remark := figure.remark or (doubt(figure) if figure.is_meaningful else few):
            remarks.setdefault((figure.name, remark), []).append(figure.label)
    return remarks
