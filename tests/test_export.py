import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]  # it ships no types
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import sim2real
from sim2real.errors import Sim2RealError
from sim2real.export import Export, export_onnx
from sim2real.files import sha256_of
from sim2real.model import GeneratorInfo, read_info, save_generator
from sim2real.networks.generators import EncoderDecoder, ResNet
from sim2real.registry import Entry, registry

Write = Callable[..., Path]
Array = np.ndarray[Any, np.dtype[Any]]

NETWORKS: dict[str, type[EncoderDecoder | ResNet]] = {"encoder-decoder": EncoderDecoder, "resnet": ResNet}


def write_generator(folder: Path, name: str, **options: Any) -> Path:
    """A generator file with weights and statistics that leave nothing at its beginning."""
    torch.manual_seed(0)
    network = NETWORKS[name](**options)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.1)
    for buffer in network.buffers():
        if buffer.is_floating_point():
            torch.nn.init.uniform_(buffer, 0.5, 2)
    info = GeneratorInfo(name, options, network.value_range, "sim2real", "default", {}, "none", "0.1.0")
    save_generator(folder / "generator.safetensors", network, info)
    return folder / "generator.safetensors"


def export(model: Path, **differences: Any) -> Export:
    choices: dict[str, Any] = {"size": None, "opset": 17, "tolerance": 0.5}
    return export_onnx(model, model.with_suffix(".onnx"), **(choices | differences))


def session(file: Path) -> Callable[[Array], Array]:
    opened = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])

    def run(images: Array) -> Array:
        [translated] = opened.run(None, {"images": images})
        return np.asarray(translated)

    return run


def through(graph: Callable[[Array], Array], pictures: Array) -> Array:
    """Pictures RGB uint8 (N, H, W, 3) through a graph, to grey levels."""
    images = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2), np.float32) / np.float32(127.5) - 1
    return (graph(images).transpose(0, 2, 3, 1) + 1) * 127.5


def noise(count: int, height: int, width: int) -> Array:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)


def apart(first: Array, second: Array) -> float:
    return float(np.abs(first.astype(float) - second).max())


VARIANTS: list[dict[str, str]] = [
    *(
        {"norm": norm, "output": output}
        for norm in ("instance", "batch", "none")
        for output in ("tanh", "half_tanh", "clamped_tanh", "residual")
    ),
    {"norm": "none", "output": "residual", "up": "resize", "down": "blur"},
]


@pytest.mark.parametrize("options", VARIANTS, ids=lambda options: "-".join(options.values()))
@pytest.mark.parametrize("name", NETWORKS)
def test_every_generator_runs_at_any_size_in_onnxruntime(tmp_path: Path, name: str, options: dict[str, str]) -> None:
    model = write_generator(tmp_path, name, width=4, blocks=1, **options)
    exported = export(model)
    assert exported.dynamic == ("batch", "height", "width")
    assert exported.obstacle is None
    assert 0 < exported.parity.difference < 0.1
    assert exported.parity.psnr > 60
    translate = sim2real.load(model, device="cpu", precision="fp32")
    run = session(exported.file)
    for pictures in (noise(1, 50, 70), noise(2, 64, 32), noise(1, 9, 33)):
        after = through(run, pictures)
        assert apart(after, translate(pictures)) < 0.6
        assert apart(after, pictures) > 2


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Export:
    return export(write_generator(tmp_path_factory.mktemp("exported"), "encoder-decoder", width=4, blocks=1))


@pytest.fixture(scope="module")
def pair(exported: Export) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """The same generator in onnxruntime and in torch."""
    model = exported.file.with_suffix(".safetensors")
    return session(exported.file), sim2real.load(model, device="cpu", precision="fp32")


