"""The grid of colour transforms with fine texture on top: grain and asphalt, where masks say that there may be any.

What is added has no low frequencies and a small amplitude, so light, colours and outlines stay those of the grid. The
part of an image that a Gaussian does not keep is what Burt and Adelson (1983) call a level of the Laplacian pyramid;
that plane of noise from which a network makes texture is that of StyleGAN (Karras et al. 2019).
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sim2real.datasets.vocabulary import Vocabulary
from sim2real.errors import SettingsError
from sim2real.networks.bilateral import exact
from sim2real.networks.blocks import at_rest, initialise_without_norms
from sim2real.networks.grid import Grid, noise_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WIDTHS = (16, 16, 16)  # channels of the convolutions but for the last
_HEIGHT = 256  # pixels: of a shorter side of so many sigma is told
_ABSENT = -2  # the number of a class that there is not: no mask has it, and it is not that of no class
_OTHERS = np.uint64(0x9E3779B97F4A7C15)  # makes other seeds of seeds: the camera's noise is drawn by these


class TexturedGrid(Grid):
    """What :class:`Grid` makes of a frame, and a limited high-pass residual on it before the camera.

    With b what the grid makes, it gives b + w (r - LP r). A network of four 3x3 convolutions without norms makes r, at
    most ``strength`` either way, of b at its own size and of a plane of noise by the seed; without a seed there is no
    noise. LP is a Gaussian low-pass, and w is 0 for the classes that are plain, 1 for the others and where there is no
    class. 5,667 weights more than the grid.

    Base first, texture later: there is none until the method says by :meth:`reach` that the share ``begin`` of the
    training is over. The training's loop tells the method before each step, from the number of the step alone. From
    then on only the network of the texture learns. That it has begun is kept with the weights, as a buffer that
    averages of weights copy, so that a resumed training and a conversion need to know nothing else. The method
    ``one-sided`` does so; with methods that do not, it stays a :class:`Grid`.

    Texture is learnt at the size of the training: a frame whose shorter side is larger than ``side`` gets none, as it
    goes without camera, and trained on such frames it stays a :class:`Grid`, too. Grids of neighbouring frames are not
    averaged.

    Args:
        in_channels: 3.
        out_channels: 3.
        width: As of :class:`Grid`; likewise ``blocks``, ``side``, ``styles`` and ``camera``.
        blocks: Likewise.
        side: Likewise.
        styles: Likewise.
        camera: Likewise. It learns grain of its own before texture begins, on plain classes as well, and texture is
            added to that; without one all grain is left to the texture.
        strength: Greatest of what the network makes, of a range of 1; the residual is at most twice that.
        sigma: Standard deviation of the low-pass, in pixels of a frame whose shorter side has 256.
        plain: Names of classes that get no texture; those that the run does not have are without effect.
        begin: Share of the training's steps after which texture begins: 0 at once, 1 never.
    """

    by_grids = False
    exportable = False
    inputs: ClassVar[tuple[str, ...]] = ("segmentation",)
    plain: Tensor
    begun: Tensor

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        *,
        width: int = 16,
        blocks: int = 2,
        side: int = 128,
        styles: int = 64,
        camera: bool = True,
        strength: float = 0.05,
        sigma: float = 4.0,
        plain: Sequence[str] = ("sky",),
        begin: float = 0.5,
    ) -> None:
        super().__init__(in_channels, out_channels, width=width, blocks=blocks, side=side, styles=styles, camera=camera)
        _check(strength=(strength, 0.0, 1.0), sigma=(sigma, 0.01, _HEIGHT), begin=(begin, 0.0, 1.0))
        self.strength, self.sigma, self.begin, self.plain_names = strength, sigma, begin, tuple(plain)
        channels = [out_channels + 1, *_WIDTHS, out_channels]
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            layers += [nn.Conv2d(before, after, 3, padding=1, padding_mode="replicate"), nn.LeakyReLU(0.2)]
        self.texture = nn.Sequential(*layers[:-1])
        self.register_buffer("plain", torch.full((len(self.plain_names),), _ABSENT))
        self.register_buffer("begun", torch.zeros((), dtype=torch.bool))
        initialise_without_norms(self.texture, 0.2)
        nn.init.zeros_(self.texture[-1].weight)  # type: ignore[arg-type]  # a convolution's

    def name_classes(self, names: Sequence[str]) -> None:
        """Learn the names of the classes of the masks, in the order of their numbers."""
        vocabulary = Vocabulary(names)
        numbers = [vocabulary.number(name) for name in self.plain_names]
        self.plain.copy_(torch.tensor([number if number >= 0 else _ABSENT for number in numbers], dtype=torch.int64))

    def reach(self, share: float) -> None:
        """Learn how much of the training is over, 0 to 1: texture begins, and does not end again."""
        if share >= self.begin:
            self.begun.fill_(True)  # noqa: FBT003  torch's own signature

    def forward(
        self,
        images: Tensor,
        seeds: "NDArray[np.uint64] | None" = None,
        inputs: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Images (N, 3, H, W) in [-1, 1] -> the same.

        Args:
            images: What to translate.
            seeds: A number for each of them, uint64 (N,), or None.
            inputs: ``"segmentation"``, (N, H, W); None: no pixel has a class.
        """
        if not self._draws(images):
            return super().forward(images, seeds)
        with exact(images), self._grid_at_rest():
            lit = self.lit(images, self.grids(images, seeds))
            return (2 * self._taken(self.textured(lit, seeds, inputs), seeds) - 1).clamp(-1, 1)

    def paint(
        self,
        images: Tensor,
        styles: Tensor,
        seeds: "NDArray[np.uint64] | None" = None,
        inputs: Mapping[str, Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """As of :class:`Grid`, of which the scalars are as well; ``inputs`` as of :meth:`forward`."""
        if not self._draws(images):
            return super().paint(images, styles, seeds)
        with exact(images), self._grid_at_rest():
            lit, terms = self.painted(images, styles)
            return 2 * self._taken(self.textured(lit, seeds, inputs), seeds) - 1, terms

    def textured(
        self, values: Tensor, seeds: "NDArray[np.uint64] | None" = None, inputs: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] with texture, which may overshoot that range.

        Args:
            values: What the grid makes.
            seeds: As of :meth:`forward`; likewise ``inputs``.
            inputs: Likewise.
        """
        plane = values[:, :1]
        noise = torch.zeros_like(plane) if seeds is None else noise_of(plane, seeds ^ _OTHERS)
        made: Tensor = self.strength * self.texture(torch.cat([2 * values - 1, noise], 1)).tanh()
        residual = made - low_pass(made, self.sigma * min(values.shape[2:]) / _HEIGHT)
        if inputs is not None:
            is_plain = (inputs["segmentation"][:, None] == self.plain[:, None, None]).any(1, keepdim=True)
            residual = residual.masked_fill(is_plain, 0.0)
        return values + residual

    def _draws(self, images: Tensor) -> bool:
        """Whether these images get texture; those without contents, which tell what a training needs, do."""
        return min(images.shape[2:]) <= self.side and (self.begun.is_meta or bool(self.begun))

    def _grid_at_rest(self) -> AbstractContextManager[None]:
        """All weights but those of the texture collect no gradients of what is computed here."""
        if not torch.is_grad_enabled():  # several threads may convert by it at once
            return nullcontext()
        return at_rest(weight for name, weight in self.named_parameters() if not name.startswith("texture."))


def low_pass(values: Tensor, sigma: float) -> Tensor:
    """Images (N, C, H, W) through a Gaussian of so many pixels, their borders repeated; of the same shape."""
    reach = max(1, ceil(3 * sigma))
    steps = torch.arange(-reach, reach + 1, dtype=values.dtype, device=values.device)
    line = (-(steps / max(sigma, 1e-3)).square() / 2).exp()
    line = (line / line.sum()).expand(values.shape[1], 1, 1, -1)
    padded = functional.pad(values, (reach,) * 4, mode="replicate")
    rows = functional.conv2d(padded, line, groups=values.shape[1])
    return functional.conv2d(rows, line.transpose(2, 3), groups=values.shape[1])


def _check(**options: tuple[float, float, float]) -> None:
    """Refuse options that are out of their ranges.

    Raises:
        SettingsError: One of them is.
    """
    for name, (value, least, most) in options.items():
        if not isinstance(value, int | float) or not least <= value <= most:
            raise SettingsError(f"generator.options.{name} = {value!r} must be a number from {least:g} to {most:g}")
