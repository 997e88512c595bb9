"""Frames of a conversion as they come from their files, which must be the ones that the plan was made of."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sim2real.conversion.carry import SourceError, unreadable
from sim2real.conversion.jobs import Job, stat_of
from sim2real.datasets.inputs import Inputs
from sim2real.errors import ImageError
from sim2real.imageio import Picture, decode_picture, read_header, resize_picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHANGED = "changed during the conversion"


@dataclass(frozen=True)
class Decoded:
    """A frame in memory.

    Attributes:
        job: What is to be done.
        sha256: Of its file.
        picture: The pixels, and what else the file says.
        inputs: The labels that the generator sees.
        inputs_sha256: Of these labels' files, by kind.
        whole: Whether nothing was missing that it depends on.
    """

    job: Job
    sha256: str
    picture: Picture
    inputs: Inputs = field(default_factory=dict)
    inputs_sha256: Mapping[str, str] = field(default_factory=dict)
    whole: bool = True


def decode(job: Job, source: Path) -> Decoded:
    """Read an image.

    Raises:
        SourceError: The file cannot be read.
        ImageError: It is no image.
    """
    data = read(source)
    return Decoded(job, hashlib.sha256(data).hexdigest(), decode_picture(data, source))


def read(source: Path) -> bytes:
    """The contents of a file.

    Raises:
        SourceError: It cannot be read.
    """
    try:
        return source.read_bytes()
    except OSError as error:
        raise unreadable(error) from error


@contextmanager
def unchanged(job: Job, source: Path) -> Iterator[None]:
    """Read a source file that must be there and be the same, before and after, as when the plan was made.

    Raises:
        SourceError: It is not.
    """
    if job.stat is None:
        raise SourceError("is no file that can be read (a link to nowhere?)")
    yield
    if stat_of(source) != job.stat:
        raise SourceError(CHANGED)


def size_of(image: Path) -> tuple[int, int] | None:
    """(W, H) by the header of a file; None if that does not tell."""
    try:
        header = read_header(image)
    except ImageError:
        return None
    return header.width, header.height


def images_of(frames: list[Decoded]) -> "NDArray[np.uint8]":
    """RGB (N, H, W, 3)."""
    return np.stack([item.picture.rgb for item in frames])


def inputs_of(frames: list[Decoded]) -> "dict[str, NDArray[Any]]":
    """Their labels by kind, (N, ...)."""
    return {kind: np.stack([item.inputs[kind] for item in frames]) for kind in frames[0].inputs}


def runs(frames: list[Decoded | None]) -> list[list[Decoded]]:
    """What follows each other of the frames that could be read."""
    found: list[list[Decoded]] = [[]]
    for frame in frames:
        if frame:
            found[-1].append(frame)
        else:
            found.append([])
    return [run for run in found if run]


def resized(decoded: Decoded, rgb: "NDArray[np.uint8]", size: tuple[int, int]) -> "tuple[Decoded, NDArray[np.uint8]]":
    """A frame and its translation at another size (W, H)."""
    picture = resize_picture(decoded.picture, size)
    return replace(decoded, picture=picture), resize_picture(replace(decoded.picture, rgb=rgb), size).rgb
