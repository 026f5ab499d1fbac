"""Engineering values -> what is written: the inverse of `decode`. Pure."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Final

from gateway.errors import WriteError
from gateway.field.conversion import raw_number
from gateway.field.modbus.layout import Layout
from gateway.field.modbus.text import unswapped
from gateway.readings import Tag

_FLOATS: Final = {"float16": ">e", "float32": ">f", "float64": ">d"}


@dataclass(frozen=True, slots=True)
class Bits:
    """A part of one register: the bits in `mask` shall become `value` (already in place)."""

    mask: int
    value: int


def registers(tag: Tag, layout: Layout, encoding: str, value: float | str) -> bytes:
    """The registers of a value that fills them, as sent.

    WriteError bad_type or out_of_range where the value does not fit the type.
    """
    if layout.type == "string":
        return _text(tag, layout, encoding, value)
    number = _number(tag, value)
    size = 2 * layout.registers
    if layout.type in _FLOATS:
        try:
            data = struct.pack(_FLOATS[layout.type], raw_number(tag, number))
        except OverflowError as error:
            raise WriteError("out_of_range", f"{tag.full_name}: {value} is too large for {layout.type}") from error
    else:
        raw = int(raw_number(tag, number))
        if layout.type.startswith("bcd"):
            raw = int(str(raw), 16)
        data = raw.to_bytes(size, "big", signed=raw < 0)
    return arranged(data, layout)


def part(tag: Tag, bit: int | None, value: float | str, *, high: bool) -> Bits:
    """The bit or byte of a register; WriteError as above."""
    if tag.type == "bool":
        place = bit or 0
        return Bits(1 << place, onoff(tag, value) << place)
    shift = 8 if high else 0
    return Bits(0xFF << shift, (int(raw_number(tag, _number(tag, value))) & 0xFF) << shift)


def onoff(tag: Tag, value: float | str) -> bool:
    """A bool; WriteError bad_type where it is none."""
    if isinstance(value, str) or value not in {0, 1}:
        raise WriteError("bad_type", f"{tag.full_name} is true or false")
    return bool(value)


def arranged(data: bytes, layout: Layout) -> bytes:
    """Bytes from the most significant on, put into the layout's order."""
    if layout.little_words:
        data = b"".join(data[place : place + 2] for place in range(len(data) - 2, -1, -2))
    return unswapped(data, layout)


def _number(tag: Tag, value: float | str) -> float:
    if isinstance(value, str) or not math.isfinite(value):
        raise WriteError("bad_type", f"{tag.full_name} takes a number")
    return value


def _text(tag: Tag, layout: Layout, encoding: str, value: float | str) -> bytes:
    if not isinstance(value, str):
        raise WriteError("bad_type", f"{tag.full_name} takes text")
    try:
        data = value.encode(encoding)
    except UnicodeEncodeError as error:
        raise WriteError("bad_type", f"{tag.full_name}: not in {encoding}: {value!r}") from error
    if len(data) > layout.length:
        raise WriteError("out_of_range", f"{tag.full_name} holds {layout.length} bytes, not {len(data)}")
    return unswapped(data.ljust(2 * layout.registers, b"\0"), layout)
