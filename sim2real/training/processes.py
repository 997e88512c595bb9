"""The processes of a training, one or several; the only module that imports Lightning Fabric."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar, cast

import torch
from torch import Tensor, distributed

from sim2real.devices import resolve_device
from sim2real.errors import SettingsError, Sim2RealError

_T = TypeVar("_T")


class Processes:
    """The processes of a training, started by ``torchrun`` or SLURM's ``srun``, as seen from this one.

    Lightning Fabric detects the processes, connects them and assigns each its device. A single process connects to
    nothing. Gradients are averaged by :meth:`average` when they are complete, not by the hooks of
    ``DistributedDataParallel``: these expect one backward pass for one forward pass of each network, while a step of a
    GAN uses each network several times, with the discriminators trained in some passes and frozen in others.

    Objects that are not on the device (flags, states, results) are exchanged through Gloo, so that no process waits for
    a GPU.

    Args:
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``; for a single process also ``"cuda:i"`` or ``"mps"``.

    Attributes:
        rank: Number of this process, from 0.
        count: Number of processes.
        device: The device of this process, e.g. ``"cpu"`` or ``"cuda:0"``.

    Raises:
        SettingsError: If there is no such device, or there are too few.
        Sim2RealError: If the other processes do not answer.
    """

    def __init__(self, device: str) -> None:
        self.count, nodes = _counts()
        self.rank = 0
        self.device = resolve_device(device)
        if self.count > 1 and device == "auto" and self.device == "mps":
            self.device = "cpu"  # an Apple GPU cannot be shared
        self._control: distributed.ProcessGroup | None = None
        if self.count > 1:
            self._join(nodes)

    def _join(self, nodes: int) -> None:
        kind, _, index = self.device.partition(":")
        here = self.count // nodes
        if index or kind == "mps":
            message = (
                f"device '{self.device}' is a single one, for {self.count} processes; use {kind if index else 'cpu'} "
                "or auto"
            )
            raise SettingsError(message, topic="many-machines")
        if kind == "cuda" and torch.cuda.device_count() < here:
            message = (
                f"{here} processes on this machine, but each sees {torch.cuda.device_count()} GPUs and needs its own "
                "one; start fewer, or let all processes see all GPUs (SLURM: --gpus-per-node, not --gpus-per-task)"
            )
            raise SettingsError(message, topic="many-machines")
        from lightning_fabric import Fabric  # noqa: PLC0415  takes seconds, needed only for several processes

        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # no greeting
        with _linked():
            fabric = Fabric(accelerator=kind, strategy="ddp", devices=here, num_nodes=nodes)
            fabric.launch()
            if distributed.get_backend() != "gloo":
                self._control = cast("distributed.ProcessGroup", distributed.new_group(backend="gloo"))
        self.rank = fabric.global_rank
        self.device = str(fabric.device)

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors, of the same shapes in all processes, by their means over all processes, in one exchange."""
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        with _linked():
            distributed.all_reduce(flat)
        parts = flat.div_(self.count).split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.detach().copy_(part.view_as(tensor))

    def greatest(self, number: int) -> int:
        """Return the greatest of the processes' numbers."""
        if self.count == 1:
            return number
        numbers = torch.tensor(number)
        with _linked():
            distributed.all_reduce(numbers, distributed.ReduceOp.MAX, group=self._control)
        return int(numbers)

    def gather(self, each: _T) -> list[_T]:
        """Return the objects of all processes, in order of rank, on the first process; an empty list on the others."""
        if self.count == 1:
            return [each]
        everything: list[_T | None] | None = [None] * self.count if self.is_first else None
        with _linked():
            distributed.gather_object(each, everything, group=self._control)
        return cast("list[_T]", everything or [])

    def broadcast(self, thing: _T) -> _T:
        """Return the object of the first process, on all processes."""
        if self.count == 1:
            return thing
        things = [thing]
        with _linked():
            distributed.broadcast_object_list(things, group=self._control)
        return things[0]

    def on_first(self, work: Callable[[], _T]) -> _T:
        """Call ``work`` on the first process only, and return its result on all processes.

        Raises:
            Sim2RealError: On the first process, if ``work`` raises it.
            SystemExit: On the other processes in that case; they print nothing.
        """
        if self.count == 1:
            return work()
        result: _T | None = None
        error: Sim2RealError | None = None
        if self.is_first:
            try:
                result = work()
            except Sim2RealError as raised:
                error = raised
        result, failed = self.broadcast((result, error is not None))
        if error:
            raise error
        if failed:
            raise SystemExit(1)
        return cast("_T", result)


def _counts() -> tuple[int, int]:
    """Return the number of processes that were started together, and that of their machines."""
    names = os.environ
    if distributed.is_available() and distributed.is_torchelastic_launched():
        return int(names["WORLD_SIZE"]), int(names["WORLD_SIZE"]) // int(names["LOCAL_WORLD_SIZE"])
    if "SLURM_STEP_NUM_TASKS" in names:  # set by srun only: a batch script is one process, whatever SLURM_NTASKS says
        return int(names["SLURM_STEP_NUM_TASKS"]), int(names.get("SLURM_STEP_NUM_NODES", "1"))
    return 1, 1


@contextmanager
def _linked() -> Iterator[None]:
    """Report the end of another process in a clear message."""
    try:
        yield
    except RuntimeError as error:
        message = (
            "another process of this training has ended or does not answer; see its output, then continue with --resume"
        )
        raise Sim2RealError(message, topic="many-machines") from error
