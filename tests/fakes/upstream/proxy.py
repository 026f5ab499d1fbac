"""A TCP proxy that cuts, and a gate that can be closed."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from types import TracebackType


@dataclass
class Proxy:
    """Forwards to a port; `cut_after` bytes upwards each connection is reset, `open` False refuses new ones."""

    target: int
    cut_after: int | None = None
    open: bool = True
    silent: bool = False  # forwards nothing more in either direction, but keeps TCP up
    connections: int = 0
    cuts: int = 0
    port: int = 0

    async def __aenter__(self) -> Proxy:
        self._writers: set[asyncio.StreamWriter] = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
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
        return f"mqtt://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Reset every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if not self.open:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, far_writer, self.cut_after))
                group.create_task(self._pump(far_reader, writer, None))
        finally:
            for end in (writer, far_writer):
                end.transport.abort()
                self._writers.discard(end)
                with contextlib.suppress(ConnectionError):
                    await end.wait_closed()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int | None) -> None:
        passed = 0
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                if self.silent:
                    continue
                if limit is not None and passed + len(data) >= limit:
                    writer.write(data[: limit - passed])
                    await writer.drain()
                    self.cuts += 1
                    break
                passed += len(data)
                writer.write(data)
                await writer.drain()
        for end in list(self._writers):
            if end is writer:
                end.transport.abort()
