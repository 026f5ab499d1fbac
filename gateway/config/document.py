"""YAML text -> plain data and the place of every key and value. Pure.

YAML 1.2 core schema: only `true` and `false` are booleans, `0755` is decimal, dates are text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

Path = tuple[str | int, ...]

_NULL: Final = re.compile(r"(?:~|null|Null|NULL|)")
_BOOL: Final = re.compile(r"(?:true|True|TRUE|false|False|FALSE)")
_INT: Final = re.compile(r"(?:[-+]?[0-9]{1,400}|0o[0-7]+|0x[0-9a-fA-F]+)")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


@dataclass(frozen=True, slots=True)
class Place:
    """1-based line and column."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Fault:
    """Something the YAML itself gets wrong."""

    place: Place
    path: Path
    message: str


@dataclass(slots=True)
class Document:
    """The data of one file. `keys` and `values` tell where each path's key and value stand."""

    data: Any = None
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def place(self, path: Path, *, key: bool = False) -> Place:
        """Where a path stands, or its nearest ancestor that is in the file."""
        for end in range(len(path), -1, -1):
            found = (self.keys if key or end < len(path) else self.values).get(path[:end]) or self.values.get(
                path[:end]
            )
            if found:
                return found
        return Place(1, 1)


def parse(text: str) -> Document:
    """Read one YAML document; what can't be read stands in `faults`, the rest is still there."""
    document = Document()
    try:
        nodes = list(YAML(typ="rt", pure=True).compose_all(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
        document.faults.append(Fault(place, (), error.problem or error.context or "this is no YAML"))
        return document
    except (YAMLError, ValueError) as error:
        document.faults.append(Fault(Place(1, 1), (), f"this is no YAML: {' '.join(str(error).split())}"))
        return document
    if len(nodes) != 1 or nodes[0] is None:
        what = "the file is empty" if not nodes or nodes[0] is None else "expected one document, without a second '---'"
        document.faults.append(Fault(Place(1, 1), (), what))
        return document
    document.data = _build(nodes[0], (), document, ())
    return document


def _build(node: Node, path: Path, document: Document, above: tuple[int, ...]) -> Any:
    place = Place(node.start_mark.line + 1, node.start_mark.column + 1)
    document.values[path] = place
    if id(node) in above:
        document.faults.append(Fault(place, path, "an alias may not contain itself"))
        return None
    above = (*above, id(node))
    if isinstance(node, MappingNode):
        return _build_mapping(node, path, document, above)
    if isinstance(node, SequenceNode):
        return [_build(item, (*path, number), document, above) for number, item in enumerate(node.value)]
    return scalar(str(node.value), plain=isinstance(node, ScalarNode) and node.style is None)


def _build_mapping(node: MappingNode, path: Path, document: Document, above: tuple[int, ...]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key_node, value_node in _pairs(node):
        place = Place(key_node.start_mark.line + 1, key_node.start_mark.column + 1)
        if not isinstance(key_node, ScalarNode):
            document.faults.append(Fault(place, path, "a key must be a word"))
            continue
        key = str(key_node.value)
        if key in data:
            document.faults.append(Fault(place, (*path, key), "this key stands here twice"))
            continue
        document.keys[*path, key] = place
        data[key] = _build(value_node, (*path, key), document, above)
    return data


def _pairs(node: MappingNode) -> Iterator[tuple[Node, Node]]:
    own = [(key, value) for key, value in node.value if not (isinstance(key, ScalarNode) and key.value == "<<")]
    yield from own
    named = {key.value for key, _ in own if isinstance(key, ScalarNode)}
    for key, value in node.value:
        if isinstance(key, ScalarNode) and key.value == "<<":
            for merged in value.value if isinstance(value, SequenceNode) else [value]:
                if isinstance(merged, MappingNode):
                    for pair in _pairs(merged):
                        if pair[0].value not in named:
                            named.add(pair[0].value)
                            yield pair


def scalar(text: str, *, plain: bool) -> Any:
    """The value of a scalar by the core schema; quoted and block scalars are always text."""
    if not plain:
        return text
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return int(text, 0) if text.startswith(("0o", "0x")) else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL.fullmatch(text):
        return math.nan if text.lower() == ".nan" else -math.inf if text.startswith("-") else math.inf
    return text
