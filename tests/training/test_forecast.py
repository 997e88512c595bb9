import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from sim2real.config import Config
from sim2real.errors import DatasetError, SettingsError, Sim2RealError
from sim2real.methods.cyclegan import CycleGAN
from sim2real.training import Trainer
from sim2real.training.data import UnpairedImages
from sim2real.training.forecast import forecast

Configure = Callable[..., Config]


def test_a_forecast_is_of_the_training_that_would_begin_and_leaves_nothing(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = configure("run=run", "data.batch_size=2", "ema_decay=0.9")
    found = forecast(config, steps=1)
    assert list(tmp_path.iterdir()) == []
    trainer = Trainer.begin(config, config.run_folder)
    assert found.parameters == trainer.parameters()
    assert found.images == {"sim": {"train": 5, "held_out": 1}, "real": {"train": 8, "held_out": 1}}
    assert (found.steps, found.steps_per_epoch) == (trainer.total, trainer.steps_per_epoch) == (6, 4)
    assert (found.device, found.precision) == (trainer.device, trainer.precision) == ("cpu", "fp32")


def test_epochs_are_told_in_steps(configure: Configure, tmp_path: Path) -> None:
    found = forecast(configure(f"run={tmp_path / 'run'}", "train.epochs=3", "data.batch_size=3"), steps=1)
    assert (found.steps, found.steps_per_epoch) == (9, 3)


def test_time_and_memory_are_those_of_steps_on_the_images(configure: Configure, tmp_path: Path) -> None:
    found = forecast(configure(f"run={tmp_path / 'run'}", "data.batch_size=2"), steps=1)
    assert found.seconds_to_compute > 0
    assert found.seconds_to_load > 0
    assert found.seconds_per_step == found.seconds_to_compute + found.seconds_to_load  # no workers: one after the other
    assert found.seconds == 6 * found.seconds_per_step
    assert found.images_per_second == pytest.approx(4 / found.seconds_per_step)
    assert 1e7 < found.memory < 1e11
    assert found.memory_free > 1e6
    json.dumps(asdict(found))


def test_what_a_step_waits_for_is_told(configure: Configure, tmp_path: Path) -> None:
    found = forecast(configure(f"run={tmp_path / 'run'}"), steps=1)
    ahead = replace(found, workers=4, seconds_to_compute=1.0, seconds_to_load=3.0)
    assert ahead.limit == "the networks"
    assert "data.workers" in replace(ahead, workers=2).limit


@pytest.mark.parametrize(
    "sets",
    [
        ["data.size=[34, 32]"],
        ["generator.options.widht=4"],
        ["method.options.update_order=both"],
        ["data.augment=['hflop']"],
        ["data.batch_size=7"],
        ["sim=absent"],
        ["sim="],
        ["device=tpu"],
        ["precision=fp16"],
        ["run=."],
    ],
)
def test_what_a_training_would_refuse_its_forecast_refuses(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sets: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").touch()
    given = configure("run=run")
    config = configure("run=run", *sets).model_copy(
        update={} if sets[0][:3] != "sim" else {"sim": sets[0].removeprefix("sim="), "real": given.real}
    )
    with pytest.raises(Sim2RealError) as ours:
        forecast(config)
    with pytest.raises(Sim2RealError) as theirs:
        Trainer.begin(config, config.run_folder)
    assert str(ours.value) == str(theirs.value)


def test_images_that_cannot_be_read_are_told(configure: Configure, tmp_path: Path, paint: Callable[..., Path]) -> None:
    for path in paint(tmp_path / "sim", 3).iterdir():
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DatasetError, match="none of 2 sim images can be read"):
        forecast(configure(f"run={tmp_path / 'run'}", sim=tmp_path / "sim"))


def test_a_step_that_memory_does_not_hold_is_told_with_what_to_lower(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(_method: CycleGAN, _batch: object) -> None:
        raise torch.OutOfMemoryError("lack of memory")  # no GPU here whose memory could run out

    monkeypatch.setattr(CycleGAN, "step", step)
    with pytest.raises(Sim2RealError, match=r"cpu has too little memory; .*train\.gradient_accumulation_steps = 2"):
        forecast(configure(f"run={tmp_path / 'run'}", "data.batch_size=2"))


def test_a_batch_that_memory_does_not_hold_is_told_likewise(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_images: UnpairedImages, _step: int) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 30000000000 bytes.")

    monkeypatch.setattr(UnpairedImages, "__getitem__", load)
    with pytest.raises(Sim2RealError, match=r"a step: cpu has too little memory; lower data\.size"):
        forecast(configure(f"run={tmp_path / 'run'}"))


def test_a_logger_that_is_not_installed_is_told_before_the_training(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)  # as if it were not installed
    with pytest.raises(SettingsError, match=r"sim2real\[mlflow\]"):
        forecast(configure(f"run={tmp_path / 'run'}", "log.to=['mlflow']"))
