"""The JSON Schema of the configuration file, for editors: the root model with drivers and steps filled in."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from gateway.config.root import Root
from gateway.field.drivers import drivers
from gateway.pipeline.alarms import AlarmSettings
from gateway.pipeline.derived import DerivedSettings
from gateway.pipeline.settings import STEPS

_REF = "#/$defs/{model}"


def schema() -> dict[str, Any]:
    """The whole file's JSON Schema (draft 2020-12)."""
    connections: list[type[BaseModel]] = [driver.connection for driver in drivers().values()]
    models: list[type[BaseModel]] = [Root, AlarmSettings, DerivedSettings, *connections]
    refs, document = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    definitions: dict[str, Any] = document["$defs"]
    steps = TypeAdapter.json_schema(STEPS, ref_template=_REF)
    definitions.update(steps.pop("$defs", {}))
    definitions["Steps"] = steps
    for definition in definitions.values():
        properties = definition.get("properties", {})
        if {"profile", "steps"} <= set(properties):
            properties["steps"] = {"$ref": "#/$defs/Steps"}
            properties["alarm"] = refs[AlarmSettings, "validation"]
    root = definitions.pop(refs[Root, "validation"]["$ref"].rpartition("/")[2])
    root["properties"]["profiles"]["additionalProperties"] = {"$ref": "#/$defs/Steps"}
    root["properties"]["derived"] = refs[DerivedSettings, "validation"]
    root["properties"]["connections"]["additionalProperties"] = {
        "oneOf": [refs[connection, "validation"] for connection in connections]
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Edge gateway configuration",
        **root,
        "$defs": definitions,
    }
