"""Turn a labelled simulation dataset into a real-looking one, with every label still true."""

from importlib import import_module
from typing import TYPE_CHECKING

from sim2real.errors import Sim2RealError
from sim2real.hookspecs import Register, hookimpl

if TYPE_CHECKING:
    from sim2real.datasets import open_dataset
    from sim2real.model import load

__all__ = ["Register", "Sim2RealError", "hookimpl", "load", "open_dataset"]

__version__ = "0.1.0"

_LAZY = {"load": "sim2real.model", "open_dataset": "sim2real.datasets"}


def __getattr__(name: str) -> object:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    message = f"module 'sim2real' has no attribute '{name}'"
    raise AttributeError(message)
