"""Modbus servers for simulated units: TCP, RTU over TCP, RTU on a pseudo terminal. Framing only; answers are `Image`'s.

MBAP: transaction, protocol 0, length, unit, PDU (Modbus Messaging on TCP/IP 1.0b). RTU: unit, PDU, CRC (V1.02).
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from gateway.tools.simulation.ports import PtyPort
from gateway.tools.simulation.registers import GATEWAY_TARGET_FAILED, Image, refusal

Units = Mapping[int, Image]
_LONGEST: Final = 260


def crc16(data: bytes) -> int:
    """CRC-16/MODBUS; sent low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return crc


def sealed(frame: bytes) -> bytes:
    """A frame with its CRC."""
    return frame + struct.pack("<H", crc16(frame))


def answer_tcp(units: Units, buffer: bytearray) -> bytes:
    """Take whole MBAP requests from `buffer`; the responses, one after the other. ValueError where it is no Modbus.

    A unit that is not there is answered as a gateway does: exception 0x0B.
    """
    out = bytearray()
    while len(buffer) >= 8:
        transaction, protocol, length, unit = struct.unpack_from(">HHHB", buffer)
        if protocol != 0 or not 2 <= length <= _LONGEST - 6:
            raise ValueError("no Modbus/TCP")
        if len(buffer) < 6 + length:
            break
        request = bytes(buffer[7 : 6 + length])
        del buffer[: 6 + length]
        image = units.get(unit)
        response = image.answer(request) if image else refusal(request[0], GATEWAY_TARGET_FAILED)
        out += struct.pack(">HHHB", transaction, 0, len(response) + 1, unit) + response
    return bytes(out)


def answer_rtu(units: Units, buffer: bytearray) -> bytes:
    """Take whole RTU requests from `buffer`; the responses. What fits no frame is skipped, absent units are silent."""
    out = bytearray()
    while len(buffer) >= 4:
        length = _request_length(buffer)
        if length is not None and len(buffer) < length:
            break
        if length is None or crc16(bytes(buffer[: length - 2])) != struct.unpack_from("<H", buffer, length - 2)[0]:
            del buffer[0]
            continue
        unit, request = buffer[0], bytes(buffer[1 : length - 2])
        del buffer[:length]
        image = units.get(unit)
        if image is not None:
            out += sealed(bytes((unit,)) + image.answer(request))
    return bytes(out)


def _request_length(buffer: bytearray) -> int | None:
    if 1 <= buffer[1] <= 6:
        return 8
    if buffer[1] in {15, 16}:
        return 9 + buffer[6] if len(buffer) > 6 else 9
    return None


class _Conversation(asyncio.Protocol):
    """One client of a server."""

    def __init__(self, answer: Callable[[bytearray], bytes], clients: set[asyncio.Transport]) -> None:
        self._answer = answer
        self._clients = clients
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._transport = transport
            self._clients.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._transport is not None:
            self._clients.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        self._buffer += data
        try:
            self._transport.write(self._answer(self._buffer))
        except ValueError:
            self._transport.abort()


class ModbusTcpServer:
    """Units behind one TCP port; `rtu` frames them as a transparent serial converter does. Use with `async with`."""

    def __init__(self, units: Units, host: str = "127.0.0.1", port: int = 0, *, rtu: bool = False) -> None:
        self._answer = partial(answer_rtu if rtu else answer_tcp, units)
        self._place = host, port
        self._clients: set[asyncio.Transport] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> ModbusTcpServer:
        host, port = self._place
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Conversation(self._answer, self._clients), host, port)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
            for client in list(self._clients):
                client.abort()
            await self._server.wait_closed()

    @property
    def port(self) -> int:
        """The port in use. Rule: inside `async with`."""
        if self._server is None:
            raise RuntimeError("the server is not open")
        return int(self._server.sockets[0].getsockname()[1])


class ModbusRtuServer:
    """Units on a pseudo terminal; `path` is what a client opens. Use with `async with`.

    With `baudrate` it hears only what a client sends at that rate, as a real line would.
    """

    def __init__(self, units: Units, *, baudrate: int | None = None) -> None:
        self._units = units
        self._baudrate = baudrate
        self._port = PtyPort(self._heard)
        self._buffer = bytearray()

    @property
    def path(self) -> str:
        """The device file of the client's side."""
        return self._port.path

    async def __aenter__(self) -> ModbusRtuServer:
        self._port.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._port.close()

    def _heard(self, data: bytes) -> None:
        if self._baudrate is not None and self._port.baudrate != self._baudrate:
            self._buffer.clear()
            return
        self._buffer += data
        self._port.write(answer_rtu(self._units, self._buffer))
