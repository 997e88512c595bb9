"""The frames of a conversion, each beside its translation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from sim2real.conversion.looks import require_one
from sim2real.conversion.manifest import Record, layout_of, read_manifest, read_record, unknown_to_this_version
from sim2real.conversion.plan import evenly
from sim2real.datasets import Dataset, open_dataset
from sim2real.datasets.base import Frame, Labels
from sim2real.errors import DatasetError, ImageError, Sim2RealError
from sim2real.imageio import read_header, read_picture, read_rgb, resize_picture, written_again
from sim2real.inside import inside
from sim2real.metrics.base import Image
from sim2real.places import absent

if TYPE_CHECKING:
    from sim2real.datasets.labels import Label


@dataclass(frozen=True, slots=True)
class FramePair:
    """A frame and its translation; pixels and labels are read when they are asked for, and not kept.

    Attributes:
        frame: The frame; of a conversion that resized it, the frame there, with the labels that are there.
        translation: The image that took its place.
        status: What became of it: ``"converted"``, ``"rejected"`` by the gate, ``"failed"`` or ``"missing"``.
        original: The image before, where the conversion resized it: it is seen at the new size.
    """

    frame: Frame
    translation: Path
    status: str = "converted"
    original: Path | None = None

    @property
    def path(self) -> str:
        """Path of the image within the dataset."""
        return self.frame.image

    @property
    def sequence(self) -> str:
        """What the frame belongs to; empty for loose images."""
        return self.frame.sequence

    @property
    def index(self) -> int:
        """Place in the sequence."""
        return self.frame.index

    def before(self) -> Image:
        """The frame, RGB uint8 (H, W, 3).

        Raises:
            ImageError: It cannot be decoded.
        """
        if self.original is None:
            return self.frame.load_image()
        size = read_header(self.translation)
        return resize_picture(read_picture(self.original), (size.width, size.height)).rgb

    def after(self) -> Image:
        """Its translation, RGB uint8 (H, W, 3).

        Raises:
            ImageError: It cannot be decoded.
        """
        return read_rgb(self.translation)

    def both(self) -> tuple[Image, Image]:
        """The frame and its translation, of one size.

        Raises:
            ImageError: One cannot be decoded, or their sizes differ.
        """
        before, after = self.before(), self.after()
        if before.shape != after.shape:
            sizes = [f"{image.shape[1]}x{image.shape[0]}" for image in (after, before)]
            message = f"{self.translation}: {sizes[0]} pixels, its source {sizes[1]}; labels cannot fit both"
            raise ImageError(message)
        return before, after

    def again(self, before: Image) -> Image:
        """The frame after mere writing and reading in the way of its translation's file, see ``written_again``.

        Raises:
            ImageError: The translation cannot be decoded.
        """
        return written_again(before, self.translation)

    def label(self, kind: str) -> "Label | None":
        """A label of the frame; None where it has none of that kind.

        Raises:
            DatasetError: It is damaged.
            ImageError: It is a damaged image.
        """
        return self.frame.load_label(kind) if kind in self.frame.labels else None

    def labels(self) -> Labels:
        """All labels of the frame, each decoded when it is asked for, once."""
        return Labels(self.frame)


@dataclass(frozen=True, kw_only=True, slots=True)
class Converted:
    """A converted dataset beside its source.

    Attributes:
        source: The dataset before.
        pairs: The frames whose translation is there, in order of the dataset.
        rejected: Those that the gate replaced by something else than their translation.
        missing: Those that have no image after.
        record: How it was converted; None of a folder that another tool wrote.
        notes: What is wrong with the manifest, a line each.
    """

    source: Dataset
    pairs: tuple[FramePair, ...]
    rejected: tuple[FramePair, ...]
    missing: tuple[FramePair, ...]
    record: Record | None
    notes: tuple[str, ...] = ()


def open_converted(out: Path, source: Path | None = None, layout: str | None = None) -> Converted:
    """Find the frames of a conversion and their translations.

    Args:
        out: The converted dataset, or a folder in which another tool left images under the names of their sources.
        source: The dataset before; None: where the conversion's record says.
        layout: Registered layout of the source; None: as the record says, else it is recognised.

    Raises:
        Sim2RealError: There is no such folder, it is not known what it was converted from, or nothing is in it.
    """
    if not out.is_dir():
        message = f"{out}: a file" if out.exists() else absent(out)
        raise Sim2RealError(f"{message}; name the OUT of sim2real convert")
    record = read_record(out)
    if source is None:
        source = recorded_source(out, record)
    named = layout or (layout_of(out, record) if record else None)
    dataset = open_dataset(source, named, record.as_image if record else ())
    if record and dataset.root == out:
        _require_own_folders(out, dataset)
    notes: list[str] = []
    lines = {}
    if record:
        lines = read_manifest(out, lambda said: notes.append(f"{said}: what became of those frames is not known"))
        dataset.take_roles({path: line.role for path, line in lines.items()})
        notes += unknown_to_this_version(out, record, lines)
    resized = _resized(out, dataset) if record and record.resize else None
    pairs, rejected, missing = [], [], []
    for frame in _selected(dataset, record):
        line = lines.get(frame.image)
        translation = inside(out, frame.image) if record else out / frame.image
        pair = FramePair(frame, translation, line.status if line else "converted")
        if resized is not None:
            now = resized.get(frame.image) or replace(frame, labels={})
            pair = replace(pair, frame=now, original=source / frame.image)
        if not translation.is_file():
            missing.append(
                FramePair(frame, translation, line.status if line and line.status == "failed" else "missing")
            )
        elif line and line.instead not in {None, "translation"}:
            rejected.append(pair)
        else:
            pairs.append(pair)
    if not pairs and not rejected:
        message = (
            f"{out}: holds no image under the name of a frame of {source} ({dataset.name}), e.g. {missing[0].path}; "
            "name what it was converted from with --source"
        )
        raise DatasetError(message)
    return Converted(
        source=dataset,
        pairs=tuple(pairs),
        rejected=tuple(rejected),
        missing=tuple(missing),
        record=record,
        notes=tuple(notes),
    )


def _resized(out: Path, source: Dataset) -> dict[str, Frame]:
    """The frames of a resized conversion by path; none where it left out the labels by which its layout is known."""
    try:
        converted = open_dataset(out, source.name, source.as_image)
    except DatasetError:
        return {}
    _require_own_folders(out, converted)
    return {frame.image: frame for frame in converted.frames()}


def _require_own_folders(out: Path, dataset: Dataset) -> None:
    """Make sure that no folder of a conversion, which is listed like any dataset, is a link."""
    for folder in dataset.tree.folders:
        inside(out, folder)


def recorded_source(out: Path, record: Record | None) -> Path:
    """What a conversion says that it was made from.

    Raises:
        Sim2RealError: It says nothing, or that is not there any more.
    """
    if record is None:
        require_one(out)
        message = f"{out}: holds no conversion of sim2real; name what it was converted from with --source SRC"
        raise Sim2RealError(message)
    source = Path(record.source)
    if not source.is_dir():
        message = f"{source}: {out} was converted from it, and it is gone; say where it is now with --source SRC"
        raise Sim2RealError(message)
    return source


def _selected(dataset: Dataset, record: Record | None) -> list[Frame]:
    """The frames that were to be translated."""
    if record is None:
        return [frame for frame in dataset.frames() if frame.side in (None, "sim")]
    frames = dataset.frames(record.include, record.exclude)
    return [frame for frame in frames if frame.side in (None, record.side)][: record.limit]


def spread(pairs: Sequence[FramePair], count: int) -> list[FramePair]:
    """So many frames, evenly spread; all of them for 0."""
    return evenly(pairs, count or len(pairs))


def runs(pairs: Sequence[FramePair], count: int, *, length: int = 8) -> list[FramePair]:
    """About so many frames in runs of consecutive ones, the runs evenly spread; all that have a neighbour for 0.

    Args:
        pairs: The frames.
        count: How many are wanted; 0 for all.
        length: The most that one run is to have; evenly spread frames tell more than one long run does.
    """
    ordered = sorted(pairs, key=lambda pair: (pair.sequence, pair.index))
    numbered = enumerate(ordered)
    neighbours = groupby(numbered, key=lambda item: (item[1].sequence, item[1].index - item[0]))
    whole = [[pair for _, pair in run] for _, run in neighbours]
    if not count:
        return [pair for run in whole if len(run) > 1 for pair in run]
    pieces = [piece for run in whole for start in range(0, len(run), length) if len(piece := run[start:][:length]) > 1]
    return [pair for piece in evenly(pieces, max(1, count // length)) for pair in piece]
