"""Check before a training starts whether it fits the memory, by running its steps on torch's meta device.

There, tensors have shapes but no data, so that a step of any size is quick. The result is a lower bound, as a real step
also needs workspace: a training that is refused cannot fit.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor, UntypedStorage
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode  # the documented way to see every operation
from torch.utils._pytree import tree_leaves

from sim2real.config import Config
from sim2real.devices import free_memory
from sim2real.errors import SettingsError
from sim2real.methods.base import Batch
from sim2real.networks import RangeAdapter
from sim2real.networks.range_adapter import blank_inputs
from sim2real.training.memory import parts_of, scaled_size
from sim2real.training.setup import build_averages, build_discriminator, build_generator, build_method, take_step
from sim2real.training.specs import PLAIN, DataSpec, SideSpec, spec_of

_STEPS: Final = 2  # in the first step optimisers have no state yet
_PASSES: Final = 12  # times the memory of one pass through both networks is taken to suffice; steps take two to four
_FINE: Final = 1.02  # smaller growth of the peak is not examined
_SAVED: Final = 0.5  # the part of a step's memory that is needed at least in 16 bits or compiled
_MARGIN: Final = 1.3  # safety factor of the advised settings
_STRIDE: Final = 32  # a multiple of the strides of all built-in generators


@dataclass(frozen=True, slots=True)
class Need:
    """The bytes that a training holds at once.

    Attributes:
        fixed: Held between steps: weights, gradients, optimiser states and the images of the pools.
        passing: Held in addition within a step.
    """

    fixed: int
    passing: int

    @property
    def most(self) -> int:
        """The bytes held in a step that is computed in 32 bits, uncompiled."""
        return self.fixed + self.passing

    def least(self, config: Config, precision: str) -> int:
        """Return the bytes that are needed at least, with the savings of 16 bits or a compiler."""
        saves = precision != "fp32" or config.compile is not False
        return self.fixed + round(self.passing * (_SAVED if saves else 1))


def foreseen_spec(config: Config) -> DataSpec:
    """Return the labels and clips that the parts of a training need, before its images are opened.

    Raises:
        Sim2RealError: If a component does not exist, does not fit the settings, or needs an unknown kind of label.
    """
    config = config.model_copy(update={"compile": False})
    try:
        with torch.device("meta"):
            spec = spec_of(build_method(config, "cpu", "fp32"))
    except (RuntimeError, TypeError, ValueError):  # a network reads values of tensors when it is built
        spec = spec_of(build_method(config, "cpu", "fp32"))
    return replace(spec, matched=config.data.matched)


def require_memory(config: Config, device: str, precision: str, *, processes: int = 1, spec: DataSpec = PLAIN) -> None:
    """Make sure that a training can fit the free memory.

    Args:
        config: All settings.
        device: The resolved device.
        precision: The resolved precision.
        processes: Number of processes that share a batch.
        spec: The labels and clips that the training needs.

    Raises:
        SettingsError: If it cannot; the message suggests settings that fit.
    """
    config = _with(config, "data", batch_size=max(1, config.data.batch_size // processes))
    free = free_memory(device)
    try:
        if _PASSES * _one_pass(config, spec) < free or (need := foresee(config, spec)).least(config, precision) <= free:
            return
    except (RuntimeError, TypeError):  # a network reads values or passes them to NumPy: its need is unknown
        return
    way = next((setting for setting, smaller in _ways(config, need, free) if _fits(smaller, spec, free)), "")
    asked = f"data.size = {list(config.data.size)}, data.batch_size = {config.data.batch_size}"
    least = need.least(config, precision)
    raise SettingsError(
        f"{asked}: a step needs at least {_gigabytes(least)} of memory, and {device} has {_gigabytes(free)} free; "
        + (f"this fits: --set {way}" if way else "use smaller images and narrower networks"),
        topic="out-of-memory",
    )


def foresee(config: Config, spec: DataSpec = PLAIN) -> Need:
    """Return the bytes that a training holds at once.

    Raises:
        RuntimeError: If its steps cannot run on the meta device.
    """
    config = config.model_copy(update={"compile": False})
    (width, height), images = config.data.size, config.data.batch_size
    with _Alive() as alive:
        with torch.device("meta"):
            method = build_method(config, "cpu", "fp32")
        averages = build_averages(config, method)
        for _ in range(_STEPS):
            batch = _blank(config, spec)
            take_step(method, averages, batch)
            del batch
        fixed = alive.count()
    fakes = (
        len(method.discriminators) * max(0, config.image_pool_size - _STEPS * images) * 3 * width * height * 4
    )  # the images that the pools will still take
    return Need(fixed + fakes, alive.peak - fixed)


def _blank(config: Config, spec: DataSpec) -> Batch:
    """Return a batch on the meta device."""
    (width, height), images = config.data.size, config.data.batch_size

    def side(spec: SideSpec) -> tuple[Tensor, dict[str, Tensor]]:
        frames = (spec.clip_length,) if spec.clip_length > 1 else ()
        blank = torch.empty(images, *frames, 3, height, width, device="meta")
        return blank, blank_inputs(spec.kinds, blank)

    (sim, sims), (real, reals) = side(spec.sim), side(spec.real)
    return Batch(sim, real, sims, reals)


def _one_pass(config: Config, spec: DataSpec) -> int:
    """Return the bytes of all results that both networks compute for a batch, and of their weights."""
    everything = _All()
    with torch.device("meta"), torch.no_grad(), everything:
        batch = _blank(config, spec)
        for network in (build_generator(config), build_discriminator(config)):
            ranged = RangeAdapter(network, returns_images=False)
            ranged(batch.sim, blank_inputs(ranged.kinds, batch.sim))
    return everything.size


def _ways(config: Config, need: Need, free: int) -> Iterator[tuple[str, Config]]:
    """Yield settings that need less memory, with all settings: more parts of a batch, smaller images, less width."""
    for parts in parts_of(config, config.data.batch_size):
        yield f"train.gradient_accumulation_steps={parts}", _with(config, "train", gradient_accumulation_steps=parts)
    factor = math.sqrt(min(1.0, free / _MARGIN / need.most)) if need.fixed * _MARGIN <= free else 0.0
    while max(config.data.size) * factor >= _STRIDE:
        size = scaled_size(config, factor, _STRIDE)
        yield f"data.size={size[0]}x{size[1]}", _with(config, "data", size=size)
        factor *= 0.85
    width = config.generator.options.get("width")
    while isinstance(width, int) and width >= 16:
        width //= 2
        options = {**config.generator.options, "width": width}
        yield f"generator.options.width={width}", _with(config, "generator", options=options)


def _fits(config: Config, spec: DataSpec, free: int) -> bool:
    try:
        return foresee(config, spec).most * _MARGIN <= free
    except (RuntimeError, SettingsError):  # no such network
        return False


def _with(config: Config, section: str, **values: object) -> Config:
    return config.model_copy(update={section: getattr(config, section).model_copy(update=values)})


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB"


class _Results(TorchDispatchMode):
    """Base class of modes that receive the storages of the results of each operation."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in torch

    def add(self, storages: Sequence[UntypedStorage]) -> None:
        raise NotImplementedError

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        _types: object,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  the operation's own result
        result = func(*args, **(kwargs or {}))
        self.add([leaf.untyped_storage() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)])
        return result


class _All(_Results):
    """Adds up the bytes of all results of operations."""

    size = 0

    def add(self, storages: Sequence[UntypedStorage]) -> None:
        self.size += sum(storage.nbytes() for storage in storages)


class _Alive(_Results):
    """Records the most bytes that the results of operations hold together while they are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._now = 0  # an upper bound: some storages may have been freed since
        self._sizes: dict[StorageWeakRef, int] = {}

    def add(self, storages: Sequence[UntypedStorage]) -> None:
        for storage in storages:
            reference = StorageWeakRef(storage)
            if reference not in self._sizes:
                self._sizes[reference] = storage.nbytes()
                self._now += storage.nbytes()
        if self._now > self.peak * _FINE:
            self.peak = max(self.peak, self.count())

    def count(self) -> int:
        """Return the bytes that are held now."""
        self._sizes = {reference: size for reference, size in self._sizes.items() if not reference.expired()}
        self._now = sum(self._sizes.values())
        return self._now
