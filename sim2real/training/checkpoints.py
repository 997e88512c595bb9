"""Checkpoints: written as a whole or not at all, with hashes that reveal later damage."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sim2real.errors import SettingsError, Sim2RealError
from sim2real.files import replacing, sha256_of
from sim2real.inside import inside, is_link, read_regular
from sim2real.stored import (
    FORMAT,
    Count,
    Digest,
    FileName,
    Format,
    MisfitError,
    NewerFormatError,
    Original,
    dumped,
    one_line,
    parse,
    unknown_fields,
    unknown_fields_text,
)

_CONTENTS: Final = "checkpoint.json"
_NAME: Final = re.compile(r"step_\d{8,}")


@dataclass(frozen=True, slots=True)
class _Contents:
    """The contents of ``checkpoint.json``: steps done, best step so far (0 for none), SHA-256 of every other file.

    ``format_version`` applies to all files; ``original`` is the whole document if it has fields that this version does
    not know.
    """

    step: Count
    best: Count
    sha256: dict[FileName, Digest]
    format_version: Format = FORMAT
    original: Original = field(default_factory=dict)


class Checkpoints:
    """The folders ``checkpoints/step_%08d`` of a run, and the links ``last`` and ``best`` to two of them.

    Each folder holds ``checkpoint.json`` with the best step so far and the SHA-256 of every other file.

    Args:
        run: The run folder.
    """

    def __init__(self, run: Path) -> None:
        self.run = run

    @property
    def folder(self) -> Path:
        """The folder of all checkpoints."""
        return inside(self.run, "checkpoints")

    def path(self, step: int) -> Path:
        """Return the path of the checkpoint of a step, whether it exists or not."""
        return self.folder / f"step_{step:08d}"

    def paths(self) -> list[Path]:
        """Return the paths of the checkpoints, the oldest first."""
        found = (path for path in self.folder.glob("step_*") if _NAME.fullmatch(path.name))
        return sorted(path for path in found if path.is_dir() and not is_link(path))

    def save(self, step: int, write: Callable[[Path], None], *, best: int, keep: int) -> Path:
        """Add a checkpoint, update the links, and remove the checkpoints that are no longer needed.

        An intact checkpoint of the same step is kept, as it is from the same moment of the same training.

        Args:
            step: Number of steps done.
            write: Writes the files into a folder.
            best: The best step so far, 0 for none.
            keep: The number of newest checkpoints that are kept; for each, the best one at its time is kept as well.

        Raises:
            SettingsError: If the checkpoint cannot be written; the earlier ones are still there.
        """
        final = self.path(step)
        partial = self.folder / f".{final.name}.tmp-{os.getpid()}"
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            write(partial)
            hashes = {file.name: sha256_of(file) for file in sorted(partial.iterdir())}
            (partial / _CONTENTS).write_text(json.dumps(dumped(_Contents(step, best, hashes))))
            for path in (*partial.iterdir(), partial):
                sync(path)
        except (OSError, RuntimeError) as error:  # torch.save raises RuntimeError when the disk is full
            shutil.rmtree(partial, ignore_errors=True)
            message = f"{final}: the checkpoint cannot be written; check permissions and free space, then use --resume"
            raise SettingsError(message) from error
        if final.is_dir() and damage(final) is None:
            shutil.rmtree(partial)
        else:
            if os.path.lexists(final):
                _drop(final)
            partial.replace(final)
        sync(self.folder)
        self._point(best)
        self._prune(keep)
        return final

    def newest(self) -> tuple[Path | None, list[str]]:
        """Return the newest intact checkpoint, None if there is no checkpoint, and notes.

        There is a note for each newer checkpoint, which is damaged, and one for fields that this version does not know.

        Raises:
            SettingsError: If all checkpoints are damaged, or the newest intact one is of a newer format.
        """
        damaged: list[str] = []
        for path in reversed(self.paths()):
            reason = damage(path)
            if reason is None:
                notes = [f"{each}; continuing from an earlier one, {path.name}" for each in damaged]
                if names := unknown_fields(_contents(path)):
                    notes.append(f"{path / _CONTENTS}: {unknown_fields_text(names)}")
                return path, notes
            damaged.append(f"{path}: damaged checkpoint ({reason})")
        if damaged:
            message = f"{damaged[0]}, and there is no intact one before it; delete {self.folder} to restart this run"
            raise SettingsError(message, topic="stop-and-resume")
        return None, []

    def go_on_from(self, step: int, *, best: int, keep: int) -> None:
        """Remove the damaged checkpoints after a step and those no longer needed, and update the links to match it.

        Args:
            step: Number of steps done.
            best: As for :meth:`save`.
            keep: As for :meth:`save`; the writer of the newest checkpoint may have died before it removed others.

        Raises:
            Sim2RealError: If one of them is intact: another training has written it in the meantime.
        """
        for path in self.paths():
            if path.name > self.path(step).name:
                if damage(path) is None:
                    raise Sim2RealError(f"{path}: another training has continued this run in the meantime; try again")
                _drop(path)
        self._point(best)
        self._prune(keep)

    def _prune(self, keep: int) -> None:
        """Remove all checkpoints but the newest ones and those that were the best at their times."""
        newest = self.paths()[-keep:]
        needed = {*newest, *(self.path(_best_by(path)) for path in newest)}
        for path in self.paths():
            if path not in needed:
                _drop(path)

    def _point(self, best: int) -> None:
        newest = self.paths()[-1:]
        for name, targets in (("last", newest), ("best", [self.path(best)] if best else [])):
            link = self.run / name
            try:
                if not targets:
                    link.unlink(missing_ok=True)
                elif not link.is_symlink() or link.readlink() != targets[0].relative_to(self.run):
                    with replacing(link) as temporary:
                        temporary.symlink_to(targets[0].relative_to(self.run), target_is_directory=True)
            except OSError:
                return  # the file system has no links; the newest checkpoint.json has the same information


def read_state(path: Path, name: str) -> dict[str, Any]:
    """Return a state from a checkpoint: tensors on the CPU and plain values; no code in the file is run.

    Raises:
        MisfitError: If the file does not hold such a state.
    """
    import torch

    try:
        state = torch.load(path / name, map_location="cpu", weights_only=True)
    except Exception as error:  # the bytes may be anything; torch's own message would advise to execute them
        raise MisfitError("holds something other than tensors and plain values", name) from error
    if type(state) is not dict:
        raise MisfitError("holds no named values", name)
    return state


def damage(path: Path) -> str | None:
    """Return what is wrong with a checkpoint, in a few words; None if it is intact.

    Raises:
        SettingsError: If the checkpoint is of a newer format.
    """
    try:
        return next(_faults(path), None)
    except NewerFormatError as error:
        raise SettingsError(f"{path / _CONTENTS}: {error}") from error
    except MisfitError as error:
        return f"{_CONTENTS}: {error}"
    except FileNotFoundError:
        return f"{_CONTENTS} is missing"
    except (OSError, Sim2RealError) as error:
        return f"{_CONTENTS}: {one_line(error)}"


def _best_by(path: Path) -> int:
    """Return the best step at the time of a checkpoint; 0 if there is none or its contents cannot be read."""
    try:
        return _contents(path).best
    except (OSError, Sim2RealError, MisfitError):
        return 0


def _drop(path: Path) -> None:
    """Remove a checkpoint, renaming it first so that an interrupted removal leaves no damaged checkpoint."""
    old = path.rename(path.with_name(f".{path.name}.old.tmp-{os.getpid()}"))
    if old.is_dir() and not is_link(old):
        shutil.rmtree(old)
    else:
        old.unlink()


def _faults(path: Path) -> Iterator[str]:
    if is_link(path):
        yield "it is a link"
    contents = _contents(path)
    if path.name != f"step_{contents.step:08d}":
        yield f"{_CONTENTS} is of step {contents.step}"
    if unknown := sorted({file.name for file in path.iterdir()} - {_CONTENTS, *contents.sha256}):
        yield f"{_CONTENTS} does not list {unknown[0]}"
    for name, expected in contents.sha256.items():
        if is_link(path / name):
            yield f"{name} is a link"
        elif not (path / name).is_file():
            yield f"{name} is missing"
        elif sha256_of(path / name) != expected:
            yield f"{name} has changed since it was written"
        elif name.endswith(".pt"):
            try:
                read_state(path, name)
            except MisfitError as error:
                yield str(error)


def _contents(path: Path) -> _Contents:
    return parse(_Contents, read_regular(inside(path, _CONTENTS)))


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk, if the system supports it."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
