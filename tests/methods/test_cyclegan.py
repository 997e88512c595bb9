import copy
import dataclasses
import io
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from sim2real.config import Regularization
from sim2real.errors import PluginError, SettingsError
from sim2real.losses import Cycle, Identity, LossInputs, adversarial
from sim2real.methods.base import Batch, StepLog
from sim2real.methods.cyclegan import CycleGAN
from sim2real.networks.discriminators import Combined, Patch, PatchGAN70
from sim2real.networks.generators import EncoderDecoder, ResNet
from tests.methods.making import batch, networks_of, numbers, settings_of


def resnet() -> nn.Module:
    return ResNet(3, 3, width=4, blocks=1)


def patch() -> nn.Module:
    return Patch(3, (32, 32), width=4)


def make(
    generator: Callable[[], nn.Module] = resnet,
    discriminator: Callable[[], nn.Module] = patch,
    *,
    game: str = "lsgan",
    terms: dict[str, tuple[float, Callable[[LossInputs], Tensor]]] | None = None,
    rates: tuple[float, float] = (1e-3, 1e-3),
    image_pool_size: int = 0,
    precision: str = "fp32",
    more: dict[str, Any] | None = None,
    **options: Any,
) -> CycleGAN:
    """A method with small networks; ``more`` are settings, ``options`` are the method's own."""

    settings = settings_of(
        adversarial=adversarial(game),
        terms={"cycle": (10.0, Cycle())} if terms is None else terms,
        generator_lr=rates[0],
        discriminator_lr=rates[1],
        image_pool_size=image_pool_size,
        precision=precision,
        **(more or {}),
    )
    return CycleGAN(networks_of(generator, discriminator), settings, **options)


def weights(*networks: nn.Module) -> Tensor:
    return nn.utils.parameters_to_vector([weight for network in networks for weight in network.parameters()]).detach()


# ---------------------------------------------------------------------------------------------- against the paper


def reference(
    method: CycleGAN, batches: list[Batch], *, scale: float, identity: float, rates: tuple[float, float]
) -> Iterator[tuple[dict[str, float], Tensor]]:
    """The update of Zhu et al. 2017, section 3 and 4, one network at a time, with Adam written out."""
    G, F, D_real, D_sim = (
        copy.deepcopy(network) for network in (method.G_sim2real, method.G_real2sim, method.D_real, method.D_sim)
    )
    moments: dict[Tensor, tuple[Tensor, Tensor]] = {}

    def adam(network: nn.Module, loss: Tensor, rate: float, step: int) -> Callable[[], None]:
        parameters = list(network.parameters())
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True)

        def update() -> None:
            with torch.no_grad():
                for weight, gradient in zip(parameters, gradients, strict=True):
                    first, second = moments.get(weight, (torch.zeros_like(weight), torch.zeros_like(weight)))
                    first, second = 0.5 * first + 0.5 * gradient, 0.999 * second + 0.001 * gradient**2
                    moments[weight] = first, second
                    unbiased, spread = first / (1 - 0.5**step), second / (1 - 0.999**step)
                    weight.sub_(rate * unbiased / (spread.sqrt() + 1e-8))

        return update

    for step, images in enumerate(batches, 1):
        x, y = images.sim, images.real
        fake_y, fake_x = G(x), F(y)
        adversarial_real = ((D_real(fake_y) - 1) ** 2).mean()
        adversarial_sim = ((D_sim(fake_x) - 1) ** 2).mean()
        cycle = (F(fake_y) - x).abs().mean() + (G(fake_x) - y).abs().mean()
        same = (G(y) - y).abs().mean() + (F(x) - x).abs().mean()
        loss = adversarial_real + adversarial_sim + 10 * cycle + identity * same
        updates = [adam(G, loss, rates[0], step), adam(F, loss, rates[0], step)]
        for update in updates:
            update()
        old_y, old_x = fake_y.detach(), fake_x.detach()
        loss_real = scale * (((D_real(y) - 1) ** 2).mean() + (D_real(old_y) ** 2).mean())
        loss_sim = scale * (((D_sim(x) - 1) ** 2).mean() + (D_sim(old_x) ** 2).mean())
        updates = [adam(D_real, loss_real, rates[1], step), adam(D_sim, loss_sim, rates[1], step)]
        for update in updates:
            update()
        losses = {
            "adversarial_real": adversarial_real,
            "adversarial_sim": adversarial_sim,
            "cycle": 10 * cycle,
            "identity": identity * same,
            "D_real": loss_real,
            "D_sim": loss_sim,
        }
        yield {name: float(loss.detach()) for name, loss in losses.items()}, weights(G, F, D_real, D_sim)


