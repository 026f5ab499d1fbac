"""Commands in numbers, and commands that mean harm: bounded, answered, and in nobody's way."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from gateway.upstream.connect import RECEIVE_MAXIMUM
from gateway.upstream.plain import MAX_AT_ONCE, MAX_REQUESTS
from tests.fakes.broker import ScriptedBroker, publish_packet
from tests.fakes.cell import cell
from tests.fakes.mosquitto import Collector, Mosquitto
from tests.fakes.upstream.commanding import TABLE, Plant
from tests.fakes.upstream.delivery import FakeDelivery
from tests.fakes.upstream.running import running
from tests.fakes.waiting import until

ASK, RESULT = "cell/command/write", "cell/command/result"


def request(number: int, tag: str = "press.batch_id") -> bytes:
    return json.dumps({"id": f"r{number}", "writes": [{"tag": tag, "value": str(number)}]}).encode()


@pytest.fixture
def held() -> tuple[Plant, asyncio.Event]:
    """Devices that take nothing until the event is set."""
    plant, release = Plant(), asyncio.Event()

    async def slow(tag: int, value: float | str) -> float | str:
        await release.wait()
        return value

    plant.write = slow  # type: ignore[method-assign]  # a device that takes its time
    plant.restarted()
    return plant, release


async def test_what_waits_is_not_acknowledged_so_the_broker_holds_it_back(held: tuple[Plant, asyncio.Event]) -> None:
    plant, release = held
    count = MAX_REQUESTS + MAX_AT_ONCE + RECEIVE_MAXIMUM
    async with (
        ScriptedBroker() as broker,
        running(broker.url, FakeDelivery(), table=TABLE, commands=plant.executor, listen=True) as up,
    ):
        await until(lambda: up.counters.messages > 0)
        assert b"\x21" + RECEIVE_MAXIMUM.to_bytes(2, "big") in broker.connects[0].properties
        for number in range(1, count + 1):
            broker.send(publish_packet(ASK, request(number), mid=number))
        await until(lambda: len(broker.answers) == MAX_REQUESTS + MAX_AT_ONCE)
        up.upstream.link("press", True, "", 1)  # a round trip: nothing more was acknowledged meanwhile
        await until(lambda: "cell/press/state" in [publish.topic for publish in broker.acknowledged])
        assert broker.answers == list(range(1, MAX_REQUESTS + MAX_AT_ONCE + 1))
        release.set()
        await until(lambda: [publish.topic for publish in broker.acknowledged].count(RESULT) == count)
        assert broker.answers == list(range(1, count + 1))
    answers = [json.loads(publish.payload)["id"] for publish in broker.published if publish.topic == RESULT]
    assert answers == [f"r{number}" for number in range(1, count + 1)]


async def test_what_quality_0_piles_up_is_dropped_and_audited(held: tuple[Plant, asyncio.Event]) -> None:
    plant, release = held
    async with (
        ScriptedBroker() as broker,
        running(broker.url, FakeDelivery(), table=TABLE, commands=plant.executor, listen=True) as up,
    ):
        await until(lambda: up.counters.messages > 0)
        broker.send(b"".join(publish_packet(ASK, request(number, "press.nothing")) for number in range(3000)))
        broker.send(publish_packet(ASK, request(9999), mid=1))
        await until(lambda: bool(plant.audit.records))
        release.set()
        await until(lambda: any(kind == "dropped" for kind, _ in plant.audit.records))
        dropped = sum(int(str(body["count"])) for kind, body in plant.audit.records if kind == "dropped")
        assert 1 <= dropped <= 3001 - MAX_REQUESTS - MAX_AT_ONCE
        await until(lambda: [publish.topic for publish in broker.acknowledged].count(RESULT) == 3001 - dropped)
        assert broker.connections == 1


async def test_a_burst_at_a_real_broker_is_answered_in_order(tmp_path: Path, held: tuple[Plant, asyncio.Event]) -> None:
    plant, release = held
    with Mosquitto(tmp_path, ["max_inflight_messages 0"]) as broker, Collector(broker.port, RESULT) as received:
        async with running(broker.url, FakeDelivery(), table=TABLE, commands=plant.executor, listen=True) as up:
            await until(lambda: up.counters.messages > 0)
            for number in range(400):
                received.client.publish(ASK, request(number), 1)
            await until(lambda: bool(plant.audit.records))
            release.set()
            await until(lambda: len(received.messages) == 400)
    answers = [json.loads(message.payload) for message in received.messages]
    assert [answer["id"] for answer in answers] == [f"r{number}" for number in range(400)]
    assert {answer["results"][0]["status"] for answer in answers} == {"ok", "denied"}  # the tag's rate is bounded


@pytest.mark.parametrize("protocol", [5, "3.1.1"])
async def test_a_request_of_many_megabytes_is_not_taken_in(tmp_path: Path, protocol: object) -> None:
    plant = Plant()
    with Mosquitto(tmp_path) as broker, Collector(broker.port, RESULT) as received:
        async with running(
            broker.url, FakeDelivery(), table=TABLE, commands=plant.executor, listen=True, protocol=protocol
        ) as up:
            await until(lambda: up.counters.messages > 0)
            received.client.publish(ASK, b"[" * 20_000_000, 1)
            if protocol == "3.1.1":  # a client can't tell such a broker: it hangs up and comes again
                await until(lambda: broker.log.count("New client connected") == 3)
            await until(lambda: up.counters.up)
            number = 0
            while not received.messages:  # until the subscription stands again
                number += 1
                await asyncio.to_thread(received.publish, ASK, request(number))
            assert json.loads(received.messages[0].payload)["results"][0]["status"] == "ok"
        assert broker.log.count("New client connected") == (3 if protocol == "3.1.1" else 2)


async def test_a_flood_delays_no_poll_and_harm_ends_nothing(tmp_path: Path) -> None:
    hostile = [
        b"[" * 60_000,
        b'{"id":"x","writes":' * 5000,
        b"\xff\xfe",
        b"",
        b'{"id":"huge","writes":[{"tag":"press.lot","value":"' + b"x" * 1_000_000 + b'"}]}',
        b'{"id":"inf","writes":[{"tag":"press.setpoint","value":1e400}]}',
        b'{"id":"nan","writes":[{"tag":"press.ratio","value":NaN}]}',
    ]
    async with cell(tmp_path) as c:
        await until(lambda: len(c.messages("cell/press/data")) > 3)
        begun = time.time() * 1000
        for number in range(300):
            c.received.client.publish(ASK, request(number, "press.setpoint"), 1)
        for payload in hostile:
            c.received.client.publish(ASK, payload, 1)
        await c.publish(ASK, {"id": "last", "writes": [{"tag": "press.setpoint", "value": 77}]})
        await until(lambda: len(c.messages(RESULT)) == 301 + len(hostile), 40)
        ended = time.time() * 1000
        await until(lambda: c.readings("cell/press/data", "whole")[-1]["time"] > ended)
        answers = c.bodies(RESULT)
        polls = [1 for reading in c.readings("cell/press/data", "whole") if begun <= reading["time"] <= ended]
        assert await c.peek(140) == [77]
        assert await c.daemon.end() == 0
    assert len(answers) == 300 + len(hostile) + 1
    statuses = {body["id"]: body["results"][0]["status"] for body in answers}
    assert {statuses[f"r{number}"] for number in range(300)} == {"bad_type"}
    assert (statuses["inf"], statuses[None], statuses["last"]) == ("out_of_range", "bad_request", "ok")
    assert sum(body["id"] is None for body in answers) == len(hostile) - 1
    assert len(polls) >= (ended - begun) / 100 / 2  # a busy machine may cost a tick now and then
