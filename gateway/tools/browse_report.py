"""What a browse found, as YAML that pastes into a configuration, and as JSON. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from gateway.runtime.printable import printable

_NAME_MOST: Final = 64
_TYPES: Final[Mapping[str, str]] = {
    "Boolean": "bool",
    "SByte": "int8",
    "Byte": "uint8",
    "Int16": "int16",
    "UInt16": "uint16",
    "Int32": "int32",
    "UInt32": "uint32",
    "Int64": "int64",
    "UInt64": "uint64",
    "Float": "float32",
    "Double": "float64",
    "String": "string",
}


@dataclass(frozen=True)
class Variable:
    """One variable of a server: where it stands in the tree, its node id, its type there, what it holds."""

    path: tuple[str, ...]
    node: str
    data_type: str  # as OPC UA calls it: Double, Boolean, ...
    array: bool = False
    writable: bool = False
    value: str | None = None  # for people; None where it was not read

    @property
    def tag_type(self) -> str | None:
        """The type in a configuration; None where a tag can't hold it."""
        return None if self.array else _TYPES.get(self.data_type)


def wanted(variable: Variable, pattern: str | None) -> bool:
    """Whether path or node id fit: a pattern with * or ? as a whole, plain text anywhere, case ignored."""
    if pattern is None:
        return True
    text = pattern.lower()
    places = "/".join(variable.path).lower(), variable.node.lower()
    if any(sign in text for sign in "*?["):
        return any(fnmatchcase(place, text) for place in places)
    return any(text in place for place in places)


def names(variables: Sequence[Variable]) -> list[str]:
    """A tag name for each variable: the end of its path, longer where two would be equal, numbered as a last resort."""
    chosen: list[str] = []
    for variable in variables:
        parts = [re.sub(r"[^A-Za-z0-9_-]+", "_", part).strip("_") for part in variable.path]
        candidates = ["_".join(filter(None, parts[-length:])) for length in range(1, len(parts) + 1)]
        free = [name[-_NAME_MOST:] for name in candidates if name and name[-_NAME_MOST:] not in chosen]
        chosen.append(free[0] if free else _numbered((candidates[-1:] or ["tag"])[0] or "tag", chosen))
    return chosen


def to_yaml(endpoint: str, variables: Sequence[Variable]) -> str:
    """A `connections:` section with one device; what a tag can't hold stands there as a comment."""
    lines = [
        "connections:",
        "  opcua-server:",
        "    driver: opcua",
        f"    endpoint: {endpoint}",
        "    devices:",
        "      opcua-device:",
        "        tags:",
    ]
    for name, variable in zip(names(variables), variables, strict=True):
        note = "/".join(variable.path) + (", writable" if variable.writable else "")
        note += "" if variable.value is None else f", now {variable.value}"
        kind = variable.tag_type
        if kind is None:
            what = f"array of {variable.data_type}" if variable.array else variable.data_type
            lines.append(f"          # {_one_line(f'{what}: {variable.node}  {note}')}")
            continue
        shown = "" if kind == "float64" else f", type: {kind}"
        lines.append(f"          {name}: {{node: {json.dumps(variable.node)}{shown}}}  # {_one_line(note)}")
    return "\n".join(lines) + "\n"


def to_json(endpoint: str, variables: Sequence[Variable]) -> dict[str, Any]:
    """The same for scripts."""
    return {
        "endpoint": endpoint,
        "variables": [
            {
                "name": name,
                "path": list(variable.path),
                "node": variable.node,
                "data_type": variable.data_type,
                "array": variable.array,
                "type": variable.tag_type,
                "writable": variable.writable,
                "value": variable.value,
            }
            for name, variable in zip(names(variables), variables, strict=True)
        ],
    }


def _numbered(name: str, taken: Sequence[str]) -> str:
    number = 2
    while f"{name[-_NAME_MOST + 6 :]}_{number}" in taken:
        number += 1
    return f"{name[-_NAME_MOST + 6 :]}_{number}"


def _one_line(text: str) -> str:
    """A server's text as a comment that stays one."""
    return printable(" ".join(text.split()), 200)
