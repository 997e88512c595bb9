from typing import Any

import pytest

from sim2real.evaluation.figures import Figure
from sim2real.evaluation.verdict import FEWEST_FRAMES, assess, doubt, judge, nearer, topic_of, unchanged

ENOUGH = FEWEST_FRAMES


def figure(name: str, after: float, **differences: Any) -> Figure:
    usual: dict[str, Any] = {"group": "preservation", "title": name, "better": "lower", "count": 100}
    return Figure(name=name, after=after, **(usual | differences))


def distance(change: tuple[float, float] | None, **differences: Any) -> Figure:
    return figure("colour", 3.0, group="realism", before=5.0, change=change, **differences)


KEPT = figure("new_edges", 0.01)
NEARER = distance((-3, -1))


def test_what_holds_its_labels_and_is_nearer_to_real_passes_and_says_why() -> None:
    state, reasons = judge([KEPT, NEARER], ENOUGH)
    assert state == "PASS"
    assert any("new_edges 0.01" in reason for reason in reasons)
    assert any("nearer to real" in reason and "colour" in reason for reason in reasons)


@pytest.mark.parametrize(
    ("change", "said"), [((-1, 1), "not significantly nearer"), ((1, 3), "farther"), (None, "not significantly nearer")]
)
def test_what_is_no_nearer_to_real_warns(change: tuple[float, float] | None, said: str) -> None:
    state, reasons = judge([KEPT, distance(change)], ENOUGH)
    assert state == "WARN"
    assert said in reasons[0]


@pytest.mark.parametrize(("value", "state"), [(0.02, "PASS"), (0.05, "WARN"), (0.2, "FAIL")])
def test_new_edges_decide(value: float, state: str) -> None:
    its, reasons = judge([figure("new_edges", value), NEARER], ENOUGH)
    assert its == state
    assert "new_edges" in reasons[state == "PASS"]
    assert ("nearer to real" in reasons[0]) == (state == "PASS")  # what was won, before what was kept


@pytest.mark.parametrize(("value", "state"), [(0.72, "PASS"), (0.6, "WARN"), (0.4, "FAIL")])
def test_a_segmenter_is_held_against_what_it_knew_before(value: float, state: str) -> None:
    fallen = value - 0.84
    miou = figure("relearnt-miou", value, before=0.84, better="higher", change=(fallen - 0.02, fallen + 0.02))
    assert assess(miou) == state


@pytest.mark.parametrize(("value", "state"), [(0.05, "PASS"), (0.12, "PASS"), (0.2, "WARN"), (0.9, "WARN")])
def test_what_flickers_more_than_its_source_warns(value: float, state: str) -> None:
    flicker = figure("flicker", value, before=0.1, group="temporal", change=(value - 0.11, value - 0.09))
    assert assess(flicker) == state
    if state == "WARN":
        assert f"flicker {value / 0.1:.0%}" in judge([KEPT, NEARER, flicker], ENOUGH)[1][0]


@pytest.mark.parametrize(
    ("known", "state"),
    [
        ({"change": (-0.9, 0.1)}, None),  # it may have risen
        ({"change": (-0.6, -0.02)}, None),  # or fallen by less than matters
        ({"change": (-0.6, -0.2)}, "WARN"),
        ({"change": (-0.6, -0.3)}, "FAIL"),
        ({"interval": (0.4, 0.6), "before_interval": (0.85, 1.0)}, "FAIL"),
        ({"interval": (0.3, 0.9), "before_interval": (0.8, 1.0)}, None),
        ({}, None),  # of too few to have an interval
    ],
)
def test_a_fall_that_may_be_chance_alarms_nobody(known: dict[str, tuple[float, float]], state: str | None) -> None:
    recall = figure("recall", 0.5, before=0.9, better="higher", **known)
    assert assess(recall) == state
    assert bool(doubt(recall)) == (state is None)
    verdict, reasons = judge([KEPT, NEARER, recall], ENOUGH)
    assert verdict == (state or "PASS")
    if state is None:
        assert any("recall 55.6% of the value before" in reason and "not judged" in reason for reason in reasons)


