"""Training: the training loop, unpaired sampling, checkpoints and the learning rate schedule."""

from typing import TYPE_CHECKING

from sim2real.progress import Note, TrainingProgress

if TYPE_CHECKING:
    from sim2real.training.loop import Trainer

__all__ = ["Note", "Trainer", "TrainingProgress"]


def __getattr__(name: str) -> object:
    if name == "Trainer":  # imported late, as it needs torch and checks before a training do not
        from sim2real.training.loop import Trainer

        return Trainer
    message = f"module '{__name__}' has no attribute '{name}'"
    raise AttributeError(message)
