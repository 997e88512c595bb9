"""Losses, metrics and engines that ship keep their contracts, and what does not is told why."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sim2real.engines.base import EngineSettings
from sim2real.engines.torch import TorchEngine
from sim2real.losses import Cycle, LossInputs
from sim2real.metrics.base import About, Change
from sim2real.metrics.colour import ColourMetric
from sim2real.metrics.edges import EdgeMetric
from sim2real.networks import RangeAdapter
from sim2real.registry import registry
from sim2real.testing import check_engine, check_loss, check_metric, sample_inputs, sample_pictures
from tests.testing.shipped import shipped

WITH_WEIGHTS = {"kid", "frechet", "fid", "lpips", "objects"}


@pytest.mark.parametrize("name", shipped("losses"))
def test_every_loss_that_ships_keeps_the_contract(name: str) -> None:
    check_loss(registry().load("losses", name))


@pytest.mark.parametrize("name", [name for name in shipped("metrics") if name not in WITH_WEIGHTS])
def test_every_metric_that_ships_keeps_the_contract(name: str) -> None:
    few = sample_pictures(24, (64, 48)) if name == "two-sample" else ()  # which learns for seconds
    check_metric(registry().load("metrics", name), pictures=few)


@pytest.mark.parametrize("name", shipped("engines"))
def test_every_engine_that_ships_keeps_the_contract(name: str) -> None:
    check_engine(registry().load("engines", name))


class Whole(Cycle):
    def __call__(self, images: LossInputs) -> Tensor:
        return torch.stack([super().__call__(images)] * 2)


class Half(Cycle):
    def __call__(self, images: LossInputs) -> Tensor:
        return super().__call__(images).half()


class Native(Cycle):
    def __call__(self, images: LossInputs) -> Tensor:
        return (images.cycled_sim - images.sim).abs().mean()


class Idle(Cycle):
    def __call__(self, images: LossInputs) -> Tensor:
        return (images.sim.float() - images.real.float()).abs().mean()


class Undeclared(Cycle):
    needs = ("cycled_sim",)


class Dated(Cycle):
    needs_identity = True


class Guided:
    needs = ("fake_real", "real_inputs")
    inputs = ("depth",)
    clip_length = 2

    def __call__(self, images: LossInputs) -> Tensor:
        near = images.sim_inputs["depth"] / (1 + images.real_inputs["depth"])
        return ((images.fake_real.float() - images.sim.float()).abs() * near).mean()


def test_a_loss_that_sees_labels_of_clips() -> None:
    check_loss(Guided)


class Endless(Cycle):
    def __call__(self, images: LossInputs) -> Tensor:
        return super().__call__(images) / 0


class Moody(Cycle):
    def __call__(self, images: LossInputs) -> Tensor:
        return super().__call__(images) + torch.rand(())


class Confused(Cycle):
    needs = ("cycled_simm",)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Whole, r"^Whole: returns \(2,\), not a tensor of a single number"),
        (Half, "returns torch.float16, not float32"),
        (Native, "returns torch.bfloat16 for images in bfloat16"),
        (Idle, "no gradient reaches what the generators make"),
        (Endless, "returns inf for images"),
        (Moody, "another number for the same images"),
        (Undeclared, "a loss uses 'cycled_real', which the method has not computed"),
        (Dated, "needs_identity is now needs"),
        (Confused, "needs names 'cycled_simm'; LossInputs has sim, real, "),
    ],
)
def test_a_loss_that_does_not_fit(target: Callable[..., Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_loss(target)


class Backwards(ColourMetric):
    about = About(title="colours", better="higher")


class Relative(ColourMetric):
    def describe(self, images: Sequence[Any]) -> Any:
        rows = super().describe(images)
        return rows - rows.mean()


class Blank(EdgeMetric):
    abouts: Mapping[str, About] = {"edges": About(title="edges", better="lower")}

    def compare(self, *_: Any) -> dict[str, Change]:
        return {"edges": Change(0.0)}


class Unnamed(EdgeMetric):
    abouts: Mapping[str, About] = {"new_edges": About(title="edges", better="lower")}


class Upside(EdgeMetric):
    abouts: Mapping[str, About] = {name: About(title=name, better="higher") for name in EdgeMetric.abouts}


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Backwards, "^Backwards: higher is better, but it returns"),
        (Relative, "its description of a picture depends on the others"),
        (Blank, "no value gets worse in damaged pictures"),
        (Unnamed, "abouts has no entry for its value 'lost_edges'"),
        (Upside, "of 'new_edges' higher is better, but it is"),
        (object, "has neither distance nor compare"),
    ],
)
def test_a_metric_that_does_not_fit(target: Callable[..., Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_metric(target)


class Rough(TorchEngine):
    def __call__(self, images: Any, **_: Any) -> Any:
        return super().__call__(images) // 16 * 16


class Thrifty(TorchEngine):
    def __call__(self, images: Any, **_: Any) -> Any:
        images[:] = super().__call__(images)
        return images


class Mixing(TorchEngine):
    def __call__(self, images: Any, **_: Any) -> Any:
        made = super().__call__(images)
        return made - np.uint8(len(made))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (Rough, r"^Rough: on pictures of 96x64 it comes within \d+\.\d dB of PyTorch, not 45"),
        (Thrifty, "changes the pictures that it is given"),
        (Mixing, "depends on the others in its batch"),
    ],
)
def test_an_engine_that_does_not_fit(target: Callable[[nn.Module, EngineSettings], Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_engine(target, decibels=45 if target is Rough else 20)


class Lamp(nn.Module):
    """Darkens what is far away, by as much as is drawn."""

    inputs = ("depth",)
    stochastic = True

    def forward(self, images: Tensor, inputs: Mapping[str, Tensor], seeds: Any = None) -> Tensor:
        drawn = torch.tensor([np.random.default_rng(seed).random() for seed in seeds], dtype=images.dtype)
        return images - drawn[:, None, None, None] * (inputs["depth"] > 20) * (images + 1) / 2


class Memory(nn.Module):
    context = 2

    def forward(self, images: Tensor, inputs: Mapping[str, Tensor]) -> Tensor:
        past = inputs["past_outputs"]
        return (images + past.mean(1)) / 2 if past.shape[1] else images


class Film(nn.Module):
    clip_length = 2

    def forward(self, images: Tensor) -> Tensor:
        return images.flip(1)


@pytest.mark.parametrize("network", [Lamp, Memory, Film])
def test_an_engine_is_given_what_its_generator_asks_for(network: type[nn.Module]) -> None:
    check_engine(TorchEngine, RangeAdapter(network(), returns_images=True))


def test_samples_are_equal_in_every_run_and_unlike_each_other() -> None:
    first, again = sample_pictures(2), sample_pictures(2)
    assert np.array_equal(first[1].picture, again[1].picture)
    assert not np.array_equal(first[0].picture, first[1].picture)
    assert first[0].picture.shape == (96, 128, 3)
    found = sample_inputs(["segmentation", "flow", "depth"], (2, 3), (8, 12))
    assert {kind: tuple(values.shape) for kind, values in found.items()} == {
        "segmentation": (2, 3, 8, 12),
        "flow": (2, 3, 3, 8, 12),
        "depth": (2, 3, 1, 8, 12),
    }
    assert set(found["flow"][:, :, 2].unique().tolist()) == {0.0, 1.0}
