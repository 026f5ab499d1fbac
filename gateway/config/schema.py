"""The JSON Schema of the configuration file, for editors: the root model with drivers and steps filled in.

It says what may stand where. What only several keys together, the machine or the whole file can tell is `check`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from gateway.config.root import Root
from gateway.field.drivers import drivers
from gateway.pipeline.alarms import AlarmSettings
from gateway.pipeline.derived import DerivedSettings
from gateway.pipeline.settings import STEPS
from gateway.runtime.settings import DURATION, SIZE, as_duration, as_size

_REF: Final = "#/$defs/{model}"
_NULL: Final = {"type": "null"}


def schema() -> dict[str, Any]:
    """The whole file's JSON Schema (draft 2020-12)."""
    connections: dict[str, type[BaseModel]] = {name: driver.connection for name, driver in drivers().items()}
    models: list[type[BaseModel]] = [Root, AlarmSettings, DerivedSettings, *connections.values()]
    refs, document = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    definitions: dict[str, Any] = document["$defs"]
    steps = TypeAdapter.json_schema(STEPS, ref_template=_REF)
    definitions.update(steps.pop("$defs", {}))
    definitions["Steps"] = steps
    for node in _objects(definitions):
        _tidy(node)
    for definition in definitions.values():
        properties = definition.get("properties", {})
        if {"profile", "steps"} <= set(properties):
            properties["steps"] = _optional({"$ref": "#/$defs/Steps"})
            properties["alarm"] = _optional(refs[AlarmSettings, "validation"])
    kinds = definitions["Step"]["properties"]
    kinds.update({name: kind["anyOf"][0] for name, kind in kinds.items()})  # a step without settings is written {}
    root = definitions.pop(refs[Root, "validation"]["$ref"].rpartition("/")[2])
    root["properties"]["profiles"]["additionalProperties"] = {"$ref": "#/$defs/Steps"}
    root["properties"]["derived"] = _optional(refs[DerivedSettings, "validation"])
    root["properties"]["connections"]["additionalProperties"] = _by_driver(
        {name: refs[model, "validation"] for name, model in connections.items()}
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Edge gateway configuration",
        **root,
        "$defs": definitions,
    }


def _by_driver(models: dict[str, Any]) -> dict[str, Any]:
    """A connection; an editor says what is wrong with the one that `driver` names, not with all of them."""
    return {
        "type": "object",
        "required": ["driver"],
        "properties": {"driver": {"enum": list(models)}},
        "allOf": [
            {"if": {"required": ["driver"], "properties": {"driver": {"const": name}}}, "then": model}
            for name, model in models.items()
        ],
    }


def _optional(node: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [node, _NULL], "default": None}


def _objects(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
    for below in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _objects(below)


def _tidy(node: dict[str, Any]) -> None:
    """Defaults as they stand in the file, and names of entries as a rule of their own."""
    if isinstance(node.get("default"), dict | list):
        del node["default"]
    patterns = [each.get("pattern") for each in (node, *node.get("anyOf", ()))]
    for pattern, as_text in ((DURATION, as_duration), (SIZE, as_size)):
        if pattern in patterns and node.get("default") is not None:
            node["default"] = as_text(node["default"])
    for pattern, entry in node.pop("patternProperties", {}).items():
        node["propertyNames"] = {"pattern": pattern, **node.get("propertyNames", {})}
        node["additionalProperties"] = entry
