"""The method ``one-sided``: what it holds against pictures, and that it goes on as if it had never been stopped."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from sim2real.config import Regularization
from sim2real.datasets.labels import NOTHING
from sim2real.errors import SettingsError
from sim2real.losses import LossInputs
from sim2real.methods.base import Batch
from sim2real.methods.onesided import OneSided, _unlikeness
from sim2real.networks.discriminators import PatchGAN70
from sim2real.networks.generators import ResNet
from sim2real.networks.grid import Grid
from sim2real.networks.textured import TexturedGrid, low_pass
from sim2real.testing import check_method
from tests.methods.making import networks_of, settings_of


def discriminator() -> nn.Module:
    return PatchGAN70(3, (32, 32), width=4, norm="none")


def make(generator: Callable[[], nn.Module] = Grid, more: dict[str, Any] | None = None, **options: Any) -> OneSided:
    torch.manual_seed(0)
    settings = settings_of(**{"discriminator_lr": 4e-4, "betas": (0.5, 0.99), **(more or {})})
    return OneSided(networks_of(generator, discriminator), settings, **options)


def images(seed: int, count: int = 2) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("generator", [Grid, lambda: ResNet(width=4, blocks=1)])
def test_it_keeps_the_contract_of_methods(generator: Callable[[], nn.Module]) -> None:
    check_method(OneSided, generator=generator, discriminator=discriminator)


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
        method = make(more={"gradient_accumulation_steps": parts})
        method.step(batch)
        found.append(nn.utils.parameters_to_vector(method.generators["sim2real"].parameters()).detach())
    whole, of_parts = found
    assert torch.allclose(whole, of_parts, atol=2e-4)


def test_it_trains_in_bf16_as_in_fp32() -> None:
    """On real pictures of one hue, too, whose covariances have next to nothing in two of three directions."""
    found = []
    for precision in ("fp32", "bf16"):
        method = make(more={"precision": precision})
        for seed in range(6):
            real = images(seed + 50)[:, :1] * torch.tensor([0.9, 0.6, 0.3])[:, None, None] + 0.003 * images(seed)
            log = method.step(Batch(images(seed) * 0.3, real)).losses
            assert all(loss.isfinite() for loss in log.values())
        found.append(torch.stack([log["moments"], log["spectrum"]]))
    assert torch.allclose(found[0], found[1], rtol=0.1)


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


def test_guided_pictures_are_what_the_discriminator_sees_where_they_are_trained() -> None:
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
        made, _ = method.translate(method._part(batch, torch.arange(2).numpy().astype("uint64")))["real"]
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

    with pytest.raises(SettingsError, match="set back = true"):
        make(more={"terms": {"same": (1.0, Same())}})
    method = make(more={"terms": {"same": (1.0, Same())}}, back=True)
    assert "same" in method.step(Batch(images(1), images(2))).losses


LABELLED: dict[str, Any] = {"class_moments": 0.5, "consistency": 0.5}


@pytest.mark.parametrize("by_class", [False, True])
def test_with_masks_it_keeps_the_contract_of_methods(by_class: bool) -> None:
    check_method(OneSided, generator=Grid, discriminator=CellsByClass if by_class else discriminator, **LABELLED)


def halves(seed: int, left: float, right: float) -> Batch:
    """Left and right half are two classes, of one rough and one smooth texture."""
    random = torch.Generator().manual_seed(seed)
    masks = torch.zeros(4, 32, 32, dtype=torch.int64)
    masks[:, :, 16:] = 1

    def side(left: float, right: float) -> Tensor:
        noise = torch.randn(4, 3, 32, 32, generator=random) * torch.where(masks == 0, 0.01, 0.15)[:, None]
        return (torch.where(masks == 0, left, right)[:, None] + noise).clamp(-1, 1)

    return Batch(side(0.0, 0.0), side(left, right), {"segmentation": masks}, {"segmentation": masks})


def test_moments_of_classes_part_what_moments_of_pictures_cannot() -> None:
    """Two classes of one colour, whose real ones are a dark and a bright one: the mean of all is the same."""
    apart = {}
    for weight in (0.0, 3.0):
        options = {**LABELLED, "consistency": 0.01, "class_moments": weight}
        method = make(
            lambda: ResNet(width=8, blocks=1), {"classes": ("left", "right")}, moments=0.0, spectrum=0.0, **options
        )
        assert method.segmenter
        method.segmenter.steps.fill_(1000)
        for seed in range(40):
            method.segmenter.recent.fill_(0.0)
            method.step(halves(seed, -0.5, 0.5))
        batch = halves(99, -0.5, 0.5)
        fake = method.generators["sim2real"](batch.sim)
        apart[weight] = float((fake[..., 16:].mean() - fake[..., :16].mean()).detach())
    assert apart[3.0] > apart[0.0] + 0.3


class TowardsReal:
    """Wants each frame to look like the real picture that was drawn with it."""

    needs = ("real", "fake_real")

    def __call__(self, images: LossInputs) -> Tensor:
        return (images.fake_real - images.real).abs().mean()


def test_consistency_holds_a_generator_back_from_flipping_a_class() -> None:
    """Real pictures are bright where the simulation is dark: what follows them turns one class into the other."""
    kept = {}
    for weight in (1e-6, 10.0):
        more = {"classes": ("dark", "bright"), "terms": {"towards": (1.0, TowardsReal())}}
        method = make(
            lambda: ResNet(width=8, blocks=1), more, moments=0.0, spectrum=0.0, unevenness=0.0, consistency=weight
        )
        segmenter = method.segmenter
        assert segmenter
        for seed in range(60):  # it knows the simulation by then
            method._teach(segmenter, [turned_round(seed)])
        segmenter.steps.fill_(1000)
        for seed in range(60, 110):
            method.step(turned_round(seed))
        batch = turned_round(200)
        fake, bright = method.generators["sim2real"](batch.sim).mean(1).detach(), batch.sim_inputs["segmentation"] == 1
        kept[weight] = float(fake[bright].mean() - fake[~bright].mean())
    assert kept[1e-6] < -0.2
    assert kept[10.0] > 0.05


def turned_round(seed: int) -> Batch:
    """A dark class and a bright one, somewhere; in real pictures it is the other way round."""
    random = torch.Generator().manual_seed(seed)
    masks = torch.randint(2, (4, 2, 2), generator=random).repeat_interleave(16, 1).repeat_interleave(16, 2)
    noise = torch.randn(2, 4, 3, 32, 32, generator=random) * 0.05
    sim = torch.where(masks == 0, -0.4, 0.4)[:, None]
    return Batch(sim + noise[0], noise[1] - sim, {"segmentation": masks})


@pytest.mark.parametrize("option", LABELLED)
def test_without_masks_it_asks_for_none(option: str) -> None:
    assert make().inputs == ()
    options: dict[str, Any] = {option: 0.1}
    assert make(more={"classes": ("road",)}, **options).inputs == ("segmentation",)


class Cells(nn.Module):
    """A discriminator of cells of 4x4 pixels, which see nothing of each other."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 16, 4, stride=4), nn.LeakyReLU(0.2), nn.Conv2d(16, 1, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        scores: Tensor = self.layers(pictures)
        return scores


