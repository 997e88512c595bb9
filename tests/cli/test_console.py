"""What long work looks like where nobody can draw over lines."""

from collections.abc import Callable

import pytest

from sim2real.cli import console


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """``clock(seconds)``: let time pass."""
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(console, "is_live", lambda: False)

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait


def test_time_left_goes_by_the_pace_of_late(clock: Callable[[float], None], capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress() as report:
        report("converting", 0, 1000)
        clock(300)  # compiling
        for done in range(1, 101):
            clock(1)
            report("converting", done, 1000, "translating" if done > 1 else "")
        first = capsys.readouterr().err.splitlines()
        for done in range(101, 301):
            clock(0.5)
            report("converting", done, 1000, "decoding")
        last = capsys.readouterr().err.splitlines()[-1]
        report("converting", 1000, 1000)
    assert first[0] == "converting 1/1000 files"  # a single one says nothing
    assert first[1].endswith("/1000 files, 1.0/s, 0:16:24 left, limited by translating")
    assert ", 2.0/s, 0:0" in last
    assert last.endswith("limited by decoding")
    assert capsys.readouterr().err == "converting 1000/1000 files in 0:08:20\n"


def test_a_batch_that_comes_at_once_promises_nothing(
    clock: Callable[[float], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with console.progress("frames") as report:
        for done in range(1, 9):
            report("converting", done, 80)
        clock(20)
        report("converting", 9, 80)
        report("carrying", 3, 3)
    assert capsys.readouterr().err == "converting 9/80 frames, 0.4/s, 0:02:58 left\ncarrying 3/3 frames in 0:00:20\n"


def test_names_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    console.out.print("data:raccoon: and [bold]frames[/bold]/:car:")
    assert capsys.readouterr().out == "data:raccoon: and [bold]frames[/bold]/:car:\n"
