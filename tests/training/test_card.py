"""Model cards: what they say is what the files of the run say, and nothing of the machine that wrote them."""

import getpass
import re
import shlex
import shutil
import socket
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from sim2real.camera import Camera, Channel
from sim2real.capabilities import Capabilities
from sim2real.config import Component, Config, resolve
from sim2real.model import read_info
from sim2real.networks.generators import EncoderDecoder
from sim2real.training import Note
from sim2real.training.card import Generator, render
from sim2real.training.importing import import_run
from sim2real.training.results import BOOKS
from sim2real.training.run import RunFolder
from tests.commands import Cli, metrics
from tests.training.running import run

Configure = Callable[..., Config]


def card(folder: Path) -> str:
    return (folder / "README.md").read_text("utf-8")


def front_matter(text: str) -> dict[str, Any]:
    start, matter, _ = text.split("---\n", 2)
    assert start == ""
    found: dict[str, Any] = yaml.safe_load(matter)
    return found


def block(text: str, language: str) -> str:
    """The only code block of a language."""
    [found] = re.findall(rf"```{language}\n(.*?)\n```", text, re.DOTALL)
    return str(found)


def table(text: str) -> dict[str, str]:
    return dict(re.findall(r"^\| `([^`]+)` \| ([^|]+) \| [^|]+ \|$", text, re.MULTILINE))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file of weights of the generator ``encoder-decoder`` with the options ``OPTIONS``."""
    torch.manual_seed(0)
    file = tmp_path / "downloads" / "night.pth"
    file.parent.mkdir()
    torch.save(EncoderDecoder(width=4, blocks=1).state_dict(), file)
    return file


OPTIONS = ("generator.options.width=4", "generator.options.blocks=1")


def test_a_card_says_what_the_files_of_its_run_say(configure: Configure, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "town"
    trainer, _ = run(configure("evaluate.every=2", "data.validation=2"), folder)
    text = card(folder)
    assert front_matter(text) == {
        "library_name": "sim2real",
        "pipeline_tag": "image-to-image",
        "tags": ["sim2real", "combined", "cyclegan", trainer.config.generator.name],
    }
    assert "\n# town\n" in text
    used = next(line for line in metrics(folder) if line["step"] == trainer.used_step and "evaluation/score" in line)
    figures = {name.removeprefix("evaluation/"): value for name, value in used.items() if name.startswith("evaluation")}
    assert table(text) == {name: f"{value:.4g}" for name, value in figures.items()}
    assert {"score", "distance", "distance_of_sim", "floor", "new_edges", "lost_edges"} <= figures.keys()
    assert trainer.standing.text[1:] in text
    assert f"step {trainer.used_step} of 6" in text
    parameters = sum(weights.numel() for weights in trainer.method.generators["sim2real"].parameters())
    assert f"{parameters:,} parameters" in text
    assert "- simulated: 4 images trained on, 2 held out; from `sim` (layout `images`)" in text
    assert "- real: 7 images trained on, 2 held out; from `real` (layout `images`)" in text
    assert "`sim`: no licence is recorded" in text
    assert f"`{read_info(folder / 'sim2real.safetensors').fingerprint}`" in text
    assert "cpu, in fp32" in text
    assert trainer.config.summary in text


def test_recipe_and_settings_of_a_card_are_the_settings_of_the_run(configure: Configure, tmp_path: Path) -> None:
    config = configure("losses.identity=3", "data.sim_exclude=[*/odd/*]")
    trainer, _ = run(config, tmp_path / "run")
    again = resolve("combined", settings=tomllib.loads(block(card(tmp_path / "run"), "toml")))
    assert again.model_dump(exclude=BOOKS) == trainer.config.model_dump(exclude=BOOKS)


def test_without_held_out_images_there_are_no_figures(configure: Configure, tmp_path: Path) -> None:
    run(configure("data.validation=0"), tmp_path / "run")
    text = card(tmp_path / "run")
    assert not table(text)
    assert "Not evaluated on held-out images." in text
    assert "samples/" not in text


def test_the_commands_of_a_card_work(
    configure: Configure, tmp_path: Path, cli: Cli, write_vkitti: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "it's `1` *town*"
    run(configure(), folder)
    write_vkitti(tmp_path / "SIM", 2)
    text = card(folder)
    command = shlex.split(block(text, "sh"))
    assert command[0] == "sim2real"
    done = cli(*command[1:], "--device", "cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"before": np.zeros((32, 48, 3), np.uint8)}
    exec(block(text, "python"), names)
    assert (names["after"].shape, names["after"].dtype) == ((32, 48, 3), np.uint8)
    assert "# it's \\`1\\` \\*town\\*" in text


def test_a_card_tells_no_path_no_user_and_no_machine(
    configure: Configure, photos: Path, tmp_path: Path, weights: Path
) -> None:
    secret = tmp_path / "tell tale's" / "person"
    shutil.copytree(photos, secret)
    shutil.copytree(photos / "real", secret / "dusk")
    start = secret / "first"
    import_run(weights, start, direction="sim2real", generator="encoder-decoder", sets=OPTIONS)
    own = configure(sim=secret / "sim", real=[secret / "real", secret / "dusk"])
    network = Component(name="encoder-decoder", options=read_info(start / "sim2real.safetensors").options)
    places = {"start_from": str(start), "run": str(secret / "run")}
    run(own.model_copy(update={"generator": network, **places}), secret / "run")
    for folder in (start, secret / "run"):
        text = card(folder)
        for tale in (str(tmp_path), "tell tale", "person", f"{Path.home()}/", socket.gethostname()):
            assert tale not in text
        assert not re.search(rf"/{re.escape(getpass.getuser())}\b", text)
    assert "`real` (layout `images`, 9 images), `dusk` (layout `images`, 9 images)" in text
    assert "started with the weights of `first`" in text
    assert "and of the weights of `first` apply" in text


def test_paths_in_options_are_left_out(configure: Configure, tmp_path: Path, weights: Path) -> None:
    import_run(weights, tmp_path / "run", direction="sim2real", generator="encoder-decoder", sets=OPTIONS)
    info = read_info(tmp_path / "run/sim2real.safetensors")
    places = {"file": "/mnt/joe/a.pt", "files": ["~joe/b.pt"], "other": r"C:\joe\c.pt", "up": "../joe"}
    config = configure()
    options = {**config.generator.options, **places, "mode": "soft/hard"}
    config = config.model_copy(update={"generator": config.generator.model_copy(update={"options": options})})
    generator = Generator(replace(info, options=options), Capabilities(), 5)
    text = render("run", config, {"sim2real": generator})
    assert "joe" not in text
    assert tomllib.loads(block(text, "toml"))["generator"]["options"]["mode"] == "soft/hard"


def test_equal_trainings_give_equal_cards_killed_or_not(configure: Configure, tmp_path: Path) -> None:
    config = configure("evaluate.every=2")
    run(config, tmp_path / "whole" / "run")
    for until in (1, 4):
        folder = tmp_path / f"until {until}" / "run"
        run(config, folder, until=until)
        assert not (folder / "README.md").exists()
        run(config, folder, resume=True)
        assert card(folder) == card(tmp_path / "whole" / "run")


def test_an_extended_training_has_the_card_of_its_new_end(configure: Configure, tmp_path: Path) -> None:
    run(configure(), tmp_path / "run")
    before = card(tmp_path / "run")
    run(configure("train.steps=8"), tmp_path / "run", resume=True)
    assert "6 steps" in before
    assert "8 steps" in card(tmp_path / "run")
    assert "6 steps" not in card(tmp_path / "run")


@pytest.mark.parametrize("kind", ["foreign", "edited", "folder", "link"])
def test_a_readme_of_others_stays_and_is_named_once(
    configure: Configure, tmp_path: Path, kind: str, weights: Path
) -> None:
    folder = tmp_path / "run"
    run(configure(), folder, until=3)
    file, elsewhere = folder / "README.md", tmp_path / "elsewhere.md"
    elsewhere.write_text("mine\n")
    if kind == "edited":
        run(configure(), folder, resume=True)
        file.write_text("\n".join(line for line in card(folder).splitlines() if "<!--" not in line))
    elif kind == "folder":
        file.mkdir()
    elif kind == "link":
        file.symlink_to(elsewhere)
    else:
        file.write_text("mine\n")
    before = None if kind == "folder" else file.read_bytes()
    trainer, events = run(configure("train.steps=7"), folder, resume=True)
    assert trainer.finished
    notes = [event.text for event in events if isinstance(event, Note) and "README" in event.text]
    assert notes == [f"{file}: kept, as sim2real did not write it; rename it if you want a model card"]
    assert file.is_symlink() is (kind == "link")
    assert before is None or file.read_bytes() == before


def test_a_folder_with_a_readme_alone_is_no_place_for_a_new_run(configure: Configure, tmp_path: Path) -> None:
    run(configure(), tmp_path / "old")
    (tmp_path / "new").mkdir()
    shutil.copy(tmp_path / "old/README.md", tmp_path / "new")
    with pytest.raises(Exception, match="new: exists already"):
        RunFolder(tmp_path / "new").require_new()


def test_an_import_has_a_card(tmp_path: Path, cli: Cli, weights: Path) -> None:
    options = [part for text in OPTIONS for part in ("--set", text)]
    command = ("import", weights, "--generator", "encoder-decoder", *options, "--run", "night")
    assert cli(*command, "--direction", "real2sim", cwd=tmp_path).returncode == 0
    one = card(tmp_path / "night")
    assert front_matter(one)["tags"] == ["sim2real", "imported", "encoder-decoder"]
    assert "real2sim.safetensors` makes real images look simulated" in one
    assert "There is no `sim2real.safetensors`" in one
    assert "sim2real convert REAL OUT --model night --direction real2sim" in block(one, "sh")
    assert "sim2real train SIM REAL --from night" in block(one, "sh")
    assert "The licence of the original weights applies" in one
    assert "imported from `night.pth: " in one
    assert not table(one)
    assert cli(*command, "--direction", "sim2real", cwd=tmp_path).returncode == 0
    both = card(tmp_path / "night")
    assert "There is no" not in both
    assert both.index("`sim2real.safetensors` makes") < both.index("`real2sim.safetensors` makes")
    (tmp_path / "night/sim2real.safetensors").unlink()
    (tmp_path / "night/README.md").write_text("mine\n")
    done = cli(*command, "--direction", "sim2real", cwd=tmp_path)
    assert (done.returncode, "README.md: kept" in done.stderr, card(tmp_path / "night")) == (0, True, "mine\n")


@pytest.mark.parametrize(
    ("can", "sentence"),
    [
        ({"inputs": ("depth",)}, "It needs labels of every image that it translates: `depth`."),
        ({"fixed_size": (256, 128)}, "It translates images of 256x128 pixels only"),
        ({"clip_length": 3}, "3 consecutive frames"),
        ({"exportable": False}, "cannot be exported"),
        ({"stochastic": True}, "samples at random"),
    ],
)
def test_limits_are_those_of_the_generator(
    can: dict[str, Any], sentence: str, configure: Configure, tmp_path: Path, weights: Path
) -> None:
    import_run(weights, tmp_path / "run", direction="sim2real", generator="encoder-decoder", sets=OPTIONS)
    info = read_info(tmp_path / "run/sim2real.safetensors")
    config = configure()
    assert sentence not in render("run", config, {"sim2real": Generator(info, Capabilities(), 5)})
    camera = Camera(luma=Channel(blur=0.1))
    text = render("run", config, {"sim2real": Generator(replace(info, camera=camera), Capabilities(**can), 5)})
    assert sentence in text
    assert f"A camera is fitted for sim2real and applied to translations: {camera}." in text


def test_the_licence_of_a_layout_is_told_with_its_card(
    configure: Configure, tmp_path: Path, photos: Path, write_vkitti: Callable[..., Path]
) -> None:
    run(configure(sim=write_vkitti(tmp_path / "drive", 4, size=(64, 64)), real=photos / "real"), tmp_path / "run")
    text = card(tmp_path / "run")
    assert "`drive` has the layout of Virtual KITTI 2." in text
    assert "CC BY-NC-SA 3.0" in text
    assert "`sim2real datasets vkitti2`" in text
    assert "license" not in front_matter(text)
