"""The JSON schema of sim2real.toml, for completion and validation in editors."""

import copy
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import NullableSchema, WithDefaultSchema

from sim2real.config.layers import SETTINGS_FILE
from sim2real.config.sections import COMPONENTS, Config
from sim2real.registry import registry


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of sim2real.toml (draft 2020-12), with all registered names, including plugins'."""
    schema = Config.model_json_schema(schema_generator=_OfOneLayer)
    component, discriminator = schema["$defs"]["Component"], schema["$defs"].pop("Discriminator")
    component["properties"]["name"]["examples"] = [*_names("generators"), *_names("discriminators")]
    for kind in COMPONENTS:
        named = copy.deepcopy(discriminator if kind == "discriminator" else component)
        del named["required"]  # a layer may leave the name to an earlier one
        named["properties"]["name"]["enum"] = _names(f"{kind}s")
        named |= {"title": kind.capitalize(), "description": schema["properties"][kind]["description"]}
        schema["properties"][kind] = named
    del component["required"]
    losses = schema["$defs"]["Losses"]
    weighted = losses["additionalProperties"]
    for entry in registry().entries("losses"):
        losses["properties"].setdefault(entry.name, {**weighted, "description": entry.summary})
    losses["additionalProperties"] = False
    schema["properties"]["recipe"]["enum"] = _names("recipes")
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema, "title": SETTINGS_FILE}


class _OfOneLayer(GenerateJsonSchema):
    """The schema of one layer of settings: no defaults, since other layers may set a value, and no null, as in TOML."""

    def default_schema(self, schema: WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def nullable_schema(self, schema: NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002  no setting has one
        return False


def _names(kind: str) -> list[str]:
    return [entry.name for entry in registry().entries(kind)]
