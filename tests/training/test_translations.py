"""Trainings that learn what another program made of the frames: the recipe ``distil`` and the loss ``teacher``."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sim2real.augment import Augment
from sim2real.config import resolve
from sim2real.errors import DatasetError
from sim2real.imageio import encode_png, read_rgb
from sim2real.losses import LossInputs, Teacher
from sim2real.training.data import UnpairedImages
from sim2real.training.domains import open_domains
from sim2real.training.importing import import_frames
from sim2real.training.specs import DataSpec, SideSpec
from tests.commands import Cli, refused, succeed

SPEC = DataSpec(SideSpec({"translation": "a test"}))


@pytest.fixture
def places(tmp_path: Path, paint: Callable[..., Path]) -> Path:
    """``sim`` and ``real``, and ``made``: the frames with black and white exchanged, imported into ``teacher``."""
    paint(tmp_path / "sim", 4, size=(96, 64))
    paint(tmp_path / "real", 4, size=(96, 64), seed=1)
    (tmp_path / "made").mkdir()
    for path in (tmp_path / "sim").iterdir():
        (tmp_path / "made" / path.name).write_bytes(encode_png(255 - read_rgb(path)))
    import_frames(tmp_path / "sim", tmp_path / "made", tmp_path / "teacher")
    return tmp_path


@pytest.mark.parametrize("scaled", [None, (72, 48)])
def test_windows_of_both_show_the_same_place(places: Path, scaled: tuple[int, int] | None) -> None:
    settings = {"data.translations": str(places / "teacher"), "data.validation": 0, "data.size": [32, 24]}
    config = resolve("distil", settings=settings, sim=str(places / "sim"), real=str(places / "real"))
    sim, real = open_domains(config, spec=SPEC)
    augment = Augment((32, 24), load_size=scaled, names=["hflip"])
    images = UnpairedImages(sim, real, augment, batch_size=4, seed=0, spec=SPEC)
    seen = 0.0
    for step in range(3):
        batch = images[step]
        assert not isinstance(batch, DatasetError)
        frames, made = torch.as_tensor(batch.sim).float(), torch.as_tensor(batch.sim_inputs["translation"])
        frames = frames.div(127.5).sub(1) if frames.max() > 1 else frames
        frames = frames.movedim(-1, 1) if frames.shape[-1] == 3 else frames
        seen = max(seen, float(frames.std()))
        assert (frames + made).abs().mean() < 0.03  # black and white exchanged: the sum is 0
    assert seen > 0.1


def test_the_loss_is_the_mean_difference() -> None:
    frames = torch.zeros(2, 3, 4, 4)
    made = frames + 0.25
    inputs = LossInputs(sim=frames, real=frames, fake_real=frames, sim_inputs={"translation": made}, real_inputs={})
    assert Teacher()(inputs).item() == pytest.approx(0.25)
    same = LossInputs(sim=frames, real=frames, fake_real=made, sim_inputs={"translation": made}, real_inputs={})
    assert Teacher()(same).item() == 0


SMALL = [
    "data.size=[64,64]",
    "data.load_size=[96,64]",
    "data.batch_size=2",
    "data.workers=0",
    "data.validation=1",
    "generator.options.side=32",
    "discriminator.options.width=4",
    "device=cpu",
    "precision=fp32",
    "ema_decay=0",
    "train.steps=60",
    "log.every=20",
]


def test_a_student_comes_nearer_to_its_teacher(places: Path, cli: Cli) -> None:
    sets = [part for text in SMALL for part in ("--set", text)]
    taught = ("--set", "data.translations=teacher")
    command = ("train", "sim", "made", "--recipe", "distil", *sets)
    succeed(cli(*command, *taught, "--run", "student", cwd=places))
    assert [path.name for path in (places / "student").glob("*.safetensors")] == ["sim2real.safetensors"]
    shutil.rmtree(places / "made")
    shutil.rmtree(places / "teacher")  # it needs neither any more
    succeed(cli("convert", "sim", "out", "--model", "student", cwd=places))
    for path in (places / "sim").iterdir():
        before, after = read_rgb(path).astype(float), read_rgb(places / "out" / path.name).astype(float)
        assert np.abs(after - (255 - before)).mean() < 0.8 * np.abs(before - (255 - before)).mean()


def test_without_translations_it_is_said_what_to_do(places: Path, cli: Cli) -> None:
    sets = [part for text in SMALL for part in ("--set", text)]
    command = ("train", "sim", "made", "--recipe", "distil", *sets, "--run", "student")
    said = refused(cli(*command, cwd=places))
    assert "the loss 'teacher' needs translations of another program" in said
    assert "data.translations" in said
    other = ("train", "sim", "real", "--recipe", "reinhard", "--run", "other", "--set", "device=cpu")
    succeed(cli(*other, cwd=places))
    said = refused(cli(*command, "--set", "data.translations=other", cwd=places))
    assert "not a run of sim2real import-frames, but one of the generator 'reinhard'" in said


def test_frames_without_one_are_named(places: Path) -> None:
    (places / "made" / "0001.png").unlink()
    shutil.rmtree(places / "teacher")
    import_frames(places / "sim", places / "made", places / "teacher")
    config = resolve(
        "distil",
        settings={"data.translations": str(places / "teacher")},
        sim=str(places / "sim"),
        real=str(places / "real"),
    )
    with pytest.raises(DatasetError, match=r"1 of 4 have none, e\.g\. .*0001\.png.*data\.sim_exclude"):
        open_domains(config, spec=SPEC)
