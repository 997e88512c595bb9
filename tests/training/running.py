"""Trainings for tests."""

from pathlib import Path

from sim2real.config import Config
from sim2real.training import Note, Trainer, TrainingProgress


def run(
    config: Config, folder: Path, *, until: int | None = None, resume: bool = False
) -> tuple[Trainer, list[TrainingProgress | Note]]:
    """Train to the end, or stop after a step as a signal would."""
    trainer = (Trainer.resume if resume else Trainer.begin)(config, folder)
    return trainer, list(trainer.train(stop=lambda: trainer.step == until))
