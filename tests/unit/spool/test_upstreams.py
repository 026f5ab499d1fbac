"""Several upstreams over one spool; they come and go."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.runtime.counters import SpoolCounters
from gateway.spool.schema import Changes
from tests.fakes.spool import START_NS, drain, events_of, make, noise, readings, take, values_of


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
        await spool._writer.commit(everything=False)
        assert counters.blocks == 1  # in memory, for plant
        found = await drain(plant, spool)
        assert (values_of(found), events_of(found)) == ([3.0], [])


async def test_an_upstream_that_leaves_while_its_block_is_being_stored_pins_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counters = SpoolCounters()
    async with make(tmp_path / "s.db", ("plant", "cloud"), counters=counters) as spool:
        apply = spool._keeper.apply

        async def slow(changes: Changes) -> None:
            if changes.insert:
                spool.forget("cloud")
            await apply(changes)

        spool.append(readings([1.0]))
        spool.seal()
        monkeypatch.setattr(spool._keeper, "apply", slow)
        await spool.commit()
        await drain(spool.delivery("plant"), spool)
        await spool.commit()
        assert counters.blocks == 0


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


async def test_an_upstream_is_told_of_no_loss_from_before_its_time(tmp_path: Path) -> None:
    async with make(tmp_path / "s.db", ("plant", "cloud")) as spool:
        spool.lost("missed_tick", ["press.t1"], START_NS, START_NS, 8)
        spool.forget("cloud")
        cloud = spool.delivery("cloud")
        spool.append(readings([1.0]))
        await spool.commit()
        assert events_of(await drain(cloud, spool)) == []
        assert [loss["count"] for loss in events_of(await drain(spool.delivery("plant"), spool))] == [8]


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