@pytest.mark.parametrize(
    ("interval", "state"), [((0.1, 0.3), "WARN"), ((0.16, 0.3), "FAIL"), ((0.02, 0.4), None), (None, "FAIL")]
)
def test_what_is_beyond_a_limit_is_so_with_its_whole_interval(
    interval: tuple[float, float] | None, state: str | None
) -> None:
    assert assess(figure("new_edges", 0.2, interval=interval)) == state


@pytest.mark.parametrize(("name", "before"), [("relearnt-miou", 0.39), ("recall", 0.1), ("contrast", 0.15)])
def test_who_knew_next_to_nothing_before_judges_nothing(name: str, before: float) -> None:
    for label in ("", "Car"):
        lost = figure(name, 0.0, before=before, better="higher", label=label, change=(-before, -before))
        assert assess(lost) is None
        assert "is too small to compare with" in doubt(lost)


def changed(after: float, local: float, before: float | None = None, local_before: float | None = None) -> list[Figure]:
    return [
        figure("change", after, better=None, before=before),
        figure("local_change", local, better=None, before=local_before),
    ]


@pytest.mark.parametrize(
    ("figures", "is_same"),
    [
        (changed(0.05, 0.2, 0.04, 0.2), True),
        (changed(0.0, 0.0), True),
        (changed(6.7, 1.7, 6.6, 1.7), True),  # JPEG of a low quality, no more
        (changed(6.7, 9.0, 6.6, 1.7), False),  # but for a region
        (changed(0.4, 40.0, 0.3, 0.5), False),  # a tree in the sky, which the mean of all pixels hides
        (changed(5.0, 2.0, 0.4, 0.4), False),
        (changed(2.0, 2.0), False),
        ([], False),
    ],
)
def test_frames_that_are_as_they_were_are_called_so_first(figures: list[Figure], is_same: bool) -> None:
    noisy = figure("relearnt-miou", 0.2, before=0.8, better="higher", label="Van", change=(-0.7, -0.5))
    state, reasons = judge([KEPT, distance((-1, 1)), noisy, *figures], ENOUGH, ["look here"])
    assert reasons[0].startswith("nothing changed") == is_same == bool(unchanged(figures))
    if is_same:
        assert (state, len(reasons)) == ("WARN", 2)  # nothing of the segmenter: labels hold as they did
        assert f"by {figures[0].after:.2f} grey levels" in reasons[0]


def test_a_value_just_beyond_its_limit_is_not_printed_as_the_limit() -> None:
    recall = figure("recall", 0.947, before=1.0, better="higher", change=(-0.054, -0.052))
    assert "recall 94.7% of the value before (good from 95%, bad up to 75%)" in judge([KEPT, NEARER, recall], ENOUGH)[1]


@pytest.mark.parametrize(
    ("figures", "topic"),
    [
        ([figure("periodic", 5.0), figure("new_edges", 0.3)], "checkerboards"),  # the cause, not what it causes
        ([figure("halos", 2.0)], "halos"),
        ([figure("halos", 2.0), figure("invented", 0.2)], "trees-in-the-sky"),  # the one that fails
        ([figure("invented", 0.5, label="Sky")], "trees-in-the-sky"),
        ([figure("inverted", 0.9)], "colours-are-inverted"),
        ([figure("warp_ratio", 3.0, group="temporal")], "flicker"),
        ([figure("lost_boundaries", 0.2)], "do-the-labels-hold"),
        ([figure("change", 0.3, group="artefacts"), figure("local_change", 0.5, group="artefacts")], "nothing-changes"),
        ([distance((0.1, 0.2))], "does-it-look-more-real"),
        ([NEARER], "the-verdict"),  # too few frames
        ([], "reject-bad-frames-while-converting"),
    ],
)
def test_the_section_of_the_manual_is_that_of_the_worst_finding(figures: list[Figure], topic: str) -> None:
    state = "FAIL" if not figures else judge([KEPT, *figures], 8)[0]
    assert topic_of(state, [KEPT, *figures] if figures else []) == topic
    assert topic_of("PASS", figures) is None


