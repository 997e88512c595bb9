"""The run folder: settings, metrics, checkpoints. Files appear under their final names only when they are complete."""

import errno
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sim2real.config import Config, read_config
from sim2real.datasets.video import holds_only_extracted
from sim2real.errors import SettingsError
from sim2real.files import LEFTOVER, PATIENCE, exclusive, write_whole
from sim2real.inside import inside, read_regular
from sim2real.places import is_run
from sim2real.stored import Count, MisfitError, fits, parse
from sim2real.training.checkpoints import Checkpoints, sync

_NAMED = 3  # other runs in a message
_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.ENOENT})


class RunFolder:
    """The folder of one training's files.

    Args:
        path: The folder, ``runs/NAME``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = Checkpoints(path)

    @property
    def config_file(self) -> Path:
        """The file of the run's settings; this path and the following ones are checked by :func:`inside`."""
        return inside(self.path, "config.toml")

    @property
    def metrics_file(self) -> Path:
        """The file of the metrics, a line for each report."""
        return inside(self.path, "metrics.jsonl")

    @property
    def samples(self) -> Path:
        """The folder of the sample grids."""
        return inside(self.path, "samples")

    @property
    def frames(self) -> Path:
        """The folder of the frames that were extracted from videos."""
        return inside(self.path, "frames")

    @property
    def cache(self) -> Path:
        """The folder of decoded images during the training."""
        return inside(self.path, "cache")

    def create(self, config: Config) -> None:
        """Create the folder of a new run, with its settings.

        Raises:
            SettingsError: If the folder exists or cannot be created.
        """
        self.require_new()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            message = f"{self.path}: cannot be created ({error.strerror}); choose another --run"
            raise SettingsError(message) from error
        self.write_config(config)  # written first: a folder with settings can be resumed

    def require_new(self) -> None:
        """Make sure that the folder does not exist yet, or holds only frames extracted from videos and leftovers.

        Raises:
            SettingsError: If the folder holds anything else.
        """
        if self.path.is_dir() and all(
            LEFTOVER.fullmatch(entry.name) or (entry == self.frames and holds_only_extracted(entry))
            for entry in self.path.iterdir()
        ):
            return
        if self.path.exists():
            message = f"{self.path}: exists already; add --resume to continue that run, or choose another --run"
            raise SettingsError(message, topic="stop-and-resume")

    def write_config(self, config: Config) -> None:
        """Write config.toml."""
        write_whole(self.config_file, config.dump().encode())

    def read_config(self) -> Config:
        """Return the settings of the run.

        Raises:
            SettingsError: If there is no run in the folder.
        """
        if not self.config_file.is_file():
            message = f"{self.path}: there is no run to resume here; omit --resume to start one"
            if others := [str(path) for path in sorted(self.path.parent.glob("*")) if is_run(path)][:_NAMED]:
                message += f", or name another one: --run {' or '.join(others)}"
            raise SettingsError(message, topic="stop-and-resume")
        return read_config(self.config_file)

    @contextmanager
    def writing(self, config: Config, step: int, *, best: int) -> Iterator[None]:
        """Lock the folder for writing; first remove the leftovers of an ended writer and everything after a step.

        Args:
            config: The settings from now on.
            step: Number of steps done.
            best: The best step so far, 0 for none.

        Raises:
            Sim2RealError: If another training is writing here, or a file cannot be written in the meantime, e.g.
                because the disk is full.
        """
        checkpoints = self.checkpoints.folder
        checkpoints.mkdir(exist_ok=True)
        refusal = f"{self.path}: another training is running here; wait for it"
        with exclusive(inside(checkpoints, ".lock"), refusal, patience=PATIENCE):
            for folder in (self.path, self.samples, self.frames, checkpoints):
                for entry in folder.glob(".*"):
                    if LEFTOVER.fullmatch(entry.name):
                        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
            self.checkpoints.go_on_from(step, best=best, keep=config.checkpoint.keep)
            self._cut(step)
            self.write_config(config)
            try:
                yield
            except OSError as error:
                if error.errno not in _OF_THE_DISK:
                    raise
                place = error.filename or self.path
                message = f"{place}: {error.strerror}; check permissions and free space, then continue with --resume"
                raise SettingsError(message) from error

    def write_sample(self, step: int, png: bytes) -> None:
        """Write the sample grid of a step."""
        self.samples.mkdir(exist_ok=True)
        write_whole(self.samples / f"step_{step:08d}.png", png)

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one line to metrics.jsonl."""
        with self.metrics_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def logged(self, step: int) -> dict[str, float]:
        """Return the values of a step in metrics.jsonl; empty if there are none."""
        lines = [line for _, line in read_log(self.metrics_file) if line["step"] == step]
        return {name: value for line in lines for name, value in line.items() if isinstance(value, int | float)}

    def sync_log(self) -> None:
        """Flush metrics.jsonl to the disk."""
        if self.metrics_file.is_file():
            sync(self.metrics_file)

    def _cut(self, step: int) -> None:
        """Drop the samples and metrics.jsonl lines after a step, and a torn last line; a resumed run rewrites them."""
        for sample in self.samples.glob("step_*.png"):
            if sample.stem > f"step_{step:08d}":
                sample.unlink()
        if self.metrics_file.is_file():
            kept = [row for row, line in read_log(self.metrics_file) if line["step"] <= step]
            write_whole(self.metrics_file, b"".join(kept))


def read_log(file: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """Yield each complete line of a metrics.jsonl that has a step, with its ``note`` and finite values by name."""
    try:
        rows = read_regular(file).split(b"\n")
    except FileNotFoundError:
        return
    kinds: dict[str, type] = {"step": int, "note": str}
    for row in rows:
        with suppress(MisfitError):  # the last line of a killed run may be torn
            line = parse(dict[str, Any], row)
            if fits(Count, line.get("step")):
                known = {name: value for name, value in line.items() if fits(kinds.get(name, float), value)}
                yield row + b"\n", known
