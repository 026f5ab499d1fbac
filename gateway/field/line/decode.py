"""From a line to raw values: checksum, then latin-1, then the pattern over the whole line. Pure; raises nothing.

Checksums stand at the end of the line as hexadecimal digits: two for xor and sum8 (over all bytes before them), four
for crc16-modbus, and `*hh` for nmea (exclusive or of what stands between `$` and `*`). The pattern is matched against
the line without its checksum, and where that fails against the line as it came.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import xor
from typing import Final, NamedTuple

import numpy as np

from gateway.field.line.settings import Checksum, LineDevice, LineTag
from gateway.readings import NO_TEXTS, Quality, QualityColumn, ValueColumn, text_hash

_DIGITS: Final[Mapping[Checksum, int]] = {"none": 0, "xor": 2, "sum8": 2, "crc16-modbus": 4, "nmea": 2}
_HEX: Final = re.compile(rb"[0-9A-Fa-f]+")
_TRUE: Final = frozenset({"1", "true", "on", "yes"})
_FALSE: Final = frozenset({"0", "false", "off", "no"})


class Fields(NamedTuple):
    """Raw values of a device's tags in the order of its settings; text is its hash."""

    raw: ValueColumn
    quality: QualityColumn
    texts: Mapping[int, str]


def crc16_modbus(data: bytes) -> int:
    """The checksum of Modbus RTU (polynomial 0xA001 reflected, start 0xFFFF)."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc


def checksum_of(kind: Checksum, body: bytes) -> int:
    """The checksum over `body`; for nmea `body` may begin with its `$`."""
    if kind == "sum8":
        return sum(body) & 0xFF
    if kind == "crc16-modbus":
        return crc16_modbus(body)
    return reduce(xor, body.removeprefix(b"$") if kind == "nmea" else body, 0)


def unsealed(kind: Checksum, line: bytes) -> bytes | None:
    """The line without its checksum; None where that is missing or wrong."""
    digits = _DIGITS[kind]
    if not digits:
        return line
    body, check = line[:-digits], line[-digits:]
    if len(check) != digits or not _HEX.fullmatch(check):
        return None
    if kind == "nmea":
        if not body.endswith(b"*"):
            return None
        body = body[:-1]
    return body if checksum_of(kind, body) == int(check, 16) else None


def sealed(kind: Checksum, body: bytes) -> bytes:
    """The line with its checksum: what an instrument sends."""
    if kind == "none":
        return body
    star = b"*" if kind == "nmea" else b""
    return body + star + f"{checksum_of(kind, body):0{_DIGITS[kind]}X}".encode()


def number(text: str, tag: LineTag) -> float:
    """The number a field's text stands for, NaN where it is none. Blanks inside are ignored: `- 12.5` is -12.5."""
    text = text.replace(" ", "")
    if tag.type == "bool":
        word = text.lower()
        return 1.0 if word in _TRUE else 0.0 if word in _FALSE else math.nan
    if tag.decimal == ",":
        text = text.replace(".", "").replace(",", ".")
    try:
        return float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        return math.nan


class LineDecoder:
    """The decoder of one device's lines."""

    def __init__(self, settings: LineDevice) -> None:
        self._checksum: Checksum = settings.checksum
        self._pattern = re.compile(settings.pattern)
        self._tags: Sequence[LineTag] = tuple(settings.tags.values())

    def decode(self, line: bytes) -> Fields | None:
        """The values of a line; None where checksum or pattern don't fit. A field that is no number is bad/decode."""
        body = unsealed(self._checksum, line)
        if body is None:
            return None
        match = self._pattern.fullmatch(body.decode("latin-1")) or self._pattern.fullmatch(line.decode("latin-1"))
        return None if match is None else self._fields(match.groupdict())

    def _fields(self, groups: Mapping[str, str | None]) -> Fields:
        count = len(self._tags)
        raw, quality = np.full(count, np.nan, np.float64), np.zeros(count, np.uint8)
        texts: dict[int, str] = {}
        for position, tag in enumerate(self._tags):
            text = groups[tag.field]
            if text is None:
                quality[position] = Quality.BAD_DECODE
            elif tag.type == "string":
                text = text.strip()
                key = text_hash(text)
                texts[key] = text
                raw[position] = key
            else:
                raw[position] = number(text.strip(), tag)
        return Fields(raw, quality, texts or NO_TEXTS)
