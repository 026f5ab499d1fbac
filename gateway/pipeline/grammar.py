"""The text of an expression -> a checked program. Pure; Python reads the grammar, but nothing of it is ever executed.

    "press.voltage * press.current"
    "max({meter-1.power}, {meter-2.power}) > 500"
    "where(press.running, press.speed, 0)"

Operators + - * / // % **, comparisons, and/or/not, brackets; functions min max abs sqrt where; numbers. Comparisons,
and, or, not give 1 or 0. A tag stands with its full name. Names may hold dashes: where a dash can be read as part of a
name and as a minus, braces or backticks around the name, or blanks around the minus, settle it.
"""

from __future__ import annotations

import ast
import difflib
import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from gateway.pipeline.expression import Expression, Instruction
from gateway.readings import Tag

LONGEST: Final = 2000  # characters
MOST_DASHES: Final = 10  # in one word without blanks; longer ones are taken as one name
_QUOTED: Final = re.compile(r"\{([^{}]*)\}|`([^`]*)`")
_SEGMENT: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
_NAME: Final = re.compile(rf"(?<![\w.]){_SEGMENT}(?:\.{_SEGMENT})+")
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?(?:[eE]-?\d+)?")
_PLACE: Final = "tag_{}_"
_PLACED: Final = re.compile(r"tag_(\d+)_")
_BINARY: Final[Mapping[type[ast.AST], str]] = MappingProxyType(
    {
        ast.Add: "+",
        ast.Sub: "-",
        ast.Mult: "*",
        ast.Div: "/",
        ast.FloorDiv: "//",
        ast.Mod: "%",
        ast.Pow: "**",
        ast.Lt: "<",
        ast.LtE: "<=",
        ast.Gt: ">",
        ast.GtE: ">=",
        ast.Eq: "==",
        ast.NotEq: "!=",
    }
)
_TRUTHS: Final = frozenset({"<", "<=", ">", ">=", "==", "!=", "and", "or", "not"})
_ARGUMENTS: Final[Mapping[str, tuple[int, int]]] = MappingProxyType(
    {"min": (2, 64), "max": (2, 64), "abs": (1, 1), "sqrt": (1, 1), "where": (3, 3)}
)


class ExpressionError(ValueError):
    """An expression can't be used; `hint` says what was probably meant."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def parse(text: str, known: Mapping[str, Tag]) -> Expression:
    """Check an expression against the tags it may use (by full name). ExpressionError with one clear sentence."""
    if len(text) > LONGEST:
        raise ExpressionError(f"the expression is longer than {LONGEST} characters")
    inputs: list[str] = []
    plain = _place_tags(text, known, inputs)
    try:
        tree = ast.parse(" ".join(plain.split()), mode="eval").body
    except SyntaxError as error:
        raise ExpressionError(f"this is no expression: {error.msg}") from error
    except (RecursionError, MemoryError, ValueError) as error:
        raise ExpressionError("the expression is nested too deeply or holds characters it can't have") from error
    writer = _Writer([known[name] for name in inputs], known)
    try:
        unit = writer.write(tree)
    except RecursionError as error:
        raise ExpressionError("the expression is nested too deeply") from error
    if not inputs:
        raise ExpressionError("the expression uses no tag")
    program = tuple(writer.program)
    return Expression(text, tuple(inputs), program, unit or "", program[-1][0] in _TRUTHS)


def _place_tags(text: str, known: Mapping[str, Tag], inputs: list[str]) -> str:
    """The text with placeholders for tags, which are collected in `inputs`."""
    if _PLACED.search(text):
        raise ExpressionError("names of the form tag_0_ can't stand in an expression")

    def place(name: str) -> str:
        _check_tag(name, known)
        if name not in inputs:
            inputs.append(name)
        return f" {_PLACE.format(inputs.index(name))} "

    parts: list[str] = []
    end = 0
    for match in _QUOTED.finditer(text):
        parts.append(_place_bare(text[end : match.start()], known, place))
        parts.append(place((match[1] if match[1] is not None else match[2]).strip()))
        end = match.end()
    parts.append(_place_bare(text[end:], known, place))
    return "".join(parts)


def _place_bare(text: str, known: Mapping[str, Tag], place: Callable[[str], str]) -> str:
    def replace(match: re.Match[str]) -> str:
        parts = _split(match[0], known)
        return " - ".join(part if part not in known and _is_number(part) else place(part) for part in parts)

    return _NAME.sub(replace, text)


def _split(word: str, known: Mapping[str, Tag]) -> list[str]:
    """A word of names, dots and dashes as the one tag or the one difference it can mean."""
    pieces = word.split("-")
    if len(pieces) > MOST_DASHES:
        return [word]
    readings: list[list[str]] = []
    for joins in itertools.product((True, False), repeat=len(pieces) - 1):
        parts = [pieces[0]]
        for join, piece in zip(joins, pieces[1:], strict=True):
            if join:
                parts[-1] += f"-{piece}"
            else:
                parts.append(piece)
        if all(part in known or _is_number(part) for part in parts) and parts not in readings:
            readings.append(parts)
    if len(readings) > 1:
        raise ExpressionError(
            f"{word} can be read in {len(readings)} ways: put blanks around a minus, or braces around a name"
        )
    return readings[0] if readings else [word]


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def _check_tag(name: str, known: Mapping[str, Tag]) -> None:
    tag = known.get(name)
    if tag is None:
        raise ExpressionError(f"there is no tag {name!r}", nearest(name, known))
    if tag.kind == "text":
        raise ExpressionError(f"{name} is text, an expression needs numbers")


def nearest(name: str, known: Iterable[str]) -> str:
    """`did you mean "..."`, or nothing where no known name is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f'did you mean "{near[0]}"' if near else ""


