"""A disk that can't be used, comes late, or breaks in mid-run: memory goes on, and what was there comes first."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from gateway.block import Block, BlockId
from gateway.runtime.counters import SpoolCounters
from gateway.spool import record
from gateway.spool.database import translated
from gateway.spool.opening import open_store
from gateway.spool.schema import Changes, Insert, Opener
from gateway.spool.store import Store
from tests.fakes.spool import START_NS, TABLE, HandClock, drain, events_of, make, readings, values_of


async def test_damage_found_while_running_is_recovered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.db"
    counters = SpoolCounters()
    async with make(path, counters=counters) as spool:
        spool.append(readings([1.0, 2.0]))
        await spool.commit()

        def broken(store: Store, changes: Changes) -> None:
            error = sqlite3.DatabaseError("database disk image is malformed")
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            with translated():
                raise error

        with monkeypatch.context() as patch:
            patch.setattr(Store, "_transact", broken)
            spool.append(readings([3.0]))
            await spool.commit()
        assert "damaged" in counters.error
        await spool._writer.reopen()
        assert counters.error == ""
        await spool.commit()
        assert values_of(await drain(spool.delivery("plant"), spool)) == [1.0, 2.0, 3.0]


async def test_an_unwritable_place_keeps_all_in_memory_until_it_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    counters = SpoolCounters()
    async with make(tmp_path / "state" / "s.db", counters=counters) as spool:
        assert counters.error
        spool.append(readings([1.0]))
        await spool.commit()
        await spool.remember("bdSeq", b"\x01")
        assert await spool.recall("bdSeq") == b"\x01"
        assert values_of(await drain(spool.delivery("plant"), spool, acknowledge=False)) == [1.0]
        (tmp_path / "state").unlink()
        await spool._writer.reopen()
        await spool.commit()
        assert counters.error == ""
        assert counters.committed == 1
    async with make(tmp_path / "state" / "s.db") as spool:
        assert values_of(await drain(spool.delivery("plant"), spool)) == [1.0]
        assert await spool.recall("bdSeq") == b"\x01"


async def test_a_late_disk_puts_its_old_blocks_before_the_new_ones(tmp_path: Path) -> None:
    path = tmp_path / "state" / "s.db"
    async with make(path) as spool:
        spool.append(readings([1.0]))
    (tmp_path / "state").rename(tmp_path / "away")
    (tmp_path / "state").write_text("in the way")
    async with make(path) as spool:
        for value in (2.0, 3.0):
            spool.append(readings([value]))
            spool.seal()
        (tmp_path / "state").unlink()
        (tmp_path / "away").rename(tmp_path / "state")
        await spool._writer.reopen()
        await spool.commit()
        spool.append(readings([4.0]))
        spool.seal()
        assert spool.delivery("plant").backlog == 4
        assert values_of(await drain(spool.delivery("plant"), spool)) == [1.0, 2.0, 3.0, 4.0]


async def test_memory_is_bounded_without_a_disk(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    counters = SpoolCounters()
    async with make(tmp_path / "state" / "s.db", counters=counters, max_size="1MiB") as spool:
        appended = 0
        for number in range(40):
            spool.append(readings(np.arange(3000) + number))
            appended += 3000
            spool.seal()
            assert counters.memory_bytes <= 1 << 20
        await spool._writer.commit()
        spool._stock.tell_losses()
        found = await drain(spool.delivery("plant"), spool)
        assert len(values_of(found)) + sum(event["count"] for event in events_of(found)) == appended


def test_the_same_block_twice_replaces_itself(tmp_path: Path) -> None:
    """After a failure that left it unclear whether it was stored, a commit is made again."""
    store = Store(tmp_path / "s.db")
    open_store(store, Opener(START_NS, frozenset({"plant"}), TABLE))
    stamp = HandClock().clock.stamp
    block = Block(BlockId("0a0b0c", 1), TABLE, readings([1.0, 2.0]), (), stamp, START_NS)
    insert = Insert(1, block, frozenset({"plant"}), record.encode(block))
    for _ in range(2):
        store.apply(Changes(insert=[insert]))
    (stored,) = store.read("plant", 0, 10)
    assert stored.block is not None
    assert stored.block.id == block.id
    assert stored.block.clock == stamp
    assert stored.block.readings.value.tolist() == [1.0, 2.0]
    store.close()
