"""Which Sparkplug datatype a tag has, and which field its value travels in (Sparkplug 3.0, section 6.4.16). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from gateway.readings import Tag


class Datatype(IntEnum):
    """The numbers of the specification."""

    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12


class Field(IntEnum):
    """How a value is encoded; the numbers are our own, known to the kernel."""

    INT = 0  # int_value, two's complement in 32 bits
    LONG = 1  # long_value, two's complement in 64 bits
    ULONG = 2  # long_value, unsigned
    FLOAT = 3
    DOUBLE = 4
    BOOLEAN = 5
    STRING = 6


# uint32 goes as Int64: implementations disagree about the field of UInt32.
_INTEGERS: Final[Mapping[str, Datatype]] = {
    "int8": Datatype.INT8,
    "int16": Datatype.INT16,
    "int32": Datatype.INT32,
    "bcd32": Datatype.INT32,
    "uint8": Datatype.UINT8,
    "uint16": Datatype.UINT16,
    "bcd16": Datatype.UINT16,
    "int64": Datatype.INT64,
    "uint32": Datatype.INT64,
    "uint64": Datatype.UINT64,
}
_FIELDS: Final[Mapping[Datatype, Field]] = {
    Datatype.INT64: Field.LONG,
    Datatype.UINT64: Field.ULONG,
    Datatype.FLOAT: Field.FLOAT,
    Datatype.DOUBLE: Field.DOUBLE,
    Datatype.BOOLEAN: Field.BOOLEAN,
    Datatype.STRING: Field.STRING,
}


def datatype(tag: Tag) -> Datatype:
    """The datatype a tag is announced with."""
    kind = tag.kind
    if kind == "bool":
        return Datatype.BOOLEAN
    if kind == "text":
        return Datatype.STRING
    if kind == "integer":
        return _INTEGERS[tag.type]
    if tag.type in {"float16", "float32"} and not tag.scaled:
        return Datatype.FLOAT
    return Datatype.DOUBLE


def field(kind: Datatype) -> Field:
    """The field a datatype's value travels in."""
    return _FIELDS.get(kind, Field.INT)


def put(metric: object, kind: Datatype, value: float | str) -> None:
    """Set the value of a protobuf Metric (or PropertyValue)."""
    where = field(kind)
    converted: float | str
    if where is Field.STRING:
        name, converted = "string_value", str(value).encode(errors="replace").decode()
    elif where is Field.BOOLEAN:
        name, converted = "boolean_value", bool(value)
    elif where is Field.FLOAT:
        name, converted = "float_value", float(value)
    elif where is Field.DOUBLE:
        name, converted = "double_value", float(value)
    elif where is Field.INT:
        name, converted = "int_value", int(value) & 0xFFFFFFFF
    else:
        name, converted = "long_value", int(value) & 0xFFFFFFFFFFFFFFFF
    setattr(metric, name, converted)


def signed(number: int, kind: int) -> int:
    """The integer behind the unsigned bits of a value field; `kind` is its datatype."""
    bits = 64 if kind == Datatype.INT64 else 32 if Datatype.INT8 <= kind <= Datatype.INT32 else None
    if bits is None or number < 1 << (bits - 1):
        return number
    return number - (1 << bits) if number < 1 << bits else number
