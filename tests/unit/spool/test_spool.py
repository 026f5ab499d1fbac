from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gateway.block import BlockId
from gateway.readings import Quality, Readings, Tag, TagTable, text_hash
from gateway.runtime.counters import SpoolCounters
from gateway.spool import InUseError, Spool
from gateway.spool.schema import Changes
from gateway.spool.store import FullError, Store
from tests.fakes.spool import (
    START_NS,
    TABLE,
    HandClock,
    crash,
    drain,
    events_of,
    make,
    nothing_comes,
    readings,
    take,
    values_of,
)


def noise(rows: int, seed: int) -> list[float]:
    """Values nothing can compress."""
    found: list[float] = (seed + np.random.default_rng(seed).random(rows)).tolist()
    return found


# identity and order


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


# what is written when


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


# upstreams


async def test_a_dead_upstream_holds_up_nobody_and_loses_nothing(tmp_path: Path) -> None:
    counters = SpoolCounters()
    async with make(tmp_path / "s.db", ("plant", "cloud"), counters=counters) as spool:
        plant, cloud = spool.delivery("plant"), spool.delivery("cloud")
        for value in range(20):
            spool.append(readings([value]))
            spool.seal()
            plant.acknowledge(await take(plant))
            if value % 5 == 4:
                await spool.commit()
        assert (plant.backlog, cloud.backlog) == (0, 20)
        assert counters.blocks == 20
        assert values_of(await drain(cloud, spool)) == [float(value) for value in range(20)]
        await spool.commit()
        assert counters.blocks == 0


async def test_upstreams_share_a_block_in_memory(tmp_path: Path) -> None:
    async with make(tmp_path / "s.db", ("plant", "cloud")) as spool:
        spool.append(readings([1.0]))
        spool.seal()
        assert await take(spool.delivery("plant")) is await take(spool.delivery("cloud"))


async def test_a_forgotten_upstream_needs_nothing_any_more(tmp_path: Path) -> None:
    counters = SpoolCounters()
    async with make(tmp_path / "s.db", ("plant", "cloud"), counters=counters) as spool:
        spool.append(readings([1.0]))
        await spool.commit()
        spool.append(readings([2.0]))
        spool.seal()
        await drain(spool.delivery("plant"), spool)
        spool.forget("cloud")
        spool.forget("never there")
        await spool.commit()
        assert counters.blocks == 0


async def test_what_a_forgotten_upstream_had_not_acknowledged_is_told_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    counters = SpoolCounters()
    async with make(tmp_path / "s.db", ("plant", "cloud"), counters=counters) as spool:
        plant = spool.delivery("plant")
        spool.append(readings([1.0, 2.0]))
        await spool.commit()
        assert values_of(await drain(plant, spool)) == [1.0, 2.0]
        await spool.commit()
        spool.append(readings([3.0]))
        spool.seal()
        spool.forget("cloud")
        assert "upstream cloud left: 3 readings it had not acknowledged go" in caplog.text
        await spool._writer.commit(old_only=True)
        assert counters.blocks == 1  # in memory, for plant
        found = await drain(plant, spool)
        assert (values_of(found), events_of(found)) == ([3.0], [])


async def test_an_upstream_of_the_same_name_starts_anew_after_forgetting(tmp_path: Path) -> None:
    async with make(tmp_path / "s.db", ("plant",)) as spool:
        spool.append(readings([1.0]))
        await spool.commit()
        spool.forget("plant")
        again = spool.delivery("plant")
        spool.append(readings([2.0]))
        await spool.commit()
        assert again.backlog == 1
        assert values_of(await drain(again, spool)) == [2.0]


async def test_a_renamed_upstream_takes_over_the_backlog(tmp_path: Path) -> None:
    async with make(tmp_path / "s.db", ("plant", "cloud")) as spool:
        spool.append(readings([1.0]))
    async with make(tmp_path / "s.db", ("factory", "cloud")) as spool:
        assert values_of(await drain(spool.delivery("factory"), spool)) == [1.0]


async def test_an_upstream_that_left_pins_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    counters = SpoolCounters()
    async with make(tmp_path / "s.db", ("plant", "cloud")) as spool:
        spool.append(readings([1.0]))
    async with make(tmp_path / "s.db", ("plant",), counters=counters) as spool:
        assert "upstream cloud left: 1 readings it had not acknowledged go" in caplog.text
        await drain(spool.delivery("plant"), spool)
        await spool.commit()
        assert counters.blocks == 0


# drain


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


# limits and losses


async def fill(spool: Spool, rounds: int, rows: int = 2500) -> int:
    for number in range(rounds):
        spool.append(readings(noise(rows, number)))
        await spool.commit()
    return rounds * rows


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


