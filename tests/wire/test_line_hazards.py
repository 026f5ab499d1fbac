"""What goes wrong on instrument lines: noise, floods, echoes, late answers, pulled plugs."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.field.contract import Source
from gateway.field.line import LINE
from gateway.field.line.decode import sealed
from gateway.field.line.framer import Framer
from gateway.field.line.settings import LineConnection
from gateway.field.line.source import LineSource
from gateway.readings import Quality
from tests.fakes.line import PtyInstrument, TcpInstrument
from tests.fakes.port import RecordingPort, context_of, plan_of, settings_of
from tests.fakes.waiting import until

WEIGHT = {"pattern": r"(?P<weight>[+-]\d+\.\d+)kg", "tags": {"weight": {"field": "weight"}}}


@asynccontextmanager
async def running(
    every: float = 0.05, devices: dict[str, Any] | None = None, **keys: Any
) -> AsyncIterator[tuple[Source, RecordingPort]]:
    devices = devices or {"scale": WEIGHT}
    connection = settings_of(LineConnection, driver="line", devices=devices, **{"timeout": "300ms", **keys})
    plan = plan_of(connection, every)
    context, port = context_of(plan)
    source = LINE.open(plan, context)
    task = asyncio.create_task(source.run())
    try:
        yield source, port
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), task.exception()


@pytest.fixture(params=["serial", "tcp"])
async def scale(request: pytest.FixtureRequest) -> AsyncIterator[PtyInstrument | TcpInstrument]:
    """The same instrument behind either link."""
    if request.param == "serial":
        pty = PtyInstrument()
        yield pty
        pty.close()
        return
    tcp = TcpInstrument()
    await tcp.start()
    yield tcp
    await tcp.stop()


def place(scale: PtyInstrument | TcpInstrument) -> dict[str, Any]:
    return {"port": scale.port} if isinstance(scale, PtyInstrument) else {"tcp": scale.endpoint}


def framer_of(source: Source) -> Framer:
    """Where the bytes of a line wait for its end."""
    assert isinstance(source, LineSource)
    return source._framer


async def heard(port: RecordingPort, scale: PtyInstrument | TcpInstrument, line: bytes, value: float) -> None:
    """Say a line until it is heard: the link may still be opening."""

    def told() -> bool:
        if value in port.values("scale.weight"):
            return True
        scale.say(line)
        return False

    await port.wait(told)


async def test_lines_cut_anywhere_are_put_together(scale: PtyInstrument | TcpInstrument) -> None:
    async with running(**place(scale)) as (source, port):
        await heard(port, scale, b"rest\r\n+0.01kg\r\n", 0.01)
        line = b"+2.50kg\r\n"
        for count, byte in enumerate(line, 1):
            await until(lambda count=count: len(framer_of(source)._buffer) == count - 1)  # type: ignore[misc]
            scale.say(bytes((byte,)))
        await port.wait(lambda: port.values("scale.weight")[-1] == 2.5)


async def test_a_line_that_means_nothing_is_bad_decode(scale: PtyInstrument | TcpInstrument) -> None:
    async with running(**place(scale)) as (_, port):
        await heard(port, scale, b"\r\n+0.01kg\r\n", 0.01)
        for words in (b"-----\r\n", b"OL\r\n", bytes(range(14, 256)) + b"\r\n"):
            port.rows.clear()
            scale.say(words)
            await port.wait(lambda: Quality.BAD_DECODE in port.qualities("scale.weight"))


async def test_a_flood_without_end_neither_grows_memory_nor_stops_the_next_line() -> None:
    scale = TcpInstrument()
    await scale.start()
    try:
        async with running(tcp=scale.endpoint) as (_, port):
            await heard(port, scale, b"\r\n+0.01kg\r\n", 0.01)
            tracemalloc.start()
            for _ in range(200):
                scale.say(b"x" * 50_000)
                await scale.drain()
            scale.say(b"\r\n+7.25kg\r\n")
            await port.wait(lambda: 7.25 in port.values("scale.weight"))
            held, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
    finally:
        await scale.stop()
    assert held < 4_000_000, "10 MB came without a terminator"


async def test_a_fast_talker_gives_its_newest_line_per_tick_and_the_rest_is_counted() -> None:
    scale = TcpInstrument()
    await scale.start()
    try:
        async with running(every=0.5, tcp=scale.endpoint) as (_, port):
            await heard(port, scale, b"\r\n+0.01kg\r\n", 0.01)
            scale.say(b"".join(b"+%d.00kg\r\n" % number for number in range(1, 5001)))
            await port.wait(lambda: 5000.0 in port.values("scale.weight"))
    finally:
        await scale.stop()
    assert len(port.values("scale.weight")) < 200


async def test_a_wrong_checksum_is_bad_decode_and_a_right_one_is_read(scale: PtyInstrument | TcpInstrument) -> None:
    for kind in ("xor", "sum8", "crc16-modbus"):
        device = {**WEIGHT, "checksum": kind}
        right = sealed(kind, b"+4.00kg") + b"\r\n"
        async with running(devices={"scale": device}, **place(scale)) as (_, port):
            await heard(port, scale, b"\r\n" + right, 4.0)
            port.rows.clear()
            scale.say(right.replace(b"4", b"5", 1))
            await port.wait(lambda port=port: Quality.BAD_DECODE in port.qualities("scale.weight"))  # type: ignore[misc]
            assert port.values("scale.weight") in ([], [4.0])


async def test_nmea_sentences_are_checked_between_dollar_and_star() -> None:
    gps = TcpInstrument()
    await gps.start()
    device = {
        "pattern": r"\$GPGLL,(?P<lat>[\d.]+),N,.*",
        "checksum": "nmea",
        "tags": {"weight": {"field": "lat"}},
    }
    try:
        async with running(devices={"scale": device}, tcp=gps.endpoint) as (_, port):
            sentence = b"\r\n$GPGLL,5057.970146,N,00613.361434,E,225444.00,A,A*"
            await heard(port, gps, sentence + b"00\r\n" + sentence + b"61\r\n", 5057.970146)
    finally:
        await gps.stop()


async def test_an_echoed_request_is_not_the_answer(scale: PtyInstrument | TcpInstrument) -> None:
    scale.answer = lambda request: request + b"+3.00kg\r\n"
    async with running(poll="W\r\n", **place(scale)) as (_, port):
        await port.wait(lambda: len(port.values("scale.weight")) >= 3)
    assert port.qualities("scale.weight") == {Quality.GOOD}


async def test_silence_is_a_timeout_while_asked_and_stale_while_talking(scale: PtyInstrument | TcpInstrument) -> None:
    async with running(poll="W\r\n", **place(scale)) as (_, port):
        await port.wait(lambda: Quality.BAD_TIMEOUT in port.qualities("scale.weight"))
        assert ("scale", False, "timeout") in port.links
    async with running(**place(scale)) as (_, port):
        await heard(port, scale, b"\r\n+0.01kg\r\n", 0.01)
        await port.wait(lambda: Quality.BAD_STALE in port.qualities("scale.weight"))
        scale.say(b"+0.02kg\r\n")
        await port.wait(lambda: port.values("scale.weight")[-1] == 0.02)
        assert port.links[-2:] == [("scale", False, "stale"), ("scale", True, "")]
        assert Quality.BAD_LINK not in port.qualities("scale.weight")


async def test_a_late_answer_is_never_taken_for_the_next_ones(scale: PtyInstrument | TcpInstrument) -> None:
    count = 0

    def answer(request: bytes) -> bytes:
        nonlocal count
        count += 1
        line = b"+%d.00kg\r\n" % count
        if count == 2:
            asyncio.get_running_loop().call_later(0.45, scale.say, line)
            return b""
        return line

    scale.answer = answer
    async with running(poll="W\r\n", **place(scale)) as (_, port):
        await port.wait(lambda: len(port.values("scale.weight")) >= 4)
    assert port.values("scale.weight")[:3] == [1.0, 3.0, 4.0], "2.0 came late and belongs to nobody"


async def test_a_dead_instrument_costs_the_others_little() -> None:
    line = TcpInstrument(lambda request: b"+1.00kg\r\n" if request.startswith(b"A") else b"")
    await line.start()
    devices = {"alive": {**WEIGHT, "poll": "A\r\n"}, "dead": {**WEIGHT, "poll": "B\r\n"}}
    try:
        async with running(every=0.1, devices=devices, tcp=line.endpoint, timeout="50ms") as (_, port):
            await port.wait(lambda: len(port.of("dead.weight")) >= 30)
            asked = [request[:1] for request in line.requests]
    finally:
        await line.stop()
    assert port.qualities("dead.weight") == {Quality.BAD_TIMEOUT}
    assert asked.count(b"A") > 3 * asked.count(b"B")
    assert port.qualities("alive.weight") == {Quality.GOOD}


async def test_two_talkers_on_one_line_are_told_apart_by_their_patterns() -> None:
    line = TcpInstrument()
    await line.start()
    other = {"pattern": r"T=(?P<t>[\d.]+)", "tags": {"degrees": {"field": "t"}}}
    try:
        async with running(devices={"scale": WEIGHT, "oven": other}, tcp=line.endpoint) as (_, port):
            await heard(port, line, b"\r\n+1.00kg\r\nT=180.5\r\nnoise\r\n", 1.0)
            await port.wait(lambda: 180.5 in port.values("oven.degrees"))
    finally:
        await line.stop()
    assert Quality.BAD_DECODE not in port.qualities("scale.weight") | port.qualities("oven.degrees")


async def test_a_pulled_port_is_bad_at_once_and_is_opened_again(tmp_path: Path) -> None:
    scale = PtyInstrument(lambda _request: b"+1.00kg\r\n")
    link = tmp_path / "usb-scale"  # as udev's links by id
    link.symlink_to(scale.port)
    try:
        async with running(poll="W\r\n", port=str(link)) as (_, port):
            await port.wait(lambda: bool(port.values("scale.weight")))
            scale.close()
            link.unlink()
            await port.wait(lambda: Quality.BAD_LINK in port.qualities("scale.weight"))
            scale = PtyInstrument(lambda _request: b"+2.00kg\r\n")
            link.symlink_to(scale.port)
            await port.wait(lambda: 2.0 in port.values("scale.weight"))
    finally:
        scale.close()


async def test_a_converter_that_hangs_up_between_polls_is_read_without_a_gap() -> None:
    scale = TcpInstrument(lambda _request: b"+1.00kg\r\n")
    await scale.start()
    try:
        async with running(0.2, poll="W\r\n", tcp=scale.endpoint) as (_, port):
            for count in range(1, 5):
                await port.wait(lambda count=count: len(port.values("scale.weight")) >= count)  # type: ignore[misc]
                scale.hang_up()
                await until(lambda: not scale.connected)
        assert port.qualities("scale.weight") == {Quality.GOOD}
        assert port.links == [("scale", True, "")]
        async with running(0.2, poll="W\r\n", tcp=scale.endpoint) as (_, port):
            await port.wait(lambda: bool(port.values("scale.weight")))
            await scale.stop()
            await port.wait(lambda: Quality.BAD_LINK in port.qualities("scale.weight"))
            await scale.start()
            await port.wait(lambda: port.links[-1] == ("scale", True, ""))
    finally:
        await scale.stop()


async def test_a_stream_that_ends_is_opened_again() -> None:
    scale = TcpInstrument()
    await scale.start()
    try:
        async with running(tcp=scale.endpoint) as (_, port):
            await heard(port, scale, b"\r\n+1.00kg\r\n", 1.0)
            scale.hang_up()
            await port.wait(lambda: Quality.BAD_LINK in port.qualities("scale.weight"))
            await heard(port, scale, b"\r\n+2.00kg\r\n", 2.0)
    finally:
        await scale.stop()


async def test_a_reload_adds_an_instrument_without_touching_the_port() -> None:
    line = TcpInstrument()
    await line.start()
    try:
        async with running(tcp=line.endpoint) as (source, port):
            await heard(port, line, b"\r\n+1.00kg\r\n", 1.0)
            other = {"pattern": r"T=(?P<t>[\d.]+)", "tags": {"degrees": {"field": "t"}}}
            connection = settings_of(
                LineConnection, driver="line", tcp=line.endpoint, devices={"scale": WEIGHT, "oven": other}
            )
            plan = plan_of(connection, 0.05)
            port.table = plan.table
            source.reconfigure(plan)
            line.say(b"T=20.0\r\n+3.00kg\r\n")
            await port.wait(lambda: 20.0 in port.values("oven.degrees") and 3.0 in port.values("scale.weight"))
            assert len(line._writers) == 1
    finally:
        await line.stop()
    assert ("scale", False, "link") not in port.links
