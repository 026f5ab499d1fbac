"""The spool on a real file system that is full, read-only, or both after the other."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from gateway.runtime.counters import SpoolCounters
from tests.fakes.spool import crash, drain, events_of, make, readings, values_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="NOT RUN: a file system of its own needs root to mount it")


async def run(*command: str) -> int:
    return (await asyncio.to_thread(subprocess.run, command, check=False)).returncode


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[Path]:
    """Four MiB."""
    place = tmp_path / "small"
    place.mkdir()
    if await run("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)):
        pytest.skip("NOT RUN: mounting a tmpfs is not allowed here")
    yield place
    assert await run("umount", str(place)) == 0


async def test_a_full_device_loses_nothing_that_memory_can_hold(disk: Path) -> None:
    counters = SpoolCounters()
    async with make(disk / "s.db", counters=counters) as spool:
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
        assert (disk / "s.db.ballast").stat().st_size == 1 << 20


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_what_a_full_device_did_not_take_is_told_by_the_next_start(disk: Path, end: str) -> None:
    spool = await make(disk / "s.db").__aenter__()
    rng = np.random.default_rng(3)
    appended: set[float] = set()
    for _ in range(160):
        values = rng.random(3000).tolist()
        spool.append(readings(values))
        appended |= set(values)
        await spool.commit()
    assert "no space" in spool._stock.counters.error
    await (spool.__aexit__(None, None, None) if end == "stop" else crash(spool))
    async with make(disk / "s.db") as spool:
        found = await drain(spool.delivery("plant"), spool)
        await spool.commit()
        found += await drain(spool.delivery("plant"), spool)
    missing = len(appended - set(values_of(found)))
    assert missing > 0
    told = {event["reason"]: event["count"] for event in events_of(found)}
    assert told == ({"spool_full": missing} if end == "stop" else {"power": None})


async def test_a_start_on_a_read_only_device_goes_on_in_memory(disk: Path) -> None:
    async with make(disk / "s.db") as spool:
        spool.append(readings([1.0]))
    assert await run("mount", "-o", "remount,ro", str(disk)) == 0
    counters = SpoolCounters()
    async with make(disk / "s.db", counters=counters) as spool:
        plant = spool.delivery("plant")
        assert counters.error
        spool.append(readings([2.0]))
        await spool.commit()
        assert values_of(await drain(plant, spool, acknowledge=False)) == [2.0]
        plant.rewind()
        assert await run("mount", "-o", "remount,rw", str(disk)) == 0
        await spool._writer.reopen()
        assert counters.error == ""
        assert values_of(await drain(plant, spool)) == [1.0, 2.0]
        await spool.commit()
        assert counters.blocks == 0
