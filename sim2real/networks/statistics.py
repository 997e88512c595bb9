"""Figures of images that a training can follow: differentiable, of small size, of one image or one pair each.

All are computed in float32 whatever networks compute in: roots of matrices do not survive fewer bits.
"""

import torch
from torch import Tensor
from torch.nn import functional

from sim2real.networks.bilateral import exact, luma

_ROUNDING = 1 / 12 / 255**2  # the variance that 256 levels add; it keeps roots of single colours from being 0
_ITERATIONS = 18
_BLOCK = 4  # pixels of a side: as fine as clouds are looked for
_ALIKE = 0.03  # blocks that differ by much more are of different things
_LOWEST = 1 / 32  # cycles a pixel where the bands of spectra begin


def colour_moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Of images (N, 3, H, W): means (N, 3), and the roots of their covariances, (N, 3, 3), symmetric."""
    with exact(values):
        pixels = values.flatten(2)
        mean = pixels.mean(2)
        apart = pixels - mean[:, :, None]
        covariance = apart @ apart.transpose(1, 2) / pixels.shape[2]
        return mean, _root(covariance + 16 * _ROUNDING * torch.eye(3, dtype=values.dtype, device=values.device))


def class_moments(values: Tensor, masks: Tensor, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of images (N, 3, H, W) with masks (N, H, W), negative where there is no class, by class.

    Returns:
        Shares of the pixels (N, classes), means (N, classes, 3) and standard deviations (N, classes, 3).
    """
    pixels = values.flatten(2).transpose(1, 2)
    belongs = functional.one_hot(masks.clamp(min=0).flatten(1), classes).to(pixels) * (masks >= 0).flatten(1)[..., None]
    counts = belongs.sum(1)
    by_class = belongs.transpose(1, 2) / counts.clamp(min=1)[..., None]
    with exact(values):
        means = by_class @ pixels
        variances = (by_class @ pixels.square() - means.square()).clamp(min=0)
    spreads: Tensor = (variances + 16 * _ROUNDING).sqrt()
    return counts / pixels.shape[1], means, spreads


def recoloured(images: Tensor, pictures: Tensor) -> Tensor:
    """Images (N, 3, H, W) in [-1, 1] with the mean and the covariance of the colours of others, one each."""
    (mean, root), (wanted_mean, wanted_root) = colour_moments(images), colour_moments(pictures)
    with exact(images):
        matrix = wanted_root @ torch.linalg.inv(root)
        moved: Tensor = matrix @ (images.flatten(2) - mean[..., None]) + wanted_mean[..., None]
    return moved.view_as(images).clamp(-1, 1)


def _root(matrix: Tensor) -> Tensor:
    """Of symmetric positive matrices (N, 3, 3), by Newton's iteration (Higham 2008), which has gradients everywhere."""
    size = matrix.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
    root, inverse = matrix / size, torch.eye(3, dtype=matrix.dtype, device=matrix.device).expand_as(matrix)
    for _ in range(_ITERATIONS):
        factor = (3 * torch.eye(3, dtype=matrix.dtype, device=matrix.device) - inverse @ root) / 2
        root, inverse = root @ factor, factor @ inverse
    found: Tensor = root * size.sqrt()
    return found


def radial_spectrum(values: Tensor, bands: int) -> Tensor:
    """Of images (N, 3, H, W): the natural logarithm of the mean power of brightness in bands of frequency, (N, bands).

    Bands are of equal width on a logarithmic scale, from 1/32 to 1/2 cycles a pixel; one that is too narrow for images
    this small has the power of the frequency nearest to it.
    """
    height, width = values.shape[2:]
    brightness = luma(values)
    window = torch.outer(*(torch.hann_window(side, periodic=False).to(values) + 1e-3 for side in (height, width)))
    brightness = (brightness - brightness.mean((1, 2), keepdim=True)) * window
    power = torch.fft.rfft2(brightness).abs().square() / window.square().sum()
    with exact(values):
        of_bands: Tensor = power.flatten(1) @ _bands(height, width, bands).to(values)
    return (of_bands + 1e-7).log()


def unevenness(before: Tensor, after: Tensor) -> Tensor:
    """How much what is done to images changes from place to place where they do not: clouds, patches of light.

    The mean difference, between blocks of 4x4 pixels side by side, of what was added to each; those that differ in the
    image by more than 0.03 of the range count less, the more the less: there another thing begins.

    Args:
        before: (N, 3, H, W) in [0, 1], larger than a block.
        after: What became of them, likewise.

    Returns:
        A scalar; 0 where the same is added to all that is alike.
    """
    block = min(_BLOCK, *before.shape[2:])
    images, added = functional.avg_pool2d(before, block), functional.avg_pool2d(after - before, block)
    found = []
    for axis in (2, 3):
        apart = images.diff(dim=axis).abs().amax(1, keepdim=True)
        found.append((-(apart / _ALIKE).square()).exp() * added.diff(dim=axis).abs())
    return torch.stack([each.mean() if each.numel() else each.sum() for each in found]).sum()


def _bands(height: int, width: int, bands: int) -> Tensor:
    """Which frequencies of ``rfft2`` are in which band, (H (W / 2 + 1), bands); columns add up to 1."""
    down, across = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)
    frequency = (down**2 + across**2).sqrt().flatten()
    edges = torch.logspace(torch.tensor(_LOWEST).log10(), torch.tensor(0.5).log10(), bands + 1)
    chosen = (frequency[:, None] >= edges[:-1]) & (frequency[:, None] <= edges[1:])
    middles = (edges[:-1] * edges[1:]).sqrt()
    nearest = (frequency[:, None] - middles).abs().argmin(0)
    empty = ~chosen.any(0)
    chosen[nearest[empty], empty.nonzero()[:, 0]] = True
    shares: Tensor = chosen.float() / chosen.sum(0)
    return shares
