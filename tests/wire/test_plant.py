from __future__ import annotations

import asyncio
import contextlib

import pytest
import serial
from pymodbus.client import AsyncModbusTcpClient

from gateway.tools.broker import EmbeddedBroker
from gateway.tools.plant import Plant
from gateway.tools.simulation.line import LineInstruments
from gateway.tools.simulation.modbus import ModbusRtuServer
from gateway.tools.simulation.registers import Image
from tests.fakes.waiting import until


def _exchange(path: str, request: bytes, size: int, baudrate: int = 19200) -> bytes:
    with serial.Serial(path, baudrate, timeout=5.0 if size else 0.3) as port:
        port.write(request)
        return port.read(size or 8)


async def test_the_press_answers_a_foreign_modbus_client() -> None:
    async with Plant() as plant:
        work = asyncio.create_task(plant.run())
        client = AsyncModbusTcpClient("127.0.0.1", port=plant.press.port)
        assert await client.connect()
        before = await client.read_holding_registers(100, count=8, device_id=1)
        assert not before.isError()
        await client.write_register(130, 4000, device_id=1)
        await until(lambda: plant.cell.setpoint == 4000.0)
        client.close()
        work.cancel()
        assert plant.cell.elapsed_s > 0.0


async def test_the_meter_answers_on_its_serial_port() -> None:
    async with Plant() as plant:
        answer = await asyncio.to_thread(_exchange, plant.meter.path, bytes.fromhex("010400000008f1cc"), 21)
        assert answer[:3] == bytes.fromhex("010410")


async def test_a_serial_line_hears_only_its_own_baud_rate() -> None:
    image = Image()
    image.put("input", 0, [1])
    async with ModbusRtuServer({1: image}, baudrate=9600) as server:
        request = bytes.fromhex("01040000000131ca")
        assert await asyncio.to_thread(_exchange, server.path, request, 0, 19200) == b""
        assert await asyncio.to_thread(_exchange, server.path, request, 7, 9600) == bytes.fromhex("010402000178f0")


async def test_the_scale_answers_its_command_only() -> None:
    async with Plant() as plant:
        assert await asyncio.to_thread(_exchange, plant.scale.path, b"X\r\n", 0, 9600) == b""
        line = await asyncio.to_thread(_exchange, plant.scale.path, b"W\r\n", 19, 9600)
        assert line.endswith(b"kg\r\n")


async def test_a_talker_that_nobody_hears_does_not_block() -> None:
    said = 0

    def line() -> bytes:
        nonlocal said
        said += 1
        return b"x" * 2000 + b"\n"

    async with LineInstruments({}, [(0.001, line)]):
        await until(lambda: said >= 100)


async def test_pulling_the_brokers_plug_cuts_and_refuses_and_heals() -> None:
    async with EmbeddedBroker() as broker:
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        await broker.pull()
        async with asyncio.timeout(10):
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", broker.port)
        await broker.plug_in()
        _, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        writer.close()
