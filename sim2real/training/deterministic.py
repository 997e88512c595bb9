"""Trainings that give the same bits each time on one device."""

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
    """Have torch compute the same bits each time; elsewhere it computes as it did before.

    PyTorch has no deterministic gradient of reflection padding on a GPU: here it is put together from parts that have.
    """
    if not wanted:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it is first used
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)  # noqa: FBT003  torch's own signature
    torch.backends.cudnn.benchmark = False  # it times algorithms, and takes now one and now another
    try:
        with _Reflections():
            yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


class _Reflections(TorchFunctionMode):
    """Takes the place of torch's reflection padding, whoever calls it."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        _types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  whatever the function returns
        kwargs = kwargs or {}
        if func is functional.pad and "reflect" in (*args[2:3], kwargs.get("mode")):
            images, sides = (*args, *kwargs.values())[:2]
            return reflected(images, sides)
        return func(*args, **kwargs)


def reflected(images: Tensor, sides: Sequence[int]) -> Tensor:
    """``torch.nn.functional.pad`` in mode ``"reflect"``: pairs of widths, those of the last dimension first."""
    for number in range(len(sides) // 2):
        dim, (before, after) = images.ndim - 1 - number, sides[2 * number : 2 * number + 2]
        length = images.shape[dim]
        first = images.narrow(dim, 1, before).flip(dim)
        last = images.narrow(dim, length - 1 - after, after).flip(dim)
        images = torch.cat([first, images, last], dim)
    return images
