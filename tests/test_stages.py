"""How long work takes, and what is said of the time that is left."""

from collections.abc import Callable, Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim2real.stages import Stages


class Clock:
    """Time that passes when it is told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True, scope="module")
def clock() -> Iterator[Clock]:
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.monotonic", clock)
        yield clock


def work(stages: Stages, clock: Clock, plan: Mapping[str, tuple[int, float]], told: Callable[[str], None]) -> None:
    """Announce stages, name -> units and seconds for each, then do them in turn."""
    for name, (units, _) in plan.items():
        stages.note(name, 0, units)
    for name, (units, seconds) in plan.items():
        for done in range(1, units + 1):
            clock.now += seconds
            stages.note(name, done, units)
            told(name)


@given(
    st.dictionaries(
        st.sampled_from(["frames", "frames in sequence", "real", "colour compared", "learning before", "masks"]),
        st.tuples(st.integers(1, 40), st.floats(0.001, 20)),
        min_size=1,
    )
)
def test_what_is_left_in_all_is_never_far_too_little(clock: Clock, plan: dict[str, tuple[int, float]]) -> None:
    alike = {name.partition(" ")[0]: seconds for name, (_, seconds) in plan.items()}
    plan = {name: (units, alike[name.partition(" ")[0]]) for name, (units, _) in plan.items()}
    ends = clock.now + sum(units * seconds for units, seconds in plan.values())
    stages = Stages()

    def check(name: str) -> None:
        left = stages.left(name)
        if left.whole is not None:
            assert left.whole == pytest.approx(ends - clock.now, rel=0.1, abs=1e-6)
        if left.is_last and left.own is not None:
            assert left.whole == left.own

    work(stages, clock, plan, check)
    assert stages.timings() == pytest.approx({name: units * seconds for name, (units, seconds) in plan.items()})


def test_nothing_is_said_in_all_of_what_was_not_measured(clock: Clock) -> None:
    stages, said = Stages(), list[tuple[str, bool, bool]]()

    def note(name: str) -> None:
        left = stages.left(name)
        said.append((name, left.own is not None, left.whole is not None))

    work(stages, clock, {"frames": (5, 1), "learning before": (5, 60), "learning after": (5, 60)}, note)
    assert [each for each in said if each[0] == "frames"][3] == ("frames", True, False)  # of three seconds
    assert said[4] == ("frames", False, False)  # done
    assert [each[2] for each in said[5:]] == [False, True, True, True, True, True, True, True, True, True]


def test_stages_side_by_side_do_not_add_up(clock: Clock) -> None:
    stages = Stages()
    for done in range(1, 11):
        clock.now += 1
        stages.note("converting", done, 100)
        stages.note("carrying", 10 * done, 1000)
    assert stages.left("converting").whole == pytest.approx(90)


def test_what_is_taken_back_is_not_waited_for(clock: Clock) -> None:
    stages = Stages()
    stages.note("learning", 0, 300)
    for done in range(1, 11):
        clock.now += 1
        stages.note("frames", done, 20)
    assert stages.left("frames").whole is None
    stages.note("learning", 0, 0)
    left = stages.left("frames")
    assert (left.rate, left.own, left.whole) == pytest.approx((1, 10, 10))
    assert left.is_last
