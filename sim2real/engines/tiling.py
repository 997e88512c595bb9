"""Exact translation of images that are too large to be translated whole, layer by layer and tile by tile.

A network that receives a :class:`FeatureMap` computes as usual, but each of its layers processes the tiles of its map
one after another, and the maps between layers are stored in host memory. A tile is read with the surrounding pixels
that the layer's kernel covers, so that each pixel gets its whole receptive field. Norms compute the statistics of the
whole image before any tile is normalised. Only norms, activations and padding of the surrounding pixels are computed
twice, and there are no seams.

A map is a tensor-like object in PyTorch's sense: torch's functions pass it to its ``__torch_function__``. Functions
that are not known there cannot be computed over tiles; the error names them.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from sim2real.capabilities import capabilities
from sim2real.engines.base import EngineSettings
from sim2real.engines.numerics import conv_transpose2d, normalise, pooled, strips
from sim2real.engines.torch import TorchEngine
from sim2real.errors import Sim2RealError

Step = Callable[[Tensor], Tensor]
Pair = int | Sequence[int]


class CannotTileError(Sim2RealError):
    """A network contains an operation that cannot be computed tile by tile; the message names it."""


class Region(NamedTuple):
    """Rows ``top`` to ``bottom`` and columns ``left`` to ``right`` of a map, the ends excluded."""

    top: int
    bottom: int
    left: int
    right: int

    def moved(self, down: int, right: int) -> "Region":
        """Return the region moved by a number of rows and columns."""
        return Region(self.top + down, self.bottom + down, self.left + right, self.right + right)


class Grid(NamedTuple):
    """The numbers of rows and columns of tiles into which every map is cut, and the tiles' device and memory layout."""

    rows: int
    columns: int
    device: torch.device
    layout: torch.memory_format

    def regions(self, height: int, width: int) -> Iterator[Region]:
        """Yield the tiles of a map of this size, in order."""
        for top, bottom in pairwise(_cuts(height, self.rows)):
            for left, right in pairwise(_cuts(width, self.columns)):
                yield Region(top, bottom, left, right)


