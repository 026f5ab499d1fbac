"""What is delivered: nothing without its acknowledgement, nothing twice while the process lives, every byte once."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.fakes.broker import Publish, ScriptedBroker, data, publish_packet
from tests.fakes.upstream.certificates import Authority
from tests.fakes.upstream.delivery import FakeDelivery, block, blocks, event_block, plant
from tests.fakes.upstream.running import running
from tests.fakes.upstream.virtually import virtually
from tests.fakes.waiting import until

TABLE = plant()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


def identity(publish: Publish) -> tuple[str, int, int]:
    body = json.loads(publish.payload)
    return body["device"], body["block"], body.get("part", 0)


def test_nothing_is_given_up_without_its_acknowledgement(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with ScriptedBroker(puback=lambda _: None) as broker:
            delivery = blocks(10)
            async with running(broker.url, delivery, table=TABLE, patience=0.1) as up:
                await until(lambda: len(data(broker.published)) == 20)
                assert delivery.acknowledged == []
                assert up.counters.in_flight == 21
                assert up.counters.readings == 0
                up.stop.set()
                await asyncio.sleep(15)
                assert len(delivery.left) == 10
            assert not up.ended

    virtually(monkeypatch, main())


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


async def test_without_the_setting_commands_are_not_listened_to() -> None:
    class Never:
        async def answer(self, request: bytes, source: str) -> bytes:
            raise AssertionError(request)

        async def refuse(self, request: object, source: str, why: str) -> None:
            raise AssertionError(why)

        async def dropped(self, count: int, source: str) -> None:
            raise AssertionError(count)

    async with ScriptedBroker() as broker:
        delivery = blocks(1)
        async with running(broker.url, delivery, table=TABLE, commands=Never()):
            await until(lambda: not delivery.left)
            broker.send(publish_packet("cell/command/write", b"{}"))
            delivery.append(block(1, TABLE))
            await until(lambda: not delivery.left)
        assert broker.subscribed == []


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


async def test_the_state_of_a_device_that_went_in_an_outage_is_taken_back() -> None:
    async with ScriptedBroker() as broker:
        async with running(broker.url, FakeDelivery(), table=TABLE) as up:
            up.upstream.link("d1", True, "", 0)
            await until(lambda: "cell/d1/state" in [publish.topic for publish in broker.acknowledged])
            broker.connack = [0x88] * 2
            broker.cut()
            await until(lambda: not up.counters.up)
            up.upstream.use_table(plant(1))
            await until(lambda: [publish.topic for publish in broker.acknowledged].count("cell/d1/state") == 2)
        last = [publish for publish in broker.published if publish.topic == "cell/d1/state"][-1]
        assert (last.payload, last.retain) == (b"", True)


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


async def test_a_broker_that_stops_reading_costs_a_bounded_memory_and_a_bounded_goodbye() -> None:
    loop = asyncio.get_running_loop()
    async with ScriptedBroker(receive_buffer=4096) as broker:
        delivery = blocks(0)
        async with running(broker.url, delivery, table=TABLE, window=1000, patience=0.1) as up:
            await until(lambda: up.counters.messages == 1)
            broker.reading.clear()
            for number in range(40):
                delivery.append(block(number, TABLE, 5000))  # 16 MB as JSON
            session = up.upstream._session
            assert session is not None
            await until(lambda: up.counters.in_flight > 50)
            turns = session.turns
            await until(lambda: session.turns > turns + 2)  # it had its chance to take more
            waiting = sum(len(packet["packet"]) for packet in session._client._out_packet)
            assert 0 < waiting < (4 << 20) + (1 << 16)  # what the kernel did not take of the window
            began = loop.time()
        assert loop.time() - began < 4.0  # cancelled: 2 s for the goodbye, which no one hears
        broker.reading.set()
        assert len(delivery.left) == 40
