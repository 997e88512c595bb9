"""Building blocks of the networks, and the initialisation of their weights."""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized

from sim2real.errors import SettingsError

NormName = Literal["instance", "batch", "none"]
ActivationName = Literal["relu", "leaky_relu"]
PaddingName = Literal["zeros", "reflect"]
UpName = Literal["transposed", "resize", "blur"]
DownName = Literal["strided", "blur", "blur3"]
InitName = Literal["xavier", "normal", "xavier-0.02"]

_SAMPLING: Mapping[str, Callable[[Tensor], Tensor]] = {
    "xavier": nn.init.xavier_uniform_,
    "normal": partial(nn.init.normal_, std=0.02),
    "xavier-0.02": partial(nn.init.xavier_normal_, gain=0.02),
}

BLUR_TAPS: Mapping[str, int] = {"strided": 0, "blur": 4, "blur3": 3}
"""Width of the filter that halves a map for each ``down``; 0 for a strided convolution."""

T = TypeVar("T")

_WEIGHTED = nn.modules.conv._ConvNd | nn.Linear  # noqa: SLF001  the only common base of convolutions


def choose(option: str, value: str, table: Mapping[str, T]) -> T:
    """Return the entry of ``table`` that the user selected with ``option``.

    Raises:
        SettingsError: If there is no such entry; the message lists all entries.
    """
    if value not in table:
        raise SettingsError(f"{option} = {value!r} is not one of {', '.join(table)}")
    return table[value]


def check_counts(**options: int) -> None:
    """Check options that are counts, such as numbers of channels, stages or blocks.

    Raises:
        SettingsError: If one of them is not a whole number of at least 1.
    """
    for option, value in options.items():
        if not isinstance(value, int) or value < 1:
            raise SettingsError(f"{option} = {value!r} must be a whole number of at least 1")


def numbers(option: str, value: Sequence[float], count: int) -> tuple[float, ...]:
    """Return the ``count`` numbers of an option as a tuple.

    Raises:
        SettingsError: If the value is not a list of ``count`` numbers.
    """
    if isinstance(value, list | tuple) and len(value) == count and all(isinstance(each, float | int) for each in value):
        return tuple(map(float, value))
    raise SettingsError(f"{option} = {value!r} must be {count} numbers")


def pair(option: str, value: Sequence[float]) -> tuple[float, float]:
    """Return the two numbers of an option, see :func:`numbers`."""
    first, second = numbers(option, value, 2)
    return first, second


def stage(conv: nn.Module, channels: int, norm: NormName, activation: ActivationName | None) -> nn.Sequential:
    """Return a convolution with ``channels`` outputs, followed by its normalisation and activation.

    ``"instance"`` norm has no affine parameters, ``"batch"`` norm has them. ``"leaky_relu"`` has a slope of 0.2.
    Activations work in place, which halves the memory of the feature maps.
    """
    norms: dict[str, Callable[[], nn.Module | None]] = {
        "instance": lambda: nn.InstanceNorm2d(channels),
        "batch": lambda: nn.BatchNorm2d(channels),
        "none": lambda: None,
    }
    activations: dict[str, Callable[[], nn.Module]] = {
        "relu": lambda: nn.ReLU(inplace=True),
        "leaky_relu": lambda: nn.LeakyReLU(0.2, inplace=True),
    }
    layers = {
        "conv": conv,
        "norm": choose("norm", norm, norms)(),
        "activation": choose("activation", activation, activations)() if activation else None,
    }
    return nn.Sequential(OrderedDict((name, layer) for name, layer in layers.items() if layer is not None))


class ResidualBlock(nn.Module):
    """``x + norm(conv(act(norm(conv(x)))))`` with two 3x3 convolutions and nothing after the sum.

    Without norms it starts as the identity (its second convolution at 0, as in Zhang et al. 2019, "Fixup
    Initialization"); otherwise each block would double the variance of the map. With ``padding="reflect"``, H and W
    must be at least 2.
    """

    def __init__(
        self,
        channels: int,
        *,
        norm: NormName,
        activation: ActivationName,
        bias: bool,
        padding: PaddingName = "zeros",
    ) -> None:
        super().__init__()

        def conv(kind: type[nn.Conv2d]) -> nn.Conv2d:
            return kind(channels, channels, 3, padding=1, bias=bias, padding_mode=padding)

        self.first = stage(conv(nn.Conv2d), channels, norm, activation)
        self.second = stage(conv(ZeroConv2d if norm == "none" else nn.Conv2d), channels, norm, None)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the same shape, (N, channels, H, W)."""
        residue: Tensor = self.second(self.first(x))
        return x + residue


class _BeginsAtZero:
    keeps_own_init = True
    weight: Tensor
    bias: Tensor | None

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class ZeroConv2d(_BeginsAtZero, nn.Conv2d):
    """A convolution that starts as the constant 0, so that adding its output has no effect at first."""


class ZeroConvTranspose2d(_BeginsAtZero, nn.ConvTranspose2d):
    """A transposed convolution that starts as the constant 0."""


class ResizeConv2d(nn.Conv2d):
    """A convolution after doubling the map by repeating pixels, free of checkerboard patterns (Odena et al. 2016)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out_channels, 2H, 2W) for (N, C, H, W), if the padding keeps the size."""
        return super().forward(functional.interpolate(x, scale_factor=2.0, mode="nearest"))


class BlurConv2d(nn.Conv2d):
    """A convolution after doubling the map with binomial weights, 1 3 3 1 per axis, without aliasing (Zhang 2019)."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out_channels, 2H, 2W) for (N, C, H, W), if the padding keeps the size."""
        doubled = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)  # weights 1 3 3 1
        return super().forward(doubled)


