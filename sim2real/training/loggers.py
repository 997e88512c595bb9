"""Log the metrics to TensorBoard, Weights & Biases and MLflow as well, through Lightning's loggers.

The run folder remains the record of a training; a logger that fails never ends the training.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from textwrap import indent
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray

from sim2real.errors import SettingsError
from sim2real.files import write_whole
from sim2real.imageio import decode_picture
from sim2real.inside import inside, read_regular
from sim2real.stored import MisfitError, parse

_PROJECT = "sim2real"
_SAMPLES = "samples"
_IDENTITIES = "loggers.json"


class Loggers:
    """The loggers of ``log.to``; only the first process of a training has some.

    Nothing is written before :meth:`begin`. ``loggers.json`` in the run folder keeps the identifiers that the services
    gave the run, so that a resumed run continues there.

    Args:
        names: Names of loggers: ``"tensorboard"``, ``"wandb"``, ``"mlflow"``.
        folder: The run folder; TensorBoard's events go to its folder ``tensorboard/``, W&B's files to ``wandb/``.
            MLflow writes to ``MLFLOW_TRACKING_URI`` if it is set, else to its own default.
        settings: All settings of the training, plain values other than None in nested tables.
        run_name: Name of the run.
        step: Number of steps done before, if the training is resumed.

    Raises:
        SettingsError: If a package is not installed; the message names the extra to install.
    """

    def __init__(
        self, names: Sequence[str], folder: Path, settings: Mapping[str, Any], run_name: str, *, step: int = 0
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._begun = False
        self._identities = _read_identities(folder)
        self._open = {
            name: _create(name, folder, run_name, identity=self._identities.get(name), step=step)
            for name in dict.fromkeys(names)
        }

    def begin(self) -> None:
        """Open every logger and log the settings; the first call to :meth:`log` or :meth:`picture` does it otherwise.

        Raises:
            SettingsError: If a service refuses, cannot be reached or requires a login.
        """
        if self._begun:
            return
        self._begun = True
        for name, window in self._open.items():
            inside(self._folder, name)  # tensorboard/ and wandb/ are written by their packages
            try:
                if name not in self._identities:
                    window.tell_settings(self._settings)
                self._identities[name] = window.identity()
            except Exception as error:
                message = f"log.to: {name} cannot start: {_said(error)}; fix that, or remove {name} from log.to"
                raise SettingsError(message) from error
        if self._open:
            write_whole(self._folder / _IDENTITIES, json.dumps(self._identities).encode())

    def log(self, step: int, record: Mapping[str, float]) -> list[str]:
        """Log the values of a step by name.

        Returns:
            A sentence for each logger that failed; it is not used any more.
        """
        return self._notify(lambda window: window.log(step, record))

    def picture(self, step: int, png: bytes) -> list[str]:
        """Log a sample grid, given as the bytes of a PNG file; return the same as :meth:`log`."""
        if not self._open:
            return []
        pixels = decode_picture(png, Path(f"step_{step:08d}.png")).rgb
        return self._notify(lambda window: window.show(step, pixels))

    def close(self) -> list[str]:
        """Write or send everything that was logged, and close all loggers; return the same as :meth:`log`."""
        faults = self._notify(lambda window: window.close()) if self._begun else []
        self._open.clear()
        return faults

    def _notify(self, what: "Callable[[_Window], None]") -> list[str]:
        self.begin()
        faults = []
        for name, window in list(self._open.items()):
            try:
                what(window)
            except Exception as error:  # noqa: BLE001  no failure of a service may end the training
                del self._open[name]
                faults.append(f"log.to: {name} failed ({_said(error)}) and is not used any more; see metrics.jsonl")
        return faults


class _Window(ABC):
    """One of Lightning's loggers; its packages are imported only if it is used."""

    def __init__(self, logger: Any) -> None:  # noqa: ANN401  the logger's type depends on the service
        self.logger = logger

    def identity(self) -> str:
        """Return the identifier that the service gave the run."""
        return str(self.logger.version)

    def tell_settings(self, settings: Mapping[str, Any]) -> None:
        self.logger.log_hyperparams(dict(settings))

    def log(self, step: int, record: Mapping[str, float]) -> None:
        self.logger.log_metrics(dict(record), step)

    @abstractmethod
    def show(self, step: int, pixels: NDArray[np.uint8]) -> None:
        """Log an image, RGB (H, W, 3)."""

    def close(self) -> None:
        self.logger.finalize("success")


class _TensorBoard(_Window):
    def __init__(self, folder: Path, _run_name: str, _identity: str | None, step: int) -> None:
        purge = {"purge_step": step + 1} if step else {}  # drops what a killed training logged after its checkpoint
        kind = import_module("lightning_fabric.loggers").TensorBoardLogger
        super().__init__(kind(folder, name="tensorboard", version="", flush_secs=10, **purge))

    def tell_settings(self, settings: Mapping[str, Any]) -> None:
        self.logger.experiment.add_text("settings", indent(tomli_w.dumps(settings), "    "))

    def show(self, step: int, pixels: NDArray[np.uint8]) -> None:
        self.logger.experiment.add_image(_SAMPLES, pixels, step, dataformats="HWC")


class _WeightsAndBiases(_Window):
    def __init__(self, folder: Path, run_name: str, identity: str | None, _step: int) -> None:
        kind = import_module("pytorch_lightning.loggers").WandbLogger
        quiet = import_module("wandb").Settings(console="off")  # otherwise it uploads the terminal's output
        super().__init__(kind(name=run_name, save_dir=folder, project=_PROJECT, id=identity, settings=quiet))

    def identity(self) -> str:
        return str(self.logger.experiment.id)

    def show(self, step: int, pixels: NDArray[np.uint8]) -> None:
        self.logger.log_image(_SAMPLES, [pixels], step)

    def close(self) -> None:
        self.logger.experiment.finish()


class _MLflow(_Window):
    def __init__(self, _folder: Path, run_name: str, identity: str | None, _step: int) -> None:
        store = import_module("mlflow").get_tracking_uri()
        kind = import_module("pytorch_lightning.loggers").MLFlowLogger
        super().__init__(kind(_PROJECT, run_name=run_name, tracking_uri=store, run_id=identity))

    def show(self, step: int, pixels: NDArray[np.uint8]) -> None:
        self.logger.experiment.log_image(self.logger.run_id, pixels, key=_SAMPLES, step=step)


_WINDOWS: Mapping[str, Callable[[Path, str, str | None, int], _Window]] = {
    "tensorboard": _TensorBoard,
    "wandb": _WeightsAndBiases,
    "mlflow": _MLflow,
}


def _create(name: str, folder: Path, run_name: str, *, identity: str | None, step: int) -> _Window:
    try:
        return _WINDOWS[name](folder, run_name, identity, step)
    except ModuleNotFoundError as error:
        message = f'log.to: {name} is not installed; pip install "sim2real[{name}]", or remove it from log.to'
        raise SettingsError(message, topic="watch-a-run") from error


def _read_identities(folder: Path) -> dict[str, str]:
    file = inside(folder, _IDENTITIES)
    try:
        return parse(dict[str, str], read_regular(file))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except MisfitError as error:
        message = f"{file}: damaged ({error}); remove it, and the services will record a new run"
        raise SettingsError(message) from error


def _said(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
