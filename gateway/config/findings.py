"""Collects the faults of one file, each with its place in it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic_core import ErrorDetails

from gateway.config.document import Document, Fault, Path
from gateway.config.wording import hint, misspelled, sentence
from gateway.errors import Finding
from gateway.runtime.printable import printable


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
        place, path = fault.place, _dotted(fault.path)
        self._errors.append(Finding(self._file, place.line, place.column, path, fault.message))

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
        return Finding(self._file, place.line, place.column, _dotted(path), message, hint)

    def add(self, errors: Sequence[ErrorDetails], prefix: Path, model: Any) -> None:
        """Note pydantic's errors; `prefix` is where `model` stands in the document."""
        given = set(misspelled(errors, model))
        for error in errors:
            if error["type"] == "missing" and error["loc"] in given:
                continue
            path = self._real_path((*prefix, *error["loc"]), keep_last=error["type"] in {"missing", "extra_forbidden"})
            if path and path[-1] == "[key]":
                self.error(path[:-1], sentence(error), key=True)
                continue
            self.error(path, sentence(error), hint(error, model), key=error["type"] == "extra_forbidden")

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


def _dotted(path: Path) -> str:
    return printable(".".join(map(str, path))) or "file"
