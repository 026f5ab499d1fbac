"""A simulated line instrument: answers a command with a line, or talks by itself; on a pseudo terminal or TCP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gateway.tools.simulation.ports import PtyPort


class LineInstrument:
    """What every line instrument does: `poll` is its command (empty: it talks each `every_s`), `line` what it says.

    Use with `async with`. `path` is the serial port's device file; with `tcp` set it listens there instead.
    """

    def __init__(
        self,
        line: Callable[[], bytes],
        *,
        poll: bytes = b"",
        every_s: float = 1.0,
        tcp: tuple[str, int] | None = None,
    ) -> None:
        self._line = line
        self._poll = poll
        self._every_s = every_s
        self._tcp = tcp
        self._pty = PtyPort(lambda data: self._answer(data, self._say_serial)) if tcp is None else None
        self._buffer = bytearray()
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()
        self._talker: asyncio.TimerHandle | None = None

    @property
    def path(self) -> str:
        """The device file of the client's side; empty on TCP."""
        return self._pty.path if self._pty else ""

    @property
    def port(self) -> int:
        """The TCP port in use. Rule: inside `async with`, on TCP."""
        if self._server is None:
            raise RuntimeError("the instrument does not listen on TCP")
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> LineInstrument:
        if self._pty is not None:
            self._pty.open()
        elif self._tcp is not None:
            self._server = await asyncio.start_server(self._converse, *self._tcp)
        if not self._poll:
            self._talk()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._talker is not None:
            self._talker.cancel()
        if self._pty is not None:
            self._pty.close()
        if self._server is not None:
            self._server.close()
            for client in list(self._clients):
                client.close()
            await self._server.wait_closed()

    def _talk(self) -> None:
        line = self._line()
        self._say_serial(line)
        for client in self._clients:
            client.write(line)
        self._talker = asyncio.get_running_loop().call_later(self._every_s, self._talk)

    def _say_serial(self, line: bytes) -> None:
        if self._pty is not None:
            self._pty.write(line)

    def _answer(self, data: bytes, say: Callable[[bytes], None]) -> None:
        if not self._poll:
            return
        self._buffer += data
        while (place := self._buffer.find(self._poll)) >= 0:
            del self._buffer[: place + len(self._poll)]
            say(self._line())
        del self._buffer[: -len(self._poll)]

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        try:
            while data := await reader.read(4096):
                self._answer(data, writer.write)
        except ConnectionError:
            pass
        finally:
            self._clients.discard(writer)
            writer.close()
