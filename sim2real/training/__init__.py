"""Training: the visible loop, unpaired sampling, checkpoints, schedule."""

from sim2real.training.events import Note, Progress
from sim2real.training.loop import Trainer

__all__ = ["Note", "Progress", "Trainer"]
