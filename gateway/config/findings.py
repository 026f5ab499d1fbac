"""pydantic's errors -> findings with file, line, column, a plain sentence and a suggestion. Pure."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from gateway.config.document import Document, Fault, Path
from gateway.errors import Finding

_SENTENCES: Final = {
    "missing": "this key is missing",
    "extra_forbidden": "unknown key",
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


def suggest(word: str, known: Iterable[str]) -> str:
    """`did you mean "..."`, or nothing where no known word is near."""
    near = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return f'did you mean "{near[0]}"' if near else ""


class Findings:
    """Collects the faults of one file in the order of their lines."""

    def __init__(self, file: str, document: Document, *, running: bool = False) -> None:
        """`running`: what is wrong with this machine only (see `machine`) is a warning."""
        self._file = file
        self._running = running
        self._document = document
        self._errors: list[Finding] = []
        self._warnings: list[Finding] = []

    @property
    def errors(self) -> list[Finding]:
        """All errors, top of the file first, each once."""
        return _in_order(self._errors)

    @property
    def warnings(self) -> list[Finding]:
        """All warnings, top of the file first, each once."""
        return _in_order(self._warnings)

    def fault(self, fault: Fault) -> None:
        """Note what the YAML itself gets wrong."""
        path = ".".join(map(str, fault.path)) or "file"
        self._errors.append(Finding(self._file, fault.place.line, fault.place.column, path, fault.message))

    def error(self, path: Path, message: str, hint: str = "", *, key: bool = False) -> None:
        """Note an error at a path of the document."""
        self._errors.append(self._finding(path, message, hint, key=key))

    def note(self, severity: str, path: Path, message: str) -> None:
        """Note a component's own finding: "error", "warning", or "machine" for what another machine may have right.

        A file that can't be read or written is an error when a configuration is checked; a daemon starts all the
        same, says so and tries again.
        """
        if severity == "error" or (severity == "machine" and not self._running):
            self.error(path, message)
        else:
            self.warning(path, message)

    def warning(self, path: Path, message: str, hint: str = "") -> None:
        """Note a warning at a path of the document."""
        self._warnings.append(self._finding(path, message, hint, key=False))

    def _finding(self, path: Path, message: str, hint: str, *, key: bool) -> Finding:
        place = self._document.place(path, key=key)
        return Finding(self._file, place.line, place.column, ".".join(map(str, path)) or "file", message, hint)

    def add(self, errors: Sequence[ErrorDetails], prefix: Path, model: Any) -> None:
        """Note pydantic's errors; `prefix` is where `model` stands in the document."""
        for error in errors:
            path = self._real_path((*prefix, *error["loc"]), keep_last=error["type"] in {"missing", "extra_forbidden"})
            if path and path[-1] == "[key]":
                self.error(path[:-1], _sentence(error), key=True)
                continue
            hint = ""
            if error["type"] == "extra_forbidden":
                hint = suggest(str(path[-1]), _keys_at(model, error["loc"][:-1]))
            elif error["type"] in {"literal_error", "enum"}:
                hint = suggest(str(error["input"]), _words(error.get("ctx", {}).get("expected", "")))
            self.error(path, _sentence(error), hint, key=error["type"] == "extra_forbidden")

    def _real_path(self, loc: Sequence[int | str], *, keep_last: bool) -> Path:
        # pydantic's location also holds union tags and validator names, which stand in no file
        data: Any = self._document.data
        path: list[str | int] = []
        for number, step in enumerate(loc):
            if step in (data if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()):
                data = data[step]
                path.append(step)
            elif (number == len(loc) - 1 and keep_last) or step == "[key]":
                path.append(step)
        return tuple(path)


def _in_order(findings: Iterable[Finding]) -> list[Finding]:
    return sorted(set(findings), key=lambda finding: (finding.line, finding.column, finding.path, finding.message))


def _sentence(error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return str(context.get("error", error["msg"]))
    if kind in {"literal_error", "enum"}:
        return f"expected {context.get('expected', '')}, not {_short(error['input'])}"
    if kind == "string_pattern_mismatch":
        return f"{_short(error['input'])} is no valid name: letters, digits, _ and -, at most 64"
    sentence = _SENTENCES.get(kind, error["msg"][:1].lower() + error["msg"][1:].replace("Input should", "should"))
    return sentence if kind in {"missing", "extra_forbidden"} else f"{sentence}, not {_short(error['input'])}"


def _short(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


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
