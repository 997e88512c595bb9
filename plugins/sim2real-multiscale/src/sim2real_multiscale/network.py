"""The multi-scale discriminator."""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d
from torch.nn.utils.parametrizations import spectral_norm

from sim2real import Sim2RealError

SMALLEST_SIDE = 24  # pixels; smaller images give no score


class PatchGAN(nn.Sequential):
    """A 70x70 PatchGAN with spectral norm: (N, C, H, W) in [-1, 1] -> (N, 1, H/8 - 2, W/8 - 2), unbounded."""

    def __init__(self, in_channels: int, *, width: int) -> None:
        widths = [in_channels, width, 2 * width, 4 * width, 8 * width]
        layers: list[nn.Module] = []
        for (before, after), stride in zip(pairwise(widths), (2, 2, 2, 1), strict=True):
            layers += [spectral_norm(nn.Conv2d(before, after, 4, stride, padding=1)), nn.LeakyReLU(0.2)]
        super().__init__(*layers, spectral_norm(nn.Conv2d(8 * width, 1, 4, padding=1)))


class MultiscalePatchGAN(nn.Module):
    """PatchGANs at several resolutions: (N, C, H, W) in [-1, 1] -> one tensor of scores per scale.

    Scales: Wang et al. 2018 (pix2pixHD). Spectral normalisation: Miyato et al. 2018. PatchGAN: Isola et al. 2017.

    Args:
        in_channels: Channels of the images.
        image_size: (H, W) of the images in training; others work too.
        width: Channels after the first convolution; doubled by each of the next three.
        scales: Number of resolutions, each half the previous one; the first is full resolution.

    Raises:
        Sim2RealError: If the images are too small for this number of scales, or an option is below 1.
    """

    def __init__(self, in_channels: int, image_size: tuple[int, int], *, width: int = 64, scales: int = 3) -> None:
        super().__init__()
        if width < 1 or scales < 1:
            raise Sim2RealError(f"multiscale: width and scales must be at least 1, not {width} and {scales}")
        needed = SMALLEST_SIDE * 2 ** (scales - 1)
        if min(image_size) < needed:
            size = "{1}x{0}".format(*image_size)
            raise Sim2RealError(
                f"multiscale: {scales} scales need images of at least {needed}x{needed} pixels, not {size}: "
                "lower discriminator.options.scales or raise data.size"
            )
        self.discriminators = nn.ModuleList(PatchGAN(in_channels, width=width) for _ in range(scales))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map images (N, in_channels, H, W) to the scores (N, 1, h, w) of each scale, the finest first."""
        scores = []
        for discriminator in self.discriminators:
            scores.append(discriminator(images))
            images = avg_pool2d(images, 3, stride=2, padding=1, count_include_pad=False)
        return tuple(scores)
