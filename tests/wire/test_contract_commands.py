"""wire.md, commands: every answer the contract names, from outside."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.fakes.cell import Cell, cell, command_line
from tests.fakes.gateway import GatewayProcess
from tests.fakes.modbus import FakeDevice, FakeServer, Memory, Say
from tests.fakes.waiting import until

ASK, RESULT = "cell/command/write", "cell/command/result"


def write(tag: str, value: object) -> dict[str, object]:
    return {"tag": tag, "value": value}


async def answer(c: Cell, identity: str, *writes: dict[str, object], **more: object) -> list[dict[str, Any]]:
    """The results of a request."""
    already = len(c.messages(RESULT))
    await c.publish(ASK, {"id": identity, "writes": list(writes), **more})
    await until(lambda: len(c.messages(RESULT)) > already)
    body = c.bodies(RESULT)[-1]
    assert list(body) == ["id", "results"]
    assert body["id"] == identity
    results: list[dict[str, Any]] = body["results"]
    return results


@pytest.fixture
async def oven() -> AsyncIterator[FakeServer]:
    """Unit 1 works, 2 is silent once written to, 3 refuses every write, 4 keeps its own mind."""

    def behave(unit: int, pdu: bytes) -> list[Say] | None:
        if pdu[0] in {3, 4}:
            return None
        if unit == 2:
            return []
        if unit == 3:
            return [Say(bytes((pdu[0] | 0x80, 4)))]
        return [Say(pdu[:5])] if unit == 4 else None

    device = FakeDevice({unit: Memory(holding=dict.fromkeys(range(10), 5)) for unit in (1, 2, 3, 4)}, behave=behave)
    server = FakeServer(device, rtu=False)
    await server.start()
    yield server
    await server.shut()


def ovens(server: FakeServer) -> str:
    tags = "{x: {address: holding:1, type: int16, write: {}}}"
    devices = ", ".join(f"oven-{unit}: {{unit: {unit}, every: 1s, tags: {tags}}}" for unit in (1, 2, 3, 4))
    return (
        f"  ovens: {{driver: modbus-tcp, host: 127.0.0.1, port: {server.port}, timeout: 200ms, devices: {{{devices}}}}}"
    )


async def test_every_status(tmp_path: Path, oven: FakeServer) -> None:
    async with cell(tmp_path, more=ovens(oven)) as c:
        await until(lambda: len(c.messages("cell/oven-4/data")) > 0 and bool(c.messages("cell/press/data")))
        assert await answer(
            c,
            "all",
            write("press.setpoint", 900),
            write("press.setpoint", 1501),
            write("press.setpoint", -1),
            write("press.setpoint", 1.5),
            write("press.setpoint", "7"),
            write("press.setpoint", True),
            write("press.setpoint", None),
            write("press.setpoint", [1]),
            write("press.whole", 1),
            write("press.nothing", 1),
            write("elsewhere.x", 1),
            write("press.absent", 1),
            write("oven-2.x", 1),
            write("oven-3.x", 1),
            write("oven-4.x", 1),
        ) == [
            {"tag": "press.setpoint", "status": "ok", "readback": 900},
            {"tag": "press.setpoint", "status": "out_of_range"},
            {"tag": "press.setpoint", "status": "out_of_range"},
            *[{"tag": "press.setpoint", "status": "bad_type"}] * 5,
            {"tag": "press.whole", "status": "denied"},
            {"tag": "press.nothing", "status": "unknown_tag"},
            {"tag": "elsewhere.x", "status": "unknown_tag"},
            {"tag": "press.absent", "status": "failed"},
            {"tag": "oven-2.x", "status": "timeout"},
            {"tag": "oven-3.x", "status": "failed"},
            {"tag": "oven-4.x", "status": "mismatch", "readback": 5},
        ]
        assert await c.peek(140) == [900]
        assert [(message.qos, message.retain) for message in c.messages(RESULT)] == [(1, False)]
        assert await answer(
            c,
            "kinds",
            write("press.setpoint", 7.0),
            write("press.speed", 21.54),
            write("press.speed", 10),
            write("press.ratio", 0.1),
            write("press.on", True),
            write("press.on", 1),
            write("press.lot", "LOT-ä"),
            write("press.lot", "far too long"),
            write("press.lot", 5),
            write("press.byte", 256),
            write("press.byte", 255),
        ) == [
            {"tag": "press.setpoint", "status": "ok", "readback": 7},
            {"tag": "press.speed", "status": "ok", "readback": 21.5},
            {"tag": "press.speed", "status": "ok", "readback": 10.0},
            {"tag": "press.ratio", "status": "ok", "readback": pytest.approx(0.1)},
            {"tag": "press.on", "status": "ok", "readback": True},
            {"tag": "press.on", "status": "bad_type"},
            {"tag": "press.lot", "status": "ok", "readback": "LOT-ä"},
            {"tag": "press.lot", "status": "out_of_range"},
            {"tag": "press.lot", "status": "bad_type"},
            {"tag": "press.byte", "status": "out_of_range"},
            {"tag": "press.byte", "status": "ok", "readback": 255},
        ]
        assert await c.peek(141) == [100]
        assert await answer(
            c, "order", *(write("press.setpoint", value) for value in (1, 2, 3)), write("oven-1.x", 4)
        ) == [
            *({"tag": "press.setpoint", "status": "ok", "readback": value} for value in (1, 2, 3)),
            {"tag": "oven-1.x", "status": "ok", "readback": 4},
        ]
        assert await c.peek(140) == [3]
        now = time.time_ns() // 1_000_000
        assert await answer(c, "late", write("press.setpoint", 8), expires=now - 1) == [
            {"tag": "press.setpoint", "status": "expired"}
        ]
        assert (await answer(c, "soon", write("press.setpoint", 8), expires=now + 60_000))[0]["status"] == "ok"
        flood = await answer(c, "flood", *(write("press.byte", value) for value in range(90)))
        assert [row["status"] for row in flood[:10]] == ["ok"] * 10
        assert flood[-1] == {"tag": "press.byte", "status": "denied"}


async def test_without_an_id_retained_or_repeated_nothing_is_done(tmp_path: Path) -> None:
    once = write("press.setpoint", 11)
    async with cell(tmp_path) as c:
        await until(lambda: bool(c.messages("cell/press/data")))
        await c.publish(ASK, {"writes": [write("press.setpoint", 99)]})
        await until(lambda: len(c.messages(RESULT)) == 1)
        assert c.bodies(RESULT)[0]["results"] == [{"status": "bad_request"}]
        await c.publish(ASK, {"id": "kept", "writes": [write("press.setpoint", 98)]}, retain=True)
        first = await answer(c, "once", once)
        await c.poke(140, 55)
        assert await answer(c, "once", once) == first
        assert await c.daemon.end() == 0
        async with GatewayProcess(c.config, "second") as second:
            await second.ready()
            await until(lambda: c.bodies("cell/state")[-1]["state"] == "online")
            assert await answer(c, "once", once) == first
            assert await c.peek(140) == [55]
        assert "kept" not in {body["id"] for body in c.bodies(RESULT)}
        audit = [json.loads(line) for line in (tmp_path / "audit.log").read_text().splitlines()]
        kinds = [record["kind"] for record in audit if record["kind"] not in {"start", "stop"}]
        assert kinds == ["bad_request", "request", "result", "repeated", "repeated"]
        code, _, _ = await command_line("audit", "verify", str(tmp_path / "audit.log"))
        assert code == 0


async def test_response_topic_and_correlation_data_come_back(tmp_path: Path) -> None:
    async with cell(tmp_path) as c:
        await until(lambda: bool(c.messages("cell/press/data")))
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho left it out
        properties.ResponseTopic, properties.CorrelationData = "scada/answers", b"\x00\xff"
        request = {"id": "r", "writes": [write("press.setpoint", 5)]}
        await c.publish(ASK, request, properties=properties)
        await until(lambda: bool(c.messages("scada/answers")))
        (message,) = c.messages("scada/answers")
        assert (message.correlation, message.qos, message.retain) == (b"\x00\xff", 1, False)
        assert c.messages(RESULT) == []


async def test_an_upstream_without_commands_listens_to_nothing(tmp_path: Path) -> None:
    async with cell(tmp_path, 'plant: {{broker: "{broker}"}}') as c:
        await until(lambda: bool(c.messages("cell/press/data")))
        await c.publish(ASK, {"id": "x", "writes": [write("press.setpoint", 5)]})
        seen = len(c.messages("cell/press/data"))
        await until(lambda: len(c.messages("cell/press/data")) > seen + 2)
        assert c.messages(RESULT) == []
        assert await c.peek(140) == [0]


async def test_the_box_itself_writes_through_the_running_daemon(tmp_path: Path) -> None:
    async with cell(tmp_path) as c:
        await until(lambda: bool(c.messages("cell/press/data")))
        calls = [("press.setpoint", "321"), ("press.lot", "007"), ("press.on", "true"), ("press.setpoint", "9999")]
        calls.append(("press.setpoint", "[" * 20_000))
        answers = [await command_line("write", str(c.config), tag, value) for tag, value in calls]
        await until(lambda: len(c.events("write")) == 5)
    assert [(code, json.loads(out), error.count("\n")) for code, out, error in answers] == [
        (0, {"tag": "press.setpoint", "status": "ok", "readback": 321}, 0),
        (0, {"tag": "press.lot", "status": "ok", "readback": "007"}, 0),
        (0, {"tag": "press.on", "status": "ok", "readback": True}, 0),
        (1, {"tag": "press.setpoint", "status": "out_of_range"}, 1),
        (1, {"tag": "press.setpoint", "status": "bad_type"}, 1),
    ]
    code, out, error = await command_line("write", str(c.config), "press.setpoint", "1")
    assert (code, out) == (1, "")
    assert error.count("\n") == 1
    assert "no daemon" in error
