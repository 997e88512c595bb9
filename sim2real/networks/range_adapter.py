"""The adapter between the program's images in [-1, 1], with their labels, and the inputs of networks."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sim2real.capabilities import PAST
from sim2real.datasets.inputs import KINDS, VECTORS
from sim2real.errors import PluginError
from sim2real.networks.bilateral import guided_images

Inputs = Mapping[str, Tensor]
Guided = Literal["never", "evaluating", "always"]


class RangeAdapter(nn.Module):
    """A wrapper that gives a network images in [-1, 1], whatever its own ``value_range``.

    A network with the attribute ``inputs`` receives the labels that it names; other networks receive none. Clips
    (N, T, C, H, W) are passed as N T images to networks whose ``clip_length`` is 1 (the default).

    Other attributes are those of the network (``stride``, ``score_weights`` ...), except ``value_range``, which is
    (-1, 1). Weights are saved and loaded through ``network``, so that files do not depend on the wrapper. If the
    network's range is (-1, 1), values are not converted.

    Args:
        network: Network for images (N, C, H, W) in its attribute ``value_range``, (-1, 1) if it has none.
        returns_images: Whether the output also consists of images in that range: true for generators, false for
            discriminators.
        guided: When only the light and the colours of translations are transferred to the images, see
            :func:`sim2real.networks.bilateral.guided_images`: ``"never"``, ``"evaluating"`` (in evaluation mode), or
            ``"always"``.
    """

    value_range = (-1.0, 1.0)

    def __init__(self, network: nn.Module, *, returns_images: bool, guided: Guided = "never") -> None:
        super().__init__()
        self.network = network
        self.returns_images = returns_images
        self.guided = guided
        low, high = getattr(network, "value_range", (-1.0, 1.0))
        self.scale = (high - low) / 2
        self.shift = (high + low) / 2
        self.kinds: tuple[str, ...] = tuple(getattr(network, "inputs", ()))

    def forward(self, images: Tensor, inputs: Inputs | None = None, **more: Any) -> Any:  # noqa: ANN401  images, a tensor of scores or a tuple
        """Return the network's output for images in [-1, 1]; translations are in [-1, 1] too.

        Args:
            images: Images (N, C, H, W), or clips (N, T, C, H, W).
            inputs: Labels by kind, see :mod:`sim2real.datasets.inputs`; the network receives those that it requests. A
                network with a ``context`` also receives earlier frames, if these are included: see
                :class:`sim2real.capabilities.Capabilities`.
            more: Further keyword arguments of the network, passed on unchanged.

        Raises:
            PluginError: If the network requests a label that is missing, or a generator does not return images of the
                same size.
        """
        given = inputs or {}
        if images.dim() == 5 and getattr(self.network, "clip_length", 1) == 1:
            frames = images.flatten(0, 1)
            result = self._call(frames, **self._seen(frames, flattened(self._picked(given))), **more)
            return result.unflatten(0, images.shape[:2]) if self.returns_images else result
        return self._call(images, **self._seen(images, given), **more)

    def features(self, images: Tensor, inputs: Inputs | None = None) -> Sequence[Tensor]:
        """Return a generator's feature maps (N, C, h, w) of images, in the order of its layers.

        Raises:
            PluginError: If the network requests a label that is missing, or has no method ``features``.
        """
        features: Callable[..., Sequence[Tensor]] | None = getattr(self.network, "features", None)
        if features is None:
            raise PluginError(f"the generator {type(self.network).__name__} has no method features(images)")
        return features(images * self.scale + self.shift, **self._seen(images, inputs or {}))

    def grids(self, images: Tensor, seeds: Any = None) -> Tensor:  # noqa: ANN401  handed on
        """Return a generator's grids for images, see :class:`sim2real.capabilities.Capabilities`."""
        grids: Callable[..., Tensor] = self.network.grids  # type: ignore[assignment]
        return grids(images * self.scale + self.shift, seeds)

    def apply_grids(self, images: Tensor, grids: Tensor, seeds: Any = None) -> Tensor:  # noqa: ANN401  handed on
        """Return images with grids applied, in the same form as the network's output."""
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
        """Return the result of transferring translations to images (N, 3, H, W) or clips, as ``guided`` says."""
        if self.guided == "always" or (self.guided == "evaluating" and not self.training):
            made = guided_images(images.flatten(0, -4), made.flatten(0, -4)).view_as(images)
        return made

    def _require_pictures(self, result: object, images: object) -> None:
        """Check that a generator returned one image of the same size for each image."""
        if not isinstance(images, Tensor):  # an image in tiles
            return
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]  # sizes are part of a graph
            return
        if not isinstance(result, Tensor) or result.shape != images.shape:
            made = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
            raise PluginError(
                f"the generator {type(self.network).__name__} returns {made} for images {tuple(images.shape)}, not "
                "images of the same size; if sides must be multiples of a number, set its attribute stride"
            )

    def _seen(self, images: Tensor, inputs: Inputs) -> dict[str, dict[str, Tensor]]:
        """Return the keyword arguments of the network: labels and earlier frames."""
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

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  any attribute of the network
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("network"), name)


def flattened(inputs: Inputs) -> dict[str, Tensor]:
    """Return labels of clips, (N, T, ...), as labels of N T images."""
    return {kind: values.flatten(0, 1) for kind, values in inputs.items()}


def mirrored(inputs: Inputs) -> dict[str, Tensor]:
    """Return the labels of mirrored images (N, ...) or clips."""
    flipped = {kind: values.flip(-1) for kind, values in inputs.items()}
    for kind in VECTORS & flipped.keys():
        flipped[kind] = torch.cat([-flipped[kind][..., :1, :, :], flipped[kind][..., 1:, :, :]], dim=-3)
    return flipped


def blank_inputs(kinds: Iterable[str], images: Tensor) -> dict[str, Tensor]:
    """Return all-zero labels with the right shapes and types for images (N, C, H, W) or clips (N, T, C, H, W)."""
    *lead, _, height, width = images.shape
    blank = {}
    for kind in kinds:
        form = KINDS[kind]
        channels = () if form.channels is None else (form.channels,)
        dtype = torch.int64 if form.channels is None else torch.float32
        blank[kind] = torch.zeros(*lead, *channels, height, width, dtype=dtype, device=images.device)
    return blank
