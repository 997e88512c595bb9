"""Validate a training on held-out images at intervals, and keep its best step."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from sim2real.capabilities import seeds_of_pixels
from sim2real.datasets.labels import Label
from sim2real.errors import SettingsError
from sim2real.methods.base import Method
from sim2real.networks.colour import as_pictures
from sim2real.progress import Note
from sim2real.stored import Count, Positive, fit
from sim2real.training.checkpoint_score import CheckpointScore
from sim2real.training.samples import HeldOut, Shown, evaluating
from sim2real.training.validation import CHOICE, Image, Levers, TrainingMonitor, Validator

_LOSS_BATCHES = 8
_DIRECTION = "sim2real"


@dataclass(frozen=True, slots=True)
class ValidationOutcome:
    """The outcome of one validation.

    Attributes:
        score: The score that checkpoints are chosen by; None if there was nothing to judge.
        sign: 1 if a lower score is better, -1 if a higher one is.
        figures: All values by name: metrics as ``"evaluation/..."``, losses as ``"validation/..."``.
        notes: Messages for the user.
    """

    score: float | None = None
    sign: float = 1.0
    figures: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()


class PeriodicValidation:
    """Validates the generators at intervals and keeps the best step.

    Args:
        held_out: The held-out images.
        count: The number of images that are used per domain.
        seed: Seed of all random numbers.
        score: Name of the metric that checkpoints are chosen by, see ``CheckpointScore``; empty for the validator's
            score.
        levers: The settings that advice may name; None for all.

    Attributes:
        best: Score and step of the best validation, the earliest if several are equal; None before the first.
        newest: Step of the newest validation.
    """

    def __init__(
        self, held_out: HeldOut, *, count: int, seed: int, score: str = "", levers: Levers | None = None
    ) -> None:
        self.held_out = held_out
        self.count = count
        self.seed = seed
        self.score = score
        self.monitor = TrainingMonitor(levers or Levers())
        self.best: tuple[float, int] | None = None
        self.newest = 0

    @property
    def possible(self) -> bool:
        """Whether images of both domains are held out."""
        return self.held_out.complete

    def check(self) -> None:
        """Make sure that checkpoints can be chosen by the metric of ``evaluate.score``.

        Raises:
            Sim2RealError: If they cannot.
        """
        if not self._checkpoint_score:
            return
        if not self.possible or not self._validator:
            message = f"evaluate.score = '{self.score}': no images are held out for it; set data.validation"
            raise SettingsError(message, topic="judged-on-held-out-images")
        self._checkpoint_score.check(self._validator.before, self._validator.real, self._labels)

    @property
    def best_step(self) -> int:
        """The best step; 0 if there is none."""
        return self.best[1] if self.best else 0

    def measure(
        self, method: Method, generators: Mapping[str, nn.Module], step: int, total: int, losses: Mapping[str, float]
    ) -> ValidationOutcome:
        """Validate the generators at a step; the first process does it for all.

        Args:
            method: The training method; it computes the losses of the held-out images.
            generators: The generators that are validated, by direction.
            step: Number of steps done.
            total: Number of steps of the whole run.
            losses: Mean losses of the training, by name.
        """
        figures = {f"validation/{name}": loss for name, loss in self._losses(method).items()}
        if self._validator is None:
            return ValidationOutcome(figures=figures)
        after = _translated(generators[_DIRECTION], self._simulated, self.held_out.device)
        result = self._validator(after)
        discriminators = {name: losses[name] for name in method.discriminators if name in losses}
        notes = self.monitor.add(step, total, result, discriminators) if losses else []  # no advice without training
        figures |= result.record()
        if self._checkpoint_score is None:
            return ValidationOutcome(result.score, figures=figures, notes=tuple(notes))
        sign, score = (
            self._checkpoint_score.sign,
            self._checkpoint_score(self._validator.before, after, self._validator.real, self._labels),
        )
        if score is None:
            name = self._checkpoint_score.name
            notes.append(Note(f"no translation has {name}, the metric of evaluate.score: step {step} is not chosen"))
        else:
            figures |= {f"evaluation/{self._checkpoint_score.name}": score, CHOICE: sign * score}
        return ValidationOutcome(score, sign, figures, tuple(notes))

    def remember(self, outcome: ValidationOutcome, step: int) -> None:
        """Record the outcome at a step; called in every process."""
        self.newest = step
        if outcome.score is not None and (
            self.best is None or outcome.sign * outcome.score < outcome.sign * self.best[0]
        ):
            self.best = (outcome.score, step)

    @cached_property
    def _checkpoint_score(self) -> CheckpointScore | None:
        return CheckpointScore(self.score, seed=self.seed, device=self.held_out.device) if self.score else None

    @cached_property
    def _validator(self) -> Validator | None:
        """The validator; None if no held-out image of a domain can be read."""
        sim, real = (
            [frame for shown in each for frame in shown.frames]
            for each in (self._simulated, self.held_out.shown("real", self.count))
        )
        return Validator(sim, real, seed=self.seed) if sim and real else None

    @property
    def _labels(self) -> list[Mapping[str, Label]]:
        return [labels for shown in self._simulated for labels in shown.known]

    @cached_property
    def _simulated(self) -> list[Shown]:
        return self.held_out.shown("sim", self.count)

    def _losses(self, method: Method) -> dict[str, float]:
        """Return the generators' mean losses on held-out images."""
        with evaluating(method.networks.values()):
            logs = [method.evaluate(batch).losses for batch in self.held_out.batches(_LOSS_BATCHES)]
        return {name: float(np.mean([float(log[name]) for log in logs])) for name in (logs[0] if logs else ())}

    def state_dict(self) -> dict[str, Any]:
        """Return the best and newest steps and the monitor's state, as plain values; complete on the first process."""
        best = list(self.best) if self.best else None
        return {"best": best, "newest": self.newest, "monitor": self.monitor.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that ``state_dict`` returned."""
        kept = fit(_Kept, state)
        self.best, self.newest = kept.best, kept.newest
        self.monitor.load_state_dict(kept.monitor)


@dataclass(frozen=True, slots=True)
class _Kept:
    """The state of a periodic validation."""

    best: tuple[float, Positive] | None
    newest: Count
    monitor: dict[str, Any]


@torch.inference_mode()
def _translated(generator: nn.Module, images: Iterable[Shown], device: str) -> list[Image]:
    """Return the translations, RGB (H, W, 3) each; the seeds of stochastic generators depend on the pixels alone."""
    translated: list[Image] = []
    with evaluating([generator]):
        for shown in images:
            more = {}
            if getattr(generator, "stochastic", False):
                whole = shown.is_clip and getattr(generator, "clip_length", 1) > 1
                pictures = shown.frames[None] if whole else shown.frames
                more["seeds"] = seeds_of_pixels(generator, pictures)
            result = generator(shown.images(device), shown.labels(device), **more)
            translated += [*as_pictures(result.reshape(-1, *result.shape[-3:]))]
    return translated
