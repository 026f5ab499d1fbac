"""Sends blocks with QoS 1 and lets go of each only when the broker has taken all its messages in the same epoch.

    Delivery.next() -> Payload -> ready -> window --PUBLISH--> broker
    Delivery.acknowledge() <- last message done <- window <--PUBACK--
                       refused topics: parking (they knock again), others go on

1. The spool is the only queue: at most one block is encoded and not yet in the window.
2. Acknowledgements may come in any order; blocks are independent.
3. End of the epoch: all packet ids are forgotten, every undelivered block is offered again; messages that were
   acknowledged stay done as long as the process lives.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from gateway.block import Block, Delivery
from gateway.errors import LinkError
from gateway.runtime.clock import Clock
from gateway.runtime.counters import UpstreamCounters
from gateway.runtime.supervise import Link
from gateway.upstream.complaints import Complaints
from gateway.upstream.message import Message
from gateway.upstream.outbox import Outbox
from gateway.upstream.parking import STANDING, Parking
from gateway.upstream.payload import Payload
from gateway.upstream.progress import Item, Progress
from gateway.upstream.session import Session
from gateway.upstream.suspicion import Suspicion
from gateway.upstream.window import Window

log = logging.getLogger(__name__)

NO_SUBSCRIBERS: Final = 0x10
ID_IN_USE: Final = 0x91
STOP_GRACE_S: Final = 0.1


class Sender:
    """One upstream's sender; `run` serves one epoch, what is known to be done outlives it."""

    def __init__(
        self,
        name: str,
        delivery: Delivery,
        payload: Payload,
        counters: UpstreamCounters,
        clock: Clock,
        *,
        window: int,
        max_message: int,
        ack_timeout_s: float,
    ) -> None:
        self.outbox = Outbox()
        self._name = name
        self._delivery = delivery
        self._payload = payload
        self._counters = counters
        self._clock = clock
        self._max_message = max_message
        self._max_window = window
        self._ack_timeout_s = ack_timeout_s
        self._suspicion = Suspicion(max_message)
        self._complaints = Complaints(name, counters)
        self._progress = Progress()
        self._clear()

    def _clear(self) -> None:
        self._ready: deque[Item] = deque()
        self._window: Window[Item] = Window(self._max_window)
        self._parking: Parking[Item] = Parking(lambda item: item.order)
        self._dictionaries: set[str] = set()
        self._fetch: asyncio.Task[Block] | None = None
        self._complaints.clear()
        self._grace_over = False
        self._held_back = False
        self._packet_limit: int | None = None
        self._acknowledged = 0
        self._proven = False  # a block's message was accepted

    async def run(self, session: Session, link: Link, stop: asyncio.Event, receive: Callable[[Session], None]) -> None:
        """Send until `stop` is set and all is delivered; LinkError where the epoch ends before.

        `receive` takes what came from the broker; it must not wait.
        """
        limits = session.limits
        if limits.qos < 1:
            raise LinkError("the broker offers QoS 0 only: nothing could be acknowledged")
        if not limits.retain:
            log.warning("%s: the broker keeps no retained messages: state is published unretained", self._name)
        self._window = Window(min(self._max_window, limits.receive_maximum))
        self._packet_limit = limits.packet_size
        limit = min(self._suspicion.limit, limits.packet_size or self._max_message)
        try:
            while True:
                self._take_acks(session, link)
                if self._held_back:
                    await self._offer_again()
                receive(session)
                self._publish(session)
                while self._wants_block() and await self._next_block(session, limit):
                    self._publish(session)
                self._watch()
                if stop.is_set() and self._finished(session):
                    return
                await session.wait()
        except LinkError:
            self._judge(limit)
            raise
        finally:
            await self._end()

    # blocks -> ready

    def _wants_block(self) -> bool:
        return not self._ready and self._window.has_room(1)

    async def _next_block(self, session: Session, limit: int) -> bool:
        if self._fetch is None:
            self._fetch = asyncio.create_task(self._fetch_block())
            self._fetch.add_done_callback(lambda _: session.wake())
            await asyncio.sleep(0)
        if not self._fetch.done():
            return False
        block, self._fetch = self._fetch.result(), None
        self._counters.backlog = self._delivery.backlog
        self._encode(block, limit)
        return True

    async def _fetch_block(self) -> Block:
        return await self._delivery.next()

    def _encode(self, block: Block, limit: int) -> None:
        if block.id in self._progress or self._suspicion.holds(block.id, asyncio.get_running_loop().time()):
            return  # on its way already, or it ended every connection so far
        items = self._progress.start(block, self._payload.messages(block, limit))
        if not items:
            self._delivered(block)
            return
        dictionary = self._payload.dictionary(block)
        if dictionary is not None and dictionary.topic not in self._dictionaries:
            self._dictionaries.add(dictionary.topic)
            self.outbox.put(dictionary)
        self._ready.extend(items)

    # ready -> window

    def _publish(self, session: Session) -> None:
        now = asyncio.get_running_loop().time()
        while (message := self.outbox.first()) is not None:
            if self._too_large(message):
                text = f"{message.topic} can't be sent: larger than the broker's Maximum Packet Size"
                self._complaints.say(message.topic, text)
            elif message.topic in self._parking:
                self._park(self._progress.single(message))
            elif not self._send(session, self._progress.single(message), now):
                return
            self.outbox.drop_first()
        while self._window.has_room(1) and (knocking := self._parking.knock(now)) is not None:
            if not self._send(session, knocking, now):
                self._parking.back(knocking.message.topic, knocking, knocking.message.size)
                break
        while self._ready:
            item = self._ready[0]
            if self._too_large(item.message):
                self._shed(item, "a single reading is larger than the broker's Maximum Packet Size")
            elif item.message.topic in self._parking:
                self._park(item)
            elif not self._send(session, item, now):
                break
            self._ready.popleft()
        self._counters.in_flight = len(self._window)

    def _too_large(self, message: Message) -> bool:
        return self._packet_limit is not None and message.size > self._packet_limit

    def _send(self, session: Session, item: Item, now: float) -> bool:
        size = item.message.size
        if not self._window.has_room(size):
            return False
        mid = session.publish(item.message)
        if mid is None:
            return False
        self._window.add(mid, item, size, now)
        return True

    def _park(self, item: Item) -> None:
        message, weight = item.message, item.work.weigh() if item.work else 0
        if not self._parking.put(message.topic, item, message.size + weight, alone=message.retain):
            self._shed(item)

    def _shed(self, item: Item, why: str = "") -> None:
        """Not kept here: its block stays in the spool and is offered again."""
        if why:
            self._complaints.say(f"{item.message.topic} {why}", f"topic {item.message.topic}: {why}")
        self._progress.shed(item)

    # window -> done

    def _take_acks(self, session: Session, link: Link) -> None:
        now = asyncio.get_running_loop().time()
        for mid, code in session.take_acks():
            flight = self._window.release(mid)
            if flight is None:
                continue
            if code >= 0x80:
                self._refused(flight.item, code, now)
                continue
            if code == NO_SUBSCRIBERS and not flight.item.message.retain:
                self._complaints.unheard(flight.item.message.topic, code)
            self._accepted(flight.item, now - flight.sent)
            if flight.item.work is not None or not self._delivery.backlog:
                link.worked()
        self._counters.in_flight = len(self._window)

    def _accepted(self, item: Item, latency_s: float) -> None:
        counters = self._counters
        counters.messages += 1
        counters.latency_seconds = latency_s
        counters.last_ack_ns = self._clock.now_ns()
        topic = item.message.topic
        if topic in self._parking:
            items, overflowed = self._parking.accept(topic)
            self._ready.extendleft(reversed(items))
            log.info("%s: topic %s is accepted again", self._name, topic)
            self._held_back |= overflowed
        self._acknowledged += 1
        if item.work is not None:
            self._proven = True
            counters.readings += item.message.readings
        block = self._progress.done(item)
        if block is not None:
            self._delivered(block)

    def _delivered(self, block: Block) -> None:
        self._delivery.acknowledge(block)
        self._counters.backlog = self._delivery.backlog

    def _refused(self, item: Item, code: int, now: float) -> None:
        if code == ID_IN_USE:
            raise LinkError("packet id in use: the connection is out of step")
        topic, answer = item.message.topic, item.work is None and not item.message.retain
        dropped = answer and code in STANDING
        consequence = "the broker refuses it" if dropped else "the broker refuses it, its data is kept"
        self._complaints.refused(topic, code, consequence)
        if dropped:
            return
        self._parking.refuse(topic, code, now)
        self._park(item)

    async def _offer_again(self) -> None:
        """What found no room while its topic was refused comes again; blocks on their way are passed over."""
        self._held_back = False
        await self._drop_fetch()
        self._delivery.rewind()

    async def _drop_fetch(self) -> None:
        if self._fetch is not None:
            self._fetch.cancel()
            await asyncio.wait([self._fetch])
            self._fetch = None

    # deadlines and the end

    def _watch(self) -> None:
        oldest = self._window.oldest()
        if oldest is not None:
            age = asyncio.get_running_loop().time() - oldest.sent
            if age > self._ack_timeout_s:
                self._proven = True  # a silent broker says nothing against the block
                raise LinkError(f"no acknowledgement for {age:.0f} s")

    def _finished(self, session: Session) -> bool:
        """Nothing on its way, nothing to fetch. Asked twice: the fetch gets a moment to show what there is."""
        stuck = any(item.work for item in self._parking)
        if len(self._window) or self._ready or len(self.outbox) or (self._delivery.backlog and not stuck):
            self._grace_over = False
            return False
        if not self._grace_over:
            self._grace_over = True
            asyncio.get_running_loop().call_later(STOP_GRACE_S, session.wake)
            return False
        return self._fetch is None or not self._fetch.done()

    def _judge(self, limit: int) -> None:
        """The link broke: maybe the first block ends every connection, though the broker takes what is small."""
        suspect = next((flight.item.work.block.id for flight in self._window.flights() if flight.item.work), None)
        if self._proven or not self._acknowledged:
            suspect = None
        verdict = self._suspicion.ended(suspect, limit, asyncio.get_running_loop().time())
        if verdict:
            log.warning("%s: %s", self._name, verdict)

    async def _end(self) -> None:
        await self._drop_fetch()
        self._progress.end_epoch()
        items = [*(flight.item for flight in self._window.flights()), *self._ready, *self._parking]
        self.outbox.restart(item.message for item in items if item.work is None)
        self._clear()
        self._counters.in_flight = 0
        self._delivery.rewind()
