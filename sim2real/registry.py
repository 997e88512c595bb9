"""Find plugins, list their components, and resolve names to objects.

A component is imported when it is first used. A plugin that fails to load does not stop the program: it is left out
and recorded as a :class:`Failure`.
"""

import difflib
import importlib
import importlib.metadata
import importlib.resources
import inspect
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Any, Final

import pluggy

from sim2real import __version__, hookspecs
from sim2real.errors import PluginError, SettingsError, UnknownNameError
from sim2real.refusals import reason

GROUP: Final = "sim2real"
BUILTIN: Final = "sim2real"
DISABLE_VARIABLE: Final = "SIM2REAL_DISABLE_PLUGINS"
_LONGEST_NAME: Final = 60  # characters in messages
KINDS: Final = tuple(name.removeprefix("register_") for name in vars(hookspecs) if name.startswith("register_"))

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[\w./-]+")


@dataclass(frozen=True, slots=True)
class Entry:
    """One registered component: its kind, name, target and summary, and the plugin that registers it."""

    kind: str
    name: str
    target: str
    summary: str
    owner: str

    @property
    def label(self) -> str:
        """Return a description for messages."""
        return f"{_noun(self.kind)} '{self.name}' of plugin '{self.owner}'"

    def load(self) -> Any:  # noqa: ANN401  the type of a target depends on its kind
        """Import and return the target; for a recipe, return its text.

        Raises:
            PluginError: If the target cannot be imported.
        """
        module_name, attribute = self.target.split(":")
        try:
            if attribute.endswith(".toml"):
                return importlib.resources.files(module_name).joinpath(attribute).read_text("utf-8")
            return attrgetter(attribute)(importlib.import_module(module_name))
        except (Exception, SystemExit) as error:
            raise PluginError(f"{self.label} cannot be loaded from {self.target}: {one_line(error)}") from error


@dataclass(frozen=True, slots=True)
class Plugin:
    """One plugin: the name of its entry point, and the installed distribution that contains it."""

    name: str
    distribution: str
    version: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A plugin that was left out, and the exception that it raised."""

    plugin: str
    distribution: str
    error: str


class Registry:
    """All registered components, by kind and name.

    Attributes:
        plugins: The loaded plugins, the built-in one first.
        failures: The plugins that were left out because they failed.
        disabled: The plugins that the user has disabled.
        offers: All registered components in the order of the plugins, including duplicate names.
        clashes: One message for each kind and name that is registered twice.
    """

    def __init__(self) -> None:
        self.plugins: list[Plugin] = []
        self.failures: list[Failure] = []
        self.disabled: list[Plugin] = []
        self.offers: list[Entry] = []
        self.clashes: dict[tuple[str, str], str] = {}
        self._owners: dict[tuple[str, str], Entry] = {}

    def entries(self, kind: str) -> list[Entry]:
        """Return the components of one kind: the built-in ones in order of registration, then those of plugins.

        Raises:
            PluginError: If two plugins register the same name.
        """
        for (clash_kind, _), message in self.clashes.items():
            if clash_kind == kind:
                raise PluginError(message)
        return [entry for entry in self.offers if entry.kind == kind]

    def entry(self, kind: str, name: str) -> Entry:
        """Return the entry with this name.

        Raises:
            UnknownNameError: If there is none; the message suggests the closest names.
            PluginError: If two plugins register the same name of this kind.
        """
        entries = {entry.name: entry for entry in self.entries(kind)}
        if name in entries:
            return entries[name]
        near = difflib.get_close_matches(name.lower(), entries, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(entries) or 'none'}"
        shown = name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}..."
        raise UnknownNameError(f"no {_noun(kind)} is called '{shown}'; {hint}")

    def load(self, kind: str, name: str) -> Any:  # noqa: ANN401  depends on the kind
        """Import and return the component with this name.

        Raises:
            UnknownNameError: If there is none.
            PluginError: If it cannot be imported.
        """
        return self.entry(kind, name).load()

    def create(self, kind: str, name: str, *args: object, options: Mapping[str, Any], place: str) -> Any:  # noqa: ANN401  as above
        """Create a component with its options.

        Args:
            kind: The kind of component.
            name: Its registered name.
            args: Positional arguments, the same for all components of the kind.
            options: The user's keyword arguments.
            place: Where the options were set, for messages, e.g. ``"discriminator.options"``.

        Raises:
            SettingsError: If the component does not accept an option (the message lists the accepted ones), a required
                option is missing, or a value does not match its annotation.
            UnknownNameError: If there is no such component.
            PluginError: If it cannot be imported, or does not accept the positional arguments of its kind.
        """
        target = self.load(kind, name)
        accepted = accepted_options(target)
        for option in options:
            if accepted is not None and option not in accepted:
                near = difflib.get_close_matches(option, accepted, n=1)
                hint = f"did you mean {near[0]}? " if near else ""
                raise SettingsError(
                    f"{place}.{option}: '{name}' takes no such option; {hint}accepted: {', '.join(accepted) or 'none'}"
                )
        if missing := [option for option in needed_options(target) if option not in options]:
            raise SettingsError(f"{place}: '{name}' needs a value for {' and '.join(missing)}")
        _require_types(target, options, place)
        try:
            inspect.signature(target).bind(*args, **options)
        except TypeError as error:
            message = (
                f"{self.entry(kind, name).label}: {error}: it is called with {len(args)} arguments and its options"
            )
            raise PluginError(f"{message}, as sim2real/hookspecs.py says") from error
        return target(*args, **options)

    def add(self, plugin: object, info: Plugin) -> None:
        """Add all components of a plugin, or none if it fails.

        Raises:
            Exception: Any exception that the plugin raises; PluginError if it violates the contract.
        """
        offered: list[Entry] = []
        for kind, offer in _hooks(plugin):
            offer(_registrar(kind, info.name, offered))
        for entry in offered:
            first = self._owners.setdefault((entry.kind, entry.name), entry)
            if first is not entry:
                self.clashes[entry.kind, entry.name] = (
                    f"the {_noun(entry.kind)} '{entry.name}' is offered twice, by plugin '{first.owner}' and by plugin "
                    f"'{info.name}' of {info.distribution}; uninstall one, or set {DISABLE_VARIABLE}={info.name}"
                )
        self.plugins.append(info)
        self.offers += offered


def accepted_options(target: Callable[..., object]) -> list[str] | None:
    """Return the keyword-only arguments of a component's constructor, or None if it accepts any."""
    parameters = inspect.signature(target).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]


