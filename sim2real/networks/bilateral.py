"""Bilateral grids of affine colour transforms: what may happen to light and colours, and cannot make an edge.

A grid has a colour transform for each cell of a coarse picture and each level of brightness (Chen et al. 2016,
"Bilateral Guided Upsampling"; Gharbi et al. 2017, "Deep Bilateral Learning"). Each pixel takes the one that is
interpolated at its place and its brightness: pixels that are alike, side by side, stay alike.

Images here are (N, 3, H, W) with values in [0, 1], grids (N, 12, D, h, w): of each cell three rows of four numbers,
what red, green, blue and 1 give to red, to green and to blue. Level d of D is of brightness d / (D - 1); cell i of h is
in the middle of its h-th part of the height.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

LEVELS = 8
"""Of brightness."""
CELL = 16
"""Side of a cell in pixels of the small picture that a grid is made from."""
FITTED = 256
"""Pixels of the longer side of the pictures that grids are fitted to, if those are larger."""

TONES = 255_000
"""Brightness of a pixel of 8 bits is a whole number of so many parts."""

_LUMA = (0.299, 0.587, 0.114)
_SHRUNK = 16  # rows or columns that are shrunk together: each needs a few of a picture's
_STRIP = 32  # rows that are sliced together: what they need stays in a processor's cache
_RIDGE = 0.02  # of the mean number of pixels in a cell
_DOUBT = 80_000.0  # what is added to that of what transforms leave unexplained: the fourth power of the share of the
# second picture's variance that one transform of the whole leaves, times the square of what a cell's own leaves
_BLURS = ((8, 3), (3, 2), (1, 1), (0, 0))  # passes over space and over levels, the coarsest first


def exact(images: Tensor) -> AbstractContextManager[object]:
    """The context in which nothing is computed in less than 32 bits."""
    return nullcontext() if images.is_meta else torch.autocast(images.device.type, enabled=False)


def luma(images: Tensor) -> Tensor:
    """(N, 3, H, W) -> (N, H, W), their brightness."""
    red, green, blue = (weight * images[:, channel] for channel, weight in enumerate(_LUMA))
    return red + green + blue


def shrink(images: Tensor, size: Tensor) -> Tensor:
    """Images (N, C, H, W) of any type by area to (H, W), floats if that is smaller; a graph of it takes any sizes."""
    for axis, after in zip((2, 3), size, strict=True):
        before = images.shape[axis]
        rows = torch.arange(after, device=images.device)
        step = before / after.float()
        if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
            images = _by_area(images, axis, step, rows, slice(None))
        elif before != len(rows):
            ends = [(int(part[0] * step), math.ceil((part[-1] + 1) * step)) for part in rows.split(_SHRUNK)]
            parts = zip(rows.split(_SHRUNK), ends, strict=True)
            images = torch.cat([_by_area(images, axis, step, part, slice(*seen)) for part, seen in parts], axis)
    return images


def _by_area(images: Tensor, axis: int, step: Tensor, rows: Tensor, seen: slice) -> Tensor:
    """Some rows or columns of images shrunk along an axis.

    Args:
        images: (N, C, H, W), of any type.
        axis: 2 or 3.
        step: How many of the old ones are in a new one.
        rows: Numbers of the new ones.
        seen: The old ones that are in these.
    """
    pixels = torch.arange(images.shape[axis], device=images.device)[seen]
    first = rows[:, None] * step
    shares = (torch.minimum(first + step, pixels + 1) - torch.maximum(first, pixels)).relu() / step
    part = (images[:, :, seen] if axis == 2 else images[..., seen]).to(
        torch.float32, memory_format=torch.contiguous_format
    )
    return shares @ part if axis == 2 else part @ shares.T


def identity_grid(count: int, height: int, width: int, *, like: Tensor) -> Tensor:
    """A grid that changes nothing, (N, 12, D, h, w)."""
    return _as_grid(torch.eye(4, 3, dtype=like.dtype, device=like.device).expand(count, LEVELS, height, width, 4, 3))


def inversion(grid: Tensor) -> Tensor:
    """How far grids (N, 12, D, h, w) make what is brighter darker than what is not, of a range of 1; a scalar.

    The mean fall, from level to level of each cell, of the brightness that greys of these levels get: 0 where the order
    of greys stays as it is.
    """
    greys = torch.linspace(0, 1, grid.shape[2], dtype=grid.dtype, device=grid.device)[:, None, None]
    by_output = grid.unflatten(1, (3, 4))
    tones = luma(by_output[:, :, :3].sum(2) * greys + by_output[:, :, 3])
    return (-tones.diff(dim=1)).relu().mean()


def cells_of(height: int, width: int) -> tuple[int, int]:
    """How many cells a picture of this size has down and across."""
    return max(1, round(height / CELL)), max(1, round(width / CELL))


def slice_grid(grid: Tensor, guide: Tensor, images: Tensor) -> Tensor:
    """Apply a grid to images.

    Args:
        grid: (N, 12, D, h, w).
        guide: Brightness of each pixel, (N, H, W) in [0, 1].
        images: (N, 3, H, W), of any size.

    Returns:
        (N, 3, H, W), not cut off at 0 and 1.
    """
    look = _Texture(grid, guide.shape[1], guide.shape[2])
    if torch.is_grad_enabled() or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return _applied(look.rows, look.across, guide, images)
    result = torch.empty_like(images)
    for rows in _strips(guide.shape[1]):
        result[:, :, rows] = look.applied(rows, guide[:, rows], images[:, :, rows])
    return result


def slice_pictures(grid: Tensor, pictures: Tensor, tones: Tensor | None = None) -> Tensor:
    """Apply a grid to pictures of any size, strip by strip, so that little memory is needed besides theirs.

    Args:
        grid: (N, 12, D, h, w).
        pictures: uint8 (N, H, W, 3).
        tones: What stands for brightness in the grid, (TONES + 1,) in [0, 1]; None: brightness itself.

    Returns:
        Of the shape of the pictures.
    """
    of_bytes = grid.new_tensor([1, 1, 1, 255]).repeat(3)[:, None, None, None]
    look = _Texture(of_bytes * grid, pictures.shape[1], pictures.shape[2])
    red, green, blue = (round(1000 * weight) for weight in _LUMA)
    result = torch.empty_like(pictures)
    for rows in _strips(pictures.shape[1]):
        values = pictures[:, rows].movedim(3, 1).to(grid.dtype, memory_format=torch.contiguous_format)
        light = (red * values[:, 0]).add_(values[:, 1], alpha=green).add_(values[:, 2], alpha=blue)
        guide = light / TONES if tones is None else tones.index_select(0, light.int().flatten()).view_as(light)
        whole = look.applied(rows, guide, values).round_().clamp_(0, 255).to(torch.uint8)
        torch.stack(whole.unbind(1), -1, out=result[:, rows])
    return result


def guided_images(images: Tensor, made: Tensor) -> Tensor:
    """Images with the light and the colours of what a generator has made of them; gradients reach both.

    Args:
        images: (N, 3, H, W) in [-1, 1].
        made: Likewise.

    Returns:
        Likewise.
    """
    with exact(images):
        values, target = images.float() / 2 + 0.5, made.float() / 2 + 0.5
        scale = min(1.0, FITTED / max(values.shape[2:]))
        size = [max(1, round(side * scale)) for side in values.shape[2:]]
        source, wanted = (
            functional.interpolate(each, size, mode="bilinear", antialias=True) if scale < 1 else each
            for each in (values, target)
        )
        grid = fit_grid(source, wanted)
        return 2 * slice_grid(grid, luma(values), values).clamp(0, 1) - 1


class _Texture:
    """A grid laid out so that a pixel is looked up in two dimensions, not in three.

    The rows of a picture lie one below the other in it, each as high as there are levels: processors interpolate in two
    dimensions many times faster, and runtimes that know nothing else can, too.

    Args:
        grid: (N, 12, D, h, w).
        height: Of the pictures; likewise ``width``.
        width: Columns.
    """

    def __init__(self, grid: Tensor, height: int, width: int) -> None:
        self.rows = torch.einsum("rh,ncdhw->ncrdw", _weights(height, grid.shape[3], grid), grid)
        self.across = (2 * _places(width, grid.shape[4], grid) + 1) / grid.shape[4] - 1

    def applied(self, rows: slice, guide: Tensor, images: Tensor) -> Tensor:
        """The grid applied to some rows of images, (N, 3, R, W), whose brightness is (N, R, W)."""
        texture = self.rows[:, :, rows]
        count = torch.get_num_threads() if texture.shape[2] == _STRIP * torch.get_num_threads() else 1
        made = _applied(
            _stacked(texture, count), self.across, _stacked(guide[:, None], count)[:, 0], _stacked(images, count)
        )
        return made.unflatten(0, (-1, count)).transpose(1, 2).flatten(2, 3) if count > 1 else made


def _strips(height: int) -> Iterator[slice]:
    """The rows that are sliced together."""
    at_once = _STRIP * torch.get_num_threads()
    return (slice(first, min(first + at_once, height)) for first in range(0, height, at_once))


def _stacked(rows: Tensor, count: int) -> Tensor:
    """(N, C, R, ...) -> (N count, C, R / count, ...): threads share out pictures, not rows."""
    return rows.unflatten(2, (count, -1)).transpose(1, 2).flatten(0, 1) if count > 1 else rows


def _applied(texture: Tensor, across: Tensor, guide: Tensor, images: Tensor) -> Tensor:
    """Rows of images by the grids of these rows, (N, 12, R, D, w); places across lie in [-1, 1]."""
    rows, levels = texture.shape[2:4]
    level = guide.clamp(0, 1) * (levels - 1)
    first = torch.arange(rows, dtype=level.dtype, device=level.device)[:, None] * levels
    down = (2 * (level + first) + 1) / (rows * levels) - 1
    places = torch.stack([across.expand_as(down), down], -1)
    found = functional.grid_sample(
        texture.reshape(texture.shape[0], 12, -1, texture.shape[4]),
        places,
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    by_output = found.reshape(found.shape[0], 3, 4, found.shape[2], found.shape[3])
    result = by_output[:, :, 3]
    for channel in range(3):
        result = torch.addcmul(result, by_output[:, :, channel], images[:, channel, None])
    return result


def fit_grid(source: Tensor, target: Tensor, cells: tuple[int, int] | None = None) -> Tensor:
    """The grid that turns one small picture into the other, as well as a smooth one can.

    A least-squares fit in each cell of place and brightness to the pixels around it, drawn to what a coarser
    neighbourhood says, that to the transform of the whole picture, and that to the identity: what a cell knows little
    of, it takes from there. It is drawn there the more, the worse its own transform explains its pixels and that of the
    whole picture explains all: what the second picture shows elsewhere, or invents, is no change of light.
    Differentiable in both pictures.

    Args:
        source: (N, 3, H, W) in [0, 1].
        target: What it is to become, likewise.
        cells: How many down and across; None: one of 16x16 pixels.
    """
    cells = cells or cells_of(source.shape[2], source.shape[3])
    moments = _moments(source, target, cells)
    eye = torch.eye(4, dtype=source.dtype, device=source.device)
    whole = moments.over(lambda sums: sums.sum((1, 2, 3), keepdim=True))
    found = whole.solved(eye[:, :3], _RIDGE)
    doubt = _DOUBT * (whole.unexplained(found) / whole.variance()).pow(4)
    found = found.expand_as(moments.wanted)
    for over_space, over_levels in _BLURS:
        near = moments.over(partial(_blurred, passes=(over_levels, over_space, over_space)))
        found = near.solved(found, _RIDGE + doubt * near.unexplained(near.solved(found, _RIDGE)).square())
    return _as_grid(found)


class _Moments(NamedTuple):
    """Least squares in each cell, (N, D, h, w, ...).

    Attributes:
        products: Sums of f f^T over pixels, (..., 4, 4), of f = (red, green, blue, 1).
        wanted: Sums of f y^T, (..., 4, 3), of what pixels are to become.
        squares: Sums of y^2, (..., 1, 1).
        mean: Pixels in a cell, in the mean.
    """

    products: Tensor
    wanted: Tensor
    squares: Tensor
    mean: float

    def over(self, sums: Callable[[Tensor], Tensor]) -> "_Moments":
        """Those of several cells together."""
        return _Moments(sums(self.products), sums(self.wanted), sums(self.squares), self.mean)

    def solved(self, prior: Tensor, ridge: Tensor | float) -> Tensor:
        """The transforms (..., 4, 3), drawn to others as if so many mean cells of pixels said these."""
        weight = self.mean * ridge
        eye = torch.eye(4, dtype=prior.dtype, device=prior.device)
        solution: Tensor = torch.linalg.solve(self.products + weight * eye, self.wanted + weight * prior)
        return solution

    def unexplained(self, transforms: Tensor) -> Tensor:
        """The mean square of what transforms leave of pixels, (..., 1, 1)."""
        fitted = transforms * (self.products @ transforms - 2 * self.wanted)
        left = (self.squares[..., 0, 0] + fitted.sum((-1, -2))).clamp(min=0)
        return (left / (3 * (self.products[..., 3, 3] + 0.05 * self.mean)))[..., None, None]

    def variance(self) -> Tensor:
        """Of what pixels are to become, (..., 1, 1); of a picture of one colour no less than a grey level makes."""
        count = self.products[..., 3, 3]
        of_mean = self.wanted[..., 3, :].square().sum(-1) / count
        return ((self.squares[..., 0, 0] - of_mean) / (3 * count)).clamp(min=255**-2)[..., None, None]


def _moments(source: Tensor, target: Tensor, cells: tuple[int, int]) -> _Moments:
    """Of the pixels near each cell."""
    known = torch.cat([source, torch.ones_like(source[:, :1])], 1)
    squares = target.square().sum(1, keepdim=True)[:, None].expand(-1, 4, -1, -1, -1)
    pairs = torch.cat([known[:, :, None] * known[:, None], known[:, :, None] * target[:, None], squares], 2)
    level = luma(source).clamp(0, 1) * (LEVELS - 1)
    numbers = torch.arange(LEVELS, dtype=level.dtype, device=level.device)[:, None, None]
    shares = (1 - (level[:, None] - numbers).abs()).relu()
    down, across = (_weights(*each, source) for each in zip(source.shape[2:], cells, strict=True))
    of_rows = torch.einsum("ndyx,nfgyx,xw->ndfgyw", shares, pairs, across)
    sums = torch.einsum("ndfgyw,yh->ndhwfg", of_rows, down)
    mean = level[0].numel() / (LEVELS * math.prod(cells))
    return _Moments(sums[..., :4], sums[..., 4:7], sums[..., :1, 7:], mean)


def _blurred(moments: Tensor, passes: tuple[int, int, int]) -> Tensor:
    """Sums over neighbouring cells, 1 2 1 each way and pass."""
    for axis, count in enumerate(passes, 1):
        kernel = torch.linalg.matrix_power(_neighbours(moments.shape[axis], moments), count)
        moments = torch.tensordot(moments, kernel, ([axis], [0])).movedim(-1, axis)
    return moments


def _neighbours(count: int, like: Tensor) -> Tensor:
    ones = torch.ones(count, count, dtype=like.dtype, device=like.device)
    return (2 * ones.triu().tril() + ones.triu(1).tril(1) + ones.triu(-1).tril(-1)) / 4


def _places(pixels: int, cells: int, like: Tensor) -> Tensor:
    """Of each pixel of a side, in cells from the middle of the first."""
    steps = torch.arange(pixels, dtype=like.dtype, device=like.device)
    last = torch.as_tensor(cells - 1, dtype=like.dtype, device=like.device)
    return ((steps + 0.5) * (cells / pixels) - 0.5).relu().minimum(last)


def _weights(pixels: int, cells: int, like: Tensor) -> Tensor:
    """Shares of cells in each pixel of a side, (pixels, cells): those of the two whose middles are nearest."""
    numbers = torch.arange(cells, dtype=like.dtype, device=like.device)
    return (1 - (_places(pixels, cells, like)[:, None] - numbers).abs()).relu()


def _as_grid(transforms: Tensor) -> Tensor:
    """(N, D, h, w, 4, 3) -> (N, 12, D, h, w)."""
    return transforms.transpose(-1, -2).flatten(-2).movedim(-1, 1)
