"""Training: the visible loop, unpaired sampling, checkpoints, schedule."""

from typing import TYPE_CHECKING

from sim2real.training.events import Note, Progress

if TYPE_CHECKING:
    from sim2real.training.loop import Trainer

__all__ = ["Note", "Progress", "Trainer"]


def __getattr__(name: str) -> object:
    if name == "Trainer":  # which needs torch, as what is refused beforehand does not
        from sim2real.training.loop import Trainer

        return Trainer
    message = f"module '{__name__}' has no attribute '{name}'"
    raise AttributeError(message)
