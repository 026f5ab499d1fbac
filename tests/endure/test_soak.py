"""The daemon for half an hour (GATEWAY_SOAK_MINUTES) while devices, broker and configuration don't keep still.

Flat memory, no descriptor or thread that stays, and every reading accounted for by PLCs that count their reads.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.counting_plc import CountingPlc
from tests.fakes.gateway import GatewayProcess
from tests.fakes.mosquitto import Collector, Mosquitto
from tests.fakes.upstream.proxy import Proxy
from tests.fakes.waiting import until

MINUTES = float(os.environ.get("GATEWAY_SOAK_MINUTES", "30"))
EVERY_MS = 100
FLAT = 0.03
SETTLED = 3  # descriptors: a connection that is just being opened or closed, the file a reload reads
pytestmark = [pytest.mark.endure, pytest.mark.timeout(MINUTES * 60 + 600)]

DEVICE = """
  {name}-line:
    driver: modbus-tcp
    host: 127.0.0.1
    port: {port}
    devices:
      {name}: {{unit: 1, every: {every}ms, tags: {{count: {{address: holding:0, type: uint32}}{more}}}}}
"""
REST = """
gateway: {{name: cell}}
spool: {{path: {folder}/spool.db, commit_interval: 1s}}
upstreams: {{plant: {{broker: "{broker}"}}}}
status: {{listen: "127.0.0.1:0"}}
"""
EXTRA = ", extra: {address: holding:40, type: uint16}"


@dataclass
class Samples:
    """What /proc says about the daemon, once a second."""

    pid: int
    rss_kib: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)

    def take(self) -> None:
        folder = Path(f"/proc/{self.pid}")
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        self.rss_kib.append(int(status["VmRSS"].split()[0]))
        self.threads.append(int(status["Threads"]))
        self.descriptors.append(len(list((folder / "fd").iterdir())))


class Turmoil:
    """What happens to the daemon, one thing every few seconds."""

    def __init__(
        self, broker: Mosquitto, proxy: Proxy, received: Collector, plc: CountingPlc, write: Callable[[str], None]
    ) -> None:
        self.happened: dict[str, int] = {"device": 0, "broker": 0, "cut": 0, "reload": 0}
        self._broker, self._proxy, self._received, self._plc = broker, proxy, received, plc
        self._write = write
        self._extra = False

    async def device(self) -> None:
        """The flapping PLC is switched off for a while."""
        await self._plc.__aexit__(None, None, None)
        await asyncio.sleep(random.uniform(0.5, 3))
        await self._plc.__aenter__()

    async def broker(self) -> None:
        """The broker dies; the subscriber must be back before the backlog comes."""
        self._proxy.open = False
        self._proxy.cut()
        subscriptions = self._received.subscriptions
        await asyncio.to_thread(self._broker.kill)
        await asyncio.sleep(random.uniform(0.5, 3))
        await asyncio.to_thread(self._broker.start)
        await until(lambda: self._received.subscriptions > subscriptions)
        self._proxy.open = True

    async def cut(self) -> None:
        """The line to the broker is cut in the middle of whatever is sent."""
        self._proxy.cut()

    async def reload(self, daemon: GatewayProcess) -> None:
        """A tag comes or goes on the flapping device."""
        self._extra = not self._extra
        self._write(EXTRA if self._extra else "")
        daemon.send(signal.SIGHUP)

    async def go_on(self, daemon: GatewayProcess, samples: Samples, end: float) -> None:
        steps = {"device": self.device, "broker": self.broker, "cut": self.cut}
        while time.monotonic() < end:
            for name in random.sample([*steps, "reload"], 4):
                await (self.reload(daemon) if name == "reload" else steps[name]())
                self.happened[name] += 1
                await asyncio.sleep(1)
                samples.take()


def _messages(received: Collector, kind: str) -> Iterator[dict[str, Any]]:
    return (json.loads(m.payload) for m in list(received.messages) if m.topic.endswith(kind))


def _rows(received: Collector, device: str) -> dict[int, int | None]:
    """Value by time of the device's counter: what came twice counts once."""
    return {
        reading["time"]: reading["value"] if reading["quality"] == "good" else None
        for message in _messages(received, f"/{device}/data")
        for reading in message["readings"]
        if reading["tag"] == "count"
    }


def _missed(received: Collector, device: str) -> int:
    """Ticks that were reported as lost."""
    return sum(
        event["count"]
        for event in _messages(received, "cell/events")
        if event["event"] == "loss" and event["tags"] == [f"{device}.count"]
    )


def _unserved(rows: dict[int, int | None]) -> int:
    """Ticks between one good reading and the next one that have none; a bad one speaks for those round it."""
    return sum(
        round((later - earlier) / EVERY_MS) - 1
        for earlier, later in itertools.pairwise(sorted(rows))
        if rows[earlier] is not None and rows[later] is not None
    )


async def test_it_stays_as_it_is(tmp_path: Path) -> None:
    config = tmp_path / "gateway.yaml"
    with Mosquitto(tmp_path) as broker:
        async with Proxy(broker.port) as proxy, CountingPlc() as steady, CountingPlc() as flapping:

            def write(more: str = "") -> None:
                lines = DEVICE.format(name="steady", port=steady.port, every=EVERY_MS, more="")
                lines += DEVICE.format(name="flapping", port=flapping.port, every=EVERY_MS, more=more)
                config.write_text(REST.format(folder=tmp_path, broker=proxy.url) + "connections:" + lines)

            write()
            with Collector(broker.port) as received:
                async with GatewayProcess(config) as daemon:
                    await daemon.ready()
                    turmoil = Turmoil(broker, proxy, received, flapping, write)
                    samples = Samples(daemon.pid)
                    await turmoil.go_on(daemon, samples, time.monotonic() + MINUTES * 60)
                    assert await daemon.end() == 0, daemon.log[-2000:]
                last = steady.reads - 1  # the request under way at the stop has no answer any more
                await until(lambda: last in _rows(received, "steady").values(), 60)
            rows = _rows(received, "steady")
            missed = _missed(received, "steady")
            others = _rows(received, "flapping")
            reloads = [event["result"] for event in _messages(received, "cell/events") if event["event"] == "reload"]
    bad = sum(value is None for value in rows.values())
    print(
        turmoil.happened, len(rows), bad, missed, samples.rss_kib[::10], samples.descriptors[::10], set(samples.threads)
    )
    third = len(samples.rss_kib) // 3
    second, newest = samples.rss_kib[third : 2 * third], samples.rss_kib[2 * third :]
    assert statistics.mean(newest) <= (1 + FLAT) * statistics.mean(second)
    assert max(samples.descriptors[2 * third :]) <= max(samples.descriptors[:third]) + SETTLED
    assert max(samples.threads[2 * third :]) <= max(samples.threads[:third])
    assert reloads == ["applied"] * turmoil.happened["reload"]

    # The steady PLC: every read that it counted arrived, and what it was not asked for while it answered was reported.
    counted = [value for value in rows.values() if value is not None]
    assert sorted(counted) == list(range(1, max(counted) + 1))
    assert abs(_unserved(rows) - missed) <= 1  # where the first or the last answer came late

    # The flapping one: only a read whose answer was cut off by the outage itself is not among what arrived.
    seen = {value for value in others.values() if value is not None}
    assert len(set(range(1, max(seen) + 1)) - seen) <= turmoil.happened["device"]
    assert None in others.values()