async def test_a_loss_concerns_only_the_upstream_that_lost(tmp_path: Path) -> None:
    async with make(tmp_path / "s.db", ("plant", "cloud"), max_size="128KiB") as spool:
        plant = spool.delivery("plant")
        for number in range(12):
            spool.append(readings(noise(2500, number)))
            spool.seal()
            for block in await drain(plant, spool):
                assert not block.events
            await spool.commit()
        assert await drain(plant, spool) == []
        cloud = await drain(spool.delivery("cloud"), spool)
        assert sum(event["count"] for event in events_of(cloud)) + len(values_of(cloud)) == 12 * 2500


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
        await spool._writer.commit(old_only=False)
    spool._stock.ledger.add("spool_full", frozenset({"plant"}), {"press.t1": 7}, START_NS, START_NS)
    await spool._writer._write([], 0.0)  # the ledger alone
    await crash(spool)
    async with make(tmp_path / "s.db") as again:
        await again.commit()
        found = await drain(again.delivery("plant"), again)
        counts = [event["count"] for event in events_of(found) if event["reason"] == "spool_full"]
        assert sum(counts) == total + 7 - len(values_of(found))


async def test_old_blocks_are_dropped_and_told(tmp_path: Path) -> None:
    hand = HandClock()
    async with make(tmp_path / "s.db", clock=hand.clock, max_age="1h") as spool:
        spool.append(readings([1.0, 2.0], hand.wall_ns))
        await spool.commit()
        hand.pass_time(3000)
        spool.append(readings([3.0], hand.wall_ns))
        await spool.commit()
        hand.pass_time(1000)
        spool._writer._times.aged = -1e9
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
        spool._writer._times.aged = -1e9
        await spool.commit()
        assert values_of(await drain(spool.delivery("plant"), spool)) == [1.0]


async def test_losses_of_the_field_are_told_with_their_tags(tmp_path: Path) -> None:
    told: list[object] = []
    spool = make(tmp_path / "s.db")
    spool._stock._told = told.append
    async with spool:
        spool.lost("missed_tick", ["press.t3", "press.t1"], START_NS, START_NS + 2 * 10**9, 4)
        spool.lost("missed_tick", ["press.t3"], START_NS + 10**9, START_NS + 3 * 10**9, 2)
        await spool.commit()
        (loss,) = events_of(await drain(spool.delivery("plant"), spool))
        assert loss == {
            "gateway": "cell",
            "boot": spool.boot,
            "seq": 1,
            "time": START_NS // 10**6,
            "event": "loss",
            "reason": "missed_tick",
            "tags": ["press.t1", "press.t3"],
            "from": START_NS // 10**6,
            "to": START_NS // 10**6 + 3000,
            "count": 6,
        }
        assert told == [loss]


async def test_many_tags_are_told_in_events_that_fit_into_messages(tmp_path: Path) -> None:
    table = TagTable(Tag("press", f"a_name_of_usual_length_{number}") for number in range(1800))
    async with make(tmp_path / "s.db", table=table) as spool:
        spool.lost("missed_tick", [tag.full_name for tag in table], START_NS, START_NS, 1800)
        await spool.commit()
        found = await drain(spool.delivery("plant"), spool)
        assert max(len(event) for block in found for event in block.events) < 32_000
        assert sum(event["count"] for event in events_of(found)) == 1800
        assert len({name for event in events_of(found) for name in event["tags"]}) == 1800


async def test_an_event_is_rendered_as_on_the_wire(tmp_path: Path) -> None:
    async with make(tmp_path / "s.db") as spool:
        spool.event("alarm", START_NS + 123_456_789, {"tag": "press.t0", "state": "raised"})
        spool.event("clock_step", START_NS, {"step": -3600000})
        await spool.commit()
        (block,) = await drain(spool.delivery("plant"), spool)
        assert len(block.readings) == 0
        first, second = map(json.loads, block.events)
        assert first == {
            "gateway": "cell",
            "boot": spool.boot,
            "seq": 1,
            "time": START_NS // 10**6 + 123,
            "event": "alarm",
            "tag": "press.t0",
            "state": "raised",
        }
        assert second["seq"] == 2


# stop and start


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


# time


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


async def test_many_old_blocks_go_piece_by_piece(tmp_path: Path) -> None:
    hand = HandClock()
    async with make(tmp_path / "s.db", clock=hand.clock, max_age="1h") as spool:
        for number in range(60):
            spool.append(readings(noise(2500, number), hand.wall_ns))
            await spool.commit()
        hand.pass_time(90_000)
        spool._writer._times.aged = -1e9
        rounds = 0
        while spool._stock.counters.lost["spool_age"] < 60 * 2500:
            await spool.commit()
            rounds += 1
        assert rounds > 1
        found = await drain(spool.delivery("plant"), spool)
        assert values_of(found) == []
        assert sum(event["count"] for event in events_of(found)) == 60 * 2500


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


# without a disk


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
