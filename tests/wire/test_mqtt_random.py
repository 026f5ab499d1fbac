"""Random lives of a link, in virtual time: nothing is given up without a PUBACK of its own epoch."""

from __future__ import annotations

import asyncio
import random

import pytest

from gateway.runtime.supervise import Backoff
from tests.fakes.broker import Publish, ScriptedBroker, data
from tests.fakes.upstream.delivery import FakeDelivery, block, plant
from tests.fakes.upstream.running import running
from tests.fakes.upstream.virtually import virtually

TABLE = plant(3)
CODES = (0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99)
KICK = b"\xe0\x01\x8b"  # the broker shuts down


@pytest.mark.parametrize("seed", range(3))
def test_all_arrives_in_the_end(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    virtually(monkeypatch, _life(random.Random(seed)))  # a fixed course of accidents


async def _life(rng: random.Random) -> None:
    loop = asyncio.get_running_loop()
    accepted: set[tuple[str, bytes]] = set()
    swallowed = 0

    def answer(publish: Publish) -> int | None:
        nonlocal swallowed
        chance = rng.random()
        if chance < 0.02 and not calm:
            swallowed += 1
            return None
        if chance < 0.15 and not calm:
            code = rng.choice(CODES)
            if code < 0x80:
                accepted.add((publish.topic, publish.payload))
            return code
        accepted.add((publish.topic, publish.payload))
        return 0

    calm = False
    delivery = FakeDelivery()
    async with ScriptedBroker(puback=answer, latency_s=0.02) as broker:
        broker.connack_properties = b"\x21\x00\x05"
        async with running(
            broker.url, delivery, table=TABLE, window=20, ack_timeout="10s", backoff=Backoff(0.1, 2.0), patience=60.0
        ) as up:
            number = 0
            for _ in range(60):
                for _ in range(rng.randrange(8)):
                    delivery.append(block(number, TABLE, rng.choice((1, 6, 30))))
                    number += 1
                await asyncio.sleep(rng.choice((0.0, 0.01, 0.3, 2.0)))
                accident = rng.random()
                if accident < 0.15:
                    broker.cut()
                elif accident < 0.2:
                    broker.send(KICK)
                elif accident < 0.25:
                    broker.connack = [0x88] * rng.randrange(1, 3)
                    broker.cut()
                elif accident < 0.3:
                    up.upstream.link("d0", rng.random() < 0.5, "timeout", int(loop.time() * 1e9))
                broker.connack_properties = b"\x21\x00" + bytes((rng.choice((1, 3, 5)),))
            calm = True
            for _ in range(200):
                if not delivery.left:
                    break
                await asyncio.sleep(1.0)
            assert not delivery.left
            assert up.counters.in_flight == 0
            assert up.counters.backlog == 0
        assert up.ended
    assert broker.most_open <= 5
    assert broker.reused == 0
    assert len(delivery.acknowledged) == len(set(delivery.acknowledged)) == number
    assert {(publish.topic, publish.payload) for publish in data(broker.published)} <= accepted
    assert swallowed or broker.connections > 1
