"""What a live node sends: blocks in the spool's order and, where none waits, what changed about devices and node."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from gateway.block import Block
from gateway.upstream.conversation import Context
from gateway.upstream.session import Session
from gateway.upstream.sparkplug.birth import MS
from gateway.upstream.sparkplug.flow import Flow
from gateway.upstream.sparkplug.planner import BACKLOG, ONLINE, Planner, Step

log = logging.getLogger(__name__)

SETTLE_NS: Final = 1_000_000_000  # rows read before a link changed are spooled by then
BACKLOG_EVERY_S: Final = 60.0
TURN_S: Final = 0.1  # others get their turn


class Feed:
    """Feeds one session's flow. It stops where the catalog has grown: births must announce the new metrics first."""

    def __init__(self, context: Context, planner: Planner, session: Session, flow: Flow, limit: int) -> None:
        self._context = context
        self._planner = planner
        self._session = session
        self._flow = flow
        self._limit = limit
        self._fetch: asyncio.Task[Block] | None = None
        self._again: Block | None = None
        self._backlog_at = 0.0
        self._told: set[str] = set()

    def births(self, steps: Sequence[Step]) -> None:
        """Births in front of everything; the block they interrupt is planned again."""
        self._again = self._flow.births(steps) or self._again

    async def send(self, now: float) -> None:
        """Hand over what the connection takes now."""
        loop, flow = asyncio.get_running_loop(), self._flow
        began = now
        while True:
            flow.push(now)
            if not flow.wants_block:
                break
            block = self._again or await self._next_block()
            self._again = None
            now_ns = self._context.clock.now_ns()
            if block is None:
                flow.add(self._planner.changes(now_ns - SETTLE_NS, now_ns))
                flow.add(self._news(now, now_ns))
                flow.push(now)
                break
            steps = self._planner.block(block, self._limit, now_ns)
            if steps is None:
                self._again = block
                self._session.wake()
                break
            self._tell_too_long()
            flow.add(steps, block)
            now = loop.time()
            if now - began > TURN_S:
                self._session.wake()
                await asyncio.sleep(0)
                break
        flow.close_batch(now)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to be sent, or to be answered for."""
        fetched = self._fetch is not None and self._fetch.done()
        return self._flow.idle and not (self._again or fetched or self._context.delivery.backlog)

    async def close(self) -> None:
        """The session is over."""
        if self._fetch is not None:
            self._fetch.cancel()
            await asyncio.wait([self._fetch])
            self._fetch = None

    def _tell_too_long(self) -> None:
        for name in sorted(self._planner.too_long - self._told):
            log.warning("%s: a text of %s is larger than the broker takes: sent as bad", self._context.name, name)
        self._told |= self._planner.too_long

    def _news(self, now: float, now_ns: int) -> list[Step]:
        planner = self._planner
        news: list[Step] = []
        online = planner.devices_online
        known = planner.node.get(ONLINE)
        if known is None or known.value != online:
            news.append(planner.node_change(ONLINE, online, now_ns // MS))
        backlog, told = self._context.delivery.backlog, planner.node.get(BACKLOG)
        if now - self._backlog_at > BACKLOG_EVERY_S and (told is None or told.value != backlog):
            self._backlog_at = now
            news.append(planner.node_change(BACKLOG, backlog, now_ns // MS))
        return news

    async def _next_block(self) -> Block | None:
        if self._fetch is None:
            self._fetch = asyncio.create_task(self._fetch_block())
            self._fetch.add_done_callback(lambda _: self._session.wake())
            await asyncio.sleep(0)
        if not self._fetch.done():
            return None
        block, self._fetch = self._fetch.result(), None
        self._context.counters.backlog = self._context.delivery.backlog
        return block

    async def _fetch_block(self) -> Block:
        return await self._context.delivery.next()
