"""The page on models of other programs is true: its commands run, in its order, on small files."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sim2real.networks.generators import EncoderDecoder
from tests.commands import ROOT, Cli, succeed
from tests.training.test_importing import ResNetFile

PAGE = (ROOT / "docs" / "guides" / "bring-a-model.md").read_text("utf-8")
QUICK = """
[data]
size = [64, 32]
load_size = [64, 32]
batch_size = 1
workers = 0
[discriminator.options]
width = 4
"""


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        return torch.tanh(self.layer(images))


@pytest.fixture
def desk(tmp_path: Path, write_vkitti: Callable[..., Path], paint: Callable[..., Path]) -> Path:
    """A folder with all that the page names."""
    torch.manual_seed(0)
    for name in ("vkitti", "more"):
        write_vkitti(tmp_path / name, 2, size=(64, 48))
    paint(tmp_path / "photos", 3, size=(64, 48))
    for frame in (tmp_path / "vkitti").rglob("rgb_*.jpg"):
        place = tmp_path / "translated" / frame.relative_to(tmp_path / "vkitti").with_suffix(".png")
        place.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place), np.full((24, 32, 3), 90, np.uint8))
    for name, letter, filters in (("gta2city", "_A", ""), ("gta2city", "_B", ""), ("night", "", "both")):
        file = tmp_path / "checkpoints" / name / f"latest_net_G{letter}.pth"
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(ResNetFile(width=2, blocks=9, antialias=filters).weights, file)
    torch.save(EncoderDecoder(width=16, blocks=4).state_dict(), tmp_path / "mine.pth")
    torch.onnx.export(Small(), (torch.zeros(1, 3, 256, 256),), tmp_path / "translator.onnx", dynamo=False)
    (tmp_path / "sim2real.toml").write_text(QUICK)
    return tmp_path


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.timeout(600)
def test_the_commands_of_the_page_run_in_its_order(desk: Path, cli: Cli) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    before_diffusion = PAGE.partition("## A diffusion model")[0]  # the plugin's own tests call those
    blocks = re.findall(r"^```sh\n(.*?)^```$", before_diffusion, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    ran, told = 0, ""
    for line in lines:
        words = shlex.split(line, comments=True)
        if words[0] != "sim2real" or words[1] == "toytown":
            continue
        if words[1] == "train":
            words = [*words, "--steps", "1"]
        told += " ".join(succeed(cli(*words[1:], cwd=desk)).split()) + "\n"
        ran += 1
    assert ran == 17
    for phrase in (
        "resnet_9blocks of pytorch-CycleGAN-and-pix2pix, instance norm",
        "an ONNX file, 256x256 images, NCHW, values from -1 to 1",
        "guided at 256x256 pixels",
        "4 of 4 frames have a translation, matched by path",
    ):
        assert phrase in told
    assert (desk / "before_after.png").exists()
    for folder in ("city", "safe", "night", "other", "own", "taught", "styled"):
        assert len(list((desk / folder).rglob("rgb_*.jpg"))) == 4
