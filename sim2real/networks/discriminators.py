"""Discriminators of one domain: images (N, C, H, W) in their ``value_range`` -> scores, high for real images."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional

from sim2real.errors import SettingsError
from sim2real.networks.blocks import (
    BLUR_TAPS,
    BlurPool,
    DownName,
    NormName,
    PaddingName,
    check_counts,
    choose,
    numbers,
    pair,
    stage,
)

PatchName = Literal["patch", "patchgan70"]


def _add_downsampling(
    network: nn.Sequential, in_channels: int, image_size: tuple[int, int], channels: Sequence[int], norm: NormName
) -> tuple[int, int]:
    """Add 4x4 convolutions of stride 2 with ReLU and return the size (H, W) of the last map.

    There is no norm after the first convolution, nor for maps of a single pixel, which it would set to a constant.
    """
    height, width = image_size
    before = in_channels
    for index, after in enumerate(channels, 1):
        height, width = height // 2, width // 2
        normed = index > 1 and height * width > 1
        conv = nn.Conv2d(before, after, 4, stride=2, padding=1, bias=norm == "none")
        network.add_module(f"down{index}", stage(conv, after, norm if normed else "none", "relu"))
        before = after
    return height, width


def _check_size(name: str, image_size: tuple[int, int], smallest: int) -> None:
    if min(image_size) < smallest:
        height, width = image_size
        raise SettingsError(
            f"the {name} discriminator needs images of at least {smallest}x{smallest} pixels, not {width}x{height}: "
            "increase data.size or choose another discriminator"
        )


class Patch(nn.Sequential):
    """A discriminator of 16x16 px cells, with a receptive field of 78 px: (N, C, H, W) -> (N, 1, H/16, W/16).

    This is the patch discriminator of towardsautonomy/CycleGAN_improved (2020), with 2,760,192 parameters. With
    ``norm="batch", last_kernel=4`` it is that of jscriptcoder/CycleGANs, with 2,765,568 parameters, whose map is one
    cell smaller in both directions. Convolutions have a bias only if there is no norm.

    Args:
        in_channels: Channels of the images.
        image_size: (H, W) of the images in training; images of similar sizes work too.
        width: Channels after the first stage; doubled by each of the next three.
        norm: ``"instance"``, ``"batch"`` or ``"none"``.
        last_kernel: Side of the last convolution, 3 or 4.
        value_range: Minimum and maximum of the images' values.

    Raises:
        SettingsError: If the images are too small.
    """

    def __init__(
        self,
        in_channels: int,
        image_size: tuple[int, int],
        *,
        width: int = 64,
        norm: NormName = "instance",
        last_kernel: int = 3,
        value_range: Sequence[float] = (-1.0, 1.0),
    ) -> None:
        super().__init__()
        check_counts(width=width, last_kernel=last_kernel)
        _check_size("patch", image_size, 16 * max(1, last_kernel - 2))
        self.value_range = pair("value_range", value_range)
        channels = [width, 2 * width, 4 * width, 8 * width]
        _add_downsampling(self, in_channels, image_size, channels, norm)
        self.add_module("score", nn.Conv2d(8 * width, 1, last_kernel, padding=1, bias=norm == "none"))


class Global(nn.Sequential):
    """A discriminator of whole images: (N, C, H, W) -> (N, 1).

    This is the global discriminator of towardsautonomy/CycleGAN_improved (2020), with 5,966,977 parameters at 1024x256.
    The original supports only that size; this one halves the map until its shorter side is one pixel, for any size.

    Args:
        in_channels: Channels of the images.
        image_size: (H, W) of all images.
        width: Channels after the first stage, doubled up to four times this; also the width of the hidden linear layer.
        norm: ``"instance"``, ``"batch"`` or ``"none"``.
        value_range: Minimum and maximum of the images' values.

    Raises:
        SettingsError: If the images are too small.
    """

    def __init__(
        self,
        in_channels: int,
        image_size: tuple[int, int],
        *,
        width: int = 64,
        norm: NormName = "instance",
        value_range: Sequence[float] = (-1.0, 1.0),
    ) -> None:
        super().__init__()
        check_counts(width=width)
        _check_size("global", image_size, 2)
        self.value_range = pair("value_range", value_range)
        stages = min(image_size).bit_length() - 1
        channels = [width * min(2**index, 4) for index in range(stages)]
        map_height, map_width = _add_downsampling(self, in_channels, image_size, channels, norm)
        self.add_module("flatten", nn.Flatten())
        self.add_module("hidden", nn.Linear(channels[-1] * map_height * map_width, width))
        self.add_module("activation", nn.ReLU(inplace=True))
        self.add_module("score", nn.Linear(width, 1))


class PatchGAN70(nn.Sequential):
    """The 70x70 PatchGAN of pix2pix and CycleGAN (Isola et al. 2017): (N, C, H, W) -> (N, 1, H/8 - 2, W/8 - 2).

    It has five 4x4 convolutions with bias, three of them with stride 2, InstanceNorm except after the first and the
    last, LeakyReLU(0.2), and 2,764,737 parameters. giakou4/gans adds a sigmoid and pads by reflection. CUT (Park et al.
    2020) halves maps with a binomial filter after a convolution of stride 1, ``down="blur3"``.

    Args:
        in_channels: Channels of the images.
        image_size: (H, W) of the images in training; other sizes work too.
        width: Channels after the first convolution; doubled by each of the next three.
        norm: ``"instance"``, ``"batch"`` or ``"none"``.
        padding: ``"zeros"`` or ``"reflect"``.
        sigmoid: Whether scores are probabilities instead of unbounded.
        down: ``"strided"``, or ``"blur"`` or ``"blur3"``, see ``BlurPool``.

    Raises:
        SettingsError: If the images are too small.
    """

    value_range = (-1.0, 1.0)

    def __init__(
        self,
        in_channels: int,
        image_size: tuple[int, int],
        *,
        width: int = 64,
        norm: NormName = "instance",
        padding: PaddingName = "zeros",
        sigmoid: bool = False,
        down: DownName = "strided",
    ) -> None:
        super().__init__()
        check_counts(width=width)
        taps = choose("down", down, BLUR_TAPS)
        _check_size("patchgan70", image_size, 32 if taps else 24)
        choose("padding", padding, {"zeros": None, "reflect": None})

        def conv(before: int, after: int, stride: int) -> nn.Conv2d:
            return nn.Conv2d(before, after, 4, stride=stride, padding=1, padding_mode=padding)

        before = in_channels
        for index, name in enumerate(("down1", "down2", "down3", "flat")):
            after, halves = width << index, name != "flat"
            layer = stage(
                conv(before, after, 2 if halves and not taps else 1), after, norm if index else "none", "leaky_relu"
            )
            if halves and taps:
                layer.add_module("blur", BlurPool(after, taps))
            self.add_module(name, layer)
            before = after
        self.add_module("score", conv(before, 1, 1))
        if sigmoid:
            self.add_module("sigmoid", nn.Sigmoid())


class _Vectors(nn.Conv2d):
    """A vector for each class, which is multiplied with features."""

    keeps_own_init = True


class Projection(nn.Module):
    """A 70x70 PatchGAN that sees the class of each patch: (N, C, H, W) -> (N, 1, H/8 - 2, W/8 - 2).

    The score of a patch is the PatchGAN's plus a term for its class, the product of its features with a vector of that
    class (Miyato and Koyama 2018, arXiv 1802.05637; at each position as in Richter et al. 2021, "Enhancing Photorealism
    Enhancement", arXiv 2105.04619). Roads are thus compared with roads, and class frequencies give no clue. Patches
    without a class get only the first term.

    Args:
        in_channels: Channels of the images.
        image_size: (H, W) of the images in training; other sizes work too.
        width: Channels after the first convolution; doubled by each of the next three.
        norm: ``"instance"``, ``"batch"`` or ``"none"``.
        padding: ``"zeros"`` or ``"reflect"``.
        classes: Number of vectors, one for each class of the masks.

    Raises:
        SettingsError: If the images are too small.
    """

    value_range = (-1.0, 1.0)
    inputs: ClassVar[tuple[str, ...]] = ("segmentation",)

    def __init__(
        self,
        in_channels: int,
        image_size: tuple[int, int],
        *,
        width: int = 64,
        norm: NormName = "instance",
        padding: PaddingName = "zeros",
        classes: int = 64,
    ) -> None:
        super().__init__()
        check_counts(classes=classes)
        self.classes = classes
        self.patches = PatchGAN70(in_channels, image_size, width=width, norm=norm, padding=padding)
        self.by_class = _Vectors(8 * width, classes, 1, bias=False)
        nn.init.normal_(self.by_class.weight, 0.0, 0.01)

    def forward(self, images: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return the scores of images in [-1, 1] with ``"segmentation"`` (N, H, W), negative without a class."""
        *before, score = self.patches
        maps = images
        for layer in before:
            maps = layer(maps)
        masks = inputs["segmentation"][:, 8::8, 8::8][
            :, : maps.shape[2], : maps.shape[3]
        ]  # middles of receptive fields
        of_class = self.by_class(maps).gather(1, masks.clamp(0, self.classes - 1)[:, None]) * (masks >= 0)[:, None]
        scores: Tensor = score(maps) + functional.avg_pool2d(of_class, 2, stride=1)
        return scores


class Combined(nn.Module):
    """Patch discriminators at one or more scales and ``Global`` on the same images; their losses are added.

    The defaults are the discriminators of towardsautonomy/CycleGAN_improved (2020). With more ``scales``, each further
    patch discriminator has its own weights and sees the images at half the size of the previous one, averaged over 2x2
    pixels, and therefore patches of twice the side (Wang et al. 2018, pix2pixHD).

    Args:
        in_channels: Channels of the images.
        image_size: (H, W) of all images.
        width: Channels after the first stage of each discriminator.
        norm: ``"instance"``, ``"batch"`` or ``"none"``.
        value_range: Minimum and maximum of the images' values.
        scales: Number of patch discriminators.
        patch: Kind of patch discriminator: ``"patch"`` (:class:`Patch`) or ``"patchgan70"`` (:class:`PatchGAN70`).
        score_weights: Weights of the losses: one for each scale, starting with the full size, then one for ``Global``;
            1 each if None.

    Raises:
        SettingsError: If the images are too small for this number of scales.
    """

    def __init__(
        self,
        in_channels: int,
        image_size: tuple[int, int],
        *,
        width: int = 64,
        norm: NormName = "instance",
        value_range: Sequence[float] = (-1.0, 1.0),
        scales: int = 1,
        patch: PatchName = "patch",
        score_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        check_counts(scales=scales)
        self.value_range = pair("value_range", value_range)
        self.score_weights = numbers(
            "score_weights", [1] * (scales + 1) if score_weights is None else score_weights, scales + 1
        )
        kinds: dict[str, Callable[..., nn.Module]] = {
            "patch": partial(Patch, value_range=value_range),
            "patchgan70": PatchGAN70,
        }
        build = partial(choose("patch", patch, kinds), in_channels, width=width, norm=norm)
        height, breadth = image_size
        self.patch = build(image_size)
        self.coarser = nn.ModuleList(build((height >> scale, breadth >> scale)) for scale in range(1, scales))
        self.whole = Global(in_channels, image_size, width=width, norm=norm, value_range=value_range)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return scores (N, 1, h, w) of patches at each scale, and (N, 1) of whole images (N, in_channels, H, W)."""
        scores = [self.patch(images)]
        smaller = images
        for patch in self.coarser:
            smaller = functional.avg_pool2d(smaller, 2)
            scores.append(patch(smaller))
        return (*scores, self.whole(images))
