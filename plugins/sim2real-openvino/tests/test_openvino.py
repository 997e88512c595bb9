import math
import pkgutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sim2real_openvino import plugin
from sim2real_openvino.engine import OpenVinoEngine
from sim2real_openvino.int8 import Int8Engine
from sim2real_openvino.without_telemetry import openvino as ov
from torch import nn

from sim2real import Sim2RealError
from sim2real.engines.base import EngineSettings
from sim2real.engines.torch import TorchEngine
from sim2real.errors import OutOfMemoryError, SettingsError
from sim2real.networks import RangeAdapter, initialise
from sim2real.networks.blocks import ZeroConv2d
from sim2real.networks.generators import EncoderDecoder, ResNet
from sim2real.testing import check_engine

FP32 = EngineSettings(device="cpu", precision="fp32")
BF16 = EngineSettings(device="cpu", precision="bf16")

NETWORKS = {
    "encoder-decoder": EncoderDecoder(width=8),
    "encoder-decoder, batch": EncoderDecoder(
        width=8, stages=3, blocks=1, norm="batch", activation="relu", output="tanh"
    ),
    "encoder-decoder, none": EncoderDecoder(width=8, norm="none", output="clamped_tanh"),
    "resnet": ResNet(width=8, blocks=2),
    "resnet, batch": ResNet(width=8, blocks=1, norm="batch"),
    "resnet, none": ResNet(width=8, blocks=1, norm="none"),
    "resnet, residual": ResNet(width=8, blocks=1, output="residual"),
}


def sampled(name: str) -> nn.Module:
    """A network initialised like by its recipe, with statistics and a last layer as after training."""
    torch.manual_seed(0)
    network = NETWORKS[name]
    initialise(network, "normal" if name.startswith("resnet") else "xavier")
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = None  # the mean over all batches
        if isinstance(layer, ZeroConv2d):
            nn.init.normal_(layer.weight, 0, 0.02)
    with torch.no_grad():
        network.train()(torch.from_numpy(pictures(2, 64, 64)).permute(0, 3, 1, 2) / 127.5 - 1)
    return RangeAdapter(network, returns_images=True)


def pictures(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    """Soft colours with some noise, RGB (N, H, W, 3)."""
    number, height, width = shape
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    phases = random.uniform(0, 6, (number, 1, 1, 3))
    waves = np.sin(rows[..., None] / 9 + phases) + np.cos(columns[..., None] / 13 - phases)
    colours: NDArray[np.uint8] = (127 + 50 * waves + random.normal(0, 8, waves.shape)).clip(0, 255).astype(np.uint8)
    return colours


def psnr(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    error = float(np.mean((one.astype(float) - other) ** 2))
    return 10 * math.log10(255**2 / max(error, 1e-9))


def test_registered_targets_can_be_imported() -> None:
    offered: dict[str, str] = {}
    plugin.register_engines(lambda name, target, **_: offered.update({name: target}))
    assert {name: pkgutil.resolve_name(target) for name, target in offered.items()} == {
        "openvino": OpenVinoEngine,
        "openvino-int8": Int8Engine,
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_it_agrees_with_torch(name: str) -> None:
    network, images = sampled(name), pictures(2, 90, 130)
    expected = TorchEngine(network, FP32)(images)
    assert psnr(expected, images) < 45  # not merely the input
    assert psnr(OpenVinoEngine(network, FP32)(images), expected) >= 60
    assert psnr(OpenVinoEngine(network, BF16)(images), expected) >= 45


@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True), nn.LayerNorm(64)])
def test_it_agrees_with_torch_on_norms_that_are_not_built_in(norm: nn.Module) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), norm, nn.Conv2d(4, 3, 1))
    images = pictures(1, 70, 64)
    assert psnr(OpenVinoEngine(network, FP32)(images), TorchEngine(network, FP32)(images)) >= 60


@pytest.mark.parametrize("name", ["encoder-decoder", "resnet"])
def test_images_of_any_size_are_padded_like_by_the_built_in_engine(name: str) -> None:
    network = sampled(name)
    exact, engine = TorchEngine(network, FP32), OpenVinoEngine(network, FP32)
    for size in [(1, 90), (2, 2), (3, 5), (17, 31), (33, 70), (64, 64), (65, 127), (130, 20)]:
        images = pictures(2, *size)
        result = engine(images)
        assert result.shape == images.shape
        assert result.flags["C_CONTIGUOUS"]
        assert np.abs(result.astype(int) - exact(images)).max() <= 1


@pytest.mark.parametrize("name", ["encoder-decoder", "resnet"])
@pytest.mark.parametrize("settings", [FP32, BF16], ids=["fp32", "bf16"])
def test_a_result_depends_neither_on_the_batch_nor_on_earlier_calls(name: str, settings: EngineSettings) -> None:
    network, images, others = sampled(name), pictures(3, 70, 100), pictures(3, 70, 100, seed=1)
    first = OpenVinoEngine(network, settings)
    alone = first(images[2:])
    others[1] = images[2]
    for size in [(200, 300), (20, 30)]:
        first(pictures(1, *size))
    assert np.array_equal(first(others)[1], alone[0])
    assert np.array_equal(OpenVinoEngine(network, settings)(images)[2], alone[0])


