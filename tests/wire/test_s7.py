from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from snap7.datatypes import S7Area, S7WordLen
from snap7.server import Server
from snap7.type import SrvArea

from gateway.errors import WriteError
from gateway.field.contract import Source
from gateway.field.s7 import DRIVER
from gateway.field.s7.settings import S7Connection
from gateway.readings import Quality
from tests.fakes.opcua import free_port
from tests.fakes.port import RecordingPort, context_of, plan_of, settings_of
from tests.fakes.waiting import until


class BitServer(Server):
    """snap7's server takes a bit write for one of the whole byte; a PLC changes the bit alone."""

    _bit: int | None = None

    def _parse_address_specification(self, addr_spec: bytes) -> dict[str, Any]:
        parsed: dict[str, Any] = super()._parse_address_specification(addr_spec)
        address = int.from_bytes(addr_spec[-3:], "big")
        self._bit = address % 8 if parsed.get("word_len") == S7WordLen.BIT else None
        return parsed

    def _write_to_memory_area(self, area: S7Area, db_number: int, start: int, write_data: bytearray) -> bool:
        if self._bit is not None:
            byte = self.memory_areas[area, db_number][start]
            write_data = bytearray((byte & ~(1 << self._bit) | bool(write_data[0]) << self._bit,))
        return bool(super()._write_to_memory_area(area, db_number, start, write_data))


class Plc:
    """snap7's own server with a data block of 100 bytes, and markers."""

    def __init__(self) -> None:
        self.port = free_port()
        self.block = bytearray(100)
        self.markers = bytearray(16)
        self._server: Server | None = None

    def start(self) -> None:
        self._server = BitServer(log=False)
        self._server.register_area(SrvArea.DB, 1, self.block)
        self._server.register_area(SrvArea.MK, 0, self.markers)
        self._server.start(self.port)

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop()
            self._server = None


@pytest.fixture
def plc() -> Iterator[Plc]:
    plc = Plc()
    plc.start()
    yield plc
    plc.stop()


@asynccontextmanager
async def relayed(port: int, patience_s: float) -> AsyncIterator[tuple[int, list[None]]]:
    """A firewall before the PLC that ends connections on which nothing was said for a while."""
    connections: list[None] = []
    open_now = 0

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(TimeoutError, ConnectionError):
            while data := await asyncio.wait_for(reader.read(4096), patience_s):
                writer.write(data)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now
        open_now += 1
        connections.append(None)
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, back), pump(there, writer))
        for end in (back, writer):
            end.close()
            with suppress(ConnectionError):
                await end.wait_closed()
        open_now -= 1

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], connections
    finally:
        server.close()
        await until(lambda: open_now == 0)


@asynccontextmanager
async def running(port: int, tags: dict[str, Any], every: float = 0.05) -> AsyncIterator[tuple[Source, RecordingPort]]:
    connection = settings_of(
        S7Connection, driver="s7", host="127.0.0.1", port=port, timeout="1s", devices={"plc": {"tags": tags}}
    )
    plan = plan_of(connection, every)
    context, recording = context_of(plan)
    source = DRIVER.open(plan, context)
    task = asyncio.create_task(source.run())
    try:
        yield source, recording
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), task.exception()


TAGS = {
    "real": {"address": "DB1.DBD4", "type": "float32"},
    "word": {"address": "DB1.DBW2", "type": "int16", "scale": 0.1, "write": {}},
    "bit": {"address": "DB1.DBX0.3", "write": {}},
    "text": {"address": "DB1.DBB20", "type": "string", "length": 10, "write": {}},
    "marker": {"address": "MW2", "type": "uint16"},
}


async def test_numbers_bits_texts_and_markers_are_read(plc: Plc) -> None:
    plc.block[0] = 0b1000
    plc.block[2:8] = struct.pack(">hf", 215, 2.5)
    plc.block[20:26] = b"\x0a\x04weld"
    plc.markers[2:4] = b"\x80\x01"
    async with running(plc.port, TAGS) as (_, port):
        await port.wait(lambda: len(port.values("plc.real")) >= 2)
    assert set(port.values("plc.real")) == {2.5}
    assert set(port.values("plc.word")) == {21.5}
    assert set(port.values("plc.bit")) == {1.0}
    assert set(port.values("plc.text")) == {"weld"}
    assert set(port.values("plc.marker")) == {32769.0}
    assert port.links == [("plc", True, "")]


