"""How the layers of settings become one, and what is said of a setting that does not fit."""

import copy
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from sim2real.config.sections import COMPONENTS, Config, Data, Regularization
from sim2real.config.words import explain, flat
from sim2real.errors import SettingsError, UnknownNameError
from sim2real.inside import read_regular
from sim2real.registry import registry
from sim2real.stored import MisfitError, fit, one_line

Layer = Mapping[str, Any]
SETTINGS_FILE = "sim2real.toml"
_MAY_CHANGE = (
    "summary", "source", "sim", "real", "run", "device", "compile", "convert", "data.workers", "data.cache", "train.",
    "checkpoint.", "sample.", "evaluate.every", "log.",
)  # fmt: skip
OF_METHODS = (
    "image_pool_size", "discriminator", "networks", "losses", "optim", "schedule", "train.gradient_accumulation_steps",
)  # fmt: skip
"""Settings that a method may have no use for: it tells in its attribute ``reads``."""
DEFAULT: Final = "default"
"""The recipe of a training of which nobody names one."""
_LENGTHS = {"steps", "epochs"}
_LONGEST_KEY = 60


def resolve(
    recipe: str | None = None,
    file: Layer | None = None,
    sets: Iterable[str] = (),
    base: Layer | None = None,
    settings: Layer | None = None,
    **flags: object,
) -> Config:
    """Put the layers of settings together.

    Args:
        recipe: Name of the recipe; None: what the others name, see :func:`named_recipe`, else ``"default"``.
        file: What sim2real.toml says, see :func:`read_settings`.
        base: The settings of a run that is resumed, which stand in the place of the recipe's.
        sets: ``key=value`` of dotted keys; a value is TOML, or else a plain string.
        settings: What a program says, in tables or by dotted keys.
        flags: Top-level settings that override all, where they are not None; ``a__b`` stands for ``a.b``.

    Raises:
        SettingsError: A key is unknown or a value does not fit; the message names the place and what is accepted.
        UnknownNameError: There is no such recipe.
        PluginError: The method cannot be imported, which tells what it reads.
    """
    layers: list[tuple[str, Layer]] = [(SETTINGS_FILE, file or {})]
    layers += [(f"--set {text}", parse_set(text)) for text in sets]
    layers.append(("settings", nested(settings or {})))
    layers.append(("options", _nest((key.split("__"), value) for key, value in flags.items() if value is not None)))
    name = recipe or _last_named([base or {}, *(layer for _, layer in layers)]) or DEFAULT
    entry = registry().entry("recipes", name)
    merged = Config().model_dump(mode="json", exclude_none=True)
    set_by: dict[str, str] = {}
    for place, layer in [(f"recipe {name}", base or _parse_toml(entry.load(), entry.target)), *layers]:
        before = dict(flat(merged))
        _merge(merged, layer)
        require_registered(_validate(merged, place), place)
        if (place, layer) in layers:  # not the recipe, which may be another method's
            set_by |= {key: place for key, value in flat(layer) if before.get(key) != value}
    merged["recipe"] = name
    config = _validate(merged, "options")
    _require_read(config, set_by)
    _require_equal_parts(config)
    _require_augmentation(config.discriminator.regularization)
    _require_windows(config.data)
    return config


def named_recipe(
    recipe: str | None = None, file: Layer | None = None, sets: Iterable[str] = (), settings: Layer | None = None
) -> str | None:
    """The recipe that the layers of :func:`resolve` name; None where none does."""
    return recipe or _last_named([file or {}, *map(parse_set, sets), nested(settings or {})])


def _last_named(layers: Iterable[Layer]) -> str | None:
    named = [str(layer["recipe"]) for layer in layers if "recipe" in layer]
    return named[-1] if named else None


def differences(old: Config, new: Config) -> list[str]:
    """What a resumed run may not change, a line each: all settings but those of length, place, device and books."""
    before, after = (dict(flat(config.model_dump(mode="json"))) for config in (old, new))
    return [
        f"{key} was {before.get(key)!r} and is now {after.get(key)!r}"
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key) and not key.startswith(_MAY_CHANGE)
    ]


def read_settings(path: Path) -> dict[str, Any]:
    """Read a sim2real.toml.

    Raises:
        SettingsError: It is not there or is not TOML.
    """
    try:
        return _parse_toml(read_regular(path).decode("utf-8-sig"), str(path))
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror}); `sim2real init SIM REAL` writes one"
        raise SettingsError(message) from error
    except UnicodeDecodeError as error:
        message = f"{path}: not TOML: byte {error.start} is not UTF-8; save it as UTF-8"
        raise SettingsError(message) from error


def read_config(path: Path) -> Config:
    """Read the complete settings that a run keeps in its config.toml.

    Raises:
        SettingsError: It is not there, is not TOML or says something that this version does not know.
    """
    return _validate(read_settings(path), str(path))


def _parse_toml(text: str, place: str) -> dict[str, Any]:
    try:
        return fit(dict[str, Any], tomllib.loads(text))
    except MisfitError as error:
        raise SettingsError(f"{place}: {error}") from error
    except (ValueError, RecursionError) as error:  # ValueError: numbers of thousands of digits, too
        message = f"{place}: not TOML: {one_line(error)}"
        raise SettingsError(message) from error


