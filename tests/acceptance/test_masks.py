"""The recipes that use masks, from a rendered town to a verified conversion."""

import tomllib
from pathlib import Path

import pytest

from tests.commands import Cli, flags, json_lines, manifest, succeed


@pytest.fixture(scope="module")
def town(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classes")
    for look in ("sim", "real"):
        options = ("--look", look, "--frames", "8", "--size", "128x64", "--cameras", "0", "--seed", str(len(look)))
        succeed(cli("toytown", look, *options, cwd=folder))
    photos = folder / "photos"  # without masks
    photos.mkdir()
    for number, image in enumerate(sorted((folder / "real").rglob("rgb_*.jpg"))):
        image.rename(photos / f"{number:04}.jpg")
    train = ("train", "sim", "photos", "--recipe", "class-distribution", "--run", "run", "--device", "cpu")
    quick = ("data.size=[64, 32]", "train.steps=24", "data.workers=0", "method.options.every=8", "checkpoint.every=12")
    succeed(cli(*train, *flags(quick), cwd=folder))
    return folder


def test_a_conversion_uses_the_masks_of_the_dataset(cli: Cli, town: Path) -> None:
    succeed(cli("convert", "sim", "out", "--model", "run", "--device", "cpu", cwd=town))
    succeed(cli("verify", "out", cwd=town))
    frames = [line for line in manifest(town / "out").values() if line["status"] == "converted"]
    assert len(frames) == 8
    assert all(set(line["inputs_sha256"]) == {"segmentation"} for line in frames)
    succeed(cli("convert", "sim", "again", "--model", "run", "--device", "cpu", "--batch-size", "3", cwd=town))
    for line in frames:
        assert (town / "out" / line["path"]).read_bytes() == (town / "again" / line["path"]).read_bytes()
        assert (town / "out" / line["path"]).read_bytes() != (town / "sim" / line["path"]).read_bytes()


def test_labels_of_real_images_by_the_segmenter_are_kept_and_shown(cli: Cli, town: Path) -> None:
    from safetensors.torch import load_file

    from sim2real.model import find_model

    kept = load_file(find_model(town / "run", None))
    references = next(value for name, value in kept.items() if name.endswith("references"))
    labels = next(value for name, value in kept.items() if name.endswith("labels"))
    assert references.shape[:3] == labels.shape
    assert int(labels.min()) >= -1  # all were labelled
    succeed(cli("report", "run", cwd=town))
    assert sorted((town / "run/samples").glob("*.png"))


SMALL = ("data.size=[64, 32]", "data.load_size=[64, 32]", "generator.options.side=32", "data.workers=0")


@pytest.mark.parametrize("recipe", ["class-distribution", "labelled"])
def test_a_training_without_masks_is_refused(cli: Cli, town: Path, recipe: str) -> None:
    done = cli("train", "photos", "real", "--recipe", recipe, "--run", "none", "--device", "cpu", cwd=town)
    assert done.returncode == 1
    assert "segmentation" in done.stderr
    assert not (town / "none").exists()


def test_a_training_with_masks_mentions_the_recipe_that_uses_them(cli: Cli, town: Path) -> None:
    sets = flags((*SMALL, "train.steps=1"))
    for sim, real, mentioned in (("sim", "photos", True), ("photos", "sim", False)):
        done = cli("train", sim, real, "--recipe", "grid", "--run", f"of_{sim}", "--device", "cpu", *sets, cwd=town)
        assert done.returncode == 0, done.stderr
        assert ("--recipe labelled also learns from masks" in " ".join(done.stderr.split())) == mentioned


def test_a_training_with_masks_uses_the_recipe_labelled_by_default(cli: Cli, town: Path, tmp_path: Path) -> None:
    sets = flags((*SMALL, "train.steps=2", "device=cpu"))
    (tmp_path / "sim").symlink_to(town / "sim")
    (tmp_path / "photos").symlink_to(town / "photos")
    done = cli("train", "sim", "photos", *sets, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "all simulated frames have masks: recipe labelled" in " ".join(done.stderr.split())
    assert "into runs/labelled" in " ".join(done.stderr.split())
    own = tomllib.loads((tmp_path / "runs/labelled/config.toml").read_text())
    assert (own["recipe"], own["discriminator"]["name"]) == ("labelled", "projection")
    assert "trained 3 steps" in succeed(cli("train", "sim", "photos", "--resume", "--steps", "3", cwd=tmp_path))
    assert "runs/labelled: already finished" in succeed(cli("train", "--resume", cwd=tmp_path))
    converted = succeed(cli("convert", "sim", "out", "--limit", "1", cwd=tmp_path))
    assert "with runs/labelled/sim2real.safetensors" in converted


def test_a_model_of_the_recipe_labelled_converts_frames_without_masks(cli: Cli, town: Path) -> None:
    options = ("--recipe", "labelled", "--run", "labelled", "--device", "cpu")
    succeed(cli("train", "sim", "photos", *options, *flags((*SMALL, "train.steps=6", "log.every=2")), cwd=town))
    logged = json_lines(town / "labelled/metrics.jsonl")
    assert all({"D_real", "segmenter"} <= set(line) for line in logged if "adversarial_real" in line)
    succeed(cli("convert", "photos", "converted", "--model", "labelled", "--device", "cpu", cwd=town))
    succeed(cli("verify", "converted", cwd=town))
    assert len(sorted((town / "converted").glob("*.jpg"))) == 8