class _Writer:
    """Writes the program of a tree, refusing every node that is not on the list; returns the unit, None if unknown."""

    def __init__(self, inputs: Sequence[Tag], known: Mapping[str, Tag]) -> None:
        self.program: list[Instruction] = []
        self._inputs = inputs
        self._known = known

    def write(self, node: ast.expr) -> str | None:
        match node:
            case ast.Constant(value=number):
                if isinstance(number, bool) or not isinstance(number, int | float):
                    raise ExpressionError(f"{_short(node)} is no number")
                return self._number(number)
            case ast.Name(id=name):
                return self._name(name)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
                return self._binary(_BINARY[type(op)], left, right)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._apply("negative", [operand])
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.write(operand)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                self._apply("not", [operand])
                return ""
            case ast.BoolOp(op=op, values=values):
                self._fold("and" if isinstance(op, ast.And) else "or", values)
                return ""
            case ast.Compare():
                return self._compare(node)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _ARGUMENTS:
                return self._call(name, arguments)
            case ast.Call(func=ast.Name(id=name)):
                raise ExpressionError(
                    f"there is no function {name}: min, max, abs, sqrt and where", nearest(name, _ARGUMENTS)
                )
            case _:
                raise ExpressionError(f"{_short(node)} can't stand in an expression")

    def _number(self, number: float) -> str | None:
        try:
            value = float(number)
        except OverflowError as error:
            raise ExpressionError("a number is too large") from error
        if not math.isfinite(value):
            raise ExpressionError("a number is too large")
        self.program.append(("number", value))
        return None

    def _name(self, name: str) -> str:
        match = _PLACED.fullmatch(name)
        if match is None:
            hint = nearest(name, self._known) or "a tag stands with its device: device.tag"
            raise ExpressionError(f"there is no tag {name!r}", hint)
        self.program.append(("tag", int(match[1])))
        return self._inputs[int(match[1])].unit

    def _apply(self, word: str, operands: Sequence[ast.expr]) -> str | None:
        units = [self.write(operand) for operand in operands]
        self.program.append((word, len(operands)))
        return units[-1]

    def _fold(self, word: str, operands: Sequence[ast.expr]) -> list[str | None]:
        units = [self.write(operands[0])]
        for operand in operands[1:]:
            units.append(self.write(operand))
            self.program.append((word, 2))
        return units

    def _binary(self, word: str, left: ast.expr, right: ast.expr) -> str | None:
        one, other = self._fold(word, [left, right])
        return _unit(word, one, other)

    def _compare(self, node: ast.Compare) -> str:
        values = [node.left, *node.comparators]
        for number, op in enumerate(node.ops):
            if type(op) not in _BINARY:
                raise ExpressionError(f"{_short(node)} can't stand in an expression")
            self._fold(_BINARY[type(op)], values[number : number + 2])
            if number:
                self.program.append(("and", 2))
        return ""

    def _call(self, name: str, arguments: Sequence[ast.expr]) -> str | None:
        least, most = _ARGUMENTS[name]
        if not least <= len(arguments) <= most:
            wanted = str(least) if least == most else f"{least} or more"
            raise ExpressionError(f"{name} takes {wanted} values, not {len(arguments)}")
        if name in {"min", "max"}:
            return _common(self._fold(name, arguments))
        if name == "where":
            units = [self.write(argument) for argument in arguments]
            self.program.append((name, 3))
            return _common(units[1:])
        unit = self._apply(name, arguments)
        return unit if name == "abs" else None


def _common(units: Iterable[str | None]) -> str | None:
    """The unit all share; plain numbers take any."""
    found = {unit for unit in units if unit is not None}
    return found.pop() if len(found) == 1 else None


def _unit(word: str, one: str | None, other: str | None) -> str | None:
    if word in {"+", "-", "%"}:
        return _common([one, other])
    if one is None or other is None:
        return None  # scaled by a plain number: W * 0.001 may be meant as kW
    if word == "*":
        return "·".join(unit for unit in (one, other) if unit)
    if word == "/":
        return "" if one == other else f"{one}/{other}" if one and other else one or None
    return None


def _short(node: ast.AST) -> str:
    text = re.sub(_PLACED, "a tag", ast.unparse(node))
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
