"""Long runs of the spool and the daemon: a backlog of a million readings, fifty kills, a quiet minute."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from gateway.readings import Readings, Tag, TagTable
from gateway.spool import Spool
from gateway.spool.look import status
from tests.fakes.gateway import GatewayProcess
from tests.fakes.kills import killed_at_random
from tests.fakes.mosquitto import Collector, Mosquitto
from tests.fakes.quiet import written_in
from tests.fakes.spool import START_NS, events_of, make, take
from tests.fakes.spool_daemon import survives_kills
from tests.fakes.upstream.proxy import Proxy
from tests.fakes.waiting import until

pytestmark = pytest.mark.endure
TABLE = TagTable([Tag("press", f"t{number}") for number in range(400)])
READINGS = 1_000_000


def memory_mib(field: str) -> float:
    """VmRSS: now in memory; VmHWM: the most since `forget_the_peak`."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(field))) / 1024


def forget_the_peak() -> None:
    """Filling the spool took memory too: only what draining takes is measured."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


async def fill(spool: Spool, rows: int) -> None:
    rng = np.random.default_rng(1)
    value = np.round(np.cumsum(rng.normal(size=rows)) + 200, 1)
    tag = (np.arange(rows) % len(TABLE)).astype(np.uint32)
    for number in range(READINGS // rows):
        time_ns = START_NS + number * 500_000_000 + np.arange(rows) // 20 * 1_000_000
        spool.append(Readings(tag, time_ns.astype(np.int64), value + number % 10, np.zeros(rows, np.uint8)))
        spool.seal()
        if number % 50 == 0:
            await spool.commit()
    await spool.commit()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("rows", [5000, 250])
async def test_a_million_readings_drain_fast_in_bounded_memory(tmp_path: Path, rows: int) -> None:
    async with make(tmp_path / "s.db", table=TABLE) as spool:
        await fill(spool, rows)
    async with make(tmp_path / "s.db", table=TABLE) as spool:
        plant = spool.delivery("plant")
        assert plant.backlog == READINGS
        forget_the_peak()
        before, started, number, received = memory_mib("VmRSS"), time.perf_counter(), 0, 0
        while plant.backlog:
            block = await take(plant)
            received += len(block.readings)
            assert not events_of([block])
            plant.acknowledge(block)
            number += 1
            if number % 200 == 0:
                await spool.commit()
        rate = READINGS / (time.perf_counter() - started)
        more = memory_mib("VmHWM") - before
        print(f"{rows} readings a block: {rate:,.0f} readings/s, {more:.1f} MiB more at the peak")
        assert received == READINGS
        assert more < 64
        assert rate > 100_000  # the figure itself is measured where the machine is quiet


@pytest.mark.timeout(1200)
async def test_fifty_kills(tmp_path: Path) -> None:
    print(await survives_kills(tmp_path / "s.db", 50))


@pytest.mark.timeout(1800)
async def test_fifty_kills_of_the_whole_daemon(tmp_path: Path) -> None:
    accounts = await killed_at_random(tmp_path, 60, seed=7)
    print(accounts.check())
    assert len(accounts.kills) >= 45


@pytest.mark.timeout(300)
async def test_a_healthy_minute_of_the_daemon_writes_nothing(tmp_path: Path) -> None:
    stored, called, in_an_outage = await written_in(tmp_path, 60.0)
    print(f"{stored} bytes to storage, {called} by calls; in 5 s of an outage {in_an_outage}")
    assert stored <= 16 << 10
    assert called <= 16 << 10
    assert in_an_outage > 32 << 10


CONFIG = """
gateway: {{name: cell}}
connections:
  plc:
    driver: modbus-tcp
    host: 127.0.0.1
    port: 9
    devices: {{other: {{every: 10s, tags: {{t0: {{address: holding:0, type: uint16}}}}}}}}
spool: {{path: {folder}/s.db}}
upstreams: {{plant: {{broker: "{broker}", format: {format}}}}}
status: {{listen: none}}
"""


def memory_of(pid: int, name: str) -> float:
    """MiB."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(name))) / 1024


@pytest.mark.timeout(600)
@pytest.mark.parametrize("form", ["json", "columns"])
async def test_a_daemon_drains_a_million_readings_in_bounded_memory(tmp_path: Path, form: str) -> None:
    """From the disk through the sender to mosquitto; every reading once, as the messages' own sum says."""
    async with make(tmp_path / "s.db", table=TABLE) as spool:
        await fill(spool, 5000)
        total = spool.delivery("plant").backlog
    config = tmp_path / "gateway.yaml"
    with Mosquitto(tmp_path) as broker, Collector(broker.port) as received:
        async with Proxy(broker.port, open=False) as proxy:
            config.write_text(CONFIG.format(folder=tmp_path, broker=proxy.url, format=form))
            async with GatewayProcess(config) as daemon:
                await daemon.ready()
                idle = memory_of(daemon.pid, "VmRSS")
                proxy.open = True
                await until(lambda: bool(_data(received)), 60)
                started = time.perf_counter()
                await until(lambda: _data(received)[-1][0] == READINGS // 5000, 300)
                seconds = time.perf_counter() - started
                more = memory_of(daemon.pid, "VmHWM") - idle
                assert await daemon.end() == 0
        blocks = {identity for identity, _ in _data(received)}
        assert status(tmp_path / "s.db")["upstreams"]["plant"]["blocks"] == 0
    print(f"{form}: {total / seconds:,.0f} readings/s to mosquitto, {more:.1f} MiB more at the peak")
    assert total == READINGS
    assert blocks == set(range(1, READINGS // 5000 + 1))
    if form == "json":
        assert sum(payload.count(b'"quality"') for _, payload in _data(received)) == READINGS
    assert more < 96
    assert total / seconds > 20_000  # the figure itself is measured where the machine is quiet


def _data(received: Collector) -> list[tuple[int, bytes]]:
    """Block number and payload of the data messages."""
    return [
        (int(dict(message.user)["block"]), message.payload)
        for message in list(received.messages)
        if message.topic.startswith("cell/press/")
    ]
