"""Hands messages over in order and lets go of a block only when the broker answered for all of them in this epoch.

    births ----> urgent -+
    blocks -> steps -----+--PUBLISH QoS 0--> broker,  then an empty QoS 1 barrier: its PUBACK answers for all before it
    `durable`: the steps themselves go with QoS 1, their PUBACKs take the barrier's place

One batch is on its way at a time. What a broken connection leaves is offered again by the spool.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from typing import Final

from gateway.block import Block, Delivery
from gateway.errors import LinkError
from gateway.runtime.clock import Clock
from gateway.runtime.counters import UpstreamCounters
from gateway.upstream.complaints import code_name
from gateway.upstream.message import Message
from gateway.upstream.session import Session
from gateway.upstream.sparkplug.birth import MS
from gateway.upstream.sparkplug.node import Node
from gateway.upstream.sparkplug.planner import Step
from gateway.upstream.sparkplug.proto import wrap

log = logging.getLogger(__name__)

BATCH_MESSAGES: Final = 100
BATCH_S: Final = 0.5


class Flow:
    """The messages of one epoch. Nothing else publishes births, data or deaths of devices."""

    def __init__(
        self,
        name: str,
        session: Session,
        node: Node,
        delivery: Delivery,
        clock: Clock,
        counters: UpstreamCounters,
        barrier: Message,
        *,
        window: int,
        ack_timeout_s: float,
        durable: bool,
    ) -> None:
        self._name = name
        self._session = session
        self._node = node
        self._delivery = delivery
        self._clock = clock
        self._counters = counters
        self._barrier = barrier
        self._window = window
        self._ack_timeout_s = ack_timeout_s
        self._durable = durable
        self._urgent: deque[Step] = deque()
        self._steps: deque[Step] = deque()
        self._block: Block | None = None  # whose steps are in the queue
        self._complete: list[Block] = []  # handed over in this batch, to the last message
        self._open: set[int] = set()  # packet ids the batch waits for
        self._closed = False  # the barrier is on its way
        self._handed = 0
        self._readings = 0
        self._started = 0.0
        self._heard = 0.0  # the last answer, or when the first one began to be waited for
        self._refused: int | None = None
        self._said = False

    # what is to be sent

    @property
    def wants_block(self) -> bool:
        """Whether the next block may be planned."""
        return not (self._closed or self._urgent or self._steps or self._full)

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way."""
        return not (self._urgent or self._steps or self._block or self._complete or self._open)

    def births(self, steps: Sequence[Step]) -> Block | None:
        """Births in front of everything; the messages that waited are void. The block to be planned again."""
        self._urgent = deque(steps)
        self._steps.clear()
        again, self._block = self._block, None
        return again

    def add(self, steps: Sequence[Step], block: Block | None = None) -> None:
        """Messages to come, of a block or without one."""
        self._steps.extend(steps)
        if block is not None:
            self._block = block

    @property
    def _full(self) -> bool:
        return self._handed >= BATCH_MESSAGES

    # hand-over

    def push(self, now: float) -> None:
        """Hand over what may go now; LinkError where the session takes no more."""
        while self._urgent and not self._session.blocked:
            self._publish(self._urgent.popleft(), qos=0)
        while not (self._urgent or self._closed or self._full or self._session.blocked) and self._room:
            if not self._steps:
                self._block_is_out()
                return
            if not self._handed:
                self._started = now
            step = self._steps.popleft()
            mid = self._publish(step, qos=1 if self._durable and step.data else 0)
            if mid is not None:
                self._await(mid, now)
            self._handed += 1
            self._readings += step.readings
        if not self._steps:
            self._block_is_out()

    @property
    def _room(self) -> bool:
        return len(self._open) < self._window

    def _block_is_out(self) -> None:
        if self._block is not None and not self._urgent and not self._closed:
            self._complete.append(self._block)
            self._block = None

    def close_batch(self, now: float) -> None:
        """Send the barrier where the batch is full, old, or nothing waits behind it."""
        if self._closed or self._urgent or self._session.blocked or not (self._handed or self._complete):
            return
        if self._steps and not self._full and now - self._started < BATCH_S:
            return
        if not self._handed:
            self._done(now)  # blocks of which nothing is sent
            return
        self._started = now
        if not self._durable:
            mid = self._session.publish(self._barrier)
            if mid is None:
                raise LinkError("the barrier was not taken")
            self._await(mid, now)
        self._closed = True
        self._settle(now)

    def _publish(self, step: Step, qos: int) -> int | None:
        time_ms = self._clock.now_ns() // MS if step.time_ms is None else step.time_ms
        payload = wrap(step.metrics, time_ms, self._node.next_seq())
        mid = self._session.publish(Message(step.topic, payload, qos=qos, readings=step.readings))
        if mid is None:
            raise LinkError("a message was not taken")
        self._counters.messages += 1
        return mid if qos else None

    # answers

    def _await(self, mid: int, now: float) -> None:
        if not self._open:
            self._heard = now
        self._open.add(mid)

    def acknowledged(self, mid: int, code: int, now: float) -> bool:
        """A PUBACK; True where it ended a batch whose blocks are delivered."""
        if mid not in self._open:
            return False
        self._open.discard(mid)
        self._heard = now
        if code >= 0x80:
            if self._durable:
                raise LinkError(f"the broker refuses data: {code_name(code)}")
            self._refused = code
            return False
        return self._settle(now)

    @property
    def needs_substitute(self) -> bool:
        """Whether the broker refused the barrier: the SUBACK of a repeated subscription must answer for it."""
        return self._refused is not None

    def substituted(self, now: float) -> bool:
        """The SUBACK came, on this connection and behind all messages."""
        if not self._said and self._refused is not None:
            self._said = True
            log.warning(
                "%s: the broker refuses %s (%s): a repeated subscription takes its place",
                self._name,
                self._barrier.topic,
                code_name(self._refused),
            )
        self._refused = None
        return self._settle(now)

    def watch(self, now: float) -> None:
        """LinkError where the next answer is overdue."""
        if self._open and now - self._heard > self._ack_timeout_s:
            raise LinkError(f"no acknowledgement for {now - self._heard:.0f} s")

    def _settle(self, now: float) -> bool:
        if not self._closed or self._open or self._refused is not None:
            return False
        self._done(now)
        return True

    def _done(self, now: float) -> None:
        for block in self._complete:
            self._delivery.acknowledge(block)
        counters = self._counters
        counters.backlog = self._delivery.backlog
        counters.readings += self._readings
        if self._closed:
            counters.latency_seconds = now - self._started
            counters.last_ack_ns = self._clock.now_ns()
        self._complete.clear()
        self._closed, self._handed, self._readings = False, 0, 0
