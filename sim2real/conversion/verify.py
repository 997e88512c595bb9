"""Check from the files alone that a conversion is complete and its labels are unchanged."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from sim2real.conversion.embedding import Embedding, embeddings
from sim2real.conversion.inputs import InputCheck
from sim2real.conversion.looks import looks_in, require_one
from sim2real.conversion.manifest import (
    Line,
    Record,
    contents,
    layout_of,
    quarantine_path,
    read_manifest,
    read_record,
    unknown_to_this_version,
)
from sim2real.conversion.plan import Selected, select
from sim2real.conversion.resized_files import DamageError, Resize, Resizer, UnknownError
from sim2real.datasets import Dataset, open_dataset
from sim2real.datasets.base import STATE_FOLDER, Role
from sim2real.datasets.resizing import PHOTO
from sim2real.datasets.translated import with_translations
from sim2real.errors import ImageError, Sim2RealError
from sim2real.files import sha256_of
from sim2real.imageio import decode_label, is_image, read_header, read_picture, resize_picture
from sim2real.inside import is_link
from sim2real.places import absent
from sim2real.progress import Progress, quiet
from sim2real.stored import one_line
from sim2real.threads import in_order

Kind = Literal[
    "missing",
    "failed",
    "changed",
    "swapped",
    "label",
    "image",
    "untranslated",
    "unrecorded",
    "manifest",
    "extra",
    "leftover",
    "source",
]
_WORKERS = 8


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of one file: its kind, the path, and a description."""

    kind: Kind
    path: str
    detail: str


@dataclass(frozen=True)
class VerifyReport:
    """The result of a verification.

    Attributes:
        out: The converted dataset.
        source: The dataset that it was compared with; None if only its own manifest was used.
        files: Number of expected files.
        images: Number of translated images among them.
        rejected: Images that the gate rejected: substitute -> number of images.
        bytes: Bytes read.
        problems: All problems, sorted by path.
        notes: Remarks that are not problems, one line each.
    """

    out: Path
    source: Path | None
    files: int
    images: int
    rejected: dict[str, int]
    bytes: int
    problems: list[Problem]
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems


def verify(out: Path, source: Path | None = None, *, progress: Progress = quiet) -> VerifyReport:
    """Check every file of a converted dataset.

    Args:
        out: The converted dataset.
        source: The dataset that it was converted from; None for the path in conversion.json, if it still exists.
        progress: Called for the stage ``"verifying"``.

    Raises:
        Sim2RealError: If ``out`` is not a conversion, or ``source`` is not a dataset.
    """
    record = read_record(out)
    if record is None:
        require_one(out)
        if out in looks_in(out.parent):
            missing = Problem("missing", ".", "this look has not been converted yet; run the same conversion again")
            return VerifyReport(out, None, files=0, images=0, rejected={}, bytes=0, problems=[missing])
        message = f"{out}: holds no conversion" if out.is_dir() else absent(out)
        raise Sim2RealError(f"{message}; name the OUT of sim2real convert")
    if source is None and Path(record.source).is_dir():
        source = Path(record.source)
    damaged: list[str] = []
    lines = read_manifest(out, damaged.append)
    present, leftovers, _ = contents(out)
    dataset = open_dataset(source, layout_of(out, record), record.as_image) if source else None
    if dataset:
        dataset.take_roles({path: line.role for path, line in lines.items()})
    expected, folders = _expected(record, dataset, lines)
    there = {path for path in folders if (out / path).is_dir() and not is_link(out / path)}
    problems = [Problem("missing", path, "an empty folder") for path in folders if path not in there]
    problems += [Problem("manifest", STATE_FOLDER, f"{damage}; run the same conversion again") for damage in damaged]
    wanted = {item.path: lines.get(item.path) for item in expected}
    paths = {*wanted, *(quarantine_path(path) for path, line in wanted.items() if line and line.quarantine_sha256)}
    for path in sorted(present.keys() - paths):
        kind: Kind = "leftover" if path in leftovers else "extra"
        problems.append(Problem(kind, path, "not part of this conversion"))
    if len(expected) < record.files:
        problems.append(Problem("missing", ".", f"{record.files - len(expected)} files that conversion.json counts"))
    owners = {line.sha256: line.path for line in lines.values() if line.sha256}
    resizer = Resizer(dataset, (record.resize[0], record.resize[1])) if dataset and record.resize else None
    translated = {item.path for item in expected if item.translate}
    inside = embeddings(dataset, translated, record.labelme_image) if dataset else {}
    inputs = None
    if dataset and any(line.inputs_sha256 for line in lines.values()):
        frames = with_translations(
            dataset.adapter.frames(dataset.tree), record.generator["name"], record.generator["options"]
        )
        inputs = InputCheck(dataset.root, {frame.image: frame.labels for frame in frames})
    check = _Check(out, source, resizer, inside, inputs, lines, present, owners)
    for done, found in enumerate(in_order(check, expected, _WORKERS), 1):
        problems.extend(found)
        progress("verifying", done, len(expected))
    return VerifyReport(
        out=out,
        source=source,
        files=len(expected),
        images=sum(item.translate for item in expected),
        rejected=dict(sorted(Counter(line.instead for line in wanted.values() if line and line.instead).items())),
        bytes=sum(present.get(path, 0) for path in paths),
        problems=sorted(problems, key=lambda problem: (problem.path, problem.kind)),
        notes=unknown_to_this_version(out, record, lines),
    )


