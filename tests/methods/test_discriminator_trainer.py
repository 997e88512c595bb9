from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from sim2real.config import Regularization
from sim2real.losses import adversarial, lecam_penalty
from sim2real.methods.base import MethodSettings
from sim2real.methods.discriminator_trainer import DiscriminatorTrainer
from sim2real.networks import RangeAdapter
from sim2real.networks.discriminators import Combined, Patch
from tests.methods.making import settings_of


def settings(discriminator: dict[str, Any], **differences: Any) -> MethodSettings:
    regularization = Regularization(**discriminator)
    return settings_of(
        **{"generator_lr": 0.0, "discriminator_lr": 0.0, "regularization": regularization, **differences}
    )


def trainer(
    discriminator: dict[str, Any], network: nn.Module | None = None, **differences: Any
) -> DiscriminatorTrainer:
    network = network or Patch(3, (32, 32), width=4, norm="none")
    return DiscriminatorTrainer(
        RangeAdapter(network, returns_images=False), settings(discriminator, **differences), scale=1.0, seed=0
    )


def noise(seed: int, count: int = 2) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


class Mean(nn.Module):
    """Scores an image by its mean value, and by twice that."""

    score_weights = (1.0, 0.5)

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        score = self.factor * images.mean((1, 2, 3))[:, None]
        return score, 2 * score


def grey(*values: float) -> Tensor:
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 3, 32, 32)


# ------------------------------------------------------------------------------------------------------ penalties


def test_nothing_is_added_where_nothing_is_asked_for() -> None:
    assert trainer({}).discriminator_loss(noise(0), noise(1)).keys() == {"adversarial"}


def test_r1_comes_every_so_many_steps_and_counts_as_many_times() -> None:
    lazy, busy = (trainer({"r1": 10.0, "r1_every": every}, Mean()) for every in (3, 1))
    counted = []
    for _ in range(7):
        losses = lazy.discriminator_loss(noise(0), noise(1))
        counted.append(losses["r1"].item() if "r1" in losses else 0)
        lazy.end_step()
    of_one = busy.discriminator_loss(noise(0), noise(1))["r1"].item()
    squared = (1 + 0.5 * 2**2) / (3 * 32 * 32)  # of both scores, by their weights
    assert of_one == pytest.approx(10 / 2 * squared)
    assert counted == pytest.approx([3 * of_one, 0, 0, 3 * of_one, 0, 0, 3 * of_one])


def test_r1_is_computed_in_full_precision_on_images_of_the_discriminators_domain() -> None:
    trained = trainer({"r1": 1.0}, precision="bf16")
    seen: list[tuple[torch.dtype, Tensor]] = []
    first = next(module for module in trained.network.modules() if isinstance(module, nn.Conv2d))
    first.register_forward_hook(lambda _module, args, result: seen.append((result.dtype, args[0].detach())))
    trained.discriminator_loss(noise(0), noise(1))
    assert [dtype for dtype, _ in seen] == [torch.bfloat16, torch.bfloat16, torch.float32]
    assert torch.equal(seen[2][1], noise(0))


def test_r1_flattens_a_discriminator_where_its_images_are() -> None:
    def steepness(r1: float) -> float:
        torch.manual_seed(0)
        trained = trainer({"r1": r1, "r1_every": 2})
        optimiser = torch.optim.Adam(trained.network.parameters(), lr=1e-2)
        for _ in range(20):
            optimiser.zero_grad()
            torch.stack([*trained.discriminator_loss(noise(0), noise(1)).values()]).sum().backward()
            optimiser.step()
            trained.end_step()
        images = noise(0).requires_grad_()
        (gradient,) = torch.autograd.grad(trained.network(images).mean((1, 2, 3)).sum(), images)
        return float(gradient.square().sum())

    assert steepness(100.0) < 0.2 * steepness(0.0)


def test_r1_is_computed_of_a_compiled_discriminator_too() -> None:
    trained = trainer({"r1": 1.0}, nn.Conv2d(3, 1, 4, stride=4))
    plain = trained.discriminator_loss(noise(0), noise(1))
    trained.network.compile(backend="aot_eager")
    compiled = trained.discriminator_loss(noise(0), noise(1))
    assert compiled.keys() == {"adversarial", "r1"}
    torch.testing.assert_close(compiled, plain)
    torch.stack([*compiled.values()]).sum().backward()


def test_lecam_measures_from_the_means_of_the_other_kind_in_the_steps_before() -> None:
    trained = trainer({"lecam": 0.5}, Mean())
    reals, fakes = [(0.5, 0.3), (0.9, 0.7), (0.1, 0.1)], [(-0.5, 0.1), (0.0, -0.2), (0.4, 0.2)]
    means = torch.zeros(3)
    for step, (real, fake) in enumerate(zip(reals, fakes, strict=True), 1):
        losses = trained.discriminator_loss(grey(*real), grey(*fake))
        if step == 1:
            assert "lecam" not in losses
        else:
            before = means / (1 - 0.99 ** (step - 1))  # Adam's way to take the zero out that they began with
            scores = [(of := torch.tensor(values)[:, None], 2 * of) for values in (real, fake)]
            both = torch.stack([before[:2], 2 * before[:2]])
            expected = 0.5 * lecam_penalty(scores[0], scores[1], both, Mean.score_weights)
            torch.testing.assert_close(losses["lecam"], expected)
        trained.end_step()
        means = 0.99 * means + 0.01 * torch.tensor([sum(real) / 2, sum(fake) / 2, 0.0])


