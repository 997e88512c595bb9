"""Whether a training fits the memory, found out before it begins: its steps are gone through without any contents.

On torch's meta device tensors have shapes and nothing else, so that a step of any size takes a moment. What is found is
less than what a step takes, which needs room to compute, too: what is refused cannot fit.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode  # the documented way to see every operation
from torch.utils._pytree import tree_leaves

from sim2real.config import Config
from sim2real.devices import free_memory
from sim2real.errors import SettingsError
from sim2real.methods.base import Batch
from sim2real.networks import RangeAdapter
from sim2real.networks.range_adapter import blank_inputs
from sim2real.training.setup import build_averages, build_discriminator, build_generator, build_method
from sim2real.training.wants import Asked, Wants, wants_of

_STEPS: Final = 2  # in the first one optimisers have no state yet
_PASSES: Final = 12  # times one pass through both networks; steps take two to four
_FINE: Final = 1.02  # below that, growth is not looked into
_SAVED: Final = 0.5  # part of what is held for gradients that numbers of 16 bits, or compilers, leave at least
_MARGIN: Final = 1.3  # of what is advised, for what is not foreseen


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes that a training holds at once.

    Attributes:
        fixed: Between steps: weights, gradients, states of optimisers, fakes that are kept.
        passing: Besides, within a step.
    """

    fixed: int
    passing: int

    @property
    def most(self) -> int:
        """In a step, computed in 32 bits as it is written down."""
        return self.fixed + self.passing

    def least(self, config: Config, precision: str) -> int:
        """What numbers of 16 bits, or a compiler, cannot do without."""
        saves = precision != "fp32" or config.compile is not False
        return self.fixed + round(self.passing * (_SAVED if saves else 1))


def foreseen_wants(config: Config) -> Wants:
    """What the parts of a training ask of its images, before there are any.

    Raises:
        Sim2RealError: A component does not exist, does not fit the settings, or asks for what there is not.
    """
    config = config.model_copy(update={"compile": False})
    try:
        with torch.device("meta"):
            wants = wants_of(build_method(config, "cpu", "fp32"))
    except (RuntimeError, TypeError, ValueError):  # a network that looks at values when it is built
        wants = wants_of(build_method(config, "cpu", "fp32"))
    return replace(wants, matched=config.data.matched)


