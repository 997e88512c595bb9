"""Which step is the best, what becomes of its generators, and when a run ends early."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sim2real.cli.training_view import show_end
from sim2real.config import Config
from sim2real.imageio import read_rgb
from sim2real.networks import RangeAdapter
from sim2real.training import Note, Trainer, TrainingProgress
from sim2real.training.periodic_validation import _translated
from sim2real.training.samples import Shown
from sim2real.training.validation import TrainingMonitor, ValidationResult, Validator
from tests.commands import generators
from tests.training.running import run

Configure = Callable[..., Config]


def judged(score: float) -> ValidationResult:
    return ValidationResult(score, 1.0, 1.0, 0.1, 0.0, 0.0, 9.0, 1.0, 8)


@pytest.fixture
def give(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the judge give these scores, one after the other."""

    def set_scores(*scores: float) -> None:
        left: Iterator[float] = iter(scores)
        monkeypatch.setattr(Validator, "__call__", lambda _validator, _after: judged(next(left)))

    return set_scores


EVERY = ("evaluate.every=1", "data.validation=2", "train.steps=5", "checkpoint.keep=1", "log.every=0")


def test_the_best_step_is_kept_linked_and_used(configure: Configure, tmp_path: Path, give: Callable[..., None]) -> None:
    give(0.9, 0.5, 0.7, 0.5, 0.6)
    trainer, events = run(configure(*EVERY), tmp_path / "run")
    folder = tmp_path / "run"
    assert (folder / "best").readlink() == Path("checkpoints/step_00000002")
    assert sorted(path.name for path in (folder / "checkpoints").glob("[!.]*")) == ["step_00000002", "step_00000005"]
    assert trainer.used_step == 2
    assert trainer.finished
    assert generators(folder) == generators(folder / "best")
    assert generators(folder) != generators(folder / "last")
    progress = [event for event in events if isinstance(event, TrainingProgress)]
    assert [event.score for event in progress] == [0.9, 0.5, 0.7, 0.5, 0.6]
    assert [event.best for event in progress] == [(0.9, 1), (0.5, 2), (0.5, 2), (0.5, 2), (0.5, 2)]
    assert all(event.memory > 2**20 for event in progress)


def test_the_last_is_used_where_that_is_wanted_also_afterwards(
    configure: Configure, tmp_path: Path, give: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    give(0.5, 0.6, 0.7, 0.8, 1.2)
    folder = tmp_path / "run"
    run(configure(*EVERY), folder)
    assert generators(folder) == generators(folder / "best")
    trainer = Trainer.resume(configure(*EVERY, "checkpoint.use=last"), folder)
    assert not trainer.finished
    assert list(trainer.train()) == []
    assert trainer.used_step == 5
    show_end(trainer)
    printed = capsys.readouterr().out
    assert "longer" not in printed
    assert f"step 1 was better on held-out images; to use it: sim2real train --resume --run {folder} --set" in printed
    assert Trainer.resume(configure(*EVERY, "checkpoint.use=last"), folder).finished
    assert generators(folder) == generators(folder / "last")


def test_a_better_step_is_saved_though_no_checkpoint_is_due(
    configure: Configure, tmp_path: Path, give: Callable[..., None]
) -> None:
    give(0.5, 0.4)
    config = configure("evaluate.every=2", "data.validation=2", "train.steps=5", "checkpoint.every=0")
    for event in Trainer.begin(config, tmp_path / "run").train():
        if isinstance(event, TrainingProgress) and event.step == 4:
            break
    assert (tmp_path / "run" / "best").readlink() == Path("checkpoints/step_00000002")


def test_without_held_out_images_nothing_is_judged_and_the_last_used(configure: Configure, tmp_path: Path) -> None:
    trainer, events = run(configure("evaluate.every=1", "data.validation=0"), tmp_path / "run")
    assert trainer.used_step == trainer.step
    assert not (tmp_path / "run" / "best").exists()
    assert all(event.score is None and event.best is None for event in events if isinstance(event, TrainingProgress))
    assert "evaluation/score" not in (tmp_path / "run" / "metrics.jsonl").read_text()


def test_patience_counts_from_the_best_score_whenever_it_is_resumed(
    configure: Configure, tmp_path: Path, give: Callable[..., None]
) -> None:
    config = configure(*EVERY, "train={steps=60, patience=1}")  # an epoch is 7 steps
    scores = [0.9, 0.8, 0.7, *[0.75] * 50]
    give(*scores)
    trainer, events = run(config, tmp_path / "whole")
    assert trainer.step == 10
    assert events[-1] == Note("stopped at step 10: no improvement on held-out images since step 3")
    give(*scores)
    run(config, tmp_path / "parts", until=6)
    give(*scores[6:])
    trainer, _ = run(config, tmp_path / "parts", resume=True)
    assert trainer.step == 10
    assert generators(tmp_path / "parts") == generators(tmp_path / "whole")


def test_what_the_monitor_says_is_told_and_written(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def add(
        _monitor: TrainingMonitor, step: int, total: int, _result: ValidationResult, losses: Mapping[str, float]
    ) -> list[Note]:
        seen.append((step, total, {*losses} == {"D_real", "D_sim"}))
        return [Note("the discriminators have won; do something", "halos")] if step == 4 else []

    monkeypatch.setattr(TrainingMonitor, "add", add)
    _, events = run(configure("evaluate.every=2", "data.validation=2"), tmp_path / "run")
    assert seen == [(2, 6, True), (4, 6, True), (6, 6, True)]
    told = [event for event in events if isinstance(event, Note)]
    assert told == [Note("the discriminators have won; do something", "halos")]
    written = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line for line in written if "note" in line] == [
        {"step": 4, "note": "the discriminators have won; do something"}
    ]


def test_the_validator_sees_held_out_images_alone_as_the_generators_that_are_written_make_them(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []

    def look(validator: Validator, after: list[Any]) -> ValidationResult:
        shown.append((validator.before, after))
        return judged(0.5)

    monkeypatch.setattr(Validator, "__call__", look)
    trainer, _ = run(configure("evaluate.every=0", "data.validation=2", "ema_decay=0.5"), tmp_path / "run")
    ((before, after),) = shown
    held_out = [trainer.held_out.augment(read_rgb(frame.path), seed=None) for frame in trainer.sim.held_out]
    assert [image.tolist() for image in before] == [image.tolist() for image in held_out]
    generator = trainer.results["sim2real"]
    for image, made in zip(before, after, strict=True):
        with torch.no_grad():
            expected = generator(torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1)
        assert abs(made - ((expected[0].permute(1, 2, 0).numpy() + 1) * 127.5)).max() < 1


class Extraction(nn.Module):
    """A generator of clips that draws."""

    stochastic = True

    def __init__(self, clip_length: int) -> None:
        super().__init__()
        self.clip_length = clip_length

    def forward(self, images: Tensor, seeds: NDArray[np.uint64]) -> Tensor:
        assert seeds.shape == (len(images),)
        return images


@pytest.mark.parametrize("clip_length", [1, 2])
def test_what_draws_has_a_seed_for_each_picture_or_clip(clip_length: int) -> None:
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    generator = RangeAdapter(Extraction(clip_length), returns_images=True)
    assert len(_translated(generator, [Shown(frames, {}, is_clip=True, known=[{}, {}])], "cpu")) == 2
