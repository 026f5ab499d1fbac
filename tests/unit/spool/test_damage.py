"""Damage and its recovery as several upstreams see it, and over further power cuts."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.spool import record, recovery
from gateway.spool.database import Database
from gateway.spool.schema import Opener
from gateway.spool.store import Store
from tests.fakes.spool import START_NS, TABLE, crash, drain, events_of, make, readings, take, values_of

UPSTREAMS = ("plant", "cloud")


async def filled(path: Path, blocks: int = 6) -> None:
    spool = await make(path, UPSTREAMS).__aenter__()
    for number in range(blocks):
        spool.append(readings([number, number + 0.5], START_NS + number * 10**9))
        await spool.commit()
    await crash(spool)


def flip(path: Path, seq: int) -> None:
    with sqlite3.connect(path) as db:
        (data,) = db.execute("SELECT data FROM block WHERE seq = ?", (seq,)).fetchone()
        db.execute("UPDATE block SET data = ? WHERE seq = ?", (data[:-6] + bytes([data[-6] ^ 1]) + data[-5:], seq))
    db.close()


async def test_a_damaged_record_is_told_to_all_who_needed_it(tmp_path: Path) -> None:
    await filled(tmp_path / "s.db")
    flip(tmp_path / "s.db", 3)
    async with make(tmp_path / "s.db", UPSTREAMS) as spool:
        plant, cloud = spool.delivery("plant"), spool.delivery("cloud")
        await drain(plant, spool)  # comes across it
        await spool.commit()
        for delivery in (plant, cloud):
            found = await drain(delivery, spool)
            assert [event["count"] for event in events_of(found) if event["reason"] == "spool_corrupt"] == [2]
            assert delivery.backlog == 0
        assert spool._stock.counters.lost["spool_corrupt"] == 2


async def test_a_damaged_record_that_was_dropped_meanwhile_is_counted_once(tmp_path: Path) -> None:
    await filled(tmp_path / "s.db")
    flip(tmp_path / "s.db", 3)
    async with make(tmp_path / "s.db", UPSTREAMS) as spool:
        committer = spool._writer.committer
        found = await spool._keeper.read("plant", -100, 100)
        (broken,) = [stored for stored in found if stored.block is None]
        assert broken.pending == set(UPSTREAMS)
        committer.damaged(broken)
        committer._condemn()
        committer.damaged(broken)  # another upstream comes across it before the transaction
        await spool.commit()
        for name in UPSTREAMS:
            blocks = await drain(spool.delivery(name), spool)
            assert [e["count"] for e in events_of(blocks) if e["reason"] == "spool_corrupt"] == [2]
            assert spool.delivery(name).backlog == 0


async def test_a_damaged_record_of_a_block_on_its_way_is_lost_whatever_comes_back(tmp_path: Path) -> None:
    async with make(tmp_path / "s.db", UPSTREAMS) as spool:
        plant = spool.delivery("plant")
        spool.append(readings([1.0, 2.0]))
        spool.seal()
        on_its_way = await take(plant)
        await spool.commit()
        flip(tmp_path / "s.db", 1)
        await drain(spool.delivery("cloud"), spool)
        await spool.commit()
        plant.acknowledge(on_its_way)
        await drain(plant, spool)
        assert plant.backlog == 0


async def test_blocks_of_a_later_release_are_no_backlog(tmp_path: Path) -> None:
    await filled(tmp_path / "s.db")
    with sqlite3.connect(tmp_path / "s.db") as db:
        db.execute("UPDATE block SET data = CAST(x'7f' || substr(data, 2) AS BLOB) WHERE seq <= 2")
    db.close()
    async with make(tmp_path / "s.db", UPSTREAMS) as spool:
        plant = spool.delivery("plant")
        for _ in range(2):
            await drain(plant, spool)
            assert plant.backlog == 0
            plant.rewind()
        assert record.VERSION < 0x7F


class PowerCutError(Exception):
    """The recovery goes no further."""


@pytest.mark.parametrize("step", ["moving", "swap", "renamed", "connected"])
async def test_a_power_cut_in_the_recovery_loses_nothing_more(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "s.db"
    await filled(path)
    flip(path, 3)
    cuts: dict[str, tuple[object, str]] = {
        "moving": (recovery, "_deliveries"),
        "swap": (recovery, "set_aside"),
        "renamed": (recovery, "finish"),
        "connected": (Database, "connect"),
    }

    def cut(real: Callable[..., object]) -> Callable[..., object]:
        def gone(*arguments: object) -> object:
            if step == "connected" and isinstance(arguments[0], Store) and ".fresh" in arguments[0].path.name:
                return real(*arguments)
            raise PowerCutError

        return gone

    place, name = cuts[step]
    with monkeypatch.context() as patch:
        patch.setattr(place, name, cut(getattr(place, name)))
        store = Store(path)
        with pytest.raises(PowerCutError):
            recovery.recover(store, "damaged", Opener(START_NS, frozenset(UPSTREAMS), TABLE))
    assert path.exists() == (step in {"moving", "swap", "connected"})
    async with make(path, UPSTREAMS) as spool:
        # Where the record is still there, somebody has to come across it.
        await drain(spool.delivery("cloud"), spool, acknowledge=False)
        await spool.commit()
        found = await drain(spool.delivery("plant"), spool)
        assert values_of(found) == [0.0, 0.5, 1.0, 1.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5]
        losses = {event["reason"]: event["count"] for event in events_of(found)}
        assert losses == {"spool_corrupt": 2, "power": None}
    assert not recovery._fresh(path).exists()
