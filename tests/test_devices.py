"""Which device and which numbers; Apple's GPU by a stand-in, that computes on the CPU and has no float64."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch._dynamo  # before anything is replaced that it looks at
from safetensors.torch import load_file

import sim2real
from sim2real.config import Config, resolve
from sim2real.conversion import ConversionSummary, ConvertOptions, convert, verify
from sim2real.devices import free_memory, is_out_of_memory, peak_memory, resolve_device, resolve_precision
from sim2real.engines.base import EngineSettings
from sim2real.engines.torch import TorchEngine
from sim2real.errors import SettingsError
from sim2real.networks.colour import Reinhard
from sim2real.training import Trainer
from sim2real.training.forecast import forecast
from sim2real.training.processes import Processes

Write = Callable[..., Path]
FACTORIES = ("arange", "empty", "full", "ones", "rand", "randn", "tensor", "zeros")
OF_CUDA = (
    "Stream", "empty_cache", "get_device_name", "get_rng_state", "is_bf16_supported", "max_memory_allocated",
    "max_memory_reserved", "mem_get_info", "memory_allocated", "set_rng_state", "stream", "synchronize",
)  # fmt: skip


def _stands_in(value: object) -> bool:
    return isinstance(value, str | torch.device) and torch.device(value).type == "mps"


@pytest.fixture
def apple(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make "mps" a device; gives what was moved there, as types of numbers. Whatever is CUDA's alone fails."""
    moved: list[str] = []
    state = torch.zeros(5000, dtype=torch.uint8)

    def never(*_: object, **__: object) -> None:
        pytest.fail("of CUDA alone")

    def to(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if any(map(_stands_in, (*args, *kwargs.values()))):
            assert not kwargs.get("non_blocking"), "what is copied may be gone by then"
            assert True not in args[1:], "as above"
            assert torch.float64 not in {tensor.dtype, *args, *kwargs.values()}, "there is no float64"
            moved.append(str(tensor.dtype))
            args = tuple("cpu" if _stands_in(value) else value for value in args)
            kwargs = {name: "cpu" if _stands_in(value) else value for name, value in kwargs.items()}
        return real_to(tensor, *args, **kwargs)

    def made_on_the_cpu(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def made(*args: Any, device: Any = None, **kwargs: Any) -> torch.Tensor:
            return make(*args, device="cpu" if device is not None and _stands_in(device) else device, **kwargs)

        return made

    real_to = torch.Tensor.to
    monkeypatch.setattr(torch.Tensor, "to", to)
    for name in FACTORIES:
        monkeypatch.setattr(torch, name, made_on_the_cpu(getattr(torch, name)))
    for name in OF_CUDA:
        monkeypatch.setattr(torch.cuda, name, never)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    for name, value in {
        "recommended_max_memory": 8 << 30,
        "driver_allocated_memory": 2 << 30,
        "current_allocated_memory": 1 << 30,
        "empty_cache": None,
        "get_rng_state": state,
    }.items():
        monkeypatch.setattr(torch.mps, name, lambda value=value: value)
    monkeypatch.setattr(torch.mps, "set_rng_state", lambda new: moved.append(f"state of {len(new)}"))
    return moved


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(0, False, "cpu"), (0, True, "mps"), (1, False, "cuda"), (2, True, "cuda")]
)
def test_auto_is_the_gpu_that_there_is(monkeypatch: pytest.MonkeyPatch, cuda: int, mps: bool, expected: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert resolve_device("auto") == expected
    for device in ("cpu", *(["mps"] if mps else []), *(["cuda", f"cuda:{cuda - 1}"] if cuda else [])):
        assert resolve_device(device) == device


@pytest.mark.parametrize("wrong", ["tpu", "cuda:2", "cuda:x", "cuda:", "mps:1", "cpu:0", "CPU", "", "cuda:00"])
def test_what_is_not_there_is_refused_with_what_is(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Card of {device}")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    with pytest.raises(SettingsError) as refusal:
        resolve_device(wrong)
    listed = "cpu, cuda:0 (Card of cuda:0), cuda:1 (Card of cuda:1), mps"
    assert str(refusal.value) == f"device '{wrong}': no such device; available: {listed}"


@pytest.mark.usefixtures("apple")
def test_numbers_and_memory_of_an_apple_gpu() -> None:
    assert [resolve_precision(each, "mps") for each in ("auto", "bf16", "fp16")] == ["fp32", "bf16", "fp16"]
    assert 0 < free_memory("mps") <= 6 << 30
    assert peak_memory("mps") - peak_memory("cpu") >= 1 << 30
    for said in ("MPS backend out of memory (MPS allocated: 5 GB)", "Invalid buffer size: 30.00 GB"):
        assert is_out_of_memory(RuntimeError(said))


@pytest.mark.usefixtures("apple")
def test_an_apple_gpu_is_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    with pytest.raises(SettingsError, match="device 'mps' is a single one, for 2 processes; use cpu or auto"):
        Processes("mps")
    monkeypatch.setattr(Processes, "_join", lambda *_: None)
    assert Processes("auto").device == "cpu"


def test_a_training_on_an_apple_gpu(apple: list[str], photos: Path, tmp_path: Path, tiny: list[str]) -> None:
    def configure(*sets: str) -> Config:
        more = ["train.steps=4", "evaluate.every=2", "data.validation=2", "ema_decay=0.9", "compile=auto",
                "discriminator.regularization={r1=1, r1_every=2, augment=['color', 'cutout']}"]  # fmt: skip
        return resolve(sets=[*tiny, *more, *sets], sim=str(photos / "sim"), real=str(photos / "real"))

    for device in ("mps", "cpu"):
        run, config = tmp_path / device, configure(f"device={device}", f"run={tmp_path / device}")
        trainer = Trainer.begin(config, run)
        assert trainer.device == device
        list(trainer.train())
    weights = [load_file(tmp_path / device / "sim2real.safetensors") for device in ("mps", "cpu")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])
    assert "torch.uint8" in apple
    resumed = Trainer.resume(configure("device=mps", "train.steps=6"), tmp_path / "mps")
    assert "state of 5000" in apple
    list(resumed.train())
    found = forecast(configure("device=mps", f"run={tmp_path / 'plan'}"), steps=1)
    assert (found.device, found.memory) == ("mps", 2 << 30)


def test_a_conversion_on_an_apple_gpu(apple: list[str], tmp_path: Path, write_vkitti: Write, write_run: Write) -> None:
    source, run = write_vkitti(tmp_path / "in"), write_run(tmp_path / "run")

    def converted(device: str, **options: Any) -> ConversionSummary:
        done = convert(source, tmp_path / f"{device} {options}", ConvertOptions(model=run, device=device, **options))
        assert verify(done.out).ok
        return done

    for options in ({}, {"tile": "16"}):
        ours, theirs = converted("auto", **options), converted("cpu", precision="fp32", **options)
        assert ours.record.device == "mps"
        assert ours.record.precision == "fp32"
        for path in theirs.out.rglob("*.jpg"):
            assert path.read_bytes() == (ours.out / path.relative_to(theirs.out)).read_bytes()
    assert converted("mps", precision="bf16").record.precision == "bf16"
    assert set(apple) <= {"torch.uint8", "torch.float32", "torch.int64"}
    picture = np.zeros((24, 40, 3), np.uint8)
    assert sim2real.load(run)(picture).shape == picture.shape


@pytest.mark.usefixtures("apple")
def test_what_translates_outside_of_torch_stays_on_the_cpu() -> None:
    network = Reinhard(3, 3)
    assert network.to("mps") is network
    network.observe(*(torch.rand(2, 3, 8, 8) * 2 - 1 for _ in range(2)))
    assert network.moments.dtype == torch.float64
    assert TorchEngine(network, EngineSettings(device="mps", precision="fp32"))(np.zeros((1, 8, 8, 3), np.uint8)).any()