@settings(deadline=None, max_examples=40)
@given(count=st.integers(1, 3), height=st.integers(1, 70), width=st.integers(2, 70))
def test_what_is_lacking_to_the_stride_is_reflected_as_in_a_conversion(
    pair: tuple[Callable[[Array], Array], Callable[[Array], Array]], count: int, height: int, width: int
) -> None:
    run, translate = pair
    pictures = noise(count, height, width)
    assert apart(through(run, pictures), translate(pictures)) < 0.6


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("size", [None, (70, 50)])
def test_openvino_gives_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, norm: str, size: tuple[int, int] | None
) -> None:
    if "openvino" not in sys.modules:  # on import it would tell Google Analytics of its use
        monkeypatch.setitem(sys.modules, "openvino_telemetry", ModuleType("openvino_telemetry"))
    openvino = pytest.importorskip("openvino")
    model = write_generator(tmp_path, name, width=4, blocks=1, norm=norm)
    file = export(model, size=size).file
    compiled = openvino.compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    translate = sim2real.load(model, device="cpu", precision="fp32")
    for pictures in (noise(2, 50, 70), *([noise(1, 64, 48), noise(1, 9, 33)] if size is None else [])):
        after = through(lambda images: np.asarray(compiled(images)[0]), pictures)
        assert apart(after, translate(pictures)) < 0.6


def test_one_size_can_be_asked_for(tmp_path: Path) -> None:
    model = write_generator(tmp_path, "resnet", width=4, blocks=1)
    exported = export(model, size=(50, 37))
    assert (exported.size, exported.dynamic) == ((50, 37), ("batch",))
    graph = onnx.load(exported.file).graph
    for value in (*graph.input, *graph.output):
        dimensions = value.type.tensor_type.shape.dim
        assert [dimension.dim_param or dimension.dim_value for dimension in dimensions] == ["batch", 3, 37, 50]
    assert not {node.op_type for node in graph.node} & {"Range", "Mod"}
    pictures = noise(3, 37, 50)
    translate = sim2real.load(model, device="cpu", precision="fp32")
    assert apart(through(session(exported.file), pictures), translate(pictures)) < 0.6


def test_the_file_says_what_it_takes_and_where_it_is_from(exported: Export) -> None:
    model = onnx.load(exported.file)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert facts == exported.metadata
    assert facts == {
        "sim2real.version": sim2real.__version__,
        "sim2real.direction": "sim2real",
        "sim2real.generator": "encoder-decoder",
        "sim2real.recipe": "default",
        "sim2real.layout": "NCHW",
        "sim2real.colours": "RGB",
        "sim2real.value_range": "-1 1",
        "sim2real.stride": "16",
        "sim2real.padding": "in the graph",
        "sim2real.weights_sha256": sha256_of(exported.file.with_suffix(".safetensors")),
    }
    [taken], [given_back] = model.graph.input, model.graph.output
    assert (taken.name, given_back.name) == ("images", "translated")
    for value in (taken, given_back):
        dimensions = value.type.tensor_type.shape.dim
        assert [entry.dim_param or entry.dim_value for entry in dimensions] == ["batch", 3, "height", "width"]


@pytest.mark.parametrize("opset", [14, 20])
def test_the_opset_is_the_one_that_was_asked_for(tmp_path: Path, opset: int) -> None:
    exported = export(write_generator(tmp_path, "resnet", width=4, blocks=1, norm="batch"), opset=opset)
    assert [(entry.domain, entry.version) for entry in onnx.load(exported.file).opset_import] == [("", opset)]


def test_equal_weights_give_equal_bytes_wherever_they_lie(tmp_path: Path, write_run: Write) -> None:
    first, second, other = (
        export(write_run(tmp_path / name, seed=seed) / "sim2real.safetensors").file.read_bytes()
        for name, seed in [("a", 0), ("b", 0), ("c", 1)]
    )
    assert first == second != other
    assert str(tmp_path).encode() not in first


def test_values_beyond_the_range_are_cut_off(tmp_path: Path) -> None:
    model = write_generator(tmp_path, "encoder-decoder", width=4, blocks=1, norm="none", output="residual")
    translated = session(export(model).file)(
        np.random.default_rng(0).choice([-1, 1], (1, 3, 32, 32)).astype(np.float32)
    )
    assert np.abs(translated).max() == 1


