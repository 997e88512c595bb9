"""A generator that changes only light and colours: a network predicts a bilateral grid of colour transforms.

The grid is predicted from a small copy of the frame and applied to the frame at full size. It cannot move or create
edges, or leave patterns; see :mod:`sim2real.networks.bilateral`.
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

_WIDTHS = (1, 2, 3, 4)  # channels of the four strided convolutions, times the width; together they give cells of 16 px
_KNOTS = 16  # of the curve from brightness to the guide
_STEEPEST = 3.0  # maximum factor between the slope of that curve's parts and a straight line's, up or down
_BANDS = 4  # of the spectrum in a style
_STYLE = 3 + 6 + _BANDS
_FIXED = 1 << 16  # styles are stored as integers on this scale, so that weight averaging leaves them alone
_SIGMAS = (0.5, 1.0, 1.5)  # of the camera's blur, in pixels; no blur is a fourth choice
_SEEDS = 2**63 - 1  # the greatest seed that torch accepts
_FASTER = 10.0  # factor of the camera's learning rate


class Grid(nn.Module):
    """A generator of light and colours by position and brightness, with styles and a camera model.

    The frame is shrunk to ``side`` and goes through four strided convolutions. From these features, features of the
    whole frame, and a style, the network predicts how red, green and blue change in each cell of 16x16 pixels and each
    of eight levels of brightness: coefficients change by at most 0.5, offsets by at most 0.3 of the range. The initial
    network is the identity. It has 144,326 weights with the default options.

    A style describes the colours and the texture of a real image. The styles of many images are stored with the
    weights. Seeds select the style of the frames of a sequence and the noise of the camera. Without seeds, the mean of
    all styles is used, and no noise is added.

    The camera model, a blur and noise that grows with light, is learnt at the size of the training. It is not applied
    to frames that have to be shrunk.

    Args:
        in_channels: Must be 3.
        out_channels: Must be 3.
        width: Channels of the first convolution; the fourth has four times this number.
        blocks: Number of convolutions after the strided ones; each sees one cell further.
        side: Shorter side, in pixels, of the image that the network sees; larger frames are shrunk to it.
        styles: Number of styles that are stored; 0: there are none, and the frame alone decides.
        camera: Whether the generator has a camera model.

    Attributes:
        stochastic: Whether seeds make a difference.
    """

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
        if styles != 0:
            check_counts(**{"generator.options.styles": styles})
        counts = {"width": width, "blocks": blocks, "side": side}
        check_counts(**{f"generator.options.{name}": count for name, count in counts.items()})
        self.stochastic = styles > 1 or camera
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
        """Return translations (N, 3, H, W) in [-1, 1].

        Args:
            images: The images to translate, (N, 3, H, W) in [-1, 1].
            seeds: A seed for each image, uint64 (N,), or None.
        """
        return self.apply_grids(images, self.grids(images, seeds), seeds)

    def grids(self, images: Tensor, seeds: "NDArray[np.uint64] | None" = None) -> Tensor:
        """Return the grids (N, 12, D, h, w) for images (N, 3, H, W) in [-1, 1]."""
        with exact(images):
            return self.grid_of(images.float(), self.sampled(len(images), seeds))

    def apply_grids(self, images: Tensor, grids: Tensor, seeds: "NDArray[np.uint64] | None" = None) -> Tensor:
        """Return images with their grids and the camera applied, in the same shape and range."""
        with exact(images):
            return (2 * self._taken(self.lit(images, grids), seeds) - 1).clamp(-1, 1)

    def lit(self, images: Tensor, grids: Tensor) -> Tensor:
        """Return images with their grids but no camera applied, in [0, 1], not clipped."""
        values = images.float() / 2 + 0.5
        return slice_grid(grids, self.tone(luma(values)), values)

    def seen_size(self, height: int, width: int) -> tuple[int, int]:
        """Return (H, W) of the image that the network sees for frames of a size; they are shrunk by area."""
        down, across = (self._cells(torch.tensor([height, width])) * CELL).tolist()
        return int(down), int(across)

    def tones(self, height: int, width: int) -> Tensor | None:
        """Return the ``tones`` for ``slice_pictures`` with images of a size.

        None if the camera is applied at this size, since ``slice_pictures`` alone is then not enough.
        """
        if self.camera is not None and min(height, width) <= self.side:
            return None
        return self.tone(torch.linspace(0, 1, TONES + 1, device=self.curve.device))

    def paint(
        self, images: Tensor, styles: Tensor, seeds: "NDArray[np.uint64] | None" = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return translations without clipping, and the penalties that keep the training from painting clouds.

        Args:
            images: (N, 3, H, W) in [-1, 1].
            styles: (N, S), see :meth:`style_of`.
            seeds: Seeds of the noise, see :meth:`forward`.

        Returns:
            Images (N, 3, H, W), approximately in [-1, 1], and scalars: ``roughness``, the mean difference between the
            transforms of adjacent cells, ``inversion``, see :func:`sim2real.networks.bilateral.inversion`, and
            ``unevenness``, see :func:`sim2real.networks.statistics.unevenness`, before the camera.
        """
        with exact(images):
            lit, terms = self.painted(images, styles)
            return 2 * self._taken(lit, seeds) - 1, terms

    def painted(self, images: Tensor, styles: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the same as :meth:`paint`, but before the camera: images in [0, 1], not clipped."""
        grid = self.grid_of(images.float(), styles)
        lit = self.lit(images, grid)
        steps = [grid.diff(dim=axis).abs().mean() for axis in (3, 4) if grid.shape[axis] > 1]
        roughness = torch.stack([grid.new_zeros(()), *steps]).sum()
        uneven = unevenness(images.float() / 2 + 0.5, lit)
        return lit, {"roughness": roughness, "inversion": inversion(grid), "unevenness": uneven}

    def _taken(self, lit: Tensor, seeds: "NDArray[np.uint64] | None") -> Tensor:
        """Apply the camera to images in [0, 1]."""
        return lit if self.camera is None else self.camera(lit, seeds, self._sides(lit).min() <= self.side)

    def grid_of(self, images: Tensor, styles: Tensor) -> Tensor:
        """Return the grids (N, 12, D, h, w) of images (N, 3, H, W) in [-1, 1] for styles (N, S)."""
        maps = self.down(shrink(images, CELL * self._cells(self._sides(images))))
        features = self.near(maps) + self.everywhere(maps.mean((2, 3)))[:, :, None, None]
        styles = styles if len(self.styles) else torch.zeros_like(styles)
        gain, shift = self.by_style(styles)[:, :, None, None].chunk(2, 1)
        change = self.transforms(functional.leaky_relu(features * (1 + gain) + shift, 0.2)).tanh()
        # unflatten would turn the other sides into constants of the traced graph
        change = change.reshape(change.shape[0], 12, LEVELS, change.shape[2], change.shape[3])
        limits = change.new_tensor([0.5, 0.5, 0.5, 0.3]).repeat(3)[:, None, None, None]
        grid: Tensor = identity_grid(1, 1, 1, like=change) + limits * change
        return grid

    def _cells(self, sides: Tensor) -> Tensor:
        """Return the numbers of cells, vertically and horizontally, of images of (H, W)."""
        scale = (self.side / sides.min()).clamp(max=1)
        return (sides * scale / CELL).round().clamp(min=1)

    @staticmethod
    def _sides(images: Tensor) -> Tensor:
        """Return (H, W) as a tensor that is part of a traced graph."""
        return shape_as_tensor(images)[2:].float()

    def tone(self, light: Tensor) -> Tensor:
        """Map brightness in [0, 1] to the learnt scale of the grids, also in [0, 1]."""
        steps = (self.curve.tanh() * math.log(_STEEPEST)).exp()
        heights = functional.pad(steps.cumsum(0), (1, 0)) / steps.sum()
        place = light.clamp(0, 1) * _KNOTS
        knot = place.detach().floor().clamp(max=_KNOTS - 1)
        below = knot.long()
        return heights[below].lerp(heights[below + 1], place - knot)

    @staticmethod
    def style_of(images: Tensor) -> Tensor:
        """Return the styles (N, S) of images (N, 3, H, W) in [-1, 1]: means, roots of covariances, spectra."""
        values = images.float() / 2 + 0.5
        mean, root = colour_moments(values)
        rows, columns = torch.triu_indices(3, 3, device=images.device)
        return torch.cat([2 * mean - 1, 4 * root[:, rows, columns], radial_spectrum(values, _BANDS) / 4], 1)

    @torch.no_grad()
    def keep(self, styles: Tensor) -> None:
        """Store styles (N, S) with the weights while there is room."""
        first = self._count
        new = styles[: len(self.styles) - first]
        self.styles[first : first + len(new)] = (new * _FIXED).round().to(torch.int32)
        self.kept += len(new)

    @property
    def _count(self) -> int:
        """Number of stored styles; the maximum for meta tensors, which have no contents."""
        return len(self.styles) if self.kept.is_meta else int(self.kept)

    def sampled(self, count: int, seeds: "NDArray[np.uint64] | None" = None) -> Tensor:
        """Return stored styles (N, S), selected by seeds, or their mean without seeds."""
        if not len(self.styles):
            return self.curve.new_zeros(count, _STYLE)
        kept = self.styles[: max(1, self._count)].float() / _FIXED
        if seeds is None:
            return kept.mean(0, keepdim=True).expand(count, -1)
        return kept[torch.from_numpy((seeds >> np.uint64(32)) % np.uint64(len(kept))).long().to(kept.device)]


class _Camera(nn.Module):
    """A blur, mixed from four kernels, and noise with a variance that grows with light."""

    kernels: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.mixture = nn.Parameter(torch.tensor([2.0, 0.0, 0.0, 0.0]) / _FASTER)
        self.noise = nn.Parameter(torch.tensor([-9.0, -9.0]) / _FASTER)  # log variances: in black, and added by light
        self.register_buffer("kernels", _gaussians(_SIGMAS), persistent=False)

    def forward(self, values: Tensor, seeds: "NDArray[np.uint64] | None", near: Tensor) -> Tensor:
        """Return (N, 3, H, W) in [0, 1], with noise if there are seeds, and unchanged if ``near`` is false."""
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
    """Return standard normal noise, sampled on the CPU so that it is equal on all devices."""
    sources = (torch.Generator().manual_seed(int(seed) & _SEEDS) for seed in seeds)
    return torch.stack([torch.randn(like.shape[1:], generator=source) for source in sources]).to(like)


def _gaussians(sigmas: Sequence[float]) -> Tensor:
    """Return kernels (K, 9, 9): one without blur, then one for each sigma."""
    steps = torch.arange(-4.0, 5.0)
    lines = [(steps == 0).float(), *((-(steps**2) / (2 * sigma**2)).exp() for sigma in sigmas)]
    return torch.stack([torch.outer(line, line) / line.sum() ** 2 for line in lines])
