"""What has to hold on a GPU. SIM2REAL_TEST_DEVICE=cpu runs the same tests on the CPU, to check the tests themselves."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import sim2real
from sim2real.config import resolve
from sim2real.conversion import ConvertOptions, convert
from sim2real.imageio import read_rgb
from sim2real.methods.base import Batch
from sim2real.model import GeneratorInfo, save_generator
from sim2real.networks import initialise
from sim2real.networks.range_adapter import blank_inputs
from sim2real.training.setup import build_averages, build_generator, build_method, take_step
from sim2real.training.specs import spec_of

DEVICE = os.environ.get("SIM2REAL_TEST_DEVICE", "cuda")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(DEVICE == "cuda" and not torch.cuda.is_available(), reason="no GPU here"),
]
SMALL = ["generator.options.width=8", "discriminator.options.width=8", "data.batch_size=2", "compile=false"]


def wait() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


@pytest.mark.parametrize("recipe", ["default", "labelled", "combined", "vkitti2kitti", "cyclegan", "cut"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_training_step_never_waits_for_the_device(recipe: str, precision: str) -> None:
    config = resolve(recipe, sets=[*SMALL, "data.size=[128,64]", "data.load_size=[128,64]", "classes.names=[a,b]"])
    torch.manual_seed(0)
    method = build_method(config, DEVICE, precision)
    averages, spec = build_averages(config, method), spec_of(method)
    sim, real = (torch.rand(2, 3, 64, 128, device=DEVICE) * 2 - 1 for _ in range(2))
    inputs = blank_inputs(spec.sim.kinds, sim), blank_inputs(spec.real.kinds, real)
    batch = Batch(sim, real, *inputs)
    for number in range(6):
        method.reach(number / 100)
        if number == 3 and DEVICE == "cuda":  # the first steps may allocate, and choose algorithms
            wait()
            torch.cuda.set_sync_debug_mode("error")
        try:
            losses = take_step(method, averages, batch).losses
        finally:
            if DEVICE == "cuda":
                torch.cuda.set_sync_debug_mode("default")
    assert all(loss.isfinite().all() for loss in losses.values())


def write_model(path: Path, recipe: str) -> Path:
    """An untrained generator whose weights are large enough to change something."""
    torch.manual_seed(0)
    config = resolve(recipe, sets=["generator.options.width=8"])
    network = build_generator(config)
    initialise(network, "normal")
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(torch.randn_like(weight), alpha=0.05)
    ends = getattr(network, "value_range", (-1.0, 1.0))
    name, options = config.generator.name, config.generator.options
    settings = config.model_dump(mode="json", include={"transfer"})
    save_generator(path, network, GeneratorInfo(name, options, ends, "sim2real", recipe, settings, "none", "0.1.0"))
    return path


def apart(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """The mean difference of two pictures in grey levels."""
    return float(np.abs(one.astype(int) - other).mean())


@pytest.mark.parametrize("recipe", ["default", "combined", "cyclegan", "distil"])
@pytest.mark.parametrize("transfer", ["direct", "guided"])
def test_a_conversion_makes_what_the_cpu_makes(
    recipe: str, transfer: str, tmp_path: Path, paint: Callable[..., Path]
) -> None:
    source, model = paint(tmp_path / "in", 3, size=(192, 96)), write_model(tmp_path / "model.safetensors", recipe)
    for device in (DEVICE, "cpu"):
        options = ConvertOptions(model=model, device=device, precision="fp32", transfer=transfer)  # type: ignore[arg-type]
        convert(source, tmp_path / device, options)
    for path in source.iterdir():
        here, there = (read_rgb(tmp_path / device / path.name) for device in (DEVICE, "cpu"))
        assert apart(here, there) < 0.5
    more: dict[str, Any] = {"precision": "fp32", "transfer": transfer}
    here, there = (sim2real.load(model, device=device, **more)(read_rgb(path)) for device in (DEVICE, "cpu"))
    assert apart(here, there) < 0.5


def test_a_training_begins_ends_and_resumes(tmp_path: Path, paint: Callable[..., Path]) -> None:
    sim, real = paint(tmp_path / "sim", 6, size=(96, 64)), paint(tmp_path / "real", 6, size=(96, 64), seed=1)
    settings = {"data.size": [64, 32], "data.load_size": [64, 32], "data.workers": 0, "checkpoint.every": 2}
    common = {"recipe": "default", "settings": settings, "device": DEVICE, "deterministic": True, "seed": 3}
    sim2real.train(sim, real, run=tmp_path / "whole", steps=4, **common)  # type: ignore[arg-type]
    taken: list[None] = []

    def stop() -> bool:
        taken.append(None)
        return len(taken) >= 2

    sim2real.train(sim, real, run=tmp_path / "parts", steps=4, stop=stop, **common)  # type: ignore[arg-type]
    sim2real.train(sim, real, run=tmp_path / "parts", resume=True, device=DEVICE)
    whole, parts = ((tmp_path / run / "sim2real.safetensors").read_bytes() for run in ("whole", "parts"))
    assert whole == parts
