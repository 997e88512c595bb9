"""The frames of a conversion, paired with their translations."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from sim2real.conversion.looks import require_one
from sim2real.conversion.manifest import Record, layout_of, read_manifest, read_record, unknown_to_this_version
from sim2real.conversion.plan import evenly
from sim2real.datasets import Dataset, open_dataset
from sim2real.datasets.base import Frame, Labels
from sim2real.datasets.labels import Label
from sim2real.errors import DatasetError, ImageError, Sim2RealError
from sim2real.imageio import read_header, read_picture, read_rgb, resize_picture, written_again
from sim2real.inside import inside
from sim2real.metrics.base import Image
from sim2real.places import absent


@dataclass(frozen=True, slots=True)
class FramePair:
    """A frame and its translation; pixels and labels are read on demand and not kept.

    Attributes:
        frame: The frame; if the conversion resized it, the resized frame with its labels.
        translation: The image in its place in the converted dataset.
        status: The result of its conversion: ``"converted"``, ``"rejected"`` by the gate, ``"failed"`` or
            ``"missing"``.
        original: The source image if the conversion resized it; it is then read at the new size.
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
        """The sequence that the frame belongs to; empty for loose images."""
        return self.frame.sequence

    @property
    def index(self) -> int:
        """Position in the sequence."""
        return self.frame.index

    def before(self) -> Image:
        """Read the frame, RGB uint8 (H, W, 3).

        Raises:
            ImageError: If it cannot be decoded.
        """
        if self.original is None:
            return self.frame.load_image()
        size = read_header(self.translation)
        return resize_picture(read_picture(self.original), (size.width, size.height)).rgb

    def after(self) -> Image:
        """Read the translation, RGB uint8 (H, W, 3).

        Raises:
            ImageError: If it cannot be decoded.
        """
        return read_rgb(self.translation)

    def both(self) -> tuple[Image, Image]:
        """Read the frame and its translation, which have the same size.

        Raises:
            ImageError: If one cannot be decoded, or their sizes differ.
        """
        before, after = self.before(), self.after()
        if before.shape != after.shape:
            sizes = [f"{image.shape[1]}x{image.shape[0]}" for image in (after, before)]
            message = f"{self.translation}: {sizes[0]} pixels, its source {sizes[1]}; labels cannot fit both"
            raise ImageError(message)
        return before, after

    def again(self, before: Image) -> Image:
        """Return the frame re-encoded like its translation's file, see ``written_again``.

        Raises:
            ImageError: If the translation cannot be decoded.
        """
        return written_again(before, self.translation)

    def label(self, kind: str) -> Label | None:
        """Read a label of the frame; None if it has none of this kind.

        Raises:
            DatasetError: If the label is damaged.
            ImageError: If the label is a damaged image.
        """
        return self.frame.load_label(kind) if kind in self.frame.labels else None

    def labels(self) -> Labels:
        """Return all labels of the frame, each decoded once, on demand."""
        return Labels(self.frame)


@dataclass(frozen=True, kw_only=True, slots=True)
class Converted:
    """A converted dataset with its source.

    Attributes:
        source: The source dataset.
        pairs: The frames with a translation, in the dataset's order.
        rejected: The frames that the gate rejected and replaced by another image.
        missing: The frames without a converted image.
        record: The record of the conversion; None for a folder that another tool wrote.
        notes: Problems of the manifest, one line each.
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
        out: The converted dataset, or a folder of images that another tool wrote under the names of their sources.
        source: The source dataset; None: the one that the conversion recorded.
        layout: Registered layout of the source; None: the recorded one, else it is recognised.

    Raises:
        Sim2RealError: If there is no such folder, its source is unknown, or it holds no image of a frame.
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
        lines = read_manifest(out, lambda problem: notes.append(f"{problem}: the status of those frames is unknown"))
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
            "name its source dataset with --source"
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
    """Return the frames of a resized conversion by path; empty if its layout cannot be recognised."""
    try:
        converted = open_dataset(out, source.name, source.as_image)
    except DatasetError:
        return {}
    _require_own_folders(out, converted)
    return {frame.image: frame for frame in converted.frames()}


def _require_own_folders(out: Path, dataset: Dataset) -> None:
    """Raise an error if a folder of a conversion is a link that leads out of it."""
    for folder in dataset.tree.folders:
        inside(out, folder)


def recorded_source(out: Path, record: Record | None) -> Path:
    """Return the source dataset that a conversion recorded.

    Raises:
        Sim2RealError: If there is no record, or the source no longer exists.
    """
    if record is None:
        require_one(out)
        message = f"{out}: holds no conversion of sim2real; name its source dataset with --source SRC"
        raise Sim2RealError(message)
    source = Path(record.source)
    if not source.is_dir():
        message = f"{source}: {out} was converted from it, but it no longer exists; name its new path with --source SRC"
        raise Sim2RealError(message)
    return source


def _selected(dataset: Dataset, record: Record | None) -> list[Frame]:
    """Return the frames that the conversion was meant to translate."""
    if record is None:
        return [frame for frame in dataset.frames() if frame.side in (None, "sim")]
    frames = dataset.frames(record.include, record.exclude)
    return [frame for frame in frames if frame.side in (None, record.side)][: record.limit]


def consecutive(pairs: Sequence[FramePair]) -> Iterator[list[FramePair]]:
    """Yield the runs of consecutive frames, of two frames or more."""
    ordered = enumerate(sorted(pairs, key=lambda pair: (pair.sequence, pair.index)))
    for _, numbered in groupby(ordered, key=lambda item: (item[1].sequence, item[1].index - item[0])):
        run = [pair for _, pair in numbered]
        if len(run) > 1:
            yield run


def runs(pairs: Sequence[FramePair], count: int, *, length: int = 8) -> list[FramePair]:
    """Return about ``count`` frames in evenly spread runs of consecutive frames.

    Args:
        pairs: The frames.
        count: Number of frames; 0 for all that have a neighbour.
        length: Longest run; many short runs are more representative than one long run.
    """
    whole = list(consecutive(pairs))
    if not count:
        return [pair for run in whole for pair in run]
    pieces = [piece for run in whole for start in range(0, len(run), length) if len(piece := run[start:][:length]) > 1]
    return [pair for piece in evenly(pieces, max(1, count // length)) for pair in piece]
