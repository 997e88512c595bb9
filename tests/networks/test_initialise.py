import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from sim2real.errors import SettingsError
from sim2real.networks import initialise
from sim2real.networks.blocks import InitName, add_spectral_norm
from sim2real.networks.discriminators import Combined
from sim2real.networks.generators import EncoderDecoder, ResNet


def weighted(network: nn.Module) -> list[tuple[Tensor, Tensor | None]]:
    """Weight and bias of every layer but the norms."""
    kinds = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
    return [(layer.weight.detach(), layer.bias) for layer in network.modules() if isinstance(layer, kinds)]


def norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]


def test_normal_draws_what_the_reference_draws() -> None:
    torch.manual_seed(0)
    network = nn.ModuleList([EncoderDecoder(width=16, norm="batch"), Combined(3, (64, 64), width=16, norm="none")])
    initialise(network, "normal")
    for weight, bias in weighted(network):
        # four standard errors of the mean and of the deviation
        count = weight.numel()
        assert weight.mean().abs() < 4 * 0.02 / math.sqrt(count)
        assert weight.std() == pytest.approx(0.02, rel=4 / math.sqrt(2 * count))
        assert bias is None or (bias == 0).all()
    scales = torch.cat([norm.weight.detach() for norm in norms(network)])
    assert scales.mean() == pytest.approx(1.0, abs=4 * 0.02 / math.sqrt(len(scales)))
    assert scales.std() == pytest.approx(0.02, rel=4 / math.sqrt(2 * len(scales)))
    assert all((norm.bias == 0).all() for norm in norms(network))


def test_xavier_is_uniform_within_glorots_bound() -> None:
    torch.manual_seed(0)
    network = nn.ModuleList([EncoderDecoder(width=16, norm="batch"), Combined(3, (64, 64), width=16, norm="none")])
    initialise(network, "xavier")
    for weight, bias in weighted(network):
        out_count, in_count, *kernel = weight.shape
        bound = math.sqrt(6 / (math.prod(kernel) * (in_count + out_count)))
        assert weight.abs().max() <= bound
        count = weight.numel()
        assert weight.std() == pytest.approx(bound / math.sqrt(3), rel=4 / math.sqrt(2 * count))
        assert bias is None or (bias == 0).all()
    for norm in norms(network):
        assert (norm.weight == 1).all()
        assert (norm.bias == 0).all()


def test_cuts_weights_are_glorots_times_0_02() -> None:
    torch.manual_seed(0)
    network = nn.ModuleList([ResNet(width=8, blocks=2), nn.Linear(256, 256), nn.BatchNorm2d(1000)])
    initialise(network, "xavier-0.02")
    for weight, bias in weighted(network):
        out_count, in_count, *kernel = weight.shape
        deviation = 0.02 * math.sqrt(2 / (math.prod(kernel) * (in_count + out_count)))
        assert weight.std() == pytest.approx(deviation, rel=4 / math.sqrt(2 * weight.numel()))
        assert bias is None or (bias == 0).all()
    assert norms(network)[-1].weight.detach().std() == pytest.approx(0.02, rel=0.1)


@pytest.mark.parametrize("scheme", ["xavier", "normal", "xavier-0.02"])
def test_torchs_seed_decides_the_weights(scheme: InitName) -> None:
    def sampled(seed: int) -> Tensor:
        network = ResNet(width=2, blocks=1)
        torch.manual_seed(seed)
        initialise(network, scheme)
        return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])

    assert torch.equal(sampled(1), sampled(1))
    assert not torch.equal(sampled(1), sampled(2))


@pytest.mark.parametrize("scheme", ["xavier", "normal"])
@pytest.mark.parametrize("build", [EncoderDecoder, ResNet])
def test_a_residual_generator_is_the_identity_after_its_weights_are_drawn(
    build: Callable[..., nn.Module], scheme: InitName
) -> None:
    network = build(width=4, blocks=1, output="residual")
    initialise(network, scheme)
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(network(images), images)


def test_a_layer_with_spectral_norm_stays_as_its_maker_left_it() -> None:
    layer = spectral_norm(nn.Conv2d(3, 4, 3))
    before = copy.deepcopy(layer.state_dict())
    initialise(nn.Sequential(layer), "normal")
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


def test_spectral_norm_makes_every_layer_that_is_trained_one_of_norm_one() -> None:
    torch.manual_seed(0)
    conv, up, linear = nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 3, 3), nn.Linear(5, 2)
    frozen = nn.Conv2d(3, 4, 3).requires_grad_(False)
    kept = frozen.weight.clone()
    network = nn.Sequential(conv, nn.Sequential(up, nn.BatchNorm2d(3)), linear, frozen)
    add_spectral_norm(network)
    names = [name for name, _ in network.named_parameters()]
    add_spectral_norm(network)
    assert [name for name, _ in network.named_parameters()] == names
    for _ in range(20):  # a power iteration each
        matrices = [conv.weight.flatten(1), up.weight.transpose(0, 1).flatten(1), linear.weight]
    assert [torch.linalg.matrix_norm(each, 2).item() for each in matrices] == pytest.approx([1.0] * 3, rel=1e-3)
    assert torch.equal(frozen.weight, kept)


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"init = 'kaiming' is not one of xavier, normal, xavier-0\.02"):
        initialise(nn.Linear(1, 1), "kaiming")  # type: ignore[arg-type]  # what a recipe may say
