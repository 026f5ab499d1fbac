from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.runtime.status.gate import Gate, Guard, Limits
from tests.fakes.waiting import until

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Wire(asyncio.Transport):
    """A transport that remembers what happened to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = self.aborted = False

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True


class Handler(asyncio.Protocol):
    def __init__(self) -> None:
        self.received = b""
        self.calls: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.calls.append("made")

    def data_received(self, data: bytes) -> None:
        self.received += data

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("lost")


class Bench:
    def __init__(self, **limits: Any) -> None:
        self.handlers: list[Handler] = []
        self.gate = Gate(self.handler, Limits(**limits))

    def handler(self) -> Handler:
        self.handlers.append(Handler())
        return self.handlers[-1]

    def connect(self) -> tuple[Guard, Wire]:
        guard, wire = self.gate(), Wire()
        guard.connection_made(wire)
        return guard, wire


async def test_a_handler_exists_only_once_the_header_is_whole() -> None:
    bench = Bench()
    guard, _ = bench.connect()
    for position in range(len(REQUEST)):
        assert not bench.handlers
        guard.data_received(REQUEST[position : position + 1])
    assert bench.handlers[0].received == REQUEST
    guard.data_received(b"body")
    guard.pause_writing()
    guard.resume_writing()
    guard.connection_lost(None)
    assert bench.handlers[0].received == REQUEST + b"body"
    assert bench.handlers[0].calls == ["made", "pause", "resume", "lost"]
    assert len(bench.gate) == 0


async def test_a_header_in_time_or_none_at_all() -> None:
    bench = Bench(header_s=0.01)
    guard, wire = bench.connect()
    guard.data_received(REQUEST[:-1])
    await until(lambda: wire.aborted)
    assert len(bench.gate) == 0


async def test_an_answer_in_time_unless_it_has_no_end() -> None:
    bench = Bench(answer_s=0.01)
    slow, endless = bench.connect(), bench.connect()
    for guard, _ in (slow, endless):
        guard.data_received(REQUEST)
    bench.gate.keep_open(endless[1])
    await until(lambda: slow[1].aborted)
    assert not endless[1].aborted


@pytest.mark.parametrize("data", [b"x" * 17000, b"GET / HTTP/1.1\r\nA: " + b"x" * 17000 + b"\r\n\r\n"])
async def test_a_header_too_large(data: bytes) -> None:
    bench = Bench()
    guard, wire = bench.connect()
    guard.data_received(data)
    assert wire.written.startswith(b"HTTP/1.1 431 ")
    assert wire.closed
    assert not bench.handlers


async def test_a_body_too_large() -> None:
    bench = Bench()
    guard, wire = bench.connect()
    guard.data_received(REQUEST)
    guard.data_received(b"x" * 9000)
    assert wire.aborted


async def test_a_newcomer_takes_the_place_of_a_silent_client() -> None:
    bench = Bench(connections=2)
    (first, first_wire), (_, second_wire) = bench.connect(), bench.connect()
    first.data_received(REQUEST)
    third, third_wire = bench.connect()
    assert second_wire.aborted
    assert not first_wire.aborted
    assert not third_wire.written
    third.data_received(REQUEST)
    fourth, fourth_wire = bench.connect()
    assert fourth_wire.written.startswith(b"HTTP/1.1 503 ")
    fourth.data_received(REQUEST)
    assert len(bench.handlers) == len(bench.gate) == 2


async def test_close_cuts_everybody_off() -> None:
    bench = Bench()
    wires = [bench.connect()[1] for _ in range(5)]
    bench.gate.close()
    assert all(wire.aborted for wire in wires)
    assert len(bench.gate) == 0
