"""The grid of colour transforms plus texture, such as grain and asphalt, for the classes that may have texture.

The texture has a small amplitude and no low frequencies, so that light, colours and outlines stay those of the grid.
The difference between an image and its Gaussian blur is a level of the Laplacian pyramid (Burt and Adelson 1983). The
noise plane from which the network makes texture follows StyleGAN (Karras et al. 2019).
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sim2real.capabilities import STUDENT
from sim2real.datasets.vocabulary import Vocabulary
from sim2real.errors import SettingsError
from sim2real.networks.bilateral import exact
from sim2real.networks.blocks import at_rest, initialise_without_norms
from sim2real.networks.grid import Grid, noise_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WIDTHS = (16, 16, 16)  # channels of the convolutions except the last
_HEIGHT = 256  # shorter side, in pixels, for which sigma is defined
_ABSENT = -2  # number of a class that the run does not have; no mask contains it
_OTHERS = np.uint64(0x9E3779B97F4A7C15)  # makes seeds independent of those of the camera's noise


class TexturedGrid(Grid):
    """A :class:`Grid` with a limited high-pass residual that is added before the camera.

    If b is the output of the grid, the result is b + w (r - LP r). A network of four 3x3 convolutions without norms
    computes r, at most ``strength`` in either direction, from b at its own size and a plane of noise that depends on
    the seed; without a seed there is no noise. LP is a Gaussian low-pass. The weight w is 0 for plain classes, and 1
    for all other classes and for pixels without a class. The network adds 5,667 weights to those of the grid.

    There is no texture until the share ``begin`` of the training is completed, which the method reports with
    :meth:`reach` before each step. From then on, only the network of the texture learns. A buffer stores with the
    weights whether texture has begun, so that resumed trainings and conversions know it too. The method ``one-sided``
    calls :meth:`reach`; with methods that do not, the generator stays a :class:`Grid`.

    Texture is learnt at the size of the training. Frames whose shorter side is larger than ``side`` get neither texture
    nor camera, and in a training on such frames the generator stays a :class:`Grid`. Grids of neighbouring frames are
    not averaged.

    Args:
        in_channels: Must be 3.
        out_channels: Must be 3.
        width: See :class:`Grid`.
        blocks: See :class:`Grid`.
        side: See :class:`Grid`.
        styles: See :class:`Grid`.
        camera: See :class:`Grid`. The camera learns grain of its own before texture begins, also on plain classes, and
            texture is added to it; without a camera, all grain is left to the texture.
        strength: Maximum of the network's output, for a range of 1; the residual is at most twice that.
        sigma: Standard deviation of the low-pass, in pixels of a frame whose shorter side has 256.
        plain: Names of classes without texture; names that the run does not have are ignored. If there are none, all
            pixels may have texture, and no masks are needed.
        begin: Share of the training's steps after which texture begins: 0 at once, 1 never.

    Raises:
        SettingsError: If an option is out of range.
    """

    by_grids = False
    exportable = False
    export_obstacle = (
        "its texture is sampled from the seed of each frame, and left out above a size of frames; neither is a graph. "
        f"Train with the generator 'grid' (recipe grid or labelled), or {STUDENT}"
    )
    inputs: tuple[str, ...] = ("segmentation",)
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
        self.inputs = self.inputs if self.plain_names else ()
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
        """Receive the names of the classes of the masks, in the order of their numbers."""
        vocabulary = Vocabulary(names)
        numbers = [vocabulary.number(name) for name in self.plain_names]
        self.plain.copy_(torch.tensor([number if number >= 0 else _ABSENT for number in numbers], dtype=torch.int64))

    def reach(self, share: float) -> None:
        """Receive the completed share of the training, 0 to 1; from ``begin`` on, there is texture."""
        if share >= self.begin:
            self.begun.fill_(True)  # noqa: FBT003  torch's own signature

    def forward(
        self,
        images: Tensor,
        seeds: "NDArray[np.uint64] | None" = None,
        inputs: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return translations (N, 3, H, W) in [-1, 1].

        Args:
            images: The images to translate, (N, 3, H, W) in [-1, 1].
            seeds: A seed for each image, uint64 (N,), or None.
            inputs: ``"segmentation"``, (N, H, W); None or empty: no pixel has a class.
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
        """Return translations and penalties like :meth:`Grid.paint`, with ``inputs`` as in :meth:`forward`."""
        if not self._draws(images):
            return super().paint(images, styles, seeds)
        with exact(images), self._grid_at_rest():
            lit, terms = self.painted(images, styles)
            return 2 * self._taken(self.textured(lit, seeds, inputs), seeds) - 1, terms

    def textured(
        self, values: Tensor, seeds: "NDArray[np.uint64] | None" = None, inputs: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Return images with texture, (N, 3, H, W) in [0, 1], not clipped.

        Args:
            values: Output of the grid, (N, 3, H, W) in [0, 1].
            seeds: See :meth:`forward`.
            inputs: See :meth:`forward`.
        """
        plane = values[:, :1]
        noise = torch.zeros_like(plane) if seeds is None else noise_of(plane, seeds ^ _OTHERS)
        made: Tensor = self.strength * self.texture(torch.cat([2 * values - 1, noise], 1)).tanh()
        residual = made - low_pass(made, self.sigma * min(values.shape[2:]) / _HEIGHT)
        if inputs:
            is_plain = (inputs["segmentation"][:, None] == self.plain[:, None, None]).any(1, keepdim=True)
            residual = residual.masked_fill(is_plain, 0.0)
        return values + residual

    def _draws(self, images: Tensor) -> bool:
        """Return whether these images get texture; meta tensors do, since they show what a training needs."""
        return min(images.shape[2:]) <= self.side and (self.begun.is_meta or bool(self.begun))

    def _grid_at_rest(self) -> AbstractContextManager[None]:
        """Return a context in which only the weights of the texture accumulate gradients."""
        if not torch.is_grad_enabled():  # several threads may convert at once
            return nullcontext()
        return at_rest(weight for name, weight in self.named_parameters() if not name.startswith("texture."))


def low_pass(values: Tensor, sigma: float) -> Tensor:
    """Blur images (N, C, H, W) with a Gaussian of ``sigma`` pixels, repeating their borders; the shape is kept."""
    reach = max(1, ceil(3 * sigma))
    steps = torch.arange(-reach, reach + 1, dtype=values.dtype, device=values.device)
    line = (-(steps / max(sigma, 1e-3)).square() / 2).exp()
    line = (line / line.sum()).expand(values.shape[1], 1, 1, -1)
    padded = functional.pad(values, (reach,) * 4, mode="replicate")
    rows = functional.conv2d(padded, line, groups=values.shape[1])
    return functional.conv2d(rows, line.transpose(2, 3), groups=values.shape[1])


def _check(**options: tuple[float, float, float]) -> None:
    """Check options against their ranges, each (value, minimum, maximum).

    Raises:
        SettingsError: If a value is out of its range.
    """
    for name, (value, least, most) in options.items():
        if not isinstance(value, int | float) or not least <= value <= most:
            raise SettingsError(f"generator.options.{name} = {value!r} must be a number from {least:g} to {most:g}")