@pytest.mark.parametrize("optimisers", ["shared", "separate"])
def test_three_steps_are_those_of_the_paper(optimisers: str) -> None:
    rates = (2e-3, 1e-3)
    method = make(  # without norms, before which the gradient of a bias is mere rounding, which Adam makes a full step
        lambda: ResNet(3, 3, width=4, blocks=1, norm="none"),
        lambda: Patch(3, (32, 32), width=4, norm="none"),
        terms={"cycle": (10.0, Cycle()), "identity": (5.0, Identity())},
        rates=rates,
        discriminator_loss_scale=0.5,
        optimisers=optimisers,
    )
    batches = [batch(seed, count=2) for seed in range(3)]
    expected = list(reference(method, batches, scale=0.5, identity=5.0, rates=rates))
    for images, (losses, after) in zip(batches, expected, strict=True):
        log = numbers(method.step(images))
        assert log == pytest.approx(losses, rel=1e-4)
        trained = weights(method.G_sim2real, method.G_real2sim, method.D_real, method.D_sim)
        torch.testing.assert_close(trained, after, rtol=1e-3, atol=2e-5)


# --------------------------------------------------------------------------------------------- who moves, and when


def test_a_step_moves_every_network() -> None:
    method = make()
    before = {name: weights(network) for name, network in method.networks.items()}
    method.step(batch())
    for name, network in method.networks.items():
        assert not torch.equal(weights(network), before[name]), name


@pytest.mark.parametrize("order", ["generators-first", "discriminators-first"])
def test_each_network_follows_the_gradient_of_its_own_loss_alone(order: str) -> None:
    method = make(rates=(0.0, 0.0), update_order=order)
    images = batch()
    method.step(images)
    fake_real, fake_sim = method.G_sim2real(images.sim), method.G_real2sim(images.real)
    cycles = (method.G_real2sim(fake_real) - images.sim).abs().mean()
    cycles = cycles + (method.G_sim2real(fake_sim) - images.real).abs().mean()
    generator_loss = (method.D_real(fake_real) - 1).square().mean() + (method.D_sim(fake_sim) - 1).square().mean()
    told = (method.D_real(images.real) - 1).square().mean() + method.D_real(fake_real.detach()).square().mean()
    told = told + (method.D_sim(images.sim) - 1).square().mean() + method.D_sim(fake_sim.detach()).square().mean()
    generators, discriminators = (method.G_sim2real, method.G_real2sim), (method.D_real, method.D_sim)
    for loss, networks in ((generator_loss + 10 * cycles, generators), (told, discriminators)):
        trained = [weights for network in networks for weights in network.parameters()]
        expected = torch.autograd.grad(loss, trained, retain_graph=True)
        torch.testing.assert_close([weights.grad for weights in trained], list(expected))
        assert all(weights.requires_grad for weights in trained)


