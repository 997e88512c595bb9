"""Plugins that use labels and only the public contract: a loss, a method and a generator, trained and converted."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Cli, flags, json_lines, refused, succeed

LOSS = '''
import torch
from sim2real import hookimpl


class Brightness:
    """Classes keep their mean brightness, by the segmentation."""

    inputs = ("segmentation",)
    needs = ("fake_real",)

    def __init__(self, *, classes: int = 4) -> None:
        self.classes = classes

    def __call__(self, images):
        ids = images.sim_inputs["segmentation"]
        assert ids.dtype == torch.int64 and ids.shape == images.sim.shape[:1] + images.sim.shape[2:]
        change = (images.fake_real - images.sim).mean(1)
        terms = [change[ids == number].mean().square() for number in range(self.classes) if (ids == number).any()]
        return torch.stack(terms).sum() if terms else change.mean() * 0


@hookimpl
def register_losses(register):
    register("brightness", f"{__name__}:Brightness", summary="classes keep their brightness")
'''

GENERATOR = '''
import torch
from torch import nn
from sim2real import hookimpl


class Hazy(nn.Module):
    """Mixes a colour into the image, with a share that grows with depth."""

    inputs = ("depth",)

    def __init__(self, in_channels, out_channels, *, width: int = 4) -> None:
        super().__init__()
        self.colour = nn.Conv2d(in_channels + 1, width, 3, padding=1, padding_mode="reflect")
        self.out = nn.Conv2d(width, out_channels, 1)

    def forward(self, images, inputs):
        near = torch.exp(-inputs["depth"] / 30)
        return images * near + torch.tanh(self.out(torch.relu(self.colour(torch.cat([images, near], 1))))) * (1 - near)

    def features(self, images, inputs):
        near = torch.exp(-inputs["depth"] / 30)
        return [images, self.colour(torch.cat([images, near], 1))]


@hookimpl
def register_generators(register):
    register("hazy", f"{__name__}:Hazy", summary="haze by depth")
'''

METHOD = '''
import torch
from torch.nn import functional
from sim2real import hookimpl
from sim2real.methods.base import Method, StepLog


class Coherent(Method):
    """Gives images the mean colour of real ones, the same at both ends of the flow."""

    inputs = ("flow",)
    clip_length = 2
    reads = frozenset({"optim", "schedule"})

    def __init__(self, networks, settings, *, weight: float = 1.0) -> None:
        super().__init__(settings)
        self.weight = weight
        self.G = networks.generator()
        self.generators = {"sim2real": self.G}
        self.networks = {"G_sim2real": self.G}
        self.optimization.add("G", self.G, lr=settings.generator_lr)

    def terms(self, batch):
        assert batch.sim.shape[1] == 2 and batch.real.dim() == 4
        fakes = self.G(batch.sim, batch.sim_inputs)
        first, second = fakes.unbind(1)
        flow = batch.sim_inputs["flow"][:, 0]
        height, width = first.shape[2:]
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        across = (columns + flow[:, 0] + 0.5) * 2 / width - 1
        down = (rows + flow[:, 1] + 0.5) * 2 / height - 1
        warped = functional.grid_sample(second, torch.stack([across, down], -1), align_corners=False)
        colour = (fakes.mean((1, 3, 4)) - batch.real.mean((2, 3))).square().mean()
        return {"colour": colour, "coherent": self.weight * ((warped - first).square() * flow[:, 2:]).mean()}

    def step(self, batch):
        self.optimization.zero_grad()
        logs = []
        for part in batch.split(self.settings.gradient_accumulation_steps):
            terms = self.terms(part)
            self.optimization.backward(torch.stack([*terms.values()]).sum())
            logs.append({name: term.detach() for name, term in terms.items()})
        self.optimization.step("G")
        self.optimization.finish()
        self.latest = logs[-1]
        return StepLog(self.latest)

    @torch.no_grad()
    def evaluate(self, batch):
        return StepLog(self.terms(batch))


@hookimpl
def register_methods(register):
    register("coherent", f"{__name__}:Coherent", summary="colours that stay the same along the flow")
'''


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulation and a real side, with all labels, in sequences."""
    from sim2real_toytown import render_dataset

    folder = tmp_path_factory.mktemp("town")
    for number, look in enumerate(("sim", "real")):
        render_dataset(folder / look, look=look, frames=5, size=(96, 48), seed=number, sequences=2, cameras=(0,))
    return folder


SMALL = [
    "data.size=[48, 32]",
    "data.load_size=[48, 32]",
    "data.batch_size=1",
    "data.workers=0",
    "precision=fp32",
    "device=cpu",
    "log.every=1",
    "checkpoint.every=2",
]


def train(cli: Cli, site: Path, run: Path, sides: list[Path], *sets: str, **options: Any) -> Any:
    named = [part for name, value in options.items() for part in (f"--{name}", value) if part is not True]
    return cli("train", *sides, "--run", run, *named, *flags([*SMALL, *sets]), path=site)


def figures(run: Path) -> list[dict[str, Any]]:
    return [record for record in json_lines(run / "metrics.jsonl") if "note" not in record]


