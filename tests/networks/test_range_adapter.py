import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from sim2real.errors import PluginError
from sim2real.networks import RangeAdapter
from sim2real.networks.discriminators import Combined, Patch
from sim2real.networks.generators import EncoderDecoder, ResNet

ValueRange = tuple[float, float]
bounds = st.tuples(st.floats(-4, 4, width=32), st.floats(0.125, 8, width=32)).map(lambda pair: (pair[0], sum(pair)))


class Echo(nn.Module):
    """Gives back what it saw, and remembers it."""

    def __init__(self, value_range: ValueRange | None = None) -> None:
        super().__init__()
        if value_range:
            self.value_range = value_range

    def forward(self, images: Tensor) -> Tensor:
        self.seen = images
        return images


@given(value_range=bounds)
def test_the_ends_and_the_middle_of_the_range_are_met_on_the_way_in_and_back(value_range: ValueRange) -> None:
    network = Echo(value_range)
    low, high = value_range
    images = torch.tensor([-1.0, 0.0, 1.0]).reshape(1, 1, 1, 3)
    back = RangeAdapter(network, returns_images=True)(images)
    torch.testing.assert_close(
        network.seen.flatten(), torch.tensor([low, (low + high) / 2, high]), atol=1e-5, rtol=1e-5
    )
    torch.testing.assert_close(back, images, atol=1e-4, rtol=0)


@pytest.mark.parametrize("value_range", [None, (-1.0, 1.0)])
def test_the_programs_own_range_costs_nothing(value_range: ValueRange | None) -> None:
    images = torch.rand(1, 3, 2, 2)
    assert RangeAdapter(Echo(value_range), returns_images=True)(images) is images


def test_every_output_of_a_generator_of_half_the_range_is_in_the_programs() -> None:
    generator = EncoderDecoder(width=4)
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    translated = RangeAdapter(generator, returns_images=True)(images)
    torch.testing.assert_close(translated, 2 * generator(images / 2))
    assert translated.abs().max() <= 1


def test_scores_are_not_images() -> None:
    discriminator = Patch(3, (32, 32), width=4, value_range=[-0.5, 0.5])
    images = torch.rand(1, 3, 32, 32) * 2 - 1
    torch.testing.assert_close(RangeAdapter(discriminator, returns_images=False)(images), discriminator(images / 2))


def test_several_scores_come_through() -> None:
    discriminator = Combined(3, (32, 32), width=4, value_range=[-0.5, 0.5])
    patch, whole = RangeAdapter(discriminator, returns_images=False)(torch.rand(1, 3, 32, 32))
    assert (patch.shape, whole.shape) == ((1, 1, 2, 2), (1, 1))


def test_the_networks_attributes_are_the_wrappers() -> None:
    ranged = RangeAdapter(EncoderDecoder(width=4), returns_images=True)
    assert ranged.stride == 16
    assert ranged.value_range == (-1.0, 1.0)
    assert RangeAdapter(Combined(3, (32, 32), width=4), returns_images=False).score_weights == (1.0, 1.0)
    assert not hasattr(ranged, "score_weights")
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = ranged.nonsense


def test_wrapping_twice_is_wrapping_once() -> None:
    once = RangeAdapter(EncoderDecoder(width=4), returns_images=True)
    images = torch.rand(1, 3, 32, 32)
    assert torch.equal(RangeAdapter(once, returns_images=True)(images), once(images))


def test_a_copy_for_averaging_is_independent() -> None:
    ranged = RangeAdapter(ResNet(width=4, blocks=1), returns_images=True)
    twin = copy.deepcopy(ranged)
    images = torch.rand(1, 3, 16, 16)
    before = twin(images)
    with torch.no_grad():
        for parameter in ranged.parameters():
            parameter.zero_()
    assert torch.equal(twin(images), before)
    assert twin.stride == 4


class Made(nn.Module):
    """Gives back what it is told to."""

    def __init__(self, change: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.change = change

    def forward(self, images: Tensor) -> object:
        return self.change(images)


@pytest.mark.parametrize(
    ("change", "made"),
    [
        (lambda images: images[..., :-1], r"\(2, 3, 4, 4\)"),
        (lambda images: images[:1], r"\(1, 3, 4, 5\)"),
        (lambda images: images[:, :1], r"\(2, 1, 4, 5\)"),
        (lambda images: (images,), "tuple"),
    ],
)
def test_what_a_generator_makes_has_the_size_of_its_images(change: Callable[[Tensor], object], made: str) -> None:
    with pytest.raises(PluginError, match=rf"^the generator Made returns {made} for images \(2, 3, 4, 5\), .* stride"):
        RangeAdapter(Made(change), returns_images=True)(torch.zeros(2, 3, 4, 5))
