"""Frames around Modbus PDUs: MBAP on TCP, unit and CRC on serial lines. Pure: bytes in, frames or verdicts out.

MBAP: transaction(2) protocol(2)=0 length(2) unit(1) PDU      (Modbus Messaging on TCP/IP 1.0b, section 3.1)
RTU:  unit(1) PDU CRC(2, low byte first)                       (Modbus over Serial Line 1.02, section 2.5.1)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from gateway.field.modbus.pdu import GarbledError

MBAP: Final = struct.Struct(">HHHB")
MOST_PDU: Final = 253
READS: Final = frozenset({1, 2, 3, 4})
_ECHOES: Final = frozenset({5, 6, 15, 16})
_REPEATS: Final = frozenset({5, 6, 22})  # the right answer is the request


def _table() -> tuple[int, ...]:
    rows = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
        rows.append(crc)
    return tuple(rows)


_CRC_TABLE: Final = _table()


def crc16(data: bytes) -> int:
    """The CRC of a serial frame, as a number; it is sent low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc


def rtu_frame(unit: int, pdu: bytes) -> bytes:
    """A serial frame."""
    body = bytes((unit,)) + pdu
    return body + crc16(body).to_bytes(2, "little")


def mbap_frame(transaction: int, unit: int, pdu: bytes) -> bytes:
    """A TCP frame."""
    return MBAP.pack(transaction, 0, len(pdu) + 1, unit) + pdu


class MbapFrame(NamedTuple):
    """One frame of a TCP stream."""

    transaction: int
    unit: int
    pdu: bytes


def mbap_frames(buffer: bytearray) -> Iterator[MbapFrame]:
    """Take the whole frames off the front of a stream.

    GarbledError where the stream can't be one of Modbus: it will never be in step again.
    """
    while len(buffer) >= MBAP.size:
        transaction, protocol, length, unit = MBAP.unpack_from(buffer)
        if protocol != 0 or not 2 <= length <= MOST_PDU + 1:
            raise GarbledError(f"no Modbus TCP header: protocol {protocol}, length {length}")
        if len(buffer) < 6 + length:
            return
        pdu = bytes(buffer[MBAP.size : 6 + length])
        del buffer[: 6 + length]
        yield MbapFrame(transaction, unit, pdu)


class RtuExpectation(NamedTuple):
    """What the answer to a serial request looks like."""

    unit: int
    function: int
    size: int  # bytes of the right answer's PDU
    request: bytes = b""  # the frame as sent: some adapters echo it
    echoed: bool = False  # this one does: where the right answer repeats the request, too, the first copy is none


def find_rtu(data: bytes | bytearray, expected: RtuExpectation) -> bytes | None:
    """The answer's PDU in what a line brought since the request, or None while more may come.

    An echo of the request, stray bytes and frames of other units before it are passed over. GarbledError where the
    asked unit answered something else, or the answer's CRC is wrong.
    """
    if len(data) < len(expected.request) and expected.request.startswith(data):
        return None
    broken = False
    for start in range(echo_size(data, expected), len(data) - 4):
        if data[start] != expected.unit:
            continue
        size = _frame_size(data, start, expected)
        if size is None:
            continue
        frame = bytes(data[start : start + size])
        if len(frame) < size:
            return None
        if crc16(frame) == 0:
            if (frame[1], size) not in {(expected.function, expected.size + 3), (expected.function | 0x80, 5)}:
                raise GarbledError(
                    f"function {frame[1]} with {size - 3} bytes answered to function {expected.function}"
                )
            return frame[1:-2]
        broken = True
    if broken:
        raise GarbledError("wrong CRC")
    return None


def echo_size(data: bytes | bytearray, expected: RtuExpectation) -> int:
    """The bytes at the front that are the request itself."""
    repeats = expected.function in _REPEATS and not expected.echoed
    return 0 if repeats or not data.startswith(expected.request) else len(expected.request)


def _frame_size(data: bytes | bytearray, start: int, expected: RtuExpectation) -> int | None:
    """The size of the frame that may begin at `start`; None where none of our interest does."""
    function = data[start + 1]
    if function == expected.function | 0x80:
        return 5
    if function in READS:
        count = data[start + 2]
        # Another length than the expected one counts only as a whole frame: its first bytes may be noise.
        if function == expected.function and count == expected.size - 2:
            return expected.size + 3
        return _whole(data, start, count + 5)
    if function == expected.function:
        return expected.size + 3
    return _whole(data, start, 8) if function in _ECHOES else None


def _whole(data: bytes | bytearray, start: int, size: int) -> int | None:
    frame = data[start : start + size]
    return size if len(frame) == size and crc16(bytes(frame)) == 0 else None
