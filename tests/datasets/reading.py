"""Readers of frames and labels for tests."""

from pathlib import Path
from typing import TypeVar

from sim2real.datasets import open_dataset
from sim2real.datasets.base import Frame
from sim2real.datasets.labels import Box, Boxes, Label

Kind = TypeVar("Kind", bound=Label)


def frames_of(root: Path) -> dict[str, Frame]:
    """The frames of a dataset by their images."""
    return {frame.image: frame for frame in open_dataset(root).frames()}


def load(frame: Frame, kind: str, of: type[Kind]) -> Kind:
    """A label of a frame, which must be of this type."""
    label = frame.load_label(kind)
    assert isinstance(label, of)
    return label


def boxes(frame: Frame) -> list[Box]:
    """The boxes of a frame."""
    return list(load(frame, "boxes", Boxes).boxes)
