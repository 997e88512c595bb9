import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sim2real.errors import PluginError, SettingsError
from sim2real.losses import (
    Cycle,
    FlowConsistency,
    Identity,
    LossInputs,
    NewEdges,
    adversarial,
    lecam_penalty,
    r1_penalty,
)

SCORES = torch.tensor([[[[-1.0, 0.0], [0.5, 2.0]]]])


@pytest.mark.parametrize(
    ("name", "real", "fake", "generator_loss"),
    [
        ("lsgan", [4, 1, 0.25, 1], [1, 0, 0.25, 4], [4, 1, 0.25, 1]),
        (
            "bce",
            [-math.log(1 / (1 + math.exp(-s))) for s in (-1, 0, 0.5, 2)],
            [-math.log(1 - 1 / (1 + math.exp(-s))) for s in (-1, 0, 0.5, 2)],
            [-math.log(1 / (1 + math.exp(-s))) for s in (-1, 0, 0.5, 2)],
        ),
        ("hinge", [2, 1, 0.5, 0], [0, 1, 1.5, 3], [1, 0, -0.5, -2]),
    ],
)
def test_adversarial_losses_by_hand(
    name: str, real: list[float], fake: list[float], generator_loss: list[float]
) -> None:
    loss = adversarial(name)
    assert loss.discriminator(SCORES, SCORES).item() == pytest.approx(sum(real) / 4 + sum(fake) / 4)
    assert loss.generator(SCORES).item() == pytest.approx(sum(generator_loss) / 4)


def test_bce_is_torchs_on_logits() -> None:
    scores = torch.randn(3, 1, 4, 5) * 5
    bce = nn.BCEWithLogitsLoss()
    ones, zeros = torch.ones_like(scores), torch.zeros_like(scores)
    loss = adversarial("bce")
    torch.testing.assert_close(loss.discriminator(scores, -scores), bce(scores, ones) + bce(-scores, zeros))
    torch.testing.assert_close(loss.generator(scores), bce(scores, ones))


@pytest.mark.parametrize("name", ["lsgan", "bce", "hinge"])
def test_the_two_sides_pull_scores_apart(name: str) -> None:
    loss = adversarial(name)
    real, fake = torch.zeros(2, 1, requires_grad=True), torch.full((2, 1), 0.5, requires_grad=True)
    of_real, of_fake = torch.autograd.grad(loss.discriminator(real, fake), [real, fake])
    assert (of_real < 0).all(), "a discriminator step raises the scores of real images"
    assert (of_fake > 0).all(), "and lowers those of fakes"
    (of_generator_loss,) = torch.autograd.grad(loss.generator(fake), [fake])
    assert (of_generator_loss < 0).all(), "a generator step raises the scores of its fakes"


@pytest.mark.parametrize("name", ["lsgan", "bce", "hinge"])
def test_a_score_on_the_boundary_is_taken_for_neither(name: str) -> None:
    loss = adversarial(name)
    score = torch.tensor(loss.boundary)
    assert loss.on_real(score) == loss.on_fake(score)
    for side in (0.1, -0.1):
        assert (loss.on_real(score + side) < loss.on_fake(score + side)) == (side > 0)


@pytest.mark.parametrize("name", ["lsgan", "bce", "hinge"])
@pytest.mark.parametrize("container", [tuple, list])
def test_several_scores_are_judged_apart_and_added(
    name: str, container: Callable[[list[Tensor]], Sequence[Tensor]]
) -> None:
    loss = adversarial(name)
    patch, whole = torch.randn(2, 1, 4, 4), torch.randn(2, 1)
    both = container([patch, whole])
    torch.testing.assert_close(loss.generator(both), loss.generator(patch) + loss.generator(whole))
    torch.testing.assert_close(
        loss.discriminator(both, both, weights=(1.0, 0.25)),
        loss.discriminator(patch, patch) + 0.25 * loss.discriminator(whole, whole),
    )


def test_weights_must_fit_the_scores() -> None:
    with pytest.raises(ValueError, match="zip"):
        adversarial("lsgan").generator((SCORES, SCORES), weights=(1.0,))


@pytest.mark.parametrize("name", ["lsgan", "bce", "hinge"])
def test_losses_of_half_precision_scores_are_computed_in_full(name: str) -> None:
    scores = torch.full((1, 1, 64, 64), 300.0, dtype=torch.float16)  # its square is beyond float16
    loss = adversarial(name)
    for value in (loss.discriminator(scores, scores), loss.generator(scores)):
        assert value.dtype == torch.float32
        assert value.isfinite()


