"""The pass over pictures, seen by metrics of a third party."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from numpy.typing import ArrayLike

from sim2real.datasets import open_dataset
from sim2real.errors import PluginError, Sim2RealError
from sim2real.evaluation import measures
from sim2real.evaluation.figures import Figure
from sim2real.evaluation.frames import FramePair, open_converted
from sim2real.evaluation.intervals import blocks_of
from sim2real.evaluation.measures import Look, frame_figures, see_frames, see_real, set_figure, steps_of
from sim2real.evaluation.view import View
from sim2real.files import write_whole
from sim2real.imageio import encode_png
from sim2real.metrics.base import About, Change, Features, Image
from sim2real.progress import quiet

Paint = Callable[..., Path]
VIEW: Final = View(20, 16)


class Brightness:
    """A metric of sets that insists on what it was promised."""

    about = About(title="difference of mean light, grey levels", better="lower", least=3)
    resamples = 20

    def describe(self, images: Sequence[Image]) -> Features:
        assert {image.shape for image in images} == {(16, 20, 3)}
        return np.array([[image.mean()] for image in images], np.float32)

    def distance(self, images: Features, real: Features) -> float:
        assert len(images) == len(real)
        return float(abs(images.mean() - real.mean()))


class Refusing(Brightness):
    def distance(self, images: Features, real: Features) -> float:  # noqa: ARG002  as promised
        raise Sim2RealError("it cannot be told")


class Slow(Brightness):
    ticks = 5

    def distance(self, images: Features, real: Features, tick: Callable[[], None] = lambda: None) -> float:
        for _ in range(self.ticks):
            tick()
        return super().distance(images, real)


class Endless(Brightness):
    def distance(self, images: Features, real: Features) -> float:  # noqa: ARG002  as promised
        return float("nan")


class Light:
    """A metric of frames, with a figure of a class."""

    abouts: Mapping[str, About] = {"light": About(title="mean light, grey levels", better=None)}

    def compare(self, before: Image, after: Image, labels: Mapping[str, object]) -> dict[str, Change]:  # noqa: ARG002  as promised
        if before.mean() < 30:
            raise Sim2RealError("too dark")
        figures = {"light": Change(after.mean(), before.mean())}
        return figures | ({"light/Bright": Change(after.mean())} if after.mean() > 128 else {})


class Stray(Light):
    abouts: Mapping[str, About] = {"shade": About(title="something else", better=None)}


@pytest.fixture
def pairs(tmp_path: Path, paint: Paint) -> list[FramePair]:
    """12 frames, and other pictures in their place."""
    paint(tmp_path / "sim", 12, size=(40, 32), seed=1)
    paint(tmp_path / "out", 12, size=(40, 32), seed=2)
    return list(open_converted(tmp_path / "out", tmp_path / "sim").pairs)


def look(values: ArrayLike, *more: ArrayLike) -> Look:
    features = tuple(np.array(each, np.float32)[:, None] for each in (values, *more))
    return Look(features, blocks_of([""] * len(features[0])))


def measured(frames: Look | None, real: Look | None, metric: Brightness | None = None, seed: int = 0) -> Figure:
    return set_figure("brightness", metric or Brightness(), frames, real, seed=seed, tick=lambda: None)


def test_metrics_of_sets_see_one_size_whatever_the_pictures_have(
    pairs: list[FramePair], tmp_path: Path, paint: Paint
) -> None:
    real = list(open_dataset(paint(tmp_path / "real", 5, size=(20, 16), seed=3)).frames())
    seen = see_frames(pairs, {}, {"brightness": Brightness()}, VIEW, quiet)
    before, after = seen.looks["brightness"].features
    np.testing.assert_allclose(before[:, 0], [pair.before().mean() for pair in pairs], atol=1)
    np.testing.assert_allclose(after[:, 0], [pair.after().mean() for pair in pairs], atol=1)
    (features,) = see_real(real, {"brightness": Brightness()}, VIEW, quiet).looks["brightness"].features
    np.testing.assert_allclose(features[:, 0], [frame.load_image().mean() for frame in real], atol=1e-3)


def test_pictures_too_small_for_the_view_are_left_out_and_told(tmp_path: Path, paint: Paint) -> None:
    real = [
        *open_dataset(paint(tmp_path / "large", 3, size=(40, 32))).frames(),
        *open_dataset(paint(tmp_path / "narrow", 2, size=(8, 32))).frames(),
    ]
    seen = see_real(real, {"brightness": Brightness()}, VIEW, quiet)
    assert len(seen.looks["brightness"].blocks) == 3
    assert len(seen.faults["realism"]) == 2
    assert "smaller than the 20x16 pixels" in seen.faults["realism"][0]


def test_a_metric_that_breaks_is_named_in_its_traceback(pairs: list[FramePair]) -> None:
    class Broken(Light):
        def compare(self, before: Image, after: Image, labels: Mapping[str, object]) -> dict[str, Change]:  # noqa: ARG002  as promised
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        see_frames(pairs, {"broken": Broken()}, {}, VIEW, quiet)
    assert caught.value.__notes__ == [f"by the metric 'broken', of {pairs[0].path}"]


def test_descriptions_that_take_much_room_are_kept_of_fewer_pictures_spread_over_all(
    pairs: list[FramePair], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measures, "_ROOM", 4 * 4)
    seen = see_frames(pairs, {"light": Light()}, {"brightness": Brightness()}, VIEW, quiet)
    before, _ = seen.looks["brightness"].features
    np.testing.assert_allclose(before[:, 0], [pairs[number].before().mean() for number in (1, 4, 7, 10)], atol=1)
    assert len(seen.changes) == 12


@pytest.mark.parametrize(("metric", "steps"), [(Brightness(), 60), (Slow(), 300)])
def test_each_distance_and_each_part_of_a_slow_one_is_told(metric: Brightness, steps: int) -> None:
    ticks: list[None] = []
    values = np.arange(20)
    figure = set_figure("slow", metric, look(values, values + 1), look(values), seed=0, tick=lambda: ticks.append(None))
    assert len(ticks) == steps_of(metric) == steps
    assert figure.after == measured(look(values, values + 1), look(values)).after


def test_a_slow_metric_is_not_measured_where_it_would_say_nothing() -> None:
    class Learning(Slow):
        about = About(title="", better="lower", least=10)

    values, ticks = np.arange(12), list[None]()
    figure = set_figure("slow", Learning(), look(values, values), look(values), seed=0, tick=lambda: ticks.append(None))
    assert (figure.after, ticks) == (None, [])
    assert figure.remark.startswith("needs 20 frames and 20 real images, there are 12 and 12")


def test_sets_are_compared_at_equal_counts_half_of_the_smaller() -> None:
    random = np.random.default_rng(0)
    figure = measured(look(random.normal(90, 5, 200), random.normal(60, 5, 200)), look(random.normal(50, 5, 41)))
    assert figure.count == 20
    assert figure.before == pytest.approx(40, abs=3)
    assert figure.after == pytest.approx(10, abs=3)
    assert figure.floor is not None
    assert figure.floor < 3
    assert figure.change is not None
    assert figure.change[0] < -30 < figure.change[1] + 3
    assert figure.after is not None
    assert figure.interval is not None
    assert figure.interval[0] <= figure.after <= figure.interval[1]
    assert figure.is_meaningful


def test_a_change_is_surer_than_what_it_is_between() -> None:
    """Frames that differ much from each other, each made 5 darker."""
    before = np.random.default_rng(0).normal(100, 30, 60)
    figure = measured(look(before, before - 5), look([0.0] * 60))
    assert figure.change == pytest.approx((-5, -5), abs=1e-3)
    assert figure.interval is not None
    assert figure.interval[1] - figure.interval[0] > 5


def test_a_set_too_small_or_a_metric_that_gives_up_is_told() -> None:
    few = measured(look([1, 2, 3], [1, 2, 3]), look([1] * 9))
    assert few.after is None
    assert few.remark == "needs 6 frames and 6 real images, there are 3 and 9: convert more frames"
    assert measured(None, look([1] * 9)).after is None
    refused = measured(look([1] * 9, [1] * 9), look([1] * 9), Refusing())
    assert (refused.after, refused.remark) == (None, "it cannot be told")
    endless = measured(look([1] * 9, [1] * 9), look([1] * 9), Endless())
    assert (endless.after, endless.remark) == (None, "not finite on these images")


def test_means_of_frames_of_all_and_of_classes(pairs: list[FramePair]) -> None:
    seen = see_frames(pairs, {"light": Light()}, {}, VIEW, quiet)
    changes = [seen.changes[pair.path] for pair in pairs]
    change, _, whole, bright = frame_figures({"light": Light()}, changes, blocks_of([""] * 12), 0)
    after = np.array([pair.after().mean() for pair in pairs])
    moved = [np.abs(pair.after().astype(int) - pair.before()).mean() for pair in pairs]
    assert (change.name, change.before) == ("change", 0)  # which PNG is
    assert change.after == pytest.approx(np.mean(moved))
    assert whole.after == pytest.approx(after.mean())
    assert whole.before == pytest.approx(np.mean([pair.before().mean() for pair in pairs]))
    assert (whole.name, whole.label, whole.count) == ("light", "", 12)
    assert (bright.name, bright.label, bright.count) == ("light", "Bright", (after > 128).sum())
    assert bright.after == pytest.approx(after[after > 128].mean())
    assert bright.before is None
    assert whole.change is not None
    assert whole.change[0] <= (whole.after or 0) - (whole.before or 0) <= whole.change[1]


def test_a_figure_that_its_metric_did_not_announce_is_the_plugins_fault(pairs: list[FramePair]) -> None:
    seen = see_frames(pairs[:1], {"stray": Stray()}, {}, VIEW, quiet)
    with pytest.raises(PluginError, match="'light' was measured, but no abouts of the metrics stray describe it"):
        frame_figures({"stray": Stray()}, list(seen.changes.values()), blocks_of([""]), 0)


def test_a_frame_that_fails_costs_itself_alone(pairs: list[FramePair], tmp_path: Path) -> None:
    write_whole(tmp_path / "sim" / pairs[2].path, encode_png(np.zeros((32, 40, 3), np.uint8)))
    write_whole(pairs[5].translation, b"no image")
    seen = see_frames(pairs, {"light": Light()}, {"brightness": Brightness()}, VIEW, quiet)
    assert set(seen.changes) == {pair.path for pair in pairs} - {pairs[5].path}
    assert seen.changes[pairs[2].path].keys() == {"change", "local_change"}
    assert seen.faults["light"] == [f"{pairs[2].path}: too dark"]
    (fault,) = seen.faults["reading"]
    assert pairs[5].path in fault
    assert len(seen.looks["brightness"].blocks) == 11
