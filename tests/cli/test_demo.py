"""The command ``demo`` without the package that renders its town."""

import sys
from pathlib import Path

import pytest

from sim2real.cli.demo import command
from sim2real.errors import Sim2RealError


def test_the_missing_package_is_named_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sim2real_toytown", None)
    with pytest.raises(Sim2RealError, match=r"sim2real-toytown, .* plugins/sim2real-toytown"):
        command(tmp_path / "demo")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("step", "passed", "steps"),
    [
        (0.1, 15.0, 400),  # an idle machine
        (0.25, 25.0, 280),  # with another job: 70 s of training, 175 s of everything else
        (0.4, 40.0, 150),  # a slow one takes longer, but learns something
    ],
)
def test_the_steps_are_those_for_which_there_is_time(step: float, passed: float, steps: int) -> None:
    from sim2real.cli.demo import _affordable

    assert _affordable(step, passed) == steps
