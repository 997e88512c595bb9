"""Losses and time since the last report."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sim2real.methods.base import Scalar, StepLog
from sim2real.stored import MisfitError, Positive, fit


class Meter:
    """Losses and time since the last report; losses stay on the device until they are read.

    A loss that is not computed in every step is averaged over the steps that have it.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Reset losses and time."""
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        self.start()

    def start(self) -> None:
        """Start to measure time."""
        self.timed = 0  # steps since then; the counts of a resumed meter are larger
        self.began = time.perf_counter()

    def add(self, log: StepLog) -> None:
        """Add the losses of one step."""
        for name, loss in log.losses.items():
            self.sums[name] = self.sums[name].to(loss.device) + loss if name in self.sums else loss
            self.counts[name] = self.counts.get(name, 0) + 1
        self.timed += 1

    def losses(self, average: Callable[[Sequence[Tensor]], None]) -> dict[str, float]:
        """Return the mean losses by name; ``average`` replaces tensors by their means over all processes, in place."""
        if not self.sums:
            return {}
        means = torch.stack([self.sums[name].float() / count for name, count in self.counts.items()])
        average([means])
        return dict(zip(self.counts, means.tolist(), strict=True))

    def speed(self) -> float:
        """Return the number of steps per second."""
        return self.timed / max(time.perf_counter() - self.began, 1e-9)

    def rank_state_dict(self) -> dict[str, Any]:
        """Return the sums and counts of the losses."""
        return {"sums": self.sums, "counts": self.counts}

    def load_rank_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that ``rank_state_dict`` returned."""
        sums, counts = fit(dict[str, Scalar], state["sums"]), fit(dict[str, Positive], state["counts"])
        if sums.keys() != counts.keys():
            raise MisfitError("sums and counts are not of the same losses")
        self.sums, self.counts = sums, counts
