from pathlib import Path
from typing import Any

import pytest

from sim2real.cli.evaluate import show_evaluation
from sim2real.evaluation.figures import Evaluation, Figure

WIDE = 80


def figure(name: str, after: float | None, **more: Any) -> Figure:
    usual: dict[str, Any] = {"group": "preservation", "title": name, "better": "lower", "count": 100}
    return Figure(name=name, after=after, **(usual | more))


def shown(
    capsys: pytest.CaptureFixture[str], *figures: Figure, verdict: Any = "FAIL", whole: bool = False
) -> list[str]:
    found = Evaluation(
        tool_version="0",
        source="/sim",
        real="/real",
        settings={},
        counts={"frames": 40, "evaluated": 40, "real": 40},
        verdict=verdict,
        reasons=("because",),
        figures=figures,
    )
    show_evaluation(Path("converted"), found, whole=whole)
    return capsys.readouterr().out.splitlines()


def test_a_remark_on_all_classes_and_on_one_names_both(capsys: pytest.CaptureFixture[str]) -> None:
    remark = "not judged: the segmenter knows this class too little"
    figures = [figure("segmenter-miou", None, label=label, remark=remark) for label in ("", "Building")]
    lines = shown(capsys, *figures, whole=True)
    assert f"segmenter-miou of all classes, Building: {remark}" in lines


@pytest.mark.parametrize(
    ("figures", "section"),
    [
        ([figure("periodic", 5.0)], "checkerboards"),
        ([figure("invented", 0.5)], "trees-in-the-sky"),
        ([figure("lost_boundaries", 0.5)], "do-the-labels-hold"),
        ([], "reject-bad-frames-while-converting"),
        ([figure("new_edges", 0.0)], "does-it-look-more-real"),
    ],
)
def test_the_last_line_names_the_section_of_the_fault_and_fits(
    figures: list[Figure], section: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDE))
    *_, last = shown(capsys, *figures)
    assert last.endswith(f"sim2real help {section}")
    assert len(last) <= WIDE


def test_a_verdict_that_is_good_needs_no_section(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, figure("new_edges", 0.0), verdict="PASS")[-1] == "more: --classes; sim2real report converted"
