"""The settings of recipes and sim2real.toml, and how layers of settings are merged.

The layers, each overriding the previous one: the recipe, sim2real.toml, ``--set key=value``, the flags of a command.

sections.py  all settings
values.py    formats of sizes and numbers
words.py     error messages for invalid settings
layers.py    merging of layers
schema.py    the JSON schema for editors
"""

from sim2real.config.layers import (
    DEFAULT,
    SETTINGS_FILE,
    differences,
    named_recipe,
    parse_set,
    read_config,
    read_settings,
    require_registered,
    resolve,
)
from sim2real.config.schema import json_schema
from sim2real.config.sections import Classes, Component, Config, Conversion, Data, Regularization, Schedule, Transfer
from sim2real.config.values import parse_count, parse_sides, parse_size
from sim2real.config.words import flat

__all__ = [
    "DEFAULT",
    "SETTINGS_FILE",
    "Classes",
    "Component",
    "Config",
    "Conversion",
    "Data",
    "Regularization",
    "Schedule",
    "Transfer",
    "differences",
    "flat",
    "json_schema",
    "named_recipe",
    "parse_count",
    "parse_set",
    "parse_sides",
    "parse_size",
    "read_config",
    "read_settings",
    "require_registered",
    "resolve",
]
