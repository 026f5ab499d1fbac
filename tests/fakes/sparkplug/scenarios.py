"""The scenarios of the conformance suite: each plays one on real brokers and gives its transcript."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Final

import numpy as np

from gateway.readings import Quality
from tests.fakes.sparkplug.stage import HOST, Stage, stage
from tests.fakes.sparkplug.tap import Recorder
from tests.fakes.sparkplug.transcript import Suite, Transcript
from tests.fakes.waiting import until

FIRST: Final = {"press.setpoint": 900.0, "press.temperature": 21.5, "meter.power": 12.5, "meter.energy": 4e9}
Scenario = Callable[[Path, str], Coroutine[None, None, list[Transcript]]]


async def plain(folder: Path, protocol: str) -> list[Transcript]:
    """Start, data of every quality, an event, a wanted stop."""
    async with stage(folder, protocol=protocol) as on:
        await on.offer(FIRST)
        async with on.gateway():
            await on.until("DBIRTH", 2)
            await _live(on, {"press.setpoint": -1.0, "meter.power": 13.0, "meter.z.0": 1.0})
            await _live(on, {"press.temperature": np.nan}, quality=Quality.BAD_RANGE)
            await _live(on, {"press.temperature": np.nan}, quality=Quality.BAD_STALE)
            await _live(on, {"press.running": 1.0, "meter.power": 13.5})
            on.offer_event("reload")
            await on.drained()
        await on.over()
        return [on.transcript(f"plain-{protocol}")]


async def reconnect(folder: Path, protocol: str) -> list[Transcript]:
    """The link breaks, blocks pile up, the backlog goes out behind new births, then live data."""
    async with stage(folder, protocol=protocol) as on:
        async with on.gateway():
            await on.until("DBIRTH", 2)
            await _live(on, FIRST)
            await on.tap.refuse()
            await on.over()
            for age_ms in (900, 600, 300):
                await on.offer({"press.temperature": float(age_ms), "meter.power": float(age_ms)}, age_ms=age_ms)
            await on.offer({"press.temperature": 22.0, "meter.power": 14.0})
            await on.tap.listen()
            await on.until("DBIRTH", 4)
            await on.drained()
            await _live(on, {"press.temperature": 23.0})
        await on.over()
        return [on.transcript(f"reconnect-{protocol}")]


async def rebirth(folder: Path, protocol: str) -> list[Transcript]:
    """Births on demand in the middle of data; what is no demand is passed over."""
    async with stage(folder, protocol=protocol) as on:
        async with on.gateway():
            await on.until("DBIRTH", 2)
            await _live(on, FIRST)
            on.offer_event("reload")
            await on.drained()
            await on.rebirth(boolean_value=False)
            await on.fence()
            await on.rebirth()
            for number in range(20):
                await on.offer({"meter.power": 2.0 + number})
            await on.until("DBIRTH", 4)
            await on.drained()
            await _live(on, {"press.temperature": 24.0})
        await on.over()
        return [on.transcript(f"rebirth-{protocol}")]


async def restart(folder: Path, _: str) -> list[Transcript]:
    """Runs that remember bdSeq, over its turn from 255 to 0."""
    async with stage(folder) as on:
        on.memory.kept["sparkplug/bdseq/plant/g"] = b"253"
        for run in range(3):
            async with on.gateway():
                await on.until("DBIRTH", 2 * run + 2)
                await _live(on, {"meter.power": float(run)})
            await on.over()
        return [on.transcript("restart", remembered=253)]


async def long(folder: Path, _: str) -> list[Transcript]:
    """More messages than seq has numbers."""
    async with stage(folder) as on:
        async with on.gateway():
            await on.until("DBIRTH", 2)
            for number in range(270):
                await on.offer({"meter.power": float(number)})
            await on.drained()
        await on.over()
        return [on.transcript("long")]


async def commands(folder: Path, _: str) -> list[Transcript]:
    """Commands in the specification's form, and such as must be refused."""
    async with stage(folder) as on:
        await on.offer({"press.setpoint": 7.0, "press.temperature": 21.5})
        async with on.gateway():
            await on.until("DBIRTH", 2)
            await on.drained()
            now = {"timestamp": 1_732_258_800_000}
            await on.ask("press", name="setpoint", datatype=2, int_value=900, **now)
            await on.ask("press", alias=1, int_value=901)  # no name, no datatype, no time
            await on.ask("press", qos=1, name="running", datatype=11, boolean_value=True, **now)
            await on.ask("press", name="setpoint", int_value=1501)
            await on.ask("press", name="setpoint", string_value="900")
            await on.ask("press", name="temperature", float_value=1.0)
            await on.command("press", name="nothing", int_value=1)
            await on.fence()
            await on.command("press", retain=True, name="setpoint", int_value=902)
            await on.command(name="Gateway/Version", string_value="x", datatype=12)
            await on.fence()
            await on.rebirth(name="Node Control/Reboot")
            await on.rebirth(boolean_value=False)
            await on.fence()
            await on.rebirth()
            await on.until("DBIRTH", 4)
            await on.drained()
        await on.over()
        return [on.transcript("commands")]


