"""The networks of the published systems, built from the options in their recipes, to the number."""

import tomllib
from importlib import resources
from typing import Any

import pytest
import torch
from torch import nn

from sim2real.networks import describe
from sim2real.networks.discriminators import Combined
from sim2real.networks.generators import Generator, ResNet
from sim2real.registry import registry

RECIPES = ["vkitti2kitti", "monet2photo", "resnet9-sigmoid", "cyclegan-256", "cyclegan", "cut", "fastcut"]


def recipe(name: str) -> dict[str, Any]:
    return tomllib.loads((resources.files("sim2real") / "recipes" / f"{name}.toml").read_text())


def generator(name: str) -> Generator:
    network = build("generator", name)
    assert isinstance(network, Generator)
    return network


def discriminator(name: str) -> nn.Module:
    _, height, width = input_shape(name)
    return build("discriminator", name, 3, (height, width))


def build(kind: str, recipe_name: str, *sizes: object) -> nn.Module:
    """The network of a recipe, without memory for its weights."""
    component = recipe(recipe_name)[kind]
    with torch.device("meta"):
        network: nn.Module = registry().create(
            f"{kind}s", component["name"], *sizes, options=component["options"], place=f"{kind}.options"
        )
    return network


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def input_shape(name: str) -> tuple[int, int, int]:
    width, height = recipe(name)["data"]["size"]
    return 3, height, width


