"""What a broker allows: window, Maximum Packet Size, MaximumQoS, RetainAvailable."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest

from gateway.block import Block, BlockId
from gateway.readings import Readings, Tag, TagTable
from gateway.runtime.supervise import Backoff
from tests.fakes.broker import Connect, Publish, ScriptedBroker, data
from tests.fakes.upstream.delivery import STAMP, START_NS, FakeDelivery, block, blocks, plant
from tests.fakes.upstream.running import running
from tests.fakes.upstream.virtually import virtually
from tests.fakes.waiting import until

TABLE = plant()


async def test_the_receive_maximum_is_never_exceeded() -> None:
    async with ScriptedBroker(connack_properties=b"\x21\x00\x01") as broker:  # Receive Maximum 1
        delivery = blocks(10)
        async with running(broker.url, delivery, table=TABLE) as up:
            up.upstream.link("d0", True, "", 0)
            await until(lambda: not delivery.left)
        assert broker.most_open == 1


async def test_the_receive_maximum_of_each_connection_is_its_own() -> None:
    async with ScriptedBroker(latency_s=0.01) as broker:
        delivery = FakeDelivery()
        widest = []
        broker.connack_properties = b"\x21\x00\x01"
        async with running(broker.url, delivery, table=TABLE, window=40, backoff=Backoff(0.01, 0.02)):
            for number, maximum in enumerate((1, 7, 2, None, 1)):
                if number:
                    broker.connack_properties = b"" if maximum is None else b"\x21\x00" + bytes((maximum,))
                    broker.most_open = 0
                    broker.cut()
                    await until(lambda wanted=number + 1: broker.connections == wanted)  # type: ignore[misc]
                for index in range(30):
                    delivery.append(block(number * 30 + index, TABLE))
                await until(lambda: not delivery.left)
                widest.append(broker.most_open)
    assert (widest[0], widest[2], widest[4]) == (1, 2, 1)
    assert 2 < widest[1] <= 7
    assert 7 < widest[3] <= 40


def test_the_configured_window_is_never_exceeded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        held: list[Publish] = []
        async with (
            ScriptedBroker(puback=held.append) as broker,
            running(broker.url, blocks(50), table=TABLE, window=7, patience=0.1),
        ):
            await until(lambda: len(held) == 7)
            await asyncio.sleep(15)
            assert broker.most_open == 7

    virtually(monkeypatch, main())


async def test_large_blocks_go_in_parts_below_the_maximum_packet_size() -> None:
    async with ScriptedBroker(connack_properties=b"\x27" + (600).to_bytes(4, "big")) as broker:
        delivery = FakeDelivery([block(0, TABLE, 100)])
        async with running(broker.url, delivery, table=TABLE):
            await until(lambda: not delivery.left)
        assert max(publish.size for publish in broker.published) <= 600
        parts = [json.loads(publish.payload) for publish in data(broker.published)]
        first = [part for part in parts if part["device"] == "d0"]
        assert [part["part"] for part in first] == list(range(len(first)))
        values = sorted(reading["value"] for part in parts for reading in part["readings"])
        assert values == [row / 8 for row in range(100)]


async def test_a_dictionary_the_broker_can_not_take_holds_up_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with ScriptedBroker(connack_properties=b"\x27" + (1500).to_bytes(4, "big")) as broker:
        small, large = plant(), plant(2, 100)
        delivery = FakeDelivery([block(0, small), block(1, large)])
        async with running(broker.url, delivery, format="columns"):
            await until(lambda: not delivery.left)
        dictionaries = [publish for publish in broker.published if "/dictionary/" in publish.topic]
        assert [publish.topic for publish in dictionaries] == [f"cell/dictionary/{small.digest}"]
        assert dictionaries[0].retain
        assert broker.connections == 1
    assert any(large.digest in record.message for record in caplog.records)


async def test_a_reading_the_broker_can_not_take_holds_up_nothing() -> None:
    async with ScriptedBroker(connack_properties=b"\x27" + (600).to_bytes(4, "big")) as broker:
        table = TagTable([Tag("d0", "t0"), Tag("d0", "text", "string")])
        readings = Readings(
            np.array([0, 1], np.uint32),
            np.full(2, START_NS),
            np.array([1.0, 7.0]),
            np.zeros(2, np.uint8),
            {7: "x" * 900},
        )
        whole = Block(BlockId("9f2c61", 0), table, readings, (), STAMP, START_NS)
        delivery = FakeDelivery([whole, block(1, TABLE)])
        async with running(broker.url, delivery, table=table, patience=0.1) as up:
            await until(lambda: delivery.left == [whole.id])
            assert up.counters.readings == 7  # its other reading too
        assert broker.connections == 1


async def test_a_broker_of_quality_zero_is_refused_with_a_clear_word() -> None:
    async with ScriptedBroker(connack_properties=b"\x24\x00") as broker:
        async with running(broker.url, blocks(1), table=TABLE, patience=0.1) as up:
            await until(lambda: "QoS 0" in up.counters.reason)
        assert data(broker.published) == []


async def test_without_retained_messages_state_and_will_go_unretained(caplog: pytest.LogCaptureFixture) -> None:
    def no_retain(connect: Connect) -> int:
        return 0x9A if connect.will_retain else 0  # as MQTT 5 asks of such a broker, section 3.2.2.3.5

    async with ScriptedBroker(connack_properties=b"\x25\x00", judge=no_retain) as broker:
        delivery = blocks(1)
        async with running(broker.url, delivery, table=TABLE):
            await until(lambda: not delivery.left)
        assert not any(publish.retain for publish in broker.published)
        assert [connect.will_retain for connect in broker.connects] == [True, False]
        assert broker.connects[1].will_topic == "cell/state"
    assert any("no retained" in record.message for record in caplog.records)


async def test_a_block_that_ends_every_connection_is_cut_smaller() -> None:
    async with ScriptedBroker() as broker:

        def close_on_large(publish: Publish) -> int | None:
            if len(publish.payload) > 5000:
                asyncio.get_running_loop().call_later(0.05, broker.cut)
                return None
            return 0

        broker.puback = close_on_large
        delivery = FakeDelivery([block(0, TABLE, 300)])
        async with running(broker.url, delivery, table=TABLE, backoff=Backoff(0.01, 0.02)):
            await until(lambda: not delivery.left, 40)
