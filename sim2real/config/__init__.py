"""What a recipe or sim2real.toml may say, and how the layers of settings become one.

The layers, each over the one before: the recipe, sim2real.toml, ``--set key=value``, the flags of a command.

sections.py  what can be set
values.py    how people write sizes and numbers
words.py     what is said of what does not fit
layers.py    how the layers become one
schema.py    the same for editors
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
