"""Merging and validation of the layers of settings."""

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
"""Settings that not every method uses; those that a method uses are listed in its attribute ``reads``."""
DEFAULT: Final = "default"
"""The recipe of a training that names none."""
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
    """Merge all layers of settings and validate the result.

    Args:
        recipe: Name of the recipe; None: the one that the other layers name, see :func:`named_recipe`, else
            ``"default"``.
        file: Contents of sim2real.toml, see :func:`read_settings`.
        base: Settings of a resumed run, which replace the recipe's.
        sets: Texts ``key=value`` with dotted keys; values are TOML, or else plain strings.
        settings: Settings from a program, in tables or by dotted keys.
        flags: Settings that override all others if they are not None; ``a__b`` stands for ``a.b``.

    Raises:
        SettingsError: If a key is unknown or a value is invalid; the message names the place and what is accepted.
        UnknownNameError: If there is no such recipe or component.
        PluginError: If the method cannot be imported to look up the settings that it uses.
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
        if (place, layer) in layers:  # without the recipe, which may be for another method
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
    """Return the recipe that the layers of :func:`resolve` name, or None."""
    return recipe or _last_named([file or {}, *map(parse_set, sets), nested(settings or {})])


def _last_named(layers: Iterable[Layer]) -> str | None:
    named = [str(layer["recipe"]) for layer in layers if "recipe" in layer]
    return named[-1] if named else None


def differences(old: Config, new: Config) -> list[str]:
    """Return the changes that a resumed run may not make, one line each.

    Settings such as length, locations, device, checkpoints, samples and logging may change; most others may not.
    """
    before, after = (dict(flat(config.model_dump(mode="json"))) for config in (old, new))
    return [
        f"{key} was {before.get(key)!r} and is now {after.get(key)!r}"
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key) and not key.startswith(_MAY_CHANGE)
    ]


def read_settings(path: Path) -> dict[str, Any]:
    """Read a sim2real.toml.

    Raises:
        SettingsError: If the file cannot be read or is not TOML.
    """
    try:
        return _parse_toml(read_regular(path).decode("utf-8-sig"), str(path))
    except OSError as error:
        raise SettingsError(
            f"{path}: cannot be read ({error.strerror}); `sim2real init SIM REAL` writes one"
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not TOML: byte {error.start} is not UTF-8; save it as UTF-8") from error


def read_config(path: Path) -> Config:
    """Read the complete settings of a run from its config.toml.

    Raises:
        SettingsError: If the file cannot be read, is not TOML or contains settings that this version does not know.
    """
    return _validate(read_settings(path), str(path))


def _parse_toml(text: str, place: str) -> dict[str, Any]:
    try:
        return fit(dict[str, Any], tomllib.loads(text))
    except MisfitError as error:
        raise SettingsError(f"{place}: {error}") from error
    except (ValueError, RecursionError) as error:  # ValueError: also numbers of thousands of digits
        raise SettingsError(f"{place}: not TOML: {one_line(error)}") from error


def parse_set(text: str) -> Layer:
    """Parse ``a.b=value`` into nested tables.

    The value is TOML, or else plain text; ``[a, b]`` is a list of texts, without quotes because some shells remove
    quotes within quotes.

    Raises:
        SettingsError: If the text has no key or no equals sign, or the value is ``True`` or ``False`` in upper case.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise SettingsError(f"--set {text}: write key=value, for example --set data.batch_size=4")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        if value in {"True", "False"}:
            raise SettingsError(f"--set {text}: write {key}={value.lower()}") from None
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
    """Return nested tables of settings that may have dotted keys; paths become text, as in TOML.

    Raises:
        SettingsError: If a setting is given twice.
    """
    tables: dict[str, Any] = {}
    for key, value in settings.items():
        layer = _nest([(str(key).split("."), _plain(value))])
        if twice := dict(flat(layer)).keys() & dict(flat(tables)):
            raise SettingsError(f"settings: {min(twice)}: given twice; remove one")
        _lay(tables, layer)
    return tables


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Path) else value


