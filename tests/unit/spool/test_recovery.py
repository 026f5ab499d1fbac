"""Damaged files: the spool starts, gives what can still be read, and tells what can't."""

from __future__ import annotations

import random
import shutil
import sqlite3
from pathlib import Path

import numpy as np

from gateway.block import Block
from gateway.runtime.counters import SpoolCounters
from tests.fakes.spool import START_NS, HandClock, crash, drain, events_of, make, readings, values_of

BLOCKS = 12
ROWS = 700


async def wrecked(path: Path, blocks: int = BLOCKS) -> set[float]:
    """A spool whose daemon was killed: some blocks in the file, some in its log. Returns the values in it."""
    spool = await make(path).__aenter__()
    await spool.remember("bdSeq", b"\x05")
    values: set[float] = set()
    for number in range(blocks):
        noise = (number + np.random.default_rng(number).random(ROWS)).tolist()
        spool.append(readings(noise, START_NS + number * 10**9))
        values |= set(noise)
        await spool.commit()
        if number == blocks // 2:
            await spool._keeper.checkpoint()
    await crash(spool)
    return values


def aside(folder: Path, word: str) -> list[Path]:
    """The databases that were set aside, without their logs."""
    return [path for path in folder.glob(f"s.db.{word}-*") if not path.name.endswith("-wal")]


async def check_start(path: Path, values: set[float]) -> tuple[list[Block], int | None]:
    """Start on what is there: everything that comes was put in; what is missing is told, or its number is unknown."""
    counters = SpoolCounters()
    async with make(path, counters=counters) as spool:
        found: list[Block] = []
        spool.append(readings([0.25]))
        for _ in range(4):  # damage is found while reading or writing, told by the commit after
            found += await drain(spool.delivery("plant"), spool)
            await spool.commit()
            if not spool._keeper.ready:
                await spool._writer.reopen()
        got = values_of(found)
        assert got.count(0.25) == 1  # what came meanwhile isn't lost with the rest
        got.remove(0.25)
        assert set(got) <= values
        counts = [event["count"] for event in events_of(found) if event["reason"] == "spool_corrupt"]
        missing = len(values - set(got))
        if missing:
            assert counts, f"{missing} readings are missing and nobody said so"
        lost = None if None in counts else sum(counts)
        assert counters.error == ""
        return found, lost


