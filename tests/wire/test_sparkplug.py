"""The edge node over a real mosquitto, beyond the assertions (test_sparkplug_assertions.py): cuts, kills, refusals."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.runtime.clock import Clock
from gateway.runtime.latest import Latest
from gateway.upstream.requests import Value
from gateway.upstream.sparkplug import node
from tests.fakes.mosquitto import Collector, Mosquitto, Received
from tests.fakes.upstream.commanding import TABLE, Plant
from tests.fakes.upstream.delivery import FakeDelivery, block, plant
from tests.fakes.upstream.proxy import Proxy
from tests.fakes.upstream.running import running
from tests.fakes.upstream.sparkplug import (
    check_sequence,
    command,
    heard,
    kinds,
    rebirth,
    values,
)
from tests.fakes.waiting import until as settled

SPARKPLUG: dict[str, Any] = {"format": "sparkplug", "sparkplug": {"group": "g"}}


async def until(host: Collector, condition: Callable[[list[Received]], bool]) -> None:
    await asyncio.to_thread(host.wait_for, condition)


async def drained(delivery: FakeDelivery) -> None:
    await settled(lambda: not delivery.left)


def blocks(count: int, start: int = 0) -> list[Any]:
    table = plant()
    return [block(number, table) for number in range(start, start + count)]


def expected(count: int) -> set[float]:
    return {number / 8.0 for number in range(6 * count)}


async def test_nothing_is_lost_while_connections_are_cut(tmp_path: Path) -> None:
    delivery = FakeDelivery(blocks(60))
    with Mosquitto(tmp_path) as broker, Collector(broker.port) as host:
        async with Proxy(broker.port, cut_after=4000) as proxy:
            async with running(proxy.url, delivery, **SPARKPLUG):
                await until(host, lambda messages: kinds(messages).count("NBIRTH") >= 5)
                proxy.cut_after = None
                proxy.cut()
                await drained(delivery)
                await until(host, lambda messages: values(messages) == expected(60))
            assert proxy.cuts >= 4
        births = [one.bdseq for one in heard(host.messages) if one.kind == "NBIRTH"]
        assert births == sorted(set(births))


async def test_topics_nbirth_bdseq_increment_when_the_broker_is_killed(tmp_path: Path) -> None:
    delivery = FakeDelivery(blocks(2))
    with Mosquitto(tmp_path) as broker, Collector(broker.port) as host:
        async with running(broker.url, delivery, **SPARKPLUG) as up:
            await drained(delivery)
            await until(host, lambda messages: values(messages) == expected(2))
            broker.kill()
            await settled(lambda: not up.counters.up)
            delivery.append(blocks(1, 2)[0])
            broker.start()
            await drained(delivery)
            await asyncio.to_thread(host.wait_subscribed, 2)
            await asyncio.to_thread(rebirth, host)  # this host came back later than the node
            await until(host, lambda messages: kinds(messages).count("NBIRTH") >= 2)
        births = [one.bdseq for one in heard(host.messages) if one.kind == "NBIRTH"]
        assert births[0] == 0
        assert births[-1] > 0


async def test_a_storm_of_rebirth_requests_is_answered_at_once_and_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "MERGE_S", 1.0)
    delivery = FakeDelivery(blocks(1))
    with Mosquitto(tmp_path) as broker, Collector(broker.port) as host:
        async with running(broker.url, delivery, **SPARKPLUG):
            await drained(delivery)
            for _ in range(5):
                await asyncio.to_thread(rebirth, host)
            await until(host, lambda messages: kinds(messages).count("NBIRTH") == 2)
            delivery.append(blocks(1, 1)[0])
            await drained(delivery)
            await until(host, lambda messages: kinds(messages).count("NBIRTH") == 3)
        check_sequence(host.messages)
        births = [one.bdseq for one in heard(host.messages) if one.kind == "NBIRTH"]
        assert births == [0, 0, 0]
        assert values(host.messages) == expected(2)


async def test_operational_behavior_data_commands_dcmd(tmp_path: Path) -> None:
    plc, delivery = Plant(), FakeDelivery()
    with Mosquitto(tmp_path) as broker, Collector(broker.port) as host:
        async with running(broker.url, delivery, table=TABLE, commands=plc.executor, listen=True, **SPARKPLUG):
            await until(host, lambda messages: "DBIRTH press" in kinds(messages))
            command(host, "press", retain=True, name="setpoint", int_value=1)
            command(host, "press", name="temperature", float_value=1.0)
            command(host, "press", name="nothing", int_value=1)
            command(host, "press", name="setpoint", int_value=0xFFFFFFFF)  # -1
            command(host, "press", alias=1, int_value=900)
            command(host, "press", name="running", boolean_value=True)
            await until(host, lambda messages: kinds(messages).count("DDATA press") >= 4)
        assert plc.written == [("press.setpoint", 900), ("press.running", True)]
        results = [dict(body) for kind, body in plc.audit.records if kind == "result"]
        statuses = [json.loads(json.dumps(body["results"]))[0]["status"] for body in results]
        assert statuses == ["denied", "unknown_tag", "out_of_range", "ok", "ok"]
        assert [body["error"] for kind, body in plc.audit.records if kind == "refused"] == ["it is retained"]
        back = [m for one in heard(host.messages) if one.kind == "DDATA" for m in one.payload.metrics]
        assert [m.int_value for m in back if m.alias == 1 and not m.is_null] == [900]
        assert [m.boolean_value for m in back if m.alias == 3] == [True]


async def test_commands_are_refused_and_recorded_where_the_upstream_takes_none(tmp_path: Path) -> None:
    plc = Plant()
    with Mosquitto(tmp_path) as broker, Collector(broker.port) as host:
        async with running(broker.url, FakeDelivery(), table=TABLE, commands=plc.executor, **SPARKPLUG):
            await until(host, lambda messages: "DBIRTH press" in kinds(messages))
            command(host, "press", name="setpoint", int_value=900)
            command(host, "press", name="temperature", float_value=float("nan"))
            host.publish("spBv1.0/g/NCMD/cell", b"\xff\xff")
            await asyncio.to_thread(rebirth, host)  # this is no write
            await until(host, lambda messages: kinds(messages).count("NBIRTH") == 2)
            await settled(lambda: len(plc.audit.records) == 3)
    assert plc.written == []
    assert [(kind, body["request"], body["error"]) for kind, body in plc.audit.records] == [
        ("refused", [{"tag": "press.setpoint", "value": 900}], "this upstream takes no commands"),
        ("refused", [{"tag": "press.temperature", "value": "nan"}], "this upstream takes no commands"),
        ("refused", "ffff", "it is no Sparkplug payload"),
    ]


async def test_a_flood_of_commands_is_recorded_as_dropped(tmp_path: Path) -> None:
    class Slow(Plant):
        async def write(self, tag: int, value: Value) -> Value:
            await gate.wait()
            return await super().write(tag, value)

    gate, plc = asyncio.Event(), Slow()
    with Mosquitto(tmp_path) as broker, Collector(broker.port) as host:
        async with running(broker.url, FakeDelivery(), table=TABLE, commands=plc.executor, listen=True, **SPARKPLUG):
            await until(host, lambda messages: "DBIRTH press" in kinds(messages))
            for _ in range(70):
                await asyncio.to_thread(command, host, "press", name="running", boolean_value=True)
            await asyncio.to_thread(rebirth, host)  # behind them, and not in their queue
            await until(host, lambda messages: kinds(messages).count("NBIRTH") == 2)
            gate.set()
            await settled(lambda: any(kind == "refused" for kind, _ in plc.audit.records))
            await settled(lambda: sum(kind == "result" for kind, _ in plc.audit.records) == 65)
    [refused] = [body for kind, body in plc.audit.records if kind == "refused"]
    assert refused["request"] == {"messages": 5}
    assert refused["error"] == "more than 64 waited"


async def test_durable_data_goes_with_qos_1_and_without_a_barrier(tmp_path: Path) -> None:
    delivery = FakeDelivery(blocks(4))
    options: dict[str, Any] = {"format": "sparkplug", "sparkplug": {"group": "g", "durable": True}}
    with Mosquitto(tmp_path) as broker, Collector(broker.port) as host:
        async with running(broker.url, delivery, window=3, **options):
            await drained(delivery)
            await until(host, lambda messages: values(messages) == expected(4))
        assert not host.payloads("cell/barrier")
        assert "q1, r0, m" in broker.log
        check_sequence(host.messages)


async def test_a_refused_barrier_is_replaced_by_a_subscription(tmp_path: Path) -> None:
    access = tmp_path / "acl"
    access.write_text("topic readwrite spBv1.0/#\ntopic deny cell/barrier\n")
    access.chmod(0o600)
    delivery = FakeDelivery(blocks(3))
    with Mosquitto(tmp_path, [f"acl_file {access}"]) as broker, Collector(broker.port) as host:
        async with running(broker.url, delivery, **SPARKPLUG):
            await drained(delivery)
            await until(host, lambda messages: values(messages) == expected(3))
        assert broker.log.count("spBv1.0/g/NCMD/cell (QoS 1)") > 1


async def test_a_reload_is_born_again_with_the_same_bdseq(tmp_path: Path) -> None:
    delivery, table = FakeDelivery(), plant()
    longer = plant(3)
    with Mosquitto(tmp_path) as broker, Collector(broker.port) as host:
        async with running(broker.url, delivery, table=table, latest=Latest(longer), **SPARKPLUG) as up:
            await until(host, lambda messages: "DBIRTH d1" in kinds(messages))
            up.upstream.use_table(longer)
            await until(host, lambda messages: "DBIRTH d2" in kinds(messages))
            delivery.append(block(0, longer, rows=9))
            await drained(delivery)
            await until(host, lambda messages: "DDATA d2" in kinds(messages))
        check_sequence(host.messages)
        assert {one.bdseq for one in heard(host.messages) if one.kind == "NBIRTH"} == {0}
        assert "spBv1.0/g/DCMD/cell/d2 (QoS 1)" in broker.log


async def test_a_clock_that_steps_back_makes_no_history_of_what_is_read_next(tmp_path: Path) -> None:
    shift_ns = 0
    clock = Clock(wall_ns=lambda: time.time_ns() + shift_ns)
    delivery, table = FakeDelivery(), plant()
    with Mosquitto(tmp_path) as broker, Collector(broker.port) as host:
        async with running(broker.url, delivery, table=table, clock=clock, **SPARKPLUG):
            await until(host, lambda messages: "DBIRTH d1" in kinds(messages))
            shift_ns = -3600 * 1_000_000_000
            assert clock.check() is not None
            await until(host, lambda messages: kinds(messages).count("DBIRTH d1") == 2)
            now_ns = clock.now_ns()
            one = block(0, table)
            times = now_ns + np.arange(len(one.readings)) * 1_000_000
            delivery.append(replace(one, readings=replace(one.readings, time_ns=times), sealed_ns=now_ns))
            await drained(delivery)
            await until(host, lambda messages: "DDATA d1" in kinds(messages))
        check_sequence(host.messages)
        data = [metric for one in heard(host.messages) if one.kind == "DDATA" for metric in one.payload.metrics]
        assert [metric.is_historical for metric in data] == [False] * 6
