"""Training: the visible loop, unpaired sampling, checkpoints, schedule."""

from sim2real.training.loop import Note, Progress, Trainer

__all__ = ["Note", "Progress", "Trainer"]