def test_what_a_discriminator_keeps_frozen_stays_frozen() -> None:
    class WithFeatures(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Conv2d(3, 4, 3).requires_grad_(False)
            self.judge = nn.Conv2d(4, 1, 3)

        def forward(self, images: Tensor) -> Tensor:
            return cast("Tensor", self.judge(self.features(images)))

    method = make(discriminator=WithFeatures)
    features = [discriminator.network.get_submodule("features") for discriminator in (method.D_real, method.D_sim)]
    before = weights(*features)
    for _ in range(2):
        method.step(batch())
    assert torch.equal(weights(*features), before)


def test_the_order_of_updates_is_the_one_that_was_asked_for() -> None:
    generators_first, discriminators_first = make(), make(update_order="discriminators-first")
    discriminators_first.load_state_dict(copy.deepcopy(generators_first.state_dict()))
    one, other = numbers(generators_first.step(batch())), numbers(discriminators_first.step(batch()))
    assert one["D_real"] == other["D_real"]  # both judge the fakes of the generators as they were
    assert one["cycle"] == other["cycle"]
    assert one["adversarial_real"] != other["adversarial_real"]  # here the discriminators had already learned


@pytest.mark.parametrize("option", ["update_order", "optimisers"])
def test_an_unknown_choice_is_refused_with_the_known_ones(option: str) -> None:
    with pytest.raises(SettingsError, match=rf"method\.options\.{option} = 'both' is not one of \S+, \S+"):
        make(**cast("Any", {option: "both"}))


@pytest.mark.parametrize("scale", ["x", -1, float("nan")])
def test_a_scale_that_is_no_factor_is_refused(scale: object) -> None:
    with pytest.raises(SettingsError, match=r"method\.options\.discriminator_loss_scale = .* at least 0"):
        make(discriminator_loss_scale=cast("Any", scale))


# ------------------------------------------------------------------------------------------------ alike and scaled


@pytest.mark.parametrize("order", ["generators-first", "discriminators-first"])
def test_both_domains_are_treated_alike(order: str) -> None:
    terms: Any = {"cycle": (10.0, Cycle()), "identity": (2.0, Identity())}
    method = make(terms=terms, discriminator_loss_scale=0.5, update_order=order)
    mirror = make(terms=terms, discriminator_loss_scale=0.5, update_order=order)
    twins = {"G_sim2real": "G_real2sim", "G_real2sim": "G_sim2real", "D_real": "D_sim", "D_sim": "D_real"}
    for name, twin in twins.items():
        mirror.networks[twin].load_state_dict(method.networks[name].state_dict())
    swap = {"adversarial_real": "adversarial_sim", "adversarial_sim": "adversarial_real", **twins}
    for seed in range(3):
        images = batch(seed)
        straight = numbers(method.step(images))
        mirrored = numbers(mirror.step(Batch(sim=images.real, real=images.sim)))
        assert mirrored == pytest.approx({swap.get(name, name): loss for name, loss in straight.items()}, rel=1e-4)


def test_the_scale_of_the_discriminators_loss_is_that_of_both() -> None:
    whole, half = make(), make(discriminator_loss_scale=0.5)
    half.load_state_dict(copy.deepcopy(whole.state_dict()))
    of_whole, of_half = numbers(whole.step(batch())), numbers(half.step(batch()))
    assert of_half["D_real"] == pytest.approx(of_whole["D_real"] / 2)
    assert of_half["D_sim"] == pytest.approx(of_whole["D_sim"] / 2)
    assert of_half["cycle"] == of_whole["cycle"]


def test_a_factor_of_zero_stops_all_learning_and_one_restores_it() -> None:
    method = make(rates=(1e-2, 1e-2), optimisers="separate")
    networks = list(method.networks.values())
    before = weights(*networks)
    method.scale_learning_rates(0.0)
    method.step(batch())
    assert torch.equal(weights(*networks), before)
    method.scale_learning_rates(0.25)
    optimisers = method.optimization.optimisers.values()
    assert {group["lr"] for optimiser in optimisers for group in optimiser.param_groups} == {0.0025}


# ------------------------------------------------------------------------------------------------------- the parts


@pytest.mark.parametrize("game", ["lsgan", "bce", "hinge"])
def test_discriminators_learn_to_tell_the_domains_apart(game: str) -> None:
    method = make(game=game, rates=(0.0, 3e-3))
    images = Batch(sim=torch.full((1, 3, 32, 32), -0.5), real=torch.full((1, 3, 32, 32), 0.5))
    losses = [numbers(method.step(images))["D_real"] for _ in range(25)]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("game", ["lsgan", "bce", "hinge"])
def test_generators_learn_to_fool(game: str) -> None:
    method = make(game=game, terms={}, rates=(1e-3, 0.0))
    losses = [numbers(method.step(batch()))["adversarial_real"] for _ in range(15)]
    assert losses[-1] < losses[0]


def test_cycles_close_with_training() -> None:
    method = make(rates=(3e-3, 1e-4))
    losses = [numbers(method.step(batch()))["cycle"] for _ in range(25)]
    assert losses[-1] < 0.9 * losses[0]


def test_identity_images_are_computed_only_where_a_loss_wants_them() -> None:
    seen: list[LossInputs] = []

    def spy(images: LossInputs) -> Tensor:
        seen.append(images)
        return images.fake_real.mean()

    make(terms={"spy": (1.0, spy)}).step(batch())
    with pytest.raises(PluginError, match="identity_sim"):
        _ = seen[-1].identity_sim
    method = make(terms={"spy": (1.0, spy), "identity": (1.0, Identity())}, rates=(0.0, 0.0))
    images = batch()
    method.step(images)
    inputs = seen[-1]
    torch.testing.assert_close(inputs.identity_sim, method.G_real2sim(images.sim))
    torch.testing.assert_close(inputs.identity_real, method.G_sim2real(images.real))
    torch.testing.assert_close(inputs.cycled_sim, method.G_real2sim(inputs.fake_real))
    torch.testing.assert_close(inputs.cycled_real, method.G_sim2real(inputs.fake_sim))


def test_a_term_of_a_third_party_trains_the_generators_with_its_weight() -> None:
    def brightness(images: LossInputs) -> Tensor:
        return (images.fake_real - 0.5).square().mean()

    method = make(terms={"brightness": (100.0, brightness)}, rates=(3e-3, 0.0))
    losses = [numbers(method.step(batch()))["brightness"] for _ in range(25)]
    assert losses[0] == pytest.approx(100 * 0.25, rel=0.5)
    assert losses[-1] < 0.3 * losses[0]


def test_each_score_of_a_combined_discriminator_counts_with_its_weight() -> None:
    def combined(*weighted: float) -> Callable[[], nn.Module]:
        return lambda: Combined(3, (32, 32), width=4, score_weights=weighted)

    by_weights = {}
    for pair in ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.5, 2.0)):
        torch.manual_seed(5)
        by_weights[pair] = numbers(make(discriminator=combined(*pair)).step(batch()))
    for name in ("adversarial_real", "adversarial_sim", "D_real", "D_sim"):
        patches, whole = by_weights[1.0, 0.0][name], by_weights[0.0, 1.0][name]
        assert patches != whole
        assert by_weights[1.0, 1.0][name] == pytest.approx(patches + whole)
        assert by_weights[0.5, 2.0][name] == pytest.approx(0.5 * patches + 2 * whole)