def stage_shapes(network: nn.Module, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Output shapes of the convolutions and linear layers, in the order in which they run."""
    return [layer.output_shape for layer in describe(network, *shape) if layer.kind.startswith(("Conv", "Linear"))]


@pytest.mark.parametrize(
    ("name", "of_generator", "of_discriminator"),
    [
        ("vkitti2kitti", 5_773_312, 2_760_192 + 5_966_977),
        ("monet2photo", 8_402_176, 2_765_568),
        ("resnet9-sigmoid", 11_378_179, 2_764_737),
        ("cyclegan-256", 5_773_312, 2_760_192),
        ("cyclegan", 11_378_179, 2_764_737),
        ("cut", 11_378_179, 2_764_737),
        ("fastcut", 11_378_179, 2_764_737),
    ],
)
def test_parameter_counts(name: str, of_generator: int, of_discriminator: int) -> None:
    assert parameters(generator(name)) == of_generator
    assert parameters(discriminator(name)) == of_discriminator


@pytest.mark.parametrize("name", ["cut", "fastcut"])
def test_cut_halves_and_doubles_its_maps_by_fixed_filters(name: str) -> None:
    filters = [layer.kind for layer in describe(generator(name), 3, 256, 256)]
    assert sum(kind.startswith("BlurPool") for kind in filters) == 2
    assert sum(kind.startswith("BlurConv2d") for kind in filters) == 2
    judges = [layer.kind for layer in describe(discriminator(name), 3, 256, 256)]
    assert sum(kind.startswith("BlurPool") for kind in judges) == 3
    assert not any(" s2 " in kind for kind in [*filters, *judges])


def test_combined_is_the_published_patch_and_global_discriminators() -> None:
    combined = discriminator("vkitti2kitti")
    assert isinstance(combined, Combined)
    assert parameters(combined.patch) == 2_760_192
    assert parameters(combined.whole) == 5_966_977


def test_reference_generator_for_128_pixels_has_six_blocks() -> None:
    with torch.device("meta"):
        assert parameters(ResNet(blocks=6)) == 7_837_699


def test_encoder_decoder_of_vkitti2kitti() -> None:
    down = [(64, 128, 512), (128, 64, 256), (256, 32, 128), (256, 16, 64)]
    blocks = [(256, 16, 64)] * 4
    up = [(256, 32, 128), (128, 64, 256), (64, 128, 512), (3, 256, 1024)]
    network = generator("vkitti2kitti")
    assert stage_shapes(network, (3, 256, 1024)) == down + blocks + up
    kinds = [layer.kind for layer in describe(network, 3, 256, 1024)]
    assert kinds == [
        *["Conv2d 4x4 s2 p1", "InstanceNorm2d", "LeakyReLU 0.2"] * 4,
        *["Conv2d 3x3 s1 p1", "InstanceNorm2d", "LeakyReLU 0.2", "Conv2d 3x3 s1 p1", "InstanceNorm2d"] * 2,
        *["ConvTranspose2d 4x4 s2 p1", "InstanceNorm2d", "LeakyReLU 0.2"] * 3,
        "ConvTranspose2d 4x4 s2 p1",
        "HalfTanh",
    ]


def test_discriminators_of_vkitti2kitti() -> None:
    combined = discriminator("vkitti2kitti")
    assert isinstance(combined, Combined)
    shared = [(64, 128, 512), (128, 64, 256), (256, 32, 128)]
    assert stage_shapes(combined.patch, (3, 256, 1024)) == [*shared, (512, 16, 64), (1, 16, 64)]
    assert stage_shapes(combined.whole, (3, 256, 1024)) == [
        *shared,
        *[(256, 16, 64), (256, 8, 32), (256, 4, 16), (256, 2, 8), (256, 1, 4)],
        *[(64,), (1,)],
    ]
    assert [layer.kind for layer in describe(combined.patch, 3, 256, 1024)] == [
        *["Conv2d 4x4 s2 p1", "ReLU"],
        *["Conv2d 4x4 s2 p1", "InstanceNorm2d", "ReLU"] * 3,
        "Conv2d 3x3 s1 p1",
    ]
    assert [layer.kind for layer in describe(combined.whole, 3, 256, 1024)] == [
        *["Conv2d 4x4 s2 p1", "ReLU"],
        *["Conv2d 4x4 s2 p1", "InstanceNorm2d", "ReLU"] * 7,
        *["Flatten", "Linear 1024 to 64", "ReLU", "Linear 64 to 1"],
    ]


def test_networks_of_cyclegan_256() -> None:
    assert stage_shapes(generator("cyclegan-256"), (3, 256, 256))[3] == (256, 16, 16)
    assert stage_shapes(discriminator("cyclegan-256"), (3, 256, 256))[-1] == (1, 16, 16)


def test_networks_of_monet2photo() -> None:
    down = [(64, 64, 64), (128, 32, 32), (256, 16, 16)]
    up = [(128, 32, 32), (64, 64, 64), (3, 128, 128)]
    assert stage_shapes(generator("monet2photo"), (3, 128, 128)) == [*down, *[(256, 16, 16)] * 12, *up]
    assert [layer.kind for layer in describe(generator("monet2photo"), 3, 128, 128)] == [
        *["Conv2d 4x4 s2 p1", "BatchNorm2d", "ReLU"] * 3,
        *["Conv2d 3x3 s1 p1", "BatchNorm2d", "ReLU", "Conv2d 3x3 s1 p1", "BatchNorm2d"] * 6,
        *["ConvTranspose2d 4x4 s2 p1", "BatchNorm2d", "ReLU"] * 2,
        "ConvTranspose2d 4x4 s2 p1",
        "Tanh",
    ]
    assert stage_shapes(discriminator("monet2photo"), (3, 128, 128)) == [*down, (512, 8, 8), (1, 7, 7)]
    assert [layer.kind for layer in describe(discriminator("monet2photo"), 3, 128, 128)] == [
        *["Conv2d 4x4 s2 p1", "ReLU"],
        *["Conv2d 4x4 s2 p1", "BatchNorm2d", "ReLU"] * 3,
        "Conv2d 4x4 s1 p1",
    ]


@pytest.mark.parametrize("name", ["resnet9-sigmoid", "cyclegan"])
def test_resnet_of_the_reference(name: str) -> None:
    network = generator(name)
    shapes = stage_shapes(network, (3, 256, 256))
    assert shapes[:3] == [(64, 256, 256), (128, 128, 128), (256, 64, 64)]
    assert shapes[3:-3] == [(256, 64, 64)] * 18
    assert shapes[-3:] == [(128, 128, 128), (64, 256, 256), (3, 256, 256)]
    reflected = "Conv2d 3x3 s1 p1 reflect"
    assert [layer.kind for layer in describe(network, 3, 256, 256)] == [
        *["Conv2d 7x7 s1 p3 reflect", "InstanceNorm2d", "ReLU"],
        *["Conv2d 3x3 s2 p1", "InstanceNorm2d", "ReLU"] * 2,
        *[reflected, "InstanceNorm2d", "ReLU", reflected, "InstanceNorm2d"] * 9,
        *["ConvTranspose2d 3x3 s2 p1 op1", "InstanceNorm2d", "ReLU"] * 2,
        *["Conv2d 7x7 s1 p3 reflect", "Tanh"],
    ]


@pytest.mark.parametrize(("name", "mode", "end"), [("cyclegan", "", []), ("resnet9-sigmoid", " reflect", ["Sigmoid"])])
def test_patchgan_of_the_reference(name: str, mode: str, end: list[str]) -> None:
    network = discriminator(name)
    assert stage_shapes(network, (3, 256, 256)) == [
        *[(64, 128, 128), (128, 64, 64), (256, 32, 32), (512, 31, 31), (1, 30, 30)]
    ]
    assert [layer.kind for layer in describe(network, 3, 256, 256)] == [
        *[f"Conv2d 4x4 s2 p1{mode}", "LeakyReLU 0.2"],
        *[f"Conv2d 4x4 s2 p1{mode}", "InstanceNorm2d", "LeakyReLU 0.2"] * 2,
        *[f"Conv2d 4x4 s1 p1{mode}", "InstanceNorm2d", "LeakyReLU 0.2"],
        *[f"Conv2d 4x4 s1 p1{mode}", *end],
    ]


@pytest.mark.parametrize("name", RECIPES)
def test_both_networks_of_a_recipe_work_in_the_same_range(name: str) -> None:
    assert generator(name).value_range == discriminator(name).value_range


@pytest.mark.parametrize("name", RECIPES)
def test_the_published_size_is_a_multiple_of_the_stride(name: str) -> None:
    _, height, width = input_shape(name)
    stride = generator(name).stride
    assert (height % stride, width % stride) == (0, 0)
