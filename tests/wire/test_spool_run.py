"""The spool in real time: seals and commits when due, writes nothing in steady state, survives SIGKILL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from gateway.runtime.counters import SpoolCounters
from gateway.spool import Spool
from tests.fakes.spool import START_NS, drain, events_of, make, readings, take, values_of
from tests.fakes.spool_daemon import survives_kills
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


async def test_an_upstream_that_leaves_with_an_unwritten_acknowledgement_leaves_nothing_to_do(tmp_path: Path) -> None:
    async with running(make(tmp_path / "s.db", ("plant", "cloud"), **QUICK)) as spool:
        spool.append(readings([1.0]))
        await spool.commit()
        plant = spool.delivery("plant")
        plant.acknowledge(await take(plant))
        await until(lambda: spool._writer.committer.acked is not None)
        spool.forget("plant")
        assert await drain(spool.delivery("cloud"), spool)
        await asyncio.sleep(3 * 0.1)  # commit intervals
        before = spool._writer.turns
        await asyncio.sleep(3 * 0.1)
        assert spool._writer.turns - before < 5


async def test_a_disk_that_another_daemon_took_meanwhile_is_asked_now_and_then(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    async with running(make(tmp_path / "state" / "s.db", **QUICK)) as spool:
        (tmp_path / "state").unlink()
        async with make(tmp_path / "state" / "s.db"):
            before = spool._writer.turns
            await asyncio.sleep(1.5)  # the first attempt comes within a second
            assert spool._writer.turns - before < 5
            assert not spool._keeper.ready


async def test_a_disk_that_comes_late_is_found(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    counters = SpoolCounters()
    async with running(make(tmp_path / "state" / "s.db", counters=counters, **QUICK)) as spool:
        spool.append(readings([1.0]))
        assert counters.error
        (tmp_path / "state").unlink()
        await until(lambda: counters.committed == 1)
        assert counters.error == ""


async def test_sigkill_costs_at_most_the_commit_interval(tmp_path: Path) -> None:
    figures = await survives_kills(tmp_path / "s.db", 5)
    print(figures)
    assert figures["asked"] > 100