def _expected(record: Record, dataset: Dataset | None, lines: dict[str, Line]) -> tuple[list[Selected], list[str]]:
    """Return the expected files and folders."""
    if dataset is None:
        return [Selected(line.path, line.role, line.width is not None) for line in lines.values()], []
    selection = select(dataset, record.side, record.include, record.exclude, record.limit)
    folders = [] if record.include or record.exclude else list(dataset.tree.folders)
    return list(selection), folders


@dataclass(frozen=True)
class _Check:
    """A check of one file, against its source if ``source`` is given."""

    out: Path
    source: Path | None
    resizer: Resizer | None
    embeddings: dict[str, Embedding]
    inputs: InputCheck | None
    lines: dict[str, Line]
    present: dict[str, int]
    owners: dict[str, str]

    def __call__(self, item: Selected) -> list[Problem]:
        line = self.lines.get(item.path)
        found = [Problem(kind, item.path, detail) for kind, detail in self._problems(item, line)]
        if line and line.quarantine_sha256:
            path = quarantine_path(item.path)
            actual, fault = self._digest(path)
            if not fault and actual != line.quarantine_sha256:
                fault = "changed", "not the bytes that were written"
            found += [Problem(fault[0], path, fault[1])] if fault else []
        return found

    def _digest(self, path: str, *, may_be_link: bool = False) -> tuple[str, tuple[Kind, str] | None]:
        """Return the SHA-256 of a file of the conversion, and the problem if there is none."""
        if path not in self.present:
            return "", ("missing", "run the same conversion again")
        if is_link(self.out / path) and not may_be_link:
            return "", ("changed", "a link, not the file that was written")
        try:
            return sha256_of(self.out / path), None
        except OSError as error:
            return "", ("changed", f"cannot be read: {error.strerror}")
        except Sim2RealError as error:  # a link to a device
            return "", ("changed", one_line(error))

    def _problems(self, item: Selected, line: Line | None) -> Iterator[tuple[Kind, str]]:
        if line and line.status == "failed":
            yield "failed", line.reason or "without a reason"
            return
        actual, fault = self._digest(item.path, may_be_link=line is not None and line.status == "carried")
        if fault:
            yield fault
            return
        if line is None:
            yield "unrecorded", "the manifest has no line for it"
        elif actual != line.sha256:
            owner = self.owners.get(actual)
            yield ("swapped", f"has the bytes of {owner}") if owner else ("changed", "not the bytes that were written")
        if self.source:
            yield from self._against_source(item, self.source / item.path, actual, line)
        elif item.translate:
            yield from self._image(item, line)

    def _against_source(
        self, item: Selected, source: Path, actual: str, line: Line | None
    ) -> Iterator[tuple[Kind, str]]:
        try:
            original = sha256_of(source)
        except OSError as error:
            yield "source", f"cannot be read: {error.strerror}"
            return
        if line and original != line.source_sha256:
            yield "source", "the source has changed since it was converted"
        if line and line.inputs_sha256 and self.inputs:
            yield from (("source", change) for change in self.inputs(item.path, line.inputs_sha256))
        try:
            resize = self.resizer(item.path, item.role) if self.resizer else None
        except UnknownError as error:
            yield "source", f"it is no longer known how it is resized: {error}"
            return
        if item.translate and (resize or not (line and line.instead == "source")):
            if actual == original:
                yield "untranslated", "identical to the source"
            yield from self._image(item, line, source, resize)
        elif reason := self._difference(source, item, resize, same=actual == original):
            yield "label" if item.role is Role.LABEL else "changed", reason

    def _difference(self, source: Path, item: Selected, resize: Resize | None, *, same: bool) -> str:
        if embedding := self.embeddings.get(item.path):
            return _not_edited(source, self.out, item.path, resize, embedding)
        if resize:
            return _not_resized(source, self.out / item.path, resize)
        return "" if same else "not the bytes of the source"

    def _image(
        self, item: Selected, line: Line | None, source: Path | None = None, resize: Resize | None = None
    ) -> Iterator[tuple[Kind, str]]:
        """Yield what is wrong with a translated image, compared with its source if that is given."""
        path = self.out / item.path
        try:
            if source and (difference := _header_difference(source, path, resize)):
                yield "image", difference
            height, width = read_picture(path).rgb.shape[:2]
        except ImageError as error:
            yield "image", str(error).removeprefix(f"{path}: ")
            return
        if line and (width, height) != (line.width, line.height):
            yield "image", f"is {width}x{height}, was written as {line.width}x{line.height}"