def test_an_unknown_adversarial_loss_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"losses\.adversarial = 'wgan' is not one of lsgan, bce, hinge"):
        adversarial("wgan")


class Linear(nn.Module):
    """Scores each of 2x2 places by one vector, and the whole by another."""

    def __init__(self) -> None:
        super().__init__()
        self.place, self.whole = nn.Parameter(torch.randn(3)), nn.Parameter(torch.randn(3, 2, 2))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return torch.einsum("nchw,c->nhw", images, self.place)[:, None], (images * self.whole).sum((1, 2, 3))[:, None]


@pytest.mark.parametrize("count", [1, 5])
def test_r1_of_a_linear_discriminator_is_half_its_squared_weights(count: int) -> None:
    discriminator = Linear()
    penalty = r1_penalty(discriminator, torch.randn(count, 3, 2, 2), (0.5, 2.0))
    expected = (0.5 * discriminator.place.square().sum() + 2 * discriminator.whole.square().sum()) / 2
    torch.testing.assert_close(penalty, expected)
    of_penalty, of_expected = (
        torch.autograd.grad(value, [*discriminator.parameters()]) for value in (penalty, expected)
    )
    torch.testing.assert_close(of_penalty, of_expected)


def test_r1_is_the_mean_over_images() -> None:
    images = torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)
    penalty = r1_penalty(lambda seen: seen.square(), images)
    torch.testing.assert_close(penalty, torch.tensor((2.0**2 + 6.0**2) / 2 / 2))
    assert not images.requires_grad


def test_lecam_by_hand() -> None:
    real, fake = torch.tensor([[1.0], [2.0]]), torch.tensor([[-1.0], [0.0]])
    means = torch.tensor([[1.5, -0.5], [3.0, -1.0]])
    first = (1.5**2 + 2.5**2) / 2 + (2.5**2 + 1.5**2) / 2
    second = (3.0**2 + 5.0**2) / 2 + (5.0**2 + 3.0**2) / 2
    assert lecam_penalty(real, fake, means[:1]).item() == pytest.approx(first)
    both = lecam_penalty((real, 2 * real), (fake, 2 * fake), means, (1.0, 0.5))
    assert both.item() == pytest.approx(first + 0.5 * second)


def images(**values: float) -> LossInputs:
    """One-pixel images of these grey values."""
    names = ["sim", "real", "fake_real", "fake_sim", "cycled_sim", "cycled_real"]
    names += [name for name in values if name not in names]
    greys = dict.fromkeys(names, 0.0) | values
    sim, *others = (torch.full((2, 3, 1, 1), grey) for grey in greys.values())
    return LossInputs(sim=sim, sim_inputs=None, real_inputs=None, **dict(zip(names[1:], others, strict=True)))


def test_cycle_adds_the_mean_differences_of_both_domains() -> None:
    assert Cycle()(images(sim=0.5, cycled_sim=0.25, real=-1.0, cycled_real=0.5)).item() == pytest.approx(1.75)
    assert Cycle()(images(sim=0.3, cycled_sim=0.3)).item() == 0


def test_identity_adds_the_mean_changes_of_both_domains() -> None:
    step = images(sim=0.5, identity_sim=0.25, real=-1.0, identity_real=0.5)
    assert Identity()(step).item() == pytest.approx(1.75)


def test_a_loss_that_reads_what_it_does_not_name_is_told() -> None:
    with pytest.raises(PluginError, match="uses 'identity_sim', which the method has not computed: name it in"):
        Identity()(images())
    assert LossInputs(sim=torch.zeros(1, 3, 2, 2)).sim_inputs == {}


def test_a_label_that_a_loss_does_not_name_is_told() -> None:
    given = LossInputs(sim=torch.zeros(1, 3, 2, 2), sim_inputs={"depth": torch.zeros(1, 1, 2, 2)})
    assert given.sim_inputs["depth"].shape == (1, 1, 2, 2)
    for labels in (given.sim_inputs, given.real_inputs):
        with pytest.raises(PluginError, match=r"^a loss uses the label 'flow' of images .* in the attribute inputs"):
            _ = labels["flow"]


