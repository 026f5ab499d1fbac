"""MQTT in web sockets: aiohttp and `websockets` in front of a real mosquitto, and amqtt's own listener."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from amqtt.broker import Broker

from tests.fakes.mosquitto import Collector, Mosquitto, free_port
from tests.fakes.upstream.bridge import aiohttp_bridge, strict_bridge
from tests.fakes.upstream.certificates import Authority
from tests.fakes.upstream.delivery import FakeDelivery, block, plant
from tests.fakes.upstream.running import running
from tests.fakes.waiting import until

TABLE = plant()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as started:
        yield started


def values(received: Collector) -> set[float]:
    """Every value of every data message."""
    bodies = [json.loads(message.payload) for message in list(received.messages) if message.topic.endswith("/data")]
    return {reading["value"] for body in bodies for reading in body["readings"]}


@pytest.mark.parametrize("secure", [False, True])
async def test_through_a_bridge_all_arrives_over_a_cut(broker: Mosquitto, tmp_path: Path, secure: bool) -> None:
    authority = Authority(tmp_path)
    context, tls = (authority.server("localhost"), {"ca": authority.ca}) if secure else (None, None)
    with Collector(broker.port) as received:
        async with aiohttp_bridge(broker.port, context) as bridge:
            delivery = FakeDelivery(block(number, TABLE, 60) for number in range(50))
            async with running(f"{bridge.url}?site=north", delivery, table=TABLE, tls=tls) as up:
                await until(lambda: not delivery.left)
                bridge.proxy.cut()
                for number in range(50, 100):
                    delivery.append(block(number, TABLE, 60))
                await until(lambda: not delivery.left)
                assert up.counters.readings == 6000
            await until(lambda: len(values(received)) == 6000)
    assert bridge.paths == ["/mqtt?site=north"] * 2
    assert bridge.subprotocols == ["mqtt"] * 2


async def test_a_link_that_is_pinged_and_idle_stays(broker: Mosquitto) -> None:
    async with aiohttp_bridge(broker.port, heartbeat=0.1) as bridge:
        delivery = FakeDelivery([block(0, TABLE)])
        async with running(bridge.url, delivery, table=TABLE, keepalive="1s") as up:
            await until(lambda: not delivery.left)
            answered = broker.log.count("PINGRESP")
            await until(lambda: broker.log.count("PINGRESP") > answered + 1)  # two keepalives, many heartbeats
            assert up.counters.up
        assert bridge.proxy.connections == 1


async def test_the_strictest_server_finds_no_fault(broker: Mosquitto) -> None:
    async with strict_bridge(broker.port) as bridge:
        delivery = FakeDelivery(block(number, TABLE, 600) for number in range(40))
        async with running(bridge.url, delivery, table=TABLE):
            await until(lambda: not delivery.left and bridge.pongs > 20)
        assert bridge.proxy.connections == 1
        assert bridge.faults == []


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept:x\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"\xff\xfe\x00\r\n\r\n",
        b"",
    ],
)
async def test_a_server_that_is_no_web_socket_is_an_outage(answer: bytes) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with running(f"ws://127.0.0.1:{port}/mqtt", FakeDelivery(), table=TABLE) as up:
            await until(lambda: "no web socket" in up.counters.reason)
            assert "403" in up.counters.reason or b"403" not in answer


@asynccontextmanager
async def amqtt_broker() -> AsyncIterator[str]:
    port = free_port()
    config = {
        "listeners": {"default": {"type": "ws", "bind": f"127.0.0.1:{port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }
    broker = Broker(config)
    await broker.start()
    try:
        yield f"ws://127.0.0.1:{port}/"
    finally:
        await broker.shutdown()


async def test_amqtts_own_listener() -> None:
    async with amqtt_broker() as url:
        delivery = FakeDelivery(block(number, TABLE) for number in range(20))
        async with running(url, delivery, table=TABLE, protocol="3.1.1") as up:
            await until(lambda: not delivery.left)
            assert up.counters.readings == 120
