from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sim2real.evaluation.intervals import blocks_of, draw, mean_interval, spread_interval

Floats = NDArray[np.float64]


def video(random: np.random.Generator, frames: int) -> Floats:
    """Values around 0 that wander: each frame is much like the one before."""
    values = np.zeros(frames)
    for number, step in enumerate(random.normal(size=frames - 1), 1):
        values[number] = 0.8 * values[number - 1] + step
    return values


def coverage(intervals: list[tuple[float, float] | None], truth: float) -> float:
    return float(np.mean([each is not None and each[0] <= truth <= each[1] for each in intervals]))


@pytest.mark.parametrize("frames", [8, 40, 400])
def test_the_interval_of_a_mean_holds_the_truth_19_times_in_20(frames: int) -> None:
    random = np.random.default_rng(0)
    blocks = blocks_of([""] * frames)
    intervals = [mean_interval(random.exponential(size=frames), blocks, seed) for seed in range(300)]
    assert 0.85 <= coverage(intervals, 1) <= 0.99  # of 8 skewed values even the best interval holds less


def test_frames_that_resemble_their_neighbours_make_the_interval_wider() -> None:
    random = np.random.default_rng(0)
    samples = [video(random, 960) for _ in range(200)]
    blocks, each_alone = blocks_of([""] * 960), np.arange(960)
    assert coverage([mean_interval(sample, blocks, 0) for sample in samples], 0) >= 0.88
    assert coverage([mean_interval(sample, each_alone, 0) for sample in samples[:50]], 0) <= 0.7


def test_halves_spread_as_the_whole_does_between_datasets() -> None:
    random = np.random.default_rng(0)
    intervals, one_by_one = [], np.arange(200)
    for seed in range(300):
        sample = random.normal(3, 2, size=200)
        intervals.append(spread_interval(np.array([sample[rows].std() for rows in draw(one_by_one, 100, 40, seed)])))
    assert 0.88 <= coverage(intervals, 2) <= 0.99


def test_few_halves_give_a_wide_interval_and_fewer_none() -> None:
    halves = np.array([1.0, 2.0, 3.0, 2.0])
    low, high = spread_interval(halves) or (0, 0)
    assert low < 1
    assert high > 3
    assert spread_interval(halves[:3]) is None


def test_of_three_blocks_nothing_can_be_said() -> None:
    assert mean_interval(np.arange(3.0), np.arange(3), 0) is None
    assert mean_interval(np.arange(4.0), np.arange(4), 0) is not None


def test_equal_seeds_give_equal_intervals() -> None:
    values, blocks = np.random.default_rng(0).normal(size=50), blocks_of([""] * 50)
    assert mean_interval(values, blocks, 1) == mean_interval(values, blocks, 1)
    assert mean_interval(values, blocks, 1) != mean_interval(values, blocks, 2)


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=300))
def test_blocks_are_neighbours_of_one_sequence(sequences: list[str]) -> None:
    blocks = blocks_of(sequences)
    assert blocks[0] == 0
    assert np.bincount(blocks).max() <= -(-len(sequences) // 32)
    for (one, other), (left, right) in zip(pairwise(blocks.tolist()), pairwise(sequences), strict=True):
        assert other - one in {0, 1}
        assert one != other or left == right


@given(st.integers(2, 200), st.integers(0, 9))
def test_parts_are_of_whole_blocks_but_for_the_last(frames: int, seed: int) -> None:
    blocks = blocks_of([""] * frames)
    for rows in draw(blocks, frames // 2, 3, seed):
        assert len(set(rows.tolist())) == len(rows) == frames // 2
        whole = np.bincount(blocks[rows], minlength=blocks.max() + 1)
        assert sum(0 < taken < size for taken, size in zip(whole, np.bincount(blocks), strict=True)) <= 1
