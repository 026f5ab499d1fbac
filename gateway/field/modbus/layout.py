"""How a value lies in registers: its width, its byte order, its numpy type.

The letters of an order name the bytes of the value from the most significant (A) in the sequence they come over the
wire. A register is sent high byte first (Modbus Application Protocol 1.1b3, section 4.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

ValueType = Literal[
    "bool",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
    "bcd16",
    "bcd32",
    "string",
]
Order = Literal[
    "AB", "BA", "ABCD", "CDAB", "BADC", "DCBA", "ABCDEFGH", "GHEFCDAB", "BADCFEHG", "HGFEDCBA"
]  # fmt: skip

_ORDERS: Final[dict[int, tuple[Order, ...]]] = {
    1: ("AB", "BA"),
    2: ("ABCD", "CDAB", "BADC", "DCBA"),
    4: ("ABCDEFGH", "GHEFCDAB", "BADCFEHG", "HGFEDCBA"),
}
_WIDTH: Final[dict[str, int]] = {
    **dict.fromkeys(("bool", "int8", "uint8", "int16", "uint16", "float16", "bcd16"), 1),
    **dict.fromkeys(("int32", "uint32", "float32", "bcd32"), 2),
    **dict.fromkeys(("int64", "uint64", "float64"), 4),
}
_NUMPY: Final[dict[str, str]] = {
    "int16": "<i2",
    "uint16": "<u2",
    "int32": "<i4",
    "uint32": "<u4",
    "int64": "<i8",
    "uint64": "<u8",
    "float16": "<f2",
    "float32": "<f4",
    "float64": "<f8",
    "bcd16": "<u2",
    "bcd32": "<u4",
}


@dataclass(frozen=True, slots=True)
class Layout:
    """A value's place in its registers."""

    type: ValueType
    registers: int
    little_words: bool = False  # the least significant register comes first
    swapped: bool = False  # the low byte of each register comes first
    length: int = 0  # bytes of a string

    @property
    def numpy(self) -> str:
        """The little-endian numpy type of the raw value; a string or a part of a register has none."""
        return _NUMPY[self.type]


def width(kind: ValueType, length: int | None = None) -> int:
    """Registers a value takes; `length` is a string's size in bytes."""
    return (length or 0) + 1 >> 1 if kind == "string" else _WIDTH[kind]


def orders(kind: ValueType) -> tuple[Order, ...]:
    """The orders a type can have, the default first."""
    if kind in {"bool", "int8", "uint8"}:
        return ("AB",)
    return _ORDERS[1] if kind == "string" else _ORDERS[_WIDTH[kind]]


def extended(order: Order, kind: ValueType) -> Order | None:
    """A device's default order as one of its tags takes it over; None where it has no meaning for the type."""
    choices = orders(kind)
    if order in choices:
        return order
    for size in (2, 4):
        if order in _ORDERS[size] and len(choices) == len(_ORDERS[size]):
            return choices[_ORDERS[size].index(order)]
    return None


def layout(kind: ValueType, order: Order | None, length: int | None = None) -> Layout:
    """The layout of a type in an order that `orders` allows."""
    registers = width(kind, length)
    if order is None:
        return Layout(kind, registers, length=length or 0)
    place = orders(kind).index(order)
    if len(orders(kind)) == 4:
        return Layout(kind, registers, little_words=place in {1, 3}, swapped=place >= 2)
    return Layout(kind, registers, swapped=place == 1, length=length or 0)
