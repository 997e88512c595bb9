import pytest
import torch
from torch import nn

from sim2real.errors import SettingsError
from sim2real.methods.base import Batch
from sim2real.methods.fit import Fit
from sim2real.networks.colour import Reinhard
from sim2real.networks.generators import ResNet
from sim2real.training.specs import spec_of
from tests.methods.making import generators_of, settings_of


def make(network: type[nn.Module] = Reinhard) -> Fit:
    return Fit(generators_of(network), settings_of(generator_lr=0.0, discriminator_lr=0.0))


def noise(middle: float) -> torch.Tensor:
    return middle + 0.2 * torch.rand(2, 3, 16, 16) - 0.1


def test_each_generator_brings_images_of_its_domain_to_the_other() -> None:
    method = make()
    sim, real = noise(-0.4), noise(0.5)
    log = method.step(Batch(sim, real))
    assert not log.losses
    assert not method.evaluate(Batch(sim, real)).losses
    assert abs(float(method.generators["sim2real"](sim).mean() - real.mean())) < 0.02
    assert abs(float(method.generators["real2sim"](real).mean() - sim.mean())) < 0.02


def test_all_batches_count_and_a_resumed_fit_goes_on() -> None:
    batches = [Batch(noise(-0.4), noise(0.1)), Batch(noise(-0.2), noise(0.5))]
    whole, begun, resumed = make(), make(), make()
    for batch in batches:
        whole.step(batch)
    begun.step(batches[0])
    resumed.load_state_dict(begun.state_dict())
    resumed.load_rank_state_dict(begun.rank_state_dict())
    resumed.step(batches[1])
    image = noise(0.0)
    for direction, generator in whole.generators.items():
        assert torch.equal(resumed.generators[direction](image), generator(image))
        assert not torch.equal(begun.generators[direction](image), generator(image))


class Labelled(Reinhard):
    inputs = ("depth",)


def test_a_generator_that_uses_labels_is_made_for_simulated_images_alone() -> None:
    method = make(Labelled)
    method.step(Batch(noise(-0.4), noise(0.5)))
    assert list(method.generators) == ["sim2real"]
    spec = spec_of(method)
    assert (list(spec.sim.kinds), list(spec.real.kinds)) == (["depth"], [])


def test_a_generator_that_has_to_be_trained_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"method.name = 'fit' .* set method.name = 'cyclegan'"):
        make(ResNet)
