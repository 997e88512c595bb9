"""A generator of a plugin that uses depth, as its user runs it."""

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import Cli, Write, manifest, refused, succeed

PLUGIN = """
from sim2real import hookimpl

@hookimpl
def register_generators(register):
    register("haze", "haze_network:Haze", summary="fog by depth")
"""
NETWORK = """
import torch
from torch import nn

class Haze(nn.Module):
    inputs = ("depth",)
    stride = 4

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.density = nn.Parameter(torch.tensor(0.005))

    def forward(self, images, inputs):
        share = (inputs["depth"] * self.density).clamp(0, 1)
        return images * (1 - share) + share
"""


def test_a_generator_that_uses_depth_converts_verifies_and_exports(
    cli: Cli,
    *,
    site: Path,
    install: Callable[..., None],
    write_vkitti: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from sim2real.model import GeneratorInfo, save_generator

    install("haze", PLUGIN)
    (site / "haze_network.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(site)
    network = importlib.import_module("haze_network").Haze(3, 3)
    info = GeneratorInfo("haze", {}, (-1.0, 1.0), "sim2real", "default", {}, "none", "0.1.0")
    save_generator(tmp_path / "haze.safetensors", network, info)
    write_vkitti(tmp_path / "source")
    of_model = ("--model", "haze.safetensors", "--device", "cpu")
    succeed(cli("convert", "source", "out", *of_model, path=site, cwd=tmp_path))
    assert sum("inputs_sha256" in line for line in manifest(tmp_path / "out").values()) == 6
    depth = min((tmp_path / "source").rglob("depth_*.png"))
    depth.write_bytes(max((tmp_path / "source").rglob("depth_*.png")).read_bytes())
    done = cli("verify", "out", path=site, cwd=tmp_path)
    assert done.returncode == 1
    assert "its 'depth', " in done.stdout + done.stderr
    exported = succeed(cli("export", "haze.safetensors", "haze.onnx", path=site, cwd=tmp_path))
    assert "further inputs, aligned with the images: depth" in exported
    depth.unlink()
    done = cli("convert", "source", "other", *of_model, path=site, cwd=tmp_path)
    refused(done, "the generator 'haze' needs 'depth', and 1 of 6 frames have none")
