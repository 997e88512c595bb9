"""The training loop, from settings to generators; it prints nothing and tells what happens as it goes."""

import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from sim2real import __version__
from sim2real.config import Config
from sim2real.devices import resolve_device, resolve_precision
from sim2real.errors import DatasetError, Sim2RealError
from sim2real.imageio import encode_png
from sim2real.methods.base import Batch, StepLog
from sim2real.model import GeneratorInfo, save_generator
from sim2real.networks import Ranged
from sim2real.training.data import RawBatch, UnpairedImages, as_floats, open_domains
from sim2real.training.run import RunFolder
from sim2real.training.samples import HeldOut, evaluating, sample_grid
from sim2real.training.setup import build_augment, build_averages, build_method

_HELD_OUT_BATCHES = 8
_BOOKS: Any = {  # settings that do not change what comes out of a training
    **dict.fromkeys(("sim", "real", "run", "device", "convert", "log", "checkpoint", "sample"), True),
    "data": {"workers"},
}


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training stands.

    Attributes:
        step: Steps done, of ``total``.
        total: Steps of the whole run.
        epoch: Times that the larger domain was gone through.
        losses: Means since the last report, by name; of held-out images under ``"validation/..."``.
        images_per_second: Of both domains together, since the last report.
        seconds_left: Estimate for the rest.
    """

    step: int
    total: int
    epoch: float
    losses: Mapping[str, float]
    images_per_second: float
    seconds_left: float


@dataclass(frozen=True, slots=True)
class Note:
    """Something that a user should know, in a line."""

    text: str


class Trainer:
    """One training: its images, networks and run folder.

    Args:
        config: All settings.
        folder: The run folder; must not hold a run unless ``resume``.
        resume: Continue from the newest checkpoint in the folder.

    Attributes:
        total: Steps of the whole run.
        step: Steps done.
        finished: Whether the generators are written.

    Raises:
        Sim2RealError: The images, the settings or the folder do not allow it.
    """

    def __init__(self, config: Config, folder: Path, *, resume: bool = False) -> None:
        self.config = config
        self.run = RunFolder(folder)
        if not resume:
            self.run.require_new()
        self.device = resolve_device(config.device)
        self.precision = resolve_precision(config.precision, self.device)
        self.sim, self.real = open_domains(config)
        self.fingerprint = sha256((self.sim.fingerprint + self.real.fingerprint).encode()).hexdigest()
        self.steps_per_epoch = math.ceil(max(len(self.sim.train), len(self.real.train)) / config.data.batch_size)
        self.total = config.train.steps or (config.train.epochs or 1) * self.steps_per_epoch
        torch.manual_seed(config.seed)
        self.method = build_method(config, self.device, self.precision)
        self.averages = build_averages(config, self.method)
        self.held_out = HeldOut(self.sim, self.real, build_augment(config), self.device)
        self.step = 0
        self.best = (math.inf, 0)
        self.evaluated = 0
        self._meter = _Meter()
        if resume:
            self._load()
        else:
            self.run.create(config)

    @property
    def finished(self) -> bool:
        """Whether the generators are written."""
        return self.step >= self.total and all(
            (self.run.path / f"{direction}.safetensors").is_file() for direction in self.method.generators
        )

    def parameters(self) -> dict[str, int]:
        """Parameters of every network, by name."""
        networks = self.method.networks.items()
        return {name: sum(weights.numel() for weights in network.parameters()) for name, network in networks}

    def train(self, stop: Callable[[], bool] = lambda: False) -> Iterator[Progress | Note]:
        """Train to the end, or until ``stop`` says so, which is asked after each step; either way a checkpoint is left.

        Raises:
            Sim2RealError: A loss is no longer finite, no image of a side can be read, or another training is at work in
                the run folder.
        """
        with self.run.writing(self.config, self.step):
            yield from self._train(stop)

    def _train(self, stop: Callable[[], bool]) -> Iterator[Progress | Note]:
        measures = self.config.evaluate.every and self.sim.held_out and self.real.held_out
        if self.config.train.patience and not measures:
            yield Note("train.patience: nothing is held out or evaluated, so the run goes on to its last step")
        skipped = set[str]()
        for raw in self._batches():
            for reason in sorted({*raw.skipped} - skipped):
                yield Note(f"skipped: {reason}")
            skipped.update(raw.skipped)

            self.method.scale_learning_rates(self._rate(self.step))
            try:
                log = self.method.step(Batch(as_floats(raw.sim, self.device), as_floats(raw.real, self.device)))
            except torch.OutOfMemoryError as error:
                raise Sim2RealError(self._out_of_memory()) from error
            for direction, average in self.averages.items():
                average.update_parameters(self.method.generators[direction].network)
            self.step += 1
            self._meter.add(log)

            stops = stop()
            yield from self._keep_books(stops=stops)
            if stops or self.step >= self.total:
                break
        if skipped:
            yield Note(f"{len(skipped)} images could not be read and were skipped; the first: {min(skipped)}")
        if self.step >= self.total:
            self._write_generators(self.run.path)

    def _keep_books(self, *, stops: bool) -> Iterator[Progress | Note]:
        """After a step: report, evaluate, draw samples and save, each when it is due."""
        config = self.config
        evaluates = self.step == self.total or _is_due(config.evaluate.every, self.step)
        if evaluates or _is_due(config.log.every, self.step):
            losses, speed = self._meter.losses(), self._meter.speed()
            self._require_finite(losses)
            yield self._report(losses | (self._evaluate() if evaluates else {}), speed)
            self._meter = _Meter()
        if self._is_patience_over():
            yield Note(f"stopped at step {self.step}: no better since step {self.best[1]} on held-out images")
            self.total = self.step
        if self.step == self.total or _is_due(config.sample.every, self.step):
            self._draw_samples()
        if stops or self.step == self.total or _is_due(config.checkpoint.every, self.step):
            self._require_finite(self._meter.losses() | self._weights())
            self._save()

    @cached_property
    def results(self) -> Mapping[str, Ranged]:
        """Direction -> the generator that the training is for: the averaged one where there is an average."""
        if not self.averages:
            return self.method.generators
        return {direction: Ranged(average.module, returns_images=True) for direction, average in self.averages.items()}

    def _batches(self) -> Iterator[RawBatch]:
        data = self.config.data
        images = UnpairedImages(
            self.sim.train,
            self.real.train,
            build_augment(self.config),
            batch_size=data.batch_size,
            seed=self.config.seed,
        )
        loader = DataLoader(
            images,
            batch_size=None,
            sampler=range(self.step, self.total),
            num_workers=min(data.workers, os.cpu_count() or 1),
            worker_init_fn=_leave_signals_to_the_loop,
            pin_memory=self.device != "cpu",
            generator=torch.Generator().manual_seed(self.config.seed),  # else it draws from the networks' own
        )
        for raw in loader:
            if isinstance(raw, DatasetError):
                raise raw
            yield raw

    def _rate(self, step: int) -> float:
        """The factor of the learning rates: constant, then linearly to zero."""
        schedule = self.config.schedule
        if not schedule.decay:
            return 1.0
        decaying = self.total * schedule.decay / (schedule.constant + schedule.decay)
        return min(1.0, (self.total - step) / decaying)

    def _is_patience_over(self) -> bool:
        patience = self.config.train.patience * self.steps_per_epoch
        return bool(patience) and self.evaluated - self.best[1] >= patience

    def _evaluate(self) -> dict[str, float]:
        """The generators' mean losses on held-out images; nothing is held out: nothing is evaluated."""
        if not (self.sim.held_out and self.real.held_out):
            return {}
        with evaluating(self.method.networks.values()):
            logs = [self.method.evaluate(batch).losses for batch in self.held_out.batches(_HELD_OUT_BATCHES)]
        losses = {name: float(np.mean([float(log[name]) for log in logs])) for name in (logs[0] if logs else ())}
        self.evaluated = self.step
        if losses.get("generator", math.inf) < self.best[0]:
            self.best = (losses["generator"], self.step)
        return {f"validation/{name}": loss for name, loss in losses.items()}

    def _draw_samples(self) -> None:
        batches = [*self.held_out.batches(self.config.sample.count)]
        if batches:
            self.run.write_sample(self.step, encode_png(sample_grid(self.results, batches)))

    def _report(self, losses: Mapping[str, float], speed: float) -> Progress:
        epoch = self.step / self.steps_per_epoch
        self.run.log({"step": self.step, "epoch": round(epoch, 4), "rate": self._rate(self.step - 1), **losses})
        images = 2 * self.config.data.batch_size * speed
        return Progress(self.step, self.total, epoch, losses, images, (self.total - self.step) / speed)

    def _out_of_memory(self) -> str:
        data, checkpoints = self.config.data, self.run.list_checkpoints()
        smaller = f"data.batch_size (now {data.batch_size})" if data.batch_size > 1 else f"data.size (now {data.size})"
        kept = f"; the last checkpoint is {checkpoints[-1]}" if checkpoints else ""
        return (
            f"step {self.step + 1}: {self.device} has too little memory; lower {smaller} or the networks' width{kept}"
        )

    def _require_finite(self, losses: Mapping[str, float]) -> None:
        bad = [name for name, loss in losses.items() if not math.isfinite(loss)]
        if bad:
            checkpoints = self.run.list_checkpoints()
            good = f"the last good checkpoint is {checkpoints[-1]}" if checkpoints else "there is no checkpoint yet"
            message = f"step {self.step}: {bad[0]} is not finite; {good}; lower the rates in [optim] or use fp32"
            raise Sim2RealError(message)

    def _weights(self) -> dict[str, float]:
        """A figure of every network that is finite only if all its weights are."""
        return {
            f"a weight of {name}": float(sum(weights.detach().abs().sum() for weights in network.parameters()))
            for name, network in self.method.networks.items()
        }

    def _save(self) -> None:
        state = {
            "step": self.step,
            "fingerprint": self.fingerprint,
            "best": list(self.best),
            "evaluated": self.evaluated,
            "meter": self._meter.state_dict(),
            "method": self.method.state_dict(),
            "averages": {direction: average.state_dict() for direction, average in self.averages.items()},
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(self.device) if self.device != "cpu" else None,
        }
        self.run.save(self.step, state, self._write_generators, self.config.checkpoint.keep)

    def _load(self) -> None:
        loaded = self.run.load()
        if loaded is None:
            return
        path, state = loaded
        if state["fingerprint"] != self.fingerprint:
            message = f"{path}: the images have changed since this run began; begin a new one with another --run"
            raise Sim2RealError(message)
        self.step = state["step"]
        self.best = (state["best"][0], state["best"][1])
        self.evaluated = state["evaluated"]
        self._meter.load_state_dict(state["meter"])
        if self._is_patience_over():
            self.total = self.step
        self.method.load_state_dict(state["method"])
        for direction, average in self.averages.items():
            average.load_state_dict(state["averages"][direction])
        torch.set_rng_state(state["random"])
        if self.device != "cpu":
            torch.cuda.set_rng_state(state["random_cuda"], self.device)

    def _write_generators(self, folder: Path) -> None:
        settings = self.config.model_dump(mode="json", exclude=_BOOKS)
        for direction, generator in self.results.items():
            info = GeneratorInfo(
                name=self.config.generator.name,
                options=self.config.generator.options,
                value_range=getattr(generator.network, "value_range", (-1.0, 1.0)),
                direction=direction,
                recipe=self.config.recipe,
                settings=settings,
                fingerprint=self.fingerprint,
                tool_version=__version__,
            )
            save_generator(folder / f"{direction}.safetensors", generator.network, info)


class _Meter:
    """Losses and time since the last report; losses stay on the device until they are read."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.steps = 0
        self.timed = 0  # steps of this process: a resumed meter has more
        self.began = time.perf_counter()

    def add(self, log: StepLog) -> None:
        for name, loss in log.losses.items():
            self.sums[name] = self.sums[name].to(loss.device) + loss if name in self.sums else loss
        self.steps += 1
        self.timed += 1

    def losses(self) -> dict[str, float]:
        """Mean losses."""
        return {name: float(loss) / self.steps for name, loss in self.sums.items()}

    def speed(self) -> float:
        """Steps a second."""
        return self.timed / max(time.perf_counter() - self.began, 1e-9)

    def state_dict(self) -> dict[str, Any]:
        return {"sums": self.sums, "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.sums, self.steps = dict(state["sums"]), state["steps"]


def _leave_signals_to_the_loop(_worker: int) -> None:
    """In a worker process: Ctrl-C reaches the whole process group, but the loop still needs its batches."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _is_due(every: int, step: int) -> bool:
    return bool(every) and step % every == 0
