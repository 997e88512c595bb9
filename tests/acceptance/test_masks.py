"""The recipes that see masks, from a rendered town to a verified conversion."""

import json
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def town(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classes")
    for look in ("sim", "real"):
        words = ("toytown", look, "--look", look, "--frames", "8", "--size", "128x64", "--cameras", "0")
        done = cli(*words, "--seed", str(len(look)), cwd=folder)
        assert done.returncode == 0, done.stderr
    photos = folder / "photos"  # of real images nobody knows the classes
    photos.mkdir()
    for number, image in enumerate(sorted((folder / "real").rglob("rgb_*.jpg"))):
        image.rename(photos / f"{number:04}.jpg")
    train = ("train", "sim", "photos", "--recipe", "class-distribution", "--run", "run", "--device", "cpu")
    quick = ("data.size=[64, 32]", "train.steps=24", "data.workers=0", "method.options.every=8", "checkpoint.every=12")
    done = cli(*train, *(word for each in quick for word in ("--set", each)), cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_it_converts_by_the_datasets_own_masks(cli: Cli, town: Path) -> None:
    done = cli("convert", "sim", "out", "--model", "run", "--device", "cpu", cwd=town)
    assert done.returncode == 0, done.stderr
    assert cli("verify", "out", cwd=town).returncode == 0
    lines = [json.loads(line) for line in (town / "out/.sim2real/manifest.jsonl").read_text().splitlines()]
    frames = [line for line in lines if line["status"] == "converted"]
    assert len(frames) == 8
    assert all(set(line["inputs_sha256"]) == {"segmentation"} for line in frames)
    again = cli("convert", "sim", "again", "--model", "run", "--device", "cpu", "--batch-size", "3", cwd=town)
    assert again.returncode == 0, again.stderr
    for line in frames:
        assert (town / "out" / line["path"]).read_bytes() == (town / "again" / line["path"]).read_bytes()
        assert (town / "out" / line["path"]).read_bytes() != (town / "sim" / line["path"]).read_bytes()


def test_what_the_segmenter_says_of_real_images_is_kept_and_shown(cli: Cli, town: Path) -> None:
    from safetensors.torch import load_file

    from sim2real.model import find_model

    kept = load_file(find_model(town / "run", None))
    references = next(value for name, value in kept.items() if name.endswith("references"))
    labels = next(value for name, value in kept.items() if name.endswith("labels"))
    assert references.shape[:3] == labels.shape
    assert int(labels.min()) >= -1  # each was looked at
    assert cli("report", "run", cwd=town).returncode == 0
    assert sorted((town / "run/samples").glob("*.png"))


@pytest.mark.parametrize("recipe", ["class-distribution", "labelled"])
def test_without_masks_it_says_so(cli: Cli, town: Path, recipe: str) -> None:
    done = cli("train", "photos", "real", "--recipe", recipe, "--run", "none", "--device", "cpu", cwd=town)
    assert done.returncode == 1
    assert "segmentation" in done.stderr
    assert not (town / "none").exists()


def test_who_has_masks_is_told_of_the_recipe_that_learns_from_them(cli: Cli, town: Path) -> None:
    few = ("data.size=[64, 32]", "data.load_size=[64, 32]", "generator.options.side=32", "train.steps=1")
    sets = [word for each in (*few, "data.workers=0") for word in ("--set", each)]
    for sim, real, told in (("sim", "photos", True), ("photos", "sim", False)):
        done = cli("train", sim, real, "--recipe", "grid", "--run", f"of_{sim}", "--device", "cpu", *sets, cwd=town)
        assert done.returncode == 0, done.stderr
        assert ("--recipe labelled also learns from masks" in " ".join(done.stderr.split())) == told


def test_masks_are_learnt_from_where_nobody_names_a_recipe(cli: Cli, town: Path, tmp_path: Path) -> None:
    few = ("data.size=[64, 32]", "data.load_size=[64, 32]", "generator.options.side=32", "train.steps=2")
    sets = [word for each in (*few, "data.workers=0", "device=cpu") for word in ("--set", each)]
    (tmp_path / "sim").symlink_to(town / "sim")
    (tmp_path / "photos").symlink_to(town / "photos")
    done = cli("train", "sim", "photos", *sets, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "all simulated frames have masks: recipe labelled" in " ".join(done.stderr.split())
    own = tomllib.loads((tmp_path / "runs/default/config.toml").read_text())
    assert (own["recipe"], own["discriminator"]["name"]) == ("labelled", "projection")
    further = cli("train", "sim", "photos", "--resume", "--steps", "3", cwd=tmp_path)
    assert further.returncode == 0, further.stderr
    assert "trained 3 steps" in further.stdout


def test_what_learnt_from_masks_converts_frames_that_have_none(cli: Cli, town: Path) -> None:
    few = ("data.size=[64, 32]", "data.load_size=[64, 32]", "generator.options.side=32", "train.steps=6", "log.every=2")
    sets = [word for each in (*few, "data.workers=0") for word in ("--set", each)]
    done = cli("train", "sim", "photos", "--recipe", "labelled", "--run", "knows", "--device", "cpu", *sets, cwd=town)
    assert done.returncode == 0, done.stderr
    logged = [json.loads(line) for line in (town / "knows/metrics.jsonl").read_text().splitlines()]
    assert all({"D_real", "segmenter"} <= set(line) for line in logged if "adversarial_real" in line)
    done = cli("convert", "photos", "converted", "--model", "knows", "--device", "cpu", cwd=town)
    assert done.returncode == 0, done.stderr
    assert cli("verify", "converted", cwd=town).returncode == 0
    assert len(sorted((town / "converted").glob("*.jpg"))) == 8