def test_a_loss_that_uses_the_segmentation(
    cli: Cli, site: Path, install: Callable[..., None], town: Path, tmp_path: Path
) -> None:
    install("brightness", LOSS)
    few = ["generator.options.width=4", "generator.options.blocks=1", "discriminator.options.width=4"]
    few += ["losses.brightness=5"]
    sides, run = [town / "sim", town / "real/Scene01/clone/frames/rgb"], tmp_path / "run"
    succeed(train(cli, site, run, sides, *few, steps=4))
    lines = figures(run)
    assert all(line["brightness"] >= 0 for line in lines)
    assert sum(line["brightness"] for line in lines) > 0
    assert "validation/brightness" in lines[-1]
    assert '"Car"' in (run / "config.toml").read_text(), "config.toml lacks the classes of the run"
    (tmp_path / "photos").mkdir()
    for number, photo in enumerate(sides[1].rglob("*.jpg")):
        shutil.copy(photo, tmp_path / f"photos/{number}.jpg")
    refused(
        train(cli, site, tmp_path / "none", [tmp_path / "photos", sides[1]], *few),
        "the loss 'brightness' needs 'segmentation' of the simulated images, and 5 of 5 have none, e.g. ",
    )
    assert not (tmp_path / "none").exists()


def test_a_method_that_uses_clips_and_the_flow(
    cli: Cli, site: Path, install: Callable[..., None], town: Path, tmp_path: Path
) -> None:
    install("coherent", METHOD)
    named = ["method.name=coherent", "generator.options.width=4", "generator.options.blocks=1", "data.validation=2"]
    named += ["data.sim_exclude=*_00004.jpg", "schedule.decay=0"]  # the last frames have no flow
    sides = [town / "sim", town / "real/Scene01/clone/frames/rgb"]
    succeed(train(cli, site, tmp_path / "whole", sides, *named, steps=6))
    assert {"colour", "coherent", "validation/coherent", "evaluation/score"} <= figures(tmp_path / "whole")[-1].keys()
    succeed(train(cli, site, tmp_path / "parts", sides, *named, steps=3))
    succeed(train(cli, site, tmp_path / "parts", sides, *named, steps=6, resume=True))
    results = [(tmp_path / name / "sim2real.safetensors").read_bytes() for name in ("whole", "parts")]
    assert results[0] == results[1]
    assert not (tmp_path / "whole/real2sim.safetensors").exists()
    refused(
        train(cli, site, tmp_path / "no", sides, *named, "image_pool_size=9"),
        "image_pool_size: the method 'coherent' does not use it",
    )
    succeed(cli("convert", town / "sim", tmp_path / "out", "--model", tmp_path / "whole", path=site))


@pytest.mark.parametrize("recipe", ["combined", "fastcut", "grid"])
def test_the_flow_loss_works_up_to_the_ends_of_sequences(
    cli: Cli, site: Path, town: Path, tmp_path: Path, recipe: str
) -> None:
    few = ["discriminator.options.width=4", "losses.flow=5", "data.validation=2", "data.matched=true"]
    few += [] if recipe == "grid" else ["generator.options.width=4", "generator.options.blocks=1"]
    sides, run = [town / "sim", town / "real"], tmp_path / "whole"
    succeed(train(cli, site, run, sides, *few, steps=4, recipe=recipe))
    lines = figures(run)
    assert sum(line["flow"] for line in lines) > 0
    assert lines[-1]["validation/flow"] >= 0
    assert not any("skipped" in line for line in lines)
    succeed(train(cli, site, tmp_path / "parts", sides, *few, steps=2, recipe=recipe))
    succeed(train(cli, site, tmp_path / "parts", sides, *few, steps=4, recipe=recipe, resume=True))
    assert (run / "sim2real.safetensors").read_bytes() == (tmp_path / "parts/sim2real.safetensors").read_bytes()


def test_a_generator_that_uses_the_depth(
    cli: Cli, site: Path, install: Callable[..., None], town: Path, tmp_path: Path
) -> None:
    install("hazy", GENERATOR)
    named = ["generator.name=hazy", "discriminator.options.width=4", "ema_decay=0.5"]
    sides, run = [town / "sim", town / "real/Scene01/clone/frames/rgb"], tmp_path / "whole"
    succeed(train(cli, site, run, sides, *named, steps=4, recipe="fastcut"))
    assert "evaluation/score" in figures(run)[-1]
    succeed(train(cli, site, tmp_path / "parts", sides, *named, steps=2, recipe="fastcut"))
    succeed(train(cli, site, tmp_path / "parts", sides, *named, steps=4, recipe="fastcut", resume=True))
    assert (run / "sim2real.safetensors").read_bytes() == (tmp_path / "parts/sim2real.safetensors").read_bytes()
    refused(
        train(cli, site, tmp_path / "none", sides, *named, recipe="default"),
        "the network G_real2sim (Hazy) needs 'depth' of the real images, and 5 of 5 have none",
    )
    succeed(train(cli, site, tmp_path / "cycle", [town / "sim", town / "real"], *named, steps=2, recipe="default"))
    succeed(cli("convert", town / "sim", tmp_path / "out", "--model", run, path=site))
    succeed(cli("verify", tmp_path / "out", path=site))
    succeed(cli("export", run, tmp_path / "hazy.onnx", path=site))
