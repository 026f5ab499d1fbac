from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from gateway.errors import LinkError
from gateway.runtime.clock import Clock
from gateway.runtime.counters import Counters
from gateway.upstream.message import Message
from gateway.upstream.session import Session
from gateway.upstream.sparkplug.flow import BATCH_MESSAGES, Flow
from gateway.upstream.sparkplug.node import Node
from gateway.upstream.sparkplug.planner import Step
from gateway.upstream.sparkplug.proto import decode
from tests.fakes.upstream.delivery import FakeDelivery, block, plant

BARRIER = Message("cell/barrier", b"")
BIRTH = Step("spBv1.0/g/NBIRTH/n", b"", data=False)
DATA = Step("spBv1.0/g/DDATA/n/d", b"", readings=1)


class FakeSession:
    """Takes what is published until told that it is blocked."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.blocked = False
        self.live = True

    def publish(self, message: Message) -> int | None:
        if not self.live:
            return None
        self.sent.append(message)
        return len(self.sent)

    @property
    def topics(self) -> list[str]:
        return [
            message.topic.split("/")[-1] if message is BARRIER else message.topic.split("/")[2] for message in self.sent
        ]


class Rig:
    def __init__(self, blocks: int = 3, *, durable: bool = False, window: int = 100) -> None:
        self.session, self.node = FakeSession(), Node()
        self.blocks = [block(number, plant()) for number in range(blocks)]
        self.delivery = FakeDelivery(self.blocks)
        self.flow = Flow(
            "plant", cast("Session", self.session), self.node, self.delivery, Clock(), Counters().upstream("plant"),
            BARRIER, window=window, ack_timeout_s=20.0, durable=durable,
        )  # fmt: skip
        self.node.born()

    async def offer(self, steps: int = 2) -> None:
        """The next block as that many messages."""
        self.flow.add([DATA] * steps, await self.delivery.next())
        self.flow.push(0.0)

    @property
    def left(self) -> int:
        return len(self.delivery.left)


async def test_a_block_is_let_go_only_behind_the_barrier_after_its_last_message() -> None:
    rig = Rig()
    await rig.offer()
    rig.flow.close_batch(0.0)
    assert rig.session.topics == ["DDATA", "DDATA", "barrier"]
    assert [message.qos for message in rig.session.sent] == [0, 0, 1]
    assert rig.left == 3
    assert not rig.flow.acknowledged(99, 0, 0.1)
    assert rig.flow.acknowledged(3, 0x10, 0.1)
    assert rig.left == 2


async def test_a_block_that_is_not_yet_out_is_not_covered_by_the_barrier() -> None:
    rig = Rig()
    await rig.offer(BATCH_MESSAGES + 5)
    rig.flow.close_batch(0.0)
    assert rig.session.topics[-1] == "barrier"
    assert rig.flow.acknowledged(BATCH_MESSAGES + 1, 0, 0.1)
    assert rig.left == 3
    rig.flow.push(0.2)
    rig.flow.close_batch(0.2)
    assert rig.flow.acknowledged(len(rig.session.sent), 0, 0.3)
    assert rig.left == 2


async def test_one_batch_per_round_trip() -> None:
    rig = Rig()
    await rig.offer()
    rig.flow.close_batch(0.0)
    assert not rig.flow.wants_block
    rig.flow.acknowledged(3, 0, 0.1)
    assert rig.flow.wants_block


async def test_a_refused_barrier_lets_nothing_go_until_the_subscription_answers() -> None:
    rig = Rig()
    await rig.offer()
    rig.flow.close_batch(0.0)
    assert not rig.flow.acknowledged(3, 0x87, 0.1)
    assert rig.flow.needs_substitute
    assert rig.left == 3
    assert rig.flow.substituted(0.2)
    assert rig.left == 2


async def test_operational_behavior_data_commands_rebirth_action_1_stops_data_at_once() -> None:
    rig = Rig()
    one = await rig.delivery.next()
    rig.session.blocked = True
    rig.flow.add([DATA, DATA], one)
    rig.flow.push(0.0)
    rig.node.born()
    assert rig.flow.births([BIRTH]) is one
    rig.session.blocked = False
    rig.flow.push(0.1)
    assert rig.session.topics == ["NBIRTH"]
    assert decode(rig.session.sent[0].payload).seq == 0
    assert rig.left == 3


async def test_payloads_nbirth_timestamp_is_before_it_arrives_and_data_have_that_of_their_hand_over() -> None:
    rig = Rig()
    rig.flow.births([replace(BIRTH, time_ms=5)])
    await rig.offer(1)
    birth, data = [decode(message.payload).timestamp for message in rig.session.sent]
    assert birth == 5
    assert data > 1_700_000_000_000


async def test_nothing_is_handed_over_while_the_socket_is_blocked() -> None:
    rig = Rig()
    rig.session.blocked = True
    await rig.offer()
    rig.flow.close_batch(1.0)
    assert rig.session.sent == []


async def test_durable_waits_for_every_message_within_the_window() -> None:
    rig = Rig(durable=True, window=2)
    await rig.offer(3)
    rig.flow.close_batch(0.0)
    assert [message.qos for message in rig.session.sent] == [1, 1]
    rig.flow.acknowledged(1, 0, 0.1)
    rig.flow.push(0.1)
    rig.flow.close_batch(0.1)
    assert rig.session.topics == ["DDATA"] * 3
    rig.flow.acknowledged(3, 0, 0.1)
    assert rig.left == 3
    assert rig.flow.acknowledged(2, 0, 0.1)
    assert rig.left == 2


async def test_durable_data_refused_ends_the_epoch() -> None:
    rig = Rig(durable=True)
    await rig.offer()
    with pytest.raises(LinkError, match="refuses"):
        rig.flow.acknowledged(1, 0x87, 0.1)
    assert rig.left == 3


async def test_a_silent_broker_ends_the_epoch() -> None:
    rig = Rig()
    await rig.offer()
    rig.flow.close_batch(0.0)
    rig.flow.watch(20.0)
    with pytest.raises(LinkError, match="no acknowledgement"):
        rig.flow.watch(20.1)


async def test_a_slow_broker_that_answers_is_not_silent() -> None:
    rig = Rig(durable=True, window=1)
    await rig.offer(10)
    for number in range(1, 10):
        now = 5.0 * number
        rig.flow.watch(now)
        assert not rig.flow.acknowledged(number, 0, now)
        rig.flow.push(now)
    with pytest.raises(LinkError, match="no acknowledgement for 21 s"):
        rig.flow.watch(66.0)


async def test_a_block_without_messages_is_done() -> None:
    rig = Rig()
    await rig.offer(0)
    rig.flow.close_batch(0.0)
    assert rig.left == 2
    assert rig.session.sent == []


async def test_a_session_that_takes_nothing_ends_the_epoch() -> None:
    rig = Rig()
    rig.session.live = False
    with pytest.raises(LinkError):
        await rig.offer()
