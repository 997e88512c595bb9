"""Recipes without networks: their models, fitted in seconds, are used like all others."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.commands import Cli, Write, refused, succeed, training

RECIPES = ["reinhard", "histogram", "pixel-distribution", "fda", "augment"]
QUICK = ["data.size=[32, 32]", "data.workers=0", "train.steps=8", "device=cpu"]


def fit(recipe: str, photos: Path, run: Path, *sets: str) -> Path:
    import torch

    from sim2real.config import resolve
    from sim2real.training import Trainer

    torch.set_num_threads(1)
    config = resolve(recipe, sets=[*QUICK, *sets], sim=str(photos / "sim"), real=str(photos / "real"))
    for _ in Trainer.begin(config, run).train():
        pass
    return run


def pngs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.png"))}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_frame_is_translated_alike_in_every_batch_and_order(
    recipe: str, photos: Path, tmp_path: Path, paint: Write
) -> None:
    from sim2real.conversion import ConvertOptions, convert, verify
    from sim2real.imageio import read_rgb

    run = fit(recipe, photos, tmp_path / "run")
    source = paint(tmp_path / "in", 5, size=(39, 21), seed=4)
    outs = [tmp_path / name for name in ("one", "three", "part")]
    options = {"model": run, "device": "cpu"}
    convert(source, outs[0], ConvertOptions(**options))  # type: ignore[arg-type]  # mypy cannot match the values
    convert(source, outs[1], ConvertOptions(**options, batch_size=3, workers=2))  # type: ignore[arg-type]  # as above
    convert(source, outs[2], ConvertOptions(**options, include=("0003.png",)))  # type: ignore[arg-type]  # as above
    assert pngs(outs[0]) == pngs(outs[1])
    assert pngs(outs[2]) == {"0003.png": pngs(outs[0])["0003.png"]}
    assert verify(outs[0]).ok
    before, after = (read_rgb(folder / "0003.png") for folder in (source, outs[0]))
    assert before.shape == after.shape
    assert not np.array_equal(before, after)


@pytest.mark.parametrize("recipe", RECIPES)
def test_fitting_is_repeatable_and_resumable(recipe: str, photos: Path, tmp_path: Path) -> None:
    from sim2real.config import resolve
    from sim2real.training import Trainer

    runs = [fit(recipe, photos, tmp_path / name) for name in ("a", "b")]
    part = fit(recipe, photos, tmp_path / "part", "train.steps=3")
    config = resolve(recipe, sets=QUICK, sim=str(photos / "sim"), real=str(photos / "real"))
    trainer = Trainer.resume(config, part)
    assert trainer.step == 3
    for _ in trainer.train():
        pass
    for direction in ("sim2real", "real2sim"):
        first, *others = [(run / f"{direction}.safetensors").read_bytes() for run in (*runs, part)]
        assert others == [first, first]


def test_both_directions_are_fitted(photos: Path, tmp_path: Path) -> None:
    from sim2real.imageio import read_rgb
    from sim2real.translator import load

    run = fit("reinhard", photos, tmp_path / "run", "data.validation=0", "train.steps=18")
    sim, real = ([read_rgb(path) for path in sorted((photos / side).iterdir())] for side in ("sim", "real"))
    translate = {direction: load(run, direction=direction, device="cpu") for direction in ("sim2real", "real2sim")}
    gap = abs(np.mean(sim) - np.mean(real))
    assert abs(np.mean([translate["sim2real"](image) for image in sim]) - np.mean(real)) < gap / 2
    assert abs(np.mean([translate["real2sim"](image) for image in real]) - np.mean(sim)) < gap / 2


def test_a_preview_shows_the_frames_of_a_conversion(cli: Cli, photos: Path, tmp_path: Path, paint: Write) -> None:
    from sim2real.imageio import read_rgb

    source = paint(tmp_path / "in", 3, size=(160, 40))  # previews enlarge narrower frames
    trained = succeed(cli(*training(photos, QUICK, "--recipe", "fda", "--run", "run"), cwd=tmp_path))
    assert "trained 8 steps" in trained
    assert "train longer" not in trained
    succeed(cli("convert", source, "out", "--model", "run", cwd=tmp_path))
    succeed(cli("preview", "run", source, cwd=tmp_path))
    record = json.loads((tmp_path / "out/.sim2real/conversion.json").read_text())
    assert record["generator"]["name"] == "fda"
    sheet = read_rgb(tmp_path / "preview.png").astype(np.float32)
    for path in sorted((tmp_path / "out").glob("*.png")):
        made = read_rgb(path)
        found = cv2.matchTemplate(sheet, made.astype(np.float32), cv2.TM_SQDIFF)  # rounding depends on the processor
        top, left = np.unravel_index(found.argmin(), found.shape)
        assert np.array_equal(sheet[top : top + made.shape[0], left : left + made.shape[1]], made)


def test_a_baseline_cannot_be_exported_or_tiled(cli: Cli, photos: Path, tmp_path: Path) -> None:
    fit("reinhard", photos, tmp_path / "run")
    refused(cli("export", "run", "model.onnx", cwd=tmp_path), "'reinhard' cannot be exported: it computes statistics")
    assert not (tmp_path / "model.onnx").exists()
    done = cli("convert", photos / "sim", "out", "--model", "run", "--tile", 32, cwd=tmp_path)
    assert done.returncode == 1
    assert "'reinhard' looks at whole frames" in done.stderr


def test_a_baseline_is_not_tiled_for_lack_of_memory(photos: Path, tmp_path: Path) -> None:
    from sim2real.engines.tiling import CannotTileError, check_tiling
    from sim2real.model import load_generator

    generator, _ = load_generator(fit("reinhard", photos, tmp_path / "run") / "sim2real.safetensors")
    with pytest.raises(CannotTileError, match="as a whole"):
        check_tiling(generator)
