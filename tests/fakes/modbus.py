"""A Modbus device that does what it is told, lies included, on TCP, RTU over TCP and a pseudo terminal.

request --script (one list of actions per request) or memory--> actions: Say, Raw, Hang up, or nothing at all
"""

from __future__ import annotations

import asyncio
import os
import struct
import tty
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from gateway.field.modbus.frames import crc16, mbap_frame, rtu_frame


@dataclass(frozen=True)
class Say:
    """A frame with this PDU, perhaps late, foreign, damaged or in pieces."""

    pdu: bytes
    delay: float = 0.0
    unit: int | None = None
    transaction: int | None = None
    before: bytes = b""  # noise on the line
    pieces: bool = False  # byte at a time
    broken: bool = False  # wrong CRC; on TCP a wrong protocol number


@dataclass(frozen=True)
class Raw:
    """Bytes as they are."""

    data: bytes
    delay: float = 0.0


@dataclass(frozen=True)
class HangUp:
    """The link goes away."""

    delay: float = 0.0


Action = Say | Raw | HangUp
Behaviour = Callable[[int, bytes], Sequence[Action] | None]
SILENCE: list[Action] = []


class Seen(NamedTuple):
    """A request as it arrived."""

    unit: int
    pdu: bytes
    at: float


@dataclass
class Memory:
    """Registers and bits; what is missing is refused with exception 2."""

    holding: dict[int, int] = field(default_factory=dict)
    input: dict[int, int] = field(default_factory=dict)
    coils: dict[int, int] = field(default_factory=dict)
    discrete: dict[int, int] = field(default_factory=dict)
    no_mask: bool = False

    def answer(self, pdu: bytes) -> bytes:
        """The right answer."""
        function, start = pdu[0], int.from_bytes(pdu[1:3], "big")
        tables = {1: self.coils, 2: self.discrete, 3: self.holding, 4: self.input}
        if function in tables:
            wanted = range(start, start + int.from_bytes(pdu[3:5], "big"))
            table = tables[function]
            if any(place not in table for place in wanted):
                return bytes((function | 0x80, 2))
            if function > 2:
                data = b"".join(table[place].to_bytes(2, "big") for place in wanted)
            else:
                bits = sum(table[place] << index for index, place in enumerate(wanted))
                data = bits.to_bytes(len(wanted) + 7 >> 3, "little")
            return bytes((function, len(data))) + data
        return self._write(function, start, pdu)

    def _write(self, function: int, start: int, pdu: bytes) -> bytes:
        if function == 5:
            self.coils[start] = int(pdu[3] == 0xFF)
        elif function == 6:
            self.holding[start] = int.from_bytes(pdu[3:5], "big")
        elif function == 15:
            bits = int.from_bytes(pdu[6:], "little")
            self.coils.update((start + index, bits >> index & 1) for index in range(int.from_bytes(pdu[3:5], "big")))
        elif function == 16:
            words = struct.unpack(f">{pdu[5] // 2}H", pdu[6:])
            self.holding.update((start + index, word) for index, word in enumerate(words))
        elif function == 22 and not self.no_mask:
            keep, new = struct.unpack(">HH", pdu[3:7])
            self.holding[start] = self.holding[start] & keep | new & ~keep & 0xFFFF
            return pdu
        else:
            return bytes((function | 0x80, 1))
        return pdu[:5]


@dataclass
class FakeDevice:
    """Units by number; `script` is used up first, then `behave`, then the memories answer."""

    units: dict[int, Memory] = field(default_factory=dict)
    script: deque[Sequence[Action]] = field(default_factory=deque)
    behave: Behaviour | None = None
    seen: list[Seen] = field(default_factory=list)

    def actions(self, unit: int, pdu: bytes) -> Sequence[Action]:
        """What happens upon a request."""
        self.seen.append(Seen(unit, pdu, asyncio.get_running_loop().time()))
        if self.script:
            return self.script.popleft()
        chosen = self.behave(unit, pdu) if self.behave is not None else None
        if chosen is not None:
            return chosen
        memory = self.units.get(unit)
        return SILENCE if memory is None else [Say(memory.answer(pdu))]


def request_size(data: bytes | bytearray) -> int:
    """The length of a serial request frame, 0 while it isn't known."""
    if len(data) < 7:
        return 0
    return 9 + data[6] if data[1] in {15, 16} else 10 if data[1] == 22 else 8