def street() -> Tensor:
    """Sky over a road with a box on it, (1, 3, 32, 48) in [-1, 1]."""
    image = torch.full((1, 3, 32, 48), 0.6)
    image[:, :, 16:] = -0.3
    image[:, :, 12:22, 10:20] = 0.1
    return image


@pytest.mark.parametrize(
    "look",
    [
        lambda image: image,
        lambda image: image * 0.6 - 0.2,
        lambda image: image + torch.linspace(0, 0.4, 48),
        lambda image: torch.nn.functional.avg_pool2d(image, 3, stride=1, padding=1, count_include_pad=False),
    ],
)
def test_changes_of_light_make_no_new_edges(look: Callable[[Tensor], Tensor]) -> None:
    assert NewEdges()(LossInputs(sim=street(), fake_real=look(street()))) == 0


def test_what_was_not_there_is_a_new_edge_until_it_is_gone() -> None:
    """A dark blob in the sky: following the loss takes it away, and nothing else would have."""
    painted = street()
    painted[:, :, 3:9, 30:40] = -0.8
    begun = NewEdges()(LossInputs(sim=street(), fake_real=painted))
    assert begun > 0
    fake = painted.clone().requires_grad_()
    optimiser = torch.optim.Adam([fake], lr=0.05)
    for _ in range(100):
        optimiser.zero_grad()
        loss = NewEdges()(LossInputs(sim=street(), fake_real=fake))
        loss.backward()
        optimiser.step()
    assert loss < 0.02 * begun
    assert (fake - street())[:, :, 3:9, 30:40].abs().mean() < 0.7 * (painted - street())[:, :, 3:9, 30:40].abs().mean()


def test_new_edges_of_clips_and_of_tiny_images() -> None:
    clip = torch.stack([street(), street()], dim=1)
    assert NewEdges()(LossInputs(sim=clip, fake_real=clip)) == 0
    for height, width in ((1, 1), (1, 7), (4, 2)):
        tiny = torch.rand(2, 3, height, width)
        assert NewEdges()(LossInputs(sim=tiny, fake_real=tiny)) == 0
    with pytest.raises(SettingsError, match="slack"):
        NewEdges(slack=-1)


# ------------------------------------------------------------------------------------------------------ along the flow


def texture(seed: int = 0) -> Tensor:
    """Soft spots, (1, 3, 24, 40) in [-1, 1]."""
    values = torch.rand(1, 3, 6, 10, generator=torch.Generator().manual_seed(seed)) * 1.6 - 0.8
    return nn.functional.interpolate(values, size=(24, 40), mode="bilinear")


def film(right: int = 0, down: int = 0, frames: int = 2) -> tuple[Tensor, Tensor]:
    """A scene that moves by so many pixels a frame, (1, T, 3, 24, 40), and its flow, unknown of the last frame."""
    images = [texture().roll((down * number, right * number), (2, 3)) for number in range(frames)]
    flow = torch.tensor([right, down, 1.0]).view(1, 1, 3, 1, 1).repeat(1, frames, 1, 24, 40)
    flow[:, -1] = 0
    return torch.stack(images, 1), flow


def flow_of(sim: Tensor, flow: Tensor, fake: Tensor, **options: float) -> float:
    loss = FlowConsistency(**options)  # type: ignore[arg-type]  # of both types
    return float(loss(LossInputs(sim=sim, fake_real=fake, sim_inputs={"flow": flow})))


@pytest.mark.parametrize("look", [torch.tanh, lambda clip: clip * -0.4 + 0.2, torch.square])
@pytest.mark.parametrize("frames", [2, 3])
def test_one_look_for_all_frames_is_consistent_where_nothing_moves(
    look: Callable[[Tensor], Tensor], frames: int
) -> None:
    sim, flow = film(frames=frames)
    assert flow_of(sim, flow, look(sim), clip_length=frames) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(("right", "down"), [(3, 0), (-2, 1), (0, -4)])
def test_along_whole_pixels_one_look_is_consistent_and_a_step_of_light_counts_as_it_is(right: int, down: int) -> None:
    sim, flow = film(right, down)
    for look in (lambda clip: clip + 0.25, torch.tanh, lambda clip: clip * 0.5 - 0.1):
        assert flow_of(sim, flow, look(sim)) == pytest.approx(0, abs=1e-4)
    step = torch.tensor([0.1, -0.2]).view(1, 2, 1, 1, 1)
    assert flow_of(sim, flow, sim + step) == pytest.approx(0.3, abs=1e-4)
    other_way = flow * torch.tensor([-1, -1, 1]).view(3, 1, 1)
    assert flow_of(sim, other_way, torch.tanh(3 * sim), tolerance=2.0) > 0.05, "it is the flow that says what belongs"