def test_parts_of_a_batch_are_seen_as_one() -> None:
    whole, parted = (trainer({"lecam": 1.0}, Mean()) for _ in range(2))
    for step in range(3):
        images, fakes = noise(step, count=4), noise(-step - 1, count=4)
        whole.discriminator_loss(images, fakes)
        for part in zip(images.split(2), fakes.split(2), strict=True):
            parted.discriminator_loss(*part)
        whole.end_step()
        parted.end_step()
        torch.testing.assert_close(parted.means, whole.means)


# --------------------------------------------------------------------------------------------------- augmentation


def test_all_that_a_discriminator_sees_is_augmented_but_not_what_is_only_measured() -> None:
    trained = trainer({"augment": ["translation"]}, image_pool_size=3)
    seen: list[Tensor] = []
    trained.network.register_forward_hook(lambda _module, args, _result: seen.append(args[0].detach()))
    ones = torch.ones(4, 3, 32, 32)
    trained.discriminator_loss(ones, ones)
    trained.generator_loss(ones)
    assert [bool((images == 0).any()) for images in seen] == [True, True, True]
    assert all((stored == 1).all() for stored in trained.pool.images)
    before = trained.rank_state_dict()["augment"]["random"]
    trained.generator_loss(ones, augments=False)
    assert torch.equal(seen[-1], ones)
    assert torch.equal(trained.rank_state_dict()["augment"]["random"], before)


def test_generators_learn_through_the_augmentation() -> None:
    trained = trainer({"augment": ["color", "translation", "cutout"]})
    fakes = noise(0).requires_grad_()
    (gradient,) = torch.autograd.grad(trained.generator_loss(fakes), fakes)
    assert gradient.abs().sum() > 0


def test_the_probability_is_one_without_a_target() -> None:
    trained = trainer({"augment": ["color"]})
    for _ in range(3):
        trained.discriminator_loss(noise(0), noise(1))
        trained.end_step()
    assert trained.probability == 1


@pytest.mark.parametrize(("game", "sure", "unsure"), [("lsgan", 0.6, 0.4), ("hinge", 0.1, -0.1), ("bce", 0.1, -0.1)])
def test_the_probability_rises_while_a_discriminator_is_sure_of_its_images_and_falls_when_it_is_not(
    game: str, sure: float, unsure: float
) -> None:
    discriminator = {"augment": ["translation"], "augment_target": 0.6}
    trained = trainer(
        discriminator, nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Conv2d(3, 1, 1)), adversarial=adversarial(game)
    )
    score = cast("nn.Conv2d", cast("nn.Sequential", trained.network.network)[1])
    with torch.no_grad():
        score.weight.fill_(1 / 3)
        cast("Tensor", score.bias).fill_(-1.0)
    assert trained.probability == 0
    probabilities = []
    for shift, steps in ((sure, 400), (unsure, 500)):
        for _ in range(steps):
            trained.discriminator_loss(torch.full((1, 3, 8, 8), 1 + shift), torch.zeros(1, 3, 8, 8))
            trained.end_step()
            probabilities.append(float(trained.probability))
    assert probabilities[:400] == pytest.approx([step / 1000 for step in range(1, 401)], abs=1e-5)
    assert probabilities[-1] == 0
    assert min(probabilities) == 0


@pytest.mark.parametrize(("image", "begin", "end"), [(1.0, 0.9995, 1.0), (-1.0, 0.0005, 0.0)])
def test_the_probability_never_leaves_0_to_1(image: float, begin: float, end: float) -> None:
    trained = trainer({"augment": ["cutout"], "augment_target": 0.6}, Mean(), adversarial=adversarial("hinge"))
    trained.probability.fill_(begin)
    for _ in range(3):
        trained.discriminator_loss(grey(image), grey(-image))
        trained.end_step()
    assert trained.probability == end


# ----------------------------------------------------------------------------------------------------- the network


def test_spectral_norm_is_put_on_the_critic() -> None:
    trained = trainer({"spectral_norm": True}, Combined(3, (32, 32), width=4))
    trained.network.train()
    for _ in range(30):
        trained.discriminator_loss(noise(0), noise(1))
    trained.network.eval()
    layers = [module for module in trained.network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    norms = [torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() for layer in layers]
    assert norms == pytest.approx([1.0] * len(layers), rel=0.02)


def test_spectral_norm_trains_in_half_precision_and_with_r1() -> None:
    trained = trainer({"spectral_norm": True, "r1": 1.0, "r1_every": 1}, precision="bf16")
    loss = torch.stack([*trained.discriminator_loss(noise(0), noise(1)).values()]).sum()
    loss.backward()
    assert all(cast("Tensor", weight.grad).isfinite().all() for weight in trained.network.parameters())
