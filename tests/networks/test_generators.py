from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sim2real.errors import SettingsError
from sim2real.networks.generators import ClampedTanh, EncoderDecoder, Generator, HalfTanh, OutputName, ResNet

SMALL: dict[str, Callable[..., Generator]] = {
    "A": lambda **options: EncoderDecoder(width=4, **options),
    "B": lambda **options: EncoderDecoder(
        width=4, stages=3, norm="batch", activation="relu", **{"output": "tanh", **options}
    ),
    "E": lambda **options: ResNet(width=4, blocks=2, **options),
}


def reach(network: Generator, size: int, row: int) -> tuple[int, int]:
    """How many pixels an output pixel sees before and after itself, probed by the gradient down one column.

    All weights positive and no norm: then no path from an input to the output is switched off or cancelled.
    """
    layers = nn.Sequential(*list(network)[:-1]).double()
    for parameter in layers.parameters():
        nn.init.constant_(parameter, 0.1 if parameter.dim() > 1 else 0.0)
    image = torch.ones(1, 3, size, size, dtype=torch.double, requires_grad=True)
    (gradient,) = torch.autograd.grad(layers(image)[0, 0, row, size // 2], image)
    seen = gradient.abs().sum((0, 1, 3)).nonzero().flatten()
    return row - int(seen.min()), int(seen.max()) - row


def test_resnet9_sees_169_pixels() -> None:
    network = ResNet(width=1, blocks=9, norm="none")
    reaches = [reach(network, 200, 100 + phase) for phase in range(4)]
    assert max(before for before, _ in reaches) + 1 + max(after for _, after in reaches) == 169
    assert max(max(pair) for pair in reaches) == 84


def test_encoder_decoder_sees_as_far_as_its_tiles_must_overlap() -> None:
    network = EncoderDecoder(width=1, norm="none")
    reaches = [reach(network, 288, 144 + phase) for phase in range(16)]
    assert [max(before for before, _ in reaches), max(after for _, after in reaches)] == [109, 109]


@pytest.mark.parametrize("system", SMALL)
@pytest.mark.parametrize("batch", [1, 3])
@settings(max_examples=8, deadline=None)
@given(rows=st.integers(1, 4), columns=st.integers(1, 4))
def test_any_multiple_of_the_stride_comes_out_as_it_went_in(system: str, batch: int, rows: int, columns: int) -> None:
    network = SMALL[system]().eval()
    shape = (batch, 3, rows * network.stride, columns * network.stride)
    with torch.no_grad():
        assert network(torch.rand(shape)).shape == shape


@pytest.mark.parametrize("system", SMALL)
def test_channels_in_and_out_may_differ(system: str) -> None:
    network = SMALL[system](in_channels=4, out_channels=1)
    assert network(torch.rand(1, 4, 32, 32)).shape == (1, 1, 32, 32)


@pytest.mark.parametrize(("output", "bound"), [("tanh", 1.0), ("half_tanh", 0.5), ("clamped_tanh", 0.5)])
def test_outputs_stay_in_the_range_and_reach_for_its_ends(output: OutputName, bound: float) -> None:
    network = EncoderDecoder(width=4, output=output)
    assert network.value_range == (-bound, bound)
    with torch.no_grad():
        network.get_parameter("up4.weight").mul_(100.0)
        images = network(torch.rand(2, 3, 64, 64) - 0.5)
    assert 0.95 * bound < images.max() <= bound
    assert -0.95 * bound > images.min() >= -bound


def test_half_tanh_learns_everywhere_and_clamped_tanh_does_not() -> None:
    values = torch.linspace(-4, 4, 101, requires_grad=True)
    (of_half,) = torch.autograd.grad(HalfTanh()(values).sum(), values)
    (of_clamped,) = torch.autograd.grad(ClampedTanh()(values).sum(), values)
    assert (of_half > 0).all()
    assert (of_clamped[values.abs() > 0.55] == 0).all()  # tanh(0.55) is 0.5005
    assert (of_clamped[values.abs() < 0.54] > 0).all()


@pytest.mark.parametrize("system", SMALL)
def test_a_residual_generator_begins_as_the_identity_and_learns_from_the_first_step(system: str) -> None:
    network = SMALL[system](output="residual")
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    translated = network(images)
    torch.testing.assert_close(translated, images, rtol=0, atol=0)
    last = list(network.parameters())[-1]
    (gradient,) = torch.autograd.grad(translated.square().mean(), last)
    assert gradient.abs().sum() > 0


def test_an_instance_norm_generator_translates_each_image_of_a_batch_on_its_own() -> None:
    network = EncoderDecoder(width=4)
    images = torch.rand(3, 3, 32, 48)
    apart = torch.cat([network(image[None]) for image in images])
    torch.testing.assert_close(network(images), apart, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (EncoderDecoder, {"norm": "layer"}, "norm = 'layer' is not one of instance, batch, none"),
        (EncoderDecoder, {"activation": "gelu"}, "activation = 'gelu' is not one of relu, leaky_relu"),
        (ResNet, {"output": "relu"}, "output = 'relu' is not one of tanh, half_tanh, clamped_tanh, residual"),
        (ResNet, {"width": 0}, "width = 0 must be a whole number of at least 1"),
        (EncoderDecoder, {"stages": 2.5}, r"stages = 2\.5 must be a whole number"),
        (ResNet, {"out_channels": 1, "output": "residual"}, "residual.*3 channels.*not 1"),
    ],
)
def test_options_that_no_network_has_are_refused(
    build: Callable[..., Generator], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        build(**options)
