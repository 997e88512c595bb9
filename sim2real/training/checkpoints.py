"""Checkpoints: what stands under its name is whole, and what was damaged later is known by its hashes."""

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
    """What ``checkpoint.json`` says: steps done, the best step by then (0 for none), SHA-256 of every other file.

    ``format_version`` is that of all files; ``original`` is all of it, if there is what this version does not know.
    """

    step: Count
    best: Count
    sha256: dict[FileName, Digest]
    format_version: Format = FORMAT
    original: Original = field(default_factory=dict)


class Checkpoints:
    """The folders ``checkpoints/step_%08d`` of a run, and the links ``last`` and ``best`` to two of them.

    Each holds ``checkpoint.json``: the best step by then, and the SHA-256 of every other file.

    Args:
        run: The run folder.
    """

    def __init__(self, run: Path) -> None:
        self.run = run

    @property
    def folder(self) -> Path:
        """Where they are."""
        return inside(self.run, "checkpoints")

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step is, or would be."""
        return self.folder / f"step_{step:08d}"

    def paths(self) -> list[Path]:
        """The checkpoints, the oldest first."""
        found = (path for path in self.folder.glob("step_*") if _NAME.fullmatch(path.name))
        return sorted(path for path in found if path.is_dir() and not is_link(path))

    def save(self, step: int, write: Callable[[Path], None], *, best: int, keep: int) -> Path:
        """Add a checkpoint, point the links, and drop those that are not needed any more.

        An intact one of that step stays: it is of the same moment of the same training.

        Args:
            step: Steps done.
            write: Writes the files into a folder.
            best: The best step so far, 0 for none.
            keep: How many of the newest stay, and with each the one that was the best by then.

        Raises:
            SettingsError: It cannot be written; those before it are still there.
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
        except (OSError, RuntimeError) as error:  # torch.save hides a full disk behind an error of its own
            shutil.rmtree(partial, ignore_errors=True)
            message = (
                f"{final}: the checkpoint cannot be written; check permissions and free space, then go on with --resume"
            )
            raise SettingsError(message) from error
        if final.is_dir() and damage(final) is None:
            shutil.rmtree(partial)
        else:
            if os.path.lexists(final):
                _drop(final)
            partial.replace(final)
        sync(self.folder)
        self._point(best)
        newest = self.paths()[-keep:]
        needed = {*newest, *(self.path(_best_by(path)) for path in newest)}
        for path in self.paths():
            if path not in needed:
                _drop(path)
        return final

    def newest(self) -> tuple[Path | None, list[str]]:
        """The newest intact checkpoint, or None before the first, and a sentence on each damaged one after it.

        One more tells what in it is not known.

        Raises:
            SettingsError: All are damaged, or the newest of those that are not is of a newer format.
        """
        damaged: list[str] = []
        for path in reversed(self.paths()):
            reason = damage(path)
            if reason is None:
                notes = [f"{each}; going on from the one before, {path.name}" for each in damaged]
                if names := unknown_fields(_contents(path)):
                    notes.append(f"{path / _CONTENTS}: {unknown_fields_text(names)}")
                return path, notes
            damaged.append(f"{path}: damaged checkpoint ({reason})")
        if damaged:
            message = f"{damaged[0]}, and there is none before it; delete {self.folder} to begin this run again"
            raise SettingsError(message)
        return None, []

    def go_on_from(self, step: int, *, best: int) -> None:
        """Drop those beyond a step, which are damaged, and point the links as they were then.

        Raises:
            Sim2RealError: One beyond is intact: of another training, since this one looked.
        """
        for path in self.paths():
            if path.name > self.path(step).name:
                if damage(path) is None:
                    raise Sim2RealError(f"{path}: another training has gone on here meanwhile; begin once more")
                _drop(path)
        self._point(best)

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
                return  # a file system without links: checkpoint.json of the newest says the same


def read_state(path: Path, name: str) -> dict[str, Any]:
    """A state from a checkpoint: tensors, on the CPU, and plain values; nothing that is in the file is run.

    Raises:
        MisfitError: It is none.
    """
    import torch

    try:
        state = torch.load(path / name, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch meets in bytes that may be anything; what it says is how to run them
        raise MisfitError("holds something else than tensors and plain values", name) from error
    if type(state) is not dict:
        raise MisfitError("holds no named values", name)
    return state


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint, in a few words; None: nothing.

    Raises:
        SettingsError: It is of a newer format.
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
    """The best step by the time of a checkpoint; 0 for none, or where its contents cannot be read."""
    try:
        return _contents(path).best
    except (OSError, Sim2RealError, MisfitError):
        return 0


def _drop(path: Path) -> None:
    """Remove a checkpoint; half removed, it is a leftover, not a checkpoint."""
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
        yield f"{_CONTENTS} says nothing of {unknown[0]}"
    for name, expected in contents.sha256.items():
        if is_link(path / name):
            yield f"{name} is a link"
        elif not (path / name).is_file():
            yield f"{name} is missing"
        elif sha256_of(path / name) != expected:
            yield f"{name} is not what was written"
        elif name.endswith(".pt"):
            try:
                read_state(path, name)
            except MisfitError as error:
                yield str(error)


def _contents(path: Path) -> _Contents:
    return parse(_Contents, read_regular(inside(path, _CONTENTS)))


def sync(path: Path) -> None:
    """Have a file, or the names in a folder, on the disk, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
