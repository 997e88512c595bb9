"""What a converted folder says: its record, its manifest, its evaluation and its frames, as far as they are there."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from pathlib import Path

from sim2real.conversion.manifest import (
    Line,
    Record,
    manifest_path,
    quarantine_path,
    read_manifest,
    read_record,
    record_path,
    unknown_to_this_version,
)
from sim2real.datasets.base import Frame
from sim2real.errors import Sim2RealError
from sim2real.evaluation.figures import Evaluation, evaluation_path, frames_path, read_evaluation
from sim2real.evaluation.frames import Converted, open_converted
from sim2real.files import sha256_of
from sim2real.inside import inside, is_link, read_regular
from sim2real.report.run import Run, read_run
from sim2real.stored import RelativePath, fits

_BOOKS = {"path", "status", "sequence", "index"}


@dataclass(frozen=True, slots=True)
class FrameFigures:
    """What is known of a frame.

    Attributes:
        path: Of its image within the dataset.
        status: ``"converted"``, ``"rejected"``, ``"failed"``; empty where there is no manifest.
        figures: By name, as the evaluation found them, else the gate of the conversion.
        line: Of the manifest, None where there is none.
    """

    path: str
    status: str
    figures: Mapping[str, float]
    line: Line | None = None


@dataclass(frozen=True)
class Conversion:
    """A converted folder.

    Attributes:
        folder: Where it is.
        record: How it was converted; None of a folder that another tool wrote.
        lines: The manifest, by path.
        evaluation: What an evaluation found; None where there is none that can be read.
        frames: Every frame of which something is known, by path.
        pairs: The frames with their labels, beside their source; None where they cannot be listed.
        warnings: What is missing, and what to do about it.
    """

    folder: Path
    record: Record | None
    lines: Mapping[str, Line]
    evaluation: Evaluation | None
    frames: Mapping[str, FrameFigures]
    pairs: Converted | None
    warnings: Sequence[str]

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.folder.resolve().name

    @property
    def source(self) -> Path | None:
        """The dataset before, where it is still there."""
        return self.pairs.source.root if self.pairs and self.pairs.source.root != self.folder else None

    @cached_property
    def labelled(self) -> Mapping[str, Frame]:
        """The frames as the dataset's layout lists them, by path."""
        pairs = (*self.pairs.pairs, *self.pairs.rejected) if self.pairs else ()
        return {pair.path: pair.frame for pair in pairs}

    @cached_property
    def rejected(self) -> list[FrameFigures]:
        """The frames that the gate held back or flagged, the worst first."""
        found = [frame for frame in self.frames.values() if frame.status == "rejected"]
        return sorted(found, key=lambda frame: (frame.figures.get("preservation", 0.0), frame.path))

    @property
    def total(self) -> int:
        """How many frames there are to convert."""
        return self.record.frames if self.record else len(self.frames)

    @property
    def done(self) -> int:
        """How many of them are done, whatever the gate said."""
        return sum(frame.status != "failed" for frame in self.frames.values())

    def before(self, path: str) -> Path | None:
        """The image of a frame as it was, where the source is still there."""
        return self.source / path if self.source else None

    def after(self, path: str) -> Path:
        """What stands in its place."""
        return inside(self.folder, path) if self.record else self.folder / path

    def translation(self, path: str) -> Path:
        """Its translation, which the gate may have kept in quarantine."""
        kept = inside(self.folder, quarantine_path(path))
        return kept if kept.is_file() else self.after(path)


def is_conversion(folder: Path) -> bool:
    """Whether a conversion, or an evaluation of one, has written here."""
    return record_path(folder).is_file() or evaluation_path(folder).is_file()


def read_conversion(folder: Path) -> Conversion:
    """Read all that is there.

    Raises:
        Sim2RealError: The record of the conversion is damaged or of another version.
    """
    warnings: list[str] = []
    record = read_record(folder)
    lines = read_manifest(folder, lambda said: warnings.append(f"{said}; sim2real verify tells what is missing."))
    warnings += unknown_to_this_version(folder, record, lines)
    evaluation = _evaluation(folder, warnings)
    pairs = _pairs(folder, record.source if record else evaluation.source if evaluation else "", warnings)
    return Conversion(
        folder=folder,
        record=record,
        lines=lines,
        evaluation=evaluation,
        frames=_frames(folder, lines, pairs, warnings),
        pairs=pairs,
        warnings=warnings,
    )


def find_run(record: Record | None, places: Sequence[Path]) -> Run | None:
    """The training that the generator of a conversion is from, by the bytes of its file; None where it is not found.

    Args:
        record: Of the conversion.
        places: Folders of runs.
    """
    if record is None:
        return None
    found = (file for place in places for file in sorted(place.glob(f"*/{record.direction}.safetensors")))
    files = (file for file in found if file.is_file() and not is_link(file))
    return next((read_run(file.parent) for file in files if sha256_of(file) == record.model_sha256), None)


def _evaluation(folder: Path, warnings: list[str]) -> Evaluation | None:
    try:
        evaluation = read_evaluation(folder)
    except Sim2RealError as error:
        warnings.append(str(error))
        return None
    manifest = manifest_path(folder)
    if evaluation and manifest.is_file() and manifest.stat().st_mtime_ns > evaluation_path(folder).stat().st_mtime_ns:
        warnings.append("The conversion went on after it was evaluated: run sim2real evaluate again.")
    return evaluation


def _frames(
    folder: Path, lines: Mapping[str, Line], pairs: Converted | None, warnings: list[str]
) -> dict[str, FrameFigures]:
    """Every frame that the layout, the manifest or the evaluation tells of."""
    listed = (*pairs.pairs, *pairs.rejected) if pairs else ()
    found = {pair.path: FrameFigures(pair.path, pair.status, {}) for pair in listed}
    found |= {
        line.path: FrameFigures(line.path, line.status, line.figures or {}, line)
        for line in lines.values()
        if line.role == "IMAGE" and line.status != "carried"
    }
    for row in _rows(frames_path(folder), warnings):
        path = row["path"]
        known = found.get(path)
        status = known.status if known else row.get("status") or ""
        figures = {**(known.figures if known else {}), **dict(_figures(row))}
        found[path] = FrameFigures(path, status, figures, known.line if known else None)
    return dict(sorted(found.items()))


def _rows(file: Path, warnings: list[str]) -> Iterator[dict[str, str]]:
    """The lines of the table that tell of a frame."""
    try:
        text = read_regular(file).decode("utf-8-sig", errors="replace")
    except FileNotFoundError:
        return
    try:
        for row in csv.DictReader(io.StringIO(text, newline="")):
            if fits(RelativePath, row.get("path")):
                yield row
    except csv.Error as error:
        warnings.append(f"{file}: damaged ({error}): run sim2real evaluate again.")


def _figures(row: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    for name, text in row.items():
        try:
            value = float(text or "nan")
        except (TypeError, ValueError):  # a word, or a row with too many cells
            continue
        if name not in _BOOKS and isfinite(value):
            yield name, value


def _pairs(folder: Path, source: str, warnings: list[str]) -> Converted | None:
    """The frames beside their source; by themselves, as the folder has the same layout, where that is gone."""
    there = bool(source) and Path(source).is_dir()
    if source and not there:
        warnings.append(f"{source} is gone: frames are shown without what they were before.")
    try:
        return open_converted(folder, Path(source) if there else folder)
    except Sim2RealError as error:
        warnings.append(f"The frames cannot be listed: {error}")
        return None
