"""Deterministic training: the same bits in every run on one device."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


@contextmanager
def deterministic(*, wanted: bool) -> Iterator[None]:
    """Make torch compute the same bits in every run within this context.

    On a GPU, PyTorch has no deterministic gradients of reflection padding and bilinear sampling: they are replaced by
    combinations of deterministic operations.
    """
    if not wanted:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it on first use
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)  # noqa: FBT003  torch's own signature
    torch.backends.cudnn.benchmark = False  # it chooses algorithms by their timing, which varies
    try:
        with _Replaced():
            yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


_BILINEAR = {"mode": "bilinear", "padding_mode": "border", "align_corners": False}


class _Replaced(TorchFunctionMode):
    """Replaces torch's reflection padding and, except on the CPU, bilinear sampling in all code within the mode."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        _types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  the function's own result
        kwargs = kwargs or {}
        if func is functional.pad and "reflect" in (*args[2:3], kwargs.get("mode")):
            images, sides = (*args, *kwargs.values())[:2]
            return reflected(images, sides)
        if func is functional.grid_sample and args[0].device.type != "cpu" and kwargs == _BILINEAR:
            return sampled(*args)
        return func(*args, **kwargs)


def reflected(images: Tensor, sides: Sequence[int]) -> Tensor:
    """``torch.nn.functional.pad`` in mode ``"reflect"``; ``sides`` are pairs of widths, the last dimension first."""
    for number in range(len(sides) // 2):
        dim, (before, after) = images.ndim - 1 - number, sides[2 * number : 2 * number + 2]
        length = images.shape[dim]
        first = images.narrow(dim, 1, before).flip(dim)
        last = images.narrow(dim, length - 1 - after, after).flip(dim)
        images = torch.cat([first, images, last], dim)
    return images


def sampled(images: Tensor, places: Tensor) -> Tensor:
    """``torch.nn.functional.grid_sample``, bilinear, with border padding and without aligned corners.

    Args:
        images: The images, (N, C, H, W).
        places: The sampled places as x and y in [-1, 1], (N, h, w, 2).

    Returns:
        The sampled values, (N, C, h, w).
    """
    height, width = images.shape[2:]
    x, y = (((places[..., axis] + 1) * side - 1).div(2).clamp(0, side - 1) for axis, side in ((0, width), (1, height)))
    left, top = x.floor(), y.floor()
    pixels, result = images.flatten(2), images.new_zeros(())
    for row, of_row in ((top, top + 1 - y), ((top + 1).clamp(max=height - 1), y - top)):
        for column, of_column in ((left, left + 1 - x), ((left + 1).clamp(max=width - 1), x - left)):
            numbers = (row.long() * width + column.long()).flatten(1)[:, None].expand(-1, images.shape[1], -1)
            found = pixels.gather(2, numbers).unflatten(2, x.shape[1:])
            result = result + (of_row * of_column)[:, None] * found
    return result
