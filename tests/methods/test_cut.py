import copy
import io
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sim2real.config import Regularization
from sim2real.errors import SettingsError
from sim2real.methods.cut import CUT, Heads, patch_nce
from sim2real.networks.discriminators import Patch
from sim2real.networks.generators import EncoderDecoder, ResNet
from tests.methods.making import batch, networks_of, numbers, settings_of
from tests.methods.test_inputs import batch as labelled


def make(
    generator: Callable[[], nn.Module] = lambda: ResNet(width=4, blocks=2, norm="none"),
    more: dict[str, Any] | None = None,
    **options: Any,
) -> CUT:
    torch.manual_seed(0)
    networks = networks_of(generator, lambda: Patch(3, (32, 32), width=4, norm="none"))
    return CUT(networks, settings_of(**(more or {})), **{"patches": 9, "head_width": 5, **options})


def saved(state: dict[str, Any]) -> dict[str, Any]:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    loaded: dict[str, Any] = torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
    return loaded


def weights(method: CUT) -> Tensor:
    every = [weight for network in method.networks.values() for weight in network.parameters()]
    return nn.utils.parameters_to_vector(every).detach()


def test_patch_nce_by_hand() -> None:
    queries = torch.tensor([[[1.0, 0.0], [0.6, 0.8]]])
    keys = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    first = [1.0, -10.0, 0.0]  # the positive; itself; the other place
    second = [0.8, 0.6, -10.0]
    expected = [-each[0] / 0.07 + math.log(sum(math.exp(value / 0.07) for value in each)) for each in (first, second)]
    assert patch_nce(queries, keys).item() == pytest.approx(sum(expected) / 2)


def test_negatives_are_of_the_same_image_alone_and_keys_get_no_gradient() -> None:
    queries, keys = (functional.normalize(torch.randn(3, 7, 4), dim=2).requires_grad_() for _ in range(2))
    together = patch_nce(queries, keys)
    alone = [patch_nce(queries[[image]], keys[[image]]) for image in range(3)]
    torch.testing.assert_close(together, torch.stack(alone).mean())
    together.backward()
    assert queries.grad is not None
    assert keys.grad is None


def test_features_of_the_reference_are_those_of_the_paper() -> None:
    """Padded RGB, the two convolutions down before their norms, and residual blocks 1 and 5 of 9."""
    maps = ResNet(width=64, down="blur").features(torch.zeros(1, 3, 64, 64))
    assert [tuple(each.shape[1:]) for each in maps] == [
        (3, 70, 70), (128, 64, 64), (256, 32, 32), (256, 16, 16), (256, 16, 16),
    ]  # fmt: skip
    network = ResNet(width=4, blocks=9)
    images = torch.rand(2, 3, 32, 32)
    padded, down1, down2, block1, block5 = network.features(images)
    torch.testing.assert_close(padded, functional.pad(images, (3,) * 4, mode="reflect"))
    first = network.get_submodule("first")(images)
    stage1, stage2 = network.get_submodule("down1"), network.get_submodule("down2")
    torch.testing.assert_close(down1, stage1.get_submodule("conv")(first))
    torch.testing.assert_close(down2, stage2.get_submodule("conv")(stage1(first)))
    result = stage2(stage1(first))
    for number in range(1, 6):
        result = network.get_submodule(f"block{number}")(result)
        if number == 1:
            torch.testing.assert_close(block1, result)
    torch.testing.assert_close(block5, result)


@pytest.mark.parametrize("norm", ["instance", "none"])
def test_features_are_what_convolutions_give_whatever_follows_in_place(norm: Any) -> None:
    network = EncoderDecoder(width=4, stages=2, blocks=4, norm=norm)
    images = torch.rand(1, 3, 32, 32)
    maps = network.features(images)
    assert [tuple(each.shape[1:]) for each in maps] == [(3, 32, 32), (4, 16, 16), (8, 8, 8), (8, 8, 8), (8, 8, 8)]
    torch.testing.assert_close(maps[1], network.get_submodule("down1.conv")(images))


def test_heads_give_vectors_of_length_one_of_the_places_that_are_named() -> None:
    heads = Heads([3, 5], 4)
    maps = [torch.randn(2, 3, 6, 6), torch.randn(2, 5, 3, 3)]
    found = heads(maps, [torch.tensor([7, 35]), torch.tensor([0])])
    assert [each.shape for each in found] == [(2, 2, 4), (2, 1, 4)]
    expected = functional.normalize(heads.heads[0](maps[0][:, :, 1, 1]), dim=1)
    torch.testing.assert_close(found[0][:, 0], expected)


