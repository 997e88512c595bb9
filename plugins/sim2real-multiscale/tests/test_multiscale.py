import pkgutil

import pytest
import torch
from sim2real_multiscale import plugin
from sim2real_multiscale.network import MultiscalePatchGAN
from torch import nn

from sim2real import Sim2RealError
from sim2real.testing import check_discriminator


def test_the_registered_target_can_be_imported() -> None:
    offered: dict[str, str] = {}
    plugin.register_discriminators(lambda name, target, **_: offered.update({name: target}))
    assert {name: pkgutil.resolve_name(target) for name, target in offered.items()} == {
        "multiscale": MultiscalePatchGAN
    }


def test_it_keeps_the_contract() -> None:
    check_discriminator(MultiscalePatchGAN, width=4, scales=2)


def test_each_scale_scores_half_the_resolution_of_the_previous_one() -> None:
    discriminator = MultiscalePatchGAN(3, (128, 256), width=4)
    scores = discriminator(torch.zeros(2, 3, 128, 256))
    assert [tuple(score.shape) for score in scores] == [(2, 1, 14, 30), (2, 1, 6, 14), (2, 1, 2, 6)]


def test_the_number_of_scales_and_the_smallest_image_are_checked() -> None:
    assert len(MultiscalePatchGAN(3, (24, 24), width=4, scales=1)(torch.zeros(1, 3, 24, 24))) == 1
    with pytest.raises(Sim2RealError, match="3 scales need images of at least 96x96 pixels, not 200x95"):
        MultiscalePatchGAN(3, (95, 200), width=4)
    with pytest.raises(Sim2RealError, match="at least 1"):
        MultiscalePatchGAN(3, (96, 96), scales=0)


def test_every_convolution_has_spectral_norm_one() -> None:
    torch.manual_seed(0)
    discriminator = MultiscalePatchGAN(3, (48, 48), width=4, scales=2)
    for _ in range(100):  # one step of power iteration each
        discriminator(torch.zeros(1, 3, 48, 48))
    convolutions = [layer for layer in discriminator.modules() if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == 10
    for convolution in convolutions:
        largest = torch.linalg.matrix_norm(convolution.weight.flatten(1), 2)
        assert largest.item() == pytest.approx(1, abs=0.05)


def test_scores_depend_on_the_brightness_of_an_image() -> None:
    torch.manual_seed(0)
    discriminator = MultiscalePatchGAN(3, (48, 48), width=4, scales=1).eval()
    (dark,), (bright,) = discriminator(torch.full((1, 3, 48, 48), -0.5)), discriminator(torch.full((1, 3, 48, 48), 0.5))
    assert not torch.allclose(dark, bright, atol=1e-3)


def test_every_scale_gives_gradients_to_the_image() -> None:
    discriminator = MultiscalePatchGAN(3, (96, 96), width=4)
    for scale in range(3):
        images = torch.rand(1, 3, 96, 96, requires_grad=True)
        discriminator(images)[scale].sum().backward()
        assert images.grad is not None
        assert images.grad.any()
