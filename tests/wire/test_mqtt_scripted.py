"""The upstream against a broker that misbehaves on purpose."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging

import numpy as np
import pytest

from gateway.block import Block, BlockId
from gateway.readings import Readings, Tag, TagTable
from gateway.runtime.supervise import Backoff
from gateway.upstream import session as session_module
from gateway.upstream import upstream as upstream_module
from gateway.upstream.plan import Plan
from gateway.upstream.session import Session
from gateway.upstream.settings import Tls, parse_endpoint
from tests.fakes.broker import PUBLISH, Publish, ScriptedBroker, packet, publish_packet
from tests.fakes.upstream.certificates import Authority
from tests.fakes.upstream.delivery import STAMP, START_NS, FakeDelivery, block, event_block, plant
from tests.fakes.upstream.running import running
from tests.fakes.waiting import until

TABLE = plant()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


def blocks(count: int) -> FakeDelivery:
    return FakeDelivery(block(number, TABLE) for number in range(count))


def identity(publish: Publish) -> tuple[str, int, int]:
    body = json.loads(publish.payload)
    return body["device"], body["block"], body.get("part", 0)


def data(published: list[Publish]) -> list[Publish]:
    return [publish for publish in published if publish.topic.endswith("/data")]


async def test_nothing_is_given_up_without_its_acknowledgement() -> None:
    async with ScriptedBroker(puback=lambda _: None) as broker:
        delivery = blocks(10)
        async with running(broker.url, delivery, table=TABLE, patience=0.1) as up:
            await until(lambda: len(data(broker.published)) == 20)
            assert delivery.acknowledged == []
            assert up.counters.in_flight == 21
            assert up.counters.readings == 0
            up.stop.set()
            await asyncio.sleep(0.2)
            assert len(delivery.left) == 10


async def test_a_silent_broker_is_left_after_the_ack_timeout_and_all_is_offered_again() -> None:
    async with ScriptedBroker(puback=lambda publish: None if publish.connection == 0 else 0) as broker:
        delivery = blocks(10)
        async with running(broker.url, delivery, table=TABLE, ack_timeout="300ms"):
            await until(lambda: not delivery.left)
        assert broker.connections == 2
        assert len({identity(publish) for publish in data(broker.acknowledged)}) == 20
        assert not any(publish.dup for publish in broker.published)


async def test_messages_acknowledged_before_a_cut_are_not_sent_again() -> None:
    def only_first_device(publish: Publish) -> int | None:
        return 0 if publish.connection or "/d0/" in publish.topic or "state" in publish.topic else None

    async with ScriptedBroker(puback=only_first_device) as broker:
        delivery = blocks(10)
        async with running(broker.url, delivery, table=TABLE) as up:
            await until(lambda: up.counters.messages == 11)
            broker.cut()
            await until(lambda: not delivery.left)
            assert up.counters.readings == 60
        again = [publish.topic for publish in data(broker.published) if publish.connection == 1]
        assert again == ["cell/d1/data"] * 10


async def test_the_receive_maximum_is_never_exceeded() -> None:
    async with ScriptedBroker(connack_properties=b"\x21\x00\x01") as broker:  # Receive Maximum 1
        delivery = blocks(10)
        async with running(broker.url, delivery, table=TABLE) as up:
            up.upstream.link("d0", True, "", 0)
            await until(lambda: not delivery.left)
        assert broker.most_open == 1


async def test_the_configured_window_is_never_exceeded() -> None:
    held: list[Publish] = []
    async with ScriptedBroker(puback=held.append) as broker:
        delivery = blocks(50)
        async with running(broker.url, delivery, table=TABLE, window=7, patience=0.1):
            await until(lambda: len(held) == 7)
            await asyncio.sleep(0.1)
            assert broker.most_open == 7


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


@pytest.mark.parametrize(("code", "name"), [(0x87, "Not authorized"), (0x90, "Topic name invalid")])
async def test_a_refused_topic_is_parked_and_others_go_on(code: int, name: str) -> None:
    async with ScriptedBroker(puback=lambda publish: code if "/d0/" in publish.topic else 0) as broker:
        delivery = FakeDelivery(block(number, plant(1 + number % 2)) for number in range(20))
        async with running(broker.url, delivery) as up:
            await until(lambda: "cell/d1/data" in [publish.topic for publish in broker.acknowledged])
            await until(lambda: len([1 for publish in broker.published if "/d1/" in publish.topic]) == 10)
            assert delivery.acknowledged == []  # every block has something for the refused device
            assert up.counters.refused[name] >= 1
            assert up.counters.up


async def test_a_parked_topic_is_tried_again_and_its_data_arrives_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.upstream.parking.RETRY_S", 0.2)
    granted = False

    def answer(publish: Publish) -> int:
        return 0 if granted or "/d0/" not in publish.topic else 0x87

    async with ScriptedBroker(puback=answer) as broker:
        delivery = blocks(20)
        async with running(broker.url, delivery, table=TABLE):
            await until(lambda: len([1 for publish in broker.published if "/d1/" in publish.topic]) == 20)
            granted = True
            await until(lambda: not delivery.left)
        assert broker.connections == 1
        arrived = [
            identity(publish)[1]
            for publish, code in ((publish, answer(publish)) for publish in broker.acknowledged)
            if "/d0/" in publish.topic and code == 0
        ]
        assert arrived[-20:] == list(range(20))


async def test_what_found_no_room_while_parked_is_offered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.upstream.parking.RETRY_S", 0.2)
    monkeypatch.setattr("gateway.upstream.parking.MAX_BYTES", 1000)
    granted = False
    async with ScriptedBroker(puback=lambda publish: 0 if granted or "/d0/" not in publish.topic else 0x87) as broker:
        delivery = blocks(30)
        async with running(broker.url, delivery, table=TABLE) as up:
            await until(lambda: len([1 for publish in broker.published if "/d1/" in publish.topic]) == 30)
            granted = True
            await until(lambda: not delivery.left)
            assert up.counters.readings == 180
        assert broker.connections == 1
        assert len([1 for publish in broker.published if "/d1/" in publish.topic]) == 30  # none of them twice


async def test_quota_is_retried_soon() -> None:
    codes = itertools.chain([0x97], itertools.repeat(0))
    async with ScriptedBroker(puback=lambda publish: 0 if "state" in publish.topic else next(codes)) as broker:
        delivery = blocks(1)
        async with running(broker.url, delivery, table=TABLE):
            await until(lambda: not delivery.left)
        assert broker.connections == 1


async def test_no_matching_subscribers_is_delivered_and_counted() -> None:
    async with ScriptedBroker(puback=lambda _: 0x10) as broker:
        delivery = blocks(5)
        async with running(broker.url, delivery, table=TABLE) as up:
            await until(lambda: not delivery.left)
            assert up.counters.refused["No matching subscribers"] == 10  # the retained state is kept anyway


async def test_a_refused_connection_is_tried_again() -> None:
    async with ScriptedBroker(connack=[0x88, 0x89]) as broker:
        delivery = blocks(1)
        async with running(broker.url, delivery, table=TABLE):
            await until(lambda: not delivery.left)
        assert broker.connections == 3
        assert all(connect.clean for connect in broker.connects)


async def test_wrong_credentials_wait_the_longest_backoff_at_once(caplog: pytest.LogCaptureFixture) -> None:
    async with ScriptedBroker(connack=[0x86] * 1000) as broker:
        backoff = Backoff(0.001, 1000.0)
        async with running(broker.url, blocks(1), table=TABLE, backoff=backoff) as up:
            await until(lambda: "Bad user name or password" in up.counters.reason)
            await asyncio.sleep(0.2)
        assert broker.connections == 1


async def test_the_old_protocol_is_never_fallen_back_to() -> None:
    async with ScriptedBroker(connack=[1, 1]) as broker:  # 3.1.1: unacceptable protocol version
        async with running(broker.url, blocks(1), table=TABLE, protocol="3.1.1") as up:
            await until(lambda: not up.delivery.left)
        assert {connect.level for connect in broker.connects} == {4}
        assert broker.connections == 3


async def test_a_takeover_is_not_fought(monkeypatch: pytest.MonkeyPatch) -> None:
    assert upstream_module.TAKEOVER_PAUSE_S >= 60
    async with ScriptedBroker() as broker:
        delivery = blocks(1)
        async with running(broker.url, delivery, table=TABLE) as up:
            await until(lambda: not delivery.left)
            broker.send(b"\xe0\x01\x8e")
            await until(lambda: "taken over" in up.counters.reason)
            delivery.append(block(1, TABLE))
            await asyncio.sleep(1.0)  # five times the test's longest backoff
            assert broker.connections == 1


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


async def test_without_the_setting_commands_are_not_listened_to() -> None:
    class Never:
        async def answer(self, request: bytes, source: str) -> bytes:
            raise AssertionError(request)

        async def refuse(self, request: object, source: str, why: str) -> None:
            raise AssertionError(why)

    async with ScriptedBroker() as broker:
        delivery = blocks(1)
        async with running(broker.url, delivery, table=TABLE, commands=Never()):
            await until(lambda: not delivery.left)
            broker.send(publish_packet("cell/command/write", b"{}"))
            delivery.append(block(1, TABLE))
            await until(lambda: not delivery.left)
        assert broker.subscribed == []


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


async def test_a_broker_of_quality_zero_is_refused_with_a_clear_word() -> None:
    async with ScriptedBroker(connack_properties=b"\x24\x00") as broker:
        async with running(broker.url, blocks(1), table=TABLE) as up:
            await until(lambda: "QoS 0" in up.counters.reason)
        assert data(broker.published) == []


async def test_without_retained_messages_state_goes_unretained(caplog: pytest.LogCaptureFixture) -> None:
    async with ScriptedBroker(connack_properties=b"\x25\x00") as broker:
        delivery = blocks(1)
        async with running(broker.url, delivery, table=TABLE):
            await until(lambda: not delivery.left)
        assert not any(publish.retain for publish in broker.published)
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


async def test_the_next_broker_is_tried() -> None:
    async with ScriptedBroker(connack=[0x88] * 100) as dead, ScriptedBroker() as alive:
        delivery = blocks(1)
        async with running([dead.url, alive.url], delivery, table=TABLE):
            await until(lambda: not delivery.left)
        assert dead.connections == 1


async def test_events_and_device_states(caplog: pytest.LogCaptureFixture) -> None:
    async with ScriptedBroker() as broker:
        delivery = FakeDelivery([event_block(0, b'{"event":"loss"}', b'{"event":"reload"}')])
        async with running(broker.url, delivery, table=TABLE) as up:
            up.upstream.link("d0", False, "timeout", 1_732_258_800_123_456_000)
            await until(lambda: not delivery.left)
            await until(lambda: "cell/d0/state" in [publish.topic for publish in broker.acknowledged])
            broker.cut()
            await until(lambda: [publish.topic for publish in broker.published].count("cell/d0/state") == 2)
        states = [publish for publish in broker.published if publish.topic == "cell/d0/state"]
        assert all(publish.retain for publish in states)
        assert json.loads(states[0].payload) == {"state": "offline", "reason": "timeout", "since": 1_732_258_800_123}
        events = [publish.payload for publish in broker.published if publish.topic == "cell/events"]
        assert events == [b'{"event":"loss"}', b'{"event":"reload"}']


async def test_the_state_of_a_device_that_is_gone_is_taken_back() -> None:
    async with ScriptedBroker() as broker:
        async with running(broker.url, FakeDelivery(), table=TABLE) as up:
            up.upstream.link("d1", True, "", 0)
            await until(lambda: "cell/d1/state" in [publish.topic for publish in broker.acknowledged])
            up.upstream.use_table(plant(1))
            await until(lambda: [publish.topic for publish in broker.acknowledged].count("cell/d1/state") == 2)
        last = [publish for publish in broker.published if publish.topic == "cell/d1/state"][-1]
        assert (last.payload, last.retain) == (b"", True)


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


async def test_an_outage_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with ScriptedBroker(connack=[0x88] * 5) as broker:
        delivery = blocks(1)
        async with running(broker.url, delivery, table=TABLE, backoff=Backoff(0.01, 0.02)):
            await until(lambda: not delivery.left)
    words = [record.message for record in caplog.records if "plant:" in record.message]
    assert [word.split(": ")[1].split()[0] for word in words] == ["down", "back"]


@pytest.mark.parametrize("websocket", [False, True])
@pytest.mark.parametrize("secure", [False, True])
async def test_a_slow_reader_gets_every_byte_once(authority: Authority, secure: bool, websocket: bool) -> None:
    tls = {"ca": authority.ca} if secure else None
    context = authority.server("localhost") if secure else None
    async with ScriptedBroker(websocket=websocket, tls=context, receive_buffer=4096) as broker:
        delivery = FakeDelivery([block(number, TABLE, 1500) for number in range(60)])
        async with running(broker.url, delivery, table=TABLE, tls=tls):
            await until(lambda: not delivery.left)
            assert broker.connections == 1  # a frame sent in part was never taken for a whole one
        assert len({identity(publish) for publish in data(broker.acknowledged)}) == 120
