"""Requests and answers without their frames (Modbus Application Protocol 1.1b3, section 6). Pure."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from gateway.errors import GatewayError

EXCEPTIONS: Final = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledge",
    6: "device busy",
    7: "negative acknowledge",
    8: "memory parity error",
    10: "gateway path unavailable",
    11: "gateway target does not answer",
}
BUSY: Final = frozenset({5, 6})
UNREACHABLE: Final = frozenset({10, 11})
_WRITE_ECHO: Final = frozenset({5, 6, 15, 16, 22})


class GarbledError(GatewayError):
    """An answer that is none: wrong function, length, unit, checksum."""


class DeviceError(GatewayError):
    """A Modbus exception answer."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exception {code} ({EXCEPTIONS.get(code, 'unknown')})")
        self.code = code


def read(function: int, start: int, count: int) -> bytes:
    """A read request (functions 1 to 4)."""
    return struct.pack(">BHH", function, start, count)


def write_register(number: int, value: int) -> bytes:
    """Function 6."""
    return struct.pack(">BHH", 6, number, value)


def write_registers(number: int, data: bytes) -> bytes:
    """Function 16; `data` is the registers as sent, high byte first."""
    return struct.pack(">BHHB", 16, number, len(data) // 2, len(data)) + data


def write_coil(number: int, on: bool) -> bytes:
    """Function 5."""
    return struct.pack(">BHH", 5, number, 0xFF00 if on else 0)


def write_coils(number: int, bits: Sequence[bool]) -> bytes:
    """Function 15."""
    packed = sum(bit << place for place, bit in enumerate(bits)).to_bytes(len(bits) + 7 >> 3, "little")
    return struct.pack(">BHHB", 15, number, len(bits), len(packed)) + packed


def mask_register(number: int, and_mask: int, or_mask: int) -> bytes:
    """Function 22: register = (register & and_mask) | (or_mask & ~and_mask)."""
    return struct.pack(">BHHH", 22, number, and_mask, or_mask)


def answer_size(request: bytes) -> int:
    """Bytes of a right answer's PDU."""
    function = request[0]
    if function in {1, 2}:
        return 2 + (int.from_bytes(request[3:5], "big") + 7 >> 3)
    if function in {3, 4}:
        return 2 + 2 * int.from_bytes(request[3:5], "big")
    return 7 if function == 22 else 5


def check_shape(request: bytes, answer: bytes) -> None:
    """GarbledError unless function and length are those of an answer, or of an exception, to the request."""
    function = request[0]
    if not answer or answer[0] & 0x7F != function:
        raise GarbledError(f"function {answer[0] if answer else 'none'} answered to function {function}")
    size = 2 if answer[0] & 0x80 else answer_size(request)
    if len(answer) != size:
        raise GarbledError(f"{len(answer)} bytes answered where {size} were due")


def payload(request: bytes, answer: bytes) -> bytes:
    """The data bytes of a read's answer, nothing for a write.

    DeviceError for an exception answer, GarbledError where function, byte count, length or echo is wrong.
    """
    check_shape(request, answer)
    if answer[0] & 0x80:
        raise DeviceError(answer[1])
    if request[0] in _WRITE_ECHO:
        # Functions 5, 6 and 22 repeat the request, 15 and 16 its address and count.
        if answer != request[: len(answer)]:
            raise GarbledError("the answer to a write names another place or value")
        return b""
    if answer[1] != len(answer) - 2:
        raise GarbledError(f"byte count {answer[1]} where {len(answer) - 2} is due")
    return answer[2:]
