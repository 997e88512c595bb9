"""Networks that translate images: (N, C, H, W) -> (N, C, H, W) in the attribute ``value_range``."""

from collections import OrderedDict
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from sim2real.errors import SettingsError
from sim2real.networks.blocks import (
    BLUR_TAPS,
    ActivationName,
    BlurConv2d,
    BlurPool,
    DownName,
    NormName,
    PaddingName,
    ResidualBlock,
    ResizeConv2d,
    UpName,
    ZeroBlurConv2d,
    ZeroConv2d,
    ZeroConvTranspose2d,
    ZeroResizeConv2d,
    check_counts,
    choose,
    initialise_without_norms,
    stage,
)

OutputName = Literal["tanh", "half_tanh", "clamped_tanh", "residual"]


class HalfTanh(nn.Module):
    """``0.5 * tanh(x)``: values in (-0.5, 0.5), with a gradient everywhere."""

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the same shape."""
        return 0.5 * torch.tanh(x)


class ClampedTanh(nn.Module):
    """``tanh(x)`` clipped to [-0.5, 0.5], without a gradient outside; only for parity with published weights."""

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the same shape."""
        return torch.tanh(x).clamp(-0.5, 0.5)


_OUTPUTS: dict[str, tuple[type[nn.Module], tuple[float, float]]] = {
    "tanh": (nn.Tanh, (-1.0, 1.0)),
    "half_tanh": (HalfTanh, (-0.5, 0.5)),
    "clamped_tanh": (ClampedTanh, (-0.5, 0.5)),
    "residual": (nn.Identity, (-1.0, 1.0)),
}


class Generator(nn.Sequential):
    """Base class of the generators here: the output layer, the value range, and images smaller than two strides.

    With ``norm="none"`` a pixel depends only on its surroundings, not on the rest of the frame. Only the weights then
    determine the scale of the maps, so they are initialised by ``initialise_without_norms``, whatever ``init`` is.

    Args:
        layers: The layers before the output layer, by name.
        output: ``"tanh"``, in [-1, 1]; ``"half_tanh"``, in [-0.5, 0.5]; ``"clamped_tanh"``, the same range by clipping;
            or ``"residual"``: the network computes a difference that is added to its input. The difference is 0 at the
            start of training (the last convolution starts at 0), and the result may exceed [-1, 1] slightly.
        stride: Number of which H and W of the images must be multiples.
        norm: ``"instance"``, ``"batch"`` or ``"none"``.
        activation: ``"leaky_relu"`` or ``"relu"``.

    Options that its children share:
        up: ``"transposed"`` convolutions; ``"resize"`` doubles maps by repeating pixels before a 3x3 convolution, which
            avoids their checkerboard patterns (Odena et al. 2016, "Deconvolution and Checkerboard Artifacts");
            ``"blur"`` doubles maps with the filter of ``down="blur"`` before a 3x3 convolution.
        down: ``"strided"`` convolutions; ``"blur"`` halves maps with a fixed binomial filter after a 3x3 convolution
            and its activation (Zhang 2019, "Making Convolutional Networks Shift-Invariant Again"), which avoids their
            aliasing and takes two to four times as many operations there; ``"blur3"`` is the same with the shorter
            filter of CUT, see ``BlurPool``.

    Attributes:
        stride: Number of which H and W of the images must be multiples.
        value_range: Minimum and maximum of the values of input and output images.
        keeps_own_init: Whether ``init`` leaves the weights unchanged.
        feature_layers: Layers whose maps :meth:`features` returns after the padded images.
        feature_padding: Pixels by which :meth:`features` pads the images.
    """

    value_range: tuple[float, float]
    feature_layers: tuple[str, ...]
    feature_padding = 0

    def __init__(
        self,
        layers: dict[str, nn.Module],
        *,
        output: OutputName,
        stride: int,
        norm: NormName,
        activation: ActivationName,
    ) -> None:
        end, self.value_range = choose("output", output, _OUTPUTS)
        super().__init__(OrderedDict(layers, output=end()))
        self.residual = output == "residual"
        self.stride = stride
        self.keeps_own_init = norm == "none"
        if self.keeps_own_init:
            initialise_without_norms(self, negative_slope=0.2 if activation == "leaky_relu" else 0.0)

    def forward(self, images: Tensor) -> Tensor:
        """Return translations (N, out_channels, H, W) of images (N, in_channels, H, W), both in ``value_range``."""
        height, width = images.shape[-2:]
        smallest = 2 * self.stride  # maps of one pixel can be neither normalised nor reflected
        if height >= smallest and width >= smallest:
            return self._translate(images)
        edges = (0, max(0, smallest - width), 0, max(0, smallest - height))
        return self._translate(functional.pad(images, edges, mode="replicate"))[..., :height, :width]

    def features(self, images: Tensor) -> list[Tensor]:
        """Return the padded images and the feature maps of some layers, (N, C, h, w) each.

        The layers are those of Park et al. 2020, "Contrastive Learning for Unpaired Image-to-Image Translation": the
        convolutions of the downsampling stages and two of the residual blocks.
        """
        edges = (self.feature_padding,) * 4
        maps, result = [functional.pad(images, edges, mode="reflect")], images
        for name, layer in self.named_children():
            parts = layer.named_children() if f"{name}.conv" in self.feature_layers else [("", layer)]
            for part, module in parts:
                result = module(result)
                if f"{name}.{part}".rstrip(".") in self.feature_layers:
                    maps.append(result.clone() if part else result)  # an in-place activation may follow
            if len(maps) > len(self.feature_layers):
                break
        return maps

    def _translate(self, images: Tensor) -> Tensor:
        result = images
        for layer in self:
            result = layer(result)
        return images + result if self.residual else result


