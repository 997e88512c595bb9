import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sim2real.errors import SettingsError
from sim2real.losses import adversarial
from sim2real.networks import describe
from sim2real.networks.blocks import PaddingName
from sim2real.networks.discriminators import Combined, Global, Patch, PatchGAN70, PatchName, Projection


def receptive_field(network: nn.Module, size: int) -> tuple[int, int]:
    """Side of the square that a score in the middle sees, probed by the gradient."""
    layers = network.double()
    for parameter in layers.parameters():
        nn.init.constant_(parameter, 0.1 if parameter.dim() > 1 else 0.0)
    image = torch.ones(1, 3, size, size, dtype=torch.double, requires_grad=True)
    scores = layers(image)
    (gradient,) = torch.autograd.grad(scores[0, 0, scores.shape[2] // 2, scores.shape[3] // 2], image)
    seen = gradient.abs().sum((0, 1))
    return len(seen.sum(1).nonzero()), len(seen.sum(0).nonzero())


def test_a_patch_score_sees_78_pixels() -> None:
    assert receptive_field(Patch(3, (256, 256), width=1, norm="none"), 256) == (78, 78)


@pytest.mark.parametrize("padding", ["zeros", "reflect"])
def test_a_patchgan70_score_sees_70_pixels(padding: PaddingName) -> None:
    assert receptive_field(PatchGAN70(3, (256, 256), width=1, norm="none", padding=padding), 256) == (70, 70)


@pytest.mark.parametrize("size", [(16, 16), (32, 48), (37, 101), (128, 128), (370, 1224)])
def test_patch_scores_each_cell_of_16_pixels(size: tuple[int, int]) -> None:
    height, width = size
    scores = Patch(3, size, width=4)(torch.rand(1, 3, *size))
    assert scores.shape == (1, 1, height // 16, width // 16)


def test_patch_is_fully_convolutional() -> None:
    network = Patch(3, (64, 64), width=4)
    assert network(torch.rand(1, 3, 96, 160)).shape == (1, 1, 6, 10)


@settings(max_examples=25, deadline=None)
@given(height=st.integers(2, 150), width=st.integers(2, 150), batch=st.sampled_from([1, 2]))
def test_global_gives_one_score_whatever_the_size(height: int, width: int, batch: int) -> None:
    network = Global(3, (height, width), width=4)
    scores = network(torch.rand(batch, 3, height, width))
    assert scores.shape == (batch, 1)
    assert scores.isfinite().all()


@pytest.mark.parametrize(
    ("size", "stages", "features"),
    [
        ((256, 256), 8, 256),
        ((128, 128), 7, 256),
        ((375, 1242), 8, 1024),
        ((512, 2048), 9, 1024),
        ((2, 2), 1, 64),
        ((3, 40), 1, 64 * 20),
    ],
)
def test_global_halves_until_one_side_is_a_pixel(size: tuple[int, int], stages: int, features: int) -> None:
    with torch.device("meta"):
        network = Global(3, size)
    layers = describe(network, 3, *size)
    assert sum(layer.kind.startswith("Conv2d") for layer in layers) == stages
    assert f"Linear {features} to 64" in [layer.kind for layer in layers]


@pytest.mark.parametrize("build", [Patch, Global])
@pytest.mark.parametrize("size", [(16, 16), (256, 256), (17, 31), (256, 1024)])
def test_a_map_of_one_pixel_has_no_norm(build: Callable[..., nn.Module], size: tuple[int, int]) -> None:
    with torch.device("meta"):
        network = build(3, size, width=4)
    norms = [layer for layer in describe(network, 3, *size) if "Norm" in layer.kind]
    assert norms
    assert all(layer.output_shape[1:] != (1, 1) for layer in norms)


def test_global_tells_images_apart_where_a_norm_would_blank_the_last_map() -> None:
    torch.manual_seed(0)
    scores = Global(3, (64, 64), width=8)(torch.rand(4, 3, 64, 64))
    assert scores.std() > 0


def test_combined_gives_the_scores_of_both() -> None:
    network = Combined(3, (32, 64), width=4, score_weights=[1.0, 0.5], value_range=[-0.5, 0.5])
    images = torch.rand(2, 3, 32, 64)
    patch, whole = network(images)
    assert (patch.shape, whole.shape) == ((2, 1, 2, 4), (2, 1))
    torch.testing.assert_close(patch, network.patch(images))
    torch.testing.assert_close(whole, network.whole(images))
    assert network.score_weights == (1.0, 0.5)
    assert network.value_range == network.patch.value_range == network.whole.value_range == (-0.5, 0.5)


@pytest.mark.parametrize("patch", ["patch", "patchgan70"])
def test_each_further_scale_judges_halved_images(patch: PatchName) -> None:
    network = Combined(3, (96, 128), width=4, scales=3, patch=patch, score_weights=[1, 1, 0.5, 0.25])
    images = torch.rand(2, 3, 96, 128)
    full, half, quarter, whole = network(images)
    assert network.score_weights == (1.0, 1.0, 0.5, 0.25)
    halved = images.unflatten(2, (48, 2)).unflatten(4, (64, 2)).mean((3, 5))
    quartered = images.unflatten(2, (24, 4)).unflatten(4, (32, 4)).mean((3, 5))
    for scores, discriminator, seen in ((full, network.patch, images), (half, network.coarser[0], halved)):
        torch.testing.assert_close(scores, discriminator(seen))
    torch.testing.assert_close(quarter, network.coarser[1](quartered), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(whole, network.whole(images))
    assert len(list(network.parameters())) == len({id(weights) for weights in network.parameters()})
    assert Combined(3, (96, 128), width=4, scales=3).score_weights == (1.0,) * 4


def test_sigmoid_scores_are_probabilities() -> None:
    network = PatchGAN70(3, (64, 64), width=4, sigmoid=True)
    with torch.no_grad():
        network.get_parameter("score.weight").mul_(50)
        scores = network(torch.rand(1, 3, 64, 64))
    assert 0 <= scores.min() < 0.3
    assert 0.7 < scores.max() <= 1


@pytest.mark.parametrize("padding", ["zeros", "reflect"])
@pytest.mark.parametrize("size", [(24, 24), (25, 47), (64, 96)])
def test_patchgan70_from_its_smallest_size_on(size: tuple[int, int], padding: PaddingName) -> None:
    height, width = size
    scores = PatchGAN70(3, size, width=4, padding=padding)(torch.rand(1, 3, *size))
    assert scores.shape == (1, 1, height // 8 - 2, width // 8 - 2)


@pytest.mark.parametrize(
    ("build", "size", "options", "message"),
    [
        (Patch, (15, 64), {}, "patch discriminator needs images of at least 16x16 pixels, not 64x15"),
        (Patch, (31, 31), {"last_kernel": 4}, "at least 32x32"),
        (PatchGAN70, (23, 23), {}, "patchgan70 discriminator needs images of at least 24x24"),
        (Global, (1, 9), {}, "global discriminator needs images of at least 2x2"),
        (Combined, (8, 8), {}, "at least 16x16"),
        (PatchGAN70, (64, 64), {"padding": "same"}, "padding = 'same' is not one of zeros, reflect"),
        (Patch, (64, 64), {"width": -1}, "width = -1"),
        (Patch, (64, 64), {"value_range": [0.5]}, r"value_range = \[0\.5\] must be 2 numbers"),
        (Combined, (64, 64), {"score_weights": 1.0}, r"score_weights = 1\.0 must be 2 numbers"),
        (Combined, (64, 64), {"scales": 2, "score_weights": [1, 1]}, r"score_weights = \[1, 1\] must be 3 numbers"),
        (Combined, (64, 64), {"score_weights": [1, "x"]}, "score_weights"),
        (Combined, (64, 64), {"scales": 0}, "scales = 0"),
        (Combined, (64, 64), {"patch": "global"}, "patch = 'global' is not one of patch, patchgan70"),
        (Combined, (48, 64), {"scales": 3}, "patch discriminator needs images of at least 16x16 pixels, not 16x12"),
    ],
)
def test_sizes_and_options_that_cannot_work_are_refused(
    build: Callable[..., nn.Module], size: tuple[int, int], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        build(3, size, **options)


def projection(**options: Any) -> Projection:
    torch.manual_seed(0)
    return Projection(3, (64, 96), width=4, norm="none", **options)


def test_projection_is_patchgan70_where_there_are_no_classes() -> None:
    network, images = projection(), torch.rand(2, 3, 64, 96) * 2 - 1
    nowhere = torch.full((2, 64, 96), -1)
    assert torch.equal(network(images, {"segmentation": nowhere}), network.patches(images))
    assert not torch.allclose(network(images, {"segmentation": nowhere + 1}), network.patches(images))


@pytest.mark.parametrize(("height", "width"), [(24, 24), (64, 96), (67, 101), (71, 24)])
def test_projection_scores_each_patch_by_the_class_in_its_middle(height: int, width: int) -> None:
    network, images = projection(classes=3), torch.rand(1, 3, height, width) * 2 - 1
    masks = torch.zeros(1, height, width, dtype=torch.int64)
    plain = network(images, {"segmentation": masks})
    assert plain.shape == network.patches(images).shape
    for row, column in itertools.product(range(plain.shape[2]), range(plain.shape[3])):
        changed = masks.clone()
        changed[:, 8 * row + 4 : 8 * row + 20, 8 * column + 4 : 8 * column + 20] = 2
        found = (network(images, {"segmentation": changed}) != plain)[0, 0].nonzero().tolist()
        assert [row, column] in found
        assert all(abs(down - row) <= 1 and abs(across - column) <= 1 for down, across in found)


def test_projection_tells_classes_that_have_changed_their_looks() -> None:
    """Dark roads under bright skies, and bright roads under dark skies: the same patches, of other classes."""
    losses = {}
    for kind in ("patchgan70", "projection"):
        torch.manual_seed(0)
        options: dict[str, Any] = {"width": 8, "norm": "none"}
        network = (Projection if kind == "projection" else PatchGAN70)(3, (64, 64), **options)
        optimiser, game = torch.optim.Adam(network.parameters(), 2e-3), adversarial("lsgan")
        for _ in range(60):
            masks = torch.randint(2, (8, 1, 1)).expand(8, 64, 64)
            real = (masks * 2.0 - 1)[:, None] * 0.5 + 0.05 * torch.randn(8, 3, 64, 64)
            given = [{"segmentation": masks}] if kind == "projection" else []
            loss = game.discriminator(network(real, *given), network(-real, *given))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        losses[kind] = float(loss.detach())
    assert losses["patchgan70"] > 0.4  # 0.5: it can but guess
    assert losses["projection"] < 0.1
