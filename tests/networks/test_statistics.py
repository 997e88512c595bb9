"""Figures that trainings follow: what they tell, and what they leave alone."""

import pytest
import torch
from torch import Tensor

from sim2real.networks.statistics import (
    class_moments,
    colour_moments,
    radial_spectrum,
    recoloured,
    unevenness,
)


def scene() -> Tensor:
    """Sky over a road, with a car on it, (1, 3, 64, 96) in [0, 1]."""
    image = torch.full((1, 3, 64, 96), 0.4)
    image[:, :, :32] = torch.tensor([0.5, 0.7, 0.9])[:, None, None]
    image[:, :, 40:52, 30:60] = torch.tensor([0.8, 0.1, 0.1])[:, None, None]
    return image


def test_what_becomes_of_each_thing_as_a_whole_is_even() -> None:
    before = scene()
    assert unevenness(before, before) == 0
    assert unevenness(before, before * 0.5 + 0.2) < 1e-4
    recoloured = before.clone()
    recoloured[:, :, :32] = 0.95
    recoloured[:, 0, 40:52, 30:60] = 0.2
    assert unevenness(before, recoloured) < 1e-4


def test_clouds_are_not() -> None:
    before = scene()
    across, down = torch.arange(96.0), torch.arange(64.0)[:, None]
    cloud = (-((across - 50) ** 2 + (down - 50) ** 2) / 200).exp()
    found = [float(unevenness(before, before + strength * cloud)) for strength in (0.05, 0.1, 0.2)]
    assert found[0] > 1e-3
    assert found == sorted(found)
    assert found[2] == pytest.approx(4 * found[0], rel=0.01)


def test_it_can_be_followed_and_any_size_has_one() -> None:
    before = scene()
    after = (before + 0.1 * torch.rand(before.shape, generator=torch.Generator().manual_seed(0))).requires_grad_()
    unevenness(before, after).backward()
    assert after.grad is not None
    assert torch.isfinite(after.grad).all()
    assert after.grad.abs().sum() > 0
    for height, width in ((1, 1), (3, 40), (4, 4)):
        image = torch.rand(2, 3, height, width)
        assert torch.isfinite(unevenness(image, image * 0.5))


def test_moments_of_classes_are_those_of_their_pixels() -> None:
    random = torch.Generator().manual_seed(3)
    images = torch.rand(2, 3, 6, 8, generator=random)
    masks = torch.randint(-1, 3, (2, 6, 8), generator=random)
    shares, means, spreads = class_moments(images, masks, 4)
    assert shares.shape == (2, 4)
    for image, mask, share, mean, spread in zip(images, masks, shares, means, spreads, strict=True):
        for number in range(3):
            pixels = image[:, mask == number]
            assert torch.isclose(share[number], (mask == number).float().mean())
            assert torch.allclose(mean[number], pixels.mean(1), atol=1e-5)
            assert torch.allclose(spread[number], pixels.std(1, correction=0), atol=1e-3)
        assert share[3] == 0


def test_recoloured_images_have_the_colours_of_the_others() -> None:
    random = torch.Generator().manual_seed(4)
    images = torch.rand(2, 3, 16, 16, generator=random) * 0.5 - 0.25
    pictures = torch.rand(2, 3, 16, 16, generator=random) * torch.tensor([0.2, 0.4, 0.3])[:, None, None]
    found, wanted = (colour_moments(each) for each in (recoloured(images, pictures), pictures))
    assert torch.allclose(found[0], wanted[0], atol=0.01)
    assert torch.allclose(found[1], wanted[1], atol=0.02)


def test_they_are_the_same_where_networks_compute_in_fewer_bits() -> None:
    """Of pictures of nearly one colour, too: there the iteration for the root has nothing to lose."""
    random = torch.Generator().manual_seed(5)
    pictures = 0.6 + 0.002 * torch.randn(2, 3, 16, 24, generator=random)
    pictures[1] += torch.linspace(-0.3, 0.3, 24)
    masks = torch.randint(-1, 3, (2, 16, 24), generator=random)

    def found() -> list[Tensor]:
        return [
            *colour_moments(pictures),
            *class_moments(pictures, masks, 3),
            recoloured(2 * pictures - 1, 1 - 2 * pictures),
            radial_spectrum(pictures, 4),
        ]

    expected = found()
    with torch.autocast("cpu", torch.bfloat16):
        for one, other in zip(found(), expected, strict=True):
            assert torch.equal(one, other)