async def test_writes_change_their_own_bytes_and_bits_only(plc: Plc) -> None:
    plc.block[0] = 0b0101
    async with running(plc.port, TAGS) as (source, port):
        await port.wait(lambda: bool(port.values("plc.word")))
        index = {tag.name: number for number, tag in enumerate(port.table)}
        assert await source.write(index["word"], -7.3) == -7.3
        assert struct.unpack(">h", plc.block[2:4]) == (-73,)
        assert await source.write(index["bit"], 1.0) == 1.0
        assert plc.block[0] == 0b1101
        assert await source.write(index["text"], "arc") == "arc"
        assert plc.block[20:25] == b"\x0a\x03arc"
        for tag, value, status in (
            ("word", 4000.0, "out_of_range"),
            ("word", "x", "bad_type"),
            ("real", 1.0, "denied"),
        ):
            with pytest.raises(WriteError) as refused:
                await source.write(index[tag], value)
            assert refused.value.status == status


async def test_a_tag_beyond_the_block_costs_only_itself(plc: Plc) -> None:
    tags = {"good": {"address": "DB1.DBW96", "type": "int16"}, "far": {"address": "DB1.DBW100", "type": "int16"}}
    async with running(plc.port, {**tags, "nowhere": {"address": "DB9.DBW0", "type": "int16"}}) as (_, port):
        await port.wait(lambda: len(port.values("plc.good")) >= 3)
    assert port.qualities("plc.good") == {Quality.GOOD}
    assert port.qualities("plc.far") == {Quality.BAD_EXCEPTION}
    assert port.qualities("plc.nowhere") == {Quality.BAD_EXCEPTION}


async def test_a_plc_that_restarts_is_bad_at_once_and_comes_back(plc: Plc) -> None:
    async with running(plc.port, {"word": {"address": "DB1.DBW2", "type": "int16"}}) as (_, port):
        await port.wait(lambda: len(port.values("plc.word")) >= 2)
        await asyncio.to_thread(plc.stop)
        await port.wait(lambda: Quality.BAD_LINK in port.qualities("plc.word"))
        known = len(port.values("plc.word"))
        plc.start()
        await port.wait(lambda: len(port.values("plc.word")) > known)
    assert port.links == [("plc", True, ""), ("plc", False, "link"), ("plc", True, "")]


async def test_a_connection_that_ends_between_polls_is_read_without_a_gap(plc: Plc) -> None:
    plc.block[2:4] = b"\x00\x07"
    tags = {"word": {"address": "DB1.DBW2", "type": "int16"}}
    async with (
        relayed(plc.port, patience_s=0.03) as (port_number, connections),
        running(port_number, tags, 0.2) as (_, port),
    ):
        await port.wait(lambda: len(port.values("plc.word")) >= 5)
        assert port.qualities("plc.word") == {Quality.GOOD}
        assert port.links == [("plc", True, "")]
        assert len(connections) >= 5


async def test_a_plc_that_refuses_everything_is_still_watched(plc: Plc) -> None:
    async with running(plc.port, {"nowhere": {"address": "DB9.DBW0", "type": "int16"}}) as (_, port):
        await port.wait(lambda: Quality.BAD_EXCEPTION in port.qualities("plc.nowhere"))
        await asyncio.to_thread(plc.stop)
        await port.wait(lambda: Quality.BAD_LINK in port.qualities("plc.nowhere"))


async def test_a_reload_keeps_what_did_not_change(plc: Plc) -> None:
    plc.block[2:4] = b"\x00\x07"
    async with running(plc.port, {"word": {"address": "DB1.DBW2", "type": "int16"}}) as (source, port):
        await port.wait(lambda: len(port.values("plc.word")) >= 2)
        devices = {
            "plc": {"tags": {"word": {"address": "DB1.DBW2", "type": "int16"}}},
            "more": {"tags": {"byte": {"address": "DB1.DBB3", "type": "uint8"}}},
        }
        connection = settings_of(
            S7Connection, driver="s7", host="127.0.0.1", port=plc.port, timeout="1s", devices=devices
        )
        plan = plan_of(connection, 0.05)
        port.table = plan.table
        source.reconfigure(plan)
        await port.wait(lambda: 7.0 in port.values("more.byte"))
        known = len(port.values("plc.word"))
        await port.wait(lambda: len(port.values("plc.word")) > known)
    assert ("plc", False, "link") not in port.links


@pytest.mark.parametrize("answer", [b"", b"\x03\x00\x00\x07\x02\xf0\x80", b"GET / HTTP/1.1\r\n\r\n", bytes(64)])
async def test_whatever_answers_on_the_port_ends_in_a_lost_link(answer: bytes) -> None:
    async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(lie, "127.0.0.1", 0)
    port_number = server.sockets[0].getsockname()[1]
    try:
        async with running(port_number, {"word": {"address": "DB1.DBW2", "type": "int16"}}) as (_, port):
            await port.wait(lambda: len(port.rows) >= 3)
            assert port.qualities("plc.word") == {Quality.BAD_LINK}
    finally:
        server.close()
