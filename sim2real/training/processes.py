"""The processes of a training, one or many; the only module that imports Lightning Fabric."""

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
    """This process of a training among the others, as ``torchrun`` or SLURM's ``srun`` began them.

    Lightning Fabric finds out who they are, joins them and gives each its device. A process that is alone joins
    nothing. Gradients are averaged by :meth:`average` once they are complete, not by the hooks of
    ``DistributedDataParallel``: these count on one backward pass through one forward pass of each network, while a
    step of a GAN goes through each several times, with the discriminators now trained and now frozen.

    What is not of the device (flags, states, outcomes) goes through Gloo, so that nobody waits for a GPU.

    Args:
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, or of a process that is alone ``"cuda:i"`` or ``"mps"``.

    Attributes:
        rank: Number of this process, from 0.
        count: How many there are.
        device: Where this process computes, e.g. ``"cpu"`` or ``"cuda:0"``.

    Raises:
        SettingsError: There is no such device, or there are not enough of them.
        Sim2RealError: The others do not answer.
    """

    def __init__(self, device: str) -> None:
        self.count, nodes = _counts()
        self.rank = 0
        self.device = resolve_device(device)
        if self.count > 1 and device == "auto" and self.device == "mps":
            self.device = "cpu"  # an Apple GPU cannot be shared
        self._books: distributed.ProcessGroup | None = None
        if self.count > 1:
            self._join(nodes)

    def _join(self, nodes: int) -> None:
        kind, _, index = self.device.partition(":")
        here = self.count // nodes
        if index or kind == "mps":
            message = (
                f"device '{self.device}' is one, for {self.count} processes; use {kind if index else 'cpu'} or auto"
            )
            raise SettingsError(message)
        if kind == "cuda" and torch.cuda.device_count() < here:
            message = (
                f"{here} processes on this machine, but each sees {torch.cuda.device_count()} GPUs and needs one of "
                "its own; begin fewer, or let all of them see all GPUs (SLURM: --gpus-per-node, not --gpus-per-task)"
            )
            raise SettingsError(message)
        from lightning_fabric import Fabric  # noqa: PLC0415  seconds that only trainings of many processes need

        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it introduces itself
        with _linked():
            fabric = Fabric(accelerator=kind, strategy="ddp", devices=here, num_nodes=nodes)
            fabric.launch()
            if distributed.get_backend() != "gloo":
                self._books = cast("distributed.ProcessGroup", distributed.new_group(backend="gloo"))
        self.rank = fabric.global_rank
        self.device = str(fabric.device)

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and tells."""
        return self.rank == 0

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors, of the same shapes in all processes, by their means over these; in one exchange."""
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        with _linked():
            distributed.all_reduce(flat)
        parts = flat.div_(self.count).split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.detach().copy_(part.view_as(tensor))

    def greatest(self, number: int) -> int:
        """The greatest of the numbers that the processes have."""
        if self.count == 1:
            return number
        numbers = torch.tensor(number)
        with _linked():
            distributed.all_reduce(numbers, distributed.ReduceOp.MAX, group=self._books)
        return int(numbers)

    def gather(self, each: _T) -> list[_T]:
        """What every process has, by rank, on the first; on the others nothing."""
        if self.count == 1:
            return [each]
        everything: list[_T | None] | None = [None] * self.count if self.is_first else None
        with _linked():
            distributed.gather_object(each, everything, group=self._books)
        return cast("list[_T]", everything or [])

    def broadcast(self, thing: _T) -> _T:
        """What the first process has, on all."""
        if self.count == 1:
            return thing
        things = [thing]
        with _linked():
            distributed.broadcast_object_list(things, group=self._books)
        return things[0]

    def on_first(self, work: Callable[[], _T]) -> _T:
        """Do something on the first process alone; all wait for its result and have it.

        Raises:
            Sim2RealError: Of the work, on the first.
            SystemExit: On the others then, which keep silent.
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
    """How many processes, on how many machines, were begun together."""
    names = os.environ
    if distributed.is_available() and distributed.is_torchelastic_launched():
        return int(names["WORLD_SIZE"]), int(names["WORLD_SIZE"]) // int(names["LOCAL_WORLD_SIZE"])
    if "SLURM_STEP_NUM_TASKS" in names:  # srun's alone: a batch script is one process, whatever SLURM_NTASKS says
        return int(names["SLURM_STEP_NUM_TASKS"]), int(names.get("SLURM_STEP_NUM_NODES", "1"))
    return 1, 1


@contextmanager
def _linked() -> Iterator[None]:
    """The death of another process, in words."""
    try:
        yield
    except RuntimeError as error:
        message = (
            "another process of this training has ended or does not answer; look for what it said, "
            "then go on with --resume"
        )
        raise Sim2RealError(message) from error
