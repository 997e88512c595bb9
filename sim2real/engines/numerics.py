"""How conversion computes: fast where that is harmless, exact where a rounding would be seen.

Under autocast every convolution rounds what goes in and what comes out to 8 bits of mantissa. For the image itself,
and for what becomes the picture, that is too coarse: the convolutions at both ends of a network, about 2 % of its work,
stay in fp32. Instance norms gather their statistics from the picture strip by strip, always the same strips, so that a
picture that is translated in tiles is normalised with the very same numbers as a whole one.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

_IMAGE_CHANNELS = 4  # no inner layer has so few
_STRIP_PIXELS = 8192  # sums of so many values are exact enough in fp32; those of the strips are added in float64


def prepared(generator: nn.Module) -> nn.Module:
    """A copy of a generator for inference, with exact ends and norms that know strips."""
    network = copy.deepcopy(generator).eval().requires_grad_(requires_grad=False)
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Conv2d | nn.ConvTranspose2d) and (
                min(child.in_channels, child.out_channels) <= _IMAGE_CHANNELS
            ):
                setattr(module, name, _Exact(child))
            elif isinstance(child, nn.InstanceNorm2d) and not child.track_running_stats:
                setattr(module, name, _InstanceNorm(child))
    return network


class _Exact(nn.Module):
    """A convolution that autocast does not round."""

    def __init__(self, convolution: nn.Module) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            result: Tensor = self.convolution(images.float())
        return result


class _InstanceNorm(nn.Module):
    """Instance norm by strips; several times as fast on a CPU as torch's own, which is used everywhere else."""

    def __init__(self, norm: nn.InstanceNorm2d) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, images: Tensor) -> Tensor:
        if not isinstance(images, Tensor) or images.device.type != "cpu" or torch.compiler.is_compiling():
            return functional.instance_norm(images, weight=self.weight, bias=self.bias, eps=self.eps)
        results = [normalise(*moments(image), self.weight, self.bias, self.eps)(image) for image in images[:, None]]
        return torch.cat(results) if len(results) > 1 else results[0]


def normalise(
    mean: Tensor, variance: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Callable[[Tensor], Tensor]:
    """What normalises any part of a picture (1, C, H, W), given mean and variance of all of it, (C,) each."""
    return lambda part: functional.batch_norm(part, mean, variance, weight, bias, eps=eps)


def moments(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel of a picture (1, C, H, W): fp32, (C,) each."""
    rows = (picture[:, :, top:bottom] for top, bottom in strips(*picture.shape[2:]))
    return pooled(rows)


def strips(height: int, width: int) -> Iterator[tuple[int, int]]:
    """First and last row, the latter not included, of the parts by which the statistics of a picture are gathered."""
    step = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, step):
        yield top, min(top + step, height)


def pooled(parts: Iterator[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and variance over parts of a picture, (1, C, h, w) each: fp32, (C,) each."""
    pixels, means, variances = [], [], []
    with _one_thread():
        for part in parts:
            old = torch.zeros(part.shape[1], device=part.device)
            mean, variance = torch.batch_norm_update_stats(part, old, old.clone(), 0.0)
            pixels.append(part.shape[2] * part.shape[3])
            means.append(mean)
            variances.append(variance)
    shares = torch.tensor(pixels, dtype=torch.float64, device=means[0].device)[:, None] / sum(pixels)
    centres = torch.stack(means).double()
    mean = (shares * centres).sum(0)
    variance = (shares * (torch.stack(variances).double() + (centres - mean) ** 2)).sum(0)
    return mean.float(), variance.float()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Add up in one order, however many threads a machine has; it takes no time beside the convolutions."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