def _is_residual(output: OutputName, in_channels: int, out_channels: int) -> bool:
    if output == "residual" and in_channels != out_channels:
        raise SettingsError(
            f'output = "residual" needs {in_channels} output channels like the input, not {out_channels}'
        )
    return output == "residual"


def _down(
    kind: DownName, before: int, after: int, kernel: int, *, bias: bool, norm: NormName, activation: ActivationName
) -> nn.Sequential:
    """Return a stage that halves the map."""
    taps = choose("down", kind, BLUR_TAPS)
    if not taps:
        return stage(nn.Conv2d(before, after, kernel, stride=2, padding=1, bias=bias), after, norm, activation)
    whole = stage(nn.Conv2d(before, after, 3, padding=1, bias=bias), after, norm, activation)
    whole.add_module("blur", BlurPool(after, taps))
    return whole


def _up(
    kind: UpName, before: int, after: int, kernel: int, *, bias: bool, padding: PaddingName, from_zero: bool = False
) -> nn.Module:
    """Return a convolution that doubles the map."""
    kinds: dict[str, tuple[type[nn.Conv2d], type[nn.Conv2d]] | None] = {
        "transposed": None,
        "resize": (ResizeConv2d, ZeroResizeConv2d),
        "blur": (BlurConv2d, ZeroBlurConv2d),
    }
    if resized := choose("up", kind, kinds):
        return resized[from_zero](before, after, 3, padding=1, padding_mode=padding, bias=bias)
    transposed = ZeroConvTranspose2d if from_zero else nn.ConvTranspose2d
    return transposed(before, after, kernel, stride=2, padding=1, output_padding=kernel % 2, bias=bias)


def _feature_layers(stages: int, blocks: int) -> tuple[str, ...]:
    """Return the names of the downsampling convolutions, the first residual block and the middle one."""
    return (
        *(f"down{index}.conv" for index in range(1, stages + 1)),
        *dict.fromkeys(["block1", f"block{(blocks + 1) // 2}"]),
    )


