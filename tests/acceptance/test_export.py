import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped]  # it ships no types
import pytest

from tests.commands import Cli, Write, refused

Install = Callable[[str, str], None]

PLUGIN = """
import torch
from sim2real import hookimpl
from sim2real.networks.generators import EncoderDecoder


@hookimpl
def register_generators(register):
    register("own", f"{__name__}:Own", summary="a generator of a plugin")


class Own(EncoderDecoder):
    def forward(self, images):
        height, width = images.shape[-2:]
        return BODY
"""
OWN_SIZE = "super().forward(images) + int(height) / 1000"  # runs at any size, but adds the height of the traced image
ONE_BY_ONE = "torch.cat([EncoderDecoder.forward(self, image[None]) for image in images])"
NO_ONNX = "super().forward(torch.special.bessel_j0(images))"


@pytest.mark.parametrize("direction", ["sim2real", "real2sim"])
def test_an_exported_run_runs_in_onnxruntime(cli: Cli, tmp_path: Path, write_run: Write, direction: str) -> None:
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


def test_export_reports_as_json(cli: Cli, tmp_path: Path, write_run: Write) -> None:
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


@pytest.fixture
def own_run(write_run: Write, install: Install, tmp_path: Path) -> Callable[[str], Path]:
    """Write a run whose generator, of a plugin, returns the value of an expression."""

    def write(body: str) -> Path:
        install("own", PLUGIN.replace("BODY", body))
        return write_run(tmp_path / "run", name="own")

    return write


def test_a_network_that_is_bound_to_a_size_needs_a_fixed_size(
    cli: Cli, tmp_path: Path, own_run: Callable[[str], Path], site: Path
) -> None:
    run = own_run(OWN_SIZE)
    error = refused(cli("export", run, tmp_path / "town.onnx", path=site))
    assert error.startswith(f"error: {run / 'sim2real.safetensors'}: 'own' cannot be exported for images of ")
    assert error.endswith("grey levels apart, more than 0.5; try a fixed size: --size WxH\n")
    assert list(tmp_path.glob("*.onnx")) == []
    done = cli("export", run, tmp_path / "town.onnx", "--size", "64x48", path=site)
    assert (done.returncode, done.stderr) == (0, "")
    assert "images of 64x48; dynamic axes: batch\n" in done.stdout


def test_a_network_that_is_bound_to_one_image_is_exported_so_with_a_warning(
    cli: Cli, tmp_path: Path, own_run: Callable[[str], Path], site: Path
) -> None:
    run = own_run(ONE_BY_ONE)
    done = cli("export", run, tmp_path / "town.onnx", path=site)
    assert done.returncode == 0
    assert done.stderr.startswith("warning: fixed batch size of 1, a free one cannot be exported: ")
    assert done.stderr.count("\n") == 1
    assert "images of any size; dynamic axes: height, width\n" in done.stdout
    assert "RGB float32 (1, 3, H, W)" in done.stdout
    facts = json.loads(cli("export", run, tmp_path / "town.onnx", "--json", "--size", "64x48", path=site).stdout)
    assert facts["dynamic"] == []
    assert len(facts["warnings"]) == 1


def test_export_warns_of_parts_of_the_model_that_are_not_in_the_graph(
    cli: Cli, tmp_path: Path, write_run: Write
) -> None:
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


def test_an_operation_that_onnx_lacks_is_an_error_of_one_line(
    cli: Cli, tmp_path: Path, own_run: Callable[[str], Path], site: Path
) -> None:
    done = cli("export", own_run(NO_ONNX), tmp_path / "town.onnx", "--size", "64x48", path=site)
    refused(done, "'own' cannot be exported for images of 64x48: ", "bessel_j0")
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
def test_wrong_arguments_are_an_error_of_one_line(
    cli: Cli, tmp_path: Path, write_run: Write, arguments: tuple[str, ...], message: str
) -> None:
    write_run(tmp_path / "run")
    assert refused(cli("export", *arguments, cwd=tmp_path)).startswith(message)


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_is_an_error_of_one_line(
    cli: Cli, tmp_path: Path, write_run: Write, site: Path, package: str
) -> None:
    (site / f"{package}.py").write_text(f"raise ModuleNotFoundError('no such module', name={package!r})\n")
    done = cli("export", write_run(tmp_path / "run"), tmp_path / "town.onnx", path=site)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f'error: export needs {package}, not installed here: pip install "sim2real[export]"\n'
