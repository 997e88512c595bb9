"""Advise which setting to lower, and by how much, when a step does not fit the memory."""

import re
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import sqrt

import torch
from torch import nn

from sim2real.config import Config
from sim2real.devices import is_out_of_memory, kind_of
from sim2real.errors import Sim2RealError

_UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_ASKED = re.compile(r"tried to allocate (\d+(?:\.\d+)?) (bytes|KiB|MiB|GiB)", re.IGNORECASE)
_HALF_THE_PIXELS = sqrt(0.5)
_AT_MOST = 0.95  # of a side; a smaller reduction is within the error of the estimate


@dataclass(frozen=True, slots=True)
class Use:
    """The memory of a device, in bytes, in a step that did not fit.

    Attributes:
        fixed: Memory held between steps, independent of the batch: weights, gradients, optimiser states.
        reached: Memory held when it ran out, with the last request; the whole step needs still more.
        available: Memory that is available to this process.
    """

    fixed: int
    reached: int
    available: int


@contextmanager
def memory_errors(
    config: Config, generators: Iterable[nn.Module], device: str, at: Callable[[], str], *, processes: int = 1
) -> Iterator[None]:
    """Turn an out-of-memory error into a message with advice.

    Args:
        config: All settings.
        generators: The generators that are trained.
        device: The device.
        at: Returns how far the training was, for the start of the message.
        processes: Number of processes that share a batch.

    Raises:
        Sim2RealError: If the memory ran out.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        stride = max(getattr(generator, "stride", 1) for generator in generators)
        words = advice(config, processes, stride, measure(error, device))
        raise Sim2RealError(f"{at()}: {device} has too little memory; {words}", topic="out-of-memory") from error


def measure(error: BaseException, device: str) -> Use | None:
    """Return the memory of the step that ended in this error, and clear the error's frames; None if not on CUDA."""
    if kind_of(device) != "cuda":
        return None
    reached = torch.cuda.memory_allocated(device) + _asked(str(error))
    available = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    traceback.clear_frames(error.__traceback__)  # they keep the step's tensors alive
    return Use(torch.cuda.memory_allocated(device), reached, available)


def _asked(text: str) -> int:
    match = _ASKED.search(text)
    return int(float(match[1]) * _UNITS[match[2]]) if match else 0


def advice(config: Config, processes: int, stride: int, use: Use | None) -> str:
    """Return which settings to change so that a step takes less memory.

    First, the batch is processed in more parts, which trains the same. If each image is processed alone already, the
    images must get smaller: all memory that is not fixed is proportional to the number of their pixels.

    Args:
        config: All settings.
        processes: Number of processes that share a batch.
        stride: The sides of images must be multiples of this.
        use: The measured memory; without it, the advice is to halve the memory of the step.
    """
    share = config.data.batch_size // processes
    now = config.train.gradient_accumulation_steps
    fits = _fitting_part(use)
    parts = parts_of(config, share)
    if parts:
        best = next((count for count in parts if now / count <= fits), parts[-1])
        words = f"set train.gradient_accumulation_steps = {best} (now {now}), which trains the same in less memory"
        if now / best <= fits:
            return words
        return f"{words}, and {_smaller(config, stride, min(1.0, fits * best / now))}"
    return f"{_smaller(config, stride, fits)}, or the networks' width{_width(config)}"


def parts_of(config: Config, images: int) -> list[int]:
    """Return the numbers of equal parts of a batch of ``images`` that are larger than the current number."""
    return [count for count in range(config.train.gradient_accumulation_steps + 1, images + 1) if images % count == 0]


def scaled_size(config: Config, factor: float, stride: int) -> tuple[int, int]:
    """Return the size (W, H) of a batch times a factor, rounded down to multiples of a stride, at least one."""
    width, height = (max(stride, int(side * factor) // stride * stride) for side in config.data.size)
    return width, height


def _fitting_part(use: Use | None) -> float:
    """Return the part of a step's memory, not counting the fixed one, that fits at most."""
    if use is None:
        return 0.5
    return min(1.0, max(0.0, (use.available - use.fixed) / max(1, use.reached - use.fixed)))


def _smaller(config: Config, stride: int, part: float) -> str:
    factor = min(_AT_MOST, sqrt(part)) if part > 0 else _HALF_THE_PIXELS
    return f"lower data.size to {[*scaled_size(config, factor, stride)]} or less (now {list(config.data.size)})"


def _width(config: Config) -> str:
    width = config.generator.options.get("width")
    return f" (generator.options.width, now {width})" if width else ""
