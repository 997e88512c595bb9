import json
import math
import os
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.validation import (
    APPEARANCE,
    DAMAGE,
    Image,
    blobs,
    colours_matched,
    gain,
    levels,
    mirror,
    read_some,
    render_town,
)
from sim2real.config import Config
from sim2real.training.validation import (
    _ADVICE,
    HARMFUL,
    Levers,
    TrainingMonitor,
    ValidationResult,
    Validator,
    _score,
    peak_of,
    standing,
)

FINE = ValidationResult(
    score=0.6,
    distance=0.2,
    distance_of_sim=0.4,
    floor=0.1,
    new_edges=0,
    lost_edges=0,
    change=20,
    diversity=0.9,
    images=8,
)
STUCK = "a-training-diverges-or-a-discriminator-wins"
SECTIONS = {
    "nearer": None,
    "hardly": STUCK,
    "worse": STUCK,
    "nothing": "nothing-changes",
    "harmful:": "trees-in-the-sky",
    "not": "judged-on-held-out-images",
}
LOSSES = {"cycle": 0.3, "D_real": 0.45, "D_sim": 0.4}


@pytest.fixture(scope="module")
def town() -> list[Image]:
    """Frames of the town as the simulation shows it."""
    return render_town("sim", 6, (192, 96))


@pytest.fixture(scope="module")
def photographed() -> list[Image]:
    """The same frames as a camera would have seen them: what a perfect translation makes."""
    return render_town("real", 6, (192, 96))


@pytest.fixture(scope="module")
def another_street() -> list[Image]:
    """Real frames that nothing pairs with the town's."""
    return render_town("real", 6, (192, 96), scene=2)


@pytest.fixture(scope="module")
def validator(town: list[Image], another_street: list[Image]) -> Validator:
    """Judges translations of the town."""
    return Validator(town, another_street, seed=0)


def test_the_identity_scores_one(validator: Validator, town: list[Image]) -> None:
    result = validator(town)
    assert result.score == 1
    assert result.distance == result.distance_of_sim > result.floor > 0
    assert (result.new_edges, result.lost_edges, result.change, result.diversity) == (0, 0, 0, 1)


def test_a_perfect_translation_is_the_best(
    validator: Validator, town: list[Image], photographed: list[Image], another_street: list[Image]
) -> None:
    result = validator(photographed)
    assert result.score < 0.9
    assert result.distance < 0.7 * result.distance_of_sim
    assert result.change > 10
    matched = validator(colours_matched(town, another_street))
    assert result.score < matched.score < HARMFUL


@pytest.mark.parametrize("damage", ["mirror", "blobs", "trees in the sky", "shift 6 px", "blank"])
def test_damage_never_beats_the_identity(validator: Validator, photographed: list[Image], damage: str) -> None:
    """Not even if the pictures look as real as can be."""
    unhurt, damaged = validator(photographed), validator([*map(DAMAGE[damage], photographed)])
    assert damaged.score > 1
    assert damaged.score > unhurt.score
    assert damaged.new_edges + damaged.lost_edges > unhurt.new_edges + unhurt.lost_edges + 0.1


def test_real_pictures_in_the_place_of_translations_are_harmful(
    validator: Validator, photographed: list[Image]
) -> None:
    elsewhere = [photographed[-1], *photographed[:-1]]
    result = validator(elsewhere)
    assert result.distance < 0.7 * result.distance_of_sim
    assert result.is_harmful


def test_of_harmful_translations_the_less_harmful_scores_better(validator: Validator, town: list[Image]) -> None:
    painted, collapsed, empty = (
        validator([*map(blobs, town)]),
        validator([town[0]] * 6),
        validator([np.zeros_like(town[0])] * 6),
    )
    assert all(result.is_harmful for result in (collapsed, empty))
    assert painted.score < collapsed.score < empty.score


shares = st.floats(0, 1)
distances = st.floats(0, 100)


