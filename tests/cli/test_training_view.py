"""What a training prints where nobody can draw over lines."""

import pytest

from sim2real.cli.training_view import Log
from sim2real.training import TrainingProgress


def progress(step: int, total: int) -> TrainingProgress:
    return TrainingProgress(step, total, 0.5, {"cycle": 0.25}, 2.0, 60.0)


def test_a_log_is_never_silent_for_long(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    log = Log()
    for step in range(1, 21):
        now[0] += 8
        log.beat(step, 2000)
        if step % 10 == 0:
            log.report(progress(step, 2000))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "step 4/2000  0.1/s  4:26:08 left"
    assert [line.split("  ")[0] for line in lines] == [f"step {step}/2000" for step in (4, 8, 10, 14, 18)]
    assert lines[2].split("  ")[2] == "cycle 0.250"


def test_quick_steps_give_a_log_its_few_lines(capsys: pytest.CaptureFixture[str]) -> None:
    log = Log()
    for step in range(1, 1001):
        log.beat(step, 1000)
        if step % 10 == 0:
            log.report(progress(step, 1000))
    assert len(capsys.readouterr().err.splitlines()) == 51