def require_memory(
    config: Config, device: str, precision: str, *, processes: int = 1, wants: Wants | None = None
) -> None:
    """Make sure that a training can fit the memory that is free.

    Args:
        config: All settings.
        device: A resolved one; likewise ``precision``.
        precision: What to compute in.
        processes: How many share a batch.
        wants: What is asked of the images.

    Raises:
        SettingsError: It cannot; the message says which settings would.
    """
    wants = wants or Wants()
    config = _with(config, "data", batch_size=max(1, config.data.batch_size // processes))
    free = free_memory(device)
    try:
        if (
            _PASSES * _one_pass(config, wants) < free
            or (need := foresee(config, wants)).least(config, precision) <= free
        ):
            return
    except (RuntimeError, TypeError):  # a network that looks at values, or hands them to NumPy: nobody knows
        return
    way = _in_parts(config, wants, free) or _smaller(config, wants, need, free) or _narrower(config, wants, free)
    asked = f"data.size = {list(config.data.size)}, data.batch_size = {config.data.batch_size}"
    least = need.least(config, precision)
    raise SettingsError(
        f"{asked}: a step needs at least {_gigabytes(least)} of memory, and {device} has {_gigabytes(free)} free; "
        + (f"what fits: --set {way}" if way else "take smaller images and narrower networks")
    )


def foresee(config: Config, wants: Wants | None = None) -> Need:
    """What a training holds at once.

    Raises:
        RuntimeError: It cannot be gone through without contents.
    """
    config = config.model_copy(update={"compile": False})
    (width, height), images, wants = config.data.size, config.data.batch_size, wants or Wants()
    with _Alive() as alive:
        with torch.device("meta"):
            method = build_method(config, "cpu", "fp32")
        averages = build_averages(config, method)
        for _ in range(_STEPS):
            batch = _blank(config, wants)
            method.step(batch)
            for direction, average in averages.items():
                average.update_parameters(method.generators[direction].network)
            del batch
        fixed = alive.count()
    fakes = (
        len(method.discriminators) * max(0, config.image_pool_size - _STEPS * images) * 3 * width * height * 4
    )  # that are still to be kept
    return Need(fixed + fakes, alive.peak - fixed)


def _blank(config: Config, wants: Wants) -> Batch:
    """A batch without contents."""
    (width, height), images = config.data.size, config.data.batch_size

    def side(asked: Asked) -> tuple[Tensor, dict[str, Tensor]]:
        frames = (asked.clip_length,) if asked.clip_length > 1 else ()
        blank = torch.empty(images, *frames, 3, height, width, device="meta")
        return blank, blank_inputs(asked.kinds, blank)

    (sim, sims), (real, reals) = side(wants.sim), side(wants.real)
    return Batch(sim, real, sims, reals)


def _one_pass(config: Config, wants: Wants) -> int:
    """Bytes of all that both networks compute for a batch, and of their weights."""
    with torch.device("meta"), torch.no_grad(), _All() as everything:
        batch = _blank(config, wants)
        for network in (build_generator(config), build_discriminator(config)):
            ranged = RangeAdapter(network, returns_images=False)
            ranged(batch.sim, blank_inputs(ranged.kinds, batch.sim))
    size: int = everything.size
    return size


def _in_parts(config: Config, wants: Wants, free: int) -> str:
    """The fewest parts of a batch that fit."""
    images, now = config.data.batch_size, config.train.gradient_accumulation_steps
    counts = [count for count in range(now + 1, images + 1) if images % count == 0]
    fitting = ""
    for parts in reversed(counts):
        if not _fits(_with(config, "train", gradient_accumulation_steps=parts), wants, free):
            break
        fitting = f"train.gradient_accumulation_steps={parts}"
    return fitting


def _smaller(config: Config, wants: Wants, need: Need, free: int) -> str:
    """The largest size, about, that fits."""
    stride = 32  # of all generators that ship, a multiple
    if need.fixed * _MARGIN > free:
        return ""
    factor = math.sqrt(min(1.0, free / _MARGIN / need.most))
    while max(config.data.size) * factor >= stride:
        size = [max(stride, int(side * factor) // stride * stride) for side in config.data.size]
        if _fits(_with(config, "data", size=(size[0], size[1])), wants, free):
            return f"data.size={size[0]}x{size[1]}"
        factor *= 0.85
    return ""


def _narrower(config: Config, wants: Wants, free: int) -> str:
    """The width of the generator, halved until it fits."""
    width = config.generator.options.get("width")
    while isinstance(width, int) and width >= 16:
        width //= 2
        if _fits(_with(config, "generator", options={**config.generator.options, "width": width}), wants, free):
            return f"generator.options.width={width}"
    return ""


def _fits(config: Config, wants: Wants, free: int) -> bool:
    try:
        return foresee(config, wants).most * _MARGIN <= free
    except (RuntimeError, SettingsError):  # no such network
        return False


def _with(config: Config, section: str, **values: object) -> Config:
    return config.model_copy(update={section: getattr(config, section).model_copy(update=values)})


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB"


class _All(TorchDispatchMode):
    """Adds up the bytes of all results of operations."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it bare
        self.size = 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        _types: object,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  whatever torch returns
        result = func(*args, **(kwargs or {}))
        self.size += sum(tensor.untyped_storage().nbytes() for tensor in _tensors(result))
        return result


class _Alive(TorchDispatchMode):
    """Notes the most bytes that the results of operations hold together while they are alive."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.peak = 0
        self._now = 0  # at most: some may have gone since
        self._sizes: dict[StorageWeakRef, int] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        _types: object,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  as above
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            storage = tensor.untyped_storage()
            reference = StorageWeakRef(storage)
            if reference not in self._sizes:
                self._sizes[reference] = storage.nbytes()
                self._now += storage.nbytes()
        if self._now > self.peak * _FINE:
            self.peak = max(self.peak, self.count())
        return result

    def count(self) -> int:
        """Bytes that are held now."""
        self._sizes = {reference: size for reference, size in self._sizes.items() if not reference.expired()}
        self._now = sum(self._sizes.values())
        return self._now


def _tensors(result: object) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor))
