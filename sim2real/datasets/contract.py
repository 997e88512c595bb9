"""Check a layout against the contract, :class:`sim2real.datasets.base.Adapter`, when it is loaded."""

import difflib
from functools import cache
from types import new_class
from typing import TYPE_CHECKING, Any, Final

from sim2real.datasets.base import Adapter
from sim2real.errors import PluginError

if TYPE_CHECKING:
    from sim2real.registry import Entry

_NEEDED: Final = ("recognise", "frames", "load_label")
_NEAR: Final = 0.8


def adapter_of(entry: "Entry") -> type[Adapter]:
    """Return the adapter of a registry entry.

    Raises:
        PluginError: If it cannot be imported, or violates the contract.
    """
    return adopted(entry.load(), entry.label)


def adopted(layout: Any, whose: str) -> type[Adapter]:  # noqa: ANN401  any object of a plugin
    """Return a class as an :class:`Adapter`: itself, or a subclass of both if it does not inherit from it.

    Args:
        layout: The class.
        whose: The provider of the class, for messages.

    Raises:
        PluginError: If the class lacks a required attribute, or has a name that seems to be misspelt.
    """
    if not isinstance(layout, type):
        raise PluginError(f"{whose}: {layout!r} is not a class, see sim2real.datasets.base.Adapter")
    adapter: type[Adapter] = layout if issubclass(layout, Adapter) else _child(layout)  # type: ignore[arg-type]  # a class has a hash
    for name in _NEEDED:
        if name in adapter.__abstractmethods__:
            raise PluginError(f"{whose}: {layout.__name__} has no '{name}', see sim2real.datasets.base.Adapter")
    own, ours = _names(adapter)
    for name in sorted(own - ours):
        if near := difflib.get_close_matches(name, ours - own, n=1, cutoff=_NEAR):
            raise PluginError(
                f"{whose}: {layout.__name__} has '{name}'; did you mean '{near[0]}'? If not, rename it: "
                "a name that resembles one of the contract must begin with '_'"
            )
    if "embedded" in own and "embed" not in own:
        raise PluginError(f"{whose}: {layout.__name__} has 'embedded' and no 'embed', which go together")
    return adapter


@cache
def _child(layout: type) -> type[Adapter]:
    """Return a subclass with the same name and the defaults, whose instances can be pickled for other processes."""

    def reduced(adapter: Adapter) -> tuple[object, ...]:
        return _bare, (layout,), adapter.__getstate__()

    names = {"__module__": layout.__module__, "__doc__": layout.__doc__, "__reduce__": reduced}
    return new_class(layout.__name__, (layout, Adapter), exec_body=lambda body: body.update(names))


def _bare(layout: type) -> Adapter:
    child = _child(layout)
    return child.__new__(child)


def _names(adapter: type[Adapter]) -> tuple[set[str], set[str]]:
    """Return the public names that a layout itself defines, and those that its base classes in sim2real define."""
    own, ours = set[str](), set[str]()
    for each in adapter.__mro__:
        annotated = getattr(each, "__annotations__", {})
        names = {name for name in {*vars(each), *annotated} if not name.startswith("_")}
        if each.__module__.partition(".")[0] == Adapter.__module__.partition(".")[0]:
            ours |= names
        else:
            own |= names
    return own, ours