@pytest.mark.parametrize("cores", [1, 2])
def test_a_result_depends_neither_on_the_number_of_cores_nor_of_callers(cores: int) -> None:
    network, images = sampled("resnet"), pictures(6, 70, 100)
    once = OpenVinoEngine(network, BF16)(images)
    before = torch.get_num_threads()
    torch.set_num_threads(cores)
    try:
        engine = OpenVinoEngine(network, BF16)
    finally:
        torch.set_num_threads(before)
    assert engine.streams == cores
    with ThreadPoolExecutor(4) as callers:
        several = list(callers.map(lambda index: engine(images[index : index + 1])[0], range(len(images))))
    assert np.array_equal(several, once)


def test_it_keeps_the_contract() -> None:
    check_engine(OpenVinoEngine)


def test_results_do_not_share_memory() -> None:
    engine = OpenVinoEngine(sampled("resnet"), FP32)
    first = engine(pictures(1, 70, 70))
    copy = first.copy()
    engine(pictures(1, 70, 70, seed=1))
    assert np.array_equal(first, copy)


def test_values_that_are_not_finite_are_an_error() -> None:
    class Broken(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images / (images - images)

    with pytest.raises(Sim2RealError, match="not finite"):
        OpenVinoEngine(Broken(), FP32)(pictures(1, 64, 64))


def test_unsupported_devices_and_precisions_are_refused() -> None:
    with pytest.raises(SettingsError, match="not on cuda:0; use --device cpu"):
        OpenVinoEngine(sampled("resnet"), EngineSettings(device="cuda:0", precision="bf16"))
    with pytest.raises(SettingsError, match="not in fp16; use --precision bf16"):
        OpenVinoEngine(sampled("resnet"), EngineSettings(device="cpu", precision="fp16"))


def test_an_unsupported_operation_is_refused() -> None:
    class Unsupported(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = torch.special.bessel_j0(images)
            return result

    with pytest.raises(Sim2RealError, match=r"OpenVINO .*bessel.*; use --engine torch"):
        OpenVinoEngine(Unsupported(), FP32)


@pytest.mark.parametrize(
    "fails",
    [
        RuntimeError("Check 'ptr' failed: Failed to allocate 536870912 bytes of memory"),
        MemoryError(),
    ],
)
def test_the_engine_works_again_after_an_error_for_lack_of_memory(
    fails: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, images = OpenVinoEngine(sampled("resnet"), FP32), pictures(1, 80, 100)

    def fail(*_: object, **__: object) -> None:
        raise fails

    with monkeypatch.context() as short:
        short.setattr(ov.InferRequest, "infer", fail)
        with pytest.raises(OutOfMemoryError, match="of 100x80 at once"):
            engine(images)
    assert engine(images).shape == images.shape


def test_an_empty_output_is_an_error_for_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = OpenVinoEngine(sampled("resnet"), FP32)
    monkeypatch.setattr(ov.InferRequest, "infer", lambda *_, **__: [np.zeros((0,), np.float32)])
    with pytest.raises(OutOfMemoryError):
        engine(pictures(1, 80, 100))


def test_other_failures_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("shapes do not fit")

    engine = OpenVinoEngine(sampled("resnet"), FP32)
    monkeypatch.setattr(ov.InferRequest, "infer", fail)
    with pytest.raises(RuntimeError, match="do not fit"):
        engine(pictures(1, 80, 100))


def test_no_telemetry_is_sent() -> None:
    """The telemetry package is not imported, and neither this process nor a fork uses the network."""
    script = """
import sys
reached = []
sys.addaudithook(lambda event, args: reached.append((event, args)) if event in WATCHED else None)
WATCHED = {"socket.connect", "socket.getaddrinfo", "os.fork", "urllib.Request"}
from sim2real_openvino.engine import OpenVinoEngine
from sim2real_openvino.without_telemetry import openvino
from openvino.tools.ovc import telemetry_utils
import nncf.telemetry.wrapper
import torch
from sim2real.engines.base import EngineSettings
OpenVinoEngine(torch.nn.Identity(), EngineSettings(device="cpu", precision="fp32"))
assert telemetry_utils.tm.__name__ == "openvino.tools.ovc.telemetry_stub", telemetry_utils.tm
assert not isinstance(nncf.telemetry.wrapper.telemetry, nncf.telemetry.wrapper.NNCFTelemetry)
assert not [name for name in sys.modules if name.startswith("openvino_telemetry.")]
assert not reached, reached
"""
    path = [place for place in sys.path if place]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}\n{script}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
