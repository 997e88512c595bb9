"""The best checkpoint by any figure that a user names."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sim2real.config import Config, resolve
from sim2real.datasets.labels import Segmentation
from sim2real.errors import DatasetError, Sim2RealError
from sim2real.metrics.colour import ColourMetric
from sim2real.metrics.edges import edge_changes, preservation
from sim2real.report.run import read_run
from sim2real.training import Trainer
from sim2real.training.periodic_validation import ValidationOutcome
from sim2real.translator import load
from sim2real_toytown import render_dataset

Begin = Callable[..., Config]
EVERY = ("evaluate.every=1", "train.steps=3", "checkpoint.keep=9", "log.every=0", "optim.generator_lr=0.02")


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory, paint: Callable[..., Path]) -> Path:
    root = tmp_path_factory.mktemp("sides")
    paint(root / "sim", 20, seed=1)
    paint(root / "real", 20, seed=2)
    return root


@pytest.fixture
def begin(sides: Path, tiny: list[str]) -> Begin:
    def config(*sets: str) -> Config:
        return resolve(
            sets=[*tiny, "data.validation=16", *EVERY, *sets], sim=str(sides / "sim"), real=str(sides / "real")
        )

    return config


def told(run: Path, name: str) -> dict[int, float]:
    lines = [json.loads(row) for row in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line[name] for line in lines if name in line}


def test_less_or_more_is_better_as_the_figure_says(begin: Begin, tmp_path: Path) -> None:
    ways = {"colour": ("colour", 1), "preservation": ("edges.preservation", -1)}
    for requested, (name, sign) in ways.items():
        trainer = Trainer.begin(begin(f"evaluate.score={requested}"), tmp_path / requested)
        for _ in trainer.train():
            pass
        values = told(tmp_path / requested, f"evaluation/{name}")
        assert values.keys() == {1, 2, 3}
        best = min(values, key=lambda step: sign * values[step])
        assert trainer.evaluation.best == (values[best], best)
        assert (tmp_path / requested / "best").readlink().name == f"step_{best:08d}"
        assert told(tmp_path / requested, "evaluation/choice") == {step: sign * value for step, value in values.items()}
        judged = told(tmp_path / requested, "evaluation/score")
        assert read_run(tmp_path / requested).best == (best, judged[best])
        translate = load(tmp_path / requested / "sim2real.safetensors", device="cpu")
        sim, real = (
            [frame for shown in trainer.held_out.shown(side, 99) for frame in shown.frames] for side in ("sim", "real")
        )
        after = [translate(image) for image in sim]
        if requested == "colour":
            metric = ColourMetric()
            expected = metric.distance(metric.describe(after), metric.describe(real))
        else:
            expected = float(np.mean([preservation(edge_changes(*pair)) for pair in zip(sim, after, strict=True)]))
        assert values[best] == pytest.approx(expected, rel=0.02)


def test_the_best_is_the_earliest_of_the_best_in_the_direction_of_the_figure(begin: Begin, tmp_path: Path) -> None:
    for sign, best in ((1.0, (2.0, 3)), (-1.0, (5.0, 2))):
        evaluation = Trainer.begin(begin(), tmp_path / "none").evaluation
        for step, score in enumerate((4.0, 5.0, 2.0, None, 2.0, 5.0), start=1):
            evaluation.remember(ValidationOutcome(score, sign), step)
        assert evaluation.best == best
        (tmp_path / "none").rename(tmp_path / str(sign))


def test_without_a_word_nothing_changes(begin: Begin, tmp_path: Path) -> None:
    trainer = Trainer.begin(begin(), tmp_path / "run")
    for _ in trainer.train():
        pass
    scores = told(tmp_path / "run", "evaluation/score")
    assert told(tmp_path / "run", "evaluation/choice") == {}
    assert trainer.evaluation.best_step == min(scores, key=lambda step: scores[step])
    with_choice = Trainer.begin(begin("evaluate.score=colour"), tmp_path / "other")
    for _ in with_choice.train():
        pass
    assert told(tmp_path / "other", "evaluation/score") == scores


@pytest.mark.parametrize(
    ("sets", "complaint"),
    [
        (["evaluate.score=color"], "evaluate.score = 'color': no metric has such a figure; other metrics have"),
        (["evaluate.score=edges.colour"], "edges has no such figure; it has edges.new_edges<=N"),
        (["evaluate.score=colour.colour"], "'colour' compares sets of images and has a single value; use colour"),
        (["evaluate.score=objects.recall"], "'objects' needs a value for detector"),
        (["evaluate.score=contrast"], "the held-out images lack what this metric needs, e.g. labels"),
        (["evaluate.score='x y'"], "'x y' is no name of a figure; use METRIC.FIGURE"),
        (
            ["evaluate.score=colour", "evaluate.count=8"],
            "it needs at least 16 images of each side, and 8 are used",
        ),
        (["evaluate.score=colour", "data.validation=0"], "no images are held out for it; set data.validation"),
    ],
)
def test_what_nothing_can_be_chosen_by_is_refused_before_the_training(
    sets: list[str], complaint: str, begin: Begin, tmp_path: Path
) -> None:
    with pytest.raises(Sim2RealError, match=re.escape(complaint)) as caught:
        Trainer.begin(begin(*sets), tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_figures_by_labels_see_those_of_held_out_frames(tmp_path: Path, tiny: list[str]) -> None:
    for number, look in enumerate(("sim", "real")):
        render_dataset(tmp_path / look, look=look, frames=8, size=(96, 48), seed=number, cameras=(0,))
    sets = [*tiny, *EVERY, "data.validation=4", "data.load_size=[72, 36]", "evaluate.score=contrast"]
    config = resolve(sets=sets, sim=str(tmp_path / "sim"), real=str(tmp_path / "real"))
    trainer = Trainer.begin(config, tmp_path / "run")
    for _ in trainer.train():
        pass
    values = told(tmp_path / "run", "evaluation/contrast.contrast")
    assert len(values) == 3
    assert trainer.evaluation.best_step == max(values, key=lambda step: values[step])
    shown = trainer.held_out.shown("sim", 1)[0]
    segmentation = shown.known[0]["segmentation"]
    assert isinstance(segmentation, Segmentation)
    assert segmentation.ids.shape == shown.frames.shape[1:3] == (32, 32)


def test_a_mask_of_another_size_than_its_frame_is_told(tmp_path: Path, tiny: list[str]) -> None:
    render_dataset(tmp_path / "sim", frames=4, size=(64, 48), seed=0, cameras=(0,))
    for mask in (tmp_path / "sim").rglob("classgt_*.png"):
        Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(mask)
    shutil.copytree(tmp_path / "sim", tmp_path / "real")
    sets = [*tiny, *EVERY, "data.validation=2", "evaluate.score=contrast"]
    config = resolve(sets=sets, sim=str(tmp_path / "sim"), real=str(tmp_path / "real"))
    with pytest.raises(
        DatasetError, match=r"rgb_\d+.jpg: its label 'segmentation' .*: it is 30x20, its images are 64x48"
    ):
        Trainer.begin(config, tmp_path / "run")
