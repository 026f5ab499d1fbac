"""The edge node over a real mosquitto. Tests are named after the assertions of the Sparkplug 3.0 TCK they cover."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.runtime.latest import Latest
from tests.fakes.mosquitto import Collector, Mosquitto, Received
from tests.fakes.upstream.commanding import TABLE, Plant
from tests.fakes.upstream.delivery import FakeDelivery, block, event_block, plant
from tests.fakes.upstream.proxy import Proxy
from tests.fakes.upstream.running import running
from tests.fakes.upstream.sparkplug import (
    Memory,
    check_sequence,
    command,
    heard,
    kinds,
    rebirth,
    state,
    values,
)
from tests.fakes.waiting import until as settled

SPARKPLUG: dict[str, Any] = {"format": "sparkplug", "sparkplug": {"group": "g"}}
HOSTED: dict[str, Any] = {"format": "sparkplug", "sparkplug": {"group": "g", "primary_host": "scada"}}


async def until(host: Collector, condition: Callable[[list[Received]], bool]) -> None:
    await asyncio.to_thread(host.wait_for, condition)


async def drained(delivery: FakeDelivery) -> None:
    async with asyncio.timeout(20):
        while delivery.left:  # noqa: ASYNC110  # the fake tells nobody
            await asyncio.sleep(0.02)


def blocks(count: int, start: int = 0) -> list[Any]:
    table = plant()
    return [block(number, table) for number in range(start, start + count)]


def expected(count: int) -> set[float]:
    return {number / 8.0 for number in range(6 * count)}


async def test_message_flow_edge_node_birth_publish_order_seq_and_payloads(tmp_path: Path) -> None:
    delivery = FakeDelivery([*blocks(3), event_block(9, b'{"time":1732258800123,"event":"loss"}')])
    with Mosquitto(tmp_path) as broker, Collector(broker.port) as host:
        async with running(broker.url, delivery, **SPARKPLUG) as up:
            await drained(delivery)
        assert up.ended
        await until(host, lambda messages: kinds(messages).count("NDEATH") == 2)
        assert kinds(host.messages)[:3] == ["NBIRTH", "DBIRTH d0", "DBIRTH d1"]
        check_sequence(host.messages)
        assert values(host.messages) == expected(3)
        assert host.payloads("cell/barrier")
        names = [metric.name for metric in heard(host.messages)[0].payload.metrics]
        assert {"bdSeq", "Node Control/Rebirth", "Gateway/Event"} <= set(names)
        log = broker.log
        for topic in ("NCMD/cell", "DCMD/cell/d0", "DCMD/cell/d1"):
            assert f"spBv1.0/g/{topic} (QoS 1)" in log


async def test_payloads_qos_and_retain_principles_clean_session_and_will(tmp_path: Path) -> None:
    delivery = FakeDelivery(blocks(1))
    with Mosquitto(tmp_path) as broker, Collector(broker.port) as host:
        async with running(broker.url, delivery, **SPARKPLUG):
            await drained(delivery)
        await until(host, lambda messages: "NDEATH" in kinds(messages))
        published = [line for line in broker.log.splitlines() if "Received PUBLISH from cell-plant" in line]
        assert "NBIRTH" in published[0]  # nothing is said before it
        for line in published:
            qos = "q1" if "NDEATH" in line or "barrier" in line else "q0"
            assert f"{qos}, r0" in line
        assert "cell-plant (p5, c1, k20)" in broker.log
        assert "Will message specified" in broker.log
        assert "(r0, q1).\n" in broker.log


async def test_operational_behavior_edge_node_intentional_disconnect_ndeath_and_packet(tmp_path: Path) -> None:
    with Mosquitto(tmp_path) as broker, Collector(broker.port) as host:
        async with running(broker.url, FakeDelivery(), **SPARKPLUG):
            await until(host, lambda messages: "DBIRTH d1" in kinds(messages))
        await until(host, lambda messages: kinds(messages).count("NDEATH") == 2)  # ours, and the will by reason 0x04
        assert [one.bdseq for one in heard(host.messages) if one.kind == "NDEATH"] == [0, 0]


async def test_payloads_bdseq_survives_a_restart(tmp_path: Path) -> None:
    memory = Memory()
    with Mosquitto(tmp_path) as broker, Collector(broker.port) as host:
        for run in range(3):
            async with running(broker.url, FakeDelivery(), memory=memory, **SPARKPLUG):
                await until(host, lambda messages, run=run: kinds(messages).count("NBIRTH") == run + 1)  # type: ignore[misc]
        births = [one.bdseq for one in heard(host.messages) if one.kind == "NBIRTH"]
        assert births == [0, 1, 2]


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
        async with running(broker.url, delivery, **SPARKPLUG):
            await drained(delivery)
            await until(host, lambda messages: values(messages) == expected(2))
            broker.kill()
            delivery.append(blocks(1, 2)[0])
            await asyncio.sleep(0.3)
            assert delivery.left
            broker.start()
            await drained(delivery)
            await asyncio.to_thread(host.wait_subscribed, 2)
            await asyncio.to_thread(rebirth, host)  # this host came back later than the node
            await until(host, lambda messages: kinds(messages).count("NBIRTH") >= 2)
        births = [one.bdseq for one in heard(host.messages) if one.kind == "NBIRTH"]
        assert births[0] == 0
        assert births[-1] > 0


async def test_operational_behavior_data_commands_rebirth_action(tmp_path: Path) -> None:
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


async def test_message_flow_phid_wait_and_phid_offline(tmp_path: Path) -> None:
    delivery = FakeDelivery(blocks(2))
    with Mosquitto(tmp_path) as broker, Collector(broker.port) as host:
        async with running(broker.url, delivery, **HOSTED):
            await asyncio.to_thread(state, host, "other", 1000, online=True)
            await asyncio.to_thread(state, host, "scada", 900, online=False)
            await until(host, lambda _: "spBv1.0/STATE/scada (QoS 1)" in broker.log)
            await asyncio.to_thread(state, host, "scada", 800, online=True)  # older: starts nothing
            await asyncio.sleep(0.3)
            assert kinds(host.messages) == []
            assert len(delivery.left) == 2
            await asyncio.to_thread(state, host, "scada", 1000, online=True)
            await drained(delivery)
            await asyncio.to_thread(state, host, "scada", 999, online=False)  # older than the last online: ignored
            delivery.append(blocks(1, 2)[0])
            await drained(delivery)
            await asyncio.to_thread(state, host, "scada", 2000, online=False)
            await until(host, lambda messages: "NDEATH" in kinds(messages))
            delivery.append(blocks(1, 3)[0])
            await asyncio.sleep(1.5)
            assert kinds(host.messages).count("NBIRTH") == 1
            assert len(delivery.left) == 1
            await asyncio.to_thread(state, host, "scada", 3000, online=True)
            await drained(delivery)
        check_sequence(host.messages)
        assert values(host.messages) == expected(4)
        assert [one.bdseq for one in heard(host.messages) if one.kind == "NBIRTH"] == [0, 1]


async def test_primary_application_state_with_multiple_servers_walk(tmp_path: Path) -> None:
    delivery = FakeDelivery(blocks(1))
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with (
        Mosquitto(first) as one,
        Mosquitto(second) as other,
        Collector(one.port) as here,
        Collector(other.port) as there,
    ):
        await asyncio.to_thread(state, here, "scada", 1000, online=True)
        await asyncio.to_thread(state, there, "scada", 1000, online=True)
        async with running([one.url, other.url], delivery, **HOSTED):
            await drained(delivery)
            assert kinds(there.messages) == []
            await asyncio.to_thread(state, here, "scada", 2000, online=False)
            await until(here, lambda messages: "NDEATH" in kinds(messages))
            await until(there, lambda messages: "DBIRTH d1" in kinds(messages))
            delivery.append(blocks(1, 1)[0])
            await drained(delivery)
            await until(there, lambda messages: len(values(messages)) == 6)
            await asyncio.to_thread(state, there, "scada", 2000, online=False)
            await asyncio.to_thread(state, here, "scada", 3000, online=True)
            await until(here, lambda messages: kinds(messages).count("NBIRTH") == 2)
        check_sequence(here.messages)
        check_sequence(there.messages)
        assert values(here.messages) | values(there.messages) == expected(2)


async def test_operational_behavior_device_ddeath_and_payloads_dbirth(tmp_path: Path) -> None:
    delivery = FakeDelivery(blocks(1))
    with Mosquitto(tmp_path) as broker, Collector(broker.port) as host:
        async with running(broker.url, delivery, **SPARKPLUG) as up:
            await drained(delivery)
            up.upstream.link("d0", online=False, reason="timeout", since_ns=1)
            await until(host, lambda messages: "DDEATH d0" in kinds(messages))
            up.upstream.link("d0", online=True, reason="", since_ns=2)
            await until(host, lambda messages: kinds(messages).count("DBIRTH d0") == 2)
        check_sequence(host.messages)


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
