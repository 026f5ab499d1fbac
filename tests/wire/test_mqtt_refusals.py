"""Messages the broker answers with a failure: kept, tried again, and in nobody's way."""

from __future__ import annotations

import asyncio
import json

import pytest

from gateway.runtime.supervise import Backoff
from gateway.upstream.plain import Plain
from tests.fakes.broker import Publish, ScriptedBroker, data
from tests.fakes.upstream.delivery import FakeDelivery, block, blocks, plant
from tests.fakes.upstream.running import running
from tests.fakes.upstream.virtually import virtually
from tests.fakes.waiting import until

TABLE = plant()


def identity(publish: Publish) -> tuple[str, int, int]:
    body = json.loads(publish.payload)
    return body["device"], body["block"], body.get("part", 0)


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


async def test_no_matching_subscribers_is_delivered_and_counted() -> None:
    async with ScriptedBroker(puback=lambda _: 0x10) as broker:
        delivery = blocks(5)
        async with running(broker.url, delivery, table=TABLE) as up:
            await until(lambda: not delivery.left)
            assert up.counters.refused["No matching subscribers"] == 10  # the retained state is kept anyway


async def test_refused_messages_keep_few_blocks_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.upstream.parking.MAX_BYTES", 300_000)
    async with ScriptedBroker(puback=lambda publish: 0x87 if "/d0/" in publish.topic else 0) as broker:
        delivery = FakeDelivery(block(number, TABLE, 5000) for number in range(20))  # 105 kB each in memory
        async with running(broker.url, delivery, table=TABLE, max_message="1MiB", patience=0.1) as up:
            await until(lambda: len([1 for publish in data(broker.published) if "/d1/" in publish.topic]) == 20)
            assert isinstance(up.upstream._conversation, Plain)
            kept = {item.work.block.id for item in up.upstream._conversation._sender._parking if item.work}
            assert 1 <= len(kept) <= 3
            assert len(delivery.left) == 20


CODES = {0x80: 1, 0x83: 1, 0x87: 60, 0x90: 60, 0x91: 0, 0x97: 1, 0x99: 60, 0xA5: 1}  # seconds until the next try


@pytest.mark.parametrize("code", CODES)
def test_each_failing_code_keeps_the_data_and_holds_up_no_other_topic(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        tries: list[float] = []

        def answer(publish: Publish) -> int:
            if "/d0/" not in publish.topic:
                return 0
            tries.append(asyncio.get_running_loop().time())
            return code if len(tries) == 1 else 0

        async with ScriptedBroker(puback=answer) as broker:
            delivery = blocks(1)
            async with running(broker.url, delivery, table=TABLE, backoff=Backoff(0.01, 0.01)) as up:
                await until(lambda: bool(tries))
                await until(lambda: "cell/d1/data" in [publish.topic for publish in broker.acknowledged])
                assert code == 0x91 or delivery.acknowledged == []
                await asyncio.sleep(CODES[code] + 2)
                assert not delivery.left
                assert up.counters.readings == 6
            assert len(tries) == 2
            assert CODES[code] <= tries[1] - tries[0] <= CODES[code] + 1.1
            assert broker.connections == (2 if code == 0x91 else 1)

    virtually(monkeypatch, main())


@pytest.mark.parametrize(("code", "wait"), [(0x97, 1), (0x87, 60)])
def test_states_and_dictionaries_that_are_refused_are_said_again(
    code: int, wait: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        refused: set[str] = set()
        granted = False

        def answer(publish: Publish) -> int:
            if granted or publish.topic.endswith("/columns"):
                return 0
            refused.add(publish.topic)
            return code

        async with ScriptedBroker(puback=answer) as broker:
            delivery = blocks(1)
            async with running(broker.url, delivery, table=TABLE, format="columns") as up:
                up.upstream.link("d0", True, "", 1)
                await until(lambda: len(refused) == 3 and not delivery.left)
                up.upstream.link("d0", False, "timeout", 2_000_000)
                granted = True
                await asyncio.sleep(wait + 2)
                said = {publish.topic: publish for publish in broker.acknowledged[-3:]}
                assert said.keys() == {"cell/state", "cell/d0/state", f"cell/dictionary/{TABLE.digest}"}
                assert all(publish.retain for publish in said.values())
                newest = json.loads(said["cell/d0/state"].payload)
                assert newest == {"state": "offline", "reason": "timeout", "since": 2}
                assert up.counters.in_flight == 0

    virtually(monkeypatch, main())


def test_a_refused_state_does_not_end_a_stop_before_the_data_is_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with ScriptedBroker(puback=lambda publish: 0x87 if publish.topic == "cell/state" else None) as broker:
            delivery = blocks(1)
            async with running(broker.url, delivery, table=TABLE, ack_timeout="15s", patience=60) as up:
                await until(lambda: len(data(broker.published)) == 2)
                up.stop.set()
                await asyncio.sleep(5)
                broker.puback = lambda publish: 0x87 if publish.topic == "cell/state" else 0
                await asyncio.sleep(20)
                assert not delivery.left

    virtually(monkeypatch, main())
