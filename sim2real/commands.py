"""Helpers for commands of plugins: output and shared options."""

from typing import TYPE_CHECKING

from sim2real.cli.console import err, interruptible, out, progress
from sim2real.cli.convert import model_here, show_next, show_summary, taking_options, tasks_of
from sim2real.cli.settings import DeviceOption, PrecisionOption, config_here, size_of

if TYPE_CHECKING:
    from sim2real.config import Config

__all__ = [
    "DeviceOption",
    "PrecisionOption",
    "err",
    "interruptible",
    "model_here",
    "out",
    "progress",
    "settings_here",
    "show_next",
    "show_summary",
    "size_of",
    "taking_options",
    "tasks_of",
]


def settings_here() -> "Config":
    """Return the settings in the sim2real.toml of the current folder, or the default settings.

    Raises:
        Sim2RealError: If a setting is invalid.
    """
    return config_here()