@given(shares, shares, distances, distances, st.floats(0.001, 100))
def test_no_distance_makes_up_for_harm(new: float, lost: float, near: float, far: float, sim: float) -> None:
    harmful = _score(near, sim, max(new, 0.2), lost), _score(near, sim, new, max(lost, 0.3))
    assert _score(far, sim, min(new, 0.199), min(lost, 0.299)) < HARMFUL <= min(harmful)
    assert max(harmful) < math.inf


@given(*[st.tuples(distances, shares, shares)] * 2)
def test_more_damage_or_distance_never_scores_better(
    one: tuple[float, float, float], other: tuple[float, float, float]
) -> None:
    (distance, new, lost), (farther, more_new, more_lost) = (map(pick, one, other) for pick in (min, max))
    assert _score(distance, 1, new, lost) <= _score(farther, 1, more_new, more_lost)


def test_few_changed_edges_cost_next_to_nothing() -> None:
    assert _score(0.5, 1, 0, 0) == 0.5
    assert _score(0.5, 1, 0.03, 0) < 0.515
    assert _score(0.5, 1, 0, 0.05) < 0.515
    assert _score(0.5, 1, 0.15, 0) > 1


@pytest.mark.parametrize("change", APPEARANCE)
def test_appearance_alone_is_not_held_against_a_translation(
    validator: Validator, town: list[Image], change: str
) -> None:
    result = validator([*map(APPEARANCE[change], town)])
    assert result.score == pytest.approx(result.distance / result.distance_of_sim, rel=0.05)


def test_diversity_tells_outputs_that_are_alike(
    validator: Validator, town: list[Image], photographed: list[Image]
) -> None:
    assert validator([town[3]] * 6).diversity == 0
    nearly = [levels(0.05 * image + 0.95 * town[3]) for image in town]
    assert validator(nearly).diversity == pytest.approx(0.05, abs=0.03)
    assert validator(photographed).diversity > 0.5
    assert validator([*map(gain(0.3), town)]).diversity == pytest.approx(0.3, abs=0.02)


