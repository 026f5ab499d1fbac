"""What is written when, and what a start finds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gateway.block import BlockId
from gateway.readings import Quality, Readings, Tag, TagTable, text_hash
from gateway.runtime.counters import SpoolCounters
from gateway.spool import InUseError
from tests.fakes.spool import START_NS, TABLE, HandClock, crash, drain, events_of, make, readings, take, values_of


async def test_acknowledged_in_time_nothing_is_stored(tmp_path: Path) -> None:
    counters = SpoolCounters()
    async with make(tmp_path / "s.db", counters=counters) as spool:
        plant = spool.delivery("plant")
        for value in range(4):
            spool.append(readings([value]))
            spool.seal()
            plant.acknowledge(await take(plant))
        await spool.commit()
        assert (counters.committed, counters.blocks, counters.memory_bytes) == (0, 0, 0)


async def test_a_crash_costs_only_what_was_not_committed(tmp_path: Path) -> None:
    spool = await make(tmp_path / "s.db").__aenter__()
    spool.append(readings([1.0, 2.0]))
    await spool.commit()
    boot = spool.boot
    spool.append(readings([3.0]))
    spool.seal()
    await crash(spool)
    async with make(tmp_path / "s.db") as again:
        assert again.boot != boot
        found = await drain(again.delivery("plant"), again)
        assert values_of(found) == [1.0, 2.0]
        assert found[0].id == BlockId(boot, 1)
        assert [tag.full_name for tag in found[0].table] == [tag.full_name for tag in TABLE]


async def test_after_a_restart_only_what_was_not_acknowledged_comes_again(tmp_path: Path) -> None:
    async with make(tmp_path / "s.db", ("plant", "cloud")) as spool:
        plant = spool.delivery("plant")
        for value in range(4):
            spool.append(readings([value]))
            spool.seal()
        await spool.commit()
        found = [await take(plant) for _ in range(4)]
        plant.acknowledge(found[0])
        plant.acknowledge(found[2])
    async with make(tmp_path / "s.db", ("plant", "cloud")) as spool:
        assert spool.delivery("plant").backlog == 2
        assert values_of(await drain(spool.delivery("plant"), spool)) == [1.0, 3.0]
        assert values_of(await drain(spool.delivery("cloud"), spool)) == [0.0, 1.0, 2.0, 3.0]


async def test_new_blocks_of_a_second_start_follow_the_old_ones(tmp_path: Path) -> None:
    async with make(tmp_path / "s.db") as spool:
        spool.append(readings([1.0]))
    async with make(tmp_path / "s.db") as spool:
        spool.append(readings([2.0]))
        await spool.commit()
        spool.append(readings([3.0]))
        spool.seal()
        assert values_of(await drain(spool.delivery("plant"), spool)) == [1.0, 2.0, 3.0]


async def test_texts_and_bad_readings_survive_the_disk(tmp_path: Path) -> None:
    key = text_hash("bätch")
    rows = Readings(
        np.array([0, 1], np.uint32),
        np.array([START_NS, START_NS]),
        np.array([float(key), np.nan]),
        np.array([0, Quality.BAD_LINK], np.uint8),
        {key: "bätch"},
    )
    async with make(tmp_path / "s.db") as spool:
        spool.append(rows)
    async with make(tmp_path / "s.db") as spool:
        (block,) = await drain(spool.delivery("plant"), spool)
        assert block.readings.texts == {key: "bätch"}
        assert block.readings.quality.tolist() == [0, Quality.BAD_LINK]


async def test_a_block_outlives_a_change_of_the_table(tmp_path: Path) -> None:
    grown = TABLE.grown([*list(TABLE)[1:], Tag("meter", "power")])
    async with make(tmp_path / "s.db") as spool:
        spool.append(readings([1.0]))
        spool.use_table(grown)
        spool.append(readings([2.0], tag=8))
    async with make(tmp_path / "s.db", table=TagTable([Tag("other", "thing")])) as spool:
        old, new = await drain(spool.delivery("plant"), spool)
        assert old.table[int(old.readings.tag[0])].full_name == "press.t0"
        assert new.table[int(new.readings.tag[0])].full_name == "meter.power"


async def test_two_daemons_never_share_a_spool(tmp_path: Path) -> None:
    async with make(tmp_path / "s.db"):
        with pytest.raises(InUseError, match="in use by another daemon"):
            await make(tmp_path / "s.db").__aenter__()


async def test_an_unclean_stop_is_told_a_clean_one_is_not(tmp_path: Path) -> None:
    hand = HandClock()
    spool = await make(tmp_path / "s.db", clock=hand.clock).__aenter__()
    hand.pass_time(5)
    spool.append(readings([1.0]))
    await spool.commit()
    hand.pass_time(60)
    await crash(spool)
    async with make(tmp_path / "s.db", clock=hand.clock) as spool:
        await spool.commit()
        (loss,) = events_of(await drain(spool.delivery("plant"), spool))
        assert (loss["reason"], loss["count"], loss["tags"]) == ("power", None, [])
        assert (loss["from"], loss["to"]) == (START_NS // 10**6 + 5000, START_NS // 10**6 + 65000)
    async with make(tmp_path / "s.db", clock=hand.clock) as spool:
        await spool.commit()
        assert await drain(spool.delivery("plant"), spool) == []


async def test_small_values_are_kept_over_restarts_and_crashes(tmp_path: Path) -> None:
    spool = await make(tmp_path / "s.db").__aenter__()
    assert await spool.recall("bdSeq") is None
    await spool.remember("bdSeq", b"\x07")
    await crash(spool)
    async with make(tmp_path / "s.db") as spool:
        assert await spool.recall("bdSeq") == b"\x07"
        await spool.remember("bdSeq", b"\x08")
        assert await spool.recall("bdSeq") == b"\x08"


async def test_values_that_ran_out_are_forgotten(tmp_path: Path) -> None:
    hand = HandClock()
    async with make(tmp_path / "s.db", clock=hand.clock) as spool:
        for number in range(50):
            await spool.remember(f"command-{number}", b"done", hand.wall_ns + 10**9)
            hand.pass_time(0.1)
        assert await spool.recall("command-49") == b"done"
        assert await spool.recall("command-3") is None
        await spool.remember("bdSeq", b"\x01")
        hand.pass_time(86400)
        await spool.remember("command-50", b"done", hand.wall_ns + 10**9)
        assert await spool.recall("command-49") is None
        assert await spool.recall("bdSeq") == b"\x01"
