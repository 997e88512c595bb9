"""Which recipe a training begins with, of which nobody names one."""

import os
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from sim2real.cli.init import settings_text
from sim2real.config import Config
from sim2real.errors import SettingsError
from sim2real.training.begin import prepare
from sim2real.training.run import RunFolder
from sim2real_toytown import render_dataset


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``sim`` with masks, ``some``, where one frame has none, and ``photos``, which have none."""
    folder = tmp_path_factory.mktemp("town")
    render_dataset(folder / "sim", frames=3, size=(64, 32), cameras=(0,))
    shutil.copytree(folder / "sim", folder / "some")
    next((folder / "some").rglob("classgt_*.png")).unlink()
    (folder / "photos").mkdir()
    for image in (folder / "sim").rglob("rgb_*"):
        shutil.copy(image, folder / "photos")
    return folder


@pytest.mark.parametrize(
    ("sim", "named", "recipe", "run"),
    [
        ("sim", {}, "labelled", "runs/labelled"),
        ("sim", {"run": "mine"}, "labelled", "mine"),
        ("sim", {"sets": ["discriminator.options.width=8", "train.steps=5"]}, "labelled", "runs/labelled"),
        ("some", {}, "default", "runs/default"),
        ("photos", {}, "default", "runs/default"),
        ("sim", {"recipe": "default"}, "default", "runs/default"),
        ("sim", {"recipe": "combined"}, "combined", "runs/combined"),
        ("sim", {"sets": ["recipe=default"]}, "default", "runs/default"),
        ("sim", {"settings": {"recipe": "grid"}}, "grid", "runs/grid"),
        ("sim", {"file": {"recipe": "default"}}, "default", "runs/default"),
        ("sim", {"sets": ["discriminator.name=patch"]}, "default", "runs/default"),
        ("sim", {"sets": ["discriminator.options.of_a_plugin=3"]}, "default", "runs/default"),
        ("sim", {"sets": ["method.name=cyclegan"]}, "default", "runs/default"),
    ],
)
def test_masks_are_learnt_from_unless_somebody_says_otherwise(  # noqa: PLR0917
    town: Path, sim: str, named: dict[str, Any], recipe: str, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told: list[str] = []
    real = town / ("sim" if sim == "photos" else "photos")
    config = prepare(**{"recipe": None, **named}, notify=told.append, sim=str(town / sim), real=str(real))
    assert (config.recipe, str(config.run_folder)) == (recipe, run)
    assert ["labelled" in line for line in told] == ([True] if recipe == "labelled" else [])


def test_only_images_that_are_trained_on_need_masks(
    town: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    masked = {path.name[-9:-4] for path in (town / "some").rglob("classgt_*.png")}
    sets = [f"data.sim_include={[f'*{number}.jpg' for number in sorted(masked)]}"]
    config = prepare(None, None, sets, sim=str(town / "some"), real=str(town / "photos"))
    assert config.recipe == "labelled"


def begin(sim: Path, real: Path) -> Config:
    """Begin a training that names neither a recipe nor a folder; returns its settings."""
    config = prepare(None, sim=str(sim), real=str(real))
    RunFolder(config.run_folder).create(config)
    return config


def test_a_run_is_resumed_where_the_same_command_has_begun_it(
    town: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="runs/default: there is no run to resume here"):
        prepare(None, resume=True)
    begun = {name: begin(town / name, town / "photos") for name in ("sim", "some")}
    for name, run in (("sim", "runs/labelled"), ("some", "runs/default")):
        again = prepare(None, resume=True, sim=str(town / name), real=str(town / "photos"))
        assert (again.recipe, str(again.run_folder)) == (begun[name].recipe, run)
    with pytest.raises(
        SettingsError, match=r"omit --resume to start one, or name another one: --run runs/default or runs/"
    ):
        prepare(None, resume=True, run="runs/other")
    for name in ("labelled", "default"):  # the one that was trained last
        os.utime(tmp_path / "runs" / name / "config.toml", (2_000_000_000,) * 2)
        assert prepare(None, resume=True).recipe == name
        os.utime(tmp_path / "runs" / name / "config.toml", (1_000_000_000,) * 2)


def test_a_run_of_another_recipe_is_not_in_the_way(town: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    begin(town / "some", town / "photos")
    assert begin(town / "sim", town / "photos").run_folder.name == "labelled"
    with pytest.raises(SettingsError, match="runs/labelled: exists already; add --resume"):
        begin(town / "sim", town / "photos")


@pytest.mark.parametrize(("sim", "recipe"), [("sim", "labelled"), ("some", "default")])
def test_init_writes_down_what_train_would_take(town: Path, sim: str, recipe: str) -> None:
    written = tomllib.loads(settings_text(town / sim, [town / "photos"], None))
    assert written["recipe"] == recipe
