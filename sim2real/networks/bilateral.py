"""Bilateral grids of affine colour transforms, which change light and colours but cannot create edges.

A grid has a colour transform for each cell of a coarse image and each level of brightness (Chen et al. 2016, "Bilateral
Guided Upsampling"; Gharbi et al. 2017, "Deep Bilateral Learning"). The transform of a pixel is interpolated at its
position and its brightness, so that similar neighbouring pixels stay similar.

Images here are (N, 3, H, W) with values in [0, 1] and grids are (N, 12, D, h, w). Each cell has three rows of four
numbers, the weights of red, green, blue and 1 in the new red, green and blue. Level d of D has brightness d / (D - 1).
The h cells divide the height into equal parts; the transform of cell i applies at the middle of its part.
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
"""Number of brightness levels of a grid."""
CELL = 16
"""Side of a cell in pixels of the small image from which a grid is made."""
FITTED = 256
"""Maximum longer side, in pixels, of images to which grids are fitted; larger ones are scaled down."""

TONES = 255_000
"""Brightness of white in 8-bit images; the brightness of every 8-bit pixel is a whole number on this scale."""

_LUMA = (0.299, 0.587, 0.114)
_SHRUNK = 16  # rows or columns that are shrunk together; each depends on few of the image's
_STRIP = 32  # rows that are sliced together; their data fits into a processor's cache
_RIDGE = 0.02  # share of the mean number of pixels in a cell
_DOUBT = 80_000.0  # factor of the term added to the ridge: the fourth power of the share of the target's variance that
# one transform of the whole image leaves unexplained, times the square of what a cell's own transform leaves
_BLURS = ((8, 3), (3, 2), (1, 1), (0, 0))  # passes over space and over levels, coarsest first


def exact(images: Tensor) -> AbstractContextManager[object]:
    """Return a context that disables autocast, so that nothing is computed in less than 32 bits."""
    return nullcontext() if images.is_meta else torch.autocast(images.device.type, enabled=False)


def luma(images: Tensor) -> Tensor:
    """Return the brightness (N, H, W) of images (N, 3, H, W)."""
    red, green, blue = (weight * images[:, channel] for channel, weight in enumerate(_LUMA))
    return red + green + blue


def shrink(images: Tensor, size: Tensor) -> Tensor:
    """Scale images (N, C, H, W) of any type down to (H, W) by area; the result is float32 if the size changes.

    Traced graphs accept images of any size.
    """
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
    """Return some rows or columns of images that are shrunk along an axis.

    Args:
        images: (N, C, H, W), of any type.
        axis: 2 or 3.
        step: Number of old rows per new row.
        rows: Indices of the new rows.
        seen: The old rows that overlap these.
    """
    pixels = torch.arange(images.shape[axis], device=images.device)[seen]
    first = rows[:, None] * step
    shares = (torch.minimum(first + step, pixels + 1) - torch.maximum(first, pixels)).relu() / step
    part = (images[:, :, seen] if axis == 2 else images[..., seen]).to(
        torch.float32, memory_format=torch.contiguous_format
    )
    return shares @ part if axis == 2 else part @ shares.T


def identity_grid(count: int, height: int, width: int, *, like: Tensor) -> Tensor:
    """Return a grid that changes nothing, (N, 12, D, h, w)."""
    return _as_grid(torch.eye(4, 3, dtype=like.dtype, device=like.device).expand(count, LEVELS, height, width, 4, 3))


def inversion(grid: Tensor) -> Tensor:
    """Return how far grids (N, 12, D, h, w) invert the order of greys, as a scalar on a scale of 1.

    The value is the mean decrease of the transformed brightness from one grey level to the next in each cell; it is 0
    if the order of greys does not change.
    """
    greys = torch.linspace(0, 1, grid.shape[2], dtype=grid.dtype, device=grid.device)[:, None, None]
    by_output = grid.unflatten(1, (3, 4))
    tones = luma(by_output[:, :, :3].sum(2) * greys + by_output[:, :, 3])
    return (-tones.diff(dim=1)).relu().mean()


def cells_of(height: int, width: int) -> tuple[int, int]:
    """Return the numbers of cells, vertically and horizontally, for an image of this size."""
    return max(1, round(height / CELL)), max(1, round(width / CELL))


def slice_grid(grid: Tensor, guide: Tensor, images: Tensor) -> Tensor:
    """Apply a grid to images.

    Args:
        grid: (N, 12, D, h, w).
        guide: Brightness of each pixel, (N, H, W) in [0, 1].
        images: (N, 3, H, W), of any size.

    Returns:
        (N, 3, H, W), not clipped to [0, 1].
    """
    look = _Texture(grid, guide.shape[1], guide.shape[2])
    if torch.is_grad_enabled() or torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return _applied(look.rows, look.across, guide, images)
    result = torch.empty_like(images)
    for rows in _strips(guide.shape[1]):
        result[:, :, rows] = look.applied(rows, guide[:, rows], images[:, :, rows])
    return result


def slice_pictures(grid: Tensor, pictures: Tensor, tones: Tensor | None = None) -> Tensor:
    """Apply a grid to 8-bit images of any size, strip by strip, which needs little additional memory.

    Args:
        grid: (N, 12, D, h, w).
        pictures: uint8 (N, H, W, 3).
        tones: Value that replaces each brightness in the grid, (TONES + 1,) in [0, 1]; None: the brightness itself.

    Returns:
        uint8 (N, H, W, 3).
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
    """Return images with the light and the colours of their translations; differentiable in both arguments.

    Args:
        images: (N, 3, H, W) in [-1, 1].
        made: Translations of the images, (N, 3, H, W) in [-1, 1].

    Returns:
        (N, 3, H, W) in [-1, 1].
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
    """A grid laid out so that pixels are looked up in two dimensions instead of three.

    Each row of the image becomes a band that is as high as the number of levels. Interpolation in two dimensions is
    many times faster on processors, and the only one that some runtimes support.

    Args:
        grid: (N, 12, D, h, w).
        height: Height of the images.
        width: Width of the images.
    """

    def __init__(self, grid: Tensor, height: int, width: int) -> None:
        self.rows = torch.einsum("rh,ncdhw->ncrdw", _weights(height, grid.shape[3], grid), grid)
        self.across = (2 * _places(width, grid.shape[4], grid) + 1) / grid.shape[4] - 1

    def applied(self, rows: slice, guide: Tensor, images: Tensor) -> Tensor:
        """Apply the grid to some rows of images, (N, 3, R, W), whose brightness is (N, R, W)."""
        texture = self.rows[:, :, rows]
        count = torch.get_num_threads() if texture.shape[2] == _STRIP * torch.get_num_threads() else 1
        made = _applied(
            _stacked(texture, count), self.across, _stacked(guide[:, None], count)[:, 0], _stacked(images, count)
        )
        return made.unflatten(0, (-1, count)).transpose(1, 2).flatten(2, 3) if count > 1 else made


def _strips(height: int) -> Iterator[slice]:
    """Return the strips of rows that are sliced together."""
    at_once = _STRIP * torch.get_num_threads()
    return (slice(first, min(first + at_once, height)) for first in range(0, height, at_once))


def _stacked(rows: Tensor, count: int) -> Tensor:
    """Reshape (N, C, R, ...) to (N count, C, R / count, ...), since threads divide work by images, not by rows."""
    return rows.unflatten(2, (count, -1)).transpose(1, 2).flatten(0, 1) if count > 1 else rows


def _applied(texture: Tensor, across: Tensor, guide: Tensor, images: Tensor) -> Tensor:
    """Apply the grids of rows, (N, 12, R, D, w), to these rows of images; ``across`` has positions in [-1, 1]."""
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
    """Fit the smooth grid that best turns one small image into another.

    Each cell of position and brightness has a least-squares fit to the pixels around it. The fit is regularised towards
    that of a coarser neighbourhood, which is regularised towards the transform of the whole image, and that towards the
    identity, so that cells with few pixels take over the coarser fit. The regularisation is stronger the worse a cell's
    own transform explains its pixels and the worse the transform of the whole image explains all pixels, since content
    that is moved or invented in the target is not a change of light. The result is differentiable in both images.

    Args:
        source: (N, 3, H, W) in [0, 1].
        target: (N, 3, H, W) in [0, 1], the image that the source should become.
        cells: Numbers of cells, vertically and horizontally; None: cells of 16x16 pixels.
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
    """Sums for the least-squares fit in each cell, (N, D, h, w, ...).

    Attributes:
        products: Sums of f f^T over pixels, (..., 4, 4), with f = (red, green, blue, 1).
        wanted: Sums of f y^T, (..., 4, 3), with the target colours y.
        squares: Sums of y^2, (..., 1, 1).
        mean: Mean number of pixels in a cell.
    """

    products: Tensor
    wanted: Tensor
    squares: Tensor
    mean: float

    def over(self, sums: Callable[[Tensor], Tensor]) -> "_Moments":
        """Return the sums over several cells."""
        return _Moments(sums(self.products), sums(self.wanted), sums(self.squares), self.mean)

    def solved(self, prior: Tensor, ridge: Tensor | float) -> Tensor:
        """Return the transforms (..., 4, 3), regularised towards ``prior`` with the weight of ``ridge`` mean cells."""
        weight = self.mean * ridge
        eye = torch.eye(4, dtype=prior.dtype, device=prior.device)
        solution: Tensor = torch.linalg.solve(self.products + weight * eye, self.wanted + weight * prior)
        return solution

    def unexplained(self, transforms: Tensor) -> Tensor:
        """Return the mean squared residual of transforms, (..., 1, 1)."""
        fitted = transforms * (self.products @ transforms - 2 * self.wanted)
        left = (self.squares[..., 0, 0] + fitted.sum((-1, -2))).clamp(min=0)
        return (left / (3 * (self.products[..., 3, 3] + 0.05 * self.mean)))[..., None, None]

    def variance(self) -> Tensor:
        """Return the variance of the target, (..., 1, 1), at least that of one grey level."""
        count = self.products[..., 3, 3]
        of_mean = self.wanted[..., 3, :].square().sum(-1) / count
        return ((self.squares[..., 0, 0] - of_mean) / (3 * count)).clamp(min=255**-2)[..., None, None]


