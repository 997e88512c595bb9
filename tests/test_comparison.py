"""What is chosen, and by what."""

from typing import Any

import pytest

from sim2real.comparison import Result, choose, distance_left, measured
from sim2real.evaluation.figures import Evaluation, Figure


def figure(**more: Any) -> Figure:
    return Figure(**{"group": "realism", "name": "colour", "title": "", "better": "lower", "after": 3.0, **more})


@pytest.mark.parametrize(
    ("before", "after", "floor", "left"),
    [(10, 10, 2, 1.0), (10, 2, 2, 0.0), (10, 6, 2, 0.5), (10, 1, 2, 0.0), (10, 40, 2, 2.0), (10, 5, None, 0.5)],
)
def test_what_is_left_of_the_distance(before: float, after: float, floor: float | None, left: float) -> None:
    assert distance_left(figure(before=before, after=after, floor=floor)) == pytest.approx(left)


def test_figures_that_tell_nothing_of_the_distance() -> None:
    assert distance_left(figure(before=None)) is None
    assert distance_left(figure(before=2.0, floor=2.0)) is None
    assert distance_left(figure(before=9.0, group="preservation")) is None
    assert distance_left(figure(before=9.0, label="Car")) is None


def result(recipe: str, distance: float | None, **more: Any) -> Result:
    return Result(**{"recipe": recipe, "verdict": "PASS", "distance": distance, "labels": {"new_edges": 0.01}, **more})


def test_the_nearest_is_taken_and_of_equals_the_quickest() -> None:
    slow, quick = result("slow", 0.40, training_seconds=60.0), result("quick", 0.44, training_seconds=2.0)
    assert choose([result("far", 0.8), slow, quick])[0] == "quick"
    assert "slow" in choose([slow, quick])[1]
    assert choose([slow, result("farther", 0.46, training_seconds=1.0)])[0] == "slow"


@pytest.mark.parametrize("bad", [{"verdict": "FAIL"}, {"artefacts": ("halos",)}, {"verdict": "none"}])
def test_what_harms_is_never_taken(bad: dict[str, Any]) -> None:
    assert choose([result("harmful", 0.1, **bad), result("fair", 0.7)])[0] == "fair"
    take, why = choose([result("harmful", 0.1, **bad)])
    assert not take
    assert "1 of 1" in why


def test_nothing_is_taken_where_nothing_comes_nearer() -> None:
    assert choose([result("same", 1.0), result("unknown", None)])[0] == ""


def test_what_is_measured_is_what_the_evaluation_says() -> None:
    figures = (
        figure(before=10.0, after=6.0, floor=2.0),
        figure(name="spectrum", before=4.0, after=1.0),
        figure(group="preservation", name="new_edges", after=0.02, interval=(0.01, 0.03), count=50),
        figure(group="preservation", name="artefacts.halos", after=0.0, count=50),
    )
    found = measured(
        "grid",
        Evaluation(
            tool_version="1",
            source="/a",
            real="/b",
            settings={},
            counts={},
            verdict="WARN",
            reasons=("few frames",),
            figures=figures,
        ),
    )
    assert found.distance == pytest.approx((0.5 + 0.25) / 2)
    assert found.labels == {"new_edges": 0.02}
    assert (found.verdict, found.reasons, found.artefacts) == ("WARN", ("few frames",), ())
