import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from sim2real.networks import describe
from sim2real.networks.discriminators import Combined, PatchGAN70
from sim2real.networks.generators import EncoderDecoder, ResNet

NETWORKS: list[nn.Module] = [
    EncoderDecoder(width=4, norm="batch"),
    ResNet(width=4, blocks=2),
    ResNet(width=4, blocks=1, up="resize", down="blur", norm="none"),
    Combined(3, (32, 64), width=4),
    PatchGAN70(3, (32, 64), width=4, sigmoid=True),
    nn.Sequential(spectral_norm(nn.Conv2d(3, 2, 3)), nn.PReLU(), spectral_norm(nn.Conv2d(2, 1, 3, bias=False))),
]


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: type(network).__name__)
def test_the_layers_have_all_parameters_and_the_shapes_of_a_true_run(network: nn.Module) -> None:
    layers = describe(network, 3, 32, 64)
    assert sum(layer.parameters for layer in layers) == sum(parameter.numel() for parameter in network.parameters())

    ran: list[tuple[nn.Module, tuple[int, ...]]] = []

    def record(module: nn.Module, inputs: object, output: Tensor) -> None:
        ran.append((module, tuple(output.shape[1:])))

    watched = copy.deepcopy(network)
    modules = [watched.get_submodule(layer.name) for layer in layers]
    for module in modules:
        module.register_forward_hook(record)
    with torch.no_grad():
        watched(torch.rand(2, 3, 32, 64))
    assert ran == list(zip(modules, [layer.output_shape for layer in layers], strict=True))


def test_describing_leaves_the_network_as_it_was() -> None:
    network = EncoderDecoder(width=4, norm="batch")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    randomness = torch.get_rng_state()
    describe(network, 3, 32, 32)
    after = network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert torch.equal(torch.get_rng_state(), randomness)
    assert not any(module._forward_hooks for module in network.modules())


def test_a_layer_used_twice_runs_twice_and_is_counted_once() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.layer(self.layer(x))
            return result

    assert [(layer.name, layer.parameters) for layer in describe(Twice(), 3)] == [("layer", 12), ("layer", 0)]


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (nn.Conv2d(3, 1, (3, 5), stride=(1, 2), padding=(1, 2)), "Conv2d 3x5 s1x2 p1x2"),
        (nn.Conv2d(3, 1, 3, padding="same", padding_mode="reflect"), "Conv2d 3x3 s1 psame reflect"),
        (spectral_norm(nn.Conv2d(3, 1, 3)), "Conv2d 3x3 s1 p0"),
        (nn.ConvTranspose2d(3, 1, 3, stride=2, padding=1, output_padding=1), "ConvTranspose2d 3x3 s2 p1 op1"),
        (nn.Linear(8, 2), "Linear 8 to 2"),
        (nn.LeakyReLU(0.2), "LeakyReLU 0.2"),
        (nn.Flatten(), "Flatten"),
    ],
)
def test_kinds_are_told_as_in_papers(layer: nn.Module, kind: str) -> None:
    assert [described.kind for described in describe(layer, 3, 8, 8)] == [kind]
