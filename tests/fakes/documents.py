"""The commands, files and expected outputs that stand in a Markdown document.

A fence `sh` holds commands, `console` commands after `$ ` and what they print. A comment on the line before a fence
says what is special: `file: NAME` (the fence is that file), `background until PORT` (runs on; ready once the port
listens), `exit N` (the expected code), `needs PROGRAM`, `not run: REASON`.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_FENCE = re.compile(
    r"(?:^ *<!-- (?P<mark>[^\n]*?) -->\n)?^(?P<indent> *)```(?P<kind>\w*)\n(?P<body>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")
_ELLIPSIS = "..."


@dataclass(frozen=True, slots=True)
class Fence:
    """One fenced block; `mark` is the comment before it, empty where there is none."""

    kind: str
    mark: str
    body: str

    def marked(self, word: str) -> str | None:
        """What stands after `word` in the mark."""
        return self.mark.removeprefix(word).strip(" :") if self.mark.startswith(word) else None


@dataclass(slots=True)
class Command:
    """One command line and the lines it should print (empty: not said)."""

    line: str
    output: list[str] = field(default_factory=list)


def fences(document: Path) -> Iterator[Fence]:
    """Every fenced block of a document, in order."""
    for match in _FENCE.finditer(document.read_text(encoding="utf-8")):
        yield Fence(match["kind"], match["mark"] or "", textwrap.dedent(match["body"]))


def commands(fence: Fence) -> list[Command]:
    """The commands of a `sh` or `console` fence; none of any other."""
    found: list[Command] = []
    lines = fence.body.splitlines()
    if fence.kind == "sh":
        return [Command(line) for line in lines if line and not line.startswith("#")]
    if fence.kind == "console":
        for line in lines:
            if line.startswith("$ "):
                found.append(Command(line[2:]))
            else:
                found[-1].output.append(line)
    return found


def missing_lines(expected: list[str], printed: str) -> list[str]:
    """Expected lines that were not printed, in order; numbers and blanks may differ, `...` stands for anything."""
    lines = iter(printed.splitlines())
    return [line for line in expected if not any(_pattern(line).fullmatch(_plain(each)) for each in lines)]


def _plain(line: str) -> str:
    return " ".join(line.split())


def _pattern(line: str) -> re.Pattern[str]:
    pieces = [_NUMBER.sub("0", piece) for piece in _plain(line).split(_ELLIPSIS)]
    number = _NUMBER.pattern
    return re.compile(".*".join(number.join(re.escape(part) for part in piece.split("0")) for piece in pieces))
