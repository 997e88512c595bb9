"""The generator that paints with light and colours alone: a bilateral grid of colour transforms, made by a network.

What it makes of a frame is decided where the frame is small, and applied at full size to the frame itself, so nothing
that it learns can move an edge, make one or leave a pattern; see :mod:`sim2real.networks.bilateral`.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.onnx.operators import shape_as_tensor

from sim2real.networks.bilateral import (
    CELL,
    LEVELS,
    TONES,
    exact,
    identity_grid,
    inversion,
    luma,
    shrink,
    slice_grid,
)
from sim2real.networks.blocks import check_counts, initialise_without_norms
from sim2real.networks.statistics import colour_moments, radial_spectrum, unevenness

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WIDTHS = (1, 2, 3, 4)  # times the width: of the convolutions down, each halves the size: a cell is 16 pixels
_KNOTS = 16  # of the curve that makes the guide of brightness
_STEEPEST = 3.0  # how much the parts of that curve may differ from a straight one, either way
_BANDS = 4  # of the spectrum in a style
_STYLE = 3 + 6 + _BANDS
_FIXED = 1 << 16  # styles are kept as whole numbers of so many parts, which averages of weights leave alone
_SIGMAS = (0.5, 1.0, 1.5)  # of the camera's blur, in pixels; and none
_SEEDS = 2**63 - 1  # the greatest that torch takes
_FASTER = 10.0  # how much faster than the rest the camera learns


class Grid(nn.Module):
    """Light and colours by place and brightness, after a style, seen through a camera.

    A frame is shrunk to ``side`` and goes through four convolutions; with what the whole frame tells, and a style, they
    say for each cell of 16x16 pixels and each of eight levels of brightness how red, green and blue change, at most by
    half of each and by 0.3 of the range. It begins as the identity. 144,326 weights with the defaults.

    A style is the colours and the texture of a real picture. Those of many are kept with the weights; which one the
    frames of a sequence get, and the noise of the camera, seeds decide. Without a seed it is their mean, and no noise.

    The camera, a blur and noise that grows with light, is learnt at the size of the training: a frame that has to be
    shrunk goes without.

    Args:
        in_channels: 3.
        out_channels: 3.
        width: Channels of the first convolution; the fourth has four times as many.
        blocks: Convolutions after those that halve the size, each sees one cell further.
        side: Pixels of the shorter side of what the network sees; larger frames are shrunk to it.
        styles: How many are kept.
        camera: Whether there is one.
    """

    stochastic = True
    steady = True
    whole = True
    by_grids = True
    value_range = (-1.0, 1.0)
    keeps_own_init = True
    styles: Tensor
    kept: Tensor

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
    ) -> None:
        super().__init__()
        counts = {"width": width, "blocks": blocks, "side": side, "styles": styles}
        check_counts(**{f"generator.options.{name}": count for name, count in counts.items()})
        self.side = max(CELL, side)
        channels = [in_channels, *(times * width for times in _WIDTHS)]
        last = channels[-1]
        self.down = nn.Sequential(
            *(
                layer
                for before, after in pairwise(channels)
                for layer in (nn.Conv2d(before, after, 3, stride=2, padding=1), nn.LeakyReLU(0.2))
            )
        )
        further: list[nn.Module] = [nn.Conv2d(last, last, 3, padding=1)]
        for _ in range(blocks - 1):
            further += [nn.LeakyReLU(0.2), nn.Conv2d(last, last, 3, padding=1)]
        self.near = nn.Sequential(*further)
        self.everywhere = nn.Sequential(nn.Linear(last, last), nn.LeakyReLU(0.2), nn.Linear(last, last))
        modulation = nn.Linear(last, 2 * last)
        self.by_style = nn.Sequential(nn.Linear(_STYLE, last), nn.LeakyReLU(0.2), modulation)
        self.transforms = nn.Conv2d(last, 4 * out_channels * LEVELS, 1)
        self.curve = nn.Parameter(torch.zeros(_KNOTS))
        self.camera = _Camera() if camera else None
        self.register_buffer("styles", torch.zeros(styles, _STYLE, dtype=torch.int32))
        self.register_buffer("kept", torch.zeros((), dtype=torch.int64))
        initialise_without_norms(self, 0.2)
        for weights in (self.transforms.weight, modulation.weight, modulation.bias):
            nn.init.zeros_(weights)

    def forward(self, images: Tensor, seeds: "NDArray[np.uint64] | None" = None) -> Tensor:
        """Images (N, 3, H, W) in [-1, 1] -> the same.

        Args:
            images: What to translate.
            seeds: A number for each of them, uint64 (N,), or None.
        """
        return self.apply_grids(images, self.grids(images, seeds), seeds)

    def grids(self, images: Tensor, seeds: "NDArray[np.uint64] | None" = None) -> Tensor:
        """What becomes of images (N, 3, H, W) in [-1, 1], by place and brightness: (N, 12, D, h, w)."""
        with exact(images):
            return self.grid_of(images.float(), self.sampled(len(images), seeds))

    def apply_grids(self, images: Tensor, grids: Tensor, seeds: "NDArray[np.uint64] | None" = None) -> Tensor:
        """What such grids make of images, seen through the camera: of the same shape and range."""
        with exact(images):
            return (2 * self._taken(self.lit(images, grids), seeds) - 1).clamp(-1, 1)

    def lit(self, images: Tensor, grids: Tensor) -> Tensor:
        """What such grids make of images, without the camera: in [0, 1], which may be overshot."""
        values = images.float() / 2 + 0.5
        return slice_grid(grids, self.tone(luma(values)), values)

    def seen_size(self, height: int, width: int) -> tuple[int, int]:
        """(H, W) of what the network sees of images of that size, shrunk by area."""
        down, across = (self._cells(torch.tensor([height, width])) * CELL).tolist()
        return int(down), int(across)

    def tones(self, height: int, width: int) -> Tensor | None:
        """What stands for each brightness when grids are applied to pictures of that size by ``slice_pictures``.

        None where that is not all, since the camera has a say.
        """
        if self.camera is not None and min(height, width) <= self.side:
            return None
        return self.tone(torch.linspace(0, 1, TONES + 1, device=self.curve.device))

    def paint(
        self, images: Tensor, styles: Tensor, seeds: "NDArray[np.uint64] | None" = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Pictures that may overshoot their range, and what holds a training back from painting clouds.

        Args:
            images: (N, 3, H, W) in [-1, 1].
            styles: (N, S) as of :meth:`style_of`.
            seeds: Of the noise, as of :meth:`forward`.

        Returns:
            (N, 3, H, W), about in [-1, 1]; and scalars: ``roughness``, the mean difference between transforms of cells
            side by side, ``inversion`` as of :func:`sim2real.networks.bilateral.inversion`, and ``unevenness`` as of
            :func:`sim2real.networks.statistics.unevenness`, before the camera.
        """
        with exact(images):
            lit, terms = self.painted(images, styles)
            return 2 * self._taken(lit, seeds) - 1, terms

    def painted(self, images: Tensor, styles: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """As :meth:`paint`, before the camera: in [0, 1], which may be overshot."""
        grid = self.grid_of(images.float(), styles)
        lit = self.lit(images, grid)
        steps = [grid.diff(dim=axis).abs().mean() for axis in (3, 4) if grid.shape[axis] > 1]
        roughness = torch.stack([grid.new_zeros(()), *steps]).sum()
        uneven = unevenness(images.float() / 2 + 0.5, lit)
        return lit, {"roughness": roughness, "inversion": inversion(grid), "unevenness": uneven}

    def _taken(self, lit: Tensor, seeds: "NDArray[np.uint64] | None") -> Tensor:
        """Images in [0, 1] through the camera."""
        return lit if self.camera is None else self.camera(lit, seeds, self._sides(lit).min() <= self.side)

    def grid_of(self, images: Tensor, styles: Tensor) -> Tensor:
        """The grids of images (N, 3, H, W) in [-1, 1], (N, 12, D, h, w)."""
        maps = self.down(shrink(images, CELL * self._cells(self._sides(images))))
        features = self.near(maps) + self.everywhere(maps.mean((2, 3)))[:, :, None, None]
        gain, shift = self.by_style(styles)[:, :, None, None].chunk(2, 1)
        change = self.transforms(functional.leaky_relu(features * (1 + gain) + shift, 0.2)).tanh()
        # unflatten would make constants of the other sides in a graph
        change = change.reshape(change.shape[0], 12, LEVELS, change.shape[2], change.shape[3])
        limits = change.new_tensor([0.5, 0.5, 0.5, 0.3]).repeat(3)[:, None, None, None]
        grid: Tensor = identity_grid(1, 1, 1, like=change) + limits * change
        return grid

    def _cells(self, sides: Tensor) -> Tensor:
        """How many cells images of (H, W) have down and across."""
        scale = (self.side / sides.min()).clamp(max=1)
        return (sides * scale / CELL).round().clamp(min=1)

    @staticmethod
    def _sides(images: Tensor) -> Tensor:
        """(H, W) as numbers that are part of a graph."""
        return shape_as_tensor(images)[2:].float()

    def tone(self, light: Tensor) -> Tensor:
        """Brightness in [0, 1] -> what stands for it in the grids, on the learnt scale, likewise."""
        steps = (self.curve.tanh() * math.log(_STEEPEST)).exp()
        heights = functional.pad(steps.cumsum(0), (1, 0)) / steps.sum()
        place = light.clamp(0, 1) * _KNOTS
        knot = place.detach().floor().clamp(max=_KNOTS - 1)
        below = knot.long()
        return heights[below].lerp(heights[below + 1], place - knot)

    @staticmethod
    def style_of(images: Tensor) -> Tensor:
        """What a style says of pictures (N, 3, H, W) in [-1, 1]: means, roots of covariances, spectra; (N, S)."""
        values = images.float() / 2 + 0.5
        mean, root = colour_moments(values)
        rows, columns = torch.triu_indices(3, 3, device=images.device)
        return torch.cat([2 * mean - 1, 4 * root[:, rows, columns], radial_spectrum(values, _BANDS) / 4], 1)

    @torch.no_grad()
    def keep(self, styles: Tensor) -> None:
        """Keep styles (N, S) with the weights while there is room."""
        first = self._count
        new = styles[: len(self.styles) - first]
        self.styles[first : first + len(new)] = (new * _FIXED).round().to(torch.int32)
        self.kept += len(new)

    @property
    def _count(self) -> int:
        """How many styles are kept; all there may be where tensors have no contents."""
        return len(self.styles) if self.kept.is_meta else int(self.kept)

    def sampled(self, count: int, seeds: "NDArray[np.uint64] | None" = None) -> Tensor:
        """Styles of those that are kept, by seeds; their mean without; (N, S)."""
        kept = self.styles[: max(1, self._count)].float() / _FIXED
        if seeds is None:
            return kept.mean(0, keepdim=True).expand(count, -1)
        return kept[torch.from_numpy((seeds >> np.uint64(32)) % np.uint64(len(kept))).long().to(kept.device)]


class _Camera(nn.Module):
    """A blur, the mixture of four, and noise whose variance grows with light."""

    kernels: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.mixture = nn.Parameter(torch.tensor([2.0, 0.0, 0.0, 0.0]) / _FASTER)
        self.noise = nn.Parameter(torch.tensor([-9.0, -9.0]) / _FASTER)  # logarithms: in black, and what light adds
        self.register_buffer("kernels", _gaussians(_SIGMAS), persistent=False)

    def forward(self, values: Tensor, seeds: "NDArray[np.uint64] | None", near: Tensor) -> Tensor:
        """(N, 3, H, W) in [0, 1] -> the same; noise only where there are seeds, and nothing where it is not near."""
        tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        if not tracing and not near:
            return values
        kernel = ((_FASTER * self.mixture).softmax(0)[:, None, None] * self.kernels).sum(0)
        kernel = torch.where(near.to(kernel.device), kernel, self.kernels[0]) if tracing else kernel
        reach = kernel.shape[-1] // 2
        padded = functional.pad(values, (reach,) * 4, mode="replicate")
        result = functional.conv2d(padded, kernel.expand(3, 1, -1, -1), groups=3)
        if seeds is None:
            return result
        black, by_light = (_FASTER * self.noise).clamp(max=-3).exp()
        spread: Tensor = (black + by_light * result.clamp(0, 1)).sqrt()
        return result + spread * noise_of(result, seeds)


def noise_of(like: Tensor, seeds: "NDArray[np.uint64]") -> Tensor:
    """Standard normal, drawn on the CPU, so that all devices see the same."""
    sources = (torch.Generator().manual_seed(int(seed) & _SEEDS) for seed in seeds)
    return torch.stack([torch.randn(like.shape[1:], generator=source) for source in sources]).to(like)


def _gaussians(sigmas: Sequence[float]) -> Tensor:
    """Kernels (K, 9, 9) of no blur at all and of these."""
    steps = torch.arange(-4.0, 5.0)
    lines = [(steps == 0).float(), *((-(steps**2) / (2 * sigma**2)).exp() for sigma in sigmas)]
    return torch.stack([torch.outer(line, line) / line.sum() ** 2 for line in lines])
