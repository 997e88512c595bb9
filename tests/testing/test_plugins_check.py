"""``sim2real plugins check`` tries what plugins offer, as far as that needs no data."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

PLUGIN = """
from sim2real import hookimpl

@hookimpl
def register_discriminators(register):
    register("good", "acme_parts:Good", summary="fits")
    register("averaging", "acme_parts:Averaging", summary="one score for all")
    register("optional", "acme_parts:Optional", summary="cannot be made without an option")

@hookimpl
def register_losses(register):
    register("idle", "acme_parts:idle", summary="of the simulation alone")
    register("broken", "acme_parts:Broken", summary="fails")

@hookimpl
def register_metrics(register):
    register("weighty", "acme_parts:Weighty", summary="needs a file")
"""
PARTS = """
import sim2real
from torch import nn

class Good(nn.Module):
    def __init__(self, in_channels, image_size):
        super().__init__()
        self.score = nn.Conv2d(in_channels, 1, 1)

    def forward(self, images):
        return self.score(images)

class Averaging(Good):
    def forward(self, images):
        return super().forward(images).mean()

class Optional(Averaging):
    def __init__(self, in_channels, image_size, *, width: int):
        super().__init__(in_channels, image_size)

def idle():
    return lambda images: images.sim.float().mean() * 0

class Broken:
    def __call__(self, images):
        return images.sim.nothing

class Weighty:
    def __init__(self, *, weights=None):
        raise sim2real.SettingsError("metrics.weights: name the file")
"""


def test_what_does_not_keep_its_contract_is_named(
    install: Callable[..., None], site: Path, cli: Callable[..., CompletedProcess[str]]
) -> None:
    install("acme", PLUGIN)
    (site / "acme_parts.py").write_text(PARTS)
    done = cli("plugins", "check", "--json", path=site)
    assert done.returncode == 1, done.stderr
    averaging, idle, broken = json.loads(done.stdout)["failures"]
    assert averaging.startswith("discriminator 'averaging' of plugin 'acme' violates its contract: Averaging: scores")
    assert idle.startswith("loss 'idle' of plugin 'acme' violates its contract: idle: no gradient reaches")
    assert broken.startswith("loss 'broken' of plugin 'acme' fails: AttributeError")
