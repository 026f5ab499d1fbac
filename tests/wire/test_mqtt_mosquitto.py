"""The upstream against a real mosquitto."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.fakes.mosquitto import Collector, Mosquitto
from tests.fakes.upstream.certificates import Authority
from tests.fakes.upstream.delivery import FakeDelivery, block, plant
from tests.fakes.upstream.proxy import Proxy
from tests.fakes.upstream.running import running
from tests.fakes.waiting import until

TABLE = plant()


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
    delivery = FakeDelivery(block(number, TABLE) for number in range(50))
    with Collector(broker.port) as received:
        async with running(broker.url, delivery, table=TABLE, protocol=protocol) as up:
            await until(lambda: not delivery.left)
            await until(lambda: len(values(received)) == 300)
            assert up.counters.readings == 300
            assert up.counters.messages == 101  # two devices in each block, and the state
            assert up.counters.up
            assert up.counters.backlog == 0
        await until(lambda: len(received.payloads("cell/state")) == 2)
        states = [json.loads(payload) for payload in received.payloads("cell/state")]
        first = next(message for message in received.messages if message.topic == "cell/d0/data")
    assert sorted(values(received)) == [number / 8 for number in range(300)]
    assert [state["state"] for state in states] == ["online", "offline"]
    assert states[0] == {
        "state": "online",
        "boot": "9f2c61",
        "version": "1.0",
        "site": {"enterprise": "acme", "site": "cangzhou"},
        "location": {"latitude": 38.31},
    }
    identity = (("gateway", "cell"), ("boot", "9f2c61"), ("block", "0"), ("device", "d0"))
    assert first.user == (identity if protocol == 5 else ())


async def test_a_killed_and_restarted_broker_costs_nothing(broker: Mosquitto) -> None:
    async with Proxy(broker.port) as proxy:
        delivery = FakeDelivery()
        with Collector(broker.port) as received:
            async with running(proxy.url, delivery, table=TABLE, window=5) as up:
                for kill in range(3):
                    for number in range(kill * 300, kill * 300 + 300):
                        delivery.append(block(number, TABLE))
                    seen = len(values(received))
                    await until(lambda wanted=seen + 100: len(values(received)) > wanted)  # type: ignore[misc]
                    proxy.open = False
                    broker.kill()
                    await until(lambda: not up.counters.up)
                    subscriptions = received.subscriptions
                    broker.start()
                    await asyncio.to_thread(received.wait_subscribed, subscriptions + 1)
                    proxy.open = True  # the subscriber is back first: what the broker takes, it sees
                await until(lambda: not delivery.left)
                await until(lambda: len(set(values(received))) == 5400)
                assert up.counters.readings == 5400
        assert len(delivery.acknowledged) == len(set(delivery.acknowledged)) == 900


async def test_links_cut_at_random_points_lose_nothing(broker: Mosquitto) -> None:
    rng = random.Random(1)  # a fixed course of cuts
    async with Proxy(broker.port) as proxy:
        proxy.cut_after = 5_000
        delivery = FakeDelivery(block(number, TABLE, 60) for number in range(400))
        with Collector(broker.port) as received:
            async with running(proxy.url, delivery, table=TABLE, window=20) as up:
                while delivery.left:
                    proxy.cut_after = rng.randrange(200, 60_000)
                    connections = proxy.connections
                    await until(lambda seen=connections: proxy.connections != seen or not delivery.left)  # type: ignore[misc]
                assert up.counters.readings == 24_000
            await until(lambda: len(set(values(received))) == 24_000)
        assert proxy.cuts >= 20


async def test_a_half_open_link_is_left_and_nothing_is_missing(
    broker: Mosquitto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.upstream.session.CONNACK_TIMEOUT_S", 0.5)
    async with Proxy(broker.port) as proxy:
        delivery = FakeDelivery(block(number, TABLE) for number in range(20))
        with Collector(broker.port) as received:
            async with running(proxy.url, delivery, table=TABLE, ack_timeout="500ms"):
                await until(lambda: not delivery.left)
                proxy.silent = True
                for number in range(20, 40):
                    delivery.append(block(number, TABLE))
                await until(lambda: proxy.connections == 2)
                proxy.silent = False
                await until(lambda: not delivery.left)
            await until(lambda: len(set(values(received))) == 240)


async def test_a_topic_the_access_list_denies_is_parked_alone(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    rights = tmp_path / "rights"
    rights.write_text("topic read #\ntopic write cell/d1/#\ntopic write cell/state\n")
    with Mosquitto(tmp_path, [f"acl_file {rights}"]) as broker, Collector(broker.port) as received:
        delivery = FakeDelivery(block(number, plant(1)) for number in range(10))
        for number in range(10, 20):
            delivery.append(block(number, plant(2)))
        async with running(broker.url, delivery, patience=0.1) as up:
            await until(lambda: len(received.payloads("cell/d1/data")) == 10)
            assert up.counters.refused["Not authorized"] >= 1
            assert delivery.acknowledged == []
            assert up.counters.up
        assert received.payloads("cell/d0/data") == []


async def test_tls_with_client_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.sign("127.0.0.1")
    own_certificate, own_key = authority.sign("gateway")
    lines = [f"cafile {authority.ca}", f"certfile {certificate}", f"keyfile {key}", "require_certificate true"]
    broker = Mosquitto(tmp_path, listener=lines)
    broker.start()
    try:
        url = f"mqtts://127.0.0.1:{broker.port}"
        tls = {"ca": authority.ca, "certificate": own_certificate, "key": own_key}
        delivery = FakeDelivery(block(number, TABLE, 600) for number in range(50))
        async with running(url, delivery, table=TABLE, tls=tls) as up:
            await until(lambda: not delivery.left)
            assert up.counters.readings == 30_000
        nameless = FakeDelivery([block(0, TABLE)])
        async with running(url, nameless, table=TABLE, tls={"ca": authority.ca}, patience=0.1) as up:
            await until(lambda: bool(up.counters.reason))
        assert nameless.left
    finally:
        broker.kill()


async def test_user_and_password_from_a_file(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    # mosquitto's own format for "secret", so that no tool is needed: PBKDF2, 101 rounds, SHA-512
    digest = base64.b64encode(hashlib.pbkdf2_hmac("sha512", b"secret", b"saltsaltsalt", 101)).decode()
    passwords.write_text(f"me:$7$101${base64.b64encode(b'saltsaltsalt').decode()}${digest}\n")
    secret = tmp_path / "secret"
    with Mosquitto(tmp_path, [f"password_file {passwords}"], anonymous=False) as broker:
        for text, good in (("wrong", False), ("secret\n", True)):
            secret.write_text(text)
            delivery = FakeDelivery([block(0, TABLE)])
            credentials: dict[str, Any] = {"username": "me", "password": {"file": secret}}
            async with running(broker.url, delivery, table=TABLE, patience=2.0 if good else 0.1, **credentials) as up:
                if good:
                    await until(lambda left=delivery: not left.left)  # type: ignore[misc]
                else:
                    await until(lambda counters=up.counters: "ot authorized" in counters.reason)  # type: ignore[misc]
                    assert "wrong" not in up.counters.reason
            assert bool(delivery.left) is not good


async def test_two_gateways_with_one_name_do_not_fight(broker: Mosquitto) -> None:
    first, second = FakeDelivery([block(0, TABLE)]), FakeDelivery([block(1, TABLE)])
    async with running(broker.url, first, table=TABLE, boot="aaaaaa", patience=0.1) as one:
        await until(lambda: not first.left)
        async with running(broker.url, second, table=TABLE, boot="bbbbbb") as two:
            await until(lambda: not second.left)
            await until(lambda: "our name" in one.counters.reason)
            await until(lambda: two.counters.up)
            second.append(block(2, TABLE))
            first.append(block(3, TABLE))
            await until(lambda: not second.left)
            assert one.upstream._not_before > asyncio.get_running_loop().time() + 50  # no attempt for a minute
            assert two.counters.up
            assert not one.counters.up
            assert first.left


async def test_the_will_speaks_when_the_link_dies(broker: Mosquitto) -> None:
    async with Proxy(broker.port) as proxy:
        with Collector(broker.port, "cell/state") as received:
            async with running(proxy.url, FakeDelivery(), table=TABLE):
                await until(lambda: len(received.messages) == 1)
                proxy.open = False
                proxy.cut()
                await until(lambda: len(received.messages) == 2)
                states = [json.loads(message.payload)["state"] for message in received.messages]
                assert states == ["online", "offline"]


async def test_messages_expire_where_it_is_set(broker: Mosquitto) -> None:
    delivery = FakeDelivery([block(0, TABLE)])
    with Collector(broker.port) as received:
        async with running(broker.url, delivery, table=TABLE, message_expiry="100s"):
            await until(lambda: len([1 for message in received.messages if message.topic.endswith("/data")]) == 2)
        expiry = {message.topic: message.expiry_s for message in received.messages}
    assert {topic: value for topic, value in expiry.items() if topic.endswith("/data")}.keys() == {
        "cell/d0/data",
        "cell/d1/data",
    }
    assert all(90 <= (expiry[topic] or 0) <= 100 for topic in ("cell/d0/data", "cell/d1/data"))
    assert expiry["cell/state"] is None  # what is retained stays true


async def test_zstd_and_one_message_per_reading(broker: Mosquitto) -> None:
    delivery = FakeDelivery([block(0, TABLE)])
    with Collector(broker.port) as received:
        async with running(broker.url, delivery, table=TABLE, topic="{site}/{device}/{tag}", compress="zstd"):
            await until(lambda: len([1 for message in received.messages if "cangzhou" in message.topic]) == 6)
        got = {
            message.topic: json.loads(zstandard.decompress(message.payload))
            for message in received.messages
            if "cangzhou" in message.topic
        }
        kinds = {message.content_type for message in received.messages if "cangzhou" in message.topic}
    assert kinds == {"application/zstd"}
    assert got["cangzhou/d1/t2"] == {
        "gateway": "cell",
        "device": "d1",
        "tag": "t2",
        "time": 1_732_258_800_128,
        "value": 0.625,
        "quality": "good",
        "boot": "9f2c61",
        "block": 0,
    }
