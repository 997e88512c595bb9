"""The recipes that train nothing: fitted in moments, they give models like any other."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]
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


def images(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.png"))}


@pytest.mark.parametrize("recipe", RECIPES)
def test_frames_are_the_same_in_every_batch_and_order(
    recipe: str, photos: Path, tmp_path: Path, paint: Callable[..., Path]
) -> None:
    from sim2real.conversion import ConvertOptions, convert, verify
    from sim2real.imageio import read_rgb

    run = fit(recipe, photos, tmp_path / "run")
    source = paint(tmp_path / "in", 5, size=(39, 21), seed=4)
    outs = [tmp_path / name for name in ("one", "three", "part")]
    options = {"model": run, "device": "cpu"}
    convert(source, outs[0], ConvertOptions(**options))  # type: ignore[arg-type]  # mypy mixes up the two
    convert(source, outs[1], ConvertOptions(**options, batch_size=3, workers=2))  # type: ignore[arg-type]  # as above
    convert(source, outs[2], ConvertOptions(**options, include=("0003.png",)))  # type: ignore[arg-type]  # as above
    assert images(outs[0]) == images(outs[1])
    assert images(outs[2]) == {"0003.png": images(outs[0])["0003.png"]}
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


def test_both_ways_are_fitted(photos: Path, tmp_path: Path) -> None:
    from sim2real.imageio import read_rgb
    from sim2real.translator import load

    run = fit("reinhard", photos, tmp_path / "run", "data.validation=0", "train.steps=18")
    sim, real = ([read_rgb(path) for path in sorted((photos / side).iterdir())] for side in ("sim", "real"))
    way = {direction: load(run, direction=direction, device="cpu") for direction in ("sim2real", "real2sim")}
    gap = abs(np.mean(sim) - np.mean(real))
    assert abs(np.mean([way["sim2real"](image) for image in sim]) - np.mean(real)) < gap / 2
    assert abs(np.mean([way["real2sim"](image) for image in real]) - np.mean(sim)) < gap / 2


def test_a_preview_shows_what_a_conversion_makes(
    cli: Cli, photos: Path, tmp_path: Path, paint: Callable[..., Path]
) -> None:
    from sim2real.imageio import read_rgb

    source = paint(tmp_path / "in", 3, size=(160, 40))  # narrower ones are drawn larger

    sets = [word for text in QUICK for word in ("--set", text)]
    done = cli("train", photos / "sim", photos / "real", "--recipe", "fda", "--run", "run", *sets, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "trained 8 steps" in done.stdout
    for command in (("convert", source, "out", "--model", "run"), ("preview", "run", source)):
        done = cli(*command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out/.sim2real/conversion.json").read_text())
    assert record["generator"]["name"] == "fda"
    sheet = read_rgb(tmp_path / "preview.png").astype(np.float32)
    for path in sorted((tmp_path / "out").glob("*.png")):
        made = read_rgb(path)
        found = cv2.matchTemplate(sheet, made.astype(np.float32), cv2.TM_SQDIFF)  # how exact depends on the processor
        top, left = np.unravel_index(found.argmin(), found.shape)
        assert np.array_equal(sheet[top : top + made.shape[0], left : left + made.shape[1]], made)


def test_what_a_baseline_cannot_do_is_told_in_a_line(cli: Cli, photos: Path, tmp_path: Path) -> None:
    fit("reinhard", photos, tmp_path / "run")
    done = cli("export", "run", "model.onnx", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "'reinhard' processes whole frames" in done.stderr
    assert not (tmp_path / "model.onnx").exists()
    done = cli("convert", photos / "sim", "out", "--model", "run", "--tile", 32, cwd=tmp_path)
    assert done.returncode == 1
    assert "'reinhard' looks at whole frames" in done.stderr


def test_tiles_are_refused_where_memory_is_out(photos: Path, tmp_path: Path) -> None:
    from sim2real.engines.tiling import CannotTileError, check_tiling
    from sim2real.model import load_generator

    generator, _ = load_generator(fit("reinhard", photos, tmp_path / "run") / "sim2real.safetensors")
    with pytest.raises(CannotTileError, match="as a whole"):
        check_tiling(generator)
