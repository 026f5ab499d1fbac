"""The link of a bus as its stations use it: opened, closed, and opened anew where garbage came over TCP.

Many devices end a connection that is idle for some seconds, some end it after each answer. So a link that is gone is
opened once more before it counts as lost.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from gateway.errors import LinkError
from gateway.field.modbus.wire import Answer, Request, Wire

_STALE_S: Final = 60.0


class Session:
    """Holds the open wire. `reopens`: after garbage a new connection is the sure way back into step."""

    def __init__(self, opener: Callable[[], Awaitable[Wire]], *, reopens: bool) -> None:
        self._opener = opener
        self._reopens = reopens
        self._wire: Wire | None = None
        self._trusted = False  # it is opened once more when it is gone
        self._answered = 0.0

    @asynccontextmanager
    async def link(self) -> AsyncIterator[None]:
        """The open link; LinkError where it can't be had."""
        await self._open(settled=True)
        self._trusted = True
        self._answered = time.monotonic()
        try:
            yield
        finally:
            self._close()

    def start(self, request: Request) -> Awaitable[Answer]:
        """As `Wire.start`; LinkError while there is no link."""
        if self._wire is None:
            raise LinkError("no link")
        return self._wire.start(request)

    async def recover(self) -> None:
        """Come back into step after garbage; LinkError where that fails."""
        if self._reopens:
            await self._open()

    async def ready(self) -> None:
        """To be awaited before requests: opens a link anew that ended meanwhile; LinkError where that fails."""
        if self._trusted and self._wire is not None and self._wire.lost:
            self._trusted = False
            await self._open()

    async def again(self, error: LinkError) -> None:
        """After a link was lost in a request that may be repeated: opens it once more, or passes the error on."""
        if not self._trusted:
            raise error
        self._trusted = False
        await self._open(settled=True)

    def answered(self) -> None:
        """Somebody on the link answered."""
        self._trusted = True
        self._answered = time.monotonic()

    async def renew(self) -> None:
        """Connect anew where nobody has answered for a minute: the other end may have forgotten the connection."""
        await self.ready()
        if self._reopens and time.monotonic() - self._answered >= _STALE_S:
            await self.recover()
            self._answered = time.monotonic()

    async def _open(self, *, settled: bool = False) -> None:
        """`settled`: a request of before may still be answered on the new wire, which is waited for."""
        self._close()
        self._wire = await self._opener()
        if settled:
            await self._wire.settle()

    def _close(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()
