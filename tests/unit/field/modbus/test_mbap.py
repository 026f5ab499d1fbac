"""The TCP wire without a socket: which bytes become which request's answer."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import LinkError
from gateway.field.modbus import pdu
from gateway.field.modbus.frames import mbap_frame
from gateway.field.modbus.mbap import MbapWire
from gateway.field.modbus.pdu import GarbledError
from gateway.field.modbus.wire import Answer, NoAnswerError, Request
from tests.fakes.virtual_time import later, run

READ = pdu.read(3, 100, 2)
ANSWER = b"\3\4\1\2\3\4"


class Sink:
    """A transport that keeps what is written, and a listener that keeps what is late."""

    tracing = False

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.late_answers: list[float] = []

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def abort(self) -> None:
        """Nothing to close."""

    def get_extra_info(self, _name: str) -> None:
        """No socket."""

    def frame(self, unit: int, what: str, data: bytes) -> None:
        """Nobody watches."""

    def late(self, _unit: int, seconds: float, _timeout_s: float) -> None:
        self.late_answers.append(seconds)


def wired() -> tuple[MbapWire, Any]:
    sink: Any = Sink()
    wire = MbapWire(sink)
    wire.connection_made(sink)
    return wire, sink


def ask(wire: MbapWire, unit: int = 1, timeout_s: float = 1.0) -> Awaitable[Answer]:
    return wire.start(Request(unit, READ, timeout_s))


def test_late_answers_are_told_apart_by_their_number_alone_or_with_the_right_one() -> None:
    async def main() -> None:
        for together in (False, True):
            wire, sink = wired()
            with pytest.raises(NoAnswerError):
                await ask(wire)
            second = ask(wire)
            await later(0.0)
            chunks = [mbap_frame(1, 1, b"\3\4\0\0\0\0"), mbap_frame(2, 1, ANSWER)]
            for chunk in [b"".join(chunks)] if together else chunks:
                wire.data_received(chunk)
            assert (await second).pdu == ANSWER
            assert len(sink.late_answers) == 1

    run(main())


@pytest.mark.parametrize("frame", [mbap_frame(0, 1, ANSWER), mbap_frame(3, 1, ANSWER), mbap_frame(1, 7, ANSWER)])
def test_answers_nobody_asked_for_are_garbled(frame: bytes) -> None:
    async def main() -> None:
        wire, _ = wired()
        answer = ask(wire)
        await later(0.0)
        wire.data_received(frame)
        with pytest.raises(GarbledError):
            await answer

    run(main())


def test_a_lost_connection_fails_all_that_waits_at_once() -> None:
    async def main() -> None:
        wire, _ = wired()
        answers = [ask(wire) for _ in range(3)]
        wire.connection_lost(None)
        for answer in [*answers, ask(wire)]:
            with pytest.raises(LinkError, match="closed by the other side"):
                await answer

    run(main())


def test_numbers_in_use_are_not_given_again_and_zero_never() -> None:
    async def main() -> None:
        wire, sink = wired()
        slow = ask(wire, timeout_s=1e6)
        wire._transaction = 0xFFFF
        ask(wire)
        await later(0.0)
        numbers = [int.from_bytes(sink.sent[0][at : at + 2], "big") for at in (0, 12)]
        assert numbers == [1, 2]
        wire.data_received(mbap_frame(1, 1, ANSWER))
        assert (await slow).pdu == ANSWER

    run(main())


@given(st.lists(st.binary(max_size=400), max_size=20))
def test_foreign_bytes_raise_nothing_and_never_pile_up(chunks: list[bytes]) -> None:
    async def main() -> None:
        wire, _ = wired()
        answer = ask(wire)
        await later(0.0)
        for chunk in chunks:
            wire.data_received(chunk)
            assert len(wire._buffer) <= 260
        wire.close()
        with pytest.raises((GarbledError, LinkError)):
            await answer

    run(main())
