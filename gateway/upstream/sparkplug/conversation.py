"""The conversation of `sparkplug`: one edge node over all its sessions."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from gateway.errors import LinkError
from gateway.readings import TagTable
from gateway.runtime.supervise import Link
from gateway.upstream.conversation import Context, NextBrokerError
from gateway.upstream.message import Incoming, Message
from gateway.upstream.session import Session
from gateway.upstream.sparkplug.birth import LONGEST_TEXT, MS, NodeValue, death
from gateway.upstream.sparkplug.catalog import Catalog
from gateway.upstream.sparkplug.feed import Feed
from gateway.upstream.sparkplug.flow import Flow
from gateway.upstream.sparkplug.host import Host, PrimaryHost
from gateway.upstream.sparkplug.inbox import orders
from gateway.upstream.sparkplug.node import Node, State
from gateway.upstream.sparkplug.planner import BACKLOG, ONLINE, Names, Planner
from gateway.upstream.sparkplug.writer import Writer

log = logging.getLogger(__name__)

REMEMBER_TIMEOUT_S: Final = 2.0
GOODBYE_S: Final = 1.0
MAX_PACKET: Final = 1 << 28
AROUND_TEXT: Final = 512  # bytes of a packet beside the text of its only metric
SLEW_NS: Final = 1_000_000_000  # a clock that is set back by less is left to catch up
HOST_WAIT_S: Final = 5.0  # how long a broker without the host is given where there are others


class EdgeNode:
    """See the module."""

    def __init__(self, context: Context) -> None:
        settings = context.settings
        options = settings.sparkplug
        if options is None:
            raise ValueError("format: sparkplug needs sparkplug: {group: ...}")
        self._context = context
        self._options = options
        self._names = Names(options.group, context.identity.gateway)
        self._node = Node()
        self._host = PrimaryHost(options.primary_host)
        self._planner = Planner(
            self._names,
            Catalog(context.table, settings.select),
            context.latest,
            context.identity.version,
            options.datatype_in_data,
        )
        self._key = f"sparkplug/bdseq/{context.name}/{options.group}"
        self._recalled = False
        self._subscribed: set[str] = set()
        self._session: Session | None = None
        self._flow: Flow | None = None
        self._writer = Writer(context, self._names, self._planner, self._node, self._written)

    # around a session

    async def prepare(self) -> None:
        """The bdSeq of the last run, once."""
        if not self._recalled and self._context.memory is not None:
            self._node.recalled(await self._context.memory.recall(self._key))
        self._recalled = True

    def will(self) -> Message:
        """NDEATH with the number that this CONNECT will use."""
        return self._death(self._node.next_bdseq)

    def _death(self, bdseq: int) -> Message:
        return Message(self._names.topic("NDEATH"), death(bdseq, self._context.clock.now_ns() // MS))

    async def connecting(self) -> None:
        """The will's number is used from now on, and kept before CONNECT goes out."""
        number = str(self._node.connecting()).encode()
        if self._context.memory is None:
            return
        try:
            async with asyncio.timeout(REMEMBER_TIMEOUT_S):
                await self._context.memory.remember(self._key, number)
        except TimeoutError:
            log.warning("%s: the disk is slow: bdSeq is kept in memory only", self._context.name)

    async def farewell(self, session: Session) -> bool:
        """NDEATH, acknowledged, then DISCONNECT that lets the will speak too."""
        await self._die(session)
        return False

    async def _die(self, session: Session) -> None:
        self._node.died()
        try:
            async with asyncio.timeout(GOODBYE_S):
                session.take_acks()
                while session.in_flight >= session.limits.receive_maximum:
                    await session.wait()
                    session.take_acks()
                mid = session.publish(self._death(self._node.bdseq))
                while mid is not None and all(acknowledged != mid for acknowledged, _ in session.take_acks()):
                    await session.wait()
        except TimeoutError:
            log.info("%s: no answer to NDEATH", self._context.name)
        await session.close(GOODBYE_S, with_will=True)

    # one session

    async def run(self, session: Session, link: Link, stop: asyncio.Event) -> None:
        """Subscribe, wait for the host, be born, send blocks."""
        if session.limits.qos < 1:
            raise LinkError("the broker offers QoS 0 only: nothing could be acknowledged")
        settings, limits = self._context.settings, session.limits
        session.wake_when_written = True
        self._subscribed = set()
        self._host.connected(str(session.plan.endpoint))
        self._flow = flow = Flow(
            self._context.name,
            session,
            self._node,
            self._context.delivery,
            self._context.clock,
            self._context.counters,
            Message(f"{self._context.identity.gateway}/barrier", b""),
            window=min(settings.window, limits.receive_maximum),
            ack_timeout_s=settings.ack_timeout,
            durable=self._options.durable,
        )
        room = min(settings.max_message, limits.packet_size or settings.max_message)
        self._planner.longest = min(LONGEST_TEXT, (limits.packet_size or MAX_PACKET) - AROUND_TEXT)
        feed = Feed(self._context, self._planner, session, flow, room)
        try:
            await self._subscribe(session)
            if self._host.wanted:
                await self._granted(session, [self._host.topic], retained=True)
            self._node.subscribed()
            self._session = session
            if not self._host.ready:
                self._context.counters.reason = f"waits for the primary host on {self._host.topic}"
            await self._talk(session, flow, feed, link, stop)
        finally:
            self._session = self._flow = None
            self._node.died()
            self._planner.links.forget()
            await feed.close()
            self._context.delivery.rewind()

    async def _talk(self, session: Session, flow: Flow, feed: Feed, link: Link, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            now = loop.time()
            await self._hear(session, link, now)  # before the answers: they count while the host is online
            for mid, code in session.take_acks():
                if flow.acknowledged(mid, code, now):
                    link.worked()
            if flow.needs_substitute:
                await self._granted(session, [self._names.topic("NCMD")])
                await self._hear(session, link, now)
                if flow.substituted(now):
                    link.worked()
            if self._node.state is State.WAITING:
                if self._host.ready:
                    await self._be_born(session, feed)
                    link.worked()
                elif self._elsewhere and (self._host.state is Host.OFFLINE or now - began > HOST_WAIT_S):
                    await self._die(session)
                    raise NextBrokerError(f"the primary host is not online here: nothing on {self._host.topic}")
            if self._node.state is State.LIVE:
                if self._node.rebirth_due(now) or self._births_are_old:
                    await self._be_born(session, feed)
                await feed.send(now)
                flow.watch(now)
            if stop.is_set() and (self._node.state is not State.LIVE or feed.finished):
                return  # what can't be delivered stays in the spool
            await session.wait()

    async def _hear(self, session: Session, link: Link, now: float) -> None:
        """Take what came; NextBrokerError where the host went offline, and be it for a moment."""
        for message in session.take_messages():
            self._incoming(message, now)
            if self._node.state is State.LIVE and self._host.state is Host.OFFLINE:
                link.worked()
                await self._die(session)
                raise NextBrokerError("the primary host went offline")

    @property
    def _births_are_old(self) -> bool:
        """Whether they lack metrics, or the clock stepped back behind them: what is read now would pass for history."""
        return self._planner.catalog.grown or self._planner.born_ns > self._context.clock.now_ns() + SLEW_NS

    @property
    def _elsewhere(self) -> bool:
        """Whether there is another broker to look for the host on."""
        return len(self._context.settings.broker) > 1

    async def _subscribe(self, session: Session) -> None:
        names = self._names
        wanted = [names.topic("NCMD"), *(names.topic("DCMD", device) for device in self._planner.catalog.devices)]
        await self._granted(session, [topic for topic in wanted if topic not in self._subscribed])
        self._subscribed.update(wanted)

    async def _granted(self, session: Session, topics: list[str], *, retained: bool = False) -> None:
        if not topics:
            return
        codes = await session.subscribe(topics, retained=topics if retained else ())
        for topic, code in zip(topics, codes, strict=True):
            if code >= 0x80:
                raise LinkError(f"the broker refuses the subscription to {topic}")

    async def _be_born(self, session: Session, feed: Feed) -> None:
        await self._subscribe(session)
        context, planner = self._context, self._planner
        now_ns = context.clock.now_ns()
        backlog = context.delivery.backlog
        if not backlog:
            planner.catalog.forget_left()
        planner.node[BACKLOG] = NodeValue(backlog, now_ns // MS)
        planner.node[ONLINE] = NodeValue(planner.devices_online, now_ns // MS)
        self._node.born()
        context.counters.reason = ""
        steps = planner.births(self._node.bdseq, now_ns)
        for step in steps:
            packet = len(step.metrics) + len(step.topic.encode()) + 48
            if session.limits.packet_size is not None and packet > session.limits.packet_size:
                raise LinkError(f"{step.topic} is larger than the broker's Maximum Packet Size: {packet} bytes")
        feed.births(steps)

    # commands

    def _incoming(self, message: Incoming, now: float) -> None:
        topic = message.topic
        if topic == self._host.topic:
            self._host.heard(topic, message.payload)
        elif topic == self._names.topic("NCMD") and not message.retain and self._is_rebirth(message.payload):
            self._node.rebirth_wanted(now)
        elif topic in self._subscribed:
            self._writer.put(message)

    def _is_rebirth(self, payload: bytes) -> bool:
        try:
            wanted = orders("", payload, self._planner.catalog)
        except ValueError:
            return False
        return wanted.rebirth and not wanted.writes

    async def background(self) -> None:
        """Carry out commands one after the other; they outlive the session they came by."""
        await self._writer.run()

    def _written(self, index: int, readback: object) -> None:
        """A command for a known metric was carried out or refused: say what stands in the device."""
        if self._flow is None or self._session is None or self._node.state is not State.LIVE:
            return
        step = self._planner.readback(index, readback, self._context.clock.now_ns())
        if step is not None:
            self._flow.add([step])
            self._session.wake()

    # the rest of the gateway

    def link(self, device: str, *, online: bool, reason: str, since_ns: int) -> None:
        """DDEATH or DBIRTH, behind the rows already spooled."""
        del reason  # a DDEATH has no place for it
        self._planner.links.changed(device, self._context.clock.now_ns(), online=online, since_ns=since_ns)
        if self._session is not None:
            self._session.wake()

    def use_table(self, table: TagTable) -> None:
        """The whole birth sequence again, with the same bdSeq."""
        self._planner.use_table(table)
        if self._session is not None:
            self._session.wake()