class FakeLink:
    """One link to a FakeDevice. Subclasses send and hang up."""

    rtu = True

    def __init__(self, device: FakeDevice) -> None:
        self.device = device
        self._handles: list[asyncio.TimerHandle] = []

    def frame(self, say: Say, unit: int, transaction: int) -> bytes:
        """What a Say puts on the link."""
        unit = unit if say.unit is None else say.unit
        if self.rtu:
            frame = rtu_frame(unit, say.pdu)
            return frame[:-1] + bytes((frame[-1] ^ 0x55,)) if say.broken else frame
        frame = mbap_frame(transaction if say.transaction is None else say.transaction, unit, say.pdu)
        return frame[:3] + b"\1" + frame[4:] if say.broken else frame

    def act(
        self, unit: int, pdu: bytes, transaction: int, send: Callable[[bytes], None], end: Callable[[], None]
    ) -> None:
        """Do what the device wants upon a request."""
        loop = asyncio.get_running_loop()
        for action in self.device.actions(unit, pdu):
            if isinstance(action, HangUp):
                self._handles.append(loop.call_later(action.delay, end))
            elif isinstance(action, Raw):
                self._handles.append(loop.call_later(action.delay, send, action.data))
            else:
                data = action.before + self.frame(action, unit, transaction)
                pieces = [data[at : at + 1] for at in range(len(data))] if action.pieces else [data]
                for index, piece in enumerate(pieces):
                    if action.delay or index:
                        self._handles.append(loop.call_later(action.delay + 0.001 * index, send, piece))
                    else:
                        send(piece)

    def stop(self) -> None:
        """Nothing more comes."""
        for handle in self._handles:
            handle.cancel()


class FakeServer(FakeLink):
    """On TCP: MBAP frames, or serial frames as a converter passes them."""

    def __init__(self, device: FakeDevice, *, rtu: bool) -> None:
        super().__init__(device)
        self.rtu = rtu
        self.host, self.port = "127.0.0.1", 0
        self.patience_s = 0.0  # it ends each connection after that long, unless 0
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Transport] = set()

    async def start(self) -> None:
        """Listen, on the same port as before where there was one."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), self.host, self.port, reuse_address=True)
        self.port = self._server.sockets[0].getsockname()[1]

    def opened(self, transport: asyncio.Transport) -> None:
        """A client came."""
        self.connections += 1
        self._open.add(transport)
        if self.patience_s:
            self._handles.append(asyncio.get_running_loop().call_later(self.patience_s, transport.close))

    def closed(self, transport: asyncio.Transport) -> None:
        """A client left."""
        self._open.discard(transport)

    def cut(self) -> None:
        """Every client gets a FIN."""
        for transport in list(self._open):
            transport.close()

    async def shut(self) -> None:
        """Nobody listens any more."""
        self.stop()
        self.cut()
        if self._server is not None:
            self._server.close()
            self._server = None
        await asyncio.sleep(0)


class _Connection(asyncio.Protocol):
    def __init__(self, server: FakeServer) -> None:
        self._server = server
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.opened(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._server.closed(self._transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        transport = self._transport
        assert transport is not None
        while (size := self._size()) and len(self._buffer) >= size:
            frame = bytes(self._buffer[:size])
            del self._buffer[:size]
            if self._server.rtu:
                self._server.act(frame[0], frame[1:-2], 0, transport.write, transport.close)
            else:
                transaction = int.from_bytes(frame[:2], "big")
                self._server.act(frame[6], frame[7:], transaction, transport.write, transport.close)

    def _size(self) -> int:
        if self._server.rtu:
            return request_size(self._buffer)
        return 6 + int.from_bytes(self._buffer[4:6], "big") if len(self._buffer) >= 6 else 0


class FakeLine(FakeLink):
    """On a pseudo terminal behind a stable name, as /dev/serial/by-id gives it."""

    def __init__(self, device: FakeDevice, name: Path) -> None:
        super().__init__(device)
        self.name = name
        self._buffer = bytearray()
        self._master = self._slave = -1

    async def start(self) -> None:
        """Plug in."""
        self._master, self._slave = os.openpty()
        tty.setraw(self._master)
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.name.unlink(missing_ok=True)
        self.name.symlink_to(os.ttyname(self._slave))
        asyncio.get_running_loop().add_reader(self._master, self._readable)

    def _readable(self) -> None:
        with suppress(BlockingIOError, OSError):
            self._buffer += os.read(self._master, 4096)
        while (size := request_size(self._buffer)) and len(self._buffer) >= size:
            frame = bytes(self._buffer[:size])
            del self._buffer[:size]
            assert crc16(frame) == 0, f"broken request {frame.hex(' ')}"
            self.act(frame[0], frame[1:-2], 0, self._send, self._unplug)

    def _send(self, data: bytes) -> None:
        with suppress(BlockingIOError, OSError):
            os.write(self._master, data)

    def _unplug(self) -> None:
        self.stop()
        if self._master >= 0:
            asyncio.get_running_loop().remove_reader(self._master)
            os.close(self._slave)
            os.close(self._master)
            self._master = self._slave = -1
            self.name.unlink(missing_ok=True)

    def cut(self) -> None:
        """Pull the adapter."""
        self._unplug()

    async def shut(self) -> None:
        """Pull the adapter for good."""
        self._unplug()
