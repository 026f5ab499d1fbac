"""The life of a connection: refused, taken over, silent, talking garbage, said goodbye to."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from gateway.runtime.supervise import Backoff
from gateway.tools.broker import EmbeddedBroker
from gateway.upstream import session as session_module
from gateway.upstream.plan import Plan
from gateway.upstream.session import Session
from gateway.upstream.settings import Tls, parse_endpoint
from tests.fakes.broker import PUBLISH, ScriptedBroker, packet, publish_packet
from tests.fakes.upstream.certificates import Authority
from tests.fakes.upstream.commanding import Plant
from tests.fakes.upstream.delivery import FakeDelivery, block, blocks, plant
from tests.fakes.upstream.running import running
from tests.fakes.upstream.virtually import virtually
from tests.fakes.waiting import until

TABLE = plant()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


async def test_a_refused_connection_is_tried_again() -> None:
    async with ScriptedBroker(connack=[0x88, 0x89]) as broker:
        delivery = blocks(1)
        async with running(broker.url, delivery, table=TABLE):
            await until(lambda: not delivery.left)
        assert broker.connections == 3
        assert all(connect.clean for connect in broker.connects)


def test_wrong_credentials_wait_the_longest_backoff_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with ScriptedBroker(connack=[0x86] * 2) as broker:
            backoff = Backoff(0.001, 1000.0)
            async with running(broker.url, blocks(1), table=TABLE, backoff=backoff) as up:
                await until(lambda: "Bad user name or password" in up.counters.reason)
                await asyncio.sleep(740)  # a quarter of the wait is left to chance
                assert broker.connections == 1
                await asyncio.sleep(300)
                assert broker.connections == 2

    virtually(monkeypatch, main())


async def test_the_old_protocol_is_never_fallen_back_to() -> None:
    async with ScriptedBroker(connack=[1, 1]) as broker:  # 3.1.1: unacceptable protocol version
        async with running(broker.url, blocks(1), table=TABLE, protocol="3.1.1") as up:
            await until(lambda: not up.delivery.left)
        assert {connect.level for connect in broker.connects} == {4}
        assert broker.connections == 3


def test_a_takeover_is_not_fought(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with ScriptedBroker() as broker:
            delivery = blocks(1)
            async with running(broker.url, delivery, table=TABLE) as up:
                await until(lambda: not delivery.left)
                broker.send(b"\xe0\x01\x8e")
                await until(lambda: "taken over" in up.counters.reason)
                delivery.append(block(1, TABLE))
                await asyncio.sleep(59)
                assert broker.connections == 1
                await until(lambda: not delivery.left)
                assert broker.connections == 2

    virtually(monkeypatch, main())


async def test_a_broker_that_says_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "CONNACK_TIMEOUT_S", 0.2)
    async with ScriptedBroker(deaf=True) as broker:
        delivery = blocks(1)
        async with running(broker.url, delivery, table=TABLE):
            await until(lambda: broker.connections == 2)
            broker.deaf = False
            await until(lambda: not delivery.left)


async def test_a_link_that_answers_no_ping_is_left() -> None:
    async with ScriptedBroker(answer_pings=False) as broker:
        delivery = blocks(1)
        async with running(broker.url, delivery, table=TABLE, keepalive="1s"):
            await until(lambda: broker.connections == 2)


async def test_many_packets_in_one_tls_record_are_all_read(authority: Authority) -> None:
    packets = b"".join(publish_packet("cell/command/write", b"%d" % number) for number in range(9))
    async with ScriptedBroker(with_connack=packets, tls=authority.server("localhost")) as broker:
        session = Session(Plan(parse_endpoint(broker.url), "5", "me", tls=Tls(ca=authority.ca)))
        await session.open()
        received: list[bytes] = []
        while len(received) < 9:  # no other packet follows that could wake the reader
            received += [message.payload for message in session.take_messages()]
            await session.wait()
        session.abort()
    assert received == [b"%d" % number for number in range(9)]


async def test_garbage_ends_the_connection_not_the_process() -> None:
    async with ScriptedBroker() as broker:
        delivery = blocks(1)
        async with running(broker.url, delivery, table=TABLE):
            await until(lambda: not delivery.left)
            for number, junk in enumerate(
                (b"\x00\x00", packet(PUBLISH, b"\x00\x10ab"), b"\x40\xff\xff\xff\xff\xff", b"\xf0\x00")
            ):
                broker.send(junk)
                await until(lambda wanted=number + 2: broker.connections == wanted)  # type: ignore[misc]
                delivery.append(block(100 + number, TABLE))
                await until(lambda: not delivery.left)


@pytest.mark.parametrize("code", [0x86, 0x88])
async def test_the_next_broker_is_tried_soon(code: int) -> None:
    async with ScriptedBroker(connack=[code] * 100) as dead, ScriptedBroker() as alive:
        delivery = blocks(1)
        async with running([dead.url, alive.url], delivery, table=TABLE, backoff=Backoff(0.05, 1000.0)):
            await until(lambda: not delivery.left)
        assert dead.connections == 1


async def test_will_and_goodbye_say_offline() -> None:
    async with ScriptedBroker() as broker:
        async with running(broker.url, blocks(1), table=TABLE, username="me") as up:
            await until(lambda: not up.delivery.left)
        (connect,) = broker.connects
        assert connect.client_id == "cell-plant"
        assert connect.username == "me"
        assert (connect.will_topic, json.loads(connect.will_payload)["state"]) == ("cell/state", "offline")
        last = broker.published[-1]
        assert (last.topic, last.retain, json.loads(last.payload)["state"]) == ("cell/state", True, "offline")
        assert broker.disconnects == [0]
        assert up.ended


async def test_a_stop_with_a_dead_broker_and_nothing_to_send_is_quick() -> None:
    async with running("mqtt://127.0.0.1:1", FakeDelivery(), table=TABLE, backoff=Backoff(1000, 1000)) as up:
        await until(lambda: bool(up.counters.reason))
    assert up.ended


async def test_a_list_of_brokers_that_all_refuse_is_walked_once_per_long_wait() -> None:
    async with ScriptedBroker(connack=[0x86] * 100) as first, ScriptedBroker(connack=[0x86] * 100) as second:
        async with running([first.url, second.url], blocks(1), table=TABLE, backoff=Backoff(0.01, 1000.0)) as up:
            await until(lambda: second.connections == 1 and "Bad user" in up.counters.reason)
            up.stop.set()
        assert (first.connections, second.connections) == (1, 1)


async def test_an_outage_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with ScriptedBroker(connack=[0x88] * 5) as broker:
        delivery = blocks(1)
        async with running(broker.url, delivery, table=TABLE, backoff=Backoff(0.01, 0.02)):
            await until(lambda: not delivery.left)
    words = [record.message for record in caplog.records if "plant:" in record.message]
    assert [word.split(": ")[1].split()[0] for word in words] == ["down", "back"]


async def test_a_broker_that_waits_for_its_own_acknowledgements_is_back_at_once() -> None:
    plant = Plant()
    loop = asyncio.get_running_loop()
    async with EmbeddedBroker() as broker:  # amqtt reads no second SUBSCRIBE before that
        delivery = FakeDelivery([block(0, TABLE)])
        url = f"mqtt://127.0.0.1:{broker.port}"
        async with running(url, delivery, table=TABLE, protocol="3.1.1", commands=plant.executor, listen=True) as up:
            await until(lambda: not delivery.left)
            await broker.pull()
            await until(lambda: not up.counters.up)
            delivery.append(block(1, TABLE))
            await broker.plug_in()
            began = loop.time()
            await until(lambda: not delivery.left)
            assert loop.time() - began < 4.0  # amqtt waits 5 s
