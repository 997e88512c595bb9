"""Capabilities of generators, declared in their attributes: random samples, labels that they use, restrictions."""

import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from sim2real.datasets.inputs import KINDS
from sim2real.errors import PluginError

if TYPE_CHECKING:
    from torch import nn

PAST: Final = ("past_images", "past_outputs")
"""The inputs with the earlier frames of a sequence and their translations."""


LICENCE: Final = "licence"
"""The name in ``provenance`` of the licence of a generator's weights."""

STUDENT: Final = "train a student on its translations, which can be exported (recipe distil)"
"""What to do to export a generator that is not a graph."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Capabilities:
    """The capabilities of a generator, read from its attributes of the same names; the defaults are given here.

    Attributes:
        stochastic: It samples at random. ``forward`` takes ``seeds``, uint64 (N,), one for each image, or None; equal
            seeds give equal images.
        steady: The upper 32 bits of a seed are derived from the name of the sequence, so that whatever they determine
            is constant within it; the lower bits are derived from the path of the frame.
        exportable: Whether its graph can be exported and compiled, and whether it can be run in tiles.
        export_obstacle: If it cannot be exported: which step stands in the way, and what to do instead; may be empty.
        whole: It shrinks images before it analyses them, so it is never run in tiles, whose results would differ.
        fixed_size: (W, H) of the only images that it translates; None for any size. A guided transfer scales frames to
            it.
        by_grids: It works with bilateral grids in two steps: ``grids(images, seeds)`` predicts the grids of images
            (N, C, H, W) as (N, 12, D, h, w), and ``apply_grids(images, grids, seeds)`` applies grids to images. The
            grids of neighbouring frames can then be averaged. Two optional methods make it faster: ``seen_size(H, W)``,
            the size that images are shrunk to by area before ``grids``, and ``tones(H, W)``, the representation of
            brightness if ``apply_grids`` does only :func:`sim2real.networks.bilateral.slice_pictures`, or None.
        cpu_only: It runs on the CPU, whatever the device; several threads may call it at once.
        any_precision: Its images in reduced precision are as good as in fp32 although they are others, so that the
            automatic precision is not compared with fp32.
        provenance: What its images depend on besides its file, such as versions of libraries, name -> text, with the
            ``"licence"`` of weights if it is known; recorded in ``conversion.json`` and the model card, and equal
            whenever a conversion is continued.
        inputs: Kinds of labels that it uses, see :mod:`sim2real.datasets.inputs`; ``forward`` takes the mapping
            ``inputs`` that contains them.
        clip_length: Number of consecutive frames that it translates together, (N, T, C, H, W); 1 for single frames,
            (N, C, H, W).
        context: Maximum number of earlier frames of a sequence that it uses, with their translations, as
            ``past_images`` and ``past_outputs`` in ``inputs``, (N, j, C, H, W) with j up to this number.
    """

    stochastic: bool = False
    steady: bool = False
    exportable: bool = True
    export_obstacle: str = field(default="", compare=False)
    whole: bool = False
    fixed_size: tuple[int, int] | None = None
    by_grids: bool = False
    cpu_only: bool = False
    any_precision: bool = False
    provenance: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    clip_length: int = 1
    context: int = 0

    @property
    def of_sequences(self) -> bool:
        """Whether the translation of a frame depends on other frames of its sequence."""
        return self.clip_length > 1 or self.context > 0

    @property
    def takes_inputs(self) -> bool:
        """Whether ``forward`` takes ``inputs``."""
        return bool(self.inputs or self.context)

    @property
    def whole_pictures(self) -> bool:
        """Whether it is run only on whole images, never in tiles."""
        return self.whole or not self.exportable or self.takes_inputs or self.of_sequences


def capabilities(generator: "nn.Module", name: str = "") -> Capabilities:
    """Return the capabilities of a generator.

    Args:
        generator: The generator, or its wrapper.
        name: Its name in messages.

    Raises:
        PluginError: If an attribute is invalid.
    """
    who = f"the generator '{name or type(generator).__name__}'"
    if hasattr(generator, "by_frame"):
        raise PluginError(
            f"{who} has the attribute 'by_frame', which was removed: set stochastic = True if it samples at random, "
            "exportable = False if it is no graph and needs whole images, cpu_only = True if it runs on the CPU"
        )
    flags = {each.name: each.default for each in fields(Capabilities) if each.type is bool}
    found = Capabilities(
        **{name: bool(getattr(generator, name, default)) for name, default in flags.items()},
        export_obstacle=str(getattr(generator, "export_obstacle", "")),
        provenance=dict(getattr(generator, "provenance", {})),
        fixed_size=getattr(generator, "fixed_size", None),
        inputs=inputs_of(generator, who),
        clip_length=clip_length_of(generator, who),
        context=_count(generator, who, "context", 0),
    )
    if found.clip_length > 1 and found.context:
        raise PluginError(f"{who} has both a clip_length and a context: set only one of them")
    return found


def seeds_of_pixels(generator: object, pictures: "NDArray[np.uint8]") -> "NDArray[np.uint64]":
    """Return a seed for each image, uint64 (N,), derived from its pixels, for images without a path.

    Args:
        generator: The generator or its capabilities. If it is steady, each image counts as its own sequence.
        pictures: Images, (N, ..., H, W, 3).
    """
    seeds = np.array([zlib.crc32(picture.tobytes()) for picture in pictures], np.uint64)
    return seeds | (seeds << np.uint64(32)) if getattr(generator, "steady", False) else seeds


def inputs_of(part: object, who: str) -> tuple[str, ...]:
    """Return the kinds of labels that a generator, discriminator, loss or method requests.

    Raises:
        PluginError: If it requests an unknown kind; the message begins with ``who``.
    """
    kinds = names_of(part, who, "inputs")
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise PluginError(f"{who} has the unknown input '{unknown[0]}'; known: {', '.join(KINDS)}")
    return kinds


def clip_length_of(part: object, who: str) -> int:
    """Return the number of consecutive frames that a component requests.

    Raises:
        PluginError: If the attribute is invalid, as in :func:`inputs_of`.
    """
    return _count(part, who, "clip_length", 1)


def names_of(part: object, who: str, attribute: str) -> tuple[str, ...]:
    """Return the names in an attribute, or none if it is absent.

    Raises:
        PluginError: If the attribute is not a collection of strings.
    """
    names = getattr(part, attribute, ())
    if isinstance(names, str):
        raise PluginError(f"{who} has {attribute} = '{names}', a single string: write ('{names}',)")
    if not isinstance(names, Collection) or not all(isinstance(name, str) for name in names):
        raise PluginError(f"{who} has the attribute '{attribute}', which must contain names, not {_shown(names)}")
    return tuple(names)


def _count(part: object, who: str, attribute: str, least: int) -> int:
    count = getattr(part, attribute, least)
    if not isinstance(count, int) or count < least:
        raise PluginError(
            f"{who} has the attribute '{attribute}', which must be a whole number of at least {least}, not "
            f"{_shown(count)}"
        )
    return int(count)


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, int | float | str) or value is None else f"a {type(value).__name__}"


def blank_inputs(can: Capabilities, height: int, width: int, count: int = 1) -> dict[str, NDArray[Any]]:
    """Return inputs without information, for a number of images (or clips) of one size, as an engine takes them."""
    clip = (can.clip_length,) if can.clip_length > 1 else ()
    found: dict[str, NDArray[Any]] = {}
    for kind in can.inputs:
        channels = () if KINDS[kind].channels is None else (KINDS[kind].channels,)
        nothing = -1 if issubclass(KINDS[kind].dtype, np.integer) else 0
        found[kind] = np.full((count, *clip, *channels, height, width), nothing, KINDS[kind].dtype)
    if can.context:
        found |= dict.fromkeys(PAST, np.zeros((count, can.context, height, width, 3), np.uint8))
    return found
