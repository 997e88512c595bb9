"""The training loop, from settings to generators. It prints nothing; progress is reported as events."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch

from sim2real.camera import Camera
from sim2real.config import Classes, Config
from sim2real.datasets.vocabulary import Vocabulary
from sim2real.devices import peak_memory, resolve_precision
from sim2real.errors import DatasetError, SettingsError, Sim2RealError
from sim2real.files import write_whole
from sim2real.imageio import Encoding, encode_png
from sim2real.inside import inside
from sim2real.model import read_info, with_camera
from sim2real.networks import RangeAdapter
from sim2real.progress import Note, Progress, TrainingProgress, quiet
from sim2real.training.begin import with_kept_choices
from sim2real.training.camera import match_camera
from sim2real.training.card import Generator, Training, write_card
from sim2real.training.checkpoint_manager import CheckpointManager
from sim2real.training.checkpoints import damage
from sim2real.training.data import RawBatch, UnpairedImages, as_batch, build_loader, remove_cache, worker_errors
from sim2real.training.deterministic import deterministic
from sim2real.training.domains import Domain, find_classes, open_domains
from sim2real.training.foresight import foreseen_spec, require_memory
from sim2real.training.loggers import Loggers
from sim2real.training.memory import memory_errors
from sim2real.training.meter import Meter
from sim2real.training.periodic_validation import PeriodicValidation, ValidationOutcome
from sim2real.training.precision import choose_compilation, choose_precision
from sim2real.training.processes import Processes
from sim2real.training.progress import write_progress
from sim2real.training.results import copy_generators, file_name, is_given, usual_encoding, write_generators
from sim2real.training.run import RunFolder, read_log
from sim2real.training.samples import HeldOut, sample_grid
from sim2real.training.setup import (
    build_augment,
    build_averages,
    build_method,
    guidance,
    lengths,
    rate,
    require_equal_shares,
    require_scalars,
    take_step,
)
from sim2real.training.specs import DataSpec
from sim2real.training.start import load_start
from sim2real.training.validation import Levers, Standing, peak_of, standing
from sim2real.training.warnings import Warnings

if TYPE_CHECKING:
    from sim2real.methods.base import RankState, Stateful


_PLACES: Any = {"convert": True, "start_from": True, "data": {"translations"}}  # paths


class Images(NamedTuple):
    """The images of a training, opened.

    Attributes:
        sim: The simulated images.
        real: The real images.
        spec: The labels and clips that are read with them.
        classes: The classes of the run, empty if nothing sees masks or boxes.
    """

    sim: Domain
    real: Domain
    spec: DataSpec
    classes: Classes

    @property
    def larger(self) -> int:
        """Number of images of the larger side."""
        return max(len(self.sim.train), len(self.real.train))


class Trainer:
    """One training: its images, networks and run folder; made by :meth:`begin` or :meth:`resume`.

    Every process of a training has its own trainer; only the one of the first process writes and yields events.

    Args:
        config: All settings.
        run: The run folder.
        processes: The processes of the training, as seen from this one.
        images: The images of both sides.

    Attributes:
        processes: The processes of the training, as seen from this one.
        choices: A line on each setting that was chosen by timing.
        total: Number of steps of the whole run.
        step: Number of steps done.
        batches: The batches of the training, by step.
        stopped: The value of ``stop`` that ended the training, in any of the processes; 0 if none did.
        finished: Whether the generators are written.

    Raises:
        Sim2RealError: If the images or the settings do not allow the training.
    """

    @classmethod
    def begin(cls, config: Config, folder: Path, *, extraction: Progress = quiet) -> Self:
        """Open the images, build the networks and create the run folder.

        Args:
            config: All settings.
            folder: The run folder; it must not hold a run.
            extraction: Called with the progress of the extraction of frames from videos.

        Raises:
            Sim2RealError: If the images, the settings or the folder do not allow the training.
        """
        processes, run = Processes(config.device), RunFolder(folder)
        processes.on_first(run.require_new)
        images = open_images(config, run, processes, extraction)
        total, _ = lengths(config, images.larger)
        precision, why = processes.on_first(lambda: choose_precision(config, processes.device, total))
        config = config.model_copy(update={"precision": precision})
        compiled, why_compiled = processes.on_first(
            lambda: choose_compilation(config, processes.device, precision, total)
        )
        trainer = cls(config.model_copy(update={"compile": compiled}), run, processes, images)
        trainer.choices = [f"precision {why}"] * bool(why) + [why_compiled] * bool(why_compiled)
        trainer._start()
        trainer._check()
        processes.on_first(lambda: run.create(trainer.config))
        return trainer

    @classmethod
    def resume(cls, config: Config, folder: Path, *, extraction: Progress = quiet) -> Self:
        """Open the images, build the networks and load the newest checkpoint of a run.

        Args:
            config: All settings.
            folder: The run folder.
            extraction: Called with the progress of the extraction of frames from videos.

        Raises:
            Sim2RealError: If the images, the settings or the checkpoints do not allow the training.
        """
        processes, run = Processes(config.device), RunFolder(folder)
        config = with_kept_choices(config, run.read_config())
        trainer = cls(config, run, processes, open_images(config, run, processes, extraction))
        trainer._load()
        trainer._check()
        return trainer

    def __init__(self, config: Config, run: RunFolder, processes: Processes, images: Images) -> None:
        self.config = config = config.model_copy(update={"classes": images.classes})
        self.run, self.processes, self.device = run, processes, processes.device
        self.precision = resolve_precision(config.precision, self.device)
        self.choices: list[str] = []
        self.sim, self.real = images.sim, images.real
        self.fingerprint = sha256((self.sim.fingerprint + self.real.fingerprint).encode()).hexdigest()
        self.total, self.steps_per_epoch = lengths(config, images.larger)
        require_equal_shares(config, processes.count)
        torch.manual_seed(config.seed)
        self.method = build_method(config, self.device, self.precision, average=processes.average, rank=processes.rank)
        self.averages = build_averages(config, self.method)
        if not self.is_first:
            torch.manual_seed(config.seed + processes.rank)  # equal weights, but different random numbers
        data, augment, evaluate = config.data, build_augment(config), config.evaluate
        vocabulary = Vocabulary(images.classes.names, images.classes.same)
        self.batches = UnpairedImages(
            self.sim,
            self.real,
            augment,
            batch_size=data.batch_size,
            seed=config.seed,
            rank=processes.rank,
            processes=processes.count,
            cache=run.cache if data.cache else None,
            spec=images.spec,
            vocabulary=vocabulary,
        )
        self.held_out = HeldOut(self.sim, self.real, augment, self.device, spec=images.spec, vocabulary=vocabulary)
        self.evaluation = PeriodicValidation(
            self.held_out, count=evaluate.count, seed=config.seed, score=evaluate.score, levers=self._levers
        )
        self.step = self.stopped = 0
        self._meter = Meter()
        self._warnings = Warnings()
        shared: dict[str, Stateful] = {
            "method": self.method,
            "evaluation": self.evaluation,
            "warnings": self._warnings,
            **{f"average of {direction}": average for direction, average in self.averages.items()},
        }
        own: dict[str, RankState] = {"method": self.method, "warnings": self._warnings, "meter": self._meter}
        self._checkpoints = CheckpointManager(run.checkpoints, processes, self.fingerprint, shared, own)
        self._findings = [note for side in (self.sim, self.real) for origin in side.origins for note in origin.notes]

    def _start(self) -> None:
        """Start with the weights of other generators, if the settings name them."""
        if self.config.start_from:
            self._findings += load_start(self.method.generators, Path(self.config.start_from))

    def _load(self) -> None:
        """Continue from the newest checkpoint."""
        self.step, findings = self._checkpoints.load()
        self._findings = findings + self._findings
        if self._is_patience_over():
            self.total = self.step

    def _check(self) -> None:
        """Make sure that images can be validated and losses logged, before the first step."""
        self.processes.on_first(self.evaluation.check)
        self._loggers = self._find_loggers()

    def _find_loggers(self) -> Loggers:
        names = self.config.log.to if self.is_first else []
        places = {"sim": [Path(self.config.sim)], "real": self.config.real_places, "run": [self.run.path]}
        settings = {  # without paths, as others may read the logs
            **self.config.model_dump(mode="json", exclude=_PLACES, exclude_none=True),
            **{name: ", ".join(place.resolve().name for place in each) for name, each in places.items()},
        }
        return Loggers(names, self.run.path, settings, self.run.path.name, step=self.step)

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes and reports."""
        return self.processes.is_first

    @property
    def finished(self) -> bool:
        """Whether the generators are written."""
        source = self._source()
        return self.step >= self.total and all(
            is_given(source / name, inside(self.run.path, name)) for name in map(file_name, self.method.generators)
        )

    def parameters(self) -> dict[str, int]:
        """Return the number of parameters of every network, by name."""
        networks = self.method.networks.items()
        return {name: sum(weights.numel() for weights in network.parameters()) for name, network in networks}

    def train(self, stop: Callable[[], int] = lambda: 0) -> Iterator[TrainingProgress | Note]:
        """Train to the end, or until ``stop`` returns nonzero in any process; save a checkpoint in both cases.

        Args:
            stop: Called after each step; any value but 0 ends the training.

        Raises:
            Sim2RealError: If a loss is no longer finite, no image of a side can be read, another training is writing
                to the run folder, or another process of this training has ended.
        """
        with ExitStack() as stack:
            stack.enter_context(worker_errors())
            stack.enter_context(deterministic(wanted=self.config.deterministic))
            stack.enter_context(
                memory_errors(
                    self.config,
                    self.method.generators.values(),
                    self.device,
                    lambda: f"after {self.step} steps ({self._last_good()})",
                    processes=self.processes.count,
                )
            )
            self.processes.on_first(lambda: self._enter(stack))
            for event in self._train(stop):
                if self.is_first:
                    yield event

    def _enter(self, stack: ExitStack) -> None:
        stack.enter_context(self.run.writing(self.config, self.step, best=self.evaluation.best_step))
        if self.config.data.cache:
            stack.callback(remove_cache, self.run.cache)
        self._loggers.begin()
        stack.callback(self._loggers.close)

    def _train(self, stop: Callable[[], int]) -> Iterator[TrainingProgress | Note]:
        yield from map(Note, self._findings)
        if self.config.train.patience and not (self.config.evaluate.every and self.evaluation.possible):
            yield Note("train.patience: nothing is held out or evaluated, so the run continues to its last step")
        self._meter.start()
        for raw in self._load_batches():
            self._step(raw)
            self.stopped = self.processes.greatest(stop())
            yield from self._keep_books()
            if self.stopped or self.step >= self.total:
                break
        if self.step >= self.total:
            yield from self._warnings.summary()
            yield from map(Note, self.processes.on_first(self._give_generators))

    def _step(self, raw: RawBatch) -> None:
        """Train on one batch."""
        self._warnings.take(raw)
        self.method.scale_learning_rates(rate(self.config.schedule, self.step, self.total))
        self.method.reach(self.step / self.total)
        log = take_step(self.method, self.averages, as_batch(raw, self.device))
        require_scalars(self.config.method.name, log)
        self.step += 1
        self._meter.add(log)

    def _keep_books(self) -> Iterator[TrainingProgress | Note]:
        """Report, evaluate, write samples and save after a step, each when it is due."""
        config = self.config
        evaluates = self.step == self.total or _is_due(config.evaluate.every, self.step)
        if evaluates or _is_due(config.log.every, self.step):
            yield from self._report(evaluates=evaluates)
        if self._is_patience_over():
            best = self.evaluation.best_step
            text = f"stopped at step {self.step}: no improvement on held-out images since step {best}"
            yield from self._notify([Note(text)])
            self.total = self.step
        if self.step == self.total or _is_due(config.sample.every, self.step):
            yield from map(Note, self.processes.on_first(self._paint_samples))
        is_best = self.step == self.evaluation.best_step
        if self.stopped or self.step == self.total or is_best or _is_due(config.checkpoint.every, self.step):
            self._save()

    @cached_property
    def results(self) -> Mapping[str, RangeAdapter]:
        """The final generator of each direction: the averaged one if there is an average."""
        if not self.averages:
            return self.method.generators
        guided = guidance(self.config)
        return {
            direction: RangeAdapter(average.module, returns_images=True, guided=guided)
            for direction, average in self.averages.items()
        }

    def _load_batches(self) -> Iterator[RawBatch]:
        steps, workers = range(self.step, self.total), self.config.data.workers
        for raw in build_loader(self.batches, steps, workers, self.device, self.config.seed):
            if isinstance(raw, DatasetError):
                raise raw
            yield raw

    def _is_patience_over(self) -> bool:
        patience = self.config.train.patience * self.steps_per_epoch
        return bool(patience) and self.evaluation.newest - self.evaluation.best_step >= patience

    def _report(self, *, evaluates: bool) -> Iterator[TrainingProgress | Note]:
        yield from self._notify(self._warnings.collect(self.processes))
        losses, speed = self._meter.losses(self.processes.average), self._meter.speed()
        self.processes.on_first(lambda: self._require_finite(losses))
        outcome = self._evaluate(losses) if evaluates and self.evaluation.possible else ValidationOutcome()
        figures = {**losses, **outcome.figures}
        epoch = self.step / self.steps_per_epoch
        images = 2 * self.config.data.batch_size * speed
        if self.is_first:
            factor = rate(self.config.schedule, self.step - 1, self.total)
            record = {"epoch": round(epoch, 4), "rate": factor, "images_per_second": round(images, 3), **figures}
            self.run.log({"step": self.step, **record})
            yield from map(Note, self._loggers.log(self.step, record))
        left, memory = (self.total - self.step) / speed, peak_memory(self.device)
        yield TrainingProgress(
            self.step, self.total, epoch, figures, images, left, outcome.score, self.evaluation.best, memory
        )
        yield from self._notify(outcome.notes)
        self._meter.reset()

    def _evaluate(self, losses: Mapping[str, float]) -> ValidationOutcome:
        outcome = self.processes.on_first(
            lambda: self.evaluation.measure(self.method, self.results, self.step, self.total, losses)
        )
        self.evaluation.remember(outcome, self.step)
        return outcome

    def _notify(self, notes: Iterable[Note]) -> Iterator[Note]:
        """Yield notes for the user and write each to metrics.jsonl."""
        for note in notes:
            if self.is_first:
                self.run.log({"step": self.step, "note": note.text})
            yield note

    def _paint_samples(self) -> list[str]:
        """Write the sample grid of this step and return the notes of the loggers."""
        batches = [*self.held_out.batches(self.config.sample.count)]
        if not batches:
            return []
        picture = encode_png(sample_grid(self.method, self.results, batches))
        self.run.write_sample(self.step, picture)
        return self._loggers.picture(self.step, picture)

    def _last_good(self) -> str:
        checkpoints = self.run.checkpoints.paths()
        return f"the last good checkpoint is {checkpoints[-1]}" if checkpoints else "there is no checkpoint yet"

    def _require_finite(self, figures: Mapping[str, float]) -> None:
        bad = [name for name, figure in figures.items() if not math.isfinite(figure)]
        if bad:
            message = (
                f"step {self.step}: {bad[0]} is not finite; {self._last_good()}; lower the rates in [optim] or use fp32"
            )
            raise Sim2RealError(message, topic="a-training-diverges-or-a-discriminator-wins")

    def _weights(self) -> dict[str, float]:
        """Return one value for every network; it is finite only if all weights of the network are."""
        return {
            f"a weight of {name}": float(sum(weights.detach().abs().sum() for weights in network.parameters()))
            for name, network in self.method.networks.items()
        }

    def _save(self) -> None:
        losses = self._meter.losses(self.processes.average)
        self.processes.on_first(lambda: self._require_finite(losses | self._weights()))
        self.processes.on_first(self.run.sync_log)
        self._checkpoints.save(
            self.step,
            lambda folder: write_generators(folder, self.results, self.config, self.fingerprint, self._real_encoding),
            best=self.evaluation.best_step,
            keep=self.config.checkpoint.keep,
        )

    @cached_property
    def _real_encoding(self) -> tuple[Encoding, ...]:
        return usual_encoding([frame.path for frame in self.real.train], self.run.frames)

    @property
    def used_step(self) -> int:
        """The step whose generators are the result of the run, or would be if it ended here."""
        return (self.config.checkpoint.use == "best" and self.evaluation.best_step) or self.step

    @property
    def standing(self) -> Standing:
        """The current assessment of the training."""
        levers = replace(self._levers, peak=self.peak, used=self.used_step)
        return standing(self.run.logged(self.used_step), levers)

    @property
    def peak(self) -> int:
        """The best step on held-out images if the score has become clearly worse since; else 0."""
        return peak_of([record for _, record in read_log(self.run.metrics_file)])

    @property
    def _levers(self) -> Levers:
        reads = self.method.reads
        terms = self.method.settings.terms if reads is None or "losses" in reads else ()
        paints = not getattr(self.method.generators["sim2real"].network, "by_grids", False)
        return Levers.of_losses(
            terms,
            spectral_norm=not self.config.discriminator.regularization.spectral_norm,
            guided=paints and self.config.transfer.name != "guided",
            trained=bool(self.method.optimization.optimisers),
        )

    def _source(self) -> Path:
        return self.run.checkpoints.path(self.used_step)

    def _give_generators(self) -> list[str]:
        """Write the final generators to the run folder and return notes for the user."""
        source = self._source()
        if (reason := damage(source)) is not None:
            message = f"{source}: damaged checkpoint ({reason}); set checkpoint.use = 'last' to use the last generators"
            raise SettingsError(message, topic="which-checkpoint")
        cameras, notes = dict[str, Camera | None](), list[str]()
        if self.config.camera.match:
            for direction in self.method.generators:
                file = source / file_name(direction)
                cameras[direction], note = match_camera(file, self.sim, self.real, self.device)
                notes.append(note)
        notes += self._write_card(source, cameras)  # before the generators: with them, a run is finished
        for direction, camera in cameras.items():
            name = file_name(direction)
            write_whole(self.run.path / name, with_camera(source / name, camera))
        if not cameras:
            copy_generators(source, self.run.path, self.method.generators)
        write_progress(self.run.samples)
        return notes

    def _write_card(self, source: Path, cameras: Mapping[str, Camera | None]) -> list[str]:
        generators = {
            direction: Generator.of(
                generator.network,
                replace(read_info(source / file_name(direction)), camera=cameras.get(direction)),
            )
            for direction, generator in self.method.generators.items()
        }
        training = Training(
            sim=self.sim,
            real=self.real,
            steps=self.total,
            used_step=self.used_step,
            device=self.device,
            precision=self.precision,
            processes=self.processes.count,
            figures=self.run.logged(self.used_step),
            assessment=self.standing.text,
        )
        return write_card(self.run.path, self.config, generators, training)


def _is_due(every: int, step: int) -> bool:
    return bool(every) and step % every == 0


def open_images(config: Config, run: RunFolder, processes: Processes, extraction: Progress) -> Images:
    """Open the images of both sides, if the memory suffices to train on them."""
    precision, spec = resolve_precision(config.precision, processes.device), foreseen_spec(config)
    require_memory(config, processes.device, precision, processes=processes.count, spec=spec)
    if processes.count > 1:  # the first process extracts the frames, the others find them
        processes.on_first(lambda: open_domains(config, run.frames, extraction, spec))
    sim, real = open_domains(config, run.frames, extraction, spec)
    spec = spec.met_by(sim.frames, real.frames)
    classes = processes.on_first(lambda: find_classes(config, ((sim, spec.sim), (real, spec.real))))
    return Images(sim, real, spec, classes)
