"""Translation of single frames of a dataset as in a conversion."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sim2real.capabilities import PAST
from sim2real.conversion.inference import seeds_of
from sim2real.conversion.jobs import seed_of
from sim2real.conversion.plan import evenly
from sim2real.conversion.sequences import in_order
from sim2real.datasets.base import Frame
from sim2real.errors import DatasetError
from sim2real.imageio import read_rgb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from sim2real.translator import Translator

    Picture = NDArray[np.uint8]


def glimpses(translate: "Translator", frames: "Sequence[Frame]", count: int) -> "list[Glimpse]":
    """Return glimpses of up to ``count`` of the frames, evenly spread."""
    if not translate.can.of_sequences:
        return [Glimpse(translate, [frame], 0) for frame in evenly(frames, count)]
    places = [(sequence, place) for sequence in in_order(frames) for place in range(len(sequence))]
    return [Glimpse(translate, sequence, place) for sequence, place in evenly(places, count)]


class Glimpse:
    """A frame and its translation.

    If the generator sees earlier frames, these are translated too, as if the sequence began with the first of them.

    Args:
        translate: The generator.
        sequence: The frames of the sequence, in order.
        place: The index of the frame in the sequence.
    """

    def __init__(self, translate: "Translator", sequence: "Sequence[Frame]", place: int) -> None:
        self._translate = translate
        self._sequence = sequence
        self._place = place

    def before(self) -> "Picture":
        """Return the frame, RGB (H, W, 3)."""
        return self._sequence[self._place].load_image()

    def after(self) -> "Picture":
        """Return the translation, RGB (H, W, 3).

        Raises:
            DatasetError: If a label that the generator sees is missing, or the frames of a sequence differ in size.
        """
        can, place = self._translate.can, self._place
        if can.clip_length > 1:
            first = place - place % can.clip_length
            piece = list(self._sequence[first : first + can.clip_length])
            piece += piece[-1:] * (can.clip_length - len(piece))
            inputs = [self._translate.inputs_of(frame) for frame in piece]
            clip = {kind: np.stack([each[kind] for each in inputs]) for kind in can.inputs}
            clip_after: Picture = self._run(_stacked(piece), clip, piece[0])[place - first]
            return self._translate.take(clip_after, seed_of(self._sequence[place].image))
        frames = self._sequence[max(0, place - can.context) : place + 1]
        images, outputs = _stacked(frames), list["Picture"]()
        for number, frame in enumerate(frames):
            inputs_of_one: dict[str, Any] = dict(self._translate.inputs_of(frame))
            if number:
                inputs_of_one |= zip(PAST, (images[:number], np.stack(outputs)), strict=True)
            outputs.append(self._run(images[number], inputs_of_one, frame))
        return self._translate.take(outputs[-1], seed_of(frames[-1].image))

    def _run(self, images: "Picture", inputs: "Mapping[str, NDArray[Any]]", first: "Frame") -> "Picture":
        sequences = [first.sequence] if self._translate.can.steady else []
        return self._translate.plain(images, inputs=inputs, seeds=seeds_of([first.image], sequences))


class Loose(Glimpse):
    """An image outside any dataset, and its translation.

    Args:
        translate: The generator.
        image: The image file.

    Raises:
        DatasetError: If the generator needs labels.
    """

    def __init__(self, translate: "Translator", image: Path) -> None:
        if kinds := translate.can.inputs:
            message = f"{image}: the generator '{translate.info.name}' needs '{kinds[0]}', which a single image lacks"
            raise DatasetError(f"{message}; name its dataset instead")
        super().__init__(translate, [_LooseFrame(image.name, file=image)], 0)


@dataclass(frozen=True, slots=True)
class _LooseFrame(Frame):
    file: Path = Path()

    def load_image(self) -> "Picture":
        return read_rgb(self.file)


def _stacked(frames: "Sequence[Frame]") -> "Picture":
    images = [frame.load_image() for frame in frames]
    for frame, image in zip(frames, images, strict=True):
        if image.shape != images[0].shape:
            message = f"{frames[0].image} and {frame.image} are in one sequence but differ in size"
            raise DatasetError(f"{message}; the generator looks at several frames of a sequence")
    return np.stack(images)
