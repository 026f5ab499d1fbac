"""Peers that speak nonsense: what looks like an answer at first, random bytes, floods, silence, and hang-ups."""

from __future__ import annotations

import asyncio
import os
import random
import struct
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

Opening = Callable[[bytes, random.Random], bytes]  # how an answer to a request begins
FLOOD = 64 * 1024


def modbus_tcp(request: bytes, rng: random.Random) -> bytes:
    """The request's own transaction and unit, a length that may lie, a function that may not be the one asked for."""
    length = rng.choice([0, 1, 2, 3, 5, 7, 200, 255, 65535])
    function = rng.choice([request[7] if len(request) > 7 else 3, 0, 3, 4, 0x83, 255])
    return request[:4] + struct.pack(">HBB", length, request[6] if len(request) > 6 else 1, function)


def modbus_rtu(request: bytes, rng: random.Random) -> bytes:
    """The request's unit and function, a byte count that may lie."""
    return request[:2] + bytes([rng.choice([0, 1, 2, 4, 250, 255])])


def opcua(request: bytes, rng: random.Random) -> bytes:
    """A message head of the protocol with a length that may lie."""
    kind = rng.choice([b"ACKF", b"OPNF", b"MSGF", b"MSGC", b"ERRF", b"XXXX"])
    return kind + struct.pack("<I", rng.choice([0, 7, 8, 28, 64, 0x7FFFFFFF, 0xFFFFFFFF]))


def s7(request: bytes, rng: random.Random) -> bytes:
    """A TPKT head with a length that may lie, and a connect confirm or data."""
    return struct.pack(">BBHBB", 3, 0, rng.choice([0, 4, 7, 22, 65535]), rng.choice([0, 2, 6, 255]), 0xD0)


def mqtt(request: bytes, rng: random.Random) -> bytes:
    """A CONNACK of MQTT 5, then the head of any packet, its length up to 256 MiB."""
    length = rng.choice([b"\x00", b"\x02", b"\x7f", b"\xff\x7f", b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff"])
    return b"\x20\x03\x00\x00\x00" + bytes([rng.randrange(256)]) + length


def lines(request: bytes, rng: random.Random) -> bytes:
    """An instrument's line, or the beginning of one."""
    return rng.choice([b"ST,GS,+12.5kg\r\n", b"ST,GS,+", b"\r\n\r\n\x00", b"ST,GS,+9" + b"9" * 400 + b".0kg\r\n"])


def noise(request: bytes, opening: Opening, rng: random.Random) -> bytes | None:
    """What comes back for a request; None hangs up."""
    kind = rng.randrange(8)
    if kind == 0:
        return None
    if kind == 1:
        return b""
    if kind == 2:
        return rng.randbytes(FLOOD)
    if kind == 3:
        return bytes(byte ^ (1 << rng.randrange(8)) if rng.random() < 0.1 else byte for byte in request)
    if kind == 4:
        return rng.randbytes(rng.randrange(1, 300))
    return opening(request, rng) + rng.randbytes(rng.randrange(300))


class Babbler:
    """A TCP server that answers whatever comes with noise; `answers` counts it."""

    def __init__(self, opening: Opening, seed: int) -> None:
        self.answers = 0
        self.port = 0
        self._opening = opening
        self._rng = random.Random(seed)
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while request := await reader.read(4096):
                answer = noise(request, self._opening, self._rng)
                self.answers += 1
                if answer is None:
                    return
                writer.write(answer)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


class BabblingLine:
    """The same at the other end of a serial line, under `name`."""

    def __init__(self, name: Path, opening: Opening, seed: int) -> None:
        self.answers = 0
        self.name = name
        self._opening = opening
        self._rng = random.Random(seed)

    async def __aenter__(self) -> Self:
        self._ours, self._theirs = os.openpty()
        os.set_blocking(self._ours, False)
        self.name.symlink_to(os.ttyname(self._theirs))
        asyncio.get_running_loop().add_reader(self._ours, self._heard)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.get_running_loop().remove_reader(self._ours)
        os.close(self._ours)
        os.close(self._theirs)
        self.name.unlink()

    def _heard(self) -> None:
        request = os.read(self._ours, 4096)
        answer = noise(request, self._opening, self._rng) or b""
        self.answers += 1
        try:
            os.write(self._ours, answer[:4096])
        except BlockingIOError:
            return  # nobody reads on the other side
