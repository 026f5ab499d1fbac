"""A simulated unit's memory, and its answers to Modbus requests (Modbus Application Protocol 1.1b3). Pure.

request PDU --answer--> response PDU
              |
Image: four tables of 65536 places, each defined or not, writable or not
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Table = Literal["coil", "discrete", "holding", "input"]

ILLEGAL_FUNCTION: Final = 1
ILLEGAL_ADDRESS: Final = 2
ILLEGAL_VALUE: Final = 3
GATEWAY_TARGET_FAILED: Final = 0x0B

_READ: Final[Mapping[int, tuple[Table, int]]] = {
    1: ("coil", 2000),
    2: ("discrete", 2000),
    3: ("holding", 125),
    4: ("input", 125),
}
_PLACES: Final = 65536
_FORMATS: Final[Mapping[str, str]] = {
    "int16": ">h",
    "uint16": ">H",
    "int32": ">i",
    "uint32": ">I",
    "int64": ">q",
    "uint64": ">Q",
    "float16": ">e",
    "float32": ">f",
    "float64": ">d",
}


def _empty() -> NDArray[np.uint16]:
    return np.zeros(_PLACES, np.uint16)


def _none() -> NDArray[np.bool_]:
    return np.zeros(_PLACES, np.bool_)


@dataclass(frozen=True, eq=False)
class Places:
    """One table: 16-bit words (coils and discrete inputs: 0 or 1), which of them exist, and which can be written."""

    words: NDArray[np.uint16] = field(default_factory=_empty)
    defined: NDArray[np.bool_] = field(default_factory=_none)
    writable: NDArray[np.bool_] = field(default_factory=_none)


def _places() -> dict[Table, Places]:
    return {table: Places() for table in ("coil", "discrete", "holding", "input")}


@dataclass(eq=False)
class Image:
    """One unit's memory. `written` is called after each accepted write with table, first address and count."""

    tables: dict[Table, Places] = field(default_factory=_places)
    written: Callable[[Table, int, int], None] | None = None
    longest: int = 2000  # registers or bits answered at once; a real device often takes less than the standard's limit

    def put(self, table: Table, address: int, words: Sequence[int], *, writable: bool = False) -> None:
        """Define consecutive places and set their words (or bits, 0 and 1)."""
        places = self.tables[table]
        rows = slice(address, address + len(words))
        places.words[rows] = words
        places.defined[rows] = True
        if writable:
            places.writable[rows] = True

    def put_bit(self, table: Table, address: int, bit: int, value: bool) -> None:
        """Define a register and set one bit of it, 0 being the least significant."""
        places = self.tables[table]
        word = int(places.words[address]) & ~(1 << bit)
        self.put(table, address, [word | (int(value) << bit)])

    def get(self, table: Table, address: int, count: int = 1) -> list[int]:
        """The words of consecutive places."""
        return [int(word) for word in self.tables[table].words[address : address + count]]

    def answer(self, request: bytes) -> bytes:
        """The response PDU to a request PDU; exceptions as the standard orders them."""
        function = request[0] if request else 0
        if function in _READ:
            return self._read(function, request)
        if function in {5, 6}:
            return self._write_one(function, request)
        if function in {15, 16}:
            return self._write_many(function, request)
        return refusal(function, ILLEGAL_FUNCTION)

    def _read(self, function: int, request: bytes) -> bytes:
        table, limit = _READ[function]
        if len(request) != 5:
            return refusal(function, ILLEGAL_VALUE)
        address, count = struct.unpack(">HH", request[1:])
        if not 1 <= count <= min(limit, self.longest):
            return refusal(function, ILLEGAL_VALUE)
        places = self.tables[table]
        rows = slice(address, address + count)
        if address + count > _PLACES or not places.defined[rows].all():
            return refusal(function, ILLEGAL_ADDRESS)
        if function <= 2:
            body = np.packbits(places.words[rows] != 0, bitorder="little").tobytes()
        else:
            body = places.words[rows].astype(">u2").tobytes()
        return bytes((function, len(body))) + body

    def _write_one(self, function: int, request: bytes) -> bytes:
        if len(request) != 5:
            return refusal(function, ILLEGAL_VALUE)
        address, word = struct.unpack(">HH", request[1:])
        if function == 5 and word not in {0, 0xFF00}:
            return refusal(function, ILLEGAL_VALUE)
        table: Table = "coil" if function == 5 else "holding"
        wrong = self._store(table, address, [word >> 8 & 1 if function == 5 else word])
        return refusal(function, wrong) if wrong else request

    def _write_many(self, function: int, request: bytes) -> bytes:
        if len(request) < 6:
            return refusal(function, ILLEGAL_VALUE)
        address, count, size = struct.unpack(">HHB", request[1:6])
        wanted = (count + 7) // 8 if function == 15 else 2 * count
        limit = 1968 if function == 15 else 123
        if not 1 <= count <= limit or size != wanted or len(request) != 6 + size:
            return refusal(function, ILLEGAL_VALUE)
        if function == 15:
            bits = np.unpackbits(np.frombuffer(request, np.uint8, offset=6), bitorder="little")[:count]
            wrong = self._store("coil", address, bits.tolist())
        else:
            wrong = self._store("holding", address, np.frombuffer(request, ">u2", offset=6).tolist())
        return refusal(function, wrong) if wrong else request[:5]

    def _store(self, table: Table, address: int, words: Sequence[int]) -> int:
        places = self.tables[table]
        rows = slice(address, address + len(words))
        if address + len(words) > _PLACES or not places.writable[rows].all():
            return ILLEGAL_ADDRESS
        places.words[rows] = words
        if self.written is not None:
            self.written(table, address, len(words))
        return 0


def refusal(function: int, code: int) -> bytes:
    """An exception response."""
    return bytes((function & 0x7F | 0x80, code))


def to_words(value: float | str, type_: str, order: str = "", *, length: int = 0, encoding: str = "utf-8") -> list[int]:
    """A raw value as registers. `order` is a pattern such as CDAB; `length` is a text's size in bytes."""
    if type_ == "string":
        raw = str(value).encode(encoding)[:length].ljust(length + length % 2, b"\0")
        if order == "BA":
            raw = b"".join(bytes((low, high)) for high, low in zip(raw[::2], raw[1::2], strict=True))
    elif type_ in {"bcd16", "bcd32"}:
        digits = 4 if type_ == "bcd16" else 8
        raw = bytes.fromhex(f"{int(value):0{digits}d}"[-digits:])
    elif type_ in {"int8", "uint8", "bool"}:
        raw = struct.pack(">H", int(value) & 0xFF)
    else:
        form = _FORMATS[type_]
        raw = struct.pack(form, float(value) if form[1] in "efd" else int(value))
    if order and type_ != "string":
        raw = bytes(raw[ord(letter) - ord("A")] for letter in order)
    return list(struct.unpack(f">{len(raw) // 2}H", raw))


def ranges(defined: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The runs of defined places as (first, last)."""
    places = np.flatnonzero(defined).tolist()
    if not places:
        return []
    starts = [places[0], *(after for before, after in pairwise(places) if after != before + 1)]
    ends = [*(before for before, after in pairwise(places) if after != before + 1), places[-1]]
    return list(zip(starts, ends, strict=True))
