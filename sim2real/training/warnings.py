"""What batches tell besides their images: files that cannot be read, files that changed, and other lines."""

from collections.abc import Mapping
from typing import Any

from sim2real.stored import fit
from sim2real.training.data import RawBatch
from sim2real.training.processes import Processes

_SKIPPED = "skipped: "


class Warnings:
    """Remarks of all processes, each told once; an unread one waits in its process until the first collects it."""

    def __init__(self) -> None:
        self._waiting: list[str] = []
        self._reported: dict[str, None] = {}

    def take(self, batch: RawBatch) -> None:
        """Keep what a batch says."""
        self._waiting += [f"{_SKIPPED}{reason}" for reason in batch.skipped]
        self._waiting += [f"changed since the training began: {path}" for path in batch.changed]
        self._waiting += batch.notes

    def collect(self, processes: Processes) -> list[str]:
        """What is new in all processes, on the first; on the others nothing."""
        lists = processes.gather(self._waiting)
        self._waiting = []
        new = [*dict.fromkeys(text for texts in lists for text in texts if text not in self._reported)]
        self._reported |= dict.fromkeys(new)
        return new

    def summary(self) -> list[str]:
        """A sentence on the files that were skipped, if there were some."""
        reasons = sorted(text.removeprefix(_SKIPPED) for text in self._reported if text.startswith(_SKIPPED))
        return [f"{len(reasons)} images could not be read and were skipped; the first: {reasons[0]}"] if reasons else []

    def state_dict(self) -> dict[str, Any]:
        """What was told; complete on the first process."""
        return {"told": [*self._reported]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``state_dict`` gave."""
        self._reported = dict.fromkeys(fit(list[str], state["told"]))

    def rank_state_dict(self) -> dict[str, Any]:
        """What waits in this process."""
        return {"waiting": self._waiting}

    def load_rank_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what ``rank_state_dict`` gave."""
        self._waiting = fit(list[str], state["waiting"])
