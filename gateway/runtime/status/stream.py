"""Server-sent events: what changed since the last second, each kind only when it differs from what was sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson
from aiohttp import web

from gateway.runtime.status.source import Json, Selection, Source

log = logging.getLogger(__name__)

EVERY_S: Final = 1.0
STREAMS: Final = 16
ROWS: Final = 200  # tags in one stream at most
_SEND_S: Final = 10.0  # a client that takes longer for one event is cut off


class Moment:
    """What all streams show alike, rendered once a second however many watch."""

    def __init__(self, source: Source, now: Callable[[], float]) -> None:
        self._now = now
        self._until = 0.0
        self._rendered: dict[str, bytes] = {}
        self._kinds: Mapping[str, Callable[[], Any]] = {
            "health": source.health,
            "devices": source.devices,
            "upstreams": source.upstreams,
            "losses": source.losses,
            "events": source.events,
            "log": source.log,
        }

    def all(self) -> Mapping[str, bytes]:
        """JSON by kind of event."""
        now = self._now()
        if now >= self._until:
            self._rendered = {kind: orjson.dumps(take()) for kind, take in self._kinds.items()}
            self._until = now + EVERY_S / 2
        return self._rendered


class Streams:
    """The open streams: bounded in number, ended together."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._moment = Moment(source, lambda: asyncio.get_running_loop().time())
        self._closing = asyncio.Event()
        self._open = 0

    @property
    def full(self) -> bool:
        """Whether no further stream may be opened."""
        return self._open >= STREAMS

    def close(self) -> None:
        """End every stream."""
        self._closing.set()

    async def serve(self, request: web.Request, response: web.StreamResponse, selection: Selection) -> None:
        """Feed one prepared response until the client leaves or the server closes."""
        self._open += 1
        sent: dict[str, bytes] = {}
        try:
            await response.write(b"retry: 3000\n\n")
            while not self._closing.is_set():
                fresh = {kind: data for kind, data in self._now(selection).items() if sent.get(kind) != data}
                sent.update(fresh)
                async with asyncio.timeout(_SEND_S):
                    await response.write(_events(fresh))
                await self._pause()
        except TimeoutError:
            log.debug("a watcher of the status page is too slow")
            if request.transport is not None:
                request.transport.abort()
        except ConnectionError:
            log.debug("a watcher of the status page has left")
        finally:
            self._open -= 1

    def _now(self, selection: Selection) -> Mapping[str, bytes]:
        page = self._source.tags(selection)
        tags: Json = {"total": page.total, "offset": selection.offset, "tags": page.rows}
        return {**self._moment.all(), "tags": orjson.dumps(tags)}

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(EVERY_S):
                await self._closing.wait()
        except TimeoutError:
            return


def _events(fresh: Mapping[str, bytes]) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (kind.encode(), data) for kind, data in fresh.items())
