"""Labels that the generator sees with each frame: whether they exist, their values, and whether they changed."""

import threading
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sim2real.conversion.carry import SourceError, Stat, digest_of, stat_of, unreadable
from sim2real.datasets.base import Frame
from sim2real.datasets.inputs import NAMED, Inputs, read_input
from sim2real.datasets.labels import NOTHING, Boxes, Segmentation
from sim2real.datasets.translated import KIND as TRANSLATION
from sim2real.datasets.vocabulary import Vocabulary
from sim2real.errors import DatasetError, ImageError, Sim2RealError
from sim2real.files import sha256_of

if TYPE_CHECKING:
    from sim2real.conversion.jobs import Job

_SHOWN = 3


class LabelFile(NamedTuple):
    """The file of a label: its path, and its size and modification time when the plan was made."""

    path: str
    stat: Stat


def label_files(
    root: Path, who: str, kinds: Collection[str], frames: Mapping[str, Frame]
) -> dict[str, dict[str, LabelFile]]:
    """Return the label files of each image, by kind.

    Args:
        root: The dataset.
        who: The name of the generator.
        kinds: The kinds of labels that it sees.
        frames: The frames to translate, by their images.

    Raises:
        DatasetError: If frames lack a label, or translations of another program are gone.
    """
    for kind in kinds:
        if lacking := [image for image, frame in frames.items() if kind not in frame.labels]:
            shown = ", ".join(lacking[:_SHOWN]) + (" ..." if len(lacking) > _SHOWN else "")
            raise DatasetError(
                f"{root}: the generator '{who}' needs '{kind}', and {len(lacking)} of {len(frames)} frames have none, "
                f"e.g. {shown}; leave them out with --exclude, or name another model",
                topic="a-conversion-is-refused",
            )
    known = cache(lambda path: stat_of(str(root / path)))  # frames may share a file
    files = {
        image: {kind: LabelFile(path, known(path)) for kind in kinds if (path := frame.labels[kind])}
        for image, frame in frames.items()
    }
    made = [each[TRANSLATION] for each in files.values() if TRANSLATION in each]  # outside the dataset, so not listed
    if gone := [file.path for file in made if file.stat is None]:
        raise DatasetError(
            f"{gone[0]}: this translation is gone, and {len(gone) - 1} more; put them back, or import them again: "
            "sim2real import-frames",
            topic="frames-that-another-program-translated",
        )
    return files


def unknown_classes(frames: Iterable[Frame], kinds: Collection[str], vocabulary: Vocabulary) -> list[str]:
    """Return the names of classes in labels that the training did not know; damaged labels are skipped.

    Args:
        frames: Some frames.
        kinds: The kinds of labels that the generator sees.
        vocabulary: The classes of the training.
    """
    names: dict[str, None] = {}
    for frame in frames:
        for kind in sorted(NAMED.intersection(kinds)):
            with suppress(DatasetError, ImageError, OSError):
                label = frame.load_label(kind)
                if isinstance(label, Boxes):
                    names |= dict.fromkeys(box.label for box in label.boxes)
                elif isinstance(label, Segmentation):
                    present = (number for number in np.unique(label.ids).tolist() if number != NOTHING)
                    names |= dict.fromkeys(label.names.get(number, str(number)) for number in present)
    return [name for name in names if vocabulary.number(name) == NOTHING]


class InputReader:
    """A reader of the labels that the generator sees, which also records their digests.

    Args:
        root: The dataset.
        vocabulary: The classes of the training.
        jobs: The frames to translate; a label file that several of them share is hashed once.
    """

    def __init__(self, root: Path, vocabulary: Vocabulary, jobs: Iterable["Job"]) -> None:
        self._root = root
        self._vocabulary = vocabulary
        claims = Counter(file.path for job in jobs for file in job.inputs.values())
        self._shared = {path for path, count in claims.items() if count > 1}
        self._known: dict[str, str] = {}
        self._lock = threading.Lock()

    def __call__(self, job: "Job") -> tuple[Inputs, dict[str, str]]:
        """Return the labels of a frame at the size of its image, and the SHA-256 of their files, by kind.

        Raises:
            SourceError: If a file cannot be read, or has changed since the plan was made.
            DatasetError: If a label is damaged.
            ImageError: If a label is a damaged image.
        """
        if job.frame is None:
            return {}, {}
        inputs, digests = {}, {}
        for kind, file in job.inputs.items():
            self._require_unchanged(kind, file)
            try:
                inputs[kind] = read_input(job.frame, kind, self._vocabulary)
            except OSError as error:
                raise unreadable(error) from error
            digests[kind] = self._digest(file.path)
            self._require_unchanged(kind, file)
        return inputs, digests

    def _require_unchanged(self, kind: str, file: LabelFile) -> None:
        if file.stat is None or stat_of(str(self._root / file.path)) != file.stat:
            raise SourceError(f"its '{kind}', {file.path}, changed during the conversion")

    def _digest(self, path: str) -> str:
        if path not in self._shared:
            return digest_of(self._root / path)
        with self._lock:
            if path not in self._known:
                self._known[path] = digest_of(self._root / path)
            return self._known[path]


class InputCheck:
    """A check whether label files have changed since their frames were translated.

    Args:
        root: The dataset.
        labels: The labels of each image, kind -> path.
    """

    def __init__(self, root: Path, labels: Mapping[str, Mapping[str, str]]) -> None:
        self._root = root
        self._labels = labels
        self._sha256 = cache(self._sha256_of)

    def __call__(self, image: str, digests: Mapping[str, str]) -> list[str]:
        """Return one message for each changed label of a frame.

        Args:
            image: The image of the frame.
            digests: SHA-256 of the files that were used, by kind.
        """
        labels = self._labels.get(image, {})
        return [
            f"its '{kind}', {labels.get(kind, 'gone')}, is not what the generator saw when it was converted"
            for kind, digest in digests.items()
            if kind not in labels or self._sha256(labels[kind]) != digest
        ]

    def _sha256_of(self, path: str) -> str:
        try:
            return sha256_of(self._root / path)
        except (OSError, Sim2RealError):
            return ""