class CellsByClass(Cells):
    """It knows the class of each cell."""

    inputs = ("segmentation",)
    classes = 5

    def __init__(self) -> None:
        super().__init__()
        self.by_class = nn.Conv2d(16, self.classes, 1)

    def forward(self, pictures: Tensor, inputs: Any) -> Tensor:  # type: ignore[override]
        masks = inputs["segmentation"][:, None, 2::4, 2::4]
        maps = self.layers[:2](pictures)
        told = self.by_class(maps).gather(1, masks.clamp(min=0)) * (masks >= 0)
        return torch.as_tensor(self.layers[2](maps) + told)


def blocks(seed: int, sim: tuple[float, float], real: tuple[float, float], bright: tuple[float, float]) -> Batch:
    """Blocks of two classes, of these brightnesses; ``bright``: how many of the blocks are of the second, by side."""
    random = torch.Generator().manual_seed(seed)
    masks = [
        (torch.rand(4, 2, 2, generator=random) < share).long().repeat_interleave(16, 1).repeat_interleave(16, 2)
        for share in bright
    ]
    pictures = [
        torch.where(mask == 0, *levels)[:, None] + 0.05 * torch.randn(4, 3, 32, 32, generator=random)
        for mask, levels in zip(masks, (sim, real), strict=True)
    ]
    sim_inputs, real_inputs = ({"segmentation": mask} for mask in masks)
    return Batch(pictures[0], pictures[1], sim_inputs, real_inputs)