def test_classes_that_stand_alike_share_a_reason_the_worst_first() -> None:
    fallen = [
        figure("contrast", after, before=2.0, better="higher", label=label, change=(after - 2.1, after - 1.9))
        for label, after in (("Car", 0.4), ("Sky", 1.9), ("Tree", 0.2))
    ]
    state, reasons = judge([KEPT, NEARER, *fallen], ENOUGH)
    assert state == "WARN"  # of faded classes: a real look fades some, too
    (reason,) = reasons
    assert "contrast of Tree 10%, Car 20%" in reason
    assert "Sky" not in reason


@pytest.mark.parametrize(("label", "state"), [("Sky", "FAIL"), ("sky", "FAIL"), ("Road", None)])
def test_what_is_invented_in_the_sky_has_limits_of_its_own(label: str, state: str | None) -> None:
    assert assess(figure("invented", 0.04, label=label)) == state


def test_a_figure_of_too_few_decides_nothing() -> None:
    assert assess(figure("new_edges", 0.5, count=3, least=10)) is None
    state, reasons = judge([figure("new_edges", 0.5, count=3, least=10), NEARER], ENOUGH)
    assert state == "WARN"
    assert "no metric was measured" in reasons[0]


@pytest.mark.parametrize(
    ("name", "fault", "values"),
    [
        ("periodic", "periodic patterns (checkerboards): periodic", (0.2, 1.5, 3)),
        ("halos", "halos around objects: halos", (0.8, 2, 3)),
        ("rims", "a rim along the border: rims", (2, 5, 8)),
        ("seams", "seams (steps along straight lines): seams", (1, 3, 8)),
        ("unexplained", "content that the frames do not show: unexplained", (0.03, 0.1, 0.2)),
        ("inverted", "light and dark swapped (a negative): inverted", (0.1, 0.3, 0.9)),
    ],
)
def test_faults_that_a_person_sees_are_called_by_their_names(name: str, fault: str, values: tuple[float, ...]) -> None:
    for value, state in zip(values, ("PASS", "WARN", "FAIL"), strict=True):
        its, reasons = judge([KEPT, NEARER, figure(name, value)], ENOUGH)
        assert its == state
        told = f"none of these: {fault.partition(':')[0]}" if state == "PASS" else f"{fault} {value:.3g} (good up to"
        assert any(reason.startswith(told) for reason in reasons)


def test_pictures_without_faults_do_not_tell_that_labels_hold() -> None:
    assert judge([figure("halos", 0.1), NEARER], ENOUGH) == (
        "WARN",
        ("no metric was measured that shows whether labels still hold",),
    )


def test_too_few_frames_cannot_pass() -> None:
    state, reasons = judge([KEPT, NEARER], ENOUGH - 1)
    assert state == "WARN"
    assert any(f"{ENOUGH - 1} frames are too few" in reason for reason in reasons)


def test_a_concern_warns_and_is_told() -> None:
    assert judge([KEPT, NEARER], ENOUGH, ["look here"]) == ("WARN", ("look here",))


def test_what_fails_is_told_before_what_warns() -> None:
    _, reasons = judge([KEPT, distance((-1, 1)), figure("invented", 0.3)], ENOUGH, ["look here"])
    assert reasons[0].startswith("invented")
    assert reasons[-1] == "look here"


def test_nearer_heeds_which_way_a_figure_should_go() -> None:
    assert nearer(distance((-3, -1))) is True
    assert nearer(distance((-3, -1), better="higher")) is False
    assert nearer(distance((-3, -1), better=None)) is None
    assert nearer(distance((-3, -1), count=1, least=9)) is None
