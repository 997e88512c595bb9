from typing import Any

import pytest

from sim2real.evaluation.figures import Figure
from sim2real.evaluation.verdict import FEWEST_FRAMES, assess, judge, nearer

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
    ("change", "said"), [((-1, 1), "not surely nearer"), ((1, 3), "farther"), (None, "not surely nearer")]
)
def test_what_is_no_nearer_to_real_warns(change: tuple[float, float] | None, said: str) -> None:
    state, reasons = judge([KEPT, distance(change)], ENOUGH)
    assert state == "WARN"
    assert said in reasons[0]


@pytest.mark.parametrize(("value", "state"), [(0.02, "PASS"), (0.05, "WARN"), (0.2, "FAIL")])
def test_new_edges_decide(value: float, state: str) -> None:
    its, reasons = judge([figure("new_edges", value), NEARER], ENOUGH)
    assert its == state
    assert "new_edges" in reasons[0]


@pytest.mark.parametrize(("value", "state"), [(0.82, "PASS"), (0.7, "WARN"), (0.5, "FAIL")])
def test_a_segmenter_is_held_against_what_it_knew_before(value: float, state: str) -> None:
    miou = figure("relearnt-miou", value, before=0.84, better="higher", change=(-0.4, -0.01))
    assert assess(miou) == state


@pytest.mark.parametrize(("value", "state"), [(0.05, "PASS"), (0.12, "PASS"), (0.2, "WARN"), (0.9, "WARN")])
def test_what_flickers_more_than_its_source_warns(value: float, state: str) -> None:
    flicker = figure("flicker", value, before=0.1, group="temporal")
    assert assess(flicker) == state
    if state == "WARN":
        assert "flicker 200%" in judge([KEPT, NEARER, figure("flicker", 0.2, before=0.1)], ENOUGH)[1][0]


def test_a_fall_that_may_be_chance_does_not_fail() -> None:
    fallen = {"before": 0.9, "better": "higher"}
    assert assess(figure("recall", 0.5, **fallen, change=(-0.9, 0.1))) == "WARN"
    assert assess(figure("recall", 0.5, **fallen, change=(-0.6, -0.2))) == "FAIL"
    assert assess(figure("recall", 0.5, **fallen, interval=(0.4, 0.6), before_interval=(0.8, 1.0))) == "FAIL"
    assert assess(figure("recall", 0.5, **fallen, interval=(0.3, 0.9), before_interval=(0.8, 1.0))) == "WARN"


def test_classes_that_stand_alike_share_a_reason_the_worst_first() -> None:
    fallen = [
        figure("contrast", after, before=2.0, better="higher", label=label, change=(-2, -0.1))
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
    assert "nothing was measured" in reasons[0]


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
