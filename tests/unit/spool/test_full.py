"""A full spool: what goes, and that it is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.runtime.counters import SpoolCounters
from gateway.spool.database import FullError
from gateway.spool.schema import Changes
from gateway.spool.store import Store
from tests.fakes.spool import START_NS, TABLE, crash, drain, events_of, fill, make, noise, readings, take, values_of


@pytest.mark.parametrize("policy", ["drop-oldest", "drop-newest", "thin"])
async def test_a_full_spool_stays_within_its_size_and_tells_what_it_lost(tmp_path: Path, policy: str) -> None:
    counters = SpoolCounters()
    async with make(tmp_path / "s.db", counters=counters, max_size="256KiB", when_full=policy) as spool:
        appended = 0
        for number in range(30):
            spool.append(readings(noise(2500, number)))
            appended += 2500
            await spool.commit()
            assert counters.disk_bytes <= 256 << 10
        found = await drain(spool.delivery("plant"), spool)
        losses = events_of(found)
        assert {event["event"] for event in losses} == {"loss"}
        assert {event["reason"] for event in losses} == {"spool_full"}
        assert (
            sum(event["count"] for event in losses) == appended - len(values_of(found)) == counters.lost["spool_full"]
        )
        assert set(losses[0]["tags"]) <= {tag.full_name for tag in TABLE}
        assert losses[0]["from"] == START_NS // 10**6
        assert losses[0]["to"] >= losses[0]["from"]
        values = values_of(found)
        if policy == "drop-newest":
            assert min(values) < 1.0
        if policy == "drop-oldest":
            assert max(values) > 29.0
            assert min(values) > 1.0
        if policy == "thin":
            assert max(values) > 29.0
            assert len({int(value) for value in values}) > 10  # further back than dropping would reach


async def test_blocks_on_their_way_are_spared(tmp_path: Path) -> None:
    async with make(tmp_path / "s.db", max_size="128KiB") as spool:
        plant = spool.delivery("plant")
        await fill(spool, 2)
        on_the_way = await take(plant)
        total = 2 * 2500 + await fill(spool, 10)
        plant.acknowledge(on_the_way)
        found = [on_the_way, *await drain(plant, spool)]
        assert values_of(found)[0] < 1.0
        assert len(values_of(found)) + sum(event["count"] for event in events_of(found)) == total


@pytest.mark.parametrize("order", ["oldest-first", "live-first"])
async def test_a_block_dropped_on_its_way_is_not_lost_once_acknowledged(tmp_path: Path, order: str) -> None:
    async with make(tmp_path / "s.db", ("plant", "cloud"), max_size="128KiB", drain=order) as spool:
        plant, cloud = spool.delivery("plant"), spool.delivery("cloud")
        total = await fill(spool, 3)
        on_the_way = [await take(plant) for _ in range(3)]
        total += await fill(spool, 20)
        for block in on_the_way:
            plant.acknowledge(block)
        for found in ([*on_the_way, *await drain(plant, spool)], await drain(cloud, spool)):
            assert len(values_of(found)) + sum(event["count"] for event in events_of(found)) == total
        assert (plant.backlog, cloud.backlog) == (0, 0)


async def test_a_block_dropped_on_its_way_is_lost_with_the_epoch(tmp_path: Path) -> None:
    counters = SpoolCounters()
    async with make(tmp_path / "s.db", max_size="128KiB", counters=counters) as spool:
        plant = spool.delivery("plant")
        total = await fill(spool, 3)
        for _ in range(3):
            await take(plant)
        total += await fill(spool, 20)
        plant.rewind()
        found = await drain(plant, spool)
        await spool.commit()
        found += await drain(plant, spool)
        lost = sum(event["count"] for event in events_of(found))
        assert len(values_of(found)) + lost == total
        assert counters.lost["spool_full"] == lost
        assert plant.backlog == 0


async def test_a_block_dropped_on_its_way_is_told_after_a_crash(tmp_path: Path) -> None:
    spool = await make(tmp_path / "s.db", max_size="128KiB").__aenter__()
    total = await fill(spool, 3)
    for _ in range(3):
        await take(spool.delivery("plant"))
    total += await fill(spool, 20)
    await crash(spool)
    async with make(tmp_path / "s.db", max_size="128KiB") as again:
        await again.commit()
        found = await drain(again.delivery("plant"), again)
        lost = sum(event["count"] for event in events_of(found) if event["reason"] == "spool_full")
        assert len(values_of(found)) + lost == total


async def test_a_loss_event_that_is_dropped_is_told_again(tmp_path: Path) -> None:
    async with make(tmp_path / "s.db", max_size="128KiB") as spool:
        spool.lost("missed_tick", ["press.t0"], START_NS, START_NS + 10**9, 5)
        await spool.commit()
        total = await fill(spool, 20)
        found = await drain(spool.delivery("plant"), spool)
        by_reason: dict[str, int] = {}
        for event in events_of(found):
            by_reason[event["reason"]] = by_reason.get(event["reason"], 0) + event["count"]
        assert by_reason["missed_tick"] == 5
        assert by_reason["spool_full"] == total - len(values_of(found))


async def test_a_crash_between_counting_and_telling_forgets_no_loss(tmp_path: Path) -> None:
    spool = await make(tmp_path / "s.db", max_size="128KiB", when_full="drop-newest").__aenter__()
    total = 0
    for number in range(10):
        spool.append(readings(noise(2500, number)))
        total += 2500
        spool.seal()
        await spool._writer.commit()
    spool._stock.ledger.add("spool_full", frozenset({"plant"}), {"press.t1": 7}, START_NS, START_NS)
    await spool._writer.committer._write([], 0.0, alive=True)  # the ledger alone
    await crash(spool)
    async with make(tmp_path / "s.db") as again:
        await again.commit()
        found = await drain(again.delivery("plant"), again)
        counts = [event["count"] for event in events_of(found) if event["reason"] == "spool_full"]
        assert sum(counts) == total + 7 - len(values_of(found))


@pytest.mark.parametrize("policy", ["drop-oldest", "thin"])
async def test_a_drop_that_could_not_be_written_is_counted_once(
    tmp_path: Path, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make(tmp_path / "s.db", max_size="256KiB", when_full=policy) as spool:
        total = await fill(spool, 9)
        with monkeypatch.context() as patch:

            def fails(store: Store, changes: Changes) -> None:
                raise FullError("no space left on the device")

            patch.setattr(Store, "_transact", fails)
            for number in range(3):
                spool.append(readings(noise(2500, 50 + number)))
                await spool.commit()
        total += 3 * 2500 + await fill(spool, 5)
        found = await drain(spool.delivery("plant"), spool)
        lost = sum(event["count"] for event in events_of(found))
        assert lost > 0
        assert len(values_of(found)) + lost == total


async def test_without_a_disk_the_older_half_is_thinned(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    counters = SpoolCounters()
    place = tmp_path / "state" / "s.db"
    async with make(place, counters=counters, max_size="256KiB", when_full="thin") as spool:
        for number in range(40):
            spool.append(readings(noise(1000, number)))
            spool.seal()
            assert counters.memory_bytes <= 256 << 10
        plant = spool.delivery("plant")
        assert plant.backlog == 40_000 - counters.lost["spool_full"]
        (tmp_path / "state").unlink()
        await spool._writer.open()
        await spool.commit()
        found = await drain(plant, spool)
        values = values_of(found)
        assert len(values) + sum(event["count"] for event in events_of(found)) == 40_000
        assert len({int(value) for value in values}) > 15  # dropping the oldest would keep eleven blocks
        assert sum(value >= 39 for value in values) == 1000
        assert plant.backlog == 0


async def test_a_block_thinned_while_it_is_encoded_is_stored_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make(tmp_path / "s.db", max_size="128KiB", when_full="thin") as spool:
        for number in range(2):
            spool.append(readings(noise(1000, number)))
            spool.seal()
        work = spool._keeper.work

        async def slow(job: Callable[[], list[bytes]]) -> list[bytes]:
            done = await work(job)
            monkeypatch.undo()
            spool._writer._room._thin_front(0)
            return done

        monkeypatch.setattr(spool._keeper, "work", slow)
        await spool.commit()
        found = await drain(spool.delivery("plant"), spool)
        (loss,) = events_of(found)
        assert 0 < loss["count"] == 2000 - len(values_of(found))
