"""What the networks are built of, and how their weights begin."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeVar

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.nn.utils.parametrize import is_parametrized

from sim2real.errors import SettingsError

NormName = Literal["instance", "batch", "none"]
ActivationName = Literal["relu", "leaky_relu"]
PaddingName = Literal["zeros", "reflect"]
InitName = Literal["xavier", "normal"]

T = TypeVar("T")

_WEIGHTED = nn.modules.conv._ConvNd | nn.Linear  # noqa: SLF001  the only common base of convolutions


def choose(option: str, value: str, table: Mapping[str, T]) -> T:
    """The entry of ``table`` that the user named with ``option``.

    Raises:
        SettingsError: There is no such entry; the message lists those that there are.
    """
    if value not in table:
        raise SettingsError(f"{option} = {value!r} is not one of {', '.join(table)}")
    return table[value]


def check_counts(**options: int) -> None:
    """Refuse numbers of channels, stages or blocks that no network can have.

    Raises:
        SettingsError: One of them is not a whole number of at least 1.
    """
    for option, value in options.items():
        if not isinstance(value, int) or value < 1:
            raise SettingsError(f"{option} = {value!r} must be a whole number of at least 1")


def pair(option: str, value: Sequence[float]) -> tuple[float, float]:
    """Two numbers, as a recipe lists them.

    Raises:
        SettingsError: It is something else.
    """
    match value:
        case [float() | int() as first, float() | int() as second]:
            return float(first), float(second)
    raise SettingsError(f"{option} = {value!r} must be two numbers")


def stage(conv: nn.Module, channels: int, norm: NormName, activation: ActivationName | None) -> nn.Sequential:
    """A convolution to ``channels``, then its normalisation and activation.

    ``"instance"`` norm has no affine parameters, ``"batch"`` has them. ``"leaky_relu"`` has the slope 0.2. Activations
    work in place, which halves the memory of the feature maps.
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

    With ``padding="reflect"`` H and W must be at least 2.
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

        def conv() -> nn.Conv2d:
            return nn.Conv2d(channels, channels, 3, padding=1, bias=bias, padding_mode=padding)

        self.first = stage(conv(), channels, norm, activation)
        self.second = stage(conv(), channels, norm, None)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> the same."""
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
    """A convolution that begins as the constant 0, so that what it is added to begins as it was."""


class ZeroConvTranspose2d(_BeginsAtZero, nn.ConvTranspose2d):
    """A transposed convolution that begins as the constant 0."""


def initialise(module: nn.Module, scheme: InitName) -> None:
    """Draw the weights of a whole network from torch's global random generator; biases begin at 0.

    ``"xavier"`` draws the weights of convolutions and linear layers uniformly after Glorot and Bengio (2010), and
    affine norms begin as the identity. ``"normal"`` is the reference CycleGAN's choice (Zhu et al. 2017): N(0, 0.02),
    and N(1, 0.02) for the weights of batch norms.

    A module with the attribute ``keeps_own_init = True`` is left as it was built, its children included, and so is a
    layer whose weight is parametrised (spectral norm).

    Raises:
        SettingsError: There is no such scheme.
    """
    normal = choose("init", scheme, {"xavier": False, "normal": True})
    if getattr(module, "keeps_own_init", False) or is_parametrized(module):
        return
    if isinstance(module, _WEIGHTED):
        if normal:
            nn.init.normal_(module.weight, 0.0, 0.02)
        else:
            nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d) and module.affine:
        nn.init.normal_(module.weight, 1.0, 0.02 if normal else 0.0)
        nn.init.zeros_(module.bias)
    for child in module.children():
        initialise(child, scheme)


def add_spectral_norm(network: nn.Module) -> None:
    """Divide the weights of each convolution and linear layer by their largest singular value (Miyato et al. 2018).

    It is found by one power iteration in each pass through the network while it trains. Call it when the weights are
    drawn. Layers that have a parametrisation stay as they are, and so do those that are not trained.
    """
    for layer in list(network.modules()):
        if isinstance(layer, _WEIGHTED) and not is_parametrized(layer) and layer.weight.requires_grad:
            spectral_norm(layer)
