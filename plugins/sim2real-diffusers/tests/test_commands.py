"""The commands of sim2real with a pipeline, as a user runs them."""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny import folders

__all__ = ["folders"]  # a fixture

pytestmark = pytest.mark.skipif(
    "diffusers" not in {point.name for point in entry_points(group="sim2real")},
    reason="the package sim2real-diffusers is not installed",
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two frames in the layout of Virtual KITTI 2, with depth and classes."""
    root = tmp_path_factory.mktemp("data") / "sim"
    scene, rng = root / "Scene01" / "clone", np.random.default_rng(0)
    depths = np.tile(np.arange(500, 500 + 240 * 10, 10, dtype=np.uint16), (120, 1))
    classes = np.zeros((120, 240, 3), np.uint8)
    classes[:60], classes[60:] = (255, 200, 90), (100, 60, 100)  # BGR
    picture = cv2.GaussianBlur(rng.integers(0, 255, (120, 240, 3), np.uint8), (0, 0), 2)
    for number in range(2):
        for kind, suffix, pixels in (
            ("rgb", "jpg", picture),
            ("depth", "png", depths),
            ("classSegmentation", "png", classes),
        ):
            name = "classgt" if kind == "classSegmentation" else kind
            path = scene / "frames" / kind / "Camera_0" / f"{name}_{number:05}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), pixels)
    (scene / "colors.txt").write_text("Category r g b\nSky 90 200 255\nRoad 100 60 100\n")
    return root


def sim2real(folder: Path, *args: object, code: int = 0) -> str:
    """Run a command in a folder; returns what it printed, without line breaks."""
    variables = {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "NO_COLOR": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    variables = {**os.environ, **variables}
    command = [sys.executable, "-m", "sim2real", *map(str, args)]
    done = subprocess.run(command, check=False, cwd=folder, env=variables, capture_output=True, text=True)
    printed = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == code, printed
    assert "Traceback" not in printed
    return printed


def options(**values: object) -> list[str]:
    keys = {f"generator.options.{key.replace('__', '.')}": value for key, value in values.items()}
    return [part for key, value in keys.items() for part in ("--set", f"{key}={value}")]


def test_a_pipeline_is_imported_and_converts_with_the_dataset_s_own_labels(
    folders: dict[str, Path], dataset: Path, tmp_path: Path
) -> None:
    model = tmp_path / "models" / "sd"
    shutil.copytree(folders["stable_diffusion"], model)
    networks = {f"controlnets__{kind}": folders[kind] for kind in ("depth", "segmentation")}
    given = options(steps=2, prompt="a street", **networks)
    sim2real(tmp_path, "import", model, "--recipe", "diffusers", *given, "--set", "transfer.size=64")
    told = sim2real(tmp_path, "convert", dataset, "out", "--model", "runs/sd")
    assert "2 frames converted" in told
    assert "guided at 64 pixels" in told
    record = json.loads((tmp_path / "out" / ".sim2real" / "conversion.json").read_text())
    assert record["provenance"]["pipeline"] == "StableDiffusionControlNetImg2ImgPipeline"
    assert record["provenance"]["model"].startswith("sd (")
    assert record["provenance"].keys() >= {
        "diffusers",
        "transformers",
        "seeds",
        "ControlNet depth",
        "ControlNet segmentation",
    }
    assert record["generator"]["options"]["prompt"] == "a street"
    assert record["generator"]["options"]["strength"] == 0.5
    lines = [json.loads(line) for line in (tmp_path / "out" / ".sim2real" / "manifest.jsonl").read_text().splitlines()]
    frames = [line for line in lines if line["status"] == "converted"]
    assert [sorted(line["inputs_sha256"]) for line in frames] == [["depth", "segmentation"]] * 2
    for path in dataset.rglob("*.png"):
        assert (tmp_path / "out" / path.relative_to(dataset)).read_bytes() == path.read_bytes()
    frame = "Scene01/clone/frames/rgb/Camera_0/rgb_00000.jpg"
    before, after = (cv2.imread(str(root / frame)) for root in (dataset, tmp_path / "out"))
    assert before is not None
    assert after is not None
    assert before.shape == after.shape
    assert (before != after).any()
    sim2real(tmp_path, "verify", "out")
    card = (tmp_path / "runs" / "sd" / "README.md").read_text()
    assert str(tmp_path) not in card
    assert "StableDiffusionControlNetImg2ImgPipeline" in card
    # equal when it is repeated, whatever the batch
    sim2real(tmp_path, "convert", dataset, "again", "--model", "runs/sd", "--batch-size", 2)
    for name in ("rgb_00000.jpg", "rgb_00001.jpg"):
        one, other = (tmp_path / out / "Scene01/clone/frames/rgb/Camera_0" / name for out in ("out", "again"))
        assert one.read_bytes() == other.read_bytes()
    # a model that changed in the meantime does not continue the conversion
    weights = model / "unet" / "diffusion_pytorch_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    told = sim2real(tmp_path, "convert", dataset, "out", "--model", "runs/sd", code=1)
    assert "converted so far with other settings (provenance was" in told


def test_the_recipe_needs_no_import_and_matches_the_camera(
    folders: dict[str, Path], dataset: Path, tmp_path: Path
) -> None:
    real = tmp_path / "photos"
    real.mkdir()
    rng = np.random.default_rng(1)
    for number in range(3):
        photo = cv2.GaussianBlur(rng.integers(0, 255, (240, 320, 3), np.uint8), (0, 0), 2)
        cv2.imwrite(str(real / f"{number}.png"), photo)
    given = options(model=folders["stable_diffusion"], steps=2, controlnets__depth=folders["depth"])
    more = ["--set", "transfer.size=64", "--set", "data.size=[64,32]", "--set", "camera.match=true"]
    told = sim2real(tmp_path, "train", dataset, real, "--recipe", "diffusers", "--run", "runs/own", *given, *more)
    assert "camera of sim2real" in told
    assert not (tmp_path / "runs" / "own" / "real2sim.safetensors").exists()
    sim2real(tmp_path, "convert", dataset, "out", "--model", "runs/own")


def test_an_editing_pipeline_is_imported(folders: dict[str, Path], dataset: Path, tmp_path: Path) -> None:
    given = options(steps=1)
    model = folders["flux2_klein"]
    sim2real(tmp_path, "import", model, "--run", "runs/edit", "--recipe", "diffusers-edit", *given)
    assert "1 frames converted" in sim2real(tmp_path, "convert", dataset, "out", "--model", "runs/edit", "--limit", 1)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "a folder; a pipeline of diffusers is read by the plugin sim2real-diffusers: add --recipe diffusers"),
        (["--recipe", "cyclegan"], "the generator 'resnet' reads no folders"),
        (["--recipe", "diffusers", "--set", "generator.options.controlnets.depth=gone"], "there is no such folder"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    folders: dict[str, Path], tmp_path: Path, args: list[str], message: str
) -> None:
    assert message in sim2real(tmp_path, "import", folders["stable_diffusion"], "--run", "runs/x", *args, code=1)
    assert not (tmp_path / "runs").exists()


def test_a_folder_is_no_model_before_it_is_imported(folders: dict[str, Path], dataset: Path, tmp_path: Path) -> None:
    told = sim2real(tmp_path, "convert", dataset, "out", "--model", folders["stable_diffusion"], code=1)
    assert "import it first, with sim2real-diffusers: sim2real import" in told
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_gone_is_named_before_anything_is_written(
    folders: dict[str, Path], dataset: Path, tmp_path: Path
) -> None:
    model = tmp_path / "sd"
    shutil.copytree(folders["stable_diffusion"], model)
    sim2real(tmp_path, "import", model, "--recipe", "diffusers")
    shutil.rmtree(model)
    told = sim2real(tmp_path, "convert", dataset, "out", "--model", "runs/sd", code=1)
    assert f"generator.options.model = '{model}': there is no such folder" in told
    assert not (tmp_path / "out").exists()
