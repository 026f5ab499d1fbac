"""Commands over a real mosquitto, there and back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.runtime.audit import AuditLog, verify
from gateway.upstream.commands import Executor
from tests.fakes.broker import Publish, ScriptedBroker, publish_packet
from tests.fakes.mosquitto import Collector, Mosquitto
from tests.fakes.upstream.commanding import TABLE, Plant
from tests.fakes.upstream.delivery import FakeDelivery
from tests.fakes.upstream.running import running
from tests.fakes.waiting import until

REQUEST = b'{"id":"a1","writes":[{"tag":"press.setpoint","value":900},{"tag":"press.temperature","value":1}]}'
RESULT = {
    "id": "a1",
    "results": [
        {"tag": "press.setpoint", "status": "ok", "readback": 900},
        {"tag": "press.temperature", "status": "denied"},
    ],
}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as started:
        yield started


@pytest.mark.parametrize("protocol", [5, "3.1.1"])
async def test_a_request_is_answered(broker: Mosquitto, tmp_path: Path, protocol: object) -> None:
    plant = Plant()
    log = tmp_path / "audit.log"
    async with AuditLog(log) as audit:
        commands = Executor(TABLE, plant.write, plant.clock, plant.memory, audit, plant.events.append)
        with Collector(broker.port, "cell/#") as received:
            async with running(
                broker.url, FakeDelivery(), table=TABLE, commands=commands, listen=True, protocol=protocol
            ) as up:
                await until(lambda: up.counters.messages > 0)
                await asyncio.to_thread(received.publish, "cell/command/write", REQUEST)
                await until(lambda: len(received.payloads("cell/command/result")) == 1)
                await asyncio.to_thread(received.publish, "cell/command/write", REQUEST)
                await until(lambda: len(received.payloads("cell/command/result")) == 2)
    first, second = (json.loads(payload) for payload in received.payloads("cell/command/result"))
    assert first == second == RESULT
    assert plant.written == [("press.setpoint", 900)]
    assert (verify(log).fault, verify(log).records) == ("", 3)


async def test_response_topic_and_correlation_data_are_honoured(broker: Mosquitto) -> None:
    plant = Plant()
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho left it out
    properties.ResponseTopic = "scada/answers"
    properties.CorrelationData = b"\x00\x01"
    with Collector(broker.port) as received:
        async with running(broker.url, FakeDelivery(), table=TABLE, commands=plant.executor, listen=True) as up:
            await until(lambda: up.counters.messages > 0)
            await asyncio.to_thread(received.publish, "cell/command/write", REQUEST, properties)
            await until(lambda: len(received.payloads("scada/answers")) == 1)
        answer = next(message for message in received.messages if message.topic == "scada/answers")
        assert json.loads(answer.payload) == RESULT
        assert answer.correlation == b"\x00\x01"
        assert received.payloads("cell/command/result") == []


async def test_a_response_topic_that_is_none_is_not_used() -> None:
    plant = Plant()
    junk = b"\x08\x00\x03a/#"  # Response Topic with a wildcard, which a broker should have refused
    async with (
        ScriptedBroker() as broker,
        running(broker.url, FakeDelivery(), table=TABLE, commands=plant.executor, listen=True) as up,
    ):
        await until(lambda: up.counters.messages > 0)
        broker.send(publish_packet("cell/command/write", REQUEST, junk))
        await until(lambda: "cell/command/result" in [publish.topic for publish in broker.acknowledged])


async def test_an_answer_the_link_cost_goes_out_over_the_next_one() -> None:
    plant = Plant()

    def answer(publish: Publish) -> int | None:
        return None if publish.topic == "cell/command/result" and publish.connection == 0 else 0

    async with (
        ScriptedBroker(puback=answer) as broker,
        running(broker.url, FakeDelivery(), table=TABLE, commands=plant.executor, listen=True) as up,
    ):
        await until(lambda: up.counters.messages > 0)
        broker.send(publish_packet("cell/command/write", REQUEST))
        await until(lambda: "cell/command/result" in [publish.topic for publish in broker.published])
        broker.cut()
        await until(lambda: "cell/command/result" in [publish.topic for publish in broker.acknowledged])
        answers = [publish.payload for publish in broker.published if publish.topic == "cell/command/result"]
        assert [json.loads(payload) for payload in answers] == [RESULT, RESULT]
        assert len(plant.written) == 1


async def test_an_answer_that_comes_in_an_outage_waits_for_its_end() -> None:
    plant = Plant()
    release = asyncio.Event()

    async def slow(tag: int, value: float | str) -> float | str:
        await release.wait()
        return value

    plant.write = slow  # type: ignore[method-assign]  # a device that takes its time
    plant.restarted()
    async with (
        ScriptedBroker() as broker,
        running(broker.url, FakeDelivery(), table=TABLE, commands=plant.executor, listen=True) as up,
    ):
        await until(lambda: up.counters.messages > 0)
        broker.send(publish_packet("cell/command/write", REQUEST))
        await until(lambda: bool(plant.audit.records))
        broker.connack = [0x88] * 3
        broker.cut()
        await until(lambda: not up.counters.up)
        release.set()
        await until(lambda: "cell/command/result" in [publish.topic for publish in broker.acknowledged])
        assert broker.connections == 5


@pytest.mark.parametrize("protocol", [5, "3.1.1"])
async def test_a_retained_request_is_ignored(broker: Mosquitto, protocol: object) -> None:
    plant = Plant()
    with Collector(broker.port) as received:
        await asyncio.to_thread(received.publish, "cell/command/write", REQUEST, retain=True)
        async with running(
            broker.url, FakeDelivery(), table=TABLE, commands=plant.executor, listen=True, protocol=protocol
        ) as up:
            await until(lambda: up.counters.messages > 0)
            other = REQUEST.replace(b"a1", b"a2")
            await asyncio.to_thread(received.publish, "cell/command/write", other)
            await until(lambda: len(received.payloads("cell/command/result")) == 1)
    assert json.loads(received.payloads("cell/command/result")[0])["id"] == "a2"
    assert len(plant.written) == 1


async def test_garbage_is_answered_and_the_next_request_is_served(broker: Mosquitto) -> None:
    plant = Plant()
    with Collector(broker.port) as received:
        async with running(broker.url, FakeDelivery(), table=TABLE, commands=plant.executor, listen=True) as up:
            await until(lambda: up.counters.messages > 0)
            for junk in (b"", b"\xff\xfe", b"[" * 50_000, b"{}", REQUEST):
                await asyncio.to_thread(received.publish, "cell/command/write", junk)
            await until(lambda: len(received.payloads("cell/command/result")) == 5)
    answers = [json.loads(payload) for payload in received.payloads("cell/command/result")]
    assert answers == [{"id": None, "results": [{"status": "bad_request"}]}] * 4 + [RESULT]


async def test_a_slow_device_does_not_hold_up_the_data(broker: Mosquitto) -> None:
    plant = Plant()
    release = asyncio.Event()

    async def slow(tag: int, value: float | str) -> float | str:
        await release.wait()
        return value

    plant.write = slow  # type: ignore[method-assign]  # a device that takes its time
    plant.restarted()
    with Collector(broker.port) as received:
        async with running(broker.url, FakeDelivery(), table=TABLE, commands=plant.executor, listen=True) as up:
            await until(lambda: up.counters.messages > 0)
            await asyncio.to_thread(received.publish, "cell/command/write", REQUEST)
            await until(lambda: bool(plant.audit.records))
            up.upstream.link("press", True, "", 1)
            await until(lambda: len(received.payloads("cell/press/state")) == 1)
            assert received.payloads("cell/command/result") == []
            release.set()
            await until(lambda: len(received.payloads("cell/command/result")) == 1)
