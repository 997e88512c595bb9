"""What --deterministic does to torch, and undoes."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from sim2real.config import Config
from sim2real.losses import FlowConsistency, LossInputs
from sim2real.networks.bilateral import slice_grid
from sim2real.networks.grid import Grid
from sim2real.training import Trainer
from sim2real.training.deterministic import deterministic, reflected, sampled

Configure = Callable[..., Config]
NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
DEVICES = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NO_GPU])]


@settings(deadline=None)  # torch takes its time at the first call
@given(st.lists(st.integers(0, 3), min_size=4, max_size=4))
def test_reflection_put_together_is_that_of_torch(sides: list[int]) -> None:
    images = torch.rand(2, 3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours, theirs = images.clone().requires_grad_(), images.clone().requires_grad_()
    one, other = reflected(ours, sides), functional.pad(theirs, sides, mode="reflect")
    assert torch.equal(one, other)
    weights = torch.rand_like(other)
    (one * weights).sum().backward()
    (other * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_samples_put_together_are_those_of_torch() -> None:
    random = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 5, 4, dtype=torch.float64, generator=random)
    places = torch.rand(2, 6, 7, 2, dtype=torch.float64, generator=random) * 2.6 - 1.3  # some beyond the border
    weights, found = torch.rand(2, 3, 6, 7, dtype=torch.float64, generator=random), []
    torchs = partial(functional.grid_sample, padding_mode="border", align_corners=False)
    for sample in (sampled, torchs):
        one, other = images.clone().requires_grad_(), places.clone().requires_grad_()
        result = sample(one, other)
        found.append([result, *torch.autograd.grad((result * weights).sum(), [one, other])])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("device", DEVICES)
def test_grids_have_gradients(device: str) -> None:
    network = Grid(width=4).to(device)
    images = torch.rand(1, 3, 32, 48, device=device) * 2 - 1
    with deterministic(wanted=True):
        made, _ = network.paint(images, network.style_of(images))
        made.square().mean().backward()
    assert network.curve.grad is not None
    assert network.transforms.weight.grad is not None


def test_samples_elsewhere_than_on_the_cpu_are_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Mock(wraps=sampled)
    monkeypatch.setattr("sim2real.training.deterministic.sampled", spy)
    for device, calls in (("cpu", 0), ("meta", 1)):  # tensors without contents, as those of any other device
        grid, guide = torch.rand(1, 12, 8, 2, 3, device=device), torch.rand(1, 8, 4, device=device)
        clip, flow = (torch.rand(1, 2, 3, 8, 4, device=device) for _ in range(2))
        with deterministic(wanted=True):
            made = slice_grid(grid, guide, torch.rand(1, 3, 8, 4, device=device))
            assert (made.shape, spy.call_count) == ((1, 3, 8, 4), calls)
            FlowConsistency()(LossInputs(sim=clip, fake_real=clip, sim_inputs={"flow": flow}))
        assert spy.call_count == 2 * calls


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "layer", [nn.ReflectionPad2d(2), nn.Conv2d(3, 2, 5, padding=2, padding_mode="reflect")], ids=["pad", "convolution"]
)
def test_layers_that_reflect_have_gradients(layer: nn.Module, device: str) -> None:
    layer.to(device)
    images = torch.rand(1, 3, 6, 6, device=device, requires_grad=True)
    plain = layer(images)
    with deterministic(wanted=True):
        assert torch.are_deterministic_algorithms_enabled()
        same = layer(images)
        same.sum().backward()
    torch.testing.assert_close(same, plain)
    assert images.grad is not None
    assert not torch.are_deterministic_algorithms_enabled()


def test_it_is_undone_after_an_error_and_nothing_is_done_unasked() -> None:
    with pytest.raises(ValueError, match="broken"), deterministic(wanted=True):
        raise ValueError("broken")
    assert not torch.are_deterministic_algorithms_enabled()
    with deterministic(wanted=False):
        assert not torch.are_deterministic_algorithms_enabled()


def test_two_runs_are_equal_bit_for_bit_whatever_was_computed_before(configure: Configure, tmp_path: Path) -> None:
    config = configure("deterministic=true", "generator.name=resnet", "generator.options={width=4, blocks=1}", "seed=3")
    found = []
    for name in ("first", "second"):
        for _ in Trainer.begin(config, tmp_path / name).train():
            assert torch.are_deterministic_algorithms_enabled()
        torch.rand(7)
        folder = tmp_path / name
        found.append([(folder / file).read_bytes() for file in ("sim2real.safetensors", "real2sim.safetensors")])
    assert found[0] == found[1]
    assert not torch.are_deterministic_algorithms_enabled()
