"""Which bytes of a serial line are the answer to the request in flight. Pure.

    sent(frame) ... received(bytes) -> Found | None ... done()

Everything else that comes is told apart: late answers, frames of others, noise.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, NamedTuple

from gateway.field.modbus.frames import READS, RtuExpectation, echo_size, find_rtu, rtu_frame
from gateway.field.modbus.pdu import GarbledError, answer_size, read
from gateway.field.modbus.wire import Request

MOST_NOISE: Final = 1024  # bytes kept of a line that babbles


class Found(NamedTuple):
    """The awaited answer: its whole frame."""

    frame: bytes


class Late(NamedTuple):
    """An answer to the request before, or to one given up."""

    frame: bytes


class Shape(NamedTuple):
    """What tells answers on a serial line apart."""

    unit: int
    function: int
    size: int


def shape(request: Request) -> Shape:
    """The shape of the answer to a request."""
    return Shape(request.unit, request.pdu[0], answer_size(request.pdu))


def differing(request: Request, taken: Collection[Shape]) -> Request:
    """A read at the same place whose answer has none of these shapes, as short as may be."""
    function, start = request.pdu[0], int.from_bytes(request.pdu[1:3], "big")
    step = 8 if function <= 2 else 1  # bits come in whole bytes
    others = (request._replace(pdu=read(function, start, 1 + step * more)) for more in range(len(taken) + 1))
    return next(other for other in others if shape(other) not in taken)


class RtuFraming:
    """Serial: only unit, function, length and CRC tell whose answer it is, so a given-up one must be waited out."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._expected: RtuExpectation | None = None
        self._waiting = False
        self._echoes = False  # the adapter gives back what is sent

    def sent(self, unit: int, pdu: bytes, frame: bytes) -> None:
        """Note what the answer must look like; earlier bytes are noise."""
        self._buffer.clear()
        self._expected = RtuExpectation(unit, pdu[0], answer_size(pdu), frame, self._echoes)
        self._waiting = True

    def give_up(self) -> None:
        """What comes now is late or noise."""
        self._waiting = False

    def received(self, data: bytes) -> Found | Late | None:
        """The awaited answer, the given-up one, or nothing whole yet."""
        expected = self._expected
        if expected is None:
            return None
        self._buffer += data
        del self._buffer[:-MOST_NOISE]
        try:
            pdu = find_rtu(self._buffer, expected)
        except GarbledError:
            self._buffer.clear()
            if self._waiting:
                raise
            return None
        if pdu is None:
            return None
        if pdu[0] in READS:  # no other answer could be mistaken for its request
            self._echoes = echo_size(self._buffer, expected) > 0
        self._buffer.clear()
        frame = rtu_frame(expected.unit, pdu)
        if self._waiting:
            self._waiting = False
            return Found(frame)
        self._expected = None
        return Late(frame)
