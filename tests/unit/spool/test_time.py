"""Age, and clocks that were wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.readings import Quality
from tests.fakes.spool import START_NS, HandClock, drain, events_of, make, noise, readings, take, values_of


async def test_old_blocks_are_dropped_and_told(tmp_path: Path) -> None:
    hand = HandClock()
    async with make(tmp_path / "s.db", clock=hand.clock, max_age="1h") as spool:
        spool.append(readings([1.0, 2.0], hand.wall_ns))
        await spool.commit()
        hand.pass_time(3000)
        spool.append(readings([3.0], hand.wall_ns))
        await spool.commit()
        hand.pass_time(1000)
        spool._writer.committer.aged = -1e9
        await spool.commit()
        found = await drain(spool.delivery("plant"), spool)
        assert values_of(found) == [3.0]
        (loss,) = events_of(found)
        assert (loss["reason"], loss["count"], loss["tags"]) == ("spool_age", 2, ["press.t0", "press.t1"])


async def test_nothing_is_too_old_while_the_clock_is_not_right(tmp_path: Path) -> None:
    hand = HandClock(synchronised=False)
    async with make(tmp_path / "s.db", clock=hand.clock, max_age="1h") as spool:
        spool.append(readings([1.0], hand.wall_ns))
        await spool.commit()
        hand.pass_time(90_000)
        spool._writer.committer.aged = -1e9
        await spool.commit()
        assert values_of(await drain(spool.delivery("plant"), spool)) == [1.0]


async def test_blocks_from_before_the_clock_was_set_do_not_hold_up_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows how old they are, so they stay."""
    monkeypatch.setattr("gateway.spool.room.PIECE_BYTES", 1)
    hand = HandClock()
    async with make(tmp_path / "s.db", clock=hand.clock, max_age="1h") as spool:
        spool.append(readings([1.0], 10**9))
        await spool.commit()
        spool.append(readings([2.0], hand.wall_ns))
        await spool.commit()
        hand.pass_time(90_000)
        spool._writer.committer.aged = -1e9
        await spool.commit()
        found = await drain(spool.delivery("plant"), spool)
        assert values_of(found) == [1.0]
        assert [(loss["reason"], loss["count"]) for loss in events_of(found)] == [("spool_age", 1)]


async def test_many_old_blocks_go_piece_by_piece(tmp_path: Path) -> None:
    hand = HandClock()
    async with make(tmp_path / "s.db", clock=hand.clock, max_age="1h") as spool:
        for number in range(60):
            spool.append(readings(noise(2500, number), hand.wall_ns))
            await spool.commit()
        hand.pass_time(90_000)
        spool._writer.committer.aged = -1e9
        rounds = 0
        while spool._stock.counters.lost["spool_age"] < 60 * 2500:
            await spool.commit()
            rounds += 1
        assert rounds > 1
        found = await drain(spool.delivery("plant"), spool)
        assert values_of(found) == []
        assert sum(event["count"] for event in events_of(found)) == 60 * 2500


async def test_without_a_disk_old_blocks_are_dropped_and_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    hand = HandClock()
    async with make(tmp_path / "state" / "s.db", clock=hand.clock, max_age="1h") as spool:
        spool.append(readings([1.0, 2.0], hand.wall_ns))
        spool.seal()
        hand.pass_time(3000)
        spool.append(readings([3.0], hand.wall_ns))
        spool.seal()
        hand.pass_time(1000)
        await spool._writer._serve(spool._stock.now())
        await spool._writer._serve(spool._stock.now())
        found = await drain(spool.delivery("plant"), spool)
        assert values_of(found) == [3.0]
        (loss,) = events_of(found)
        assert (loss["reason"], loss["count"]) == ("spool_age", 2)


async def test_readings_taken_before_the_clock_was_right_are_corrected(tmp_path: Path) -> None:
    hand = HandClock(synchronised=False, wall_ns=0)
    rows = readings([1.0, 2.0], 5 * 10**9)
    rows.quality[0] = Quality.UNCERTAIN_CLOCK
    async with make(tmp_path / "s.db", clock=hand.clock) as spool:
        spool.append(rows)
        await spool.commit()
        hand.wall_ns, hand.synchronised = START_NS, True
        change = hand.clock.check()
        assert change is not None
        spool.clock_changed(change)
        spool.append(readings([3.0], START_NS))
        spool.seal()
        old, new = await drain(spool.delivery("plant"), spool)
        assert old.readings.time_ns.tolist() == [START_NS + 5 * 10**9, START_NS + 5 * 10**9 + 10**6]
        assert old.readings.quality.tolist() == [Quality.GOOD, Quality.GOOD]
        assert old.clock == hand.clock.stamp
        assert new.readings.time_ns.tolist() == [START_NS]


async def test_the_open_block_keeps_the_clock_it_began_with(tmp_path: Path) -> None:
    hand = HandClock(synchronised=False, wall_ns=0)
    async with make(tmp_path / "s.db", clock=hand.clock) as spool:
        spool.append(readings([1.0], 10**9))
        hand.wall_ns, hand.synchronised = START_NS, True
        change = hand.clock.check()
        assert change is not None
        spool.clock_changed(change)
        (block,) = await drain(spool.delivery("plant"), spool)
        assert block.readings.time_ns.tolist() == [START_NS + 10**9]


async def test_another_boot_of_the_machine_can_not_be_corrected(tmp_path: Path) -> None:
    before = HandClock(synchronised=False, wall_ns=10**9, boot="b" * 32)
    async with make(tmp_path / "s.db", clock=before.clock) as spool:
        spool.append(readings([1.0], 10**9))
    async with make(tmp_path / "s.db", clock=HandClock().clock) as spool:
        (block,) = await drain(spool.delivery("plant"), spool)
        assert block.readings.time_ns.tolist() == [10**9]
        assert not block.clock.synchronised


async def test_the_backlog_knows_its_oldest_reading(tmp_path: Path) -> None:
    async with make(tmp_path / "s.db") as spool:
        plant = spool.delivery("plant")
        assert plant.oldest_ns == 0
        spool.append(readings([1.0], START_NS))
        await spool.commit()
        spool.append(readings([2.0], START_NS + 10**9))
        spool.seal()
        assert plant.oldest_ns == START_NS
        plant.acknowledge(await take(plant))
        await spool.commit()
        assert plant.oldest_ns == START_NS + 10**9
