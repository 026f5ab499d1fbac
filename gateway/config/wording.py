"""pydantic's errors in plain sentences, and what was probably meant. Pure."""

from __future__ import annotations

import json
import math
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from gateway.config.document import scalar
from gateway.runtime.model import nearest
from gateway.runtime.settings import LEVEL, NAME

_SENTENCES: Final = {
    "missing": "this key is missing",
    "extra_forbidden": "unknown key",
    "greater_than": "expected more than {gt:g}",
    "greater_than_equal": "expected at least {ge:g}",
    "less_than_equal": "expected at most {le:g}",
    "string_too_long": "expected at most {max_length} characters",
    "string_too_short": "expected at least {min_length} character",
    "too_long": "expected at most {max_length} entries",
    "too_short": "expected at least {min_length} entry",
    "tuple_type": "expected a list",
    "string_type": "expected text",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "finite_number": "expected a finite number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "dict_type": "expected keys and values",
    "mapping_type": "expected keys and values",
    "model_type": "expected keys and values",
    "model_attributes_type": "expected keys and values",
    "list_type": "expected a list",
    "none_required": "expected nothing here",
}
_PATTERNS: Final = {
    NAME: "is no valid name: letters, digits, _ and -, at most 64",
    LEVEL: "can't stand in a topic: no /, +, # or control character",
}
_BOOLEANS: Final = {"on": "true", "yes": "true", "y": "true", "off": "false", "no": "false", "n": "false"}
_IEC_TYPES: Final = {  # IEC 61131-3's names of what our types are
    "byte": "uint8",
    "sint": "int8",
    "usint": "uint8",
    "int": "int16",
    "uint": "uint16",
    "word": "uint16",
    "dint": "int32",
    "udint": "uint32",
    "dword": "uint32",
    "lint": "int64",
    "ulint": "uint64",
    "lword": "uint64",
    "real": "float32",
    "float": "float32",
    "lreal": "float64",
    "double": "float64",
    "text": "string",
}


def suggest(word: str, known: Iterable[str]) -> str:
    """`did you mean "..."`, or nothing where no known word is near."""
    near = nearest(word, known)
    return f'did you mean "{near}"' if near else ""


def sentence(error: ErrorDetails) -> str:
    """What is wrong, for people."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return str(context.get("error", error["msg"]))
    if kind in {"literal_error", "enum"}:
        return f"expected {context.get('expected', '')}, not {_short(error['input'])}"
    if kind == "string_pattern_mismatch":
        return f"{_short(error['input'])} {_PATTERNS.get(context['pattern'], 'has another form than expected')}"
    text = _SENTENCES.get(kind, error["msg"][:1].lower() + error["msg"][1:].replace("Input should", "should"))
    if kind in {"missing", "extra_forbidden"}:
        return text
    return f"{text.format(**context)}, not {_short(error['input'])}"


def hint(error: ErrorDetails, model: Any) -> str:
    """What was probably meant, or nothing; `model` is what was validated."""
    kind, value = error["type"], error["input"]
    if kind == "extra_forbidden":
        return suggest(str(error["loc"][-1]), _keys_at(model, error["loc"][:-1]))
    if kind in {"literal_error", "enum"}:
        words = _words(error.get("ctx", {}).get("expected", ""))
        meant = _IEC_TYPES.get(str(value).lower(), "")
        return f'did you mean "{meant}"' if meant in words else suggest(str(value), words)
    if kind == "bool_type" and str(value).lower() in _BOOLEANS:
        return f"only true and false are: write {_BOOLEANS[str(value).lower()]}"
    if kind in {"int_type", "float_type"} and isinstance(value, str) and _is_number(value):
        return "leave the quotes out"
    if kind == "string_type" and isinstance(value, bool | int | float):
        return "put it in quotes"
    return ""


def misspelled(errors: Iterable[ErrorDetails], model: Any) -> Iterator[tuple[int | str, ...]]:
    """Where the keys would stand that unknown ones were probably meant to be."""
    for error in errors:
        if error["type"] == "extra_forbidden":
            *above, key = error["loc"]
            yield (*above, nearest(str(key), _keys_at(model, above)))


def _short(value: object) -> str:
    """A value as it may stand in the file."""
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return "keys and values" if isinstance(value, dict) else "a list"
    if isinstance(value, float) and not math.isfinite(value):
        return f".{value}".replace(".-", "-.")
    text = repr(value) if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_number(text: str) -> bool:
    return isinstance(scalar(text, plain=True), int | float)


def _words(expected: str) -> list[str]:
    return [word.strip(" '") for word in expected.replace(" or ", ",").split(",")]


def _keys_at(model: Any, loc: Sequence[int | str]) -> set[str]:
    """The keys allowed where an unknown one was found."""
    places = [model]
    for step in loc:
        nearer = [inner for place in places for inner in _inside(place, step)]
        places = nearer or places
    return {key for place in places for key in _fields(place)}


def _fields(annotation: Any) -> set[str]:
    found: set[str] = set()
    for model in _models(annotation):
        found |= {field.alias or name for name, field in model.model_fields.items()}
    return found


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) is Annotated:
        return _models(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        return [model for part in get_args(annotation) for model in _models(part)]
    return []


def _inside(annotation: Any, step: int | str) -> list[Any]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _inside(arguments[0], step)
    if origin in {Union, types.UnionType}:
        return [inner for part in arguments for inner in _inside(part, step)]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [field.annotation for name, field in annotation.model_fields.items() if (field.alias or name) == step]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return [arguments[1]]
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return [arguments[0]]
    return []
