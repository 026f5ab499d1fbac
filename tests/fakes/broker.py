"""A scripted MQTT broker on the loop, for what a real one can't be made to do.

async with ScriptedBroker() as broker:
    broker.puback = lambda publish: None          # swallow every acknowledgement
    broker.connack = [0x88, 0x00]                 # refuse the first connection, accept the next
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import socket
import ssl
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ, DISCONNECT = 1, 2, 3, 4, 8, 9, 12, 14


@dataclass(frozen=True)
class Connect:
    """A CONNECT as it came."""

    level: int
    clean: bool
    client_id: str
    keepalive: int
    will_topic: str = ""
    will_payload: bytes = b""
    username: str = ""
    password: bytes = b""
    properties: bytes = b""  # MQTT 5, without their length
    will_qos: int = 0
    will_retain: bool = False


@dataclass(frozen=True)
class Publish:
    """A PUBLISH as it came; `connection` counts connections from 0."""

    connection: int
    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    mid: int
    properties: bytes
    size: int  # of the whole packet


@dataclass
class ScriptedBroker:
    """What it does can be changed while it runs."""

    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    websocket: bool = False
    connack: list[int] = field(default_factory=list)  # one per connection, then what `judge` says
    judge: Callable[[Connect], int] = lambda _: 0
    connack_properties: bytes = b""  # MQTT 5, without their length
    with_connack: bytes = b""  # sent in the same write as the CONNACK
    puback: Callable[[Publish], int | None] = lambda _: 0  # a reason code; None swallows it
    latency_s: float = 0.0  # before each PUBACK
    suback: int = 1
    answer_pings: bool = True
    receive_buffer: int | None = None  # bytes the kernel takes ahead: small ones make the sender's writes partial
    deaf: bool = False  # accepts TCP, reads, never says a word
    connects: list[Connect] = field(default_factory=list)
    published: list[Publish] = field(default_factory=list)
    acknowledged: list[Publish] = field(default_factory=list)
    subscribed: list[str] = field(default_factory=list)
    disconnects: list[int] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)  # packet ids of our own messages that were acknowledged
    alpn: list[str | None] = field(default_factory=list)  # what each TLS connection agreed on
    most_open: int = 0  # most QoS 1 messages ever unacknowledged on one connection
    most_bytes: int = 0  # and their bytes
    reused: int = 0  # packet ids used again before their PUBACK
    connections: int = 0
    port: int = 0

    async def __aenter__(self) -> ScriptedBroker:
        self._writers: set[asyncio.StreamWriter] = set()
        self.reading = asyncio.Event()  # cleared: it takes no more bytes than its buffers hold
        self.reading.set()
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listener = socket.create_server((self.host, 0), family=family)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio would, knew it the protocol
        if self.receive_buffer is not None:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
        self._server = await asyncio.start_server(self._serve, sock=listener, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        """The broker's address as in the configuration."""
        plain, safe = ("ws", "wss") if self.websocket else ("mqtt", "mqtts")
        host = f"[{self.host}]" if ":" in self.host else "localhost"
        return f"{safe if self.tls else plain}://{host}:{self.port}"

    def cut(self) -> None:
        """Reset every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    def send(self, packet: bytes) -> None:
        """Send raw bytes to everybody connected."""
        for writer in list(self._writers):
            self._write(writer, packet)

    def _write(self, writer: asyncio.StreamWriter, packet: bytes) -> None:
        if not self.deaf:
            writer.write(frame(packet) if self.websocket else packet)

    def _settle(self, writer: asyncio.StreamWriter, waiting: dict[int, int], mid: int, acknowledgement: bytes) -> None:
        waiting.pop(mid, None)
        self._write(writer, acknowledgement)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, self.connections = self.connections, self.connections + 1
        self._writers.add(writer)
        if self.tls is not None:
            self.alpn.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        try:
            source = await _upgrade(reader, writer) if self.websocket else reader
            await self._talk(number, source, writer)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    async def _talk(self, number: int, reader: Bytes | asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        level, loop = 5, asyncio.get_running_loop()
        waiting: dict[int, int] = {}  # bytes by packet id
        while True:
            kind, flags, body, size = await read_packet(reader)
            await self.reading.wait()
            if kind == CONNECT:
                connect = parse_connect(body)
                self.connects.append(connect)
                level = connect.level
                code = self.connack.pop(0) if self.connack else self.judge(connect)
                properties = (_length(len(self.connack_properties)) + self.connack_properties) if level == 5 else b""
                self._write(
                    writer, packet(CONNACK, bytes((0, code)) + properties) + (self.with_connack if not code else b"")
                )
                if code:
                    await writer.drain()
                    return
            elif kind == PUBLISH:
                publish = parse_publish(number, flags, body, level, size)
                self.published.append(publish)
                if publish.qos:
                    self.reused += publish.mid in waiting
                    waiting[publish.mid] = publish.size
                    self.most_open = max(self.most_open, len(waiting))
                    self.most_bytes = max(self.most_bytes, sum(waiting.values()))
                    await asyncio.sleep(0)  # so that a sender that ignores the window shows itself
                    answer = self.puback(publish)
                    if answer is not None:
                        self.acknowledged.append(publish)
                        tail = bytes((answer,)) if answer and level == 5 else b""
                        acknowledgement = packet(PUBACK, struct.pack("!H", publish.mid) + tail)
                        if self.latency_s:
                            loop.call_later(self.latency_s, self._settle, writer, waiting, publish.mid, acknowledgement)
                        else:
                            self._settle(writer, waiting, publish.mid, acknowledgement)
            elif kind == SUBSCRIBE:
                mid, filters = parse_subscribe(body, level)
                self.subscribed += filters
                codes = bytes([self.suback] * len(filters))
                self._write(writer, packet(SUBACK, mid + (b"\x00" if level == 5 else b"") + codes))
            elif kind == PUBACK:
                self.answers.append(struct.unpack("!H", body[:2])[0])
            elif kind == PINGREQ and self.answer_pings:
                self._write(writer, b"\xd0\x00")
            elif kind == DISCONNECT:
                self.disconnects.append(body[0] if body else 0)
                return


class Bytes:
    """What packets are read from: a stream, or the frames of a web socket."""

    async def readexactly(self, count: int) -> bytes:
        raise NotImplementedError


def data(published: Iterable[Publish]) -> list[Publish]:
    """The data messages of the `json` format among them."""
    return [publish for publish in published if publish.topic.endswith("/data")]


def packet(kind: int, body: bytes, flags: int = 0) -> bytes:
    """A whole MQTT packet."""
    return bytes((kind << 4 | flags,)) + _length(len(body)) + body


def publish_packet(topic: str, payload: bytes, properties: bytes = b"", *, mid: int = 0) -> bytes:
    """A PUBLISH under MQTT 5, of QoS 1 where it has a packet id; `properties` without their length."""
    name, number = topic.encode(), struct.pack("!H", mid) if mid else b""
    body = struct.pack("!H", len(name)) + name + number + _length(len(properties)) + properties + payload
    return packet(PUBLISH, body, 2 if mid else 0)


def _length(number: int) -> bytes:
    encoded = bytearray()
    while True:
        number, digit = divmod(number, 128)
        encoded.append(digit | 0x80 if number else digit)
        if not number:
            return bytes(encoded)


async def read_packet(reader: Bytes | asyncio.StreamReader) -> tuple[int, int, bytes, int]:
    """Type, flags, body and whole size of the next packet."""
    first = (await reader.readexactly(1))[0]
    length, shift, header = 0, 0, 1
    while True:
        digit = (await reader.readexactly(1))[0]
        header += 1
        length |= (digit & 0x7F) << shift
        shift += 7
        if not digit & 0x80:
            break
    return first >> 4, first & 0x0F, await reader.readexactly(length), header + length


@dataclass
class _Cursor:
    body: bytes
    at: int = 0

    def take(self, count: int) -> bytes:
        self.at += count
        return self.body[self.at - count : self.at]

    def text(self) -> bytes:
        return self.take(struct.unpack("!H", self.take(2))[0])

    def properties(self) -> bytes:
        length, shift = 0, 0
        while True:
            digit = self.take(1)[0]
            length |= (digit & 0x7F) << shift
            shift += 7
            if not digit & 0x80:
                return self.take(length)


def parse_connect(body: bytes) -> Connect:
    """A CONNECT of MQTT 3.1.1 or 5."""
    cursor = _Cursor(body)
    assert cursor.text() == b"MQTT"
    level, flags = cursor.take(2)
    (keepalive,) = struct.unpack("!H", cursor.take(2))
    properties = cursor.properties() if level == 5 else b""
    client_id = cursor.text().decode()
    will_topic, will_payload = b"", b""
    if flags & 0x04:
        if level == 5:
            cursor.properties()
        will_topic, will_payload = cursor.text(), cursor.text()
    username = cursor.text().decode() if flags & 0x80 else ""
    password = cursor.text() if flags & 0x40 else b""
    return Connect(
        level,
        bool(flags & 2),
        client_id,
        keepalive,
        will_topic.decode(),
        will_payload,
        username,
        password,
        properties,
        flags >> 3 & 3,
        bool(flags & 0x20),
    )


def parse_publish(connection: int, flags: int, body: bytes, level: int, size: int) -> Publish:
    """A PUBLISH of either version."""
    cursor = _Cursor(body)
    topic = cursor.text().decode()
    qos = flags >> 1 & 3
    mid = struct.unpack("!H", cursor.take(2))[0] if qos else 0
    properties = cursor.properties() if level == 5 else b""
    payload = body[cursor.at :]
    return Publish(connection, topic, payload, qos, bool(flags & 1), bool(flags & 8), mid, properties, size)


def parse_subscribe(body: bytes, level: int) -> tuple[bytes, list[str]]:
    """Packet id and filters of a SUBSCRIBE."""
    cursor = _Cursor(body)
    mid = cursor.take(2)
    if level == 5:
        cursor.properties()
    filters = []
    while cursor.at < len(body):
        filters.append(cursor.text().decode())
        cursor.take(1)
    return mid, filters


def frame(payload: bytes) -> bytes:
    """A web socket's binary frame from a server."""
    if len(payload) < 126:
        return bytes((0x82, len(payload))) + payload
    return bytes((0x82, 126)) + struct.pack("!H", len(payload)) + payload


class _Frames(Bytes):
    """The bytes inside a client's frames."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._buffer = b""

    async def readexactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            _, length = await self._reader.readexactly(2)
            length &= 0x7F
            if length == 126:
                (length,) = struct.unpack("!H", await self._reader.readexactly(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", await self._reader.readexactly(8))
            mask = await self._reader.readexactly(4)
            data = await self._reader.readexactly(length)
            self._buffer += bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken


async def _upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Bytes:
    request = await reader.readuntil(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in request.decode().split("\r\n")[1:] if ": " in line)
    key = headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()  # noqa: S324  # RFC 6455 wants SHA-1
    writer.write(
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
        ).encode()
    )
    return _Frames(reader)
