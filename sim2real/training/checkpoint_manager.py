"""Save the state of a training to checkpoints and restore it: the shared state and the state of each process."""

import io
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import torch

from sim2real.devices import random_state, set_random_state
from sim2real.errors import Sim2RealError
from sim2real.methods.base import RankState, Stateful
from sim2real.stored import FORMAT, Count, Format, MisfitError, NewerFormatError, Positive, fit, one_line
from sim2real.training.checkpoints import Checkpoints, read_state
from sim2real.training.processes import Processes

_STATE, _OWN = "state.pt", "own_{}.pt"
_FOREIGN = (RuntimeError, ValueError, LookupError, TypeError, AttributeError)  # of networks, optimisers, plugins


class CheckpointManager:
    """Saves and restores all state that a resumed training needs.

    Args:
        checkpoints: The checkpoints of the run.
        processes: The processes of the training, as seen from this one.
        fingerprint: Fingerprint of the images.
        shared: The objects whose state is equal in all processes, by name.
        own: The objects whose state differs between processes, by name.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        processes: Processes,
        fingerprint: str,
        shared: Mapping[str, Stateful],
        own: Mapping[str, RankState],
    ) -> None:
        self.checkpoints = checkpoints
        self.processes = processes
        self.fingerprint = fingerprint
        self.shared = shared
        self.own = {**own, "random": _Randomness(processes.device)}

    def save(self, step: int, write_generators: Callable[[Path], None], *, best: int, keep: int) -> None:
        """Save the state of the training; called in every process at once, see :meth:`Checkpoints.save`."""
        owns = self.processes.gather(_as_bytes({name: part.rank_state_dict() for name, part in self.own.items()}))

        def write(folder: Path) -> None:
            write_generators(folder)
            state = {name: part.state_dict() for name, part in self.shared.items()}
            frame = asdict(_Frame(step, self.processes.count, self.fingerprint))
            (folder / _STATE).write_bytes(_as_bytes({**frame, **state}))
            for rank, own in enumerate(owns):
                (folder / _OWN.format(rank)).write_bytes(own)

        self.processes.on_first(lambda: self.checkpoints.save(step, write, best=best, keep=keep))

    def load(self) -> tuple[int, list[str]]:
        """Restore the newest intact state.

        Returns:
            The number of steps done by then, 0 if there is no checkpoint; and notes on what could not be restored.

        Raises:
            Sim2RealError: If all checkpoints are damaged, or the state does not fit this training or its images.
        """
        path, findings = self.processes.on_first(self.checkpoints.newest)
        if path is None:
            return 0, findings
        state = _read(path, _STATE)
        try:
            frame = fit(_Frame, {name: state[name] for name in _FRAME if name in state})
        except NewerFormatError as error:
            raise Sim2RealError(f"{path / _STATE}: {error}") from error
        except MisfitError as error:
            raise Sim2RealError(
                f"{path}: {_STATE}: {error}; start a new run with another --run", topic="stop-and-resume"
            ) from error
        if path != self.checkpoints.path(frame.step):
            raise Sim2RealError(
                f"{path}: {_STATE} is of step {frame.step}; start a new run with another --run", topic="stop-and-resume"
            )
        if frame.fingerprint != self.fingerprint:
            message = f"{path}: the images, or labels used in training, have changed since this run started"
            raise Sim2RealError(f"{message}; start a new one with another --run", topic="stop-and-resume")
        for name, shared in self.shared.items():
            _give(path, _STATE, name, state, shared.load_state_dict)
        if unknown := sorted(map(ascii, state.keys() - {*_FRAME, *self.shared})):
            findings = [*findings, f"{path / _STATE}: unknown entries are ignored: {', '.join(unknown)}"]
        if frame.processes != self.processes.count:
            changed = f"{frame.processes} processes trained this run until now, {self.processes.count} continue it"
            return frame.step, [*findings, f"{changed}: the random states of the processes start anew"]
        file = _OWN.format(self.processes.rank)
        owns = _read(path, file)
        for name, own in self.own.items():
            _give(path, file, name, owns, own.load_rank_state_dict)
        return frame.step, findings


@dataclass(frozen=True, slots=True)
class _Frame:
    """The fields of a state besides the states of its parts."""

    step: Count
    processes: Positive
    fingerprint: str
    format_version: Format = FORMAT


_FRAME: Final = tuple(each.name for each in fields(_Frame))


def _read(path: Path, name: str) -> dict[str, Any]:
    try:
        return read_state(path, name)
    except MisfitError as error:
        raise Sim2RealError(f"{path}: {error}; start a new run with another --run", topic="stop-and-resume") from error


def _give(
    path: Path, file: str, name: str, state: Mapping[str, Any], load: Callable[[Mapping[str, Any]], object]
) -> None:
    """Load the state of one part of the training."""
    if not isinstance(state.get(name), Mapping):
        raise Sim2RealError(
            f"{path}: {file} has no state of '{name}'; start a new run with another --run", topic="stop-and-resume"
        )
    try:
        load(state[name])
    except _FOREIGN as error:
        message = f"{path}: {file}: the state of '{name}' does not fit this training ({one_line(error)})"
        raise Sim2RealError(f"{message}; start a new run with another --run", topic="stop-and-resume") from error


class _Randomness:
    """The states of torch's random number generators, on the CPU and on the device."""

    def __init__(self, device: str) -> None:
        self.device = device

    def rank_state_dict(self) -> dict[str, Any]:
        return {"cpu": torch.get_rng_state(), "device": random_state(self.device)}

    def load_rank_state_dict(self, state: Mapping[str, Any]) -> None:
        torch.set_rng_state(state["cpu"])
        kept, own = state["device"], random_state(self.device)
        if kept is not None and own is not None and len(kept) == len(own):  # otherwise of another kind of device
            set_random_state(self.device, kept)


def _as_bytes(state: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getvalue()
