"""YAML text -> plain data and the place of every key and value. Pure.

YAML 1.2 core schema: only `true` and `false` are booleans, `0755` is decimal, dates are text.
"""

from __future__ import annotations

import math
import re
import warnings
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

Path = tuple[str | int, ...]

_MOST_VALUES: Final = 500_000
_STANDARD_TAG: Final = "tag:yaml.org,2002:"
_SENTENCES: Final[Mapping[str, str]] = {  # by what the parser says
    "found character '\\t'": "a tab stands here: YAML takes only blanks",
    "while scanning an alias expected": "a text that starts with * must be quoted",
    "while scanning an anchor expected": "a text that starts with & must be quoted",
    "while scanning a tag expected": "a text that starts with ! must be quoted",
    "that cannot start any token": "a text can't start with this character: put it in quotes",
    "mapping values are not allowed here": "a colon isn't expected here: put a text that holds one in quotes",
    "could not find expected ':'": "expected a key with a colon and a blank behind it",
    "but found '}'": "a } without its {",
    "but found ']'": "a ] without its [",
    "while parsing a block mapping": "the indentation fits no line above",
    "while parsing a block collection": "the indentation fits no line above",
    "got '<stream end>'": "a { or [ above is never closed",
    "found unexpected end of stream": "a quote above is never closed",
}

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


class _TooLargeError(Exception):
    def __init__(self, place: Place) -> None:
        self.place = place


def parse(text: str) -> Document:
    """Read one YAML document; what can't be read stands in `faults`, the rest is still there."""
    document = Document()
    try:
        with warnings.catch_warnings(action="ignore", category=ReusedAnchorWarning):  # which YAML allows
            nodes = list(YAML(typ="rt", pure=True).compose_all(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
        document.faults.append(Fault(place, (), _sentence(error)))
        return document
    except ReaderError as error:
        above, newline, line = text[: error.position].rpartition("\n")
        place = Place(above.count("\n") + len(newline) + 1, len(line) + 1)
        code = error.character if isinstance(error.character, int) else ord(error.character)
        document.faults.append(Fault(place, (), f"the character U+{code:04X} can't stand in YAML"))
        return document
    except (YAMLError, ValueError) as error:
        document.faults.append(Fault(Place(1, 1), (), f"this is no YAML: {' '.join(str(error).split())}"))
        return document
    if len(nodes) != 1 or nodes[0] is None:
        what = "the file is empty" if not nodes or nodes[0] is None else "expected one document, without a second '---'"
        document.faults.append(Fault(Place(1, 1), (), what))
        return document
    try:
        document.data = _build(nodes[0], (), document, ())
    except _TooLargeError as error:
        text = f"with its aliases the file has more than {_MOST_VALUES} values"
        document.faults.append(Fault(error.place, (), text))
        return document
    if document.data is None and not document.faults:
        document.faults.append(Fault(Place(1, 1), (), "the file is empty"))
    return document


def _sentence(error: MarkedYAMLError) -> str:
    """What is wrong, for people who don't know how a YAML parser works."""
    found = f"{error.context or ''} {error.problem or ''}".strip()
    for words, sentence in _SENTENCES.items():
        if words in found:
            return sentence
    return error.problem or error.context or "this is no YAML"


def _build(node: Node, path: Path, document: Document, above: tuple[int, ...]) -> Any:
    place = Place(node.start_mark.line + 1, node.start_mark.column + 1)
    if len(document.values) >= _MOST_VALUES:
        raise _TooLargeError(place)
    document.values[path] = place
    if id(node) in above:
        document.faults.append(Fault(place, path, "an alias may not contain itself"))
        return None
    if not str(node.tag).startswith(_STANDARD_TAG):
        text = f"{node.tag} has no meaning here: a text that starts with ! must be quoted"
        document.faults.append(Fault(place, path, text))
    above = (*above, id(node))
    if isinstance(node, MappingNode):
        return _build_mapping(node, path, document, above)
    if isinstance(node, SequenceNode):
        return [_build(item, (*path, number), document, above) for number, item in enumerate(node.value)]
    return scalar(str(node.value), plain=isinstance(node, ScalarNode) and node.style is None)


def _build_mapping(node: MappingNode, path: Path, document: Document, above: tuple[int, ...]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key_node, value_node in _pairs(node, document, path):
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


def _pairs(node: MappingNode, document: Document, path: Path) -> Iterator[tuple[Node, Node]]:
    """Keys and values of a mapping, then what `<<` merges into it: own keys and those of earlier mappings win."""
    waiting, seen, named = deque([node]), {id(node)}, set[str]()
    while waiting:
        mapping = waiting.popleft()
        for key, value in mapping.value:
            if not isinstance(key, ScalarNode) or not _merges(key):
                if mapping is node or key.value not in named:
                    yield key, value
                continue
            for merged in value.value if isinstance(value, SequenceNode) else [value]:
                if not isinstance(merged, MappingNode) or merged is node:
                    place = Place(merged.start_mark.line + 1, merged.start_mark.column + 1)
                    document.faults.append(Fault(place, (*path, "<<"), "expected an alias of other keys and values"))
                elif id(merged) not in seen:
                    seen.add(id(merged))
                    waiting.append(merged)
        named |= {str(key.value) for key, _ in mapping.value if isinstance(key, ScalarNode)}


def _merges(key: ScalarNode) -> bool:
    return key.value == "<<" and key.style is None


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
