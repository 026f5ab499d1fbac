"""Identity and order of blocks."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.block import BlockId
from gateway.readings import Readings
from tests.fakes.spool import drain, make, nothing_comes, readings, take, values_of


async def test_blocks_are_numbered_and_come_in_order(tmp_path: Path) -> None:
    async with make(tmp_path / "s.db") as spool:
        for value in range(3):
            spool.append(readings([value]))
            spool.seal()
        plant = spool.delivery("plant")
        found = [await take(plant) for _ in range(3)]
        assert [block.id for block in found] == [BlockId(spool.boot, number) for number in (1, 2, 3)]
        assert values_of(found) == [0.0, 1.0, 2.0]
        assert len(spool.boot) == 6
        assert int(spool.boot, 16) >= 0


async def test_readings_of_a_block_keep_their_arrival_order_in_memory(tmp_path: Path) -> None:
    async with make(tmp_path / "s.db") as spool:
        spool.append(readings([5.0, 4.0]))
        spool.append(readings([3.0]))
        spool.seal()
        assert values_of([await take(spool.delivery("plant"))]) == [5.0, 4.0, 3.0]


async def test_a_full_segment_is_sealed_at_once_and_cut_to_size(tmp_path: Path) -> None:
    async with make(tmp_path / "s.db", seal={"max_age": "500ms", "max_readings": 10}) as spool:
        spool.append(readings(range(25)))
        found = [await take(spool.delivery("plant")) for _ in range(3)]
        assert [len(block.readings) for block in found] == [10, 10, 5]


async def test_nothing_is_offered_before_the_seal(tmp_path: Path) -> None:
    async with make(tmp_path / "s.db") as spool:
        spool.append(readings([1.0]))
        assert await nothing_comes(spool.delivery("plant"), spool)
        assert spool.delivery("plant").backlog == 0
        spool.append(Readings.empty())
        spool.seal()
        assert spool.delivery("plant").backlog == 1


async def test_next_wakes_up_when_a_block_is_sealed(tmp_path: Path) -> None:
    async with make(tmp_path / "s.db") as spool:
        waiting = asyncio.create_task(take(spool.delivery("plant")))
        await asyncio.sleep(0)
        spool.append(readings([1.0]))
        spool.seal()
        assert values_of([await waiting]) == [1.0]


async def test_a_rewind_offers_what_is_not_acknowledged_again_in_order(tmp_path: Path) -> None:
    async with make(tmp_path / "s.db") as spool:
        plant = spool.delivery("plant")
        for value in range(5):
            spool.append(readings([value]))
            spool.seal()
            if value == 2:
                await spool.commit()  # some on disk, some in memory
        first = [await take(plant) for _ in range(5)]
        plant.acknowledge(first[1])
        plant.acknowledge(first[4])
        assert await nothing_comes(plant, spool)
        plant.rewind()
        assert values_of(await drain(plant, spool)) == [0.0, 2.0, 3.0]
        assert plant.backlog == 0


async def test_an_acknowledgement_counts_over_a_rewind(tmp_path: Path) -> None:
    async with make(tmp_path / "s.db") as spool:
        plant = spool.delivery("plant")
        spool.append(readings([1.0]))
        spool.seal()
        block = await take(plant)
        plant.rewind()
        plant.acknowledge(block)
        assert plant.backlog == 0
        assert await nothing_comes(plant, spool)


async def test_live_first_offers_the_present_before_the_past(tmp_path: Path) -> None:
    async with make(tmp_path / "s.db", drain="live-first") as spool:
        plant = spool.delivery("plant")
        for value in range(3):
            spool.append(readings([value]))
            await spool.commit()
        assert values_of([await take(plant)]) == [0.0]
        spool.append(readings([3.0]))
        spool.seal()
        assert values_of([await take(plant)]) == [3.0]
        assert values_of(await drain(plant, spool)) == [1.0, 2.0]


async def test_backlog_rate_holds_back_the_past_only(tmp_path: Path) -> None:
    async with make(tmp_path / "s.db", drain="live-first", backlog_rate=1.0) as spool:
        plant = spool.delivery("plant")
        for value in range(3):
            spool.append(readings([value] * 10))
            await spool.commit()
        assert values_of([await take(plant)]) == [0.0] * 10
        assert await nothing_comes(plant, spool)  # ten seconds for ten readings
        spool.append(readings([7.0]))
        spool.seal()
        assert values_of([await take(plant)]) == [7.0]
