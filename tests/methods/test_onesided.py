"""The method ``one-sided``: what it holds against pictures, and that it goes on as if it had never been stopped."""

from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from sim2real.errors import SettingsError
from sim2real.losses import LossInputs, adversarial
from sim2real.methods.base import Batch, MethodSettings, Networks
from sim2real.methods.onesided import OneSided, _unlikeness
from sim2real.networks import Ranged, initialise
from sim2real.networks.discriminators import PatchGAN70
from sim2real.networks.generators import ResNet
from sim2real.networks.grid import Grid
from sim2real.testing import check_method


def critic() -> nn.Module:
    return PatchGAN70(3, (32, 32), width=4, norm="none")


def make(generator: Callable[[], nn.Module] = Grid, more: dict[str, Any] | None = None, **options: Any) -> OneSided:
    torch.manual_seed(0)

    def ready(network: nn.Module, returns_images: bool) -> Ranged:
        initialise(network, "normal")
        return Ranged(network, returns_images=returns_images)

    settings: dict[str, Any] = {"adversarial": adversarial("lsgan"), "terms": {}, "generator_lr": 1e-3}
    settings |= {"discriminator_lr": 4e-4, "betas": (0.5, 0.99), "pool": 0, "device": "cpu", "precision": "fp32"}
    networks = Networks(lambda: ready(generator(), True), lambda: ready(critic(), False))
    return OneSided(networks, MethodSettings(**{**settings, "seed": 0, **(more or {})}), **options)


def images(seed: int, count: int = 2) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("generator", [Grid, lambda: ResNet(width=4, blocks=1)])
def test_it_keeps_the_contract_of_methods(generator: Callable[[], nn.Module]) -> None:
    check_method(OneSided, generator=generator, discriminator=critic)


def test_what_it_logs_and_that_it_learns_the_colours_of_the_real_side() -> None:
    method = make(roughness=0.01)
    batches = [
        Batch(images(seed) * 0.3, images(seed + 100) * 0.3 + torch.tensor([0.5, 0.0, -0.5])[:, None, None])
        for seed in range(8)
    ]
    first = method.step(batches[0]).losses
    assert set(first) == {
        "adversarial_real",
        "moments",
        "spectrum",
        "overshoot",
        "roughness",
        "unevenness",
        "inversion",
        "D_real",
    }
    for step in range(40):
        last = method.step(batches[step % 8]).losses
    assert last["moments"] < 0.5 * first["moments"]
    network: Any = method.generators["sim2real"].network
    assert int(network.kept) == 64
    with torch.no_grad():
        means = method.generators["sim2real"].eval()(batches[0].sim).mean((0, 2, 3))
    assert means[0] > 0.2
    assert means[2] < -0.2


class Drawing(nn.Module):
    """One that takes a seed for each of its images."""

    stochastic = True

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, pictures: Tensor, seeds: Any = None) -> Tensor:
        assert seeds is None or len(seeds) == len(pictures)
        return pictures * self.gain


@pytest.mark.parametrize("generator", [lambda: Grid(width=4), lambda: ResNet(width=4, blocks=1), Drawing])
@pytest.mark.parametrize(("sims", "reals"), [(3, 3), (3, 0), (0, 3)])
def test_frames_of_clips_are_translated_like_images(generator: Callable[[], nn.Module], sims: int, reals: int) -> None:
    def side(seed: int, frames: int) -> Tensor:
        return images(seed, 2 * frames).unflatten(0, (2, frames)) if frames else images(seed)

    method = make(generator, back=True)
    batch = Batch(side(1, sims), side(2, reals))
    assert all(loss.isfinite() for loss in method.step(batch).losses.values())
    assert all(loss.isfinite() for loss in method.evaluate(batch).losses.values())


def test_parts_of_a_batch_give_the_gradients_of_the_whole() -> None:
    batch, found = Batch(images(1, 4), images(2, 4)), []
    for parts in (1, 2):
        method = make(more={"accumulate": parts})
        method.step(batch)
        found.append(nn.utils.parameters_to_vector(method.generators["sim2real"].parameters()).detach())
    whole, of_parts = found
    assert torch.allclose(whole, of_parts, atol=2e-4)


def test_equal_pictures_are_alike_and_colours_and_texture_are_told_apart() -> None:
    picture = images(3) * 0.5
    assert all(float(term) < 1e-6 for term in _unlikeness(picture, picture).values())
    brighter = _unlikeness(picture + 0.4, picture)
    assert float(brighter["moments"]) == pytest.approx(0.6, abs=1e-3)  # three channels, by 0.2 of a range of 1
    assert float(brighter["spectrum"]) < 1e-3
    blurred = nn.functional.avg_pool2d(picture, 3, 1, 1)
    assert float(_unlikeness(blurred, picture)["spectrum"]) > 0.3


def test_weights_that_are_none_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"method\.options\.moments = -1 must be a number of at least 0"):
        make(moments=-1)


def test_guided_pictures_are_what_the_critic_sees_where_they_are_trained() -> None:
    class Inventing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.tensor(1.0))

        def forward(self, pictures: Tensor) -> Tensor:
            board = (torch.arange(32)[:, None] // 2 + torch.arange(32) // 2) % 2 - 0.5
            return pictures * self.gain * 0.5 + board

    seen = {}
    ways: tuple[Literal["never", "always"], ...] = ("never", "always")
    for guided in ways:
        method = make(Inventing)
        method.generators["sim2real"].guided = guided
        batch = Batch(images(1), images(2))
        made, _ = method._translate(batch, torch.arange(2).numpy().astype("uint64"))["real"]
        seen[guided] = made
        made.sum().backward()
        assert method.generators["sim2real"].network.gain.grad is not None
    board = seen["never"] - images(1) * 0.5
    assert (seen["always"] - images(1) * 0.5).abs().mean() < 0.5 * board.abs().mean()


def test_the_way_back_is_learnt_by_itself() -> None:
    batch = Batch(images(1) * 0.3 - 0.4, images(2) * 0.3 + 0.4)
    method = make(back=True)
    assert set(method.networks) == {"G_sim2real", "G_real2sim", "D_real", "D_sim"}
    for _ in range(40):
        last = method.step(batch).losses
    assert {"adversarial_sim", "moments_sim", "roughness_sim", "D_sim"} < set(last)
    with torch.no_grad():
        assert method.generators["sim2real"].eval()(batch.sim).mean() > batch.sim.mean() + 0.4
        assert method.generators["real2sim"].eval()(batch.real).mean() < batch.real.mean() - 0.4
    assert {int(generator.network.kept) for generator in method.generators.values()} == {64}  # type: ignore[arg-type]


def test_a_loss_that_needs_the_way_back_asks_for_it() -> None:
    class Same:
        needs = ("fake_sim",)

        def __call__(self, given: LossInputs) -> Tensor:
            return given.fake_sim.mean()

    with pytest.raises(SettingsError, match="say back = true"):
        make(more={"terms": {"same": (1.0, Same())}})
    method = make(more={"terms": {"same": (1.0, Same())}}, back=True)
    assert "same" in method.step(Batch(images(1), images(2))).losses
