"""The notes of batches for the user: unreadable files, changed files, and other lines."""

from collections.abc import Mapping
from typing import Any

from sim2real.progress import Note
from sim2real.stored import fit
from sim2real.training.data import SKIPPED, RawBatch
from sim2real.training.processes import Processes


class Warnings:
    """Notes of all processes, each reported once; a note waits in its process until the first process collects it."""

    def __init__(self) -> None:
        self._waiting: list[str] = []
        self._reported: dict[str, None] = {}

    def take(self, batch: RawBatch) -> None:
        """Keep the notes of a batch."""
        self._waiting += batch.notes

    def collect(self, processes: Processes) -> list[Note]:
        """Return the new notes of all processes, on the first process; an empty list on the others."""
        lists = processes.gather(self._waiting)
        self._waiting = []
        new = [*dict.fromkeys(text for texts in lists for text in texts if text not in self._reported)]
        self._reported |= dict.fromkeys(new)
        return [Note(text) for text in new]

    def summary(self) -> list[Note]:
        """Return a note about the skipped files, if there were any."""
        reasons = sorted(text.removeprefix(SKIPPED) for text in self._reported if text.startswith(SKIPPED))
        text = f"{len(reasons)} images could not be read and were skipped; the first: "
        return [Note(f"{text}{reasons[0]}", "damaged-images")] if reasons else []

    def state_dict(self) -> dict[str, Any]:
        """Return the reported notes; complete on the first process."""
        return {"reported": [*self._reported]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that ``state_dict`` returned."""
        self._reported = dict.fromkeys(fit(list[str], state["reported"]))

    def rank_state_dict(self) -> dict[str, Any]:
        """Return the notes that wait in this process."""
        return {"waiting": self._waiting}

    def load_rank_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that ``rank_state_dict`` returned."""
        self._waiting = fit(list[str], state["waiting"])