class Pyramid(nn.Module):
    """A discriminator as a plugin may write it: scores of two scales in a tuple, no weights."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = PatchGAN70(3, (32, 32), width=4), Patch(3, (32, 32), width=4)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.fine(images), self.coarse(images)


def test_a_discriminator_may_give_several_scores_without_weights() -> None:
    method = make(discriminator=Pyramid, game="hinge")
    assert all(map(torch.isfinite, method.step(batch()).losses.values()))


def test_networks_of_another_range_see_and_give_images_in_the_range_of_the_program() -> None:
    method = make(generator=lambda: EncoderDecoder(3, 3, width=4, stages=2, blocks=1, output="half_tanh"))
    seen: list[Tensor] = []
    method.D_real.register_forward_hook(lambda _module, args, _result: seen.append(args[0].detach()))
    method.step(batch())
    assert max(float(images.abs().max()) for images in seen) > 0.5
    assert max(float(images.abs().max()) for images in seen) <= 1


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_runs_in_each_precision_and_weights_stay_float32(precision: str) -> None:
    terms: Any = {"cycle": (10.0, Cycle()), "identity": (2.0, Identity())}
    method = make(precision=precision, terms=terms, image_pool_size=2)
    computed: list[torch.dtype] = []
    first = next(module for module in method.G_sim2real.modules() if isinstance(module, nn.Conv2d))
    first.register_forward_hook(lambda _module, _args, result: computed.append(result.dtype))
    for seed in range(4):
        log = method.step(batch(seed))
    assert set(computed) == {torch.float32 if precision == "fp32" else torch.bfloat16}
    assert {loss.dtype for loss in log.losses.values()} == {torch.float32}
    assert {weight.dtype for network in method.networks.values() for weight in network.parameters()} == {torch.float32}
    assert all(map(torch.isfinite, log.losses.values()))


def test_bf16_gives_nearly_the_losses_of_fp32() -> None:
    full, half = make(), make(precision="bf16")
    half.load_state_dict(copy.deepcopy(full.state_dict()))
    assert numbers(half.step(batch())) == pytest.approx(numbers(full.step(batch())), rel=0.03)


def test_evaluation_changes_nothing_and_sums_the_generators_losses() -> None:
    method = make(
        terms={"cycle": (10.0, Cycle()), "identity": (2.0, Identity())},
        image_pool_size=3,
        more={"regularization": Regularization(augment=["color"])},
    )
    before = copy.deepcopy((method.state_dict(), method.rank_state_dict()))
    losses = numbers(method.evaluate(batch()))
    assert losses["generator"] == pytest.approx(sum(loss for name, loss in losses.items() if name != "generator"))
    assert losses.keys() == {"adversarial_real", "adversarial_sim", "cycle", "identity", "generator"}
    torch.testing.assert_close((method.state_dict(), method.rank_state_dict()), before, rtol=0, atol=0)


def saved(state: dict[str, Any]) -> Any:
    """What comes back of a file."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


