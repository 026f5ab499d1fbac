"""How a daemon ends, and what the next start says about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.block import Block
from gateway.runtime.counters import SpoolCounters
from gateway.spool import Spool
from gateway.spool.database import FullError
from gateway.spool.schema import Changes
from gateway.spool.store import Store
from tests.fakes.spool import (
    START_NS,
    Faults,
    HandClock,
    crash,
    drain,
    events_of,
    fill,
    make,
    noise,
    offered,
    readings,
    take,
    values_of,
)

START_MS = START_NS // 10**6
Full = Callable[[], AbstractContextManager[Faults]]


async def losses(spool: Spool, upstream: str = "plant") -> list[dict[str, Any]]:
    await spool.commit()
    return events_of(await drain(spool.delivery(upstream), spool))


async def test_the_window_of_a_power_cut_begins_with_the_oldest_reading_that_is_not_stored(tmp_path: Path) -> None:
    """A transaction that only writes an acknowledgement says nothing about what arrived since."""
    hand = HandClock()
    spool = await make(tmp_path / "s.db", clock=hand.clock).__aenter__()
    spool.append(readings([1.0]))
    await spool.commit()
    plant = spool.delivery("plant")
    plant.acknowledge(await take(plant))
    hand.pass_time(5)
    spool.append(readings([2.0]))
    spool._stock.segment.since = spool._stock.now() - 3.0  # it came three seconds ago, and is still open
    await spool._writer.commit(everything=False)
    hand.pass_time(1)
    await crash(spool)
    async with make(tmp_path / "s.db", clock=hand.clock) as spool:
        (loss,) = await losses(spool)
    assert loss["from"] == pytest.approx(START_MS + 2000, abs=100)
    assert loss["to"] == START_MS + 6000


async def test_a_kill_right_after_the_start_forgets_no_earlier_power_cut(tmp_path: Path) -> None:
    hand = HandClock()
    spool = await make(tmp_path / "s.db", clock=hand.clock).__aenter__()
    for _ in range(3):
        hand.pass_time(60)
        await crash(spool)
        spool = await make(tmp_path / "s.db", clock=hand.clock).__aenter__()
    found = await losses(spool)
    await spool.__aexit__(None, None, None)
    minutes = [(loss["from"] - START_MS, loss["to"] - START_MS) for loss in found]
    assert minutes == [(0, 60_000), (60_000, 120_000), (120_000, 180_000)]


async def test_a_power_cut_is_told_once_and_under_one_identity(tmp_path: Path) -> None:
    """The file's ledger lets go of it with the transaction that stores its event."""
    spool = await make(tmp_path / "s.db").__aenter__()
    await crash(spool)
    spool = await make(tmp_path / "s.db").__aenter__()
    (first,) = await losses(spool)
    await crash(spool)
    async with make(tmp_path / "s.db") as spool:
        again = await losses(spool)
    assert first in again  # its acknowledgement was not stored
    assert len(again) == 2


async def test_a_clock_that_went_back_gives_a_window_that_holds_the_loss(tmp_path: Path) -> None:
    hand = HandClock()
    spool = await make(tmp_path / "s.db", clock=hand.clock).__aenter__()
    await crash(spool)
    early = HandClock(synchronised=False, wall_ns=10**9, boot="b" * 32)
    async with make(tmp_path / "s.db", clock=early.clock) as spool:
        (loss,) = await losses(spool)
    assert loss["from"] == START_MS
    assert loss["to"] >= START_MS + 600_000


@pytest.fixture
def full_device() -> Iterator[Full]:
    """No block fits on the device any more, while a block of `with` lasts."""
    faults = Faults()

    @contextmanager
    def full() -> Iterator[Faults]:
        faults.now = "full"
        yield faults
        faults.now = ""

    with faults:
        yield full


async def test_what_a_full_device_does_not_take_is_told_after_a_stop_in_order(
    tmp_path: Path, full_device: Full, caplog: pytest.LogCaptureFixture
) -> None:
    counters = SpoolCounters()
    with full_device():
        async with make(tmp_path / "s.db", counters=counters) as spool:
            spool.append(readings([1.0, 2.0, 3.0]))
            spool.lost("missed_tick", ["press.t1"], START_NS, START_NS, 4)
            await spool.commit()
            assert "no space" in counters.error
    assert "3 readings find no room on the disk" in caplog.text
    async with make(tmp_path / "s.db") as spool:
        found = await losses(spool)
    assert {loss["reason"]: loss["count"] for loss in found} == {"spool_full": 3, "missed_tick": 4}


@pytest.mark.parametrize("policy", ["drop-oldest", "thin"])
async def test_what_goes_ahead_on_a_full_device_is_told_after_a_crash(
    tmp_path: Path, policy: str, full_device: Full
) -> None:
    """There deleting needs a transaction of its own, ahead of the one that stores the event."""
    more: dict[str, Any] = {"max_size": "256KiB", "when_full": policy}
    spool = await make(tmp_path / "s.db", **more).__aenter__()
    total = await fill(spool, 12)
    before = spool._stock.counters.lost["spool_full"]
    with full_device():
        for number in range(3):
            spool.append(readings(noise(2500, 90 + number)))
            await spool.commit()
        assert spool._stock.counters.lost["spool_full"] > before
        await crash(spool)
    async with make(tmp_path / "s.db", **more) as spool:
        await spool.commit()
        found = await drain(spool.delivery("plant"), spool)
    told = sum(loss["count"] for loss in events_of(found) if loss["reason"] == "spool_full")
    assert 0 < len(values_of(found)) < total
    # The last three blocks lie in the window of the power cut. Blocks that were to be thinned are still whole.
    assert len(values_of(found)) + told >= total if policy == "thin" else len(values_of(found)) + told == total
    assert "power" in {loss["reason"] for loss in events_of(found)}


async def test_a_small_value_is_kept_on_a_full_device(tmp_path: Path, full_device: Full) -> None:
    with full_device():
        spool = await make(tmp_path / "s.db").__aenter__()
        await spool.remember("bdSeq", b"\x03")
        await crash(spool)
    async with make(tmp_path / "s.db") as spool:
        assert await spool.recall("bdSeq") == b"\x03"


def test_without_anything_to_give_a_full_device_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "s.db")
    store.connect()

    def refuses(store: Store, changes: Changes) -> None:
        raise FullError("no space left on the device")

    monkeypatch.setattr(Store, "_transact", refuses)
    with pytest.raises(FullError):
        store.apply(Changes(keep={"bdSeq": b"\x01"}))
    assert store.ballast.exists()
    store.close()


async def test_a_loss_that_stands_in_the_file_is_not_out_before_the_file_lets_go_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told from memory first, it would be told again after a kill in between."""
    spool = await make(tmp_path / "s.db").__aenter__()
    await crash(spool)
    spool = await make(tmp_path / "s.db").__aenter__()
    plant, apply = spool.delivery("plant"), spool._keeper.apply
    early: list[Block | None] = []

    async def watched(changes: Changes) -> None:
        early.append(await offered(plant, spool))
        await apply(changes)

    monkeypatch.setattr(spool._keeper, "apply", watched)
    await spool.commit()
    assert early == [None]
    assert [loss["reason"] for loss in events_of([await take(plant)])] == ["power"]
    await spool.__aexit__(None, None, None)
