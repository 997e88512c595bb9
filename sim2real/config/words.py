"""Error messages for invalid settings, with an example of a valid value."""

import difflib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from sim2real.config.sections import Config
from sim2real.config.values import parse_count
from sim2real.refusals import reason

RENAMED: Final[Mapping[str, str]] = {
    "critic": "discriminator.regularization",
    "ema": "ema_decay",
    "optim.clip": "optim.max_grad_norm",
    "pool": "image_pool_size",
    "train.accumulate": "train.gradient_accumulation_steps",
}
"""Settings of earlier versions -> their current names."""


def explain(path: list[str], error: ErrorDetails, settings: Mapping[str, Any]) -> str:
    """Return what is wrong with the value at a path, and what is accepted there.

    Args:
        path: Path of keys.
        error: Error from pydantic.
        settings: All settings, the only source of the names of components' options.
    """
    kind = error["type"]
    if kind == "model_type":
        return f"must be a table with {', '.join(_keys(path))}"
    if kind == "dict_type":
        return "must be a table of options"
    if kind == "extra_forbidden":
        if renamed := RENAMED.get(".".join(path)):
            return f"renamed; it is now {renamed}"
        near = _nearest_keys(path, settings)
        return f"no such setting; {near or 'accepted: ' + ', '.join(_keys(path[:-1]))}"
    text = reason(error)
    return text if kind in ("literal_error", "value_error") else text + _example(path, error)


def _example(path: list[str], error: ErrorDetails) -> str:
    """Return an example of a valid value: the one that was probably meant, or else the default."""
    value, kind = error["input"], error["type"]
    if kind.startswith("int") and isinstance(value, str):
        try:
            return f": write {parse_count(value)}"
        except ValueError:
            pass
    if kind == "list_type":
        return f", for example [{json.dumps(value, default=str)}]"
    usual = dict(flat(Config().model_dump(mode="json"))).get(".".join(part for part in path if not part.isdigit()))
    return "" if usual in (None, "", []) else f", for example {json.dumps(usual)}"


def _nearest_keys(path: list[str], settings: Mapping[str, Any]) -> str:
    """Return the settings whose key, or its last part, is spelt most like an unknown key."""
    beside = [".".join([*path[:-1], key]) for key in _keys(path[:-1])]
    unknown = ".".join(path)
    keys = {*beside, *_all_keys(Config), *dict(flat(settings))}
    known = {key for key in keys if key != unknown and not key.startswith(f"{unknown}.")}
    last: dict[str, list[str]] = {}
    for key in sorted(known):
        last.setdefault(key.rpartition(".")[2], []).append(key)
    word = path[-1].lower().replace("-", "_")
    near = last.get(word) or difflib.get_close_matches(".".join([*path[:-1], word]), known, n=1, cutoff=0.7)
    if not near:
        near = [key for name in difflib.get_close_matches(word, last, n=1, cutoff=0.75) for key in last[name]]
    return f"did you mean {' or '.join(near)}?" if 0 < len(near) <= 3 else ""


def flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of nested tables by their dotted keys."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _all_keys(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from _all_keys(annotation, f"{prefix}{name}.")
        else:
            yield prefix + name


def _keys(path: list[str]) -> list[str]:
    """Return the accepted keys of the table at a path."""
    section: type[BaseModel] = Config
    for part in path:
        annotation = section.model_fields[part].annotation if part in section.model_fields else None
        if get_origin(annotation) in {list, dict}:
            annotation = get_args(annotation)[-1]
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            section = annotation
    return list(section.model_fields)
