from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.preservation import DAMAGE, Sample, render_samples
from sim2real.datasets.labels import Label, Segmentation
from sim2real.errors import DatasetError
from sim2real.evaluation.figures import Figure
from sim2real.evaluation.segmenter import NETWORKS, SegmenterResult, hold_out, not_judged, segment, stages

STEPS = 60
LEARNING = ["learning", "learning tested"]


@pytest.fixture(scope="module")
def town() -> list[Sample]:
    return render_samples("sim", 6, (160, 64), scenes=4)


def changed(town: Sequence[Sample], change: str) -> list[Sample]:
    return [replace(sample, translation=DAMAGE[change](sample)) for sample in town]


def found(result: SegmenterResult, name: str) -> dict[str, Figure]:
    return {figure.label: figure for figure in result.figures if figure.name == name}


def blank(sequence: str, index: int, known: Mapping[str, Label] | None = None) -> Sample:
    return Sample(np.zeros((16, 16, 3), np.uint8), known or {}, sequence, index)


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, int, int]]:
    return []


@pytest.fixture(scope="module")
def identity(town: list[Sample], steps: list[tuple[str, int, int]]) -> SegmenterResult:
    def progress(stage: str, done: int, total: int, limit: str = "", /) -> None:
        steps.append((stage, done, total))

    return segment(town, steps=STEPS, progress=progress)


def test_what_is_not_changed_is_known_as_well(identity: SegmenterResult) -> None:
    assert not identity.remark
    for figure in identity.figures:
        assert figure.after in {None, figure.before}
        assert figure.interval in {None, figure.before_interval}
        assert figure.group == "preservation"
        assert figure.better == "higher"


def test_large_classes_are_known_and_the_mean_is_of_those(identity: SegmenterResult) -> None:
    figures = found(identity, "segmenter-miou")
    known = {label: figure.after for label, figure in figures.items() if label and figure.after is not None}
    assert {"Road", "Sky", "Tree"} <= set(known)
    assert known["Sky"] > 0.7
    assert figures[""].after == pytest.approx(np.mean(list(known.values())))
    assert figures[""].interval is not None
    assert figures[""].interval[0] < np.mean(list(known.values())) < figures[""].interval[1]


def test_a_class_that_it_never_knew_has_no_figure_but_a_remark(identity: SegmenterResult) -> None:
    pole = found(identity, "segmenter-miou")["Pole"]
    assert pole.after is None
    assert pole.interval is None
    assert pole.remark == "not judged: too little of this class in the held-out frames (618 pixels)"
    assert not pole.is_meaningful


@pytest.mark.parametrize(
    ("pixels", "before", "said"),
    [
        (5000, 0.31, "not judged: the segmenter knows this class too little (IoU 0.31)"),
        (999, 0.9, "not judged: too little of this class in the held-out frames (999 pixels)"),
        (1000, 0.4, ""),
    ],
)
def test_a_class_that_is_hardly_known_or_seen_is_not_judged(pixels: int, before: float, said: str) -> None:
    assert not_judged(pixels, before) == said


def test_only_frames_that_were_not_learnt_are_asked_about(town: list[Sample], identity: SegmenterResult) -> None:
    learnt, asked = hold_out(town)
    assert set(identity.by_frame) == {pair.path for pair in asked}
    assert not {pair.path for pair in asked} & {pair.path for pair in learnt}
    assert all(0.4 < share < 1 for share in identity.by_frame.values())


def test_progress_is_told_of_every_step(identity: SegmenterResult, steps: list[tuple[str, int, int]]) -> None:
    total = 2 * NETWORKS * STEPS
    assert [step for step in steps if step[0] == "learning"] == [
        ("learning", step, total) for step in range(1, total + 1)
    ]
    assert steps[-1] == ("learning tested", 6, 6)


def test_threads_change_nothing_and_are_left_as_they_were(town: list[Sample]) -> None:
    threads = torch.get_num_threads()
    found = []
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            found.append(segment(town, steps=4, networks=2).figures)
            assert torch.get_num_threads() == number
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1]


