"""Losses and other events as they go over the wire."""

from __future__ import annotations

import json
from pathlib import Path

from gateway.readings import Tag, TagTable
from tests.fakes.spool import START_NS, drain, events_of, fill, make, values_of


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


async def test_an_upstream_is_told_only_of_the_tags_that_may_leave_there(tmp_path: Path) -> None:
    async with make(tmp_path / "s.db", ("plant", "cloud"), max_size="128KiB") as spool:
        spool.select("cloud", lambda tag: tag in {"press.t0", "press.t3"})
        spool.lost("missed_tick", ["press.t0", "press.t1"], START_NS, START_NS, 8)
        spool.lost("power", [], START_NS, START_NS, None)
        spool.lost("missed_tick", ["press.t5"], START_NS, START_NS, 2)
        total = await fill(spool, 12, 2400)
        await spool.commit()
        plant, cloud = [await drain(spool.delivery(name), spool) for name in ("plant", "cloud")]
        chosen = [tag for block in cloud for tag in block.readings.tag.tolist() if tag in {0, 3}]
        for found, wanted, left in ((plant, 10, len(values_of(plant))), (cloud, 4, len(chosen))):
            losses = events_of(found)
            assert sum(event["count"] for event in losses if event["reason"] == "missed_tick") == wanted
            assert [event["count"] for event in losses if event["reason"] == "power"] == [None]
            lost = sum(event["count"] for event in losses if event["reason"] == "spool_full")
            assert lost > 0
            assert lost + left == (total if found is plant else total // 4)
        assert {tag for event in events_of(cloud) for tag in event["tags"]} == {"press.t0", "press.t3"}


async def test_who_wants_none_of_the_lost_tags_is_told_nothing(tmp_path: Path) -> None:
    async with make(tmp_path / "s.db", ("plant", "cloud")) as spool:
        spool.select("cloud", lambda tag: tag == "press.t0")
        spool.lost("missed_tick", ["press.t1"], START_NS, START_NS, 8)
        spool.lost("overflow", ["press.t2"], START_NS, START_NS, None)
        await spool.commit()
        assert len(events_of(await drain(spool.delivery("plant"), spool))) == 2
        assert await drain(spool.delivery("cloud"), spool) == []


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