def parse_set(text: str) -> Layer:
    """Read ``a.b=value`` as the tables that it stands for; the value is TOML, or else text, or ``[a, b]`` a list of it.

    Some shells take quotes within quotes away; so a list does without them.

    Raises:
        SettingsError: It has no key or no equals sign.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        message = f"--set {text}: write key=value, for example --set data.batch_size=4"
        raise SettingsError(message)
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        if value in {"True", "False"}:
            message = f"--set {text}: write {key}={value.lower()}"
            raise SettingsError(message) from None
        parsed = value
        if value.startswith("[") and value.endswith("]") and not set(value[1:-1]) & set("[]\"'"):
            parsed = [part.strip() for part in value[1:-1].split(",")]
    return _nest([(key.strip().split("."), parsed)])


def _nest(items: Iterable[tuple[list[str], object]]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for keys, value in items:
        table = nested
        for key in keys[:-1]:
            table = table.setdefault(key, {})
        table[keys[-1]] = value
    return nested


def nested(settings: Layer) -> dict[str, Any]:
    """Settings in tables, of such in tables or by dotted keys; paths become text, as in TOML.

    Raises:
        SettingsError: A setting is there twice.
    """
    tables: dict[str, Any] = {}
    for key, value in settings.items():
        layer = _nest([(str(key).split("."), _plain(value))])
        if twice := dict(flat(layer)).keys() & dict(flat(tables)):
            raise SettingsError(f"settings: {min(twice)}: it is there twice; leave one out")
        _lay(tables, layer)
    return tables


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def _merge(into: dict[str, Any], layer: Layer) -> None:
    """Lay one layer over the others.

    Another component's name drops the options of the one that it replaces; one length of the training drops the other.
    """
    for key, value in layer.items():
        table = into.get(key)
        if isinstance(value, Mapping) and isinstance(table, dict):
            components = [(table, value)] if key in COMPONENTS else []
            if key == "networks":
                components = [(table[name], part) for name, part in value.items() if name in table]
            for old, new in components:
                if isinstance(new, Mapping) and new.get("name", old.get("name")) != old.get("name"):
                    old.pop("options", None)
            if key == "train" and len(_LENGTHS & value.keys()) == 1:
                for length in _LENGTHS - value.keys():
                    table.pop(length, None)
            _lay(table, value)
        else:
            into[key] = copy.deepcopy(value)


def _lay(into: dict[str, Any], layer: Layer) -> None:
    for key, value in layer.items():
        table = into.get(key)
        if isinstance(value, Mapping) and isinstance(table, dict):
            _lay(table, value)
        else:
            into[key] = copy.deepcopy(value)


def _validate(settings: Layer, place: str) -> Config:
    try:
        return Config.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        path = [str(part) for part in first["loc"]]
        message = f"{place}: {'.'.join(map(_short, path))}: {explain(path, first, settings)}"
        raise SettingsError(message) from error


def _short(part: str) -> str:
    """A key as messages have it; files may hold any."""
    return part if len(part) <= _LONGEST_KEY else f"{part[:_LONGEST_KEY]}..."


def require_registered(config: Config, place: str) -> None:
    """Make sure that all components which settings name are there.

    Raises:
        UnknownNameError: One is not; the message begins with the place of the settings.
    """
    named = [(f"{kind}s", getattr(config, kind).name, f"{kind}.name") for kind in COMPONENTS]
    named += [(_kind_of(part.name), part.name, f"networks.{name}.name") for name, part in config.networks.items()]
    for kind, name, key in [*named, *(("losses", name, "losses") for name in config.losses.all_terms())]:
        try:
            registry().entry(kind, name)
        except UnknownNameError as error:
            raise UnknownNameError(f"{place}: {key}: {error}") from error


def _kind_of(network: str) -> str:
    """Whether a network is registered among the discriminators, or else should be among the generators."""
    names = {entry.name for entry in registry().entries("discriminators")}
    return "discriminators" if network in names else "generators"


def _require_read(config: Config, set_by: Mapping[str, str]) -> None:
    """Make sure that the method has a use for what is set.

    Args:
        config: All settings.
        set_by: Key of each setting that a layer changes -> the layer.
    """
    asked = {key: place for key, place in set_by.items() if _within(key, OF_METHODS)}
    if not asked:
        return
    reads: Iterable[str] | None = getattr(registry().load("methods", config.method.name), "reads", None)
    for key, place in asked.items():
        if reads is not None and not _within(key, reads):
            raise SettingsError(
                f"{place}: {key}: the method '{config.method.name}' has no use for it; leave it out, or choose another "
                "method (method.name)"
            )


def _within(key: str, sections: Iterable[str]) -> bool:
    return any(key == section or key.startswith(f"{section}.") for section in sections)


def _require_equal_parts(config: Config) -> None:
    """Make sure that a batch can be cut as it is to be accumulated: a matter of all layers together."""
    images, parts = config.data.batch_size, config.train.gradient_accumulation_steps
    if images % parts:
        divisors = ", ".join(str(number) for number in range(1, images + 1) if images % number == 0)
        raise SettingsError(
            f"train.gradient_accumulation_steps = {parts}: data.batch_size = {images} cannot be cut into so many equal "
            f"parts; accepted: {divisors}"
        )


def _require_windows(data: Data) -> None:
    """Make sure that there are windows to match, and not whole frames alone."""
    width, height = data.load_size or data.size
    if data.matched and data.fit == "resize" and width <= data.size[0] and height <= data.size[1]:
        raise SettingsError(
            "data.matched = true: data.fit = 'resize' shows whole frames, of which no place can be chosen; set "
            "data.fit = 'crop', or a data.load_size larger than data.size"
        )


def _require_augmentation(regularization: Regularization) -> None:
    """Make sure that what the probability of augmentation adapts to has an effect."""
    if regularization.augment_target and not regularization.augment:
        place = "discriminator.regularization"
        raise SettingsError(
            f"{place}.augment_target = {regularization.augment_target:g}: {place}.augment names nothing that it would "
            'adapt; set it, for example to ["color", "translation", "cutout"]'
        )
