import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.preservation import APPEARANCE, ARTEFACTS, Sample, negative
from benchmarks.validation import blobs, levels, render_town
from sim2real.evaluation.verdict import FAULTS, GATES
from sim2real.metrics.artefacts import ArtefactMetric, artefacts

Image = NDArray[np.uint8]
SEEN_AS = {
    "pattern of 2 px": "periodic",
    "pattern of 4 px": "periodic",
    "pattern of 8 px": "periodic",
    "halos": "halos",
    "overshoot": "halos",
    "rim": "rims",
    "seams": "seams",
    "negative": "inverted",
}


@pytest.fixture(scope="module")
def frames() -> list[Image]:
    """Frames of the town, as large as those of the demo."""
    return render_town("sim", 3, (416, 128))


def means(before: list[Image], after: list[Image]) -> dict[str, float]:
    """The figures of frames, means of those that have them."""
    found = [artefacts(*pair) for pair in zip(before, after, strict=True)]
    return {name: float(np.mean([each[name] for each in found if name in each])) for name in ArtefactMetric.abouts}


def faults(figures: dict[str, float]) -> list[str]:
    """Those beyond their first limit."""
    return [name for name, value in figures.items() if value > GATES[name].passes]


def test_every_figure_has_limits_and_a_fault_of_its_name() -> None:
    assert list(ArtefactMetric.abouts) == list(FAULTS)
    assert set(GATES) > set(FAULTS)


@pytest.mark.parametrize("change", APPEARANCE)
def test_a_change_of_appearance_is_no_fault(frames: list[Image], change: str) -> None:
    figures = means(frames, [APPEARANCE[change](Sample(frame, {})) for frame in frames])
    assert not faults(figures)
    if change in {"identity", "gain 0.3", "haze", "tint"}:
        assert max(figures.values()) < 0.25


@pytest.mark.parametrize("change", APPEARANCE)
def test_nor_is_one_of_real_frames(pictures: list[Image], change: str) -> None:
    part = np.ascontiguousarray(pictures[0][:, :480])
    assert not faults(means([part], [APPEARANCE[change](Sample(part, {}))]))


def test_a_real_look_is_no_fault(frames: list[Image]) -> None:
    assert not faults(means(frames, render_town("real", 3, (416, 128))))


@pytest.mark.parametrize("change", SEEN_AS)
def test_a_fault_is_seen_as_what_it_is(frames: list[Image], change: str) -> None:
    damaged = [ARTEFACTS[change](Sample(frame, {})) for frame in frames]
    assert SEEN_AS[change] in faults(means(frames, damaged))


@pytest.mark.parametrize("change", SEEN_AS)
def test_a_fault_is_seen_in_real_frames_too(pictures: list[Image], change: str) -> None:
    damaged = [ARTEFACTS[change](Sample(image, {})) for image in pictures]
    assert SEEN_AS[change] in faults(means(pictures, damaged))


@pytest.mark.parametrize("change", ["pattern of 4 px", "halos", "rim", "seams", "negative"])
def test_a_fault_on_top_of_a_real_look_is_seen(frames: list[Image], change: str) -> None:
    real = render_town("real", 3, (416, 128))
    assert SEEN_AS[change] in faults(means(frames, [ARTEFACTS[change](Sample(image, {})) for image in real]))


def test_the_amplitude_of_a_pattern_is_told(frames: list[Image]) -> None:
    down, along = np.indices(frames[0].shape[:2])
    for stride in (2, 4, 8):
        board = np.where((down // (stride // 2) + along // (stride // 2)) % 2, 1, -1)[..., None]
        for size in (2, 5):
            grey = [levels(80 + frame * 0.4) for frame in frames]
            figures = means(grey, [levels(frame + size * board) for frame in grey])
            assert figures["periodic"] == pytest.approx(size, rel=0.05)


def test_what_frames_do_not_show_is_unexplained(frames: list[Image]) -> None:
    assert faults(means(frames, [*map(blobs, frames)])) == ["unexplained"]


def test_the_share_of_a_frame_that_is_a_negative_is_told(frames: list[Image]) -> None:
    for share in (0.25, 0.5, 1):
        damaged = [image.copy() for image in frames]
        for image in damaged:
            part = slice(0, round(share * image.shape[1]))
            image[:, part] = negative(image[:, part])
        assert means(frames, damaged)["inverted"] == pytest.approx(share, abs=0.12)


@given(slope=st.floats(0.2, 1), offset=st.floats(0, 50), sign=st.sampled_from([1, -1]))
def test_no_gain_swaps_light_and_dark_and_every_negative_one_does(
    frames: list[Image], slope: float, offset: float, sign: int
) -> None:
    changed = levels(127.5 + sign * slope * (frames[0] - 127.5) * 0.6 + offset - 25)
    assert artefacts(frames[0], changed)["inverted"] == (0 if sign > 0 else 1)


def test_frames_that_are_too_small_have_no_figures_and_blank_ones_no_halos() -> None:
    small, blank = np.full((60, 200, 3), 90, np.uint8), np.full((64, 80, 3), 90, np.uint8)
    assert artefacts(small, small) == {}
    nothing = dict.fromkeys(("periodic", "rims", "seams", "unexplained"), 0)
    assert artefacts(blank, blank) == pytest.approx(nothing, abs=1e-3)
    with pytest.raises(ValueError, match="cannot be compared"):
        artefacts(small, blank)
