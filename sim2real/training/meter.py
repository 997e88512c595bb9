"""What happened since the last report: losses and time."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sim2real.methods.base import Scalar, StepLog
from sim2real.stored import MisfitError, Positive, fit


class Meter:
    """Losses and time since the last report; losses stay on the device until they are read.

    A loss that a method computes now and then only counts in the steps that have it.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        self.start()

    def start(self) -> None:
        """Begin to count time."""
        self.timed = 0  # steps since then: a resumed meter counts more
        self.began = time.perf_counter()

    def add(self, log: StepLog) -> None:
        """Count one step."""
        for name, loss in log.losses.items():
            self.sums[name] = self.sums[name].to(loss.device) + loss if name in self.sums else loss
            self.counts[name] = self.counts.get(name, 0) + 1
        self.timed += 1

    def losses(self, average: Callable[[Sequence[Tensor]], None]) -> dict[str, float]:
        """Mean losses by name; ``average`` turns tensors into their means over all processes, in place."""
        if not self.sums:
            return {}
        means = torch.stack([self.sums[name].float() / count for name, count in self.counts.items()])
        average([means])
        return dict(zip(self.counts, means.tolist(), strict=True))

    def speed(self) -> float:
        """Steps a second."""
        return self.timed / max(time.perf_counter() - self.began, 1e-9)

    def rank_state_dict(self) -> dict[str, Any]:
        """Sums and counts."""
        return {"sums": self.sums, "counts": self.counts}

    def load_rank_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``rank_state_dict`` gave."""
        sums, counts = fit(dict[str, Scalar], state["sums"]), fit(dict[str, Positive], state["counts"])
        if sums.keys() != counts.keys():
            raise MisfitError("sums and counts are not of the same losses")
        self.sums, self.counts = sums, counts