class Tone(nn.Module):
    """Changes each pixel by itself: it can tell classes apart by their brightness alone, and turn them round."""

    def __init__(self) -> None:
        super().__init__()
        self.curve = nn.Sequential(nn.Conv2d(3, 16, 1), nn.Tanh(), nn.Conv2d(16, 3, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        changed: Tensor = pictures + self.curve(3 * pictures)
        return changed


def make_game(more: dict[str, Any], **options: Any) -> OneSided:
    """A discriminator as fast as its generator, and no other loss."""
    rates = {"generator_lr": 2e-3, "discriminator_lr": 1e-2, "betas": (0.0, 0.9)}
    return make(Tone, {**rates, **more}, moments=0.0, spectrum=0.0, unevenness=0.0, **options)


def translated(method: OneSided, batch: Batch) -> tuple[float, float]:
    """The brightness of both classes in what becomes of a batch."""
    fake = method.generators["sim2real"](batch.sim).mean(1).detach()
    return tuple(float(fake[batch.sim_inputs["segmentation"] == number].mean()) for number in (0, 1))  # type: ignore[return-value]


def test_a_discriminator_that_knows_classes_keeps_them_where_another_flips_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The brighter class of the simulation is the darker one in reality: looks alone say nothing of that."""
    monkeypatch.setattr(OneSided, "_teach", lambda *_: {})  # real pictures have masks of their own
    found = {}
    for kind in (Cells, CellsByClass):
        monkeypatch.setattr(f"{__name__}.discriminator", kind)
        method = make_game({"classes": ("one", "other")})
        for seed in range(200):
            method.step(blocks(seed, (0.2, -0.2), (-0.5, 0.5), (0.5, 0.5)))
        found[kind] = translated(method, blocks(200, (0.2, -0.2), (-0.5, 0.5), (0.5, 0.5)))
    assert found[Cells][0] > found[Cells][1] + 0.2
    assert found[CellsByClass][0] < found[CellsByClass][1] - 0.2


def test_a_masked_discriminator_does_not_paint_what_reality_has_more_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reality has three times as much sky: without masks, roads turn bright."""
    monkeypatch.setattr(f"{__name__}.discriminator", Cells)
    monkeypatch.setattr(OneSided, "_teach", lambda *_: {})
    dark = {}
    for masked in (False, True):
        method = make_game({"classes": ("road", "sky")}, masked=masked)
        sides: Any = ((-0.2, 0.2), (-0.5, 0.5), (0.2, 0.8))
        for seed in range(200):
            method.step(blocks(seed, *sides))
        dark[masked] = translated(method, blocks(200, *sides))[0]
    assert dark[True] < dark[False] - 0.15
    assert dark[True] < -0.2


def test_pseudo_labels_take_the_place_of_masks_that_real_pictures_do_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.discriminator", CellsByClass)
    method = make(more={"classes": ("one", "other")}, masked=True)
    assert method.inputs == ("segmentation",)
    assert method.sides["D_real"] == ("sim",)
    with_masks = blocks(0, (-0.4, 0.4), (-0.4, 0.4), (0.5, 0.5))
    batch = Batch(with_masks.sim, with_masks.real, with_masks.sim_inputs)
    masks = method._part(batch, torch.arange(len(batch.sim)).numpy().astype("uint64")).masks
    assert masks
    assert set(masks.known("sim").unique().tolist()) == {NOTHING}  # neither side's, while the segmenter knows nothing
    assert set(masks.known("real").unique().tolist()) == {NOTHING}
    assert masks.alike("sim", "real").min() == 1
    assert method.segmenter
    for seed in range(200):
        method._teach(method.segmenter, [blocks(seed, (-0.4, 0.4), (-0.4, 0.4), (0.5, 0.5))])
    method.segmenter.steps.fill_(1000)
    masks = method._part(batch, torch.arange(len(batch.sim)).numpy().astype("uint64")).masks
    assert masks
    for side in ("sim", "real"):
        true = getattr(with_masks, f"{side}_inputs")["segmentation"]
        known = masks.known(side) != NOTHING
        assert known.float().mean() > 0.3
        assert (masks.known(side) == true)[known].float().mean() > 0.95
    alike = masks.alike("sim", "real") == 1
    assert torch.equal(alike, (masks.sim == masks.real) & (masks.sim != NOTHING))


def test_masks_are_kept_on_their_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="image_pool_size = 0"):
        make(more={"image_pool_size": 50}, masked=True)
    with pytest.raises(SettingsError, match=r"masked: .*would move images off the masks; only color is accepted"):
        make(more={"regularization": Regularization(augment=("color", "cutout"))}, masked=True)
    monkeypatch.setattr(f"{__name__}.discriminator", CellsByClass)
    with pytest.raises(SettingsError, match="classes = 5: the run has 6 classes; set classes = 6"):
        make(more={"classes": tuple("abcdef")})


@pytest.mark.parametrize(("sims", "reals"), [(3, 3), (3, 0), (0, 3)])
def test_frames_of_clips_are_held_against_the_mask_beside_them(
    sims: int, reals: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def side(frames: int) -> tuple[Tensor, dict[str, Tensor]]:
        pictures, masks = images(1, 2 * max(1, frames)), torch.zeros(2 * max(1, frames), 32, 32, dtype=torch.int64)
        if not frames:
            return pictures, {"segmentation": masks}
        return pictures.unflatten(0, (2, frames)), {"segmentation": masks.unflatten(0, (2, frames))}

    monkeypatch.setattr(f"{__name__}.discriminator", CellsByClass)
    method = make(more={"classes": ("one", "other")}, masked=True, back=True)
    (sim, sim_masks), (real, real_masks) = side(sims), side(reals)
    for masks in (real_masks, {}):
        assert all(loss.isfinite() for loss in method.step(Batch(sim, real, sim_masks, masks)).losses.values())


def begun() -> TexturedGrid:
    network = TexturedGrid(width=4)
    network.reach(1.0)
    return network


@pytest.mark.parametrize("generator", [lambda: TexturedGrid(width=4), begun])
def test_with_a_generator_of_texture_it_keeps_the_contract_of_methods(generator: Callable[[], nn.Module]) -> None:
    check_method(OneSided, generator=generator, discriminator=discriminator)


def grainy(seed: int) -> Batch:
    """Plain sky above plain road; the real road, of the same colour, has grains of two pixels."""
    random = torch.Generator().manual_seed(seed)
    masks = torch.ones(4, 64, 32, dtype=torch.int64)
    masks[:, :32] = 0
    sky, road = (torch.tensor(colour)[:, None, None] for colour in ((0.3, 0.5, 0.8), (-0.1, -0.1, -0.05)))
    sim = torch.where(masks[:, None] == 0, sky, road)
    grain = 0.06 * torch.randn(4, 1, 32, 16, generator=random).repeat_interleave(2, 2).repeat_interleave(2, 3)
    return Batch(sim, sim + grain * masks[:, None], {"segmentation": masks})


def textured(**options: Any) -> OneSided:
    classes = ("sky", "road")

    def generator() -> TexturedGrid:
        network = TexturedGrid(camera=False, sigma=16.0, **options)
        network.name_classes(classes)
        return network

    rates = {"generator_lr": 1e-2, "discriminator_lr": 2e-2, "betas": (0.0, 0.9)}
    return make(generator, {"classes": classes, **rates})


def grid_of(method: OneSided) -> dict[str, Tensor]:
    """The weights of the generator but for those of its texture."""
    network = method.generators["sim2real"].network
    return {name: weight.clone() for name, weight in network.named_parameters() if not name.startswith("texture.")}


def test_texture_begins_when_the_grid_is_done_and_a_resumed_training_goes_on_with_equal_numbers() -> None:
    steps, found = 8, []
    for stops in (False, True):
        method, grids = textured(begin=0.5), []
        for step in range(steps):
            if stops:  # before each step, that where texture begins among them
                states = method.state_dict(), method.rank_state_dict()
                method = textured(begin=0.5)
                method.load_state_dict(states[0])
                method.load_rank_state_dict(states[1])
            method.reach(step / steps)
            log = method.step(grainy(step)).losses
            grids.append(grid_of(method))
        for number, (before, after) in enumerate(pairwise(grids), 1):
            changed = {name for name in before if not torch.equal(before[name], after[name])}
            assert bool(changed) == (number < steps / 2)
        weights: Any = method.generators["sim2real"].network
        assert weights.texture[-1].weight.abs().max() > 0
        assert weights.plain.tolist() == [0]
        found.append((nn.utils.parameters_to_vector(weights.parameters()).detach(), log))
    assert torch.equal(found[0][0], found[1][0])
    assert all(torch.equal(loss, found[1][1][name]) for name, loss in found[0][1].items())


def test_grain_that_real_roads_have_is_learnt_for_roads_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fine(nn.Sequential):
        def __init__(self) -> None:
            layers = (nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 32, 3, stride=2), nn.Conv2d(32, 1, 3))
            first, second, last = map(spectral_norm, layers)
            super().__init__(first, nn.LeakyReLU(0.2), second, nn.LeakyReLU(0.2), last)

    monkeypatch.setattr(f"{__name__}.discriminator", Fine)
    method, steps = textured(begin=0.2), 200
    for step in range(steps):
        method.reach(step / steps)
        method.scale_learning_rates(min(1.0, 2 - 2 * step / steps) if step >= 0.2 * steps else 0.1)
        method.step(grainy(step))
    batch, seeds = grainy(steps), np.arange(4, dtype=np.uint64)
    network: Any = method.generators["sim2real"].network
    base = Grid(camera=False)
    base.load_state_dict(network.state_dict(), strict=False)

    def energy(pictures: Tensor) -> list[float]:
        fine = (pictures - low_pass(pictures, 2.0)).square()
        return [float(fine[:, :, rows].mean()) for rows in (slice(0, 24), slice(40, 64))]

    with torch.no_grad():
        (sky, road), (sky_of_base, road_of_base) = map(
            energy, (network(batch.sim, seeds, batch.sim_inputs), base(batch.sim, seeds))
        )
    _, wanted = energy(batch.real)
    assert 0.5 * wanted < road < 2 * wanted
    assert max(sky, sky_of_base, road_of_base) < 1e-6 * wanted
