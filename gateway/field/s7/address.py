"""S7 addresses: `DB1.DBX0.3`, `DB1.DBW2`, `DB1.DBD4`, `M0.1`, `MW2`, `IB0` (or `EB0`), `QD4` (or `AD4`). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

Area = Literal["DB", "M", "I", "Q"]

WIDTHS: Final[Mapping[str, int]] = {  # bytes
    "bool": 1,
    "int8": 1,
    "uint8": 1,
    "int16": 2,
    "uint16": 2,
    "int32": 4,
    "uint32": 4,
    "int64": 8,
    "uint64": 8,
    "float32": 4,
    "float64": 8,
}
_SIZES: Final = {"X": 1, "B": 1, "W": 2, "D": 4}
_BLOCK: Final = re.compile(r"DB(\d{1,5})\.DB([XBWD])(\d{1,5})(?:\.([0-7]))?", re.IGNORECASE)
_MEMORY: Final = re.compile(r"([MIEQA])([BWD]?)(\d{1,5})(?:\.([0-7]))?", re.IGNORECASE)
_AREAS: Final[Mapping[str, Area]] = {"M": "M", "I": "I", "E": "I", "Q": "Q", "A": "Q"}
_EXPECTED: Final = "expected an address such as DB1.DBX0.3, DB1.DBW2, DB1.DBD4, M0.1, MW2, IB0 or QD4"


class Address(NamedTuple):
    """Where a value begins. `size` is what the letter says: X (a bit), B, W or D."""

    area: Area
    block: int  # number of the data block, 0 elsewhere
    byte: int
    bit: int  # 0 where it is no bit
    size: Literal["X", "B", "W", "D"]

    def __str__(self) -> str:
        bit = f".{self.bit}" if self.size == "X" else ""
        if self.area == "DB":
            return f"DB{self.block}.DB{self.size}{self.byte}{bit}"
        return f"{self.area}{'' if self.size == 'X' else self.size}{self.byte}{bit}"


def parse(text: str) -> Address:
    """The address a text stands for; ValueError where it is none."""
    if found := _BLOCK.fullmatch(text):
        area: Area = "DB"
        number, size = int(found[1]), found[2].upper()
        byte, bit = found[3], found[4]
        if not 1 <= number <= 65535:
            raise ValueError("data blocks have numbers from 1 to 65535")
    elif found := _MEMORY.fullmatch(text):
        area, number, size = _AREAS[found[1].upper()], 0, found[2].upper() or "X"
        byte, bit = found[3], found[4]
    else:
        raise ValueError(_EXPECTED)
    if (size == "X") != (bit is not None):
        raise ValueError(f"{text}: a bit is byte.bit, as in DB1.DBX0.3 or M0.1; bytes and words have none")
    if int(byte) > 65535:
        raise ValueError(f"{text}: bytes are counted up to 65535")
    return Address(area, number, int(byte), int(bit or 0), size)  # type: ignore[arg-type]  # the pattern allows no other


def fits(address: Address, kind: str) -> str:
    """Why a type can't be read at an address, empty where it can. `DBB` takes longer types and strings, too."""
    if (kind == "bool") != (address.size == "X"):
        return f"{address} is {'a bit: its type is bool' if address.size == 'X' else 'no bit: its type is not bool'}"
    if address.size in "XB" or kind == "string":
        return ""
    bits = _SIZES[address.size] * 8
    if WIDTHS[kind] <= _SIZES[address.size] or (WIDTHS[kind] == 8 and address.size == "D"):
        return "" if WIDTHS[kind] >= _SIZES[address.size] else f"{address} has {bits} bits, {kind} has less"
    return f"{address} has {bits} bits, {kind} has more: begin with {address._replace(size='B')} if that is meant"
