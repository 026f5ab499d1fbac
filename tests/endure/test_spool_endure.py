"""Long runs of the spool: a backlog of a million readings, fifty kills."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import numpy as np
import pytest

from gateway.readings import Readings, Tag, TagTable
from gateway.spool import Spool
from tests.fakes.spool import START_NS, events_of, make, readings, take
from tests.fakes.spool_daemon import survives_kills

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
    await survives_kills(tmp_path / "s.db", 50)


def written() -> int:
    """Bytes this process caused to be written to storage, as the kernel counts them."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("write_bytes")))


@pytest.mark.timeout(180)
async def test_a_healthy_minute_writes_nothing(tmp_path: Path) -> None:
    async with make(tmp_path / "s.db", table=TABLE) as spool, asyncio.TaskGroup() as house:
        plant = spool.delivery("plant")

        async def receive() -> None:
            while True:
                plant.acknowledge(await plant.next())

        tasks = [house.create_task(spool.run()), house.create_task(receive())]
        await asyncio.sleep(2)
        before = written()
        for number in range(600):
            spool.append(readings([number] * 100))
            await asyncio.sleep(0.1)
        assert written() - before < 16 << 10
        for task in tasks:
            task.cancel()
