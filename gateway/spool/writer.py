"""When and what is written: blocks that are old and unacknowledged, acknowledgements of stored blocks, the limits.

One transaction at a time. Whatever is dropped and the event that tells so are in the same transaction, so a power cut
between the two can't make a loss silent.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Final

from gateway.errors import SpoolError
from gateway.spool import record
from gateway.spool.front import Entry
from gateway.spool.keeper import Keeper
from gateway.spool.opening import ALIVE, LEDGER
from gateway.spool.room import Room
from gateway.spool.schema import Changes, Insert, Opening, Stored
from gateway.spool.stock import Stock

log = logging.getLogger(__name__)

AHEAD: Final = 0.9  # of commit_interval: a commit takes time, and the promise holds when it is done
ALIVE_EVERY_S: Final = 600.0
TELL_S: Final = 1.0  # a loss is told at once; while it goes on, in growing distance
TELL_LONGEST_S: Final = 60.0


@dataclass(slots=True)
class _Times:
    """Loop times of what happened last."""

    acked: float | None = None  # the oldest acknowledgement the disk doesn't know
    told: float = -inf
    tell_every: float = TELL_S
    alive: float = 0.0
    aged: float = 0.0


class Writer:
    """Owns what the disk has to be told."""

    def __init__(self, stock: Stock, keeper: Keeper) -> None:
        self._stock = stock
        self._keeper = keeper
        self._room = Room(stock, keeper)
        self._one = asyncio.Lock()
        self.turns = 0  # of `run`: grows with each look at what is due
        self._times = _Times()
        self._unkept: dict[str, bytes] = {}
        self._until: dict[str, int] = {}
        self._forgotten: list[tuple[str, int]] = []
        self._damaged: dict[int, tuple[Stored, frozenset[str]]] = {}
        self._delete: list[Stored] = []  # counted as lost
        self._rewrite: list[Insert] = []  # thinned, the rest counted as lost
        self._ledger_kept = b""
        self._taken_over = False

    async def open(self) -> None:
        """Open the file, or open it again, and take over what stands in it. SpoolError."""
        opening = await self._keeper.open(self._stock.everybody, self._stock.clock.now_ns())
        self._take_over(opening)
        now = self._stock.now()
        self._times.alive = self._times.aged = now

    def _take_over(self, opening: Opening) -> None:
        stock, now_ns = self._stock, self._stock.clock.now_ns()
        if not self._taken_over:
            self._taken_over, self._ledger_kept = True, opening.ledger
            stock.ledger.load(opening.ledger, stock.everybody)
            if opening.unclean_since_ns is not None:
                stock.lose_readings("power", (), min(opening.unclean_since_ns, now_ns), now_ns, None)
        for name, rows in opening.left.items():
            log.warning("spool: upstream %s left: %d readings it had not acknowledged go", name, rows)
        if opening.damage:
            log.error("spool: %s: set aside as %s", opening.damage, opening.aside)
            if opening.lost != 0:
                stock.lose_readings("spool_corrupt", (), opening.lost_from_ns or now_ns, now_ns, opening.lost)
        for name, delivery in stock.deliveries.items():
            waiting = sum(len(entry.block.readings) for entry in stock.front if name in entry.pending)
            on_its_way = sum(len(found.block.readings) for found in delivery.unsettled.values())
            delivery.backlog = opening.backlog.get(name, 0) + waiting + on_its_way - sum(delivery.acked.values())
            delivery.backlog -= sum(
                stored.rows for stored in self._delete if name in stored.pending and not delivery.acked.get(stored.seq)
            )
            delivery.disk_oldest_ns = opening.usage.oldest_ns.get(name, 0)
            delivery.look_again()
        self.count()

    # what is to be written

    def forget(self, upstream: str) -> None:
        """Drop an upstream's deliveries on disk up to the newest block there."""
        self._forgotten.append((upstream, self._keeper.last))
        self._stock.changed.set()

    def damaged(self, stored: Stored, upstream: str) -> None:
        """A record that was read is damaged: it is counted as lost and deleted with the next commit."""
        pending = self._damaged.get(stored.seq, (stored, frozenset[str]()))[1] | {upstream}
        self._damaged[stored.seq] = (stored, pending)
        self._stock.changed.set()

    async def remember(self, key: str, value: bytes, until_ns: int | None = None) -> None:
        """See `Spool.remember`."""
        self._unkept[key] = value
        if until_ns is not None:
            self._until[key] = until_ns
        if not self._keeper.ready:
            return
        until = {} if until_ns is None else {key: until_ns}
        try:
            await self._keeper.apply(Changes(keep={key: value}, until=until, expired_ns=self._stock.clock.now_ns()))
        except SpoolError:
            return
        self._is_kept(key, value)

    def _is_kept(self, key: str, value: bytes | None) -> None:
        if self._unkept.get(key) is value:
            self._unkept.pop(key, None)
            self._until.pop(key, None)

    async def recall(self, key: str) -> bytes | None:
        """See `Spool.recall`."""
        if key in self._unkept:
            return self._unkept[key]
        try:
            return await self._keeper.recall(key) if self._keeper.ready else None
        except SpoolError:
            return None

    def keep_front(self) -> None:
        """Keep the memory front within its bound."""
        self._room.keep_front()
        self.count()

    def count(self) -> None:
        """Bring the counters up to date."""
        counters, usage = self._stock.counters, self._keeper.usage
        counters.memory_bytes = self._stock.front.bytes
        counters.disk_bytes = usage.bytes
        counters.blocks = len(self._stock.front) + usage.blocks

    # when

    async def run(self) -> None:
        """Write what is due until cancelled."""
        changed = self._stock.changed
        while True:
            changed.clear()
            self.turns += 1
            now = self._stock.now()
            due = self._due(now)
            if due <= now:
                await self._serve(now)
                continue
            try:
                async with asyncio.timeout(None if due == inf else due - now):
                    await changed.wait()
            except TimeoutError:
                continue

    def _due(self, now: float) -> float:
        stock, keeper, times = self._stock, self._keeper, self._times
        tell = self._tell_due(now)
        if not keeper.ready:
            return min(keeper.retry_at, tell, times.aged + self._age_every() if len(stock.front) else inf)
        if times.acked is None and any(delivery.acked for delivery in stock.deliveries.values()):
            times.acked = now
        write = min(
            self._commit_due(),
            inf if times.acked is None else times.acked + stock.settings.commit_interval,
            now if self._damaged or self._delete or self._rewrite or self._forgotten or self._unkept else inf,
        )
        aged = times.aged + self._age_every() if keeper.usage.blocks and not keeper.full else inf
        due = min(write, aged, times.alive + ALIVE_EVERY_S)
        return min(tell, max(due, keeper.retry_at) if keeper.full else due)

    def _commit_due(self) -> float:
        oldest = self._stock.front.first()
        return inf if oldest is None else oldest.arrived + AHEAD * self._stock.settings.commit_interval

    def _tell_due(self, now: float) -> float:
        if not self._stock.ledger or not self._room.for_events():
            return inf  # the ledger is kept on disk meanwhile
        return max(now, self._times.told + self._times.tell_every)

    def _age_every(self) -> float:
        return min(60.0, self._stock.settings.max_age / 10)

    async def _serve(self, now: float) -> None:
        if self._tell_due(now) <= now:
            self._tell(now)
        if self._keeper.ready:
            if self._commit_due() <= now:
                self._stock.seal()  # one commit for both halves of the interval
            await self.commit(old_only=True)
            return
        if self._times.aged + self._age_every() <= now:
            self._times.aged = now
            self._room.end_old_front()
            self.count()
        if self._keeper.retry_at <= now:
            async with self._one:
                await self._reopen()

    def _tell(self, now: float) -> None:
        times = self._times
        goes_on = now - times.told < 2 * times.tell_every
        times.tell_every = min(2 * times.tell_every, TELL_LONGEST_S) if goes_on else TELL_S
        times.told = now
        self._stock.tell_losses()

    async def _reopen(self) -> None:
        try:
            await self.open()
        except SpoolError as error:
            log.debug("spool: still in memory: %s", error)

    # how

    async def commit(self, *, old_only: bool = False) -> None:
        """Write everything unacknowledged (with `old_only`: if the oldest of it is due). Never raises SpoolError."""
        async with self._one:
            if not self._keeper.ready:
                return
            try:
                await self._commit(old_only=old_only)
            except SpoolError as error:
                log.debug("spool: commit failed: %s", error)
        self.count()

    async def _commit(self, *, old_only: bool) -> None:
        stock, now = self._stock, self._stock.now()
        while self._forgotten:
            await self._keeper.forget(*self._forgotten[0])
            del self._forgotten[0]
        self._condemn()
        if self._times.aged + self._age_every() <= now:
            old = await self._room.too_old()
            self._times.aged = -inf if old else now  # there may be more
            self._drop(old)
        inserts: list[Insert] = []
        if not old_only or self._delete or self._commit_due() <= now:
            inserts = await self._encode(list(stock.front))
            gone, again = await self._room.make(inserts, self._delete)
            self._drop(gone, again)
            if stock.ledger and self._room.for_events() and (self._delete or self._rewrite or not old_only):
                stock.tell_losses()
                known = {insert.seq for insert in inserts}
                inserts += await self._encode([entry for entry in stock.front if entry.seq not in known])
        await self._write(inserts, now)

    def _drop(self, gone: Sequence[Stored], again: Sequence[Insert] = ()) -> None:
        """What is counted as lost goes with the next transaction that succeeds, and isn't offered until then."""
        self._delete += gone
        self._rewrite += again
        self._stock.doomed.update(stored.seq for stored in gone)
        self._stock.doomed.update(insert.seq for insert in again)

    def _condemn(self) -> None:
        damaged, self._damaged = self._damaged, {}
        for stored, pending in damaged.values():
            self._room.lose_damaged(stored, pending)
        self._drop([replace(stored, pending=pending) for stored, pending in damaged.values()])

    async def _encode(self, entries: Sequence[Entry]) -> list[Insert]:
        if not entries:
            return []
        blocks = [entry.block for entry in entries]
        records = await self._keeper.work(lambda: [record.encode(block) for block in blocks])
        columns = zip(entries, blocks, records, strict=True)
        return [Insert(entry.seq, block, entry.pending, data) for entry, block, data in columns]

    async def _write(self, inserts: list[Insert], now: float) -> None:
        stock, delete, rewrite = self._stock, list(self._delete), list(self._rewrite)
        entries = [entry for insert in inserts if (entry := stock.front.get(insert.seq)) is not None]
        encoded = {insert.seq: insert for insert in inserts}
        inserts = [_as_it_stands(entry, encoded[entry.seq]) for entry in entries]
        acked = {name: list(delivery.acked) for name, delivery in stock.deliveries.items() if delivery.acked}
        ledger = stock.kept_losses()
        keep: dict[str, bytes | None] = dict(self._unkept)
        if ledger != self._ledger_kept:
            keep[LEDGER] = ledger or None
        alive = self._times.alive + ALIVE_EVERY_S <= now
        if not (delete or rewrite or inserts or acked or keep or alive):
            return
        keep[ALIVE] = stock.clock.now_ns().to_bytes(8, "little")
        gone = [stored.seq for stored in delete]
        changes = Changes(gone, acked, rewrite, inserts, keep, dict(self._until))
        for entry in entries:
            entry.storing = True
        try:
            await self._keeper.apply(changes)
            self._settle(changes, entries, ledger, now)
        finally:
            for entry in entries:
                entry.storing = False
                if not entry.pending:
                    stock.front.remove(entry.seq)
        if acked and not self._keeper.usage.blocks:
            await self._keeper.checkpoint()

    def _settle(self, changes: Changes, entries: list[Entry], ledger: bytes, now: float) -> None:
        stock = self._stock
        self._ledger_kept, self._times.alive, self._times.acked = ledger, now, None
        done = {*changes.delete, *(insert.seq for insert in changes.rewrite)}
        self._delete = [stored for stored in self._delete if stored.seq not in done]
        self._rewrite = [insert for insert in self._rewrite if insert.seq not in done]
        stock.doomed.difference_update(done)
        for key, value in changes.keep.items():
            self._is_kept(key, value)
        for entry in entries:
            stock.front.remove(entry.seq)
        if entries:
            self._keeper.last = max(self._keeper.last, entries[-1].seq)
        stock.counters.committed += len(entries)
        for name, delivery in stock.deliveries.items():
            for seq in changes.acked.get(name, ()):
                delivery.acked.pop(seq, None)
            delivery.disk_oldest_ns = self._keeper.usage.oldest_ns.get(name, 0)
            if done:
                delivery.purge(done)
                delivery.look_again()


def _as_it_stands(entry: Entry, insert: Insert) -> Insert:
    """The record of a block that may have been acknowledged, or thinned, since it was encoded."""
    data = insert.data if insert.block is entry.block else record.encode(entry.block)
    return Insert(entry.seq, entry.block, entry.pending, data, entry.level)
