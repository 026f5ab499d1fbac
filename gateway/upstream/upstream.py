"""One upstream: opens sessions to its brokers for as long as it runs, and lets its conversation talk over them."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from functools import partial
from typing import Final

from gateway.block import Delivery
from gateway.errors import LinkError, RefusedError
from gateway.readings import TagTable
from gateway.runtime.clock import Clock
from gateway.runtime.counters import Counters
from gateway.runtime.latest import Latest
from gateway.runtime.supervise import Backoff, Link, supervise
from gateway.upstream.commands import Commands
from gateway.upstream.connect import Dialer
from gateway.upstream.conversation import Context, Memory, NextBrokerError
from gateway.upstream.formats import conversation
from gateway.upstream.identity import Identity
from gateway.upstream.plan import NoRetainError, Plan, TakenOverError
from gateway.upstream.session import Session
from gateway.upstream.settings import UpstreamSettings

log = logging.getLogger(__name__)

CLOSE_TIMEOUT_S: Final = 2.0
TAKEOVER_PAUSE_S: Final = 60.0
SILENT_S: Final = 300.0  # takeover pause, longest backoff, name lookup, connecting, subscribing: half of it at most


class Upstream:
    """One broker (or several to try in order), one delivery. A dead one disturbs nobody else."""

    def __init__(
        self,
        name: str,
        settings: UpstreamSettings,
        identity: Identity,
        delivery: Delivery,
        table: TagTable,
        latest: Latest,
        clock: Clock,
        counters: Counters,
        commands: Commands | None = None,
        *,
        memory: Memory | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self.name = name
        self._settings = settings
        self._identity = identity
        self._delivery = delivery
        self._clock = clock
        self._counters = counters.upstream(name)
        self._backoff = backoff or Backoff()
        self._endpoints = settings.endpoints
        self._broker = 0
        self._not_before = 0.0
        self._session: Session | None = None
        self._dialer = Dialer()
        self._retains = True  # no broker said that it doesn't
        self._turns = 0  # attempts, and the turns of the sessions that ended
        self._conversation = conversation(
            Context(
                name,
                settings,
                identity,
                delivery,
                table,
                latest,
                clock,
                self._counters,
                commands if settings.commands else None,
                memory,
                commands,
            )
        )

    @property
    def progress(self) -> int:
        """Grows at least every `SILENT_S` while the upstream works, waits for its broker or has nothing to do."""
        return self._turns + (self._session.turns if self._session is not None else 0)

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set and nothing is left. Cancelled, it says goodbye within 2 s and ends."""
        for endpoint in self._endpoints:
            if not (endpoint.tls or endpoint.loopback):
                text = "%s: everything goes to %s unencrypted: who is on the way can read and forge it (insecure: true)"
                log.warning(text, self.name, endpoint.host, extra={"upstream": self.name})
        async with asyncio.TaskGroup() as group:
            background = group.create_task(self._conversation.background())
            sending = group.create_task(supervise(self.name, partial(self._attempt, stop), self._backoff))
            stopping = group.create_task(stop.wait())
            await asyncio.wait([sending, stopping], return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if self._session is not None:
                self._session.wake()
            elif not self._delivery.backlog:
                sending.cancel()
            await asyncio.wait([sending])
            background.cancel()

    def link(self, device: str, online: bool, reason: str, since_ns: int) -> None:  # as the field says it
        """A device's link went up or down at `since_ns`."""
        self._conversation.link(device, online=online, reason=reason, since_ns=since_ns)

    def use_table(self, table: TagTable) -> None:
        """A reload made a longer table."""
        self._conversation.use_table(table)

    async def _attempt(self, stop: asyncio.Event, link: Link) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(max(0.0, self._not_before - loop.time()))
        await self._conversation.prepare()
        self._turns += 1
        session = Session(self._plan(), self._dialer)
        try:
            await session.open(self._conversation.connecting)
            self._session = session
            self._note(up=True)
            await self._conversation.run(session, link, stop)
        except LinkError as error:
            session.abort()  # whatever the reason, the broker shall say the will
            if isinstance(error, NoRetainError):
                self._retains = False
            if isinstance(error, TakenOverError):
                self._not_before = loop.time() + TAKEOVER_PAUSE_S
            was_live = self._session is not None and not isinstance(error, NextBrokerError)
            self._broker = 0 if was_live else (self._broker + 1) % len(self._endpoints)
            self._note(up=False, reason=str(error))
            if self._broker and isinstance(error, RefusedError):
                raise LinkError(str(error)) from error  # the next one of the list need not wait
            raise
        finally:
            self._session = None
            self._turns += session.turns
            await self._leave(session)
        self._note(up=False, reason="stopped")

    async def _leave(self, session: Session) -> None:
        try:
            if session.live:
                async with asyncio.timeout(CLOSE_TIMEOUT_S):
                    if await self._conversation.farewell(session):
                        await session.close(CLOSE_TIMEOUT_S)
        except (TimeoutError, LinkError) as error:
            log.info("%s: left without a goodbye: %s", self.name, error)
        finally:
            session.abort()

    def _plan(self) -> Plan:
        settings = self._settings
        return Plan(
            self._endpoints[self._broker],
            settings.protocol,
            settings.client_id_of(self._identity.gateway, self.name),
            settings.username,
            settings.password,
            settings.tls,
            int(settings.keepalive),
            self._conversation.will() if self._retains else replace(self._conversation.will(), retain=False),
        )

    def _note(self, *, up: bool, reason: str = "") -> None:
        counters = self._counters
        if counters.up != up or not counters.since_ns:
            counters.since_ns = self._clock.now_ns()
        counters.up, counters.reason = up, reason