def _merge(into: dict[str, Any], layer: Layer) -> None:
    """Merge one layer into the previous ones.

    A new component name drops the options of the component that it replaces; a new length of the training drops the
    other kind of length.
    """
    for key, value in layer.items():
        table = into.get(key)
        if not (isinstance(value, Mapping) and isinstance(table, dict)):
            continue
        components = [(table, value)] if key in COMPONENTS else []
        if key == "networks":
            components = [(table[name], part) for name, part in value.items() if name in table]
        for old, new in components:
            if isinstance(new, Mapping) and new.get("name", old.get("name")) != old.get("name"):
                old.pop("options", None)
        if key == "train" and len(_LENGTHS & value.keys()) == 1:
            for length in _LENGTHS - value.keys():
                table.pop(length, None)
    _lay(into, layer)


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
        raise SettingsError(f"{place}: {'.'.join(map(_short, path))}: {explain(path, first, settings)}") from error


def _short(part: str) -> str:
    """Return a key shortened for messages, since files may contain keys of any length."""
    return part if len(part) <= _LONGEST_KEY else f"{part[:_LONGEST_KEY]}..."


def require_registered(config: Config, place: str) -> None:
    """Check that all components named in the settings are registered.

    Raises:
        UnknownNameError: If one is not; the message begins with the place of the settings.
    """
    named = [(f"{kind}s", getattr(config, kind).name, f"{kind}.name") for kind in COMPONENTS]
    named += [(_kind_of(part.name), part.name, f"networks.{name}.name") for name, part in config.networks.items()]
    for kind, name, key in [*named, *(("losses", name, "losses") for name in config.losses.all_terms())]:
        try:
            registry().entry(kind, name)
        except UnknownNameError as error:
            raise UnknownNameError(f"{place}: {key}: {error}") from error


def _kind_of(network: str) -> str:
    """Return ``"discriminators"`` if a network is registered there, else ``"generators"``."""
    names = {entry.name for entry in registry().entries("discriminators")}
    return "discriminators" if network in names else "generators"


def _require_read(config: Config, set_by: Mapping[str, str]) -> None:
    """Check that the method uses the settings that layers change.

    Args:
        config: All settings.
        set_by: Key of each setting that a layer changes -> name of the layer.
    """
    changed = {key: place for key, place in set_by.items() if _within(key, OF_METHODS)}
    if not changed:
        return
    reads: Iterable[str] | None = getattr(registry().load("methods", config.method.name), "reads", None)
    for key, place in changed.items():
        if reads is not None and not _within(key, reads):
            raise SettingsError(
                f"{place}: {key}: the method '{config.method.name}' does not use it; leave it out, or choose another "
                "method (method.name)"
            )


def _within(key: str, sections: Iterable[str]) -> bool:
    return any(key == section or key.startswith(f"{section}.") for section in sections)


def _require_equal_parts(config: Config) -> None:
    """Check that a batch can be split into equal parts for accumulation, which depends on all layers together."""
    images, parts = config.data.batch_size, config.train.gradient_accumulation_steps
    if images % parts:
        divisors = ", ".join(str(number) for number in range(1, images + 1) if images % number == 0)
        raise SettingsError(
            f"train.gradient_accumulation_steps = {parts}: data.batch_size = {images} cannot be split into that many "
            f"equal parts; accepted: {divisors}"
        )


def _require_windows(data: Data) -> None:
    """Check that ``data.matched`` has windows to choose from, and not only whole frames."""
    width, height = data.load_size or data.size
    if data.matched and data.fit == "resize" and width <= data.size[0] and height <= data.size[1]:
        raise SettingsError(
            "data.matched = true: data.fit = 'resize' shows whole frames, without windows to match; set "
            "data.fit = 'crop', or a data.load_size larger than data.size"
        )


def _require_augmentation(regularization: Regularization) -> None:
    """Check that an adaptive probability of augmentation has augmentations to adapt."""
    if regularization.augment_target and not regularization.augment:
        place = "discriminator.regularization"
        raise SettingsError(
            f"{place}.augment_target = {regularization.augment_target:g}: {place}.augment is empty; set it, for "
            'example to ["color", "translation", "cutout"]'
        )
