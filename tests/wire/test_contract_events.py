"""wire.md, events: each kind the contract names, as a subscriber sees it."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

from tests.fakes.cell import Cell, cell
from tests.fakes.gateway import GatewayProcess
from tests.fakes.waiting import until

TAGS = """
level: {address: holding:110, type: int16, alarm: {high: 100}}
setpoint: {address: holding:140, type: int16, write: {min: 0, max: 1500}}
"""
LOSS = ["gateway", "boot", "seq", "time", "event", "reason", "tags", "from", "to", "count"]


def check(c: Cell, begun: int) -> None:
    """What holds for every event."""
    ended = time.time_ns() // 1_000_000
    for message, event in zip(c.messages("cell/events"), c.bodies("cell/events"), strict=True):
        assert (message.qos, message.retain) == (1, False)
        assert list(event)[:5] == ["gateway", "boot", "seq", "time", "event"]
        assert event["gateway"] == "cell"
        assert type(event["seq"]) is type(event["time"]) is int
        assert begun <= event["time"] <= ended
        if event["event"] == "loss":
            assert list(event) == LOSS
            assert all(tag.startswith("press.") for tag in event["tags"])
            assert begun <= event["from"] <= event["to"] <= ended
    by_boot: dict[str, list[int]] = {}
    for event in c.bodies("cell/events"):
        by_boot.setdefault(event["boot"], []).append(event["seq"])
    assert all(numbers == sorted(set(numbers)) for numbers in by_boot.values())


def losses(c: Cell, reason: str) -> list[dict[str, Any]]:
    return [event for event in c.events("loss") if event["reason"] == reason]


async def test_writes_alarms_reloads_missed_ticks_and_a_power_cut(tmp_path: Path) -> None:
    begun = time.time_ns() // 1_000_000
    async with cell(tmp_path, tags=TAGS) as c:
        await until(lambda: bool(c.messages("cell/press/data")))
        await c.publish("cell/command/write", {"id": "a1", "writes": [{"tag": "press.setpoint", "value": 9}]})
        await c.poke(110, 101)
        await until(lambda: bool(c.events("write")) and bool(c.events("alarm")))
        good = c.config.read_text()
        c.config.write_text(good.replace("every: 100ms", "every: 110ms"))
        c.daemon.send(signal.SIGHUP)
        await until(lambda: len(c.events("reload")) == 1)
        c.config.write_text(good.replace("every: 100ms", "every: never"))
        c.daemon.send(signal.SIGHUP)
        await until(lambda: len(c.events("reload")) == 2)
        c.config.write_text(good)
        c.daemon.send(signal.SIGSTOP)
        await asyncio.sleep(1.5)  # the time that is missed: nothing runs that could be waited for
        c.daemon.send(signal.SIGCONT)
        await until(lambda: bool(losses(c, "missed_tick")))
        await c.daemon.end(signal.SIGKILL)
        async with GatewayProcess(c.config, "second") as second:
            await second.ready()
            await until(lambda: bool(losses(c, "power")))
        check(c, begun)
        (write,) = c.events("write")
        assert (write["tag"], write["value"], write["status"], write["id"]) == ("press.setpoint", 9, "ok", "a1")
        assert c.events("alarm")[0]["tag"] == "press.level"
        applied, refused = c.events("reload")
        assert (applied["result"], applied["changed"]) == ("applied", {"devices": ["press"], "upstreams": []})
        assert (refused["result"], refused["changed"]) == ("refused", {"devices": [], "upstreams": []})
        missed = losses(c, "missed_tick")[0]
        assert set(missed["tags"]) == {"press.level", "press.setpoint"}
        assert 5 <= missed["count"] / len(missed["tags"]) <= 16
        (power,) = losses(c, "power")
        assert power["count"] is None


async def test_what_is_too_old_is_told(tmp_path: Path) -> None:
    begun = time.time_ns() // 1_000_000
    async with cell(tmp_path, tags=TAGS, spool={"max_age": "1s"}) as c:
        await until(lambda: len(c.messages("cell/press/data")) > 2)
        subscriptions = c.received.subscriptions
        c.broker.kill()
        seen = c.readings("cell/press/data", "level")[-1]["time"]
        await until(lambda: time.time_ns() // 1_000_000 > seen + 4000)
        c.broker.start()
        await until(lambda: c.received.subscriptions > subscriptions)
        await until(lambda: bool(losses(c, "spool_age")))
        await until(lambda: c.readings("cell/press/data", "level")[-1]["time"] > losses(c, "spool_age")[-1]["to"])
        check(c, begun)
        lost = sum(event["count"] for event in losses(c, "spool_age"))
        assert set(losses(c, "spool_age")[0]["tags"]) == {"press.level", "press.setpoint"}
        assert lost >= 20
