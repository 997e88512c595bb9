import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sim2real_openvino import int8
from sim2real_openvino.engine import OpenVinoEngine
from sim2real_openvino.int8 import Int8Engine
from torch import nn

from sim2real import Sim2RealError
from sim2real.engines.base import EngineSettings
from sim2real.imageio import encode_png, read_rgb
from sim2real.networks import RangeAdapter, initialise
from sim2real.networks.generators import ResNet

CPU = EngineSettings(device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    folder = tmp_path_factory.mktemp("frames")
    rows, columns = np.mgrid[:96, :128]
    for index in range(5):
        waves = np.sin(rows / 9 + index) + np.cos(columns / 13 - index)
        colours = 127 + 50 * np.stack((waves, waves.T.reshape(rows.shape), -waves), -1)
        (folder / f"{index}.png").write_bytes(encode_png(colours.clip(0, 255).astype(np.uint8)))
    return tuple(sorted(folder.iterdir()))


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    network = ResNet(width=8, blocks=1)
    initialise(network, "normal")
    return RangeAdapter(network, returns_images=True)


@pytest.fixture(scope="module")
def quantised(network: nn.Module, frames: tuple[Path, ...]) -> Int8Engine:
    return Int8Engine(network, replace(CPU, calibration=frames))


def test_it_reports_its_true_distance_to_fp32(
    network: nn.Module, frames: tuple[Path, ...], quantised: Int8Engine
) -> None:
    exact = OpenVinoEngine(network, CPU)
    distances = []
    for frame in (frames[0], frames[4]):
        image = read_rgb(frame)[None]
        error = np.mean((quantised(image).astype(float) - exact(image)) ** 2)
        distances.append(10 * np.log10(255**2 / error))
    assert quantised.notes == (f"int8: {min(distances):.1f} dB to fp32 at worst, on 2 of your pictures",)
    assert int8.LEAST_PSNR <= min(distances) < 60  # it is quantised


def test_the_same_pictures_give_the_same_engine(
    network: nn.Module, frames: tuple[Path, ...], quantised: Int8Engine
) -> None:
    again = Int8Engine(network, replace(CPU, calibration=frames))
    images = np.stack([read_rgb(frame) for frame in frames])
    assert again.notes == quantised.notes
    assert np.array_equal(again(images), quantised(images))
    assert np.array_equal(again(images[2:3])[0], quantised(images)[2])


def test_small_pictures_are_not_quantised(network: nn.Module, frames: tuple[Path, ...], quantised: Int8Engine) -> None:
    image = read_rgb(frames[0])[None, :40, :50]
    assert np.array_equal(quantised(image), OpenVinoEngine(network, CPU)(image))


def test_one_picture_is_enough_and_damaged_or_small_ones_are_skipped(
    network: nn.Module, frames: tuple[Path, ...], tmp_path: Path
) -> None:
    damaged, small = tmp_path / "damaged.png", tmp_path / "small.png"
    damaged.write_bytes(frames[0].read_bytes()[:100])
    small.write_bytes(encode_png(np.zeros((8, 8, 3), np.uint8)))
    engine = Int8Engine(network, replace(CPU, calibration=(damaged, small, frames[1])))
    assert engine.notes[0].endswith("on 1 of your pictures")
    with pytest.raises(Sim2RealError, match="none of 64x64 pixels or more; use --engine openvino"):
        Int8Engine(network, replace(CPU, calibration=(damaged, small)))


def test_without_pictures_it_is_refused(network: nn.Module) -> None:
    with pytest.raises(Sim2RealError, match="calibrated on your own pictures"):
        Int8Engine(network, CPU)


def test_a_model_that_loses_too_much_is_refused(
    network: nn.Module, frames: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8, "LEAST_PSNR", 70.0)
    with pytest.raises(Sim2RealError, match=r"\d\d\.\d dB to fp32 .*, 70 dB is the least; use --engine openvino"):
        Int8Engine(network, replace(CPU, calibration=frames))


def test_a_missing_nncf_is_an_error_with_the_install_command(
    network: nn.Module, frames: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(Sim2RealError, match=r'pip install "sim2real-openvino\[int8\]"'):
        Int8Engine(network, replace(CPU, calibration=frames))


def test_nothing_is_printed(network: nn.Module, frames: tuple[Path, ...], capfd: pytest.CaptureFixture[str]) -> None:
    Int8Engine(network, replace(CPU, calibration=frames[:2]))
    assert capfd.readouterr().out == ""
