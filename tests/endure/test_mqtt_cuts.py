"""A hundred cuts of the line and twenty killed brokers: nothing missing, nothing given up early."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import pytest

from tests.fakes.mosquitto import Collector, Mosquitto
from tests.fakes.upstream.delivery import FakeDelivery, block, plant
from tests.fakes.upstream.proxy import Proxy
from tests.fakes.upstream.running import running
from tests.fakes.waiting import until

pytestmark = [pytest.mark.endure, pytest.mark.timeout(600)]
TABLE = plant()


def values(received: Collector) -> set[float]:
    return {
        reading["value"]
        for message in list(received.messages)
        if message.topic.endswith("/data")
        for reading in json.loads(message.payload)["readings"]
    }


@pytest.mark.parametrize("form", ["tcp", "many small messages"])
async def test_a_hundred_cuts(tmp_path: Path, form: str) -> None:
    rng = random.Random(7)
    topic = {"tcp": "{gateway}/{device}", "many small messages": "{gateway}/{device}/{tag}"}[form]
    with Mosquitto(tmp_path) as broker:
        async with Proxy(broker.port) as proxy:
            delivery, number = FakeDelivery(), 0
            with Collector(broker.port, "cell/#") as received:
                async with running(proxy.url, delivery, table=TABLE, topic=topic) as up:
                    while proxy.cuts < 100:
                        while len(delivery.left) < 50:
                            delivery.append(block(number, TABLE, 60))
                            number += 1
                        proxy.cut_after = rng.randrange(200, 60_000)
                        connections = proxy.connections
                        await until(lambda seen=connections: proxy.connections != seen, 60)  # type: ignore[misc]
                    proxy.cut_after = None
                    await until(lambda: not delivery.left, 60)
                    assert up.counters.readings == number * 60
                if form == "tcp":
                    await until(lambda: len(values(received)) == number * 60, 60)
            assert len(delivery.acknowledged) == number


async def test_twenty_killed_brokers(tmp_path: Path) -> None:
    rng = random.Random(7)
    with Mosquitto(tmp_path) as broker:
        async with Proxy(broker.port) as proxy:
            delivery, number = FakeDelivery(), 0
            with Collector(broker.port, "cell/#") as received:
                async with running(proxy.url, delivery, table=TABLE) as up:
                    for _ in range(20):
                        for _ in range(100):
                            delivery.append(block(number, TABLE, 60))
                            number += 1
                        wanted = len(delivery.acknowledged) + rng.randrange(1, 90)
                        await until(lambda count=wanted: len(delivery.acknowledged) >= count, 60)  # type: ignore[misc]
                        proxy.open = False
                        broker.kill()
                        await until(lambda: not up.counters.up, 60)
                        subscriptions = received.subscriptions
                        broker.start()
                        await asyncio.to_thread(received.wait_subscribed, subscriptions + 1)
                        proxy.open = True
                    await until(lambda: not delivery.left, 60)
                await until(lambda: len(values(received)) == number * 60, 60)
            assert len(delivery.acknowledged) == number