def test_an_interrupt_ends_all_trainings(town: list[Sample]) -> None:
    told: list[str] = []

    def interrupt(stage: str, done: int, _total: int, _unit: str = "") -> None:
        told.append(stage)
        if (stage, done) == ("learning", 3):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment(town, steps=10_000, networks=2, progress=interrupt)
    assert told.count("learning") < 10
    assert not torch.are_deterministic_algorithms_enabled()


def test_what_is_told_of_progress_is_what_was_announced(
    town: list[Sample], identity: SegmenterResult, steps: list[tuple[str, int, int]]
) -> None:
    assert identity.figures
    announced = stages(town, STEPS)
    assert [*announced] == ["masks", "masks learnt before", "masks learnt after", *LEARNING]
    told = {stage: total for stage, _, total in steps}
    assert told.keys() == announced.keys()
    assert all(total <= announced[stage] for stage, total in told.items())
    assert stages([blank("", 0)], STEPS) == {}


def test_mirrored_frames_are_neither_known_nor_to_be_learnt(town: list[Sample]) -> None:
    result = segment(changed(town, "mirror"), steps=STEPS)
    for name in ("segmenter-miou", "relearnt-miou"):
        figure = found(result, name)[""]
        assert figure.after is not None
        assert figure.before is not None
        assert figure.after < 0.75 * figure.before


def test_equal_seeds_give_equal_figures(town: list[Sample]) -> None:
    few = town[::2]
    assert segment(few, steps=2, seed=3) == segment(few, steps=2, seed=3)


def test_too_few_masks_make_a_remark() -> None:
    mask = {"segmentation": Segmentation(np.zeros((16, 16), np.int32), {0: "Road"})}
    frames = [blank("", number, mask if number < 7 else None) for number in range(20)]
    assert segment(frames) == SegmenterResult(remark="a segmenter needs 8 frames with segmentation masks, there are 7")


class Torn(dict[str, Label]):
    """Labels whose mask is damaged."""

    def __getitem__(self, kind: str) -> Label:
        raise DatasetError(f"{kind}.png: damaged")


def test_masks_that_cannot_be_read_are_left_out_and_told() -> None:
    mask = {"segmentation": Segmentation(np.zeros((16, 16), np.int32), {0: "Road"})}
    frames = [blank("", number, Torn(mask) if number < 2 else mask) for number in range(9)]
    remark = segment(frames).remark
    assert "needs 8 frames with segmentation masks, there are 7" in remark
    assert "2 masks could not be read" in remark
    assert "segmentation.png: damaged" in remark


@pytest.mark.parametrize("names", [{}, {0: "Undefined"}, {1: "Road"}])
def test_masks_without_a_class_cannot_be_learnt(names: dict[int, str]) -> None:
    mask = {"segmentation": Segmentation(np.zeros((16, 16), np.int32), names)}
    with pytest.raises(DatasetError, match="name no class"):
        segment([blank("", number, mask) for number in range(8)], steps=1)


def test_whole_scenes_are_held_out() -> None:
    frames = [blank(f"Scene0{scene}/{look}", time) for scene in (1, 2, 3) for look in "ab" for time in range(5)]
    learnt, asked = hold_out(frames)
    assert {pair.sequence for pair in learnt} == {"Scene01/a", "Scene01/b", "Scene02/a", "Scene02/b"}
    assert {pair.sequence for pair in asked} == {"Scene03/a", "Scene03/b"}


def test_of_one_scene_the_end_is_held_out_behind_a_gap() -> None:
    frames = [blank(f"Scene01/{look}", time) for look in "ab" for time in range(40)]
    learnt, asked = hold_out(frames[::-1])
    for look in "ab":
        sequence = f"Scene01/{look}"
        assert [pair.index for pair in learnt if pair.sequence == sequence] == [*range(28)]
        assert [pair.index for pair in asked if pair.sequence == sequence] == [*range(30, 40)]


def test_what_networks_differ_by_is_part_of_the_interval(town: list[Sample], identity: SegmenterResult) -> None:
    alone = segment(town, steps=STEPS, networks=1)
    several, one = (found(result, "relearnt-miou")[""].interval for result in (identity, alone))
    assert several is not None
    assert one is not None
    assert several[1] - several[0] > one[1] - one[0]
