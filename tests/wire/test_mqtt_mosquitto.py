"""The upstream against a real mosquitto."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.mosquitto import Collector, Mosquitto
from tests.fakes.upstream.delivery import FakeDelivery, block, plant
from tests.fakes.upstream.running import running
from tests.fakes.waiting import until


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as started:
        yield started


def values(received: Collector) -> list[float]:
    """Every value of every data message."""
    return [
        reading["value"]
        for message in list(received.messages)
        if message.topic.endswith("/data")
        for reading in json.loads(message.payload)["readings"]
    ]


@pytest.mark.parametrize("protocol", [5, "3.1.1"])
async def test_blocks_arrive_and_are_acknowledged(broker: Mosquitto, protocol: object) -> None:
    table = plant()
    delivery = FakeDelivery(block(number, table) for number in range(50))
    with Collector(broker.port) as received:
        async with running(broker.url, delivery, table=table, protocol=protocol) as up:
            await until(lambda: not delivery.left)
            await until(lambda: len(values(received)) == 300)
            assert up.counters.readings == 300
            assert up.counters.messages == 101  # two devices in each block, and the state
            assert up.counters.up
        states = [json.loads(payload) for payload in received.payloads("cell/state")]
    assert sorted(values(received)) == [number / 8 for number in range(300)]
    assert [state["state"] for state in states] == ["online", "offline"]
    assert states[0] == {
        "state": "online",
        "boot": "9f2c61",
        "version": "1.0",
        "site": {"enterprise": "acme", "site": "cangzhou"},
        "location": {"latitude": 38.31},
    }


async def test_a_killed_broker_costs_nothing(broker: Mosquitto) -> None:
    table = plant()
    delivery = FakeDelivery()
    with Collector(broker.port):
        async with running(broker.url, delivery, table=table) as up:
            for number in range(20):
                delivery.append(block(number, table))
            await until(lambda: len(delivery.acknowledged) >= 5)
            broker.kill()
            for number in range(20, 40):
                delivery.append(block(number, table))
            await until(lambda: not up.counters.up)
            broker.start()
            await until(lambda: not delivery.left)
        assert up.counters.readings == 240
    assert len(set(delivery.acknowledged)) == 40  # readings are counted once, whatever was sent twice