async def test_a_record_with_a_flipped_bit_is_not_sent_but_told(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    values = await wrecked(path)
    with sqlite3.connect(path) as db:
        (data,) = db.execute("SELECT data FROM block WHERE seq = 4").fetchone()
        flipped = bytearray(data)
        flipped[len(flipped) // 2] ^= 4
        db.execute("UPDATE block SET data = ? WHERE seq = 4", (bytes(flipped),))
    db.close()
    found, lost = await check_start(path, values)
    assert lost == ROWS
    assert len(set(values_of(found)) & values) == (BLOCKS - 1) * ROWS
    (event,) = [event for event in events_of(found) if event["reason"] == "spool_corrupt"]
    assert event["from"] == START_NS // 10**6 + 3000


async def test_cut_at_every_page(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    values = await wrecked(path)
    size = path.stat().st_size
    original, log = path.read_bytes(), path.with_name("s.db-wal").read_bytes()
    for number, length in enumerate(range(0, size, 4096)):
        here = tmp_path / f"cut-{number}" / "s.db"
        here.parent.mkdir()
        here.write_bytes(original[:length])
        here.with_name("s.db.ballast").touch()
        if number % 2:
            here.with_name("s.db-wal").write_bytes(log)
        await check_start(here, values)


async def test_the_log_cut_anywhere_gives_exactly_the_earlier_commits(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    values = await wrecked(path)
    log = path.with_name("s.db-wal").read_bytes()
    rng = random.Random(5)
    for number in range(25):
        here = tmp_path / f"cut-{number}" / "s.db"
        here.parent.mkdir()
        shutil.copy(path, here)
        here.with_name("s.db-wal").write_bytes(log[: rng.randrange(len(log))])
        async with make(here) as spool:
            found = values_of(await drain(spool.delivery("plant"), spool))
            blocks = {int(value) for value in found}
            assert blocks == set(range(len(blocks)))
            assert len(found) == len(blocks) * ROWS
            assert len(blocks) > BLOCKS // 2
            assert set(found) <= values
            assert await spool.recall("bdSeq") == b"\x05"


async def test_a_flipped_bit_anywhere_never_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    values = await wrecked(path)
    original = path.read_bytes()
    rng = random.Random(6)
    places = [
        *range(0, len(original), 4096),
        *range(3, len(original), 4096),
        *(rng.randrange(len(original)) for _ in range(25)),
    ]
    for number, place in enumerate(places):
        here = tmp_path / f"flip-{number}" / "s.db"
        here.parent.mkdir()
        flipped = bytearray(original)
        flipped[place] ^= 1 << rng.randrange(8)
        here.write_bytes(bytes(flipped))
        if number % 3 == 0:
            shutil.copy(path.with_name("s.db-wal"), here.with_name("s.db-wal"))
        async with make(here) as spool:
            found: list[Block] = []
            for _ in range(3):
                found += await drain(spool.delivery("plant"), spool)
                await spool.commit()
            assert set(values_of(found)) <= values
            spool.append(readings([0.25]))
            await spool.commit()
            assert 0.25 in values_of(await drain(spool.delivery("plant"), spool))


async def test_whatever_a_flipped_bit_costs_is_told(tmp_path: Path) -> None:
    """After a stop in order, so that nothing else could tell of a loss: every page, its head, middle and end."""
    path = tmp_path / "s.db"
    values: set[float] = set()
    async with make(path) as spool:
        for number in range(BLOCKS):
            noise = (number + np.random.default_rng(number).random(ROWS)).tolist()
            spool.append(readings(noise, START_NS + number * 10**9))
            values |= set(noise)
            await spool.commit()
    original = path.read_bytes()
    rng = random.Random(8)
    cost = 0
    for page in range(0, len(original), 4096):
        for place in (page + rng.randrange(12), page + rng.randrange(4096), page + 4095 - rng.randrange(12)):
            here = tmp_path / f"flip-{place}" / "s.db"
            here.parent.mkdir()
            flipped = bytearray(original)
            flipped[place] ^= 1 << rng.randrange(8)
            here.write_bytes(bytes(flipped))
            found, _ = await check_start(here, values)
            cost += len(values) > len(set(values_of(found)))
    assert cost > 5


async def test_a_flipped_bit_in_the_log_costs_the_later_commits_and_the_power_cut_says_so(tmp_path: Path) -> None:
    """SQLite drops what follows and calls the file whole: the sign of life goes back with it."""
    hand, path = HandClock(), tmp_path / "s.db"
    spool = await make(path, clock=hand.clock).__aenter__()
    for number in range(BLOCKS):
        hand.pass_time(1)
        spool.append(readings([number], hand.wall_ns))
        await spool.commit()
    await crash(spool)
    hand.pass_time(60)
    original, log = path.read_bytes(), path.with_name("s.db-wal").read_bytes()
    rng, fewest = random.Random(9), BLOCKS
    for number in range(25):
        here = tmp_path / f"flip-{number}" / "s.db"
        here.parent.mkdir()
        here.write_bytes(original)
        flipped = bytearray(log)
        flipped[rng.randrange(len(log))] ^= 1 << rng.randrange(8)
        here.with_name("s.db-wal").write_bytes(flipped)
        async with make(here, clock=hand.clock) as spool:
            await spool.commit()
            found = await drain(spool.delivery("plant"), spool)
        got = values_of(found)
        assert got == list(range(len(got)))
        fewest = min(fewest, len(got))
        power = [event for event in events_of(found) if event["reason"] == "power"]
        if power:
            assert power[0]["from"] <= START_NS // 10**6 + 1000 * (len(got) + 1)
        else:
            assert not got  # the very first transaction is broken: a file that nobody used yet
    assert fewest < BLOCKS


async def test_a_destroyed_header_sets_the_file_aside_and_the_start_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    values = await wrecked(path)
    data = bytearray(path.read_bytes())
    data[:100] = b"\xff" * 100
    path.write_bytes(bytes(data))
    path.with_name("s.db-wal").unlink()
    await check_start(path, values)
    assert len(aside(tmp_path, "damaged")) == 1


async def test_a_hole_in_the_middle_costs_only_what_stood_there(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    values = await wrecked(path, blocks=40)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 8192] = bytes(8192)
    path.write_bytes(bytes(data))
    found, _ = await check_start(path, values)
    assert len(values_of(found)) > 30 * ROWS


async def test_a_file_that_is_no_database_is_set_aside_once(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    path.write_bytes(b"something else entirely" * 1000)
    await check_start(path, set())
    await check_start(path, set())
    assert len(aside(tmp_path, "damaged")) == 1


async def test_a_database_of_a_later_release_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    values = await wrecked(path)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=7")
    db.close()
    found, _ = await check_start(path, values)
    assert set(values_of(found)) >= values
    assert len(aside(tmp_path, "newer")) == 1


async def test_blocks_of_a_later_version_are_kept_and_not_sent(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    await wrecked(path)
    with sqlite3.connect(path) as db:
        db.execute("UPDATE block SET data = CAST(x'7f' || substr(data, 2) AS BLOB) WHERE seq <= 2")
    db.close()
    async with make(path) as spool:
        assert len(values_of(await drain(spool.delivery("plant"), spool))) == (BLOCKS - 2) * ROWS
        await spool.commit()
        assert values_of(await drain(spool.delivery("plant"), spool)) == []
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM block").fetchone() == (2,)
    db.close()
