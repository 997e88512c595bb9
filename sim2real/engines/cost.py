"""The memory and the operations that a generator needs per pixel, measured on a small image.

Torch's own counter of operations does the same, but imports modules that take seconds to load.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode  # the documented way to see every operation
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from sim2real.capabilities import blank_inputs, capabilities
from sim2real.engines.torch import as_tensors

_SIDE = 64


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a translation per pixel.

    Attributes:
        memory: Peak bytes of feature maps, in fp32; for clips, of all frames together.
        work: Number of multiplications.
    """

    memory: float
    work: float


def cost_of(generator: nn.Module) -> Cost:
    """Measure the cost of a generator on the CPU with a small image.

    Raises:
        RuntimeError: If the generator does not run on the CPU.
    """
    stride = getattr(generator, "stride", 1)
    side = -(-_SIDE // stride) * stride
    can, device = capabilities(generator), torch.device("cpu")
    more: dict[str, Any] = {"seeds": np.zeros(1, np.uint64)} if can.stochastic else {}
    if can.takes_inputs:
        more["inputs"] = as_tensors(can, blank_inputs(can, side, side), device)
    frames = (can.clip_length,) if can.clip_length > 1 else ()
    with torch.inference_mode(), _Watch() as watch:
        generator.eval()(torch.zeros(1, *frames, 3, side, side), **more)
    return Cost(watch.peak / side**2, watch.operations / 2 / side**2 / can.clip_length)


class _Watch(TorchDispatchMode):
    """Counts floating-point operations, and records the peak memory of live results in bytes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in torch
        self.peak = 0
        self.operations = 0
        self._alive: dict[StorageWeakRef, int] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # skipping would import dynamo, which takes seconds

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401  torch's operations
        _types: object,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  whatever torch returns
        kwargs = kwargs or {}
        count: Callable[..., int] | None = flop_registry.get(func.overloadpacket)
        if count is None:
            with self:  # a composite operation
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        result = func(*args, **kwargs)
        self.operations += count(*args, **kwargs, out_val=result) if count else 0
        self._alive = {storage: size for storage, size in self._alive.items() if not storage.expired()}
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                self._alive[StorageWeakRef(storage)] = storage.nbytes()
        self.peak = max(self.peak, sum(self._alive.values()))
        return result
