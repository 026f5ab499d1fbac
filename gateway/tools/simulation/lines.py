"""A line an instrument could send: text that matches a pattern, with wanted numbers in its named groups. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from itertools import product
from typing import Any, Final

from gateway.errors import LinkError
from gateway.field.line.decode import LineDecoder, sealed
from gateway.field.line.settings import LineDevice

_PRINTABLE: Final = tuple(chr(code) for code in (*range(0x30, 0x3A), *range(0x41, 0x5B), *range(0x20, 0x7F)))


def matching_line(pattern: str, values: Mapping[str, float], turn: int = 0) -> str:
    """Text that the pattern fully matches; each group in `values` holds a number as near as its own form allows.

    `turn` chooses among alternatives, so that `ST|US` shows both over time. ValueError where the pattern is beyond us
    (look-around, back references, a group whose numbers it can't hold).
    """
    text = pattern
    for name, value in values.items():
        start, body, end = _group(text, name)
        number = next((form for form in _forms(value) if re.fullmatch(body, form)), None)
        if number is None:
            number = _generated(body, turn)
        text = text[:start] + f"(?P<{name}>{re.escape(number)})" + text[end:]
    line = _generated(text, turn)
    if not re.fullmatch(pattern, line):
        raise ValueError(f"no example found for the pattern {pattern}")
    return line


def spoken_line(device: LineDevice, values: Mapping[str, float], turn: int = 0) -> bytes:
    """A line, without terminator, that the device's own pattern and checksum accept. LinkError where we find none."""
    try:
        body = matching_line(device.pattern, values, turn).encode("latin-1")
    except ValueError as error:
        raise LinkError(str(error)) from error
    bare = body[:-3] if device.checksum == "nmea" else body[: -4 if device.checksum == "crc16-modbus" else -2]
    decoder = LineDecoder(device)
    for line in (sealed(device.checksum, body), sealed(device.checksum, bare)):
        if decoder.decode(line) is not None:
            return line
    raise LinkError(f"no line with checksum {device.checksum} found for the pattern {device.pattern}")


def _forms(value: float) -> Iterator[str]:
    """How instruments write a number, the usual forms first."""
    for decimals, width, sign in product((2, 1, 3, 0, 4, 5), (0, 5, 6, 7, 8, 9, 3, 4, 2), ("-", "+", " ")):
        text = f"{value:{sign}0{width + decimals + 1 if decimals and width else width}.{decimals}f}"
        yield text
        if decimals:
            yield text.replace(".", ",")
    yield f"{value:8.2f}"


def _group(pattern: str, name: str) -> tuple[int, str, int]:
    """Start of a named group, the pattern within it, and the place after its bracket."""
    head = f"(?P<{name}>"
    start = pattern.index(head)
    place, depth, in_class = start + len(head), 1, False
    while depth:
        sign = pattern[place]
        if sign == "\\":
            place += 1
        elif in_class:
            in_class = sign != "]"
        elif sign == "[":
            in_class = True
            place += 1 if pattern[place + 1] in "^]" else 0
        else:
            depth += {"(": 1, ")": -1}.get(sign, 0)
        place += 1
    return start, pattern[start + len(head) : place - 1], place


def _generated(pattern: str, turn: int) -> str:
    parsed: Any = import_module("re._parser").parse(pattern)  # the parser `re` itself uses
    return "".join(_parts(parsed, turn))


def _parts(nodes: Sequence[Any], turn: int) -> Iterator[str]:
    for operation, argument in nodes:
        yield from _part(str(operation), argument, turn)


def _part(operation: str, argument: Any, turn: int) -> Iterator[str]:
    match operation:
        case "LITERAL":
            yield chr(argument)
        case "ANY":
            yield "0"
        case "NOT_LITERAL":
            yield next(sign for sign in _PRINTABLE if ord(sign) != argument)
        case "IN":
            yield next(sign for sign in _PRINTABLE if _in_class(argument, sign))
        case "BRANCH":
            branches = argument[1]
            yield from _parts(branches[turn % len(branches)], turn)
        case "SUBPATTERN":
            yield from _parts(argument[-1], turn)
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            least, _, body = argument
            for _ in range(least):
                yield from _parts(body, turn)
        case "AT":
            return
        case _:
            raise ValueError(f"no example found: {operation.lower()} in a pattern")


def _in_class(items: Sequence[Any], sign: str) -> bool:
    negated = str(items[0][0]) == "NEGATE"
    found = any(_in_item(str(operation), argument, sign) for operation, argument in items)
    return found != negated


def _in_item(operation: str, argument: Any, sign: str) -> bool:
    if operation == "LITERAL":
        return bool(ord(sign) == argument)
    if operation == "RANGE":
        return bool(argument[0] <= ord(sign) <= argument[1])
    if operation == "CATEGORY":
        name = str(argument)
        plain = name.replace("_NOT_", "_")
        inside = {"CATEGORY_DIGIT": sign.isdigit(), "CATEGORY_SPACE": sign.isspace()}.get(
            plain, sign.isalnum() or sign == "_"
        )
        return inside != ("_NOT_" in name)
    return False
