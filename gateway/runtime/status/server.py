"""The status server: binds, guards its connections, and serves the routes in the daemon's own event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from gateway.errors import LinkError
from gateway.runtime.printable import in_words
from gateway.runtime.settings import is_placeholder
from gateway.runtime.status.access import Access
from gateway.runtime.status.gate import Gate, Limits
from gateway.runtime.status.routes import Routes
from gateway.runtime.status.settings import Address, StatusSettings
from gateway.runtime.status.source import Source
from gateway.runtime.status.stream import Streams
from gateway.runtime.supervise import Link

_CLOSE_S: Final = 1.0


class StatusServer:
    """Serves while its `async with` block runs; LinkError where it can't listen or its token can't be read.

    `run` does the same for `supervise`: a port that is taken, or an address the machine doesn't have yet, is tried
    again, and the daemon does its work meanwhile.
    """

    def __init__(
        self,
        settings: StatusSettings,
        source: Source,
        limits: Limits | None = None,
        refused: Callable[[str], None] | None = None,  # called with the address a wrong token came from
    ) -> None:
        self.listening = asyncio.Event()  # set once `address` is known
        self.address: Address | None = None  # where it listens; the port is the real one
        self._settings = settings
        self._source = source
        self._limits = limits
        self._refused = refused
        self._gate: Gate | None = None
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None
        self._streams: Streams | None = None

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._gate) if self._gate is not None else 0

    async def run(self, link: Link) -> None:
        """Serve until cancelled; returns at once where the configuration switches the server off."""
        if self._settings.address is None:
            return
        async with self:
            link.worked()
            await asyncio.Event().wait()

    async def __aenter__(self) -> StatusServer:
        wanted = self._settings.address
        if wanted is None:
            raise LinkError("the status server is switched off")
        access = Access(self._token(), refused=self._refused)
        self._streams = Streams(self._source)
        routes = Routes(self._source, access, self._streams, self._keep_open)
        self._runner = web.AppRunner(
            routes.application(), access_log=None, shutdown_timeout=_CLOSE_S, lingering_time=0, logger=_request_log()
        )
        await self._runner.setup()
        handler = self._runner.server
        assert handler is not None  # noqa: S101  # setup() makes it
        self._gate = Gate(handler, self._limits)
        try:
            self._server = await asyncio.get_running_loop().create_server(
                self._gate, wanted.host, wanted.port, backlog=64
            )
        except OSError as error:
            await self._runner.cleanup()
            raise LinkError(f"can't listen on {self._settings.listen}: {in_words(error)}") from error
        self.address = Address(wanted.host, self._server.sockets[0].getsockname()[1])
        self.listening.set()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.listening.clear()
        if self._streams is not None:
            self._streams.close()
        if self._server is not None:
            self._server.close()
        if self._gate is not None:
            self._gate.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def _keep_open(self, request: web.Request) -> None:
        if self._gate is not None:
            self._gate.keep_open(request.transport)

    def _token(self) -> str | None:
        if self._settings.token is None:
            return None
        try:
            token = self._settings.token.read()
        except (OSError, KeyError, UnicodeDecodeError) as error:
            raise LinkError(f"the token can't be read: {self._settings.token}") from error
        if is_placeholder(token):
            raise LinkError(f"the token is a placeholder: {self._settings.token}")
        return token


def _request_log() -> logging.Logger:
    """A logger for faults in handlers; what a client did wrong is no fault of ours."""
    logger = logging.getLogger(f"{__name__}.request")
    logger.addFilter(_is_ours)
    return logger


def _is_ours(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))
