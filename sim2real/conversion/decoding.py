"""Reading and decoding of frames; their files must not have changed since the plan was made."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sim2real.conversion.carry import SourceError, stat_of, unreadable
from sim2real.conversion.jobs import Job
from sim2real.datasets.inputs import Inputs
from sim2real.imageio import Picture, decode_picture, resize_picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sim2real.imageio.nvjpeg import JpegCodecs

CHANGED = "changed during the conversion"


@dataclass(frozen=True)
class Decoded:
    """A decoded frame.

    Attributes:
        job: The job of the frame.
        sha256: SHA-256 of its file.
        picture: The pixels and the metadata of the file.
        on_gpu: Whether a GPU decoded them; None if only a CPU should.
        inputs: The labels that the generator sees.
        inputs_sha256: SHA-256 of the label files, by kind.
        whole: Whether all frames that it depends on could be read.
    """

    job: Job
    sha256: str
    picture: Picture
    on_gpu: bool | None = None
    inputs: Inputs = field(default_factory=dict)
    inputs_sha256: Mapping[str, str] = field(default_factory=dict)
    whole: bool = True


def decode(job: Job, source: Path, size: tuple[int, int] | None, codecs: "JpegCodecs | None" = None) -> Decoded:
    """Read and decode an image, on a GPU if ``codecs`` are given and can.

    Raises:
        SourceError: If the file cannot be read, or does not have this size (W, H).
        ImageError: If it is not an image.
    """
    data = read(source)
    picture, on_gpu = codecs.decode_picture(data, source) if codecs else (decode_picture(data, source), None)
    decoded = Decoded(job, hashlib.sha256(data).hexdigest(), picture, on_gpu)
    if size and decoded.picture.rgb.shape[1::-1] != size:
        raise SourceError(CHANGED)
    return decoded


def read(source: Path) -> bytes:
    """Return the content of a file.

    Raises:
        SourceError: If the file cannot be read.
    """
    try:
        return source.read_bytes()
    except OSError as error:
        raise unreadable(error) from error


@contextmanager
def unchanged(job: Job, source: Path) -> Iterator[None]:
    """Check, before and after reading a source file, that it exists and has not changed since the plan was made.

    Raises:
        SourceError: If it is missing or has changed.
    """
    if job.stat is None:
        raise SourceError("is not a readable file (a broken link?)")
    yield
    if stat_of(source) != job.stat:
        raise SourceError(CHANGED)


def images_of(frames: list[Decoded]) -> "NDArray[np.uint8]":
    """Return the pixels of the frames, RGB (N, H, W, 3)."""
    return np.stack([item.picture.rgb for item in frames])


def inputs_of(frames: list[Decoded]) -> "dict[str, NDArray[Any]]":
    """Return the labels of the frames by kind, (N, ...)."""
    return {kind: np.stack([item.inputs[kind] for item in frames]) for kind in frames[0].inputs}


def runs(frames: list[Decoded | None]) -> list[list[Decoded]]:
    """Return the groups of consecutive frames that could be read."""
    found: list[list[Decoded]] = [[]]
    for frame in frames:
        if frame:
            found[-1].append(frame)
        else:
            found.append([])
    return [run for run in found if run]


def resized(decoded: Decoded, rgb: "NDArray[np.uint8]", size: tuple[int, int]) -> "tuple[Decoded, NDArray[np.uint8]]":
    """Return a frame and its translation, both resized to a size (W, H)."""
    picture = resize_picture(decoded.picture, size)
    return replace(decoded, picture=picture), resize_picture(replace(decoded.picture, rgb=rgb), size).rgb
