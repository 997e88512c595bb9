"""Labels and clips on their way from a batch to networks and losses."""

import io
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from sim2real.config import Regularization
from sim2real.errors import PluginError, SettingsError
from sim2real.losses import Cycle, LossInputs
from sim2real.methods.base import Batch
from sim2real.networks import RangeAdapter
from sim2real.training.specs import SideSpec, spec_of
from tests.methods.making import numbers
from tests.methods.test_cyclegan import make, patch, resnet


class ByDepth(nn.Module):
    """Adds a learned share of the depth to the image."""

    inputs = ("depth",)

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 3, 1)
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor, inputs: dict[str, Tensor]) -> Tensor:
        assert set(inputs) == {"depth"}
        assert inputs["depth"].shape == (len(images), 1, *images.shape[2:])
        self.seen.append(inputs["depth"])
        result: Tensor = self.conv(torch.cat([images, inputs["depth"]], 1))
        return result.tanh()


class Told(nn.Module):
    """Scores of images with their classes."""

    inputs = ("segmentation",)

    def __init__(self, clip_length: int = 1) -> None:
        super().__init__()
        self.clip_length = clip_length
        self.conv = nn.Conv2d(3 * clip_length + 1, 1, 3)
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor, inputs: dict[str, Tensor]) -> Tensor:
        ids = inputs["segmentation"]
        if self.clip_length > 1:
            images, ids = images.flatten(1, 2), ids[:, 0]
        self.seen.append(ids)
        scores: Tensor = self.conv(torch.cat([images, ids[:, None].float()], 1))
        return scores


def seen_by(ranged: RangeAdapter) -> list[Tensor]:
    network = ranged.network
    assert isinstance(network, ByDepth | Told)
    return network.seen


def batch(seed: int, *, frames: int = 0, count: int = 2) -> Batch:
    random = torch.Generator().manual_seed(seed)
    lead = (count, frames) if frames else (count,)

    def side(number: int) -> tuple[Tensor, dict[str, Tensor]]:
        labels = {
            "depth": torch.rand(*lead, 1, 32, 32, generator=random),
            "segmentation": torch.full((*lead, 32, 32), number),
        }
        return torch.rand(*lead, 3, 32, 32, generator=random) * 2 - 1, labels

    (sim, sims), (real, reals) = side(0), side(1)
    return Batch(sim, real, sims, reals)


@pytest.mark.parametrize("frames", [0, 3])
def test_a_generator_sees_the_labels_of_the_images_that_it_is_given(frames: int) -> None:
    method = make(ByDepth)
    images = batch(0, frames=frames)
    log = method.step(images)
    assert all(map(torch.isfinite, log.losses.values()))
    sims, reals = (
        each["depth"].flatten(0, 1) if frames else each["depth"] for each in (images.sim_inputs, images.real_inputs)
    )
    for generator, first, second in ((method.G_sim2real, sims, reals), (method.G_real2sim, reals, sims)):
        there, back = seen_by(generator)
        assert torch.equal(there, first)
        assert torch.equal(back, second), "what is brought back shows what it showed at first"


def test_a_discriminator_sees_the_labels_of_what_a_fake_was_made_of() -> None:
    method = make(discriminator=Told)
    method.step(batch(0))
    of_fake_for_generator, of_images, of_fakes = (int(ids.unique()) for ids in seen_by(method.D_real))
    assert (of_fake_for_generator, of_images, of_fakes) == (0, 1, 0)


def test_older_fakes_of_the_pool_keep_their_labels() -> None:
    method = make(discriminator=Told, image_pool_size=2)
    for number in range(12):
        images = batch(number, count=1)
        images.sim_inputs["segmentation"].fill_(number)
        method.step(images)
    shown = [int(ids.unique()) for ids in seen_by(method.D_real)[2::3]]
    assert shown != list(range(12))
    assert set(shown) <= set(range(12))
    buffer = io.BytesIO()
    torch.save(method.rank_state_dict(), buffer)
    other = make(discriminator=Told, image_pool_size=2)
    other.load_rank_state_dict(torch.load(io.BytesIO(buffer.getvalue()), weights_only=True))
    assert [int(row["segmentation"].unique()) for row in other.trainers["D_real"].pool.labels] == [
        int(row["segmentation"].unique()) for row in method.trainers["D_real"].pool.labels
    ]


