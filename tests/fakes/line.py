"""Instruments that send text lines, on a pseudo terminal or a TCP socket, and able to misbehave."""

from __future__ import annotations

import asyncio
import os
import tty
from collections.abc import Callable
from contextlib import suppress

Answer = Callable[[bytes], bytes]


class PtyInstrument:
    """The far end of a serial line. `port` is what the gateway opens; `answer` maps a request to bytes."""

    def __init__(self, answer: Answer = lambda _request: b"") -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self._master, slave = os.openpty()
        tty.setraw(slave)
        self.port = os.ttyname(slave)
        self._slave = slave  # kept open: a pseudo terminal without one reads as a vanished port
        os.set_blocking(self._master, False)
        asyncio.get_running_loop().add_reader(self._master, self._readable)

    def _readable(self) -> None:
        try:
            request = os.read(self._master, 4096)
        except OSError:
            return
        self.requests.append(request)
        self.say(self.answer(request))

    def say(self, data: bytes) -> None:
        """Send bytes; what doesn't fit into the line's buffer is lost, as on a UART."""
        with suppress(BlockingIOError):
            while data:
                data = data[os.write(self._master, data) :]

    def close(self) -> None:
        """Pull the plug."""
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)
        os.close(self._slave)


class TcpInstrument:
    """The same behind a TCP port."""

    def __init__(self, answer: Answer = lambda _request: b"") -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def connected(self) -> bool:
        return bool(self._writers)

    async def start(self) -> None:
        """Listen, at the same port as before where there was one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with suppress(ConnectionError):
            while request := await reader.read(4096):
                self.requests.append(request)
                writer.write(self.answer(request))
        self._writers.discard(writer)
        writer.close()

    def say(self, data: bytes) -> None:
        for writer in self._writers:
            writer.write(data)

    async def drain(self) -> None:
        """Until the kernel has taken nearly all that was said."""
        for writer in self._writers:
            await writer.drain()

    def hang_up(self) -> None:
        """Close every connection, keep listening."""
        for writer in self._writers:
            writer.close()

    async def stop(self) -> None:
        self.hang_up()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