CHECKED: Any = Regularization(
    spectral_norm=True,
    r1=1.0,
    r1_every=3,
    lecam=0.1,
    augment=["color", "translation", "cutout"],
    augment_target=0.3,
)


@pytest.mark.parametrize("optimisers", ["shared", "separate"])
@pytest.mark.parametrize("discriminator", [Regularization(), CHECKED], ids=["plain", "checked"])
def test_a_restored_method_goes_on_exactly_as_the_first_would_have(
    optimisers: str, discriminator: Regularization
) -> None:
    options: Any = {"image_pool_size": 2, "optimisers": optimisers, "more": {"regularization": discriminator}}
    first, second = make(**options), make(**options)
    for seed in range(4):
        first.step(batch(seed))
    second.load_state_dict(saved(first.state_dict()))
    second.load_rank_state_dict(saved(first.rank_state_dict()))
    for seed in range(4, 8):
        assert numbers(first.step(batch(seed))) == numbers(second.step(batch(seed)))


# ------------------------------------------------------------------------------------------- parts, processes, clips

NORM_FREE: Any = {
    "generator": lambda: ResNet(3, 3, width=4, blocks=1, norm="none"),
    "discriminator": lambda: Patch(3, (32, 32), width=4, norm="none"),
    "terms": {"cycle": (10.0, Cycle()), "identity": (2.0, Identity())},
}


