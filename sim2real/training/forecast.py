"""Forecast a training without writing anything: its networks, images, memory and time."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from sim2real.config import Config
from sim2real.devices import free_memory, peak_memory_of_networks
from sim2real.errors import DatasetError
from sim2real.progress import Progress, quiet
from sim2real.training.data import as_batch
from sim2real.training.deterministic import deterministic
from sim2real.training.loggers import Loggers
from sim2real.training.loop import Trainer, open_images
from sim2real.training.memory import memory_errors
from sim2real.training.precision import choose_precision
from sim2real.training.processes import Processes
from sim2real.training.run import RunFolder
from sim2real.training.setup import lengths, take_step


@dataclass(frozen=True, slots=True)
class Forecast:
    """The forecast of a training.

    Attributes:
        device: The device.
        precision: The precision.
        parameters: Number of parameters of every network, by name.
        components: Registered names of the generators and discriminators, by name of the network.
        images: Domain -> number of images to ``"train"`` on and number that are ``"held_out"``.
        steps: Number of steps of the whole run.
        steps_per_epoch: Number of steps in one pass through the larger domain.
        seconds_per_step: Time of an uncompiled step, without validations, samples and checkpoints.
        seconds_to_compute: Time that the networks take for a step.
        seconds_to_load: Time that one process takes to load the images of a step; ``workers`` processes load ahead
            in parallel.
        workers: Number of processes that decode; with 0 the steps wait for the decoding.
        images_per_second: Images of both domains together.
        memory: Bytes that the training needs on its device; on the CPU, those of its whole process.
        memory_free: Bytes that are free there.
    """

    device: str
    precision: str
    parameters: Mapping[str, int]
    components: Mapping[str, str]
    images: Mapping[str, Mapping[str, int]]
    steps: int
    steps_per_epoch: int
    seconds_per_step: float
    seconds_to_compute: float
    seconds_to_load: float
    workers: int
    images_per_second: float
    memory: int
    memory_free: int

    @property
    def limit(self) -> str:
        """What limits the speed of a step."""
        return "decoding: more data.workers, or data.cache, make it faster" if self.waits else "the networks"

    @property
    def waits(self) -> bool:
        """Whether steps wait for decoding."""
        return self.seconds_to_load / max(self.workers, 1) > self.seconds_to_compute

    @property
    def seconds(self) -> float:
        """The time for all steps, in seconds."""
        return self.steps * self.seconds_per_step


def forecast(config: Config, *, steps: int = 3, extraction: Progress = quiet) -> Forecast:
    """Forecast a training by running some of its steps on its own images, in this process.

    Args:
        config: All settings.
        steps: Number of timed steps, after a first step that is slower and is not counted.
        extraction: Called with the progress of the extraction of frames from videos; the frames are not kept.

    Raises:
        Sim2RealError: If the training itself could not start, for the same reason.
    """
    RunFolder(config.run_folder).require_new()
    with TemporaryDirectory() as folder:
        return _forecast(config, RunFolder(Path(folder)), steps, extraction)


def _forecast(config: Config, run: RunFolder, steps: int, extraction: Progress) -> Forecast:
    processes = Processes(config.device)
    images = open_images(config, run, processes, extraction)
    precision, _ = choose_precision(config, processes.device, lengths(config, images.larger)[0])
    config = config.model_copy(update={"precision": precision})
    Loggers(config.log.to, config.run_folder, {}, config.run_folder.name)
    memory_free = free_memory(processes.device)
    uncached = config.data.model_copy(update={"cache": False})
    trainer = Trainer(config.model_copy(update={"compile": False, "data": uncached}), run, processes, images)
    method, device = trainer.method, trainer.device
    loading, computing = [], []
    for step in range(steps + 1):
        began = time.perf_counter()
        with memory_errors(config, method.generators.values(), device, lambda: "a step"):
            raw = trainer.batches[step]
            if isinstance(raw, DatasetError):
                raise raw
            loaded = time.perf_counter()
            method.reach(step / (steps + 1))
            with deterministic(wanted=config.deterministic):
                log = take_step(method, trainer.averages, as_batch(raw, device))
                for loss in log.losses.values():
                    loss.item()  # waits until the device has finished
        loading.append(loaded - began)
        computing.append(time.perf_counter() - loaded)
    to_load, to_compute = median(loading[1:]), median(computing[1:])
    workers = config.data.workers
    seconds = max(to_compute, to_load / workers) if workers else to_compute + to_load
    return Forecast(
        device=device,
        precision=trainer.precision,
        parameters=trainer.parameters(),
        components={
            name: (config.discriminator if name in method.discriminators else config.generator).name
            for name in method.networks
            if name in method.discriminators or method.networks[name] in method.generators.values()
        },
        images={
            domain.side: {"train": len(domain.train), "held_out": len(domain.held_out)}
            for domain in (trainer.sim, trainer.real)
        },
        steps=trainer.total,
        steps_per_epoch=trainer.steps_per_epoch,
        seconds_per_step=seconds,
        seconds_to_compute=to_compute,
        seconds_to_load=to_load,
        workers=workers,
        images_per_second=2 * config.data.batch_size / seconds,
        memory=peak_memory_of_networks(device),
        memory_free=memory_free,
    )
