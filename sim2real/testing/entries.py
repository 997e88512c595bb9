"""Check the contract of registered objects, as far as that needs no data."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final

from sim2real.errors import PluginError, Sim2RealError
from sim2real.registry import Entry, needed_options

_CHECKS: Final[Mapping[str, str]] = {
    "generators": "check_generator",
    "discriminators": "check_discriminator",
    "losses": "check_loss",
    "methods": "check_method",
    "metrics": "check_metric",
    "engines": "check_engine",
}
_NEARNESS_BY_NAME: Final = 25


def check_entry(entry: Entry) -> None:
    """Make sure that the object of an entry keeps its contract, with its default options.

    Objects that need options, files or devices that are not available are skipped; they report this when they are used.

    Raises:
        AssertionError: If it does not.
        PluginError: If it cannot be imported.
    """
    target = entry.load()
    if entry.kind not in _CHECKS or needed_options(target):
        return
    check: Callable[..., None] = getattr(import_module("sim2real.testing"), _CHECKS[entry.kind])
    more: dict[str, Any] = {}
    if entry.kind == "engines" and getattr(target, "by_name_only", False):
        more["decibels"] = _NEARNESS_BY_NAME
    try:
        check(target, **more)
    except PluginError as error:
        raise AssertionError(str(error)) from error
    except Sim2RealError:
        return