def assert_alike(one: CycleGAN, other: CycleGAN) -> None:
    networks = one.networks.values(), other.networks.values()
    torch.testing.assert_close(*(weights(*each) for each in networks), rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("order", ["generators-first", "discriminators-first"])
@pytest.mark.parametrize("count", [2, 4])
def test_a_step_in_parts_is_the_step_of_the_whole_batch(order: str, count: int) -> None:
    discriminator = Regularization(r1=1.0, r1_every=2, lecam=0.1)
    whole, parted = (
        make(
            **NORM_FREE,
            update_order=order,
            image_pool_size=5,
            more={"regularization": discriminator, "gradient_accumulation_steps": parts},
        )
        for parts in (1, count)
    )
    parted.load_state_dict(copy.deepcopy(whole.state_dict()))
    for seed in range(4):
        images = batch(seed, count=4)
        assert numbers(parted.step(images)) == pytest.approx(numbers(whole.step(images)), rel=1e-4)
    assert_alike(whole, parted)


def test_figures_of_the_discriminators_are_told() -> None:
    method = make(more={"regularization": CHECKED})
    logs = [numbers(method.step(batch(seed))) for seed in range(7)]
    plain = {"adversarial_real", "adversarial_sim", "cycle", "D_real", "D_sim"}
    assert logs[0].keys() == plain | {"r1", "augment_p"}
    assert all(log.keys() == plain | {"r1", "lecam", "augment_p"} for log in logs[1:])
    r1 = [log["r1"] for log in logs]
    assert r1[0] == r1[1] == r1[2] != r1[3] == r1[4] == r1[5] != r1[6]
    assert all(0 <= log["augment_p"] <= 0.007 for log in logs)


def test_r1_is_told_as_what_a_step_loses_by_it_on_average() -> None:
    logs = {}
    for every in (1, 4):
        torch.manual_seed(0)
        method = make(more={"regularization": Regularization(r1=10.0, r1_every=every)})
        logs[every] = numbers(method.step(batch()))
    assert logs[1] == logs[4]


def test_a_batch_that_has_no_equal_parts_is_refused() -> None:
    with pytest.raises(ValueError, match="3 images cannot be split into 2 equal parts"):
        make(more={"gradient_accumulation_steps": 2}).step(batch(count=3))


class Together:
    """Processes of a training, here threads, that take the mean of what they have."""

    def __init__(self, count: int) -> None:
        self.barrier = threading.Barrier(count, timeout=30)
        self.given: dict[int, list[Tensor]] = {}

    def average(self, rank: int) -> Callable[[Sequence[Tensor]], None]:
        def mean(tensors: Sequence[Tensor]) -> None:
            self.given[rank] = [tensor.clone() for tensor in tensors]
            self.barrier.wait()
            everywhere = [torch.stack(given).mean(0) for given in zip(*self.given.values(), strict=True)]
            self.barrier.wait()
            for tensor, of_all in zip(tensors, everywhere, strict=True):
                tensor.copy_(of_all)

        return mean

    def step(self, methods: Sequence[CycleGAN], images: Batch) -> list[StepLog]:
        with ThreadPoolExecutor(len(methods)) as threads:
            return [*threads.map(lambda method, part: method.step(part), methods, images.split(len(methods)))]


@pytest.mark.parametrize(
    "discriminator", [Regularization(), Regularization(r1=1.0, r1_every=2, lecam=0.1)], ids=["plain", "checked"]
)
@pytest.mark.parametrize("order", ["generators-first", "discriminators-first"])
def test_two_processes_are_one_with_twice_the_batch(order: str, discriminator: Regularization) -> None:
    together, options = Together(2), {**NORM_FREE, "update_order": order}
    alone, *pair = [
        make(**options, more={"regularization": discriminator, **more})
        for more in ({}, *({"average": together.average(rank), "rank": rank} for rank in range(2)))
    ]
    for method in pair:
        method.load_state_dict(copy.deepcopy(alone.state_dict()))
    for seed in range(3):
        images = batch(seed, count=4)
        alone.step(images)
        together.step(pair, images)
    assert torch.equal(weights(*pair[0].networks.values()), weights(*pair[1].networks.values()))
    assert_alike(alone, pair[0])


def test_processes_agree_on_all_but_what_is_their_own() -> None:
    together = Together(2)
    pair = [
        make(image_pool_size=2, more={"regularization": CHECKED, "average": together.average(rank), "rank": rank})
        for rank in range(2)
    ]
    pair[1].load_state_dict(copy.deepcopy(pair[0].state_dict()))
    for seed in range(5):
        together.step(pair, batch(seed, count=2))
    torch.testing.assert_close(*(method.state_dict() for method in pair), rtol=0, atol=0)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(*(method.rank_state_dict() for method in pair), rtol=0, atol=0)


def test_processes_draw_apart_and_the_first_as_if_it_were_alone() -> None:
    alone, *ranks = [make(image_pool_size=2, more=more) for more in ({}, {"rank": 0}, {"rank": 1})]
    for method in ranks:
        method.load_state_dict(copy.deepcopy(alone.state_dict()))
    logs = [[numbers(method.step(batch(seed)))["D_real"] for seed in range(8)] for method in (alone, *ranks)]
    assert logs[0] == logs[1]
    assert logs[0] != logs[2]


def gradient_norms(method: CycleGAN) -> list[float]:
    """Of the generators' and of the discriminators' gradients, after a step."""
    pairs = (method.G_sim2real, method.G_real2sim), (method.D_real, method.D_sim)
    return [
        float(nn.utils.get_total_norm([cast("Tensor", w.grad) for network in pair for w in network.parameters()]))
        for pair in pairs
    ]


def test_gradients_are_clipped_to_the_norm_after_they_were_averaged() -> None:
    def magnify(gradients: Sequence[Tensor]) -> None:
        for gradient in gradients:
            gradient.mul_(1000)

    free, loose, tight = (make(more={"max_grad_norm": clip}) for clip in (0.0, 1e6, 0.25))
    tight.settings = dataclasses.replace(tight.settings, average=magnify)
    for method in (loose, tight):
        method.load_state_dict(copy.deepcopy(free.state_dict()))
    for method in (free, loose, tight):
        method.step(batch())
    assert gradient_norms(tight) == pytest.approx([0.25, 0.25], rel=1e-4)
    assert min(gradient_norms(free)) > 0.25
    assert torch.equal(weights(*free.networks.values()), weights(*loose.networks.values()))


def test_each_of_separate_optimisers_has_its_own_norm() -> None:
    method = make(optimisers="separate", more={"max_grad_norm": 0.25})
    method.step(batch())
    assert gradient_norms(method) == pytest.approx([0.25 * 2**0.5] * 2, rel=1e-4)


@pytest.mark.parametrize("optimisers", ["shared", "separate"])
def test_a_scaled_loss_is_followed_as_an_unscaled_one(optimisers: str) -> None:
    # what fp16 needs, without its rounding: losses are scaled, gradients are not when they are clipped and followed
    plain, scaled = (make(**NORM_FREE, optimisers=optimisers, more={"max_grad_norm": 0.25}) for _ in range(2))
    scaled.load_state_dict(copy.deepcopy(plain.state_dict()))
    scaled.optimization.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for seed in range(3):
        plain.step(batch(seed))
        scaled.step(batch(seed))
        assert gradient_norms(scaled) == pytest.approx(gradient_norms(plain), rel=1e-3)
    assert_alike(plain, scaled)
    assert scaled.optimization.scaler.get_scale() == 2.0**10


@pytest.mark.parametrize("clip", [0.0, 0.25])
@pytest.mark.parametrize("order", ["generators-first", "discriminators-first"])
def test_gradients_that_overflow_are_not_followed_and_the_scale_is_halved_once(order: str, clip: float) -> None:
    method = make(optimisers="separate", update_order=order, more={"max_grad_norm": clip})
    method.optimization.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for discriminator in (method.D_real, method.D_sim):  # of two optimisers
        next(discriminator.parameters()).register_hook(lambda gradient: gradient * math.inf)
    before = {name: weights(network) for name, network in method.networks.items()}
    method.step(batch())
    unmoved = {name for name, network in method.networks.items() if torch.equal(weights(network), before[name])}
    assert unmoved == {"D_real", "D_sim"}
    assert method.optimization.scaler.get_scale() == 2.0**9


def test_fp16_trains() -> None:
    method = make(precision="fp16", more={"regularization": Regularization(r1=1.0, lecam=0.1), "max_grad_norm": 1.0})
    assert method.optimization.scaler.is_enabled()
    losses = [numbers(method.step(batch()))["cycle"] for _ in range(25)]
    assert losses[-1] < losses[0]
    assert weights(*method.networks.values()).isfinite().all()
