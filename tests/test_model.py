import json
import os
import re
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import sim2real
from sim2real.errors import Sim2RealError
from sim2real.model import find_model, load_generator, read_info, save_generator
from sim2real.networks.generators import EncoderDecoder

Write = Callable[..., Path]


def test_what_is_saved_is_what_is_loaded(tmp_path: Path, write_run: Write) -> None:
    file = write_run(tmp_path / "run", settings={"data": {"size": [32, 32]}}) / "sim2real.safetensors"
    generator, info = load_generator(file)
    torch.manual_seed(0)
    original = EncoderDecoder(width=4, blocks=1).eval()
    images = torch.rand(1, 3, 32, 48) * 2 - 1
    assert not generator.training
    assert info.settings == {"data": {"size": [32, 32]}}
    assert info.value_range == original.value_range == (-0.5, 0.5)
    with torch.inference_mode():
        assert torch.equal(generator(images), original(images / 2) * 2)


def test_equal_trainings_give_equal_bytes(tmp_path: Path, write_run: Write) -> None:
    first, second, other = (
        (write_run(tmp_path / name, seed=seed, settings=settings) / "sim2real.safetensors").read_bytes()
        for name, seed, settings in [("a", 0, {"x": 1, "y": 2}), ("b", 0, {"y": 2, "x": 1}), ("c", 1, {"x": 1, "y": 2})]
    )
    assert first == second != other


def test_half_a_file_never_has_the_name(tmp_path: Path, write_run: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_run(tmp_path / "run") / "sim2real.safetensors"
    before = file.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_generator(file, EncoderDecoder(width=8), read_info(file))
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert file.read_bytes() == before


def rewrite_header(file: Path, **info: object) -> None:
    """Change what a generator file says about itself."""
    data = file.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = {"sim2real": json.dumps(json.loads(header["__metadata__"]["sim2real"]) | info)}
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


def test_files_that_are_no_generators(tmp_path: Path, write_run: Write) -> None:
    from safetensors.torch import save_file

    file = write_run(tmp_path / "run") / "sim2real.safetensors"

    def refused(match: str) -> None:
        with pytest.raises(Sim2RealError, match=match) as raised:
            load_generator(file)
        assert str(file) in str(raised.value)

    rewrite_header(file, options={"width": 8, "blocks": 1})
    refused("weights do not fit")
    rewrite_header(file, options={"widht": 4})
    refused("no such option; did you mean width")
    rewrite_header(file, name="encoder-decodre")
    with pytest.raises(Sim2RealError, match="did you mean encoder-decoder"):
        load_generator(file)
    save_file({"weight": torch.zeros(3)}, file)
    refused("lack the metadata of a generator")
    file.write_bytes(b"\x80\x04 a pickle, say")
    refused("a damaged safetensors file")
    file.unlink()
    refused("no such model")


def test_a_generator_whose_plugin_is_gone_is_told_with_its_file(tmp_path: Path, write_run: Write) -> None:
    file = write_run(tmp_path / "run") / "sim2real.safetensors"
    save_generator(file, EncoderDecoder(width=4), replace(read_info(file), name="gone"))
    with pytest.raises(Sim2RealError, match=rf"{re.escape(str(file))}: no generator is called 'gone'.*install"):
        load_generator(file)


def test_the_model_that_is_meant(tmp_path: Path, write_run: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Sim2RealError, match="train one"):
        find_model(None, None)
    old, new = (write_run(Path("runs") / name) for name in ("old", "new"))
    back = write_run(old, "real2sim") / "real2sim.safetensors"
    os.utime(old / "sim2real.safetensors", (1, 1))
    assert find_model(None, None) == new / "sim2real.safetensors"
    assert find_model(None, "real2sim") == back
    assert find_model(old, None) == old / "sim2real.safetensors"
    assert find_model(old, "real2sim") == find_model(back, None) == find_model(back, "real2sim") == back
    with pytest.raises(Sim2RealError, match=r"this model translates real2sim, not sim2real"):
        find_model(back, "sim2real")
    with pytest.raises(Sim2RealError, match=r"this run has no real2sim\.safetensors; it has sim2real\.safetensors"):
        find_model(new, "real2sim")
    (tmp_path / "empty").mkdir()
    with pytest.raises(Sim2RealError, match="not a run: sim2real train has written nothing to it; name a run folder"):
        find_model(tmp_path / "empty", None)
    (tmp_path / "runs/begun").mkdir()
    (tmp_path / "runs/begun/config.toml").touch()
    with pytest.raises(Sim2RealError, match="finish its training first"):
        find_model(tmp_path / "runs/begun", None)
    with pytest.raises(Sim2RealError, match=r"not a run: .* did you mean .*runs.begun/\?"):
        find_model(tmp_path / "runs", None)
    with pytest.raises(Sim2RealError, match=r"runs.nwe: no such model; did you mean .*runs.new/\?"):
        find_model(tmp_path / "runs/nwe", None)
    with pytest.raises(Sim2RealError, match="no direction is called"):
        find_model(old, "sideways")


def test_load_translates_arrays(tmp_path: Path, write_run: Write) -> None:
    translate = sim2real.load(write_run(tmp_path / "run"), device="cpu")
    batch = np.random.default_rng(0).integers(0, 256, (2, 19, 37, 3), dtype=np.uint8)
    after = translate(batch)
    assert after.dtype == np.uint8
    assert after.shape == batch.shape
    assert not np.array_equal(after, batch)
    assert np.array_equal(translate(batch[1]), after[1])
    assert translate.info.direction == "sim2real"
    for wrong in (batch[0, 0], batch.astype(float), batch[..., :2], batch[:0]):
        with pytest.raises(ValueError, match="expected RGB uint8"):
            translate(wrong)


def test_devices_and_precisions_that_are_not_there(tmp_path: Path, write_run: Write) -> None:
    run = write_run(tmp_path / "run")
    for device in ("tpu", "cuda:x", "cpu:0", f"cuda:{torch.cuda.device_count()}"):
        with pytest.raises(Sim2RealError, match="device"):
            sim2real.load(run, device=device)
    for precision in ("int8", "fp16"):
        with pytest.raises(Sim2RealError, match="precision"):
            sim2real.load(run, device="cpu", precision=precision)
