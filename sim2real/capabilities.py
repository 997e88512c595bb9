"""What a generator says of itself, so that it is run as it has to be: what it draws, sees, and cannot do."""

import zlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from sim2real.datasets.inputs import KINDS
from sim2real.errors import PluginError

if TYPE_CHECKING:
    from torch import nn

PAST: Final = ("past_images", "past_outputs")
"""The inputs that hold earlier frames of a sequence and what became of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Capabilities:
    """What a generator says in attributes of these names; each has its default here.

    Attributes:
        stochastic: It samples at random: its forward takes ``seeds``, uint64 (N,), one for each picture, or None. Equal
            seeds give equal pictures.
        steady: What the upper 32 bits of a seed decide is one for a sequence: they are made from its name, the lower
            ones from the path of the frame.
        exportable: Whether a graph of it can be written or compiled, and whether it can be run in tiles.
        whole: It shrinks pictures before it looks at them, so that it is never run in tiles, which would not be alike.
        by_grids: It paints by bilateral grids, and can be asked for each half: ``grids(images, seeds)`` are those of
            images (N, C, H, W), (N, 12, D, h, w); ``apply_grids(images, grids, seeds)`` is what they make of images.
            The grids of neighbouring frames can be averaged then. It is faster if it offers ``seen_size(H, W)``, what
            images are shrunk to by area before ``grids``, and ``tones(H, W)``, what stands for brightness if all that
            ``apply_grids`` does is :func:`sim2real.networks.bilateral.slice_pictures`, or None.
        cpu_only: It works on the CPU, whatever the device; several threads may call it at once.
        inputs: Kinds of labels that it sees, as of :mod:`sim2real.datasets.inputs`: its forward takes ``inputs``, a
            mapping that has them.
        clip_length: How many consecutive frames it translates together, (N, T, C, H, W); 1: single ones, (N, C, H, W).
        context: How many earlier frames of a sequence it looks at, and what it made of them, ``past_images`` and
            ``past_outputs`` in ``inputs``, (N, j, C, H, W) with j of them at most.
    """

    stochastic: bool = False
    steady: bool = False
    exportable: bool = True
    whole: bool = False
    by_grids: bool = False
    cpu_only: bool = False
    inputs: tuple[str, ...] = ()
    clip_length: int = 1
    context: int = 0

    @property
    def of_sequences(self) -> bool:
        """Whether what becomes of a frame depends on others of its sequence."""
        return self.clip_length > 1 or self.context > 0

    @property
    def takes_inputs(self) -> bool:
        """Whether its forward takes ``inputs``."""
        return bool(self.inputs or self.context)

    @property
    def whole_pictures(self) -> bool:
        """Whether it is never run in tiles."""
        return self.whole or not self.exportable or self.takes_inputs or self.of_sequences


def capabilities(generator: "nn.Module", name: str = "") -> Capabilities:
    """What a generator says of itself.

    Args:
        generator: It, or what wraps it.
        name: What messages call it.

    Raises:
        PluginError: It says what nobody understands.
    """
    who = f"the generator '{name or type(generator).__name__}'"
    if hasattr(generator, "by_frame"):
        raise PluginError(
            f"{who} has the attribute 'by_frame', which is gone: say stochastic = True if it samples at random, "
            "exportable = False if it is no graph and looks at whole pictures, cpu_only = True if it works on the CPU"
        )
    found = Capabilities(
        stochastic=bool(getattr(generator, "stochastic", False)),
        steady=bool(getattr(generator, "steady", False)),
        exportable=bool(getattr(generator, "exportable", True)),
        whole=bool(getattr(generator, "whole", False)),
        by_grids=bool(getattr(generator, "by_grids", False)),
        cpu_only=bool(getattr(generator, "cpu_only", False)),
        inputs=inputs_of(generator, who),
        clip_length=clip_length_of(generator, who),
        context=_count(generator, who, "context", 0),
    )
    if found.clip_length > 1 and found.context:
        raise PluginError(f"{who} has both a clip_length and a context: say one of them")
    return found


def seeds_of_pixels(generator: object, pictures: "NDArray[np.uint8]") -> "NDArray[np.uint64]":
    """A number for each picture, uint64 (N,), from its own pixels: for pictures that have no path.

    Args:
        generator: It, or its capabilities: one that is steady has no sequences to tell, and draws for each picture.
        pictures: (N, ..., H, W, 3).
    """
    seeds = np.array([zlib.crc32(picture.tobytes()) for picture in pictures], np.uint64)
    return seeds | (seeds << np.uint64(32)) if getattr(generator, "steady", False) else seeds


def inputs_of(part: object, who: str) -> tuple[str, ...]:
    """The kinds of labels that a generator, a discriminator, a loss or a method asks for.

    Raises:
        PluginError: It asks for what there is not; the message begins with ``who``.
    """
    kinds = names_of(part, who, "inputs")
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise PluginError(f"{who} has the input '{unknown[0]}', which nobody knows; known: {', '.join(KINDS)}")
    return kinds


def clip_length_of(part: object, who: str) -> int:
    """How many consecutive frames it asks for.

    Raises:
        PluginError: As of :func:`inputs_of`.
    """
    return _count(part, who, "clip_length", 1)


def names_of(part: object, who: str, attribute: str) -> tuple[str, ...]:
    """The names in an attribute of it, none if it is absent.

    Raises:
        PluginError: The attribute is something else.
    """
    names = getattr(part, attribute, ())
    if isinstance(names, str):
        raise PluginError(f"{who} has {attribute} = '{names}', one text and not several: say ('{names}',)")
    if not isinstance(names, Collection) or not all(isinstance(name, str) for name in names):
        raise PluginError(f"{who} has the attribute '{attribute}', which is for names, and {_shown(names)} is none")
    return tuple(names)


def _count(part: object, who: str, attribute: str, least: int) -> int:
    count = getattr(part, attribute, least)
    if not isinstance(count, int) or count < least:
        raise PluginError(
            f"{who} has the attribute '{attribute}', which is for a whole number of {least} or more, and "
            f"{_shown(count)} is none"
        )
    return int(count)


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, int | float | str) or value is None else f"a {type(value).__name__}"


def blank_inputs(can: Capabilities, height: int, width: int, count: int = 1) -> dict[str, NDArray[Any]]:
    """Inputs that say nothing, for so many pictures (or clips) of a size, as an engine is given them."""
    clip = (can.clip_length,) if can.clip_length > 1 else ()
    found: dict[str, NDArray[Any]] = {}
    for kind in can.inputs:
        channels = () if KINDS[kind].channels is None else (KINDS[kind].channels,)
        nothing = -1 if issubclass(KINDS[kind].dtype, np.integer) else 0
        found[kind] = np.full((count, *clip, *channels, height, width), nothing, KINDS[kind].dtype)
    if can.context:
        found |= dict.fromkeys(PAST, np.zeros((count, can.context, height, width, 3), np.uint8))
    return found