def test_a_step_is_that_of_the_paper() -> None:
    """The discriminator first, by half its loss; then generator and heads by GAN + (NCE(x, Gx) + NCE(r, Gr)) / 2."""
    method = make(patches=10**6, nce=3.0)
    G, D, F = copy.deepcopy(method.G), copy.deepcopy(method.D_real), copy.deepcopy(method.heads)
    images = batch(0, 2)
    log = numbers(method.step(images))

    def adam(network: nn.Module, loss: Tensor) -> Callable[[], None]:
        parameters = list(network.parameters())
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True)

        def update() -> None:  # the first step of Adam
            with torch.no_grad():
                for weight, gradient in zip(parameters, gradients, strict=True):
                    weight.sub_(1e-3 * gradient / (gradient.abs() + 1e-8))

        return update

    def nce(before: Tensor, after: Tensor) -> Tensor:
        terms, heads = [], [*F.heads]
        for key, query, head in zip(G.features(before), G.features(after), heads, strict=True):
            k, q = (
                functional.normalize(head(each.flatten(2).transpose(1, 2)), dim=2) for each in (key.detach(), query)
            )
            terms.append(patch_nce(q, k))
        return torch.stack(terms).mean()

    fake = G(images.sim)
    of_discriminator = 0.5 * ((D(images.real) - 1).square().mean() + D(fake.detach()).square().mean())
    adam(D, of_discriminator)()
    same = G(images.real)
    terms = {
        "adversarial_real": (D(fake) - 1).square().mean(),
        "nce": 1.5 * nce(images.sim, fake),
        "nce_identity": 1.5 * nce(images.real, same),
    }
    loss = torch.stack([*terms.values()]).sum()
    for update in (adam(G, loss), adam(F, loss)):
        update()
    assert log == pytest.approx(
        {**{name: term.item() for name, term in terms.items()}, "D_real": of_discriminator.item()}, rel=1e-4
    )
    for name, network in (("G_sim2real", G), ("D_real", D), ("heads", F)):
        for ours, theirs in zip(method.networks[name].parameters(), network.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=2e-5)


def test_fastcut_has_no_identity_term_and_mirrors_half_of_its_steps() -> None:
    method = make(nce=10.0, nce_identity=False, flip_equivariance=True)
    mirrored = []
    for seed in range(24):
        assert numbers(method.step(batch(seed, 2))).keys() == {"adversarial_real", "nce", "D_real"}
        mirrored.append(method.places.mirrors)
    assert 5 < sum(mirrored) < 19
    assert method.sides == {"G_sim2real": ("sim",)}


class Gain(nn.Module):
    """A generator that cannot tell left from right: it makes of mirrored images the mirrored of what it makes."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        return self.gain * images

    def features(self, images: Tensor) -> list[Tensor]:
        return [images]


def test_what_is_mirrored_is_compared_with_its_own_patches() -> None:
    plain, flipped = (make(Gain, nce_identity=False, flip_equivariance=flips, patches=10**6) for flips in (False, True))
    expected = numbers(plain.step(batch(0, 2)))["nce"]
    for _ in range(8):
        flipped.load_state_dict({**make(Gain, patches=10**6).state_dict(), "places": flipped.places.state_dict()})
        assert numbers(flipped.step(batch(0, 2)))["nce"] == pytest.approx(expected, rel=1e-4)
        if flipped.places.mirrors:
            return
    pytest.fail("one of eight steps is mirrored")


CHECKED = Regularization(r1=1.0, r1_every=2, lecam=0.1, augment=["color"], augment_target=0.3)


@pytest.mark.parametrize("discriminator", [Regularization(), CHECKED], ids=["plain", "checked"])
def test_a_restored_method_goes_on_exactly_as_the_first_would_have(discriminator: Regularization) -> None:
    first, second = (
        make(flip_equivariance=True, more={"image_pool_size": 2, "regularization": discriminator}) for _ in range(2)
    )
    for seed in range(4):
        first.step(batch(seed, 2))
    second.load_state_dict(saved(first.state_dict()))
    second.load_rank_state_dict(saved(first.rank_state_dict()))
    for seed in range(4, 8):
        first.evaluate(batch(seed, 2))  # which changes nothing
        assert numbers(first.step(batch(seed, 2))) == numbers(second.step(batch(seed, 2)))
    assert torch.equal(weights(first), weights(second))


def test_a_step_in_parts_is_the_step_of_the_whole_batch_and_a_short_batch_is_none_the_worse() -> None:
    whole, parted = (make(flip_equivariance=True, more={"gradient_accumulation_steps": parts}) for parts in (1, 2))
    for seed in range(4):
        images = batch(seed, count=4)
        assert numbers(parted.step(images)) == pytest.approx(numbers(whole.step(images)), rel=1e-3)
    torch.testing.assert_close(weights(whole), weights(parted), rtol=1e-3, atol=5e-5)
    assert all(map(math.isfinite, numbers(whole.step(batch(9, count=1))).values()))


def test_labels_and_clips_go_through() -> None:
    from tests.methods.test_inputs import ByDepth

    class Told(ByDepth):
        def features(self, images: Tensor, inputs: dict[str, Tensor]) -> list[Tensor]:
            return [images, torch.cat([images, inputs["depth"]], 1)]

    method = make(Told, flip_equivariance=True)
    for seed in range(4):
        assert all(map(math.isfinite, numbers(method.step(labelled(seed, frames=2))).values()))
    assert all(map(math.isfinite, numbers(method.evaluate(labelled(9))).values()))
    shown = method.samples(method.generators, labelled(3))
    assert [each.shape for each in shown] == [(2, 3, 32, 32)] * 4


def test_a_generator_without_features_is_refused() -> None:
    with pytest.raises(SettingsError, match="compares features, which the generator Conv2d does not offer"):
        make(lambda: nn.Conv2d(3, 3, 1))
