"""ONNX files as models: layout, range and size are found, translations are those of onnxruntime."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import sim2real
from sim2real.errors import Sim2RealError
from sim2real.model import read_info

Cli = Callable[..., subprocess.CompletedProcess[str]]
Image = NDArray[np.uint8]


def write_onnx(
    file: Path,
    *,
    layout: str = "NCHW",
    size: tuple[int, int] | None = None,
    batch: int | str = "n",
    kind: int = TensorProto.FLOAT,
    end: str = "Tanh",
    stride: int = 1,
) -> Path:
    """Write a network that mixes the colours of 3x3 pixels, of a map that is halved and doubled for a stride of 2."""
    rng = np.random.default_rng(1)
    height, width = size[::-1] if size else ("h", "w")
    shape = [batch, 3, height, width] if layout == "NCHW" else [batch, height, width, 3]
    nodes: list[onnx.NodeProto] = []
    name = "given"

    def add(operator: str, *more: str, **attributes: Any) -> None:
        nonlocal name
        nodes.append(helper.make_node(operator, [name, *more], [f"at{len(nodes)}"], **attributes))
        name = f"at{len(nodes) - 1}"

    constants = {
        "kernel": rng.normal(0, 0.3, (3, 3, 3, 3)).astype(np.float32),
        "twice": np.array([1, 1, stride, stride], np.float32),
        "scale": np.float32(1 / 255),
        "back": np.float32(255),
    }
    if kind != TensorProto.FLOAT:
        add("Cast", to=TensorProto.FLOAT)
        add("Mul", "scale")
    if layout == "NHWC":
        add("Transpose", perm=[0, 3, 1, 2])
    add("Conv", "kernel", pads=[1, 1, 1, 1], strides=[stride, stride])
    if stride > 1:
        add("Resize", "", "twice", mode="nearest")
    if end:
        add(end)
    if layout == "NHWC":
        add("Transpose", perm=[0, 2, 3, 1])
    if kind != TensorProto.FLOAT:
        add("Mul", "back")
        add("Cast", to=kind)
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("given", kind, shape)],
        [helper.make_tensor_value_info(name, kind, shape)],
        [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)
    return file


def image(width: int, height: int) -> Image:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def ran(file: Path, picture: Image, low: float, high: float, *, layout: str = "NCHW", kind: str = "float32") -> Image:
    """The translation by onnxruntime alone."""
    values = (picture / 255 * (high - low) + low).astype(kind)[None]
    given = np.ascontiguousarray(values.transpose(0, 3, 1, 2)) if layout == "NCHW" else values
    [result] = onnxruntime.InferenceSession(file).run(None, {"given": given})
    if layout == "NCHW":
        result = result.transpose(0, 2, 3, 1)
    pixels: Image = np.clip(np.round((result[0].astype(float) - low) / (high - low) * 255), 0, 255).astype(np.uint8)
    return pixels


@pytest.mark.parametrize(
    ("options", "values", "stride"),
    [
        ({}, (-1.0, 1.0), 1),
        ({"end": "Sigmoid", "layout": "NHWC"}, (0.0, 1.0), 1),
        ({"kind": TensorProto.UINT8, "end": "Relu"}, (0.0, 255.0), 1),
        ({"batch": 1, "stride": 2}, (-1.0, 1.0), 2),
        ({"stride": 4, "layout": "NHWC"}, (-1.0, 1.0), 4),
    ],
)
def test_layout_range_and_stride_are_found(
    options: dict[str, Any], values: tuple[float, float], stride: int, tmp_path: Path
) -> None:
    file = write_onnx(tmp_path / "net.onnx", **options)
    info = read_info(file)
    assert info.value_range == values
    assert (info.options["stride"], info.options["layout"]) == (stride, options.get("layout", "NCHW"))
    picture = image(88, 64)
    kind = "uint8" if "kind" in options else "float32"
    expected = ran(file, picture, *values, layout=options.get("layout", "NCHW"), kind=kind)
    translate = sim2real.load(file, device="cpu")
    assert np.abs(translate(picture).astype(int) - expected).max() <= 1
    batch = translate(np.stack([picture, picture[::-1]]))
    np.testing.assert_array_equal(batch[0], translate(picture))
    assert translate(image(67, 45)).shape == (45, 67, 3)  # padded to the stride


def test_a_range_that_the_graph_does_not_tell_is_asked_for(tmp_path: Path, cli: Cli) -> None:
    file = write_onnx(tmp_path / "net.onnx", end="")
    with pytest.raises(Sim2RealError, match=r"does not tell the range .* --set generator.options.value_range=\[0,1\]"):
        read_info(file)
    done = cli("import", file, "--set", "generator.options.value_range=[0,255]", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "values from 0 to 255" in done.stdout
    picture = image(40, 32)
    painted = sim2real.load(tmp_path / "runs/net", device="cpu")(picture)
    np.testing.assert_array_equal(painted, ran(file, picture, 0, 255))


def test_a_network_of_one_size_guides_frames_of_any_size(
    tmp_path: Path, cli: Cli, write_vkitti: Callable[..., Path]
) -> None:
    file = write_onnx(tmp_path / "net.onnx", size=(48, 32), batch=1)
    assert read_info(file).transfer.name == "guided"
    picture = image(48, 32)
    direct = sim2real.load(file, device="cpu", transfer="direct")(picture)
    np.testing.assert_array_equal(direct, ran(file, picture, -1, 1))
    sim = write_vkitti(tmp_path / "sim", 2, size=(120, 44))
    for command in (("convert", sim, "out", "--model", file), ("verify", "out")):
        done = cli(*command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    done = cli("convert", sim, "other", "--model", file, "--transfer", "direct", cwd=tmp_path)
    assert done.returncode == 1
    assert "48x32" in done.stderr
    assert not (tmp_path / "other" / ".sim2real" / "manifest.jsonl").exists()


def test_files_that_are_no_translators_are_refused(tmp_path: Path) -> None:
    def refused(model: onnx.ModelProto, reason: str, **options: Any) -> None:
        onnx.save(model, tmp_path / "bad.onnx", **options)
        with pytest.raises(Sim2RealError, match=f"bad.onnx: .*{reason}") as caught:
            read_info(tmp_path / "bad.onnx")
        assert "\n" not in str(caught.value)

    good = onnx.load(write_onnx(tmp_path / "good.onnx"))
    refused(good, r"another file \(weights.bin\)", save_as_external_data=True, location="weights.bin", size_threshold=0)
    good = onnx.load(tmp_path / "good.onnx")
    custom = onnx.load(tmp_path / "good.onnx")
    custom.graph.node[0].domain = "acme"
    refused(custom, "custom operator acme.Conv")
    two = onnx.load(tmp_path / "good.onnx")
    two.graph.input.append(helper.make_tensor_value_info("noise", TensorProto.FLOAT, [1]))
    refused(two, r"2 inputs \(given, noise\)")
    refused(onnx.load(write_onnx(tmp_path / "x.onnx", batch=4)), "batches of 4 images")
    grey = onnx.load(tmp_path / "good.onnx")
    grey.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1
    refused(grey, "")
    larger = onnx.load(write_onnx(tmp_path / "x.onnx", stride=2))
    [twice] = [tensor for tensor in larger.graph.initializer if tensor.name == "twice"]
    twice.CopyFrom(numpy_helper.from_array(np.array([1, 1, 4, 4], np.float32), "twice"))
    refused(larger, "to one of the same size")
    mixed = onnx.load(write_onnx(tmp_path / "x.onnx", kind=TensorProto.UINT8, end="Relu"))
    mixed.graph.node[-1].attribute[0].i = TensorProto.FLOAT
    mixed.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    refused(mixed, "both must be float, or both uint8")
    endless = onnx.load(tmp_path / "good.onnx")
    endless.graph.node.append(helper.make_node("Loop", ["", "", ""], ["y"], body=helper.make_graph([], "b", [], [])))
    refused(endless, "the operator Loop")
    silent = onnx.load(tmp_path / "good.onnx")
    del silent.graph.output[:]
    refused(silent, "no output")
    huge = onnx.load(write_onnx(tmp_path / "x.onnx", size=(100_000, 100_000)))
    refused(huge, "the most is")
    (tmp_path / "bad.onnx").write_bytes(b"\x08\x07\x12\x01x\xff\xff")
    with pytest.raises(Sim2RealError, match=r"bad\.onnx: a damaged ONNX file"):
        read_info(tmp_path / "bad.onnx")


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--set", "generator.options.value_range=[1,0]"], "a smaller and a larger number"),
        (["--set", "generator.options.value_range=x"], "must be 2 numbers"),
        (["--set", "generator.options.stride=0"], "at least 1"),
        (["--set", "data.size=5"], "of an ONNX file only"),
        (["--key", "G"], "--generator, --key and --recipe do not apply"),
        (["--generator", "resnet"], "--generator, --key and --recipe do not apply"),
    ],
)
def test_options_that_do_not_fit_are_refused(more: list[str], reason: str, tmp_path: Path, cli: Cli) -> None:
    file = write_onnx(tmp_path / "net.onnx", end="")
    done = cli("import", file, *more, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert reason in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_network_of_a_large_stride_and_a_file_of_another_name_are_known(tmp_path: Path) -> None:
    file = write_onnx(tmp_path / "net.onnx", stride=128)
    renamed = file.rename(tmp_path / "network")
    info = read_info(renamed)
    assert (info.name, info.options["stride"]) == ("onnx", 128)
    assert sim2real.load(renamed, device="cpu")(image(40, 30)).shape == (30, 40, 3)
