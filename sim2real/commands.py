"""What commands of plugins may use of this program's own: where they print, and options that are alike."""

from typing import TYPE_CHECKING

from sim2real.cli.console import err, interruptible, out, progress
from sim2real.cli.convert import Carry, Direction, model_here, show_summary
from sim2real.cli.settings import DeviceOption, PrecisionOption, resolve_settings

if TYPE_CHECKING:
    from sim2real.config import Config

__all__ = [
    "Carry",
    "DeviceOption",
    "Direction",
    "PrecisionOption",
    "err",
    "interruptible",
    "model_here",
    "out",
    "progress",
    "settings_here",
    "show_summary",
]


def settings_here() -> "Config":
    """The settings that the sim2real.toml of the current folder gives, or the default ones.

    Raises:
        Sim2RealError: One is wrong.
    """
    return resolve_settings(recipe=None, sets=None)