def _moments(source: Tensor, target: Tensor, cells: tuple[int, int]) -> _Moments:
    """Return the sums over the pixels near each cell."""
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
    """Blur sums over neighbouring cells with the kernel 1 2 1, for each axis and pass."""
    for axis, count in enumerate(passes, 1):
        kernel = torch.linalg.matrix_power(_neighbours(moments.shape[axis], moments), count)
        moments = torch.tensordot(moments, kernel, ([axis], [0])).movedim(-1, axis)
    return moments


def _neighbours(count: int, like: Tensor) -> Tensor:
    ones = torch.ones(count, count, dtype=like.dtype, device=like.device)
    return (2 * ones.triu().tril() + ones.triu(1).tril(1) + ones.triu(-1).tril(-1)) / 4


def _places(pixels: int, cells: int, like: Tensor) -> Tensor:
    """Return the position of each pixel of a side, in cells from the middle of the first cell."""
    steps = torch.arange(pixels, dtype=like.dtype, device=like.device)
    last = torch.as_tensor(cells - 1, dtype=like.dtype, device=like.device)
    return ((steps + 0.5) * (cells / pixels) - 0.5).relu().minimum(last)


def _weights(pixels: int, cells: int, like: Tensor) -> Tensor:
    """Return the weights of cells for each pixel of a side, (pixels, cells); the two nearest cells have weights."""
    numbers = torch.arange(cells, dtype=like.dtype, device=like.device)
    return (1 - (_places(pixels, cells, like)[:, None] - numbers).abs()).relu()


def _as_grid(transforms: Tensor) -> Tensor:
    """Reshape (N, D, h, w, 4, 3) to (N, 12, D, h, w)."""
    return transforms.transpose(-1, -2).flatten(-2).movedim(-1, 1)