class ZeroBlurConv2d(_BeginsAtZero, BlurConv2d):
    """A ``BlurConv2d`` that starts as the constant 0."""


class ZeroResizeConv2d(_BeginsAtZero, ResizeConv2d):
    """A ``ResizeConv2d`` that starts as the constant 0."""


class BlurPool(nn.Module):
    """Every other pixel of the map after a blur with binomial weights (Zhang 2019).

    The weights per axis are 1 3 3 1 (``taps=4``) or 1 2 1 (``taps=3``, as in CUT, Park et al. 2020). The blur removes
    details that would alias in the smaller map, so that the map changes little if an image moves by a pixel. H and W
    must be at least 2.
    """

    kernel: Tensor

    def __init__(self, channels: int, taps: int = 4) -> None:
        super().__init__()
        line = torch.tensor([float(math.comb(taps - 1, index)) for index in range(taps)]) / 2 ** (taps - 1)
        kernel = torch.outer(line, line).expand(channels, 1, taps, taps).contiguous()
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, channels, H/2, W/2) for (N, channels, H, W); odd sides are rounded down with 4 taps, else up."""
        around = functional.pad(x, (1, 1, 1, 1), mode="reflect")
        return functional.conv2d(around, self.kernel, stride=2, groups=len(self.kernel))


@contextmanager
def at_rest(weights: Iterable[nn.Parameter]) -> Iterator[None]:
    """Return a context in which weights accumulate no gradients, though gradients still flow through their layers.

    Weights that were frozen before stay frozen afterwards.
    """
    resting = [weight for weight in weights if weight.requires_grad]
    for weight in resting:
        weight.requires_grad_(False)  # noqa: FBT003  torch's own signature
    try:
        yield
    finally:
        for weight in resting:
            weight.requires_grad_(True)  # noqa: FBT003  as above


def initialise_without_norms(network: nn.Module, negative_slope: float) -> None:
    """Initialise a network without norms so that the variance of maps is preserved from layer to layer.

    This follows He et al. (2015), "Delving Deep into Rectifiers": weights have the variance 2 / (1 + slope^2), divided
    by the number of inputs of a value. For transposed convolutions, this number is divided by the growth of the map.
    Biases start at 0. Modules with the attribute ``keeps_own_init = True`` are left unchanged.

    Args:
        network: The network; its weights are sampled from torch's global random generator.
        negative_slope: Slope of its leaky rectifiers; 0 for ordinary ones.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and not getattr(layer, "keeps_own_init", False):
            growth = math.prod(layer.stride) if isinstance(layer, nn.ConvTranspose2d) else 1
            inputs = layer.in_channels * math.prod(layer.kernel_size) / growth
            nn.init.normal_(layer.weight, 0.0, math.sqrt(2 / (1 + negative_slope**2) / inputs))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def initialise(module: nn.Module, scheme: InitName) -> None:
    """Sample the weights of a whole network from torch's global random generator; biases start at 0.

    ``"xavier"`` samples the weights of convolutions and linear layers uniformly, after Glorot and Bengio (2010), and
    affine norms start as the identity. ``"normal"`` is the choice of the reference CycleGAN (Zhu et al. 2017):
    N(0, 0.02), and N(1, 0.02) for the weights of batch norms. ``"xavier-0.02"`` is that of CUT (Park et al. 2020):
    the normal distribution of Glorot and Bengio with a gain of 0.02, and batch norms as with ``"normal"``.

    Modules with the attribute ``keeps_own_init = True`` and their children are left unchanged, as are layers with
    parametrised weights (spectral norm).

    Raises:
        SettingsError: If there is no such scheme.
    """
    sample = choose("init", scheme, _SAMPLING)
    if getattr(module, "keeps_own_init", False) or is_parametrized(module):
        return
    if isinstance(module, _WEIGHTED):
        sample(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d) and module.affine:
        nn.init.normal_(module.weight, 1.0, 0.0 if scheme == "xavier" else 0.02)
        nn.init.zeros_(module.bias)
    for child in module.children():
        initialise(child, scheme)


def add_spectral_norm(network: nn.Module) -> None:
    """Divide the weights of each convolution and linear layer by their largest singular value (Miyato et al. 2018).

    The value is found with one power iteration in each forward pass in training mode. Call this after the weights are
    initialised. Layers with a parametrisation and frozen layers are left unchanged.
    """
    for layer in list(network.modules()):
        if isinstance(layer, _WEIGHTED) and not is_parametrized(layer) and layer.weight.requires_grad:
            spectral_norm(layer)
