"""The one place where images in the program's [-1, 1], with their labels, meet what a network takes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sim2real.capabilities import PAST
from sim2real.datasets.inputs import KINDS, VECTORS
from sim2real.errors import PluginError
from sim2real.networks.bilateral import guided_images

Inputs = Mapping[str, Tensor]


class RangeAdapter(nn.Module):
    """A network as the program sees it: images in [-1, 1], whatever ``value_range`` the network was made for.

    A network with the attribute ``inputs`` is given the labels that this names; others never see any. Clips
    (N, T, C, H, W) are given to a network whose ``clip_length`` is 1 (1 if absent) as N T images.

    Attributes that are not its own are the network's (``stride``, ``score_weights`` ...), but for ``value_range``,
    which is (-1, 1). Weights are saved and loaded through ``network``, so that files do not know of the wrapper.
    With a range of (-1, 1) nothing is computed but the network.

    Args:
        network: Takes images (N, C, H, W) in its attribute ``value_range``, (-1, 1) if it has none.
        returns_images: Whether the output, too, is images in that range: true of generators, false of discriminators.

    Attributes:
        guided: When its pictures give images their light and colours alone, see
            :func:`sim2real.networks.bilateral.guided_images`: ``"never"``, ``"evaluating"`` (in evaluation mode), or
            ``"always"``.
    """

    guided: Literal["never", "evaluating", "always"] = "never"

    value_range = (-1.0, 1.0)

    def __init__(self, network: nn.Module, *, returns_images: bool) -> None:
        super().__init__()
        self.network = network
        self.returns_images = returns_images
        low, high = getattr(network, "value_range", (-1.0, 1.0))
        self.scale = (high - low) / 2
        self.shift = (high + low) / 2
        self.kinds: tuple[str, ...] = tuple(getattr(network, "inputs", ()))

    def forward(self, images: Tensor, inputs: Inputs | None = None, **more: Any) -> Any:  # noqa: ANN401  images, a tensor of scores or a tuple
        """Images (N, C, H, W) in [-1, 1] -> what the network makes of them; images come back in [-1, 1].

        Args:
            images: What the network takes; or clips (N, T, C, H, W).
            inputs: Labels by kind, of which the network is given what it asks for, see
                :mod:`sim2real.datasets.inputs`. One that looks back is given earlier frames, too, those that are in it:
                see :class:`sim2real.capabilities.Capabilities`.
            more: What it takes besides, handed on as it is.

        Raises:
            PluginError: It asks for a label that is not there, or a generator makes something else than pictures of the
                same size.
        """
        given = inputs or {}
        if images.dim() == 5 and getattr(self.network, "clip_length", 1) == 1:
            frames = images.flatten(0, 1)
            result = self._call(frames, **self._seen(frames, flattened(self._picked(given))), **more)
            return result.unflatten(0, images.shape[:2]) if self.returns_images else result
        return self._call(images, **self._seen(images, given), **more)

    def features(self, images: Tensor, inputs: Inputs | None = None) -> Sequence[Tensor]:
        """The maps (N, C, h, w) that a generator makes of images on its way, the earliest first.

        Raises:
            PluginError: It asks for a label that is not there, or does not offer its maps.
        """
        features: Callable[..., Sequence[Tensor]] | None = getattr(self.network, "features", None)
        if features is None:
            raise PluginError(f"the generator {type(self.network).__name__} has no method features(images)")
        return features(images * self.scale + self.shift, **self._seen(images, inputs or {}))

    def grids(self, images: Tensor, seeds: Any = None) -> Tensor:  # noqa: ANN401  handed on
        """The grids that a generator makes of images, see :class:`sim2real.capabilities.Capabilities`."""
        grids: Callable[..., Tensor] = self.network.grids  # type: ignore[assignment]
        return grids(images * self.scale + self.shift, seeds)

    def apply_grids(self, images: Tensor, grids: Tensor, seeds: Any = None) -> Tensor:  # noqa: ANN401  handed on
        """What such grids make of images, as it comes back when the network is called."""
        apply_grids: Callable[..., Tensor] = self.network.apply_grids  # type: ignore[assignment]
        return (apply_grids(images * self.scale + self.shift, grids, seeds) - self.shift) / self.scale

    def _call(self, images: Tensor, **more: Any) -> Any:  # noqa: ANN401  as of forward
        plain = (self.scale, self.shift) == (1.0, 0.0)
        result = self.network(images if plain else images * self.scale + self.shift, **more)
        if not self.returns_images:
            return result
        self._require_pictures(result, images)
        made = result if plain else (result - self.shift) / self.scale
        return self.as_transferred(images, made)

    def as_transferred(self, images: Tensor, made: Tensor) -> Tensor:
        """What becomes of images (N, 3, H, W), or clips, when the generator has made these of them."""
        if self.guided == "always" or (self.guided == "evaluating" and not self.training):
            made = guided_images(images.flatten(0, -4), made.flatten(0, -4)).view_as(images)
        return made

    def _require_pictures(self, result: object, images: object) -> None:
        """Make sure that a generator has made a picture of each image, on its pixels."""
        if not isinstance(images, Tensor):  # but one in tiles
            return
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]  # sizes are part of a graph
            return
        if not isinstance(result, Tensor) or result.shape != images.shape:
            made = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
            raise PluginError(
                f"the generator {type(self.network).__name__} makes {made} of images {tuple(images.shape)}, not "
                "pictures of the same size; if sides have to be multiples of a number, its attribute stride says so"
            )

    def _seen(self, images: Tensor, inputs: Inputs) -> dict[str, dict[str, Tensor]]:
        """What the network is called with besides these images, by keyword."""
        seen = self._picked(inputs)
        if getattr(self.network, "context", 0):
            none = images.new_empty((images.shape[0], 0, *images.shape[1:]))
            seen |= {kind: inputs.get(kind, none) * self.scale + self.shift for kind in PAST}
        return {"inputs": seen} if seen else {}

    def _picked(self, inputs: Inputs) -> dict[str, Tensor]:
        if missing := [kind for kind in self.kinds if kind not in inputs]:
            name = type(self.network).__name__
            raise PluginError(f"the network {name} needs the input '{missing[0]}', which it was not given")
        return {kind: inputs[kind] for kind in self.kinds}

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  whatever the network has
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("network"), name)


def flattened(inputs: Inputs) -> dict[str, Tensor]:
    """Labels of clips, (N, T, ...), as those of N T images."""
    return {kind: values.flatten(0, 1) for kind, values in inputs.items()}


def mirrored(inputs: Inputs) -> dict[str, Tensor]:
    """Labels of images (N, ...), or of clips, as those of the mirrored images."""
    flipped = {kind: values.flip(-1) for kind, values in inputs.items()}
    for kind in VECTORS & flipped.keys():
        flipped[kind] = torch.cat([-flipped[kind][..., :1, :, :], flipped[kind][..., 1:, :, :]], dim=-3)
    return flipped


def blank_inputs(kinds: Iterable[str], images: Tensor) -> dict[str, Tensor]:
    """Labels of the right form, all zero, for images (N, C, H, W) or clips (N, T, C, H, W)."""
    *lead, _, height, width = images.shape
    blank = {}
    for kind in kinds:
        form = KINDS[kind]
        channels = () if form.channels is None else (form.channels,)
        dtype = torch.int64 if form.channels is None else torch.float32
        blank[kind] = torch.zeros(*lead, *channels, height, width, dtype=dtype, device=images.device)
    return blank
