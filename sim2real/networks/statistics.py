"""Differentiable statistics of single images or pairs of images, for use in losses.

All are computed in float32, whatever the precision of the networks, since matrix roots are not stable with fewer bits.
"""

import torch
from torch import Tensor
from torch.nn import functional

from sim2real.networks.bilateral import exact, luma

_ROUNDING = 1 / 12 / 255**2  # variance of rounding to 256 levels; it keeps roots above 0 for images of one colour
_ITERATIONS = 18
_BLOCK = 4  # side in pixels of the blocks in which unevenness is measured
_ALIKE = 0.03  # blocks that differ by much more show different things
_LOWEST = 1 / 32  # cycles per pixel at which the bands of spectra begin


def colour_moments(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return means (N, 3) and symmetric roots of the covariances (N, 3, 3) of the colours of images (N, 3, H, W)."""
    with exact(values):
        pixels = values.flatten(2)
        mean = pixels.mean(2)
        apart = pixels - mean[:, :, None]
        covariance = apart @ apart.transpose(1, 2) / pixels.shape[2]
        return mean, _root(covariance + 16 * _ROUNDING * torch.eye(3, dtype=values.dtype, device=values.device))


def class_moments(values: Tensor, masks: Tensor, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return statistics of the colours of each class in images (N, 3, H, W).

    Masks are (N, H, W), negative for pixels without a class.

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
    """Return images (N, 3, H, W) in [-1, 1] with the colours' mean and covariance of ``pictures``, one for each."""
    (mean, root), (wanted_mean, wanted_root) = colour_moments(images), colour_moments(pictures)
    with exact(images):
        matrix = wanted_root @ torch.linalg.inv(root)
        moved: Tensor = matrix @ (images.flatten(2) - mean[..., None]) + wanted_mean[..., None]
    return moved.view_as(images).clamp(-1, 1)


def _root(matrix: Tensor) -> Tensor:
    """Return roots of symmetric positive matrices (N, 3, 3).

    Newton's iteration (Higham 2008) has gradients everywhere.
    """
    size = matrix.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
    root, inverse = matrix / size, torch.eye(3, dtype=matrix.dtype, device=matrix.device).expand_as(matrix)
    for _ in range(_ITERATIONS):
        factor = (3 * torch.eye(3, dtype=matrix.dtype, device=matrix.device) - inverse @ root) / 2
        root, inverse = root @ factor, factor @ inverse
    found: Tensor = root * size.sqrt()
    return found


def radial_spectrum(values: Tensor, bands: int) -> Tensor:
    """Return the natural logarithm of the mean power of brightness in frequency bands, (N, bands).

    Images are (N, 3, H, W). Bands have equal width on a logarithmic scale, from 1/32 to 1/2 cycles per pixel. Bands
    that contain no frequency, since the image is small, get the power of the nearest frequency.
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
    """Return how much the change of images varies where the images do not vary, as with clouds and patches of light.

    The value is the mean difference between adjacent blocks of 4x4 pixels in the colour that was added to each. Pairs
    of blocks that differ in the image by more than about 0.03 of the range have low weights, since they show different
    things.

    Args:
        before: (N, 3, H, W) in [0, 1], larger than a block.
        after: The changed images, of the same shape and range.

    Returns:
        A scalar; 0 if the same colour is added to all similar blocks.
    """
    block = min(_BLOCK, *before.shape[2:])
    images, added = functional.avg_pool2d(before, block), functional.avg_pool2d(after - before, block)
    found = []
    for axis in (2, 3):
        apart = images.diff(dim=axis).abs().amax(1, keepdim=True)
        found.append((-(apart / _ALIKE).square()).exp() * added.diff(dim=axis).abs())
    return torch.stack([each.mean() if each.numel() else each.sum() for each in found]).sum()


def _bands(height: int, width: int, bands: int) -> Tensor:
    """Return the weights of the frequencies of ``rfft2`` in each band, (H (W / 2 + 1), bands); columns sum to 1."""
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
