from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sim2real.errors import SettingsError
from sim2real.methods.base import Batch
from sim2real.methods.pseudo import PseudoLabels
from sim2real.networks.classes import ClassDistribution
from sim2real.networks.colour import Reinhard
from sim2real.testing import check_method
from tests.methods.making import generators_of, settings_of

ROAD, GRASS = 0, 1
SIDE = 32


def make(network: type[nn.Module] = ClassDistribution, *, every: int = 20, sure: float = 0.9) -> PseudoLabels:
    settings = settings_of(generator_lr=3e-3, discriminator_lr=0.0, betas=(0.9, 0.999), classes=("road", "grass"))
    return PseudoLabels(generators_of(network), settings, every=every, sure=sure)


def scenes(seed: int, road: float, grass: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth road below, rough grass above, in one colour or another, and which is which."""
    random = np.random.default_rng(seed)
    images, masks = np.empty((4, 3, SIDE, SIDE), np.float32), np.empty((4, SIDE, SIDE), np.int64)
    for image, mask in zip(images, masks, strict=True):
        horizon = int(random.integers(8, 24))
        mask[:horizon], mask[horizon:] = GRASS, ROAD
        rough = random.normal(0, 1, (3, SIDE, SIDE)) * np.where(mask == GRASS, 0.15, 0.01)
        image[:] = np.where(mask == GRASS, grass, road) + rough
    return torch.from_numpy(images.clip(-1, 1)), torch.from_numpy(masks)


def lesson(seed: int) -> Batch:
    sim, masks = scenes(seed, road=-0.2, grass=0.3)
    real, _ = scenes(1000 + seed, road=-0.6, grass=0.5)
    return Batch(sim, real, {"segmentation": masks})


def test_real_images_are_labelled_by_what_the_simulation_teaches() -> None:
    torch.manual_seed(0)
    method = make()
    for step in range(60):
        log = method.step(lesson(step))
    assert log.losses["segmenter"] < 0.5
    painter = method.generators["sim2real"].network
    assert isinstance(painter, ClassDistribution)
    told = (painter.labels >= 0).float().mean()
    above, below = painter.labels[:, :6], painter.labels[:, -6:]
    assert told > 0.5
    assert (above[above >= 0] == GRASS).float().mean() > 0.9
    assert (below[below >= 0] == ROAD).float().mean() > 0.9
    held_out = lesson(500)
    assert method.evaluate(held_out).losses["segmenter_error"] < 0.1
    translated = method.generators["sim2real"](held_out.sim, held_out.sim_inputs)
    assert translated[:, :, :6].mean() - translated[:, :, -6:].mean() > 0.75  # as of real ones; of sim .5


def test_masks_of_real_images_are_taken_as_they_are() -> None:
    method = make()
    batch = lesson(0)
    true = scenes(1000, road=-0.6, grass=0.5)[1]
    method.step(Batch(batch.sim, batch.real, batch.sim_inputs, {"segmentation": true}))
    painter = method.generators["sim2real"].network
    assert isinstance(painter, ClassDistribution)
    assert torch.equal(painter.labels.long(), true)


def test_a_generator_without_use_for_labels_is_refused() -> None:
    with pytest.raises(SettingsError, match="class-distribution"):
        make(Reinhard)


@pytest.mark.parametrize("options", [{"every": 0}, {"sure": 1.0}])
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(options))):
        make(**options)


def test_it_keeps_the_contract() -> None:
    check_method(PseudoLabels, generator=lambda: ClassDistribution(3, 3), every=1)
