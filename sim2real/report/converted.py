"""Read a converted folder: its record, manifest, evaluation and frames, as far as they exist."""

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
from sim2real.evaluation.table import FACTS
from sim2real.files import sha256_of
from sim2real.inside import inside, is_link, read_regular
from sim2real.report.run import Run, read_run
from sim2real.stored import RelativePath, fits


@dataclass(frozen=True, slots=True)
class FrameFigures:
    """The status and the values of a frame.

    Attributes:
        path: Path of its image within the dataset.
        status: ``"converted"``, ``"rejected"`` or ``"failed"``; can be empty without a manifest.
        figures: Values by name, from the evaluation, else from the gate of the conversion.
        line: Its line of the manifest; None if there is none.
    """

    path: str
    status: str
    figures: Mapping[str, float]
    line: Line | None = None


@dataclass(frozen=True)
class Conversion:
    """The contents of a converted folder.

    Attributes:
        folder: The folder.
        record: The record of the conversion; None for a folder that another tool wrote.
        lines: The lines of the manifest, by path.
        evaluation: The evaluation; None if there is none or it is unreadable.
        frames: All known frames, by path.
        pairs: The frames with their labels, paired with their source; None if they cannot be listed.
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
        """Name of the folder."""
        return self.folder.resolve().name

    @property
    def source(self) -> Path | None:
        """The source dataset; None if it no longer exists."""
        return self.pairs.source.root if self.pairs and self.pairs.source.root != self.folder else None

    @cached_property
    def labelled(self) -> Mapping[str, Frame]:
        """The frames as the dataset's layout lists them, by path."""
        pairs = (*self.pairs.pairs, *self.pairs.rejected) if self.pairs else ()
        return {pair.path: pair.frame for pair in pairs}

    @cached_property
    def rejected(self) -> list[FrameFigures]:
        """The frames that the gate rejected, worst first."""
        found = [frame for frame in self.frames.values() if frame.status == "rejected"]
        return sorted(found, key=lambda frame: (frame.figures.get("preservation", 0.0), frame.path))

    @property
    def total(self) -> int:
        """Number of frames to convert."""
        return self.record.frames if self.record else len(self.frames)

    @property
    def done(self) -> int:
        """Number of frames that are done, including rejected ones."""
        return sum(frame.status != "failed" for frame in self.frames.values())

    def before(self, path: str) -> Path | None:
        """Return the source image of a frame; None if the source no longer exists."""
        return self.source / path if self.source else None

    def after(self, path: str) -> Path:
        """Return the image in its place in the converted dataset."""
        return inside(self.folder, path) if self.record else self.folder / path

    def translation(self, path: str) -> Path:
        """Return its translation, which may be in quarantine."""
        kept = inside(self.folder, quarantine_path(path))
        return kept if kept.is_file() else self.after(path)


def is_conversion(folder: Path) -> bool:
    """Return whether a folder holds a conversion or an evaluation of one."""
    return record_path(folder).is_file() or evaluation_path(folder).is_file()


def read_conversion(folder: Path) -> Conversion:
    """Read a converted folder.

    Raises:
        Sim2RealError: If the record of the conversion is damaged or was written by another version.
    """
    warnings: list[str] = []
    record = read_record(folder)
    lines = read_manifest(folder, lambda problem: warnings.append(f"{problem}; sim2real verify lists what is missing."))
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
    """Find the run that the generator of a conversion comes from, by its file's checksum; None if it is not found.

    Args:
        record: The record of the conversion.
        places: Folders that hold runs.
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
        warnings.append("The conversion continued after it was evaluated: run sim2real evaluate again.")
    return evaluation


def _frames(
    folder: Path, lines: Mapping[str, Line], pairs: Converted | None, warnings: list[str]
) -> dict[str, FrameFigures]:
    """Return all frames of the layout, the manifest and the evaluation, by path."""
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
    """Yield the rows of the evaluation's table that name a frame."""
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
        if name not in FACTS and isfinite(value):
            yield name, value


def _pairs(folder: Path, source: str, warnings: list[str]) -> Converted | None:
    """Pair the frames with their source; without the source, list the folder itself, which has the same layout."""
    there = bool(source) and Path(source).is_dir()
    if source and not there:
        warnings.append(f"{source} no longer exists: frames are shown without their source images.")
    try:
        return open_converted(folder, Path(source) if there else folder)
    except Sim2RealError as error:
        warnings.append(f"The frames cannot be listed: {error}")
        return None
