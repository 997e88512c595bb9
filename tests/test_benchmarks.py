"""The benchmarks still run, and what they compare with does the same work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.convert import convert_plainly, plain_generator, write_model, write_pictures
from benchmarks.plain import ReferenceCycleGAN, Vkitti2Kitti
from sim2real.config import resolve
from sim2real.conversion import ConvertOptions, convert
from sim2real.imageio import read_rgb
from sim2real.methods.base import Batch
from sim2real.training.setup import build_method

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("script", "rows"),
    [
        ("cli", ["| sim2real --help ", "| python -c 'import torch' "]),
        ("listing", ["| os.walk ", "| files and roles ", "400 IMAGE, 1700 LABEL, 100 AUX"]),
        ("train", ["| vkitti2kitti 256x64 ", "| cyclegan 64x64 ", "sim2real fp32", "compiled"]),
        ("loading", ["| Pillow and torchvision ", "| sim2real, cache, 2 workers "]),
        ("judge", ["| identity ", "| trees in the sky ", "| a judgement "]),
        ("convert", ["| vkitti2kitti, JPG ", "| vkitti2kitti, PNG ", "| cyclegan, JPG ", "| cyclegan, PNG "]),
    ],
)
def test_a_benchmark_prints_its_table(script: str, rows: list[str]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "benchmarks" / f"{script}.py"), "--quick"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    for row in rows:
        assert row in done.stdout


@pytest.mark.parametrize("recipe", ["vkitti2kitti", "cyclegan"])
def test_the_plain_loop_makes_the_same_pictures(tmp_path: Path, recipe: str) -> None:
    source = write_pictures(tmp_path / "png", (70, 45), 2)
    model = write_model(tmp_path / "model.safetensors", recipe, width=4)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    convert(source, ours, ConvertOptions(model=model, device="cpu", precision="fp32"))
    theirs.mkdir()
    convert_plainly(recipe, plain_generator(recipe, 4, model), sorted(source.iterdir()), theirs)
    for picture in source.iterdir():
        pictures = [read_rgb(folder / picture.name).astype(int) for folder in (source, ours, theirs)]
        assert abs(pictures[1] - pictures[2]).max() <= 1
        assert abs(pictures[1] - pictures[0]).max() > 1


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("recipe", ["vkitti2kitti", "vkitti2kitti lean", "cyclegan"])
def test_the_plain_loop_takes_the_same_steps(recipe: str, images: int) -> None:
    recipe, _, lean = recipe.partition(" ")
    width, size, scale = 4, (64, 32), 0.5 if recipe == "vkitti2kitti" else 1.0
    widths = [f"{network}.options.width={width}" for network in ("generator", "discriminator")]
    torch.manual_seed(1)
    ours = build_method(resolve(recipe, sets=[f"data.size={list(size)}", *widths]), "cpu", "fp32")
    plain = Vkitti2Kitti(size, width, "cpu") if recipe == "vkitti2kitti" else ReferenceCycleGAN(width, "cpu")
    for name, network in ours.networks.items():
        for theirs, own in zip(getattr(plain, name).parameters(), network.parameters(), strict=True):
            theirs.data.copy_(own.data)
    step = plain.lean_step if lean and isinstance(plain, Vkitti2Kitti) else plain.step
    for _ in range(3):
        sim, real = torch.rand(2, images, 3, size[1], size[0]).mul(2).sub(1)
        expected = {name: loss.item() for name, loss in ours.step(Batch(sim, real)).losses.items()}
        assert {name: loss.item() for name, loss in step(scale * sim, scale * real).items()} == pytest.approx(
            expected, rel=1e-3
        )