class EncoderDecoder(Generator):
    """4x4 convolutions of stride 2, residual blocks, and transposed convolutions, without skip connections.

    The defaults are the generator of towardsautonomy/CycleGAN_improved (2020), with 5,773,312 parameters, except that
    it has ``output="clamped_tanh"``. ``stages=3, blocks=6, norm="batch", activation="relu", output="tanh"`` is that of
    jscriptcoder/CycleGANs, with 8,402,176 parameters. Convolutions have a bias only if there is no norm.

    With the defaults, a pixel depends on up to 109 px in each direction; the distance depends on its position modulo
    the stride. Instance norm adds the statistics of the whole image.

    Args:
        in_channels: Channels of the input images.
        out_channels: Channels of the output images.
        width: Channels after the first stage; each further stage doubles them, up to four times this number.
        stages: Number of downsampling stages, and of upsampling stages; the stride is ``2 ** stages``.
        blocks: Number of residual blocks between them.
        norm: ``"instance"``, ``"batch"`` or ``"none"``.
        activation: ``"leaky_relu"`` (slope 0.2) or ``"relu"``.
        output: See ``Generator``.
        up: See ``Generator``.
        down: See ``Generator``.

    Raises:
        SettingsError: If an option is out of range.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        *,
        width: int = 64,
        stages: int = 4,
        blocks: int = 2,
        norm: NormName = "instance",
        activation: ActivationName = "leaky_relu",
        output: OutputName = "half_tanh",
        up: UpName = "transposed",
        down: DownName = "strided",
    ) -> None:
        check_counts(width=width, stages=stages, blocks=blocks)
        residual = _is_residual(output, in_channels, out_channels)
        bias = norm == "none"
        layers: dict[str, nn.Module] = {}
        channels = [width * min(2**index, 4) for index in range(stages)]
        before = in_channels
        for index, after in enumerate(channels, 1):
            layers[f"down{index}"] = _down(down, before, after, 4, bias=bias, norm=norm, activation=activation)
            before = after
        for index in range(1, blocks + 1):
            layers[f"block{index}"] = ResidualBlock(before, norm=norm, activation=activation, bias=bias)
        for index, after in enumerate(channels[-2::-1], 1):
            conv = _up(up, before, after, 4, bias=bias, padding="zeros")
            layers[f"up{index}"] = stage(conv, after, norm, activation)
            before = after
        layers[f"up{stages}"] = _up(up, before, out_channels, 4, bias=bias, padding="zeros", from_zero=residual)
        super().__init__(layers, output=output, stride=2**stages, norm=norm, activation=activation)
        self.feature_layers = _feature_layers(stages, blocks)


class ResNet(Generator):
    """The ResNet generator of the reference CycleGAN (Zhu et al. 2017, junyanz/pytorch-CycleGAN-and-pix2pix).

    It has a 7x7 convolution, two convolutions of stride 2, residual blocks with reflect padding, two transposed
    convolutions, and a 7x7 convolution; every convolution has a bias. With 9 blocks, for 256x256, it has 11,378,179
    parameters and a receptive field of 169 px; with 6 blocks, for 128x128, it has 7,837,699. The stride is 4.

    ``down="blur3", up="blur", up_padding="zeros"`` is the generator of CUT (taesungp/contrastive-unpaired-translation).

    Args:
        in_channels: Channels of the input images.
        out_channels: Channels of the output images.
        width: Channels after the first convolution; doubled by each convolution of stride 2.
        blocks: Number of residual blocks.
        norm: ``"instance"``, ``"batch"`` or ``"none"``.
        output: See ``Generator``.
        up: See ``Generator``.
        down: See ``Generator``.
        up_padding: Padding of the convolutions after the maps are doubled, ``"reflect"`` or ``"zeros"``; without effect
            with ``up="transposed"``.

    Raises:
        SettingsError: If an option is out of range.
    """

    feature_padding = 3

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        *,
        width: int = 64,
        blocks: int = 9,
        norm: NormName = "instance",
        output: OutputName = "tanh",
        up: UpName = "transposed",
        down: DownName = "strided",
        up_padding: PaddingName = "reflect",
    ) -> None:
        check_counts(width=width, blocks=blocks)
        last = ZeroConv2d if _is_residual(output, in_channels, out_channels) else nn.Conv2d
        layers: dict[str, nn.Module] = {}
        first = nn.Conv2d(in_channels, width, 7, padding=3, padding_mode="reflect")
        layers["first"] = stage(first, width, norm, "relu")
        for index in (1, 2):
            layers[f"down{index}"] = _down(down, width, 2 * width, 3, bias=True, norm=norm, activation="relu")
            width *= 2
        for index in range(1, blocks + 1):
            block = ResidualBlock(width, norm=norm, activation="relu", bias=True, padding="reflect")
            layers[f"block{index}"] = block
        for index in (1, 2):
            conv = _up(up, width, width // 2, 3, bias=True, padding=up_padding)
            width //= 2
            layers[f"up{index}"] = stage(conv, width, norm, "relu")
        layers["last"] = last(width, out_channels, 7, padding=3, padding_mode="reflect")
        super().__init__(layers, output=output, stride=4, norm=norm, activation="relu")
        self.feature_layers = _feature_layers(2, blocks)