def test_light_that_moves_in_the_source_may_stay() -> None:
    """Both frames get the same change, whatever the source does by itself."""
    sim, flow = film(2)
    sim = sim + torch.tensor([0.0, 0.08]).view(1, 2, 1, 1, 1)
    assert flow_of(sim, flow, sim - 0.3) == pytest.approx(0, abs=1e-4)


def test_the_loss_grows_with_the_flicker() -> None:
    sim, flow = film(2, 1)
    flicker = torch.randn(1, 2, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    losses = [flow_of(sim, flow, sim + strength * flicker) for strength in (0, 0.1, 0.2, 0.4)]
    assert losses == sorted(losses)
    assert losses[-1] == pytest.approx(4 * losses[1], rel=1e-3)


def test_only_what_is_seen_in_both_frames_counts() -> None:
    sim, flow = film(5)
    spoilt = sim.clone()
    spoilt[:, 0, :, :, 35:] += 0.5  # leaves the frame
    spoilt[:, 1, :, :, :5] += 0.5  # comes into it
    assert flow_of(sim, flow, spoilt) == pytest.approx(0, abs=1e-4)
    hidden = sim.clone()
    hidden[:, 1, :, 8:16, 20:30] = 0.95  # something else stands there in the next frame
    assert flow_of(hidden, flow, sim) < 0.25 * flow_of(hidden, flow, sim, tolerance=2.0)
    unknown = flow.clone()
    unknown[:, :, 2] = 0
    assert flow_of(sim, unknown, sim + torch.rand_like(sim)) == 0, "and no number is divided by none"
    half = flow.clone()
    half[:, 0, :, :, :20] = 0
    flickers = sim.clone()
    flickers[:, 0, :, :, :20] += 0.5
    assert flow_of(sim, half, flickers) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("options", [{"tolerance": 0}, {"tolerance": "wide"}, {"clip_length": 1}, {"clip_length": 2.5}])
def test_what_does_not_fit_the_flow_loss_is_told(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(SettingsError, match=rf"^losses\.flow\.options\.{name} = .* must be a (whole )?number"):
        FlowConsistency(**options)


class Styled(nn.Module):
    """Adds light that it draws for each frame anew: as much as it has learnt."""

    def __init__(self) -> None:
        super().__init__()
        self.light, self.spread = nn.Parameter(torch.zeros(3, 1, 1)), nn.Parameter(torch.full((3, 1, 1), 0.3))

    def forward(self, clips: Tensor) -> Tensor:
        style = torch.randn(*clips.shape[:2], 3, 1, 1, generator=self.random)
        return clips + self.light + self.spread * style

    random: torch.Generator


def trained(weight: float) -> Styled:
    """After a training towards real images, brighter by 0.3 and of light that varies by 0.3."""
    generator, (sim, flow) = Styled(), film(2, 1)
    generator.random = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(generator.parameters(), lr=0.02)
    sim, flow = sim.expand(8, -1, -1, -1, -1), flow.expand(8, -1, -1, -1, -1)
    for _ in range(150):
        optimiser.zero_grad()
        fake = generator(sim)
        light = (fake - sim).mean((3, 4)).flatten(0, 1)
        looks_real = (light.mean() - 0.3).square() + (light.std(0) - 0.3).square().mean()
        flicker = FlowConsistency()(LossInputs(sim=sim, fake_real=fake, sim_inputs={"flow": flow}))
        (looks_real + weight * flicker).backward()
        optimiser.step()
    return generator


def test_a_generator_that_flickers_learns_to_hold_still() -> None:
    """Styles that it draws for each frame are gone with the loss; what it has learnt of real light is not."""
    free, held = trained(0), trained(5)
    spreads = [float(generator.spread.detach().abs().mean()) for generator in (free, held)]
    assert spreads[0] > 0.2
    assert spreads[1] < 0.1 * spreads[0], spreads
    assert float(held.light.detach().mean()) == pytest.approx(0.3, abs=0.05)
