"""The conversation of `json` and `columns`: state, device states, blocks with QoS 1, commands."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Final

from gateway.readings import TagTable
from gateway.runtime.supervise import Link
from gateway.upstream.commands import Commands
from gateway.upstream.conversation import Context
from gateway.upstream.identity import device_message, state_message
from gateway.upstream.message import Incoming, Message, pack_properties
from gateway.upstream.payload import Payload
from gateway.upstream.plan import TakenOverError
from gateway.upstream.requests import MAX_REQUEST
from gateway.upstream.sender import Sender
from gateway.upstream.session import Session
from gateway.upstream.twin import Twin

log = logging.getLogger(__name__)

MAX_REQUESTS: Final = 64
MAX_AT_ONCE: Final = 8


class Plain:
    """See the module."""

    def __init__(self, context: Context, payload: Payload) -> None:
        settings = context.settings
        self._context = context
        self._sender = Sender(
            context.name,
            context.delivery,
            payload,
            context.counters,
            context.clock,
            window=settings.window,
            max_message=settings.max_message,
            ack_timeout_s=settings.ack_timeout,
        )
        self._devices: dict[str, Message] = {}
        self._session: Session | None = None
        self._requests: asyncio.Queue[Incoming] = asyncio.Queue(MAX_REQUESTS)
        self._dropped = 0  # requests that found no room, not yet told
        gateway = context.identity.gateway
        self._request_topic = f"{gateway}/command/write"
        self._state_topic = f"{gateway}/state"
        self._twin = Twin(context.name, context.identity.boot)
        self._spoken = False
        self._looks_for_twin = True
        self._result_topic = f"{gateway}/command/result"

    def will(self) -> Message:
        """State offline, retained."""
        return state_message(self._context.identity, "offline")

    async def prepare(self) -> None:
        """Nothing is to be known."""

    async def connecting(self) -> None:
        """Nothing is counted here."""

    async def run(self, session: Session, link: Link, stop: asyncio.Event) -> None:
        """Subscribe, say online, tell the devices' states, then send blocks."""
        await self._subscribe(session)
        outbox = self._sender.outbox
        outbox.put(state_message(self._context.identity, "online"))
        self._spoken = True
        for message in self._devices.values():
            outbox.put(message)
        self._session = session
        try:
            await self._sender.run(session, link, stop, self._receive)
        finally:
            self._session = None

    async def _subscribe(self, session: Session) -> None:
        """One packet for all: some brokers look at no second one before their retained messages are acknowledged."""
        looks, listens = self._spoken and self._looks_for_twin, self._context.commands is not None
        topics = [self._state_topic] * looks + [self._request_topic] * listens
        if not topics:
            return
        if looks:
            self._looks_for_twin = False  # a broker that ends the connection on a denied subscription is asked once
        codes = dict(zip(topics, await session.subscribe(topics, retained=[self._state_topic]), strict=False))
        if looks:
            self._looks_for_twin = codes.get(self._state_topic, 0x80) < 0x80
        if codes.get(self._request_topic, 0) >= 0x80:
            log.warning("%s: the broker refuses the subscription to %s", self._context.name, self._request_topic)

    async def farewell(self, session: Session) -> bool:
        """State offline, acknowledged."""
        session.take_acks()
        if session.in_flight >= session.limits.receive_maximum:
            return False
        mid = session.publish(state_message(self._context.identity, "offline"))
        while mid is not None:
            await session.wait()
            if any(acknowledged == mid for acknowledged, _ in session.take_acks()):
                return True
        return False

    def _receive(self, session: Session) -> None:
        """Take no more than there is room for: what isn't taken isn't acknowledged, and the broker holds it back."""
        self._dropped += session.inbox.take_dropped()
        for message in session.take_messages(MAX_REQUESTS - self._requests.qsize()):
            if message.topic == self._state_topic:
                if message.retain and self._twin.must_wait(message.payload):
                    raise TakenOverError("another gateway has our name and client id")
            elif self._context.commands is not None and not message.retain and message.topic == self._request_topic:
                self._requests.put_nowait(replace(message, payload=message.payload[: MAX_REQUEST + 1]))

    async def background(self) -> None:
        """Carry out commands, a few at a time (a dead device holds up its own); they outlive their session."""
        commands = self._context.commands
        if commands is None:
            return
        slots = asyncio.Semaphore(MAX_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            while True:
                await slots.acquire()
                request = await self._requests.get()
                task = group.create_task(self._carry_out(commands, request))
                task.add_done_callback(lambda _: slots.release())

    async def _carry_out(self, commands: Commands, request: Incoming) -> None:
        answer = await commands.answer(request.payload, self._context.name)
        properties = pack_properties(correlation=request.correlation)
        wanted = request.response_topic
        topic = wanted if wanted and not set(wanted) & set("+#\0") else self._result_topic
        self._say(Message(topic, answer, properties=properties))
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            await commands.dropped(dropped, self._context.name)

    def _say(self, message: Message) -> None:
        if self._session is not None or not message.retain:  # what is retained is said anew in each session
            self._sender.outbox.put(message)
        if self._session is not None:
            self._session.wake()

    def link(self, device: str, *, online: bool, reason: str, since_ns: int) -> None:
        """Retained state of the device, now and after each connection."""
        message = device_message(self._context.identity, device, online=online, reason=reason, since_ns=since_ns)
        self._devices[device] = message
        self._say(message)

    def use_table(self, table: TagTable) -> None:
        """Blocks carry their own table; the states of devices that are gone are taken back."""
        for device, message in self._devices.items():
            if device not in table.devices and message.payload:
                # empty: the broker forgets the retained message; said again in each session, as the states are
                gone = self._devices[device] = replace(message, payload=b"")
                self._say(gone)
