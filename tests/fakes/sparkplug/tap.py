"""A TCP proxy between a gateway and a broker that understands MQTT and writes down every packet, in order.

    recorder = Recorder()
    async with Tap(recorder, broker.port) as tap:   # tap.url is the gateway's broker
        await tap.refuse()                          # resets the connection, until tap.listen()
    recorder.packets

What the gateway sends is noted before the broker gets it, what the broker sends before the gateway gets it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Final

from tests.fakes.broker import (
    CONNACK,
    CONNECT,
    DISCONNECT,
    PUBACK,
    PUBLISH,
    SUBACK,
    SUBSCRIBE,
    packet,
    parse_publish,
    read_packet,
)

_KINDS: Final = {
    CONNECT: "CONNECT", CONNACK: "CONNACK", PUBLISH: "PUBLISH", PUBACK: "PUBACK", SUBSCRIBE: "SUBSCRIBE",
    SUBACK: "SUBACK", DISCONNECT: "DISCONNECT",
}  # fmt: skip
SESSION_EXPIRY: Final = 0x11
CONNECT_PROPERTIES: Final = {SESSION_EXPIRY: 4, 0x21: 2, 0x27: 4}  # octets; Receive Maximum, Maximum Packet Size


@dataclass(frozen=True)
class Will:
    """The will of a CONNECT."""

    topic: str
    payload: bytes
    qos: int
    retain: bool


@dataclass(frozen=True)
class Packet:
    """One MQTT packet. CLOSED stands for the end of the TCP connection. Only the fields of its kind are set."""

    kind: str
    sent: bool  # by the gateway
    connection: int  # over all taps of a recorder, in order of opening
    server: int  # which tap
    at_ms: int  # UTC
    level: int = 0  # CONNECT: 4 is MQTT 3.1.1
    clean: bool = False
    expiry: int = 0  # session expiry, 0 where it isn't sent
    client_id: str = ""
    will: Will | None = None
    topic: str = ""
    payload: bytes = b""
    qos: int = 0
    retain: bool = False
    mid: int = 0
    filters: tuple[tuple[str, int], ...] = ()  # SUBSCRIBE: (filter, QoS)
    codes: tuple[int, ...] = ()  # CONNACK, PUBACK, SUBACK, DISCONNECT


@dataclass
class Recorder:
    """The packets of all its taps."""

    packets: list[Packet] = field(default_factory=list)
    connections: int = 0

    def note(self, packet: Packet) -> None:
        """Add a packet."""
        self.packets.append(packet)


@dataclass
class Tap:
    """See the module."""

    recorder: Recorder
    target: int
    server: int = 0
    port: int = 0
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def __aenter__(self) -> Tap:
        await self.listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.refuse()

    async def listen(self) -> None:
        """Take connections, always on the same port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def refuse(self) -> None:
        """Reset every connection and let TCP refuse new ones."""
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        number, self.recorder.connections = self.recorder.connections, self.recorder.connections + 1
        self._writers |= {writer, far_writer}
        connection = _Connection(number, self.server, self.recorder.note)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, far_writer, connection, sent=True))
                group.create_task(self._pump(far_reader, writer, connection, sent=False))
        finally:
            connection.closed()
            for end in (writer, far_writer):
                end.transport.abort()
                self._writers.discard(end)
                with contextlib.suppress(ConnectionError):
                    await end.wait_closed()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: _Connection, *, sent: bool
    ) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                kind, flags, body, size = await read_packet(reader)
                connection.saw(kind, flags, body, size, sent=sent)
                writer.write(packet(kind, body, flags))
                await writer.drain()
        writer.close()  # what was forwarded still arrives


@dataclass
class _Connection:
    """Packets as they pass, into the recorder."""

    number: int
    server: int
    note: Callable[[Packet], None]
    level: int = 5

    def closed(self) -> None:
        self.note(self._packet("CLOSED", sent=False))

    def saw(self, kind: int, flags: int, body: bytes, size: int, *, sent: bool) -> None:
        if kind in _KINDS:
            self.note(replace(self._packet(_KINDS[kind], sent=sent), **self._fields(kind, flags, body, size)))

    def _packet(self, kind: str, *, sent: bool) -> Packet:
        return Packet(kind, sent, self.number, self.server, time.time_ns() // 1_000_000)

    def _fields(self, kind: int, flags: int, body: bytes, size: int) -> dict[str, Any]:
        if kind == CONNECT:
            found = _connect(_Reader(body))
            self.level = found["level"]
            return found
        if kind == PUBLISH:
            seen = parse_publish(self.number, flags, body, self.level, size)
            return {name: getattr(seen, name) for name in ("topic", "payload", "qos", "retain", "mid")}
        if kind == CONNACK:
            return {"codes": (body[1],)}
        if kind == DISCONNECT:
            return {"codes": (body[0] if body else 0,)}
        reader = _Reader(body)
        mid = reader.number(2)
        if kind == PUBACK:
            return {"mid": mid, "codes": (body[2] if len(body) > 2 else 0,)}
        if self.level == 5:
            reader.properties()
        if kind == SUBACK:
            return {"mid": mid, "codes": tuple(reader.rest())}
        filters = []
        while reader.rest():
            filters.append((reader.binary().decode(), reader.number(1) & 3))
        return {"mid": mid, "filters": tuple(filters)}


@dataclass
class _Reader:
    """The fields of a packet's body, one after the other."""

    body: bytes
    at: int = 0

    def take(self, count: int) -> bytes:
        self.at += count
        assert self.at <= len(self.body), "the packet is too short"
        return self.body[self.at - count : self.at]

    def rest(self) -> bytes:
        return self.body[self.at :]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def binary(self) -> bytes:
        return self.take(self.number(2))

    def properties(self) -> bytes:
        length = shift = 0
        while True:
            digit = self.number(1)
            length |= (digit & 0x7F) << shift
            shift += 7
            if not digit & 0x80:
                return self.take(length)


def _connect(reader: _Reader) -> dict[str, Any]:
    assert reader.binary() == b"MQTT"
    level, flags, _keepalive = reader.number(1), reader.number(1), reader.number(2)
    expiry = 0
    if level == 5:
        properties = _Reader(reader.properties())
        while properties.rest():
            identifier = properties.number(1)
            assert identifier in CONNECT_PROPERTIES, f"the gateway sends no CONNECT property {identifier:#x}"
            value = properties.number(CONNECT_PROPERTIES[identifier])
            if identifier == SESSION_EXPIRY:
                expiry = value
    client_id, will = reader.binary().decode(), None
    if flags & 0x04:
        if level == 5:
            reader.properties()
        will = Will(reader.binary().decode(), reader.binary(), flags >> 3 & 3, bool(flags & 0x20))
    return {"level": level, "clean": bool(flags & 2), "expiry": expiry, "client_id": client_id, "will": will}
