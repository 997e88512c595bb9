"""How sure is a figure? Confidence intervals that know that neighbouring frames resemble each other.

Frames of a video are no independent observations: what is drawn is blocks of neighbours (Künsch 1989), about 32 of
them. Means are judged by the bootstrap of those, widened as few blocks need it (Hesterberg 2015, "expanded
percentile"). A distance of sets cannot be judged by drawing with replacement, since pictures that are drawn twice make
it smaller; its halves are measured instead (subsampling, Politis and Romano 1994): the distances of random halves
spread about as much as the distance of the whole does between datasets (Shao and Wu 1989).
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from sim2real.evaluation.figures import Interval

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

_BLOCKS = 32
_FEWEST = 4  # blocks, or halves: of fewer nothing can be said
_MANY = 40  # halves
_DRAWS = 2000
_OUTSIDE = 0.025  # of the probability, on each side


def blocks_of(sequences: Sequence[str]) -> Rows:
    """Which block of neighbours each frame belongs to, (N,), counted from 0.

    Args:
        sequences: What each frame belongs to, frames in order; no block reaches from one sequence into another.
    """
    longest = -(-len(sequences) // _BLOCKS)
    blocks, length = list[int](), 0
    for number, sequence in enumerate(sequences):
        begins = number == 0 or sequence != sequences[number - 1] or length == longest
        length = 1 if begins else length + 1
        blocks.append((blocks[-1] if blocks else -1) + begins)
    return np.array(blocks, np.intp)


def mean_interval(values: Floats, blocks: Rows, seed: int) -> Interval | None:
    """The 95 % confidence interval of the mean of frames; None of fewer than 4 blocks.

    Args:
        values: A figure of each frame, (N,).
        blocks: The block of each, (N,).
        seed: Decides what is drawn.
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
    """The 95 % confidence interval of what was measured on random halves, (R,); None of fewer than 4 of them.

    Of many, 95 % lie in it; of fewer, that is told from their spread. None can be higher than ``most``.
    """
    if len(halves) < _FEWEST:
        return None
    if len(halves) >= _MANY:
        low, high = np.quantile(halves, [_OUTSIDE, 1 - _OUTSIDE])
        return float(low), float(high)
    mean, reach = float(halves.mean()), _student(len(halves) - 1) * float(halves.std(ddof=1))
    return mean - reach, min(mean + reach, most)


def draw(blocks: Rows, count: int, draws: int, seed: int) -> Iterator[Rows]:
    """Put the blocks of a set in random order, again and again; the first rows are a part, the next ones another.

    Args:
        blocks: The block of each row of the set, (N,).
        count: Rows wanted, at most N.
        draws: How often.
        seed: Decides the order.

    Yields:
        So many row numbers.
    """
    random = np.random.default_rng(seed)
    for _ in range(draws):
        order = random.permutation(int(blocks.max()) + 1)
        yield np.argsort(order[blocks], kind="stable")[:count]


def _student(freedom: int) -> float:
    """The 97.5 % quantile of Student's distribution (Cornish and Fisher's series; within 1 % from 3 on)."""
    z = 1.959963985  # of the normal distribution
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + math.fsum(term / freedom**power for power, term in enumerate(terms, 1))


def _normal_below(z: float) -> float:
    return math.erfc(-z / math.sqrt(2)) / 2