def _not_resized(source: Path, path: Path, resize: Resize) -> str:
    """Return why a file is not its source at the new size; an empty string if it is.

    As another version of an encoder may have written it, the values of label images are compared, and the headers of
    photos.
    """
    try:
        wanted, actual = resize(source.read_bytes()), path.read_bytes()
        if wanted == actual:
            return ""
        if resize.rule is PHOTO:
            same = not _header_difference(source, path, resize)
        else:
            same = is_image(path.name) and np.array_equal(decode_label(wanted, path), decode_label(actual, path))
    except (OSError, ImageError, DamageError) as error:
        return f"cannot be compared with its source: {error}"
    return "" if same else "not what its source becomes at the new size"


def _not_edited(source: Path, out: Path, path: str, resize: Resize | None, embedding: Embedding) -> str:
    """Return why a file is not its source with another photo inside, resized if required; an empty string if it is."""
    try:
        data = source.read_bytes()
        wanted, _ = embedding(resize(data) if resize else data, out)
        same = wanted == (out / path).read_bytes()
    except (OSError, DamageError) as error:
        return f"cannot be compared with its source: {error}"
    inside = f"the bytes of {embedding.image}" if embedding.image else "none"
    return "" if same else f"not its source with another photo inside, {inside}"


def _header_difference(source: Path, path: Path, resize: Resize | None) -> str:
    """Return how the header of a translated image differs from the expected one; an empty string if it does not.

    The header should equal that of the source, except for the size. Otherwise it is compared with that of the source as
    it would be written.
    """
    size = resize.scale.target if resize else None
    before, after = read_header(source), read_header(path)
    if after == (replace(before, width=size[0], height=size[1]) if size else before):
        return ""
    picture = read_picture(source)
    wanted = (resize_picture(picture, size) if size else picture).header
    return "" if after == wanted else f"is {after}, should be {wanted}"
