"""Check the contract of a dataset layout on a folder in that layout."""

import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from sim2real.datasets import Dataset, labels
from sim2real.datasets.base import Adapter, Frame, Role, Tree
from sim2real.datasets.contract import adopted
from sim2real.datasets.partners import evenly
from sim2real.datasets.resizing import Rule
from sim2real.errors import PluginError, Sim2RealError
from sim2real.imageio import is_image

_KINDS: Final[dict[str, type]] = {
    "segmentation": labels.Segmentation,
    "instance": labels.Instances,
    "depth": labels.Depth,
    "distance": labels.Distance,
    "disparity": labels.Disparity,
    "flow": labels.Flow,
    "backward_flow": labels.Flow,
    "scene_flow": labels.SceneFlow,
    "backward_scene_flow": labels.SceneFlow,
    "boxes": labels.Boxes,
}
_opened: list[str] | None = None  # None: not recording
_listens = False


def check_layout(layout: type, folder: Path, *, frames: int = 20) -> None:
    """Make sure that a layout keeps the contract of ``register_datasets`` on a folder in that layout.

    The layout is recognised by two facts, not by the names of its images alone. It lists every image once, with labels
    that exist, without opening an image. Each file has one role, and labels have the size of their images.

    Args:
        layout: The class that the plugin registers.
        folder: A small dataset in that layout, with labels of all its kinds; it is only read.
        frames: Number of frames, evenly spaced, whose images and labels are decoded.

    Raises:
        AssertionError: If it does not; the message says why.
    """
    who = layout.__name__
    try:
        kind = adopted(layout, "the layout")
    except PluginError as error:
        raise AssertionError(str(error)) from error
    tree = Tree(folder)
    adapter = kind(folder)
    match = kind.recognise(tree)
    if match is None:
        raise AssertionError(f"{who}: does not recognise {folder}")
    with _opening() as opened:
        listed = list(adapter.frames(tree))
    if images := [path for path in opened if is_image(path)]:
        raise AssertionError(f"{who}: opens {images[0]} to list the frames; listing may only look at paths")
    if not listed or match.images != len(listed):
        raise AssertionError(f"{who}: recognise counts {match.images} images, frames lists {len(listed)}")
    if listed != list(kind(folder).frames(Tree(folder))):
        raise AssertionError(f"{who}: lists other frames, or another order, the second time")
    _require_paths(who, tree, listed)
    _require_second_fact(who, kind, listed)
    _require_tables(who, adapter, tree)
    dataset = Dataset(getattr(kind, "name", who), match, tree, adapter)
    _require_roles(who, dataset)
    for frame in evenly(list(dataset.frames(include=["*"])), frames):
        _require_labels(who, frame)


def _require_paths(who: str, tree: Tree, frames: Sequence[Frame]) -> None:
    seen = set[str]()
    for frame in frames:
        for what, path in [("image", frame.image), *((f"label '{kind}'", path) for kind, path in frame.labels.items())]:
            if not tree.has(path):
                raise AssertionError(
                    f"{who}: the {what} of a frame, {path}, does not exist; use tree.at(path) to leave it out"
                )
        if frame.image in seen:
            raise AssertionError(f"{who}: lists {frame.image} twice")
        seen.add(frame.image)
    if both := seen & {path for frame in frames for path in frame.labels.values()}:
        raise AssertionError(f"{who}: {min(both)} is the image of a frame and a label of one")


def _require_second_fact(who: str, kind: type[Adapter], frames: Sequence[Frame]) -> None:
    """Make sure that images of the same names in a flat folder, which are one fact, are not recognised."""
    with tempfile.TemporaryDirectory() as place:
        for frame in frames:
            Path(place, frame.image.rpartition("/")[2]).touch()
        if kind.recognise(Tree(Path(place))):
            raise AssertionError(
                f"{who}: recognises any folder that has images of these names; require a second fact, such as a file "
                "next to them or the name of a folder"
            )


def _require_tables(who: str, adapter: Adapter, tree: Tree) -> None:
    for name in ("stale", "resizing"):
        for pattern, _ in getattr(adapter, name):
            try:
                re.compile(pattern)
            except re.error as error:
                raise AssertionError(f"{who}: {name}: {pattern!r} is not a valid pattern: {error}") from error
    if wrong := [rule for _, rule in adapter.resizing if not isinstance(rule, Rule)]:
        raise AssertionError(f"{who}: resizing: {wrong[0]!r} is not a sim2real.datasets.resizing.Rule")
    for line in adapter.warnings(tree):
        if not isinstance(line, str) or "\n" in line:
            raise AssertionError(f"{who}: a warning must be one line of text, not {line!r}")
    for path in tree:
        if not isinstance(role := adapter.role(path), Role | None):
            raise AssertionError(f"{who}: role({path!r}) is {role!r}, neither a sim2real.datasets.base.Role nor None")


def _require_roles(who: str, dataset: Dataset) -> None:
    files = [path for path, _ in dataset.files()]
    if files != sorted(set(dataset.tree)):
        raise AssertionError(f"{who}: not every file has exactly one role")


def _require_labels(who: str, frame: Frame) -> None:
    height, width = frame.load_image().shape[:2]
    for kind in frame.labels:
        try:
            label = frame.load_label(kind)
        except Sim2RealError as error:
            raise AssertionError(f"{who}: label '{kind}' of {frame.image} cannot be read: {error}") from error
        except Exception as error:
            message = f"{who}: load_label fails on '{kind}' of {frame.image}: {type(error).__name__}: {error}"
            raise AssertionError(message) from error
        if kind in _KINDS and not isinstance(label, _KINDS[kind]):
            raise AssertionError(f"{who}: label '{kind}' is a {type(label).__name__}, not a {_KINDS[kind].__name__}")
        if (shape := _shape(label)) not in {None, (height, width)}:
            raise AssertionError(
                f"{who}: label '{kind}' of {frame.image} is {shape}, the image {(height, width)} (H, W)"
            )


def _shape(label: labels.Label) -> tuple[int, ...] | None:
    """Return (H, W) of a label with pixels, None of any other."""
    arrays = (getattr(label, name) for name in getattr(label, "__slots__", ()))
    return next((array.shape[:2] for array in arrays if isinstance(array, np.ndarray)), None)


@contextmanager
def _opening() -> Iterator[list[str]]:
    """Record the files that are opened within the block."""
    global _opened, _listens  # noqa: PLW0603  Python's audit hooks cannot be removed
    if not _listens:
        sys.addaudithook(_hear)
        _listens = True
    _opened = []
    try:
        yield _opened
    finally:
        _opened = None


def _hear(event: str, args: tuple[object, ...]) -> None:
    if event == "open" and _opened is not None and isinstance(args[0], str | bytes):
        _opened.append(args[0] if isinstance(args[0], str) else args[0].decode(errors="replace"))