def needed_options(target: Callable[..., object]) -> list[str]:
    """Return the keyword-only arguments without a default."""
    parameters = inspect.signature(target).parameters.values()
    return [each.name for each in parameters if each.kind is each.KEYWORD_ONLY and each.default is each.empty]


def _require_types(target: Callable[..., object], options: Mapping[str, Any], place: str) -> None:
    """Check TOML values against a constructor's annotations; skip annotations that cannot be evaluated."""
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415  listings do not need it
    from pydantic.errors import PydanticUserError  # noqa: PLC0415  as above

    try:
        parameters = inspect.signature(target, eval_str=True).parameters
    except (NameError, AttributeError, TypeError):  # names imported only for type checking
        return
    for option, value in options.items():
        if option not in parameters:
            continue
        try:
            expected = TypeAdapter(parameters[option].annotation)
            expected.validate_json(json.dumps(value, default=str), strict=True)  # strict, but lists count as tuples
        except PydanticUserError:  # a type that TOML cannot express
            continue
        except ValidationError as error:
            first = error.errors()[0]
            parts = "".join(f"value {part + 1} " for part in first["loc"] if isinstance(part, int))
            raise SettingsError(f"{place}.{option} = {value!r}: {parts}{reason(first)}") from error


def _hooks(plugin: object) -> Iterator[tuple[str, Callable[[hookspecs.Register], None]]]:
    """Yield the kind and the function of each hook that a plugin implements, validated by pluggy."""
    hooks = {f"register_{kind}": kind for kind in KINDS}
    marked = {name for name in dir(plugin) if hasattr(getattr(plugin, name, None), f"{hookspecs.PROJECT}_impl")}
    for name in sorted(marked - hooks.keys()):
        near = difflib.get_close_matches(name, hooks, n=1)
        hint = f"did you mean {near[0]}?" if near else f"hooks: {', '.join(hooks)}"
        raise PluginError(f"no hook is called {name}; {hint}")
    for name in hooks.keys() & set(dir(plugin)) - marked:
        raise PluginError(f"{name} is not marked with @sim2real.hookimpl")
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(plugin)
    for name, kind in hooks.items():
        for implementation in getattr(manager.hook, name).get_hookimpls():
            yield kind, implementation.function


def _registrar(kind: str, owner: str, into: list[Entry]) -> hookspecs.Register:
    def register(name: str, target: str, *, summary: str) -> None:
        if not _NAME.fullmatch(name):
            raise PluginError(f"'{name}' is no {_noun(kind)} name: use lower-case letters, digits, '.', '_' and '-'")
        if not _TARGET.fullmatch(target):
            raise PluginError(f"'{target}' is no target for '{name}': write package.module:attribute")
        into.append(Entry(kind, name, target, summary, owner))

    return register


@cache
def registry() -> Registry:
    """Return the registry of this process: the built-in components and those of all installed plugins that load."""
    found = Registry()
    found.add(importlib.import_module("sim2real.builtins"), Plugin(BUILTIN, "sim2real", __version__))
    unwanted = {name.strip() for name in os.environ.get(DISABLE_VARIABLE, "").split(",")}
    points = importlib.metadata.entry_points(group=GROUP)
    for point in sorted(points, key=lambda point: point.name):
        distribution = point.dist.name if point.dist else "unknown"
        info = Plugin(point.name, distribution, point.dist.version if point.dist else "unknown")
        if unwanted & {info.name, info.distribution}:
            found.disabled.append(info)
            continue
        try:
            found.add(point.load(), info)
        except (Exception, SystemExit) as error:  # noqa: BLE001  a broken plugin must not stop the program
            found.failures.append(Failure(info.name, info.distribution, one_line(error)))
    return found


def _noun(kind: str) -> str:
    return "loss" if kind == "losses" else kind.removesuffix("s")


def one_line(error: BaseException) -> str:
    """Return the type and the message of an error as one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())
