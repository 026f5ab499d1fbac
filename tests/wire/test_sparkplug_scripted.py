"""The edge node against a scripted broker, for what mosquitto can't be made to do."""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gateway.readings import Quality, Readings, Tag, TagTable, text_hash
from gateway.runtime.latest import Latest
from gateway.upstream.sparkplug import conversation
from gateway.upstream.sparkplug.proto import decode
from tests.fakes.broker import PUBACK, Publish, ScriptedBroker, packet, publish_packet
from tests.fakes.upstream.delivery import START_NS, FakeDelivery, block, plant
from tests.fakes.upstream.running import running
from tests.fakes.upstream.sparkplug import Memory
from tests.fakes.waiting import until

SPARKPLUG: dict[str, Any] = {"format": "sparkplug", "sparkplug": {"group": "g"}}
HOSTED: dict[str, Any] = {"format": "sparkplug", "sparkplug": {"group": "g", "primary_host": "scada"}}


@pytest.fixture
async def broker() -> AsyncIterator[ScriptedBroker]:
    async with ScriptedBroker() as started:
        yield started


def kinds(broker: ScriptedBroker) -> list[str]:
    """NBIRTH, DBIRTH, ..., barrier in order, over all connections."""
    return [
        one.topic.split("/")[2] if one.topic.startswith("spBv1.0") else one.topic.split("/")[-1]
        for one in broker.published
    ]


def said(online: bool, time_ms: int) -> bytes:
    return publish_packet("spBv1.0/STATE/scada", json.dumps({"online": online, "timestamp": time_ms}).encode())


def numbers(broker: ScriptedBroker) -> list[int]:
    """The bdSeq of each CONNECT's will."""
    return [decode(connect.will_payload).metrics[0].long_value for connect in broker.connects]


async def online(broker: ScriptedBroker, subscriptions: int = 1) -> None:
    await until(lambda: broker.subscribed.count("spBv1.0/STATE/scada") == subscriptions)
    broker.send(said(online=True, time_ms=subscriptions * 1000))


async def test_data_answered_for_behind_the_hosts_offline_stay_in_the_spool(broker: ScriptedBroker) -> None:
    delivery, waiting = FakeDelivery(), []

    def hold(publish: Publish) -> int | None:
        waiting.append(publish.mid)
        return None if publish.topic.endswith("barrier") and broker.connections == 1 else 0

    broker.puback = hold
    async with running(broker.url, delivery, **HOSTED):
        await online(broker)
        await until(lambda: "DBIRTH" in kinds(broker))
        delivery.append(block(0, plant()))
        await until(lambda: bool(waiting))
        broker.send(said(online=False, time_ms=1500) + packet(PUBACK, struct.pack("!H", waiting[0])))
        await until(lambda: "NDEATH" in kinds(broker))
        assert len(delivery.left) == 1
        await online(broker, 2)
        await until(lambda: not delivery.left)
    assert kinds(broker).count("NBIRTH") == 2


async def test_message_flow_phid_offline_even_for_a_moment(broker: ScriptedBroker) -> None:
    async with running(broker.url, FakeDelivery(), **HOSTED):
        await online(broker)
        await until(lambda: "DBIRTH" in kinds(broker))
        broker.send(said(online=False, time_ms=1500) + said(online=True, time_ms=1600))
        await until(lambda: len(broker.connects) == 2)
        assert kinds(broker)[-1] == "NDEATH"
        await online(broker, 2)
        await until(lambda: kinds(broker).count("NBIRTH") == 2)
    assert numbers(broker) == [0, 1]


async def test_walk_at_once_where_the_host_says_it_is_offline(broker: ScriptedBroker) -> None:
    async with ScriptedBroker() as other, running([broker.url, other.url], FakeDelivery(), **HOSTED):
        await until(lambda: "spBv1.0/STATE/scada" in broker.subscribed)
        broker.send(said(online=False, time_ms=1000))
        await until(lambda: "spBv1.0/STATE/scada" in other.subscribed, conversation.HOST_WAIT_S / 2)
        other.send(said(online=True, time_ms=1000))
        await until(lambda: "DBIRTH" in kinds(other))
    assert kinds(broker) == ["NDEATH"]


async def test_walk_after_a_while_where_nobody_speaks_of_the_host(
    broker: ScriptedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "HOST_WAIT_S", 0.5)
    async with ScriptedBroker() as other, running([broker.url, other.url], FakeDelivery(), **HOSTED) as up:
        await until(lambda: up.counters.reason == "waits for the primary host on spBv1.0/STATE/scada")
        await until(lambda: "spBv1.0/STATE/scada" in other.subscribed)
    assert broker.subscribed.count("spBv1.0/STATE/scada") >= 1


async def test_births_too_large_for_the_broker_name_the_device(broker: ScriptedBroker) -> None:
    broker.connack_properties = b"\x27" + struct.pack("!I", 1500)
    table = plant(2, 60)
    async with running(broker.url, FakeDelivery([block(0, table)]), table=table, **SPARKPLUG) as up:
        await until(lambda: "larger than" in up.counters.reason)
        assert "spBv1.0/g/DBIRTH/cell/d0" in up.counters.reason
        assert "Maximum Packet Size" in up.counters.reason
        assert "DBIRTH" not in kinds(broker)
        assert len(up.delivery.left) == 1