def _cuts(length: int, count: int) -> list[int]:
    return sorted({length * index // count for index in range(count + 1)})


def _operator(func: Callable[..., Any]) -> "Callable[[FeatureMap, object], FeatureMap]":
    """Return the method of a map for an arithmetic operator, a function of torch."""
    return lambda self, other: _call(func, self, other)


class FeatureMap:
    """A stand-in for a tensor (1, C, H, W) that is read and computed one tile at a time.

    Args:
        data: The stored values (1, C, h, w), on the host.
        grid: The tiles into which the map is cut.
        steps: Functions applied to the values when they are read, elementwise or per channel.
        edges: Rows and columns that padding adds above, below, left and right of the stored ones.
        padding: Kind of padding: ``"constant"`` (0), ``"reflect"`` or ``"replicate"``.
    """

    def __init__(
        self,
        data: Tensor,
        grid: Grid,
        *,
        steps: tuple[Step, ...] = (),
        edges: tuple[int, int, int, int] = (0, 0, 0, 0),
        padding: str = "constant",
    ) -> None:
        self._data = data
        self._grid = grid
        self._steps = steps
        self._edges = edges
        self._padding = padding

    # the interface of tensors that networks use

    @property
    def shape(self) -> torch.Size:
        """(1, C, H, W)."""
        above, below, left, right = self._edges
        images, channels, height, width = self._data.shape
        return torch.Size((images, channels, height + above + below, width + left + right))

    @property
    def device(self) -> torch.device:
        """Device on which tiles are computed."""
        return self._grid.device

    def size(self, dim: int) -> int:
        """Return the size of a dimension."""
        return self.shape[dim]

    def dim(self) -> int:
        """Return the number of dimensions, 4."""
        return 4

    def __getitem__(self, index: object) -> "FeatureMap":
        parts = list(index) if isinstance(index, tuple) else [index]
        if ... in parts:
            place = parts.index(...)
            parts[place : place + 1] = [slice(None)] * (5 - len(parts))
        match parts + [slice(None)] * (4 - len(parts)):
            case [first, second, slice(step=None) as rows, slice(step=None) as columns] if (
                first == second == slice(None)
            ):
                top, bottom, _ = rows.indices(self.shape[2])
                left, right, _ = columns.indices(self.shape[3])
                return self.produce((bottom - top, right - left), lambda region: self.read(region.moved(top, left)))
        raise _unknown(f"the index {index}")

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  any method of tensors
        method = getattr(Tensor, name, None)
        if name.startswith("__") or method is None:
            raise AttributeError(name)
        if not callable(method):
            raise _unknown(f"Tensor.{name}")
        return partial(_call, method, self)

    __add__ = __radd__ = _operator(torch.add)
    __sub__, __rsub__ = _operator(torch.sub), _operator(torch.rsub)
    __mul__ = __rmul__ = _operator(torch.mul)
    __truediv__ = _operator(torch.div)

    def __neg__(self) -> "FeatureMap":
        return _call(torch.neg, self)

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], _types: object, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> "FeatureMap":
        """Compute a function of torch that was called with a map."""
        return _call(func, *args, **(kwargs or {}))

    # tiles

    def regions(self) -> Iterator[Region]:
        """Yield the tiles of the map."""
        return self._grid.regions(*self.shape[2:])

    def read(self, region: Region) -> Tensor:
        """Return a part of the map, on the device; values outside the map are 0."""
        rows, row_zeros = self._sources(region.top, region.bottom, self._data.shape[2], self._edges[:2])
        columns, column_zeros = self._sources(region.left, region.right, self._data.shape[3], self._edges[2:])
        if not (len(rows) and len(columns)):
            shape = (*self._data.shape[:2], region.bottom - region.top, region.right - region.left)
            return torch.zeros(shape, dtype=self._data.dtype, device=self._grid.device)
        top, left = int(rows.min()), int(columns.min())
        tile = self._data[..., top : int(rows.max()) + 1, left : int(columns.max()) + 1].to(self._grid.device)
        tile = tile.contiguous(memory_format=self._grid.layout)  # torch's kernels round differently in other layouts
        for step in self._steps:
            tile = step(tile)
        for axis, places in ((2, rows - top), (3, columns - left)):
            if not np.array_equal(places, np.arange(tile.shape[axis])):
                tile = tile.index_select(axis, torch.from_numpy(places).to(self._grid.device))
        return functional.pad(tile, (*column_zeros, *row_zeros)) if any(row_zeros + column_zeros) else tile

    def _sources(
        self, begin: int, end: int, length: int, edges: tuple[int, ...]
    ) -> tuple[NDArray[np.int64], tuple[int, int]]:
        """Return the stored rows (or columns) of a part, and the numbers of zero rows before and after them."""
        places = np.arange(begin, end) - edges[0]
        low, high = (0, length) if self._padding == "constant" else (-edges[0], length + edges[1])
        inside = places[(places >= low) & (places < high)]
        zeros = int((places < low).sum()), int((places >= high).sum())
        if self._padding == "reflect":
            inside = length - 1 - abs(length - 1 - abs(inside))
        return inside.clip(0, length - 1), zeros

    def produce(self, size: Sequence[int], compute: Callable[[Region], Tensor]) -> "FeatureMap":
        """Return a new map, computing each of its tiles."""
        data = torch.empty(0)
        height, width = size
        for region in self._grid.regions(height, width):
            tile = compute(region)
            if not data.numel():
                data = torch.empty((1, tile.shape[1], height, width), dtype=tile.dtype, memory_format=self._grid.layout)
            data[..., region.top : region.bottom, region.left : region.right] = tile
        return FeatureMap(data, self._grid)

    def then(self, step: Step) -> "FeatureMap":
        """Return the map with one more function applied to its values."""
        if any(self._edges):  # the function applies to padding too
            return self.produce(self.shape[2:], lambda region: step(self.read(region)))
        return FeatureMap(self._data, self._grid, steps=(*self._steps, step))

    def padded(self, edges: tuple[int, int, int, int], padding: str) -> "FeatureMap":
        """Return the map with rows and columns added around it."""
        if any(self._edges):
            return self.produce(self.shape[2:], self.read).padded(edges, padding)
        return FeatureMap(self._data, self._grid, steps=self._steps, edges=edges, padding=padding)

    def become(self, other: "FeatureMap") -> "FeatureMap":
        """Take over another map's values, like a tensor that is changed in place."""
        self.__dict__.update(other.__dict__)
        return self

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return mean and variance of each channel over the whole image: fp32, (C,) each."""
        height, width = self.shape[2:]
        return pooled(self.read(Region(top, bottom, 0, width)) for top, bottom in strips(height, width))


# functions of torch

_ACTIVATIONS = (
    *("relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish", "softplus", "tanh", "sigmoid"),
    *("hardtanh", "hardswish", "hardsigmoid", "clamp", "clip", "minimum", "maximum"),
)
_ARITHMETIC = ("add", "sub", "rsub", "mul", "div", "true_divide", "neg", "abs", "exp", "float")
_POINTWISE = frozenset((*_ACTIVATIONS, *_ARITHMETIC))


def _call(func: Callable[..., Any], *args: Any, **kwargs: Any) -> FeatureMap:  # noqa: ANN401  torch's arguments
    name = func.__name__
    in_place = kwargs.pop("inplace", False) or name.endswith("_")
    if name.endswith("_"):
        name = name.rstrip("_")
        func = getattr(torch, name, None) or getattr(functional, name, None) or func
    if name in _POINTWISE:
        result = _pointwise(func, args, kwargs)
        return cast("FeatureMap", args[0]).become(result) if in_place else result
    if name not in _LAYERS:
        raise _unknown(f"torch's {name}")
    return _LAYERS[name](*args, **kwargs)


def _unknown(what: str) -> CannotTileError:
    return CannotTileError(f"its network uses {what}, which cannot be computed exactly tile by tile")


def _pointwise(func: Callable[..., Tensor], args: Sequence[Any], kwargs: dict[str, Any]) -> FeatureMap:
    maps = [arg for arg in args if isinstance(arg, FeatureMap)]
    tensors = [arg for arg in [*args, *kwargs.values()] if isinstance(arg, Tensor)]
    if {each.shape for each in maps} != {maps[0].shape} or any(
        tensor.numel() > 1 and (tensor.dim() < 3 or tensor.shape[-2:] != (1, 1)) for tensor in tensors
    ):
        raise _unknown(f"torch's {func.__name__} of values of different shapes")
    if len(maps) > 1:
        return maps[0].produce(
            maps[0].shape[2:],
            lambda region: func(*(arg.read(region) if isinstance(arg, FeatureMap) else arg for arg in args), **kwargs),
        )
    place = next(index for index, arg in enumerate(args) if arg is maps[0])
    before, after = args[:place], args[place + 1 :]  # without the map, which would be a reference cycle
    return maps[0].then(lambda tile: func(*before, tile, *after, **kwargs))


def _conv2d(  # noqa: PLR0917  torch's own order
    images: FeatureMap,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> FeatureMap:
    steps, spacing = _pair(stride), _pair(dilation)
    reach = [gap * (kernel - 1) for gap, kernel in zip(spacing, weight.shape[2:], strict=True)]
    if isinstance(padding, str):  # "same" adds an odd pixel at the end, "valid" adds none
        whole = reach if padding == "same" else [0, 0]
        before, after = [each // 2 for each in whole], [each - each // 2 for each in whole]
    else:
        before = after = list(_pair(padding))
    height, width = (
        (length + before[axis] + after[axis] - reach[axis] - 1) // steps[axis] + 1
        for axis, length in enumerate(images.shape[2:])
    )

    def compute(region: Region) -> Tensor:
        top, left = region.top * steps[0] - before[0], region.left * steps[1] - before[1]
        bottom = (region.bottom - 1) * steps[0] - before[0] + reach[0] + 1
        right = (region.right - 1) * steps[1] - before[1] + reach[1] + 1
        tile = images.read(Region(top, bottom, left, right))
        return functional.conv2d(tile, weight, bias, steps, 0, spacing, groups)

    return images.produce((height, width), compute)


def _conv_transpose2d(  # noqa: PLR0917  torch's own order
    images: FeatureMap,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
) -> FeatureMap:
    steps, cut, extra, spacing = _pair(stride), _pair(padding), _pair(output_padding), _pair(dilation)
    reach = [gap * (kernel - 1) for gap, kernel in zip(spacing, weight.shape[2:], strict=True)]
    height, width = (
        (length - 1) * steps[axis] - 2 * cut[axis] + reach[axis] + extra[axis] + 1
        for axis, length in enumerate(images.shape[2:])
    )

    def sources(begin: int, end: int, axis: int) -> tuple[int, int]:
        """Return the first and last (exclusive) input row that contribute to output rows."""
        first, last = begin + cut[axis], end - 1 + cut[axis]
        lowest = -((reach[axis] - first) // steps[axis])  # rounded up
        highest = -((reach[axis] - last) // steps[axis])
        return min(lowest, first // steps[axis]), max(highest, last // steps[axis]) + 1  # strides wider than kernels

    def compute(region: Region) -> Tensor:
        top, bottom = sources(region.top, region.bottom, 0)
        left, right = sources(region.left, region.right, 1)
        tile = images.read(Region(top, bottom, left, right))
        result = conv_transpose2d(tile, weight, bias, steps, groups=groups, dilation=spacing)
        first, column = region.top + cut[0] - top * steps[0], region.left + cut[1] - left * steps[1]
        return result[..., first : first + region.bottom - region.top, column : column + region.right - region.left]

    return images.produce((height, width), compute)


def _interpolate(
    images: FeatureMap,
    size: Pair | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,  # noqa: FBT001  torch's own order
    **_: object,
) -> FeatureMap:
    height, width = images.shape[2:]
    factors = [scale_factor] * 2 if isinstance(scale_factor, int | float) else list(scale_factor or ())
    if size is not None:
        factors = [target / length for target, length in zip(_pair(size), (height, width), strict=True)]
    whole = [round(factor) for factor in factors]
    if mode not in {"nearest", "nearest-exact", "bilinear"} or align_corners or whole != factors or min(whole) < 1:
        raise _unknown(f"torch's interpolate, {mode} by {factors}")

    def compute(region: Region) -> Tensor:
        top, bottom = max(region.top // whole[0] - 1, 0), min((region.bottom - 1) // whole[0] + 2, height)
        left, right = max(region.left // whole[1] - 1, 0), min((region.right - 1) // whole[1] + 2, width)
        tile = images.read(Region(top, bottom, left, right))
        scaled = functional.interpolate(tile, scale_factor=tuple(map(float, whole)), mode=mode)
        part = region.moved(-top * whole[0], -left * whole[1])
        return scaled[..., part.top : part.bottom, part.left : part.right]

    return images.produce((height * whole[0], width * whole[1]), compute)


def _pad(images: FeatureMap, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> FeatureMap:
    left, right, above, below = (*pad, 0, 0)[:4]
    if mode not in {"constant", "reflect", "replicate"} or value or len(pad) > 4 or min(pad) < 0:
        raise _unknown(f"torch's pad, {mode} {tuple(pad)}")
    return images.padded((above, below, left, right), mode)


def _instance_norm(  # noqa: PLR0917  torch's own order
    images: FeatureMap,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,  # noqa: FBT001, FBT002  torch's own order
    momentum: float = 0.1,  # noqa: ARG001  likewise
    eps: float = 1e-5,
) -> FeatureMap:
    if not use_input_stats:
        return _batch_norm(images, running_mean, running_var, weight, bias, eps=eps)
    return images.then(normalise(*images.moments(), weight, bias, eps))


def _group_norm(
    images: FeatureMap, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> FeatureMap:
    means, variances = (moment.reshape(num_groups, -1) for moment in images.moments())
    mean = means.mean(1, keepdim=True)
    variance = (variances + (means - mean) ** 2).mean(1, keepdim=True)
    mean, variance = (moment.expand_as(means).flatten() for moment in (mean, variance))
    return images.then(normalise(mean, variance, weight, bias, eps))


def _batch_norm(  # noqa: PLR0917  torch's own order
    images: FeatureMap,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,  # noqa: FBT001, FBT002  torch's own order
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> FeatureMap:
    if training or running_mean is None:
        raise _unknown("batch norm without running statistics")
    return images.then(
        lambda tile: functional.batch_norm(tile, running_mean, running_var, weight, bias, False, momentum, eps)  # noqa: FBT003
    )


def _cat(maps: Sequence[FeatureMap], dim: int = 0) -> FeatureMap:
    if dim not in {1, -3} or len({each.shape[2:] for each in maps if isinstance(each, FeatureMap)}) != 1:
        raise _unknown(f"torch's cat along dimension {dim}")
    return maps[0].produce(maps[0].shape[2:], lambda region: torch.cat([each.read(region) for each in maps], 1))


def _dropout(images: FeatureMap, p: float = 0.5, training: bool = True, **_: object) -> FeatureMap:  # noqa: FBT001, FBT002
    if training and p:
        raise _unknown("dropout")
    return images


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


_LAYERS: dict[str, Callable[..., FeatureMap]] = {
    "conv2d": _conv2d,
    "conv_transpose2d": _conv_transpose2d,
    "interpolate": _interpolate,
    "pad": _pad,
    "instance_norm": _instance_norm,
    "group_norm": _group_norm,
    "batch_norm": _batch_norm,
    "cat": _cat,
    "dropout": _dropout,
    "dropout2d": _dropout,
}


class TiledEngine(TorchEngine):
    """Runs a generator over tiles, with the same results as for whole images.

    Device memory holds a few maps of one tile, host memory the two or three largest maps of the whole image.

    Args:
        generator: See ``TorchEngine``.
        settings: See ``TorchEngine``.
        tile: Side of the tiles, in pixels of the image.
    """

    def __init__(self, generator: nn.Module, settings: EngineSettings, tile: int) -> None:
        super().__init__(generator, settings)
        self._tile = tile

    def _translate(self, images: Tensor, height: int, width: int, **more: Any) -> Tensor:  # noqa: ANN401  passed on
        result = torch.empty((len(images), 3, height, width), dtype=torch.uint8)
        grid = Grid(-(-height // self._tile), -(-width // self._tile), self._device, self._layout)
        for place, (image, pixels) in enumerate(zip(images, result, strict=True)):
            whole = FeatureMap(image[None], grid, steps=(self._as_input,))
            own = {name: values if values is None else values[place : place + 1] for name, values in more.items()}
            translated = self._generator(whole, **own)
            for region in grid.regions(height, width):
                top, bottom, left, right = region
                pixels[:, top:bottom, left:right] = self._as_pixels(translated.read(region))[0]
        return result


def check_tiling(generator: nn.Module) -> None:
    """Check that a generator can be computed over tiles.

    Raises:
        CannotTileError: If it cannot; the message names the reason.
    """
    if capabilities(generator).whole_pictures:
        raise CannotTileError("it needs each frame as a whole")
    side = 4 * getattr(generator, "stride", 1)
    picture = np.zeros((1, side, side, 3), np.uint8)
    engine = TiledEngine(generator, EngineSettings(device="cpu", precision="fp32"), side // 2)
    engine(picture, seeds=np.zeros(1, np.uint64))
