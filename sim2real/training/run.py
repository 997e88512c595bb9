"""The run folder: settings, metrics, checkpoints. What stands under its final name is whole."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from sim2real.config import Config, read_config
from sim2real.errors import SettingsError
from sim2real.files import LEFTOVER, exclusive, replacing, write_whole


class RunFolder:
    """Where one training keeps what it makes.

    Args:
        path: The folder, ``runs/NAME``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.toml"
        self.metrics_file = path / "metrics.jsonl"
        self.samples = path / "samples"
        self.checkpoints = path / "checkpoints"

    def create(self, config: Config) -> None:
        """Begin a run.

        Raises:
            SettingsError: The folder exists or cannot be made.
        """
        self.require_new()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            message = f"{self.path}: cannot be made ({error.strerror}); choose another --run"
            raise SettingsError(message) from error
        self.write_config(config)  # first of all: what holds it can be resumed

    def require_new(self) -> None:
        """Make sure that there is nothing here yet.

        Raises:
            SettingsError: The folder exists.
        """
        if self.path.is_dir() and all(LEFTOVER.fullmatch(entry.name) for entry in self.path.iterdir()):
            return
        if self.path.exists():
            message = f"{self.path}: exists already; add --resume to continue that run, or choose another --run"
            raise SettingsError(message)

    def write_config(self, config: Config) -> None:
        """Write config.toml."""
        write_whole(self.config_file, config.dump().encode())

    def read_config(self) -> Config:
        """The settings that the run was begun with.

        Raises:
            SettingsError: There is no run in the folder.
        """
        if not self.config_file.is_file():
            message = f"{self.path}: there is no run to resume here; leave out --resume to begin one"
            raise SettingsError(message)
        return read_config(self.config_file)

    @contextmanager
    def writing(self, config: Config, step: int) -> Iterator[None]:
        """Be the only one who writes here; removes what a dead writer left, and what the log says beyond a step.

        Raises:
            Sim2RealError: Another training is writing here.
        """
        self.checkpoints.mkdir(exist_ok=True)
        with exclusive(self.checkpoints / ".lock", f"{self.path}: another training is at work here; wait for it"):
            for folder in (self.path, self.samples, self.checkpoints):
                for entry in folder.glob(".*"):
                    if LEFTOVER.fullmatch(entry.name):
                        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
            self.cut_log(step)
            self.write_config(config)
            yield

    def write_sample(self, step: int, png: bytes) -> None:
        """Write the sample picture of a step."""
        self.samples.mkdir(exist_ok=True)
        write_whole(self.samples / f"step_{step:08d}.png", png)

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        with self.metrics_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def cut_log(self, step: int) -> None:
        """Drop the lines of metrics.jsonl beyond a step, and a torn last one: a resumed run writes them again."""
        if not self.metrics_file.is_file():
            return
        kept = []
        for line in self.metrics_file.read_text("utf-8", errors="replace").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
            except (json.JSONDecodeError, KeyError, TypeError):
                continue
        write_whole(self.metrics_file, "".join(kept).encode())

    def save(self, step: int, state: Mapping[str, Any], write_generators: Callable[[Path], None], keep: int) -> Path:
        """Write a checkpoint, point ``last`` to it and drop the old ones.

        Args:
            step: Steps done.
            state: Tensors and plain values.
            write_generators: Writes the generators' files into a folder.
            keep: How many of the newest stay.

        Raises:
            SettingsError: It cannot be written; those before it are still there.
        """
        final = self.checkpoints / f"step_{step:08d}"
        partial = self.checkpoints / f".{final.name}.tmp-{os.getpid()}"
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir(parents=True)
            write_generators(partial)
            with (partial / "state.pt").open("wb") as file:
                torch.save(dict(state), file)
                file.flush()
                os.fsync(file.fileno())
        except (OSError, RuntimeError) as error:  # torch.save hides a full disk behind an error of its own
            shutil.rmtree(partial, ignore_errors=True)
            message = (
                f"{final}: the checkpoint cannot be written; check permissions and free space, then go on with --resume"
            )
            raise SettingsError(message) from error
        shutil.rmtree(final, ignore_errors=True)
        partial.replace(final)
        _sync(self.checkpoints)
        self._point_to(final)
        for old in self.list_checkpoints()[:-keep]:
            shutil.rmtree(old)
        return final

    def list_checkpoints(self) -> list[Path]:
        """The checkpoints, the oldest first."""
        return sorted(path for path in self.checkpoints.glob("step_*") if path.is_dir())

    def load(self) -> tuple[Path, dict[str, Any]] | None:
        """The newest checkpoint with its state, or None before the first.

        Raises:
            SettingsError: It is damaged.
        """
        found = self.list_checkpoints()
        if not found:
            return None
        try:
            return found[-1], torch.load(found[-1] / "state.pt", map_location="cpu", weights_only=True)
        except Exception as error:
            reason = type(error).__name__
            message = f"{found[-1]}: damaged checkpoint ({reason}); delete that folder to resume from the one before"
            raise SettingsError(message) from error

    def _point_to(self, checkpoint: Path) -> None:
        try:
            with replacing(self.path / "last") as link:
                link.symlink_to(checkpoint.relative_to(self.path), target_is_directory=True)
        except OSError:
            return  # a file system without links: the newest name says the same


def _sync(folder: Path) -> None:
    """Have the names in a folder on the disk, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
