"""A PLC in the test's own loop whose 32-bit register 0 counts its reads: what is missing later was lost.

holding:0 (uint32) counts the reads of it; every other register holds its own address. Writes are kept.
"""

from __future__ import annotations

import asyncio
import struct
import time
from pathlib import Path
from types import TracebackType
from typing import Self

CONFIG = """
gateway: {{name: cell}}
connections:
  plc:
    driver: modbus-tcp
    host: 127.0.0.1
    port: {plc}
    timeout: 10s
    devices: {{press: {{unit: 1, every: 20ms, tags: {{count: {{address: holding:0, type: uint32}}{more}}}}}}}
spool: {{path: {folder}/spool.db, seal: {{max_age: 100ms}}, commit_interval: 500ms{spool}}}
upstreams: {{{upstreams}}}
status: {{listen: none}}
shutdown_timeout: 1s
"""
_HEAD = struct.Struct(">HHHBBHH")


def counting(folder: Path, plc: CountingPlc, upstreams: str, *, spool: str = "", more: str = "") -> Path:
    """The configuration of a daemon `cell` that reads the counter as `press.count` fifty times a second."""
    file = folder / "gateway.yaml"
    spool, more = (f", {text}" if text else "" for text in (spool, more))
    file.write_text(CONFIG.format(plc=plc.port, folder=folder, upstreams=upstreams, spool=spool, more=more))
    return file


class CountingPlc:
    """Modbus TCP, functions 3, 6 and 16, any unit; `reads` is the newest value of the counter."""

    def __init__(self) -> None:
        self.reads = 0
        self.times_ns: list[int] = []  # UTC of each of them
        self.port = 0
        self.written: dict[int, int] = {}
        self.functions: set[int] = set()  # that were ever asked for
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
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
            while True:
                head = await reader.readexactly(_HEAD.size)
                transaction, _, length, unit, function, address, count = _HEAD.unpack(head)
                rest = await reader.readexactly(length - 6)
                body = self._answer(function, address, count, rest)
                writer.write(struct.pack(">HHHB", transaction, 0, len(body) + 1, unit) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def _answer(self, function: int, address: int, count: int, rest: bytes) -> bytes:
        self.functions.add(function)
        if function == 3:
            if address == 0:
                self.reads += 1
                self.times_ns.append(time.time_ns())
            words = [*struct.unpack(">HH", struct.pack(">I", self.reads)), *range(2, 200)]
            for place, value in self.written.items():
                words[place] = value
            return struct.pack(">BB", 3, 2 * count) + struct.pack(f">{count}H", *words[address : address + count])
        if function == 6:
            self.written[address] = count
            return struct.pack(">BHH", 6, address, count)
        if function == 16:
            values = struct.unpack(f">{count}H", rest[1:])
            self.written.update(zip(range(address, address + count), values, strict=True))
            return struct.pack(">BHH", 16, address, count)
        return struct.pack(">BB", function | 0x80, 1)
