"""Confidence intervals of figures, which account for the resemblance of neighbouring frames.

Frames of a video are not independent observations, so blocks of neighbours are sampled (Künsch 1989), about 32 of them.
The interval of a mean is their bootstrap interval, widened for small numbers of blocks (Hesterberg 2015, "expanded
percentile"). The distance of two sets cannot be bootstrapped, since images sampled twice make it smaller. It is
measured on random halves instead (subsampling, Politis and Romano 1994): their distances spread about as much as the
distance of the whole does between datasets (Shao and Wu 1989).
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sim2real.evaluation.figures import Interval

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

_BLOCKS = 32
_FEWEST = 4  # blocks or halves that an interval needs
_MANY = 40  # halves from which their quantiles are used
_DRAWS = 2000
_OUTSIDE = 0.025  # probability outside of the interval on each side


def blocks_of(sequences: Sequence[str]) -> Rows:
    """Return the block of neighbours that each frame belongs to, (N,), counted from 0.

    Args:
        sequences: The sequence of each frame, frames in order; no block spans two sequences.
    """
    longest = -(-len(sequences) // _BLOCKS)
    blocks, length = list[int](), 0
    for number, sequence in enumerate(sequences):
        begins = number == 0 or sequence != sequences[number - 1] or length == longest
        length = 1 if begins else length + 1
        blocks.append((blocks[-1] if blocks else -1) + begins)
    return np.array(blocks, np.intp)


def mean_interval(values: Floats, blocks: Rows, seed: int) -> Interval | None:
    """Return the 95 % confidence interval of a mean over frames; None for fewer than 4 blocks.

    Args:
        values: The value of each frame, (N,).
        blocks: The block of each frame, (N,).
        seed: Seed of the sampling.
    """
    _, places = np.unique(blocks, return_inverse=True)
    sums, counts = np.bincount(places, values), np.bincount(places)
    if (number := len(counts)) < _FEWEST:
        return None
    sampled = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), size=_DRAWS)
    outside = _normal_below(-math.sqrt(number / (number - 1)) * _student(number - 1))
    low, high = np.quantile((sampled @ sums) / (sampled @ counts), [outside, 1 - outside])
    return float(low), float(high)


def spread_interval(halves: Floats, most: float = math.inf) -> Interval | None:
    """Return the 95 % confidence interval of a value measured on random halves, (R,); None for fewer than 4 halves.

    For 40 halves or more it holds 95 % of the values; for fewer it is computed from their spread and ends at ``most``.
    """
    if len(halves) < _FEWEST:
        return None
    if len(halves) >= _MANY:
        low, high = np.quantile(halves, [_OUTSIDE, 1 - _OUTSIDE])
        return float(low), float(high)
    mean, reach = float(halves.mean()), _student(len(halves) - 1) * float(halves.std(ddof=1))
    return mean - reach, min(mean + reach, most)


def draw(blocks: Rows, count: int, draws: int, seed: int) -> Iterator[Rows]:
    """Shuffle the blocks of a set repeatedly; consecutive parts of the row numbers are then random parts of the set.

    Args:
        blocks: The block of each row of the set, (N,).
        count: Number of rows to return, at most N.
        draws: Number of repetitions.
        seed: Seed of the order.

    Yields:
        The first ``count`` row numbers of each order.
    """
    random = np.random.default_rng(seed)
    for _ in range(draws):
        order = random.permutation(int(blocks.max()) + 1)
        yield np.argsort(order[blocks], kind="stable")[:count]


def _student(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t-distribution (Cornish-Fisher series, within 1 % from ``freedom`` 3)."""
    z = 1.959963985  # the same quantile of the normal distribution
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, 1))


def _normal_below(z: float) -> float:
    return math.erfc(-z / math.sqrt(2)) / 2
