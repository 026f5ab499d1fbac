"""The bytes of a line connection: a serial port on the event loop, or a TCP stream, behind one shape.

open_wire(settings, receiver) -> Wire; receiver(data, loop time) per chunk; Wire.lost says why once the link is gone.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from gateway.errors import LinkError
from gateway.field.line.settings import LineConnection
from gateway.field.serialport import open_port, why
from gateway.field.sockets import describe

if TYPE_CHECKING:
    from serial import Serial

Receiver = Callable[[bytes, float], None]
CHUNK: Final = 4096


class Wire(Protocol):
    """An open line. `lost` is empty while it stands; `on_lost` is called once when it is gone."""

    lost: str

    def send(self, data: bytes) -> None:
        """Send a short request; LinkError where the link is gone or takes nothing. May drop bytes not yet read."""

    def close(self) -> None:
        """Give the line back; nothing is received any more."""


class SerialWire:
    """A serial port. Reads happen when the kernel has bytes; a vanished port shows as EIO or end of file."""

    def __init__(self, port: Serial, name: str, receiver: Receiver, on_lost: Callable[[], None]) -> None:
        self.lost = ""
        self._port, self._name = port, name
        self._receiver, self._on_lost = receiver, on_lost
        self._loop = asyncio.get_running_loop()
        self._fd = port.fileno()
        self._loop.add_reader(self._fd, self._readable)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, CHUNK)
        except BlockingIOError:
            return
        except OSError as error:
            self._gone(why(self._name, error.errno, str(error)))
            return
        if data:
            self._receiver(data, self._loop.time())
        else:
            self._gone(f"{self._name}: the port vanished")

    def _gone(self, reason: str) -> None:
        self._loop.remove_reader(self._fd)
        self.lost = reason
        self._on_lost()

    def send(self, data: bytes) -> None:
        """Drop what came unasked and hand the request to the kernel's buffer, which is larger than any poll text."""
        try:
            self._port.reset_input_buffer()
            sent = os.write(self._fd, data)
        except OSError as error:
            raise LinkError(why(self._name, error.errno, str(error))) from error
        if sent < len(data):
            raise LinkError(f"{self._name}: takes no more bytes (flow control?)")

    def close(self) -> None:
        """Close the port."""
        self._loop.remove_reader(self._fd)
        self._port.close()


class TcpWire(asyncio.Protocol):
    """A TCP stream."""

    def __init__(self, name: str, receiver: Receiver, on_lost: Callable[[], None]) -> None:
        self.lost = ""
        self._name = name
        self._receiver, self._on_lost = receiver, on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the stream is open; a silent peer is probed so that a half-open connection ends."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # create_connection gives no other
        self._transport = transport
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, seconds in ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3)):
            sock.setsockopt(socket.IPPROTO_TCP, option, seconds)

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes came."""
        self._receiver(data, self._loop.time())

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the stream is gone."""
        self._transport = None
        self.lost = f"{self._name}: {exc or 'closed by the other side'}"
        self._on_lost()

    def send(self, data: bytes) -> None:
        """Write to the stream."""
        if self._transport is None:
            raise LinkError(self.lost)
        if self._transport.get_write_buffer_size() > CHUNK:
            raise LinkError(f"{self._name}: takes no more bytes")
        self._transport.write(data)

    def close(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()


async def open_wire(settings: LineConnection, receiver: Receiver, on_lost: Callable[[], None]) -> Wire:
    """The open line; LinkError says why there is none."""
    if settings.port is not None:
        return SerialWire(await open_port(settings.serial), settings.port, receiver, on_lost)
    host, _, port = str(settings.tcp).rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        async with asyncio.timeout(settings.timeout):
            _, wire = await asyncio.get_running_loop().create_connection(
                lambda: TcpWire(settings.place, receiver, on_lost), host, int(port)
            )
    except TimeoutError as error:
        raise LinkError(f"{settings.place}: no answer within {settings.timeout:g} s") from error
    except (OSError, UnicodeError) as error:
        raise LinkError(f"{settings.place}: {describe(error)}") from error
    return wire
