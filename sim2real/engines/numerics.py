"""The numerics of conversion: fast where this is harmless, exact where rounding would be visible.

Under autocast, every convolution rounds its input and output to 8 bits of mantissa. This is too coarse for the input
image and for the output image, so the convolutions at both ends of a network, about 2 % of its operations, stay in
fp32. Instance norms compute their statistics strip by strip, always with the same strips, so that an image translated
in tiles is normalised with exactly the same numbers as a whole one. Transposed convolutions are computed as ordinary
ones, which round alike for images of all sizes; those of oneDNN do not.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

_IMAGE_CHANNELS = 4  # inner layers have more channels
_STRIP_PIXELS = 8192  # sums of this many values are exact enough in fp32; strips are combined in float64


def prepared(generator: nn.Module) -> nn.Module:
    """Return a copy of a generator for inference, with exact first and last layers and norms that work by strips."""
    network = copy.deepcopy(generator).eval().requires_grad_(requires_grad=False)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Conv2d | nn.ConvTranspose2d) and (
                min(child.in_channels, child.out_channels) <= _IMAGE_CHANNELS
            ):
                setattr(module, name, _Exact(child))
            elif isinstance(child, nn.ConvTranspose2d):
                setattr(module, name, _ConvTranspose(child))
            elif isinstance(child, nn.InstanceNorm2d) and not child.track_running_stats:
                setattr(module, name, _InstanceNorm(child))
    return network


class _Exact(nn.Module):
    """A convolution in fp32 even under autocast."""

    def __init__(self, convolution: nn.Module) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            result: Tensor = self.convolution(images.float())
        return result


class _ConvTranspose(nn.Module):
    """A transposed convolution computed with ordinary convolutions."""

    def __init__(self, convolution: nn.ConvTranspose2d) -> None:
        super().__init__()
        self.weight, self.bias = convolution.weight, convolution.bias
        self.settings: dict[str, Any] = {
            name: getattr(convolution, name) for name in ("stride", "padding", "output_padding", "groups", "dilation")
        }

    def forward(self, images: Tensor) -> Tensor:
        plain = not isinstance(images, Tensor) or torch.compiler.is_compiling()
        compute = functional.conv_transpose2d if plain else conv_transpose2d
        return compute(images, self.weight, self.bias, **self.settings)


class _InstanceNorm(nn.Module):
    """Instance norm by strips, several times faster on CPUs than torch's own, which is used on other devices."""

    def __init__(self, norm: nn.InstanceNorm2d) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, images: Tensor) -> Tensor:
        if not isinstance(images, Tensor) or images.device.type != "cpu" or torch.compiler.is_compiling():
            return functional.instance_norm(images, weight=self.weight, bias=self.bias, eps=self.eps)
        results = [normalise(*moments(image), self.weight, self.bias, self.eps)(image) for image in images[:, None]]
        return torch.cat(results) if len(results) > 1 else results[0]


def conv_transpose2d(  # noqa: PLR0917  torch's own order
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    output_padding: Sequence[int] = (0, 0),
    groups: int = 1,
    dilation: Sequence[int] = (1, 1),
) -> Tensor:
    """Compute torch's ``conv_transpose2d``; on CPUs, with ordinary convolutions.

    Each convolution uses a part of the kernel and gives every stride-th row and column. Convolutions that are grouped,
    dilated, or narrower than their stride are left to torch.
    """
    narrow = any(kernel < step for kernel, step in zip(weight.shape[2:], stride, strict=True))
    if images.device.type != "cpu" or groups != 1 or max(dilation) > 1 or narrow:
        return functional.conv_transpose2d(images, weight, bias, stride, padding, output_padding, groups, dilation)
    rows, columns = (
        list(_phases(images.shape[axis + 2], weight.shape[axis + 2], stride[axis], padding[axis], output_padding[axis]))
        for axis in (0, 1)
    )
    values = {}
    for row in rows:
        for column in columns:
            part = functional.pad(images, (*column.edges, *row.edges))
            kernel = weight[:, :, row.tap :: stride[0], column.tap :: stride[1]].flip(2, 3).transpose(0, 1)
            values[row.start, column.start] = functional.conv2d(part, kernel, bias)
    height, width = (sum(phase.length for phase in phases) for phases in (rows, columns))
    example = values[0, 0]
    channels_last = example.is_contiguous(memory_format=torch.channels_last)
    result = torch.empty(
        (*example.shape[:2], height, width),
        dtype=example.dtype,
        memory_format=torch.channels_last if channels_last else torch.contiguous_format,
    )
    for (top, left), part in values.items():
        result[:, :, top :: stride[0], left :: stride[1]] = part
    return result


class _Phase(NamedTuple):
    """Every stride-th row of a result.

    Attributes:
        start: The first row.
        length: Number of rows.
        tap: First row of the kernel that contributes.
        edges: Numbers of rows to pad before and after the input.
    """

    start: int
    length: int
    tap: int
    edges: tuple[int, int]


def _phases(source: int, kernel: int, stride: int, padding: int, output_padding: int) -> Iterator[_Phase]:
    length = (source - 1) * stride - 2 * padding + kernel + output_padding
    for start in range(min(stride, length)):
        first, tap = divmod(start + padding, stride)
        taps, count = len(range(tap, kernel, stride)), len(range(start, length, stride))
        yield _Phase(start, count, tap, (taps - 1 - first, first + count - source))


def normalise(
    mean: Tensor, variance: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Callable[[Tensor], Tensor]:
    """Return a function that normalises parts of an image (1, C, H, W) with its mean and variance, (C,) each."""
    return lambda part: functional.batch_norm(part, mean, variance, weight, bias, eps=eps)


def moments(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance of each channel of an image (1, C, H, W): fp32, (C,) each."""
    rows = (picture[:, :, top:bottom] for top, bottom in strips(*picture.shape[2:]))
    return pooled(rows)


def strips(height: int, width: int) -> Iterator[tuple[int, int]]:
    """Yield the first and last row (exclusive) of the strips by which the statistics of an image are computed."""
    step = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, step):
        yield top, min(top + step, height)


def pooled(parts: Iterator[Tensor]) -> tuple[Tensor, Tensor]:
    """Return mean and variance over parts of an image, (1, C, h, w) each: fp32, (C,) each."""
    pixels, means, variances = [], [], []
    with _one_thread():
        for part in parts:
            if part.device.type == "mps":  # MPS lacks batch_norm_update_stats and float64
                variance, mean = (each.cpu() for each in torch.var_mean(part.float(), (0, 2, 3), correction=0))
            else:
                old = torch.zeros(part.shape[1], device=part.device)
                mean, variance = torch.batch_norm_update_stats(part, old, old.clone(), 0.0)
            pixels.append(part.shape[2] * part.shape[3])
            means.append(mean)
            variances.append(variance)
    shares = torch.tensor(pixels, dtype=torch.float64, device=means[0].device)[:, None] / sum(pixels)
    centres = torch.stack(means).double()
    mean = (shares * centres).sum(0)
    variance = (shares * (torch.stack(variances).double() + (centres - mean) ** 2)).sum(0)
    return mean.float().to(part.device), variance.float().to(part.device)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread, so that the order of sums does not depend on the machine; the cost is negligible."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
