"""Simulated line instruments on one line: they answer a command, or talk by themselves; pseudo terminal or TCP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from gateway.tools.simulation.ports import PtyPort

Speech = Callable[[], bytes]
_LONGEST_COMMAND = 256


class LineInstruments:
    """What is said on one line: `answers` by command, `talks` each so many seconds. Use with `async with`.

    `path` is the serial port's device file; with `tcp` set they listen there instead.
    """

    def __init__(
        self,
        answers: Mapping[bytes, Speech],
        talks: Sequence[tuple[float, Speech]] = (),
        *,
        tcp: tuple[str, int] | None = None,
    ) -> None:
        self._answers = answers
        self._talks = talks
        self._tcp = tcp
        self._heard = bytearray()
        self._pty = PtyPort(lambda data: self._take(self._heard, data, self._say)) if tcp is None else None
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.StreamWriter] = set()
        self._talkers: dict[int, asyncio.TimerHandle] = {}

    @property
    def path(self) -> str:
        """The device file of the client's side; empty on TCP."""
        return self._pty.path if self._pty else ""

    @property
    def port(self) -> int:
        """The TCP port in use. Rule: inside `async with`, on TCP."""
        if self._server is None:
            raise RuntimeError("the instruments do not listen on TCP")
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> LineInstruments:
        if self._pty is not None:
            self._pty.open()
        elif self._tcp is not None:
            self._server = await asyncio.start_server(self._converse, *self._tcp)
        for number, (every_s, speech) in enumerate(self._talks):
            self._talk(number, every_s, speech)
        return self

    async def __aexit__(self, *_: object) -> None:
        for talker in self._talkers.values():
            talker.cancel()
        if self._pty is not None:
            self._pty.close()
        if self._server is not None:
            self._server.close()
            for client in list(self._clients):
                client.close()
            await self._server.wait_closed()

    def _talk(self, number: int, every_s: float, speech: Speech) -> None:
        self._say(speech())
        loop = asyncio.get_running_loop()
        self._talkers[number] = loop.call_later(every_s, self._talk, number, every_s, speech)

    def _say(self, line: bytes) -> None:
        if self._pty is not None:
            self._pty.write(line)
        for client in self._clients:
            client.write(line)

    def _take(self, heard: bytearray, data: bytes, say: Callable[[bytes], None]) -> None:
        heard += data
        while found := self._earliest(heard):
            end, command = found
            del heard[:end]
            say(self._answers[command]())
        del heard[:-_LONGEST_COMMAND]

    def _earliest(self, heard: bytearray) -> tuple[int, bytes] | None:
        places = ((heard.find(command), command) for command in self._answers)
        return min(((place + len(command), command) for place, command in places if place >= 0), default=None)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients.add(writer)
        heard = bytearray()
        try:
            while data := await reader.read(4096):
                self._take(heard, data, writer.write)
        except ConnectionError:
            pass
        finally:
            self._clients.discard(writer)
            writer.close()
