"""The spool in real time: seals and commits when due, writes nothing in steady state, survives SIGKILL."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gateway.runtime.counters import SpoolCounters
from gateway.spool import Spool
from tests.fakes.spool import START_NS, drain, events_of, make, readings, take, values_of
from tests.fakes.waiting import until

QUICK: dict[str, Any] = {"seal": {"max_age": "50ms"}, "commit_interval": "100ms"}


@asynccontextmanager
async def running(spool: Spool) -> AsyncIterator[Spool]:
    """A spool that is open and whose `run` runs."""
    async with spool:
        task = asyncio.create_task(spool.run())
        try:
            yield spool
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def test_a_block_is_sealed_and_committed_by_itself(tmp_path: Path) -> None:
    counters = SpoolCounters()
    async with running(make(tmp_path / "s.db", counters=counters, **QUICK)) as spool:
        spool.append(readings([1.0]))
        spool.event("write", START_NS, {})
        block = await take(spool.delivery("plant"))
        assert values_of([block]) == [1.0]
        await until(lambda: counters.committed == 2)
        spool.delivery("plant").acknowledge(block)
        spool.delivery("plant").acknowledge(await take(spool.delivery("plant")))
        await until(lambda: counters.blocks == 0)


async def test_a_loss_is_told_by_itself(tmp_path: Path) -> None:
    async with running(make(tmp_path / "s.db", **QUICK)) as spool:
        spool.lost("missed_tick", ["press.t0"], START_NS, START_NS, 3)
        (event,) = events_of([await take(spool.delivery("plant"))])
        assert (event["reason"], event["count"]) == ("missed_tick", 3)


async def test_acknowledged_in_time_nothing_is_written(tmp_path: Path) -> None:
    """The kernel's own count of bytes this process caused to be written, over many commit intervals."""
    counters = SpoolCounters()
    async with running(make(tmp_path / "s.db", counters=counters, **QUICK)) as spool:
        plant = spool.delivery("plant")

        async def receive() -> None:
            while True:
                plant.acknowledge(await take(plant))

        receiver = asyncio.create_task(receive())
        await asyncio.sleep(0.2)
        files = [tmp_path / "s.db", tmp_path / "s.db-wal"]
        before = [(file.stat().st_mtime_ns, file.stat().st_size) for file in files]
        for number in range(40):
            spool.append(readings([number]))
            await asyncio.sleep(0.05)
        assert [(file.stat().st_mtime_ns, file.stat().st_size) for file in files] == before
        assert counters.committed == 0
        receiver.cancel()
        with suppress(asyncio.CancelledError):
            await receiver


async def test_idle_means_asleep(tmp_path: Path) -> None:
    async with running(make(tmp_path / "s.db")):
        await asyncio.sleep(0.2)
        before = switches()
        await asyncio.sleep(1.0)
        assert switches() - before < 20


def switches() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("voluntary_ctxt_switches")))


async def test_a_disk_that_comes_late_is_found(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    counters = SpoolCounters()
    async with running(make(tmp_path / "state" / "s.db", counters=counters, **QUICK)) as spool:
        spool.append(readings([1.0]))
        assert counters.error
        (tmp_path / "state").unlink()
        await until(lambda: counters.committed == 1)
        assert counters.error == ""


CHILD = """
import asyncio, json, sys
from pathlib import Path
from typing import Any
from tests.fakes.spool import make, readings

async def main():
    path, first = Path(sys.argv[1]), int(sys.argv[2])
    spool = make(path, ("plant", "cloud"), max_size="64MiB", seal={"max_age": "20ms"}, commit_interval="60ms")
    async with spool:
        asyncio.create_task(spool.run())
        plant = spool.delivery("plant")
        async def receive():
            while True:
                block = await plant.next()
                if block.readings.value.size:
                    print(json.dumps(["got", block.readings.value.tolist()]), flush=True)
                plant.acknowledge(block)
        asyncio.create_task(receive())
        loop, number = asyncio.get_running_loop(), first
        while True:
            print(json.dumps(["put", number, loop.time()]), flush=True)
            spool.append(readings([number]))
            number += 1
            await asyncio.sleep(0.002)

asyncio.run(main())
"""


def kill_at_random(path: Path, first: int, rng: random.Random) -> tuple[set[float], int, set[float]]:
    """Run a daemon, kill it: values older than a generous commit interval, the next value, and what plant received."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(path), str(first)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    lines: list[list[object]] = [json.loads(child.stdout.readline())]
    wanted = rng.randrange(20, 250)
    while len(lines) < wanted:
        lines.append(json.loads(child.stdout.readline()))
    child.send_signal(signal.SIGKILL)
    rest = child.stdout.read().splitlines()
    child.wait()
    child.stdout.close()
    for line in rest:
        with suppress(ValueError):  # the last one may be cut
            lines.append(json.loads(line))
    puts = [(float(str(line[1])), float(str(line[2]))) for line in lines if line[0] == "put"]
    got = {value for line in lines if line[0] == "got" for value in line[1]}  # type: ignore[attr-defined]
    end = puts[-1][1]
    return {value for value, at in puts if end - at > 2.0}, int(puts[-1][0]) + 1, got


async def test_sigkill_costs_at_most_the_commit_interval(tmp_path: Path) -> None:
    rng = random.Random(11)
    old: set[float] = set()
    received: set[float] = set()
    first, rounds = 0, int(os.environ.get("GATEWAY_KILLS", "6"))
    for _ in range(rounds):
        aged, first, got = await asyncio.to_thread(kill_at_random, tmp_path / "s.db", first, rng)
        old |= aged
        received |= got
    async with make(tmp_path / "s.db", ("plant", "cloud")) as spool:
        await spool.commit()
        cloud = await drain(spool.delivery("cloud"), spool)
        plant = await drain(spool.delivery("plant"), spool)
        assert old <= set(values_of(cloud))
        assert old <= set(values_of(plant)) | received
        assert {event["reason"] for event in events_of(cloud)} == {"power"}


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT RUN: a small file system of its own needs root to mount it")
async def test_a_full_device_loses_nothing_that_memory_can_hold(tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place))
    mounted = await asyncio.to_thread(subprocess.run, mount, check=False)
    if mounted.returncode:
        pytest.skip("NOT RUN: mounting a tmpfs is not allowed here")
    try:
        counters = SpoolCounters()
        async with make(place / "s.db", counters=counters) as spool:
            appended = 0
            rng = np.random.default_rng(2)
            for _ in range(160):
                spool.append(readings(rng.random(3000).tolist()))
                appended += 3000
                await spool.commit()
            assert "no space" in counters.error
            plant = spool.delivery("plant")
            found = await drain(plant, spool)
            assert len(values_of(found)) == appended
            await spool.commit()  # deleting needs space too: the ballast gives it
            spool.append(readings([0.5]))
            await spool.commit()
            assert counters.error == ""
            assert counters.blocks == 1
            assert (place / "s.db.ballast").stat().st_size == 1 << 20
    finally:
        await asyncio.to_thread(subprocess.run, ("umount", str(place)), check=True)