def test_change_is_in_grey_levels(validator: Validator, town: list[Image]) -> None:
    assert validator([image // 2 + 7 for image in town]).change == pytest.approx(
        np.mean([np.abs(image // 2 + 7.0 - image) for image in town])
    )


def test_equal_seeds_judge_alike(town: list[Image], photographed: list[Image]) -> None:
    first, second, other = (Validator(town, photographed, seed=seed)([*map(mirror, town)]) for seed in (1, 1, 2))
    assert first == second
    assert first.distance != other.distance


@pytest.mark.parametrize("real", [1, 2, 5])
@pytest.mark.parametrize("sim", [1, 2])
def test_few_images_of_unequal_sizes_can_be_judged(
    town: list[Image], photographed: list[Image], sim: int, real: int
) -> None:
    smaller = [image[:40, :60] for image in photographed[:real]]
    result = Validator(town[:sim], smaller, seed=0)(town[:sim])
    assert (result.score, result.diversity) == (1, 1)
    assert all(math.isfinite(figure) for figure in result.record().values())


def test_images_that_look_real_already_have_a_finite_score() -> None:
    wall = [np.full((32, 32, 3), 90, np.uint8)]
    result = Validator(wall, wall, seed=0)(wall)
    assert math.isfinite(result.score)
    assert math.isfinite(Validator(wall, wall, seed=0)([wall[0] + 1]).score)


def test_the_record_is_what_metrics_hold(validator: Validator, town: list[Image]) -> None:
    record = validator([*map(mirror, town)]).record()
    names = [
        "score",
        "distance",
        "distance_of_sim",
        "floor",
        "new_edges",
        "lost_edges",
        "change",
        "diversity",
        "images",
        *(f"artefacts.{name}" for name in ("periodic", "halos", "rims", "seams", "unexplained", "inverted")),
    ]
    assert [*record] == [f"evaluation/{name}" for name in names]
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_artefacts_are_told_of_images_with_room_for_them(validator: Validator, town: list[Image]) -> None:
    told = validator(
        [levels(image + 5 * (np.indices(image.shape[:2]).sum(0) % 2)[..., None]) for image in town]
    ).record()
    assert told["evaluation/artefacts.periodic"] > 2
    assert told["evaluation/artefacts.rims"] < told["evaluation/artefacts.periodic"]
    small = [image[:48] for image in town]
    assert not [name for name in Validator(small, small, seed=0)(small).record() if "artefacts" in name]


def test_every_image_needs_its_translation(validator: Validator, town: list[Image]) -> None:
    with pytest.raises(ValueError, match="shorter"):
        validator(town[:-1])


def test_carla_frames_are_ranked_by_camvid() -> None:
    if not (folder := os.environ.get("SIM2REAL_TEST_DATA")):
        pytest.skip("SIM2REAL_TEST_DATA names no folder with real samples")
    sim, real = (
        [cv2.resize(image, (256, 192)).astype(np.uint8) for image in read_some(Path(folder) / path, 8)]
        for path in ("carla/test/images", "camvid/val/images")
    )
    validator = Validator(sim, real, seed=0)
    matched = colours_matched(sim, real)
    translations = [matched, sim, [*map(blobs, matched)], [*map(mirror, matched)], [real[0]] * 8]
    scores = [validator(images).score for images in translations]
    assert scores[0] < 0.9 < scores[1] == 1 < min(scores[2:])
    assert min(scores[3:]) >= HARMFUL


def watched(
    *results: ValidationResult, losses: list[dict[str, float]] | None = None, total: int = 100
) -> list[list[str]]:
    """What a monitor says of validations at steps 30, 31, ... of ``total``."""
    monitor = TrainingMonitor()
    every = losses or [LOSSES] * len(results)
    return [
        [note.text for note in monitor.add(30 + number, total, result, told)]
        for number, (result, told) in enumerate(zip(results, every, strict=True))
    ]


def test_a_healthy_training_is_left_in_peace() -> None:
    assert watched(*[FINE] * 5) == [[]] * 5


@pytest.mark.parametrize(
    ("result", "words", "topic"),
    [
        (replace(FINE, diversity=0.05), ["alike", "collapsed", "[optim]"], STUCK),
        (
            replace(FINE, change=1.2, score=0.99),
            ["close to the identity", "1.2 grey levels", "losses.cycle"],
            "nothing-changes",
        ),
        (
            replace(FINE, score=12, new_edges=0.31),
            ["31% of their edges are new", "labels", "losses.cycle"],
            "trees-in-the-sky",
        ),
        (
            replace(FINE, artefacts={"periodic": 2.5, "halos": 1.0, "rims": 7.0}),
            ["checkerboards", "rim", "guided"],
            "checkerboards",
        ),
        (replace(FINE, artefacts={"halos": 3.0}), ["halos"], "halos"),
        (
            replace(FINE, artefacts={"inverted": 0.9}),
            ["light and dark", "90%", "losses.identity", "--seed"],
            "colours-are-inverted",
        ),
    ],
)
def test_what_goes_wrong_is_said_once_until_it_has_ended(
    result: ValidationResult, words: list[str], topic: str
) -> None:
    assert [note.topic for note in TrainingMonitor().add(30, 100, result, LOSSES)] == [topic]
    first, second, well, again = watched(result, result, FINE, result)
    assert len(first) == len(again) == 1
    assert all(word in first[0] for word in words)
    assert second == well == []


def test_an_early_training_may_still_do_nothing_useful() -> None:
    for result in (replace(FINE, change=1.2, score=0.99), replace(FINE, score=12), replace(FINE, diversity=0)):
        monitor = TrainingMonitor()
        assert monitor.add(19, 100, result, LOSSES) == []
        assert len(monitor.add(20, 100, result, LOSSES)) == 1


def test_little_change_that_leads_nearer_is_no_identity() -> None:
    assert watched(replace(FINE, change=2, score=0.8)) == [[]]


def test_a_discriminator_has_won_when_it_loses_nothing_for_long() -> None:
    losses = [{**LOSSES, "D_sim": loss} for loss in (0.01, 0.3, 0.01, 0.02, 0.01, 0.01)]
    said = watched(*[FINE] * 6, losses=losses)
    assert [len(notes) for notes in said] == [0, 0, 0, 0, 1, 0]
    assert "D_sim has won" in said[4][0]
    assert "optim.discriminator_lr" in said[4][0]


def test_a_discriminator_that_loses_more_and_more_tells_of_divergence() -> None:
    losses = [{**LOSSES, "D_real": loss} for loss in (0.5, 0.4, 1.6, 2.4, 9, 40, 0.5)]
    said = watched(*[FINE] * 7, losses=losses)
    assert [len(notes) for notes in said] == [0, 0, 0, 0, 1, 0, 0]
    assert "the loss of D_real keeps growing (9)" in said[4][0]
    assert "optim.max_grad_norm" in said[4][0]


def test_a_discriminator_that_wavers_does_not() -> None:
    losses = [{**LOSSES, "D_real": loss} for loss in (0.5, 1.4, 0.2, 1.6, 0.3, 1.6, 0.9)]
    assert watched(*[FINE] * 7, losses=losses) == [[]] * 7


@pytest.mark.parametrize("stop", range(7))
def test_a_resumed_monitor_says_the_same(stop: int) -> None:
    told = [{**LOSSES, "D_real": loss} for loss in (0.5, 2, 3, 4, 5, 0.01, 0.01)]
    results = [replace(FINE, diversity=0.1), *[FINE] * 4, *[replace(FINE, diversity=0.1)] * 2]
    monitor, said = TrainingMonitor(), []
    for number, (result, losses) in enumerate(zip(results, told, strict=True)):
        if number == stop:
            state = monitor.state_dict()
            monitor.add(99, 100, result, {"D_real": 9.0})  # a state is not touched by what comes after
            monitor = TrainingMonitor()
            monitor.load_state_dict(json.loads(json.dumps(state)))
        said.append([note.text for note in monitor.add(30 + number, 100, result, losses)])
    assert said == watched(*results, losses=told)


def test_advice_names_settings_that_there_are() -> None:
    texts = [*_ADVICE.values(), *Levers().words().values()]
    named = [name for advice in texts for name in re.findall(r"\b\w+\.[a-z]\w+", advice)]
    assert len(named) > 5
    settings = Config().model_dump()
    assert [name for name in named if name.split(".")[1] not in settings[name.split(".")[0]]] == []


def test_advice_names_nothing_that_a_training_has_not_or_has_done_already() -> None:
    worst = replace(FINE, diversity=0.05, change=1.2, score=12.0, artefacts={"periodic": 9.0, "halos": 9.0})
    losses = {"D_real": 0.01, "D_sim": 0.01}
    said = []
    for levers in (Levers(), Levers((), spectral_norm=False, guided=False)):
        monitor = TrainingMonitor(levers)
        sentences = [each.text for step in (30, 31, 32) for each in monitor.add(step, 100, worst, losses)]
        assert len(sentences) == 6
        said.append(
            " ".join([*sentences, standing({"evaluation/score": 1.0, "evaluation/change": 0.1}, levers).advice])
        )
    for name in ("losses.cycle", "losses.identity", "discriminator.regularization.spectral_norm", "guided"):
        assert name in said[0]
        assert name not in said[1]
    only = standing({"evaluation/score": 1.0, "evaluation/change": 0.1}, Levers(("losses.cycle",))).advice
    assert only.endswith("or lower losses.cycle if it holds it back")


@pytest.mark.parametrize(("score", "change"), [(1.2, 20.0), (0.98, 20.0), (1.0, 0.1)])
def test_nobody_is_told_to_train_longer_what_is_not_trained(score: float, change: float) -> None:
    figures = {"evaluation/score": score, "evaluation/change": change}
    found = standing(figures, Levers.of_losses((), trained=False))
    assert "longer" not in found.advice
    assert "sim2real compare SIM REAL" in found.advice


@pytest.mark.parametrize(
    ("scores", "peak"),
    [([], 0), ([0.7], 0), ([0.9, 0.7, 0.75], 0), ([0.9, 0.7, 0.8], 2), ([-0.9, -0.95, -0.8], 2), ([1.3, 1.2, 1.1], 0)],
)
def test_a_peak_is_a_step_that_later_ones_are_clearly_worse_than(scores: list[float], peak: int) -> None:
    records = [{"step": float(step), "evaluation/score": score} for step, score in enumerate(scores, 1)]
    assert peak_of(records) == peak
    chosen = [record | {"evaluation/score": 0.5, "evaluation/choice": record["evaluation/score"]} for record in records]
    assert peak_of([{"step": 1.0, "G": 2.0}, *chosen]) == peak


@pytest.mark.parametrize("used", [500, 1500])
def test_nobody_is_told_to_train_longer_if_that_made_it_worse(used: int) -> None:
    advice = standing({"evaluation/score": 1.2, "evaluation/change": 9.0}, Levers(peak=500, used=used)).advice
    assert "train longer" not in advice
    assert "worse after step 500" in advice
    assert ("--set checkpoint.use=best" in advice) == (used == 1500)


def test_a_training_that_makes_negatives_is_bad_however_near_they_are() -> None:
    figures = {"evaluation/score": 0.7, "evaluation/change": 80.0}
    found = standing({**figures, "evaluation/artefacts.inverted": 0.93})
    assert (found.state, found.text[:58]) == ("bad", "light and dark are swapped at 93% of the edges (score 0.70")
    assert "losses.identity" in found.advice
    assert standing({**figures, "evaluation/artefacts.inverted": 0.2}).state == "good"


@pytest.mark.parametrize(
    ("score", "change", "state", "text", "advice"),
    [
        (0.6, 20.0, "good", "nearer to real images than the source as it is (score 0.600;", ""),
        (0.98, 20.0, "open", "hardly better than the source as it is (score 0.980;", "train longer"),
        (1.008, 9.0, "bad", "worse than the source as it is (score 1.008;", "train longer"),
        (
            1.001,
            0.05,
            "bad",
            "nothing changed: translations differ from the source by 0.05 grey levels",
            "losses.cycle",
        ),
        (0.8, 0.9, "good", "nearer to real", ""),
        (12.0, 60.0, "bad", "harmful: labels are no longer true", "inspect SIM --against REAL"),
        (None, None, "open", "not evaluated", "data.validation"),
    ],
)
def test_how_a_training_stands_is_said_with_what_to_do(
    score: float | None, change: float | None, state: str, text: str, advice: str
) -> None:
    known = {"evaluation/score": score, "evaluation/change": change}
    found = standing({name: value for name, value in known.items() if value is not None})
    assert found.state == state
    assert found.text.startswith(text)
    assert advice in found.advice
    assert found.topic == SECTIONS[text.split(maxsplit=1)[0]]
    assert bool(found.advice) == (state != "good")
    assert "\n" not in found.text + found.advice


@pytest.mark.parametrize(("score", "state"), [(0.6, "open"), (0.98, "open"), (1.2, "bad")])
def test_few_held_out_images_are_told_and_praise_nothing(score: float, state: str) -> None:
    figures = {"evaluation/score": score, "evaluation/change": 20.0}
    found = standing({**figures, "evaluation/images": 2})
    assert found.state == state
    assert ", judged on 2 held-out images, too few to be sure (score" in found.text
    assert found.advice
    assert standing({**figures, "evaluation/images": 8}) == standing(figures)


def test_a_validation_rests_on_the_scarcer_side(town: list[Image], photographed: list[Image]) -> None:
    assert Validator(town[:2], photographed, seed=0)(town[:2]).images == 2
    assert Validator(town, photographed[:3], seed=0)(town).images == 3
