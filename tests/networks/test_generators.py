from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from sim2real.engines.tiling import check_tiling
from sim2real.errors import SettingsError
from sim2real.networks import initialise
from sim2real.networks.blocks import BlurPool, DownName, NormName, ResizeConv2d, UpName
from sim2real.networks.generators import ClampedTanh, EncoderDecoder, Generator, HalfTanh, OutputName, ResNet

SMALL: dict[str, Callable[..., Generator]] = {
    "A": lambda **options: EncoderDecoder(width=4, **options),
    "B": lambda **options: EncoderDecoder(
        width=4, stages=3, norm="batch", activation="relu", **{"output": "tanh", **options}
    ),
    "E": lambda **options: ResNet(width=4, blocks=2, **options),
    "A resized": lambda **options: EncoderDecoder(width=4, up="resize", down="blur", **options),
    "E resized": lambda **options: ResNet(width=4, blocks=2, up="resize", down="blur", **options),
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


# --------------------------------------------------------------------------------------- up, down and without norms

BUILD: dict[str, Callable[..., Generator]] = {
    "encoder-decoder": EncoderDecoder,
    "resnet": ResNet,
}


def test_blurpool_halves_a_map_after_binomial_weights() -> None:
    line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    impulse = torch.zeros(1, 2, 8, 8)
    impulse[0, 1, 3, 4] = 1.0
    expected = torch.zeros(1, 2, 4, 4)
    expected[0, 1, 1:3, 1:3] = torch.outer(line[[2, 0]], line[[3, 1]])
    torch.testing.assert_close(BlurPool(2)(impulse), expected)
    flat = torch.full((1, 2, 6, 2), 0.7)
    torch.testing.assert_close(BlurPool(2)(flat), flat[:, :, :3, :1])  # edges, too


def test_blurpool_lets_no_checkerboard_through() -> None:
    rows, columns = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    for pattern in (rows % 2, columns % 2, (rows + columns) % 2):
        halved = BlurPool(1)(pattern[None, None].float())
        torch.testing.assert_close(halved[..., 1:-1, 1:-1], torch.full((1, 1, 6, 6), 0.5))


def test_a_resize_convolution_sees_doubled_pixels() -> None:
    conv = ResizeConv2d(2, 3, 3, padding=1)
    images = torch.rand(1, 2, 4, 5)
    doubled = images.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(conv(images), functional.conv2d(doubled, conv.weight, conv.bias, padding=1))


def unevenness(up: UpName) -> float:
    """How unlike its neighbours a row of what becomes of a constant map is, where it is doubled; away from edges."""
    torch.manual_seed(0)
    network = ResNet(width=4, blocks=1, up=up, norm="none")
    flat = network.get_submodule("up1")(torch.ones(1, 16, 16, 16))[..., 4:-4, 4:-4]
    return float((flat - flat.roll(1, 2)).abs().max().detach())


def test_resized_maps_have_no_checkerboard() -> None:
    assert unevenness("transposed") > 0.1
    assert unevenness("resize") < 1e-5


def aliasing(down: DownName) -> float:
    """How much of what a network makes of fine stripes changes when they move by a pixel."""
    torch.manual_seed(0)
    network = EncoderDecoder(width=8, stages=2, blocks=1, norm="none", down=down)
    stripes = (torch.arange(64) % 2).float().expand(1, 3, 64, 64)
    maps = [network.get_submodule("down1")(stripes.roll(shift, 3))[..., 4:-4] for shift in range(2)]
    return float(((maps[0] - maps[1]).abs().mean() / maps[0].abs().mean()).detach())


def test_blurred_maps_do_not_depend_on_the_phase_of_fine_stripes() -> None:
    assert aliasing("strided") > 0.1
    assert aliasing("blur") < 1e-5


@pytest.mark.parametrize("up", ["transposed", "resize"])
@pytest.mark.parametrize("down", ["strided", "blur"])
@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
@pytest.mark.parametrize("name", BUILD)
def test_every_variant_can_be_computed_over_tiles(name: str, norm: NormName, down: DownName, up: UpName) -> None:
    check_tiling(BUILD[name](width=4, blocks=1, norm=norm, up=up, down=down))


def smooth(side: int) -> Tensor:
    """Images as cameras take them: of neighbours that are alike."""
    return functional.interpolate(torch.rand(2, 3, 8, 8) * 2 - 1, size=(side, side), mode="bilinear")


@pytest.mark.parametrize(("up", "down"), [("transposed", "strided"), ("resize", "blur")])
@pytest.mark.parametrize("name", BUILD)
def test_without_norms_maps_keep_their_size_from_end_to_end(name: str, up: UpName, down: DownName) -> None:
    torch.manual_seed(0)
    network = BUILD[name](width=16, blocks=9, norm="none", output="residual", up=up, down=down)
    initialise(network, "normal")
    sizes = []
    for layer in list(network)[:-2]:
        layer.register_forward_hook(lambda _module, _args, result: sizes.append(float(result.square().mean().sqrt())))
    with torch.no_grad():
        network(smooth(64))
    assert min(sizes) > 0.05
    assert max(sizes) < 2


@pytest.mark.parametrize(
    "network", [lambda **options: EncoderDecoder(stages=2, **options), ResNet], ids=["encoder-decoder", "resnet"]
)
def test_a_residual_generator_without_norms_is_not_inert(network: Callable[..., Generator]) -> None:
    torch.manual_seed(0)
    generator = network(width=16, blocks=4, norm="none", output="residual")
    initialise(generator, "normal")
    optimiser = torch.optim.Adam(generator.parameters(), lr=5e-4, betas=(0.5, 0.999))
    for _ in range(100):
        images = smooth(32)
        loss = functional.l1_loss(generator(images), 0.5 * images.flip(1) - 0.3)  # 0.4 from the input
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.2  # 0.3 is what a shift of brightness leaves


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (EncoderDecoder, {"norm": "layer"}, "norm = 'layer' is not one of instance, batch, none"),
        (EncoderDecoder, {"activation": "gelu"}, "activation = 'gelu' is not one of relu, leaky_relu"),
        (ResNet, {"output": "relu"}, "output = 'relu' is not one of tanh, half_tanh, clamped_tanh, residual"),
        (ResNet, {"up": "bilinear"}, "up = 'bilinear' is not one of transposed, resize"),
        (EncoderDecoder, {"down": "max"}, "down = 'max' is not one of strided, blur"),
        (ResNet, {"width": 0}, "width = 0 must be a whole number of at least 1"),
        (EncoderDecoder, {"stages": 2.5}, r"stages = 2\.5 must be a whole number"),
        (ResNet, {"out_channels": 1, "output": "residual"}, "residual.*3 output channels.*not 1"),
    ],
)
def test_options_that_no_network_has_are_refused(
    build: Callable[..., Generator], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        build(**options)
