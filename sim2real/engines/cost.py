"""What a generator needs for a picture, found out without running it: memory and work, per pixel."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode  # the documented way to see every operation
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from sim2real.capabilities import blank_inputs, capabilities
from sim2real.engines.torch import as_tensors

_SIDE = 256


@dataclass(frozen=True, slots=True)
class Cost:
    """What translating takes for each pixel of a picture.

    Attributes:
        memory: Bytes of feature maps that are held at once, in fp32; of a clip, those of all its frames.
        work: Multiplications.
    """

    memory: float
    work: float


def cost_of(generator: nn.Module) -> Cost:
    """Run a copy of a generator on the meta device, where shapes are computed and nothing else, and watch it.

    Raises:
        RuntimeError: It does not run there; so do not networks that look at values.
    """
    stride = getattr(generator, "stride", 1)
    side = -(-_SIDE // stride) * stride
    twin = copy.deepcopy(generator).to("meta").eval()
    memory, operations = _Memory(), FlopCounterMode(display=False)
    can, device = capabilities(generator), torch.device("meta")
    more: dict[str, Any] = {"seeds": np.zeros(1, np.uint64)} if can.stochastic else {}
    if can.takes_inputs:
        more["inputs"] = as_tensors(can, blank_inputs(can, side, side), device)
    frames = (can.clip_length,) if can.clip_length > 1 else ()
    with torch.inference_mode(), operations, memory:
        twin(torch.empty(1, *frames, 3, side, side, device=device), **more)
    return Cost(memory.peak / side**2, operations.get_total_flops() / 2 / side**2 / can.clip_length)


class _Memory(TorchDispatchMode):
    """Notes the most bytes that the results of operations hold together while they are alive."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it bare
        self.peak = 0
        self._alive: dict[StorageWeakRef, int] = {}

    def __torch_dispatch__(
        self, func: Callable[..., Any], _types: object, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:  # noqa: ANN401  whatever torch returns
        result = func(*args, **(kwargs or {}))
        self._alive = {storage: size for storage, size in self._alive.items() if not storage.expired()}
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                self._alive[StorageWeakRef(storage)] = storage.nbytes()
        self.peak = max(self.peak, sum(self._alive.values()))
        return result
