"""Turn a labelled simulation dataset into a real-looking one, with every label still true."""

from importlib import import_module
from typing import TYPE_CHECKING

from sim2real.errors import (
    CannotCompileError,
    DatasetError,
    ImageError,
    OutOfMemoryError,
    PluginError,
    SettingsError,
    Sim2RealError,
    UnknownNameError,
)
from sim2real.hookspecs import Register, hookimpl

if TYPE_CHECKING:
    from sim2real.api import TrainingResult, convert, train
    from sim2real.datasets import open_dataset
    from sim2real.translator import load

__all__ = [
    "CannotCompileError",
    "DatasetError",
    "ImageError",
    "OutOfMemoryError",
    "PluginError",
    "Register",
    "SettingsError",
    "Sim2RealError",
    "TrainingResult",
    "UnknownNameError",
    "convert",
    "hookimpl",
    "load",
    "open_dataset",
    "train",
]

__version__ = "0.1.0"

_LAZY = {
    "TrainingResult": "sim2real.api",
    "convert": "sim2real.api",
    "load": "sim2real.translator",
    "open_dataset": "sim2real.datasets",
    "train": "sim2real.api",
}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    message = f"module 'sim2real' has no attribute '{name}'"
    raise AttributeError(message)