async def device(folder: Path, _: str) -> list[Transcript]:
    """A device's link is lost and comes back, then the node's only other one."""
    async with stage(folder) as on:
        async with on.gateway() as up:
            await on.until("DBIRTH", 2)
            await _live(on, FIRST)
            for name in ("press", "meter"):
                up.upstream.link(name, online=False, reason="timeout", since_ns=1)
            await on.until("DDEATH", 2)
            for name in ("press", "meter"):
                up.upstream.link(name, online=True, reason="", since_ns=2)
            await on.until("DBIRTH", 4)
            await _live(on, {"press.temperature": 25.0, "meter.power": 15.0})
        await on.over()
        return [on.transcript("device", died=["meter", "press"])]


async def host(folder: Path, _: str) -> list[Transcript]:
    """The primary host: another's state, offline, stale times, online, offline, and again."""
    async with stage(folder, sparkplug={"primary_host": HOST}) as on:
        await on.state(1000, online=True, name="other")
        await on.state(900, online=False)
        async with on.gateway():
            await until(lambda: on.broker.log.count(f"spBv1.0/STATE/{HOST} (QoS 1)") == 1)
            await on.state(800, online=True)
            await on.fence()
            await on.state(1000, online=True)
            await on.until("DBIRTH", 2)
            await _live(on, FIRST)
            await on.state(999, online=False)
            await on.fence()
            await _live(on, {"meter.power": 16.0})
            await on.state(2000, online=False)
            await until(lambda: len([one for one in on.recorder.packets if one.kind == "CONNACK"]) == 2)
            await on.offer({"meter.power": 17.0})
            await until(lambda: on.broker.log.count(f"spBv1.0/STATE/{HOST} (QoS 1)") == 2)
            await on.state(1999, online=True)
            await on.fence()
            await on.state(3000, online=True)
            await on.until("DBIRTH", 4)
            await on.drained()
        await on.over()
        return [on.transcript("host", primary_host=HOST)]


async def walk(folder: Path, _: str) -> list[Transcript]:
    """Two servers: the node is on one at a time, and goes where its host is."""
    recorder, waits = Recorder(), {"primary_host": HOST}
    async with (
        stage(folder / "one", recorder, 0, sparkplug=waits) as one,
        stage(folder / "two", recorder, 1, sparkplug=waits) as two,
    ):
        await one.state(1000, online=True)
        await two.state(1000, online=True)
        async with one.gateway(broker=[one.tap.url, two.tap.url]):
            await one.until("DBIRTH", 2)
            await _live(one, FIRST)
            await one.state(2000, online=False)
            await one.until("DBIRTH", 4)
            await one.state(3000, online=True)
            await _live(one, {"meter.power": 18.0})
            await two.state(2000, online=False)
            await one.until("DBIRTH", 6)
            await _live(one, {"meter.power": 19.0})
        await one.over()
        return [one.transcript("walk", primary_host=HOST)]


async def neighbours(folder: Path, _: str) -> list[Transcript]:
    """Two nodes of one group with devices of the same names on one broker."""
    async with stage(folder) as on, stage(folder / "other") as other:
        other.tap.target = on.tap.target
        other.host = on.host
        async with on.gateway(), other.gateway(gateway="cell-2"):
            for each in (on, other):
                await each.until("DBIRTH", 2)
                await _live(each, FIRST)
        await on.over()
        await other.over()
        return [on.transcript("neighbour-1"), other.transcript("neighbour-2", node="cell-2")]


PLAYS: Final[Mapping[str, tuple[Scenario, str]]] = {
    **{
        f"{play.__name__}-{version}": (play, version)
        for play in (plain, reconnect, rebirth)
        for version in ("5", "3.1.1")
    },
    **{play.__name__: (play, "5") for play in (restart, long, commands, device, host, walk, neighbours)},
}


async def perform(folder: Path) -> Suite:
    """All scenarios, side by side."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(play(folder / name, version)) for name, (play, version) in PLAYS.items()]
    found = [transcript for task in tasks for transcript in task.result()]
    return Suite({transcript.name: transcript for transcript in found})


async def _live(on: Stage, values: Mapping[str, float], quality: int = Quality.GOOD) -> None:
    await on.offer(values, quality=quality)
    await on.drained()