def test_a_discriminator_of_clips_judges_them_whole_and_others_their_frames() -> None:
    method = make(discriminator=lambda: Told(clip_length=3), image_pool_size=1)
    for seed in range(3):
        assert all(map(torch.isfinite, method.step(batch(seed, frames=3)).losses.values()))
    assert all(ids.shape == (2, 32, 32) for ids in seen_by(method.D_real))
    plain = make(
        image_pool_size=2, more={"regularization": Regularization(augment=["color", "cutout"], r1=1.0, lecam=0.1)}
    )
    for seed in range(3):
        assert all(map(torch.isfinite, plain.step(batch(seed, frames=3)).losses.values()))


def test_a_loss_is_given_the_labels_that_it_names_and_clips() -> None:
    seen: list[LossInputs] = []

    class Semantic:
        inputs: ClassVar[tuple[str, ...]] = ("segmentation",)
        needs: ClassVar[tuple[str, ...]] = ("fake_real", "real_inputs")

        def __call__(self, images: LossInputs) -> Tensor:
            seen.append(images)
            return (images.fake_real - images.sim).square().mean()

    make(terms={"cycle": (10.0, Cycle()), "semantic": (1.0, Semantic())}).step(batch(0, frames=2))
    assert seen[0].sim.shape == seen[0].fake_real.shape == (2, 2, 3, 32, 32)
    assert seen[0].sim_inputs["segmentation"].shape == (2, 2, 32, 32)
    assert int(seen[0].real_inputs["segmentation"].unique()) == 1


def test_parts_of_a_batch_keep_their_labels() -> None:
    images = batch(0, count=4)
    parts = images.split(2)
    assert torch.equal(torch.cat([part.sim_inputs["depth"] for part in parts]), images.sim_inputs["depth"])
    whole, parted = (
        make(discriminator=patch, more={"gradient_accumulation_steps": accumulate}) for accumulate in (1, 2)
    )
    parted.load_state_dict(whole.state_dict())
    assert numbers(parted.step(images)) == pytest.approx(numbers(whole.step(images)), rel=1e-4)


def test_what_is_missing_is_named() -> None:
    network = RangeAdapter(ByDepth(), returns_images=True)
    with pytest.raises(PluginError, match="the network ByDepth needs the input 'depth', which it was not given"):
        network(torch.zeros(1, 3, 8, 8), {"flow": torch.zeros(1, 3, 8, 8)})
    with pytest.raises(PluginError, match="the generator ByDepth has no method features"):
        network.features(torch.zeros(1, 3, 8, 8))
    assert (
        RangeAdapter(resnet(), returns_images=True)(torch.zeros(1, 3, 32, 32), {"depth": torch.zeros(1)}).shape[1] == 3
    )


@pytest.mark.parametrize(
    ("discriminator", "augment", "message"),
    [
        (Told, ["color", "cutout"], "'cutout' would not move with the images; only color is accepted"),
        (lambda: Told(clip_length=2), ["color"], "sees clips"),
    ],
)
def test_what_would_part_images_and_labels_is_refused(discriminator: Any, augment: list[Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        make(discriminator=discriminator, more={"regularization": Regularization(augment=augment)})


@pytest.mark.parametrize(("made", "told"), [(0.5, "a float"), (torch.zeros(2), r"a tensor \(2,\)")])
def test_a_loss_that_gives_no_number_is_told_by_its_name(made: object, told: str) -> None:
    method = make(terms={"odd": (1.0, lambda _images: made)})  # type: ignore[dict-item, return-value]  # as a plugin might
    images = torch.zeros(1, 3, 32, 32)
    with pytest.raises(PluginError, match=f"^the loss 'odd' gives {told}, not a tensor of a single number$"):
        method.step(Batch(images, images))


def test_what_has_no_weights_is_not_trained() -> None:
    with pytest.raises(PluginError, match=r"^Identity, Identity: no weights to train; .* method.name = 'fit'"):
        make(nn.Identity)


def test_all_that_see_clips_see_the_same() -> None:
    clips = make(terms={"steady": (1.0, _Asking(3)), "cycle": (1.0, Cycle())})
    assert spec_of(clips).sim == SideSpec({}, 3, "the loss 'steady'")
    with pytest.raises(PluginError, match=r"^the loss 'smooth' asks for clips of 2 frames, the loss 'steady' for"):
        spec_of(make(terms={"steady": (1.0, _Asking(3)), "smooth": (1.0, _Asking(2))}))
    with pytest.raises(PluginError, match=r"^the loss 'odd' has the attribute 'clip_length', .* not '2'"):
        spec_of(make(terms={"odd": (1.0, _Asking("2"))}))


class _Asking:
    needs = ("fake_real",)

    def __init__(self, clip_length: Any) -> None:
        self.clip_length = clip_length

    def __call__(self, images: LossInputs) -> Tensor:
        return images.fake_real.mean()
