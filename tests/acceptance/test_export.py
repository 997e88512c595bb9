import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped]  # it ships no types
import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]
Write = Callable[..., Path]
Install = Callable[[str, str], None]

PLUGIN = """
import torch
from sim2real import hookimpl
from sim2real.networks.generators import EncoderDecoder


@hookimpl
def register_generators(register):
    register("own", f"{__name__}:Own", summary="a generator of somebody")


class Own(EncoderDecoder):
    def forward(self, images):
        height, width = images.shape[-2:]
        return BODY
"""
OWN_SIZE = "super().forward(images) + int(height) / 1000"  # runs at any size, but as at the one that it was traced at
ONE_BY_ONE = "torch.cat([EncoderDecoder.forward(self, image[None]) for image in images])"
NO_ONNX = "super().forward(torch.special.bessel_j0(images))"


@pytest.mark.parametrize("direction", ["sim2real", "real2sim"])
def test_a_run_is_exported_and_compared(cli: Cli, tmp_path: Path, write_run: Write, direction: str) -> None:
    for seed, written in enumerate(("sim2real", "real2sim")):
        write_run(tmp_path / "run", written, seed=seed)
    choice = () if direction == "sim2real" else ("--direction", direction)
    done = cli("export", "run", "town.onnx", *choice, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"town.onnx: {direction}, ")
    assert "images of any size; dynamic axes: batch, height, width\n" in done.stdout
    assert "grey levels apart (0.5 allowed), PSNR " in done.stdout
    [use] = [line.removeprefix("use: ") for line in done.stdout.splitlines() if line.startswith("use: ")]
    use = use.replace('"town.onnx"', repr(str(tmp_path / "town.onnx")))
    names = {"onnxruntime": onnxruntime, "images": np.zeros((2, 3, 33, 47), np.float32)}
    exec(use, names)
    assert np.shape(names["translated"]) == (2, 3, 33, 47)


def test_the_same_in_json(cli: Cli, tmp_path: Path, write_run: Write) -> None:
    model = write_run(tmp_path / "run") / "sim2real.safetensors"
    file = tmp_path / "town.onnx"
    done = cli("export", model, file, "--json", "--size", "50x37", "--opset", 18, "--tolerance", 0.1)
    assert (done.returncode, done.stderr) == (0, "")
    facts = json.loads(done.stdout)
    assert facts["file"] == str(file)
    assert facts["bytes"] == file.stat().st_size
    assert (facts["opset"], facts["size"], facts["dynamic"], facts["warnings"]) == (18, [50, 37], ["batch"], [])
    assert 0 < facts["parity"]["difference"] < facts["parity"]["tolerance"] == 0.1
    assert facts["parity"]["psnr"] > 80
    assert facts["parity"]["shapes"] == [[1, 37, 50], [2, 37, 50]]
    assert facts["metadata"]["sim2real.direction"] == "sim2real"


def test_a_network_that_is_bound_to_a_size_asks_for_one(
    cli: Cli, tmp_path: Path, write_run: Write, site: Path, install: Install
) -> None:
    install("own", PLUGIN.replace("BODY", OWN_SIZE))
    run = write_run(tmp_path / "run", name="own")
    refused = cli("export", run, tmp_path / "town.onnx", path=site)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith(f"error: {run / 'sim2real.safetensors'}: 'own' cannot be exported for images of ")
    assert refused.stderr.endswith("grey levels apart, more than 0.5; try a fixed size: --size WxH\n")
    assert refused.stderr.count("\n") == 1
    assert list(tmp_path.glob("*.onnx")) == []
    done = cli("export", run, tmp_path / "town.onnx", "--size", "64x48", path=site)
    assert (done.returncode, done.stderr) == (0, "")
    assert "images of 64x48; dynamic axes: batch\n" in done.stdout


def test_a_network_that_is_bound_to_one_image_is_exported_so_with_a_warning(
    cli: Cli, tmp_path: Path, write_run: Write, site: Path, install: Install
) -> None:
    install("own", PLUGIN.replace("BODY", ONE_BY_ONE))
    run = write_run(tmp_path / "run", name="own")
    done = cli("export", run, tmp_path / "town.onnx", path=site)
    assert done.returncode == 0
    assert done.stderr.startswith("warning: fixed batch size of 1, a free one cannot be exported: ")
    assert done.stderr.count("\n") == 1
    assert "images of any size; dynamic axes: height, width\n" in done.stdout
    assert "RGB float32 (1, 3, H, W)" in done.stdout
    facts = json.loads(cli("export", run, tmp_path / "town.onnx", "--json", "--size", "64x48", path=site).stdout)
    assert facts["dynamic"] == []
    assert len(facts["warnings"]) == 1


def test_what_a_graph_leaves_out_of_a_model_is_told(cli: Cli, tmp_path: Path, write_run: Write) -> None:
    from sim2real.camera import Camera, Channel

    guided = {"transfer": {"name": "guided"}}
    write_run(tmp_path / "run", settings=guided, camera=Camera(luma=Channel(blur=0.2)))
    done = cli("export", "run", "town.onnx", cwd=tmp_path)
    assert done.returncode == 0
    first, second = done.stderr.splitlines()
    assert first.startswith("warning: the model uses guided transfer, but the graph contains only the generator")
    assert second.startswith("warning: the model's camera is not in the graph (")
    facts = json.loads(cli("export", "run", "town.onnx", "--json", cwd=tmp_path).stdout)
    assert [f"warning: {line}" for line in facts["warnings"]] == [first, second]


def test_a_network_that_onnx_has_no_words_for_is_one_line(
    cli: Cli, tmp_path: Path, write_run: Write, site: Path, install: Install
) -> None:
    install("own", PLUGIN.replace("BODY", NO_ONNX))
    run = write_run(tmp_path / "run", name="own")
    done = cli("export", run, tmp_path / "town.onnx", "--size", "64x48", path=site)
    assert (done.returncode, done.stdout) == (1, "")
    assert "'own' cannot be exported for images of 64x48: " in done.stderr
    assert "bessel_j0" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.glob("*.onnx")) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "town.pt"), "error: town.pt: name a file that ends in .onnx, e.g. town.onnx"),
        (("run", "nowhere/town.onnx"), "error: nowhere: no such folder; name a file in a folder that exists"),
        (("nothing", "town.onnx"), "error: nothing: no such model"),
        (("run", "town.onnx", "--direction", "real2sim"), "error: run: this run has no real2sim.safetensors"),
    ],
)
def test_mistakes_are_one_line(
    cli: Cli, tmp_path: Path, write_run: Write, arguments: tuple[str, ...], message: str
) -> None:
    write_run(tmp_path / "run")
    done = cli("export", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_one_line(cli: Cli, tmp_path: Path, write_run: Write, site: Path, package: str) -> None:
    (site / f"{package}.py").write_text(f"raise ModuleNotFoundError('no such module', name={package!r})\n")
    done = cli("export", write_run(tmp_path / "run"), tmp_path / "town.onnx", path=site)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f'error: export needs {package}, not installed here: pip install "sim2real[export]"\n'
