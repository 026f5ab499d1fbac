"""Against servers that are not ours: pymodbus' own, over TCP, RTU over TCP and a serial line."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import tty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from pymodbus import FramerType
from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusSerialServer, ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from gateway.errors import WriteError
from gateway.field.contract import Driver
from gateway.field.modbus import MODBUS_RTU, MODBUS_RTU_TCP, MODBUS_TCP
from gateway.field.modbus.source import ModbusSource
from gateway.readings import Quality
from tests.fakes.port import RecordingPort, context_of, plan_of

TAGS: dict[str, Any] = {
    "temperature": {"address": 40101, "type": "float32", "order": "CDAB", "range": {"min": -40, "max": 400}},
    "speed": {"address": "holding:120", "type": "uint16", "scale": 0.1},
    "setpoint": {"address": "holding:130", "type": "int16", "write": {"min": 0, "max": 1500}},
    "recipe": {"address": "holding:131", "type": "float64", "write": {}},
    "fault": {"address": "holding:140.3", "type": "bool", "write": {}},
    "other_bit": {"address": "holding:140.4", "type": "bool"},
    "high": {"address": "holding:141.high", "type": "uint8", "write": {}},
    "batch_id": {"address": "holding:150", "type": "string", "length": 16, "write": {}},
    "zones": {"address": "holding:200", "type": "int16", "count": 4, "scale": 0.1},
    "missing": {"address": "holding:5000", "type": "int16"},
}


def registers() -> list[int]:
    """Registers 0 to 299."""
    cells = [0] * 300
    high, low = struct.unpack(">HH", struct.pack(">f", 21.5))
    cells[100:102] = [low, high]
    cells[120] = 1234
    cells[140] = 0b11000
    cells[141] = 0x1234
    cells[150:158] = struct.unpack(">8H", b"LOT-4711".ljust(16, b"\0"))
    cells[200:204] = [215, 216, 0xFFFF, 0]
    return cells


def device(unit: int = 1) -> SimDevice:
    """A simulated PLC."""
    return SimDevice(unit, [SimData(0, values=registers(), datatype=DataType.REGISTERS)])


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@asynccontextmanager
async def served(kind: str) -> AsyncIterator[dict[str, Any]]:
    """The connection keys of a running server."""
    if kind == "serial":
        async with crossed() as (ours, theirs):
            server = ModbusSerialServer(context=device(), port=theirs, framer=FramerType.RTU, baudrate=115_200)
            await server.serve_forever(background=True)
            try:
                yield {"driver": "modbus-rtu", "port": ours, "baudrate": 115_200, "parity": "none"}
            finally:
                await server.shutdown()  # type: ignore[no-untyped-call]
        return
    port = free_port()
    framer = FramerType.RTU if kind == "rtu-tcp" else FramerType.SOCKET
    network = ModbusTcpServer(context=device(), address=("127.0.0.1", port), framer=framer)
    await network.serve_forever(background=True)
    try:
        driver = "modbus-rtu-tcp" if kind == "rtu-tcp" else "modbus-tcp"
        yield {"driver": driver, "host": "127.0.0.1", "port": port}
    finally:
        await network.shutdown()  # type: ignore[no-untyped-call]


@asynccontextmanager
async def crossed() -> AsyncIterator[tuple[str, str]]:
    """Two serial ports with a null-modem cable between them."""
    loop = asyncio.get_running_loop()
    pairs = [os.openpty(), os.openpty()]
    for fds in pairs:
        for fd in fds:
            tty.setraw(fd)
    (left, left_slave), (right, right_slave) = pairs
    loop.add_reader(left, lambda: os.write(right, os.read(left, 4096)))
    loop.add_reader(right, lambda: os.write(left, os.read(right, 4096)))
    try:
        yield os.ttyname(left_slave), os.ttyname(right_slave)
    finally:
        for fd in (left, right):
            loop.remove_reader(fd)
        for fds in pairs:
            for fd in fds:
                os.close(fd)


DRIVERS: dict[str, Driver] = {each.name: each for each in (MODBUS_TCP, MODBUS_RTU, MODBUS_RTU_TCP)}
KINDS = ["tcp", "pipelined", "serial", "rtu-tcp"]


@asynccontextmanager
async def polled(kind: str) -> AsyncIterator[tuple[ModbusSource, RecordingPort]]:
    """A source that polls the server."""
    async with served(kind) as keys:
        # pymodbus' server answers one of several requests at once: the source must find out.
        depth = {"max_in_flight": 4} if kind == "pipelined" else {}
        keys["timeout"] = "300ms"
        keys["devices"] = {"press": {"unit": 1, "tags": TAGS, **depth}}
        plan = plan_of(DRIVERS[keys["driver"]].connection.model_validate(keys), 0.1)
        context, port = context_of(plan)
        source = ModbusSource(plan, context)
        task = asyncio.create_task(source.run())
        try:
            await port.wait(
                lambda: port.values("press.speed") != [] or Quality.BAD_LINK in port.qualities("press.speed")
            )
            yield source, port
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@pytest.mark.parametrize("kind", KINDS)
async def test_a_foreign_server_is_read(kind: str) -> None:
    async with polled(kind) as (_, port):
        await port.wait(lambda: len(port.of("press.missing")) >= 3)
    expected: dict[str, float | str] = {
        "temperature": 21.5,
        "speed": 123.4,
        "setpoint": 0,
        "recipe": 0.0,
        "fault": 1,
        "other_bit": 1,
        "high": 0x12,
        "batch_id": "LOT-4711",
        "zones.0": 21.5,
        "zones.1": 21.6,
        "zones.2": -0.1,
        "zones.3": 0,
    }
    for name, value in expected.items():
        assert set(port.values(f"press.{name}")) == {value}
        assert port.qualities(f"press.{name}") == {Quality.GOOD}
    assert port.qualities("press.missing") == {Quality.BAD_EXCEPTION}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_foreign_server_is_written(kind: str) -> None:
    async with polled(kind) as (source, port):
        index = port.table.index
        assert await source.write(index("press.setpoint"), 900) == 900
        assert await source.write(index("press.recipe"), -1.25) == -1.25
        assert await source.write(index("press.batch_id"), "NEW") == "NEW"
        assert await source.write(index("press.fault"), 0) == 0
        assert await source.write(index("press.high"), 0xAB) == 0xAB
        await port.wait(lambda: "NEW" in port.values("press.batch_id"))
        await port.wait(lambda: 0 in port.values("press.fault"))
        assert set(port.values("press.other_bit")) == {1}  # its neighbour was left alone
        with pytest.raises(WriteError) as caught:
            await source.write(index("press.setpoint"), 40_000)
        assert caught.value.status == "out_of_range"
        with pytest.raises(WriteError) as caught:
            await source.write(index("press.speed"), 1)
        assert caught.value.status == "denied"


async def test_a_bit_is_written_without_function_22_too() -> None:
    async def refuse(function: int, *_rest: Any) -> ExcCodes | None:
        return ExcCodes.ILLEGAL_FUNCTION if function == 22 else None

    port_number = free_port()
    plc = SimDevice(1, [SimData(0, values=registers(), datatype=DataType.REGISTERS)], action=refuse)
    server = ModbusTcpServer(context=plc, address=("127.0.0.1", port_number))
    await server.serve_forever(background=True)
    keys = {"driver": "modbus-tcp", "host": "127.0.0.1", "port": port_number, "devices": {"press": {"tags": TAGS}}}
    plan = plan_of(MODBUS_TCP.connection.model_validate(keys), 0.1)
    context, port = context_of(plan)
    source = ModbusSource(plan, context)
    task = asyncio.create_task(source.run())
    try:
        await port.wait(lambda: port.values("press.speed") != [])
        assert await source.write(port.table.index("press.fault"), 0) == 0
        await port.wait(lambda: 0 in port.values("press.fault"))
        assert set(port.values("press.other_bit")) == {1}
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await server.shutdown()  # type: ignore[no-untyped-call]


async def test_a_missing_port_is_named() -> None:
    keys = {"driver": "modbus-rtu", "port": "/dev/does-not-exist", "devices": {"m": {"unit": 1, "tags": TAGS}}}
    plan = plan_of(MODBUS_RTU.connection.model_validate(keys), 0.05)
    context, port = context_of(plan)
    source = ModbusSource(plan, context)
    task = asyncio.create_task(source.run())
    try:
        await port.wait(lambda: len(port.of("m.speed")) >= 3)
        assert port.qualities("m.speed") == {Quality.BAD_LINK}
        with pytest.raises(WriteError, match="/dev/does-not-exist"):
            await source.write(port.table.index("m.setpoint"), 1)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