@pytest.mark.parametrize(("weight", "tolerance"), [(0.01, 0), (float("nan"), 0.5)])
def test_nothing_is_written_beyond_the_tolerance(
    tmp_path: Path, write_run: Write, weight: float, tolerance: float
) -> None:
    model = write_run(tmp_path) / "sim2real.safetensors"
    network = EncoderDecoder(width=4, blocks=1)
    torch.nn.init.constant_(next(network.parameters())[0, 0, 0], weight)
    save_generator(model, network, read_info(model))
    model.with_suffix(".onnx").write_bytes(b"an earlier export")
    with pytest.raises(Sim2RealError, match=f"grey levels apart, more than {tolerance}"):
        export(model, tolerance=tolerance)
    assert {path.name for path in tmp_path.iterdir()} == {"sim2real.safetensors", "sim2real.onnx"}
    assert model.with_suffix(".onnx").read_bytes() == b"an earlier export"


class Seeing(nn.Module):
    """Sees depth and classes."""

    inputs = ("depth", "segmentation", "flow")
    stride = 4

    def __init__(self, _in_channels: int, _out_channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3 + 1 + 3 + 4, 3, 3, padding=1, stride=1)
        self.classes = nn.Embedding(4, 4)

    def forward(self, images: torch.Tensor, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        classes = self.classes(inputs["segmentation"] + 1).permute(0, 3, 1, 2)
        seen = torch.cat([images, inputs["depth"] / 50, inputs["flow"] / 50, classes], 1)
        return torch.tanh(self.mix(seen)) + images / 2


def test_labels_that_a_generator_sees_are_inputs_of_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Entry("generators", "seeing", f"{__name__}:Seeing", "of a test", "tests")
    monkeypatch.setattr(registry(), "offers", [*registry().offers, entry])
    torch.manual_seed(0)
    settings = {"classes": {"names": ["car", "road", "sky"]}}
    info = GeneratorInfo("seeing", {}, (-1.0, 1.0), "sim2real", "default", settings, "none", "0.1.0")
    save_generator(tmp_path / "seeing.safetensors", Seeing(3, 3), info)
    exported = export(tmp_path / "seeing.safetensors")
    assert exported.dynamic == ("batch", "height", "width")
    assert exported.parity.difference < 0.1
    assert exported.metadata["sim2real.inputs"] == "depth segmentation flow"
    assert exported.metadata["sim2real.classes"] == '["car", "road", "sky"]'
    opened = onnxruntime.InferenceSession(exported.file, providers=["CPUExecutionProvider"])
    assert {put.name: put.shape for put in opened.get_inputs()} == {
        "images": ["batch", 3, "height", "width"],
        "depth": ["batch", 1, "height", "width"],
        "segmentation": ["batch", "height", "width"],
        "flow": ["batch", 3, "height", "width"],
    }
    random, pictures = np.random.default_rng(0), noise(2, 21, 34)
    labels: dict[str, Array] = {
        "depth": random.uniform(0, 80, (2, 1, 21, 34)).astype(np.float32),
        "segmentation": random.integers(-1, 3, (2, 21, 34)),
        "flow": random.uniform(-5, 5, (2, 3, 21, 34)).astype(np.float32),
    }
    translate = sim2real.load(exported.file.with_suffix(".safetensors"), device="cpu", precision="fp32")

    def run(images: Array) -> Array:
        [translated] = opened.run(None, {"images": images, **labels})
        return np.asarray(translated)

    assert apart(through(run, pictures), translate(pictures, inputs=labels)) < 0.6
    fixed = export(exported.file.with_suffix(".safetensors"), size=(34, 21))
    assert fixed.parity.difference < 0.1
    assert export_bytes(fixed) == export_bytes(export(exported.file.with_suffix(".safetensors"), size=(34, 21)))


def export_bytes(exported: Export) -> bytes:
    return exported.file.read_bytes()