async def test_a_text_the_broker_can_not_take_goes_out_as_bad_and_holds_nothing_up(
    broker: ScriptedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.connack_properties = b"\x27" + struct.pack("!I", 4000)
    table = TagTable([Tag("d", "text", "string"), Tag("d", "number")])
    long, short = "ü" * 2000, "fine"
    texts = {text_hash(long): long, text_hash(short): short}
    readings = Readings(
        np.array([0, 0, 1], np.uint32),
        START_NS + np.arange(3) * 1_000_000,
        np.array([text_hash(long), text_hash(short), text_hash(long)], np.float64),
        np.full(3, Quality.GOOD, np.uint8),
        texts,
    )
    latest = Latest(table)
    latest.update(readings.where(slice(0, 1)))
    delivery = FakeDelivery([replace(block(0, table), readings=readings)])
    async with running(broker.url, delivery, table=table, latest=latest, **SPARKPLUG):
        await until(lambda: not delivery.left)
    assert len(broker.connects) == 1
    assert max(one.size for one in broker.published) <= 4000
    data = [decode(one.payload) for one in broker.published if "DDATA" in one.topic]
    metrics = [metric for payload in data for metric in payload.metrics]
    assert [(m.is_null, m.string_value) for m in metrics if m.alias == 1] == [(True, ""), (False, "fine")]
    assert [m.double_value for m in metrics if m.alias == 2] == [float(text_hash(long))]
    assert [metric.properties.keys for metric in metrics if metric.is_null] == [["Quality"]]
    assert caplog.text.count("a text of d.text is larger") == 1


async def test_ndeath_keeps_the_receive_maximum(broker: ScriptedBroker) -> None:
    broker.connack_properties = b"\x21\x00\x01"
    held: list[int] = []
    broker.puback = lambda publish: held.append(publish.mid)
    async with running(broker.url, FakeDelivery([block(0, plant())]), **HOSTED):
        await online(broker)
        await until(lambda: bool(held))
        broker.send(said(online=False, time_ms=1500))
        await until(lambda: broker.disconnects == [4])  # without an answer in time the will must do
    assert not [one.topic for one in broker.published if "NDEATH" in one.topic and one.connection == 0]


@pytest.mark.parametrize("durable", [True, False])
async def test_receive_maximum_one(broker: ScriptedBroker, durable: bool) -> None:
    broker.connack_properties = b"\x21\x00\x01"
    delivery = FakeDelivery([block(number, plant()) for number in range(3)])
    options: dict[str, Any] = {"format": "sparkplug", "sparkplug": {"group": "g", "durable": durable}}
    async with running(broker.url, delivery, **options):
        await until(lambda: not delivery.left)
    assert broker.most_open == 1


async def test_bdseq_counts_connects_and_is_kept_before_each(broker: ScriptedBroker) -> None:
    class Keeping(Memory):
        async def remember(self, key: str, value: bytes) -> None:
            order.append((len(broker.connects), value))
            await super().remember(key, value)

    order: list[tuple[int, bytes]] = []
    broker.connack = [0x88, 0x88]  # refused CONNECTs count: their wills went out
    async with running(broker.url, FakeDelivery(), memory=Keeping(), **SPARKPLUG):
        await until(lambda: "DBIRTH" in kinds(broker))
    assert order == [(0, b"0"), (1, b"1"), (2, b"2")]
    assert numbers(broker) == [0, 1, 2]
    assert decode(broker.published[0].payload).metrics[4].long_value == 2


async def test_a_disk_that_hangs_holds_nothing_up(broker: ScriptedBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging(Memory):
        async def remember(self, key: str, value: bytes) -> None:
            await until(lambda: False)

    monkeypatch.setattr(conversation, "REMEMBER_TIMEOUT_S", 0.1)
    async with running(broker.url, FakeDelivery(), memory=Hanging(), **SPARKPLUG):
        await until(lambda: "DBIRTH" in kinds(broker))
    assert numbers(broker) == [0]


async def test_a_refused_subscription_brings_no_births(broker: ScriptedBroker) -> None:
    broker.suback = 0x87
    async with running(broker.url, FakeDelivery(), **SPARKPLUG) as up:
        await until(lambda: "refuses the subscription to spBv1.0/g/NCMD/cell" in up.counters.reason)
        assert kinds(broker) == []
        broker.suback = 1
        await until(lambda: "DBIRTH" in kinds(broker))


async def test_a_broker_without_qos_1_is_told_apart(broker: ScriptedBroker) -> None:
    broker.connack_properties = b"\x24\x00"
    async with running(broker.url, FakeDelivery([block(0, plant())]), **SPARKPLUG) as up:
        await until(lambda: "QoS 0 only" in up.counters.reason)
        assert kinds(broker) == []
        assert len(up.delivery.left) == 1
