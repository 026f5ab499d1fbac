"""What one transaction holds, and what follows from its success.

1. It stores every sealed block that is not acknowledged, so what it says about times and losses holds for all of them.
2. Whatever is dropped stands in the same transaction as lost: in the ledger, or in an event that tells so.
3. A loss that stands in the file's ledger leaves it with the transaction that stores its event.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from math import inf
from typing import Final

from gateway.spool import record
from gateway.spool.database import FullError
from gateway.spool.front import Entry
from gateway.spool.keeper import Keeper
from gateway.spool.room import Room
from gateway.spool.schema import ALIVE, CLEAN, LEDGER, Changes, Insert, Opening, Stored
from gateway.spool.stock import Stock
from gateway.spool.values import Values

log = logging.getLogger(__name__)

ALIVE_EVERY_S: Final = 600.0


class Committer:
    """Owns what the file has to be told. One call at a time; every call may raise SpoolError and be made again."""

    def __init__(self, stock: Stock, keeper: Keeper, room: Room, values: Values) -> None:
        self.alive = 0.0  # loop time of the last transaction that said so
        self.aged = 0.0  # loop time of the last look for blocks that are too old; -inf: there may be more
        self.acked: float | None = None  # loop time of the oldest acknowledgement that the file doesn't know
        self.forgotten: list[tuple[str, int]] = []  # upstreams that left, with the newest block at that time
        self._stock = stock
        self._keeper = keeper
        self._room = room
        self._values = values
        self._damaged: dict[int, Stored] = {}
        self._delete: list[Stored] = []  # counted as lost
        self._rewrite: list[Insert] = []  # thinned, the rest counted as lost
        self._ledger: bytes | None = None  # as it stands in the file, as far as that is known

    @property
    def urgent(self) -> bool:
        """Something is to be written at once."""
        return bool(self._damaged or self._delete or self._rewrite or self.forgotten or self._values.unkept)

    @property
    def holds_losses(self) -> bool:
        """Losses stand in the file's ledger, as far as anybody knows."""
        return self._ledger != b""

    def take_over(self, opening: Opening, *, first: bool) -> None:
        """Go on with what stands in a file that was opened."""
        stock = self._stock
        self._ledger = opening.ledger
        stock.ledger.load(opening.ledger if first else opening.news, stock.everybody)
        if opening.lost:
            stock.counters.lost["spool_corrupt"] += opening.lost
        for name, rows in opening.left.items():
            log.warning("spool: upstream %s left: %d readings it had not acknowledged go", name, rows)
        if opening.damage:
            log.error("spool: %s: set aside as %s", opening.damage, opening.aside)
        self.forgotten.clear()
        for name, delivery in stock.deliveries.items():
            waiting = sum(len(entry.block.readings) for entry in stock.front if name in entry.pending)
            on_its_way = sum(len(found.block.readings) for found in delivery.unsettled.values())
            delivery.backlog = opening.backlog.get(name, 0) + waiting + on_its_way - sum(delivery.acked.values())
            gone = [stored for stored in self._delete if name in stored.pending and not delivery.acked.get(stored.seq)]
            thinned = [insert for insert in self._rewrite if name in insert.pending]
            delivery.backlog -= sum(stored.rows for stored in gone) + sum(insert.less for insert in thinned)
            delivery.disk_oldest_ns = opening.usage.oldest_ns.get(name, 0)
            delivery.reopened()
        self.alive = self.aged = stock.now()

    def forget(self, upstream: str) -> None:
        """Drop an upstream's deliveries of all that is sealed so far, even if that is being stored right now."""
        self.forgotten.append((upstream, self._stock.segment.number))
        self._stock.changed.set()

    def damaged(self, stored: Stored) -> None:
        """A record that was read is damaged: it is counted as lost and deleted with the next transaction."""
        if stored.seq not in self._stock.doomed:
            self._damaged[stored.seq] = stored
            self._stock.changed.set()

    async def commit(self, *, everything: bool) -> None:
        """Write what has to be written; with `everything` all that is not acknowledged, and the losses too."""
        while self.forgotten:
            await self._keeper.forget(*self.forgotten[0])
            del self.forgotten[0]
        self._condemn()
        await self._end_old()
        if await self._transact(everything=everything) and everything and self._tells():
            await self._transact(everything=True)  # what it cost to make room

    def last_words(self) -> Changes:
        """What a stop in order leaves in the file; what found no room in it is lost with the stop."""
        stock = self._stock
        rows = sum(len(entry.block.readings) for entry in stock.front)
        if rows:
            log.error("spool: %d readings find no room on the disk and are lost with the stop", rows)
        self._room.give_up()
        ledger, now_ns = stock.untold_losses(), stock.clock.now_ns()
        return Changes(keep={CLEAN: b"1", ALIVE: now_ns.to_bytes(8, "little", signed=True), LEDGER: ledger or None})

    def _tells(self) -> bool:
        return bool(self._stock.ledger) and self._room.for_events()

    async def _end_old(self) -> None:
        now = self._stock.now()
        if self.aged + self._room.age_every <= now:
            old = await self._room.too_old()
            self.aged = -inf if old else now  # there may be more
            self._drop(old)

    def _condemn(self) -> None:
        damaged, self._damaged = self._damaged, {}
        self._drop([self._room.lose_damaged(stored) for stored in damaged.values()])

    def _drop(self, gone: Sequence[Stored], again: Sequence[Insert] = ()) -> None:
        """What is counted as lost goes with the next transaction that succeeds, and isn't offered until then."""
        self._delete += gone
        self._rewrite += again
        self._stock.doomed.update(stored.seq for stored in gone)
        self._stock.doomed.update(insert.seq for insert in again)

    async def _transact(self, *, everything: bool) -> bool:
        stock, now = self._stock, self._stock.now()
        alive = self.alive + ALIVE_EVERY_S <= now
        acked = any(delivery.acked for delivery in stock.deliveries.values())
        if not (everything or alive or acked or self.urgent):
            return False
        told = self._tells() and stock.tell_losses(held=True)
        try:
            inserts = await self._encode(list(stock.front))
            if inserts:
                self._drop(*await self._room.make(inserts, self._delete))
            await self._write(inserts, now, alive=alive)
        finally:
            if told:
                stock.let_go()
        return True

    async def _encode(self, entries: Sequence[Entry]) -> list[Insert]:
        if not entries:
            return []
        blocks = [entry.block for entry in entries]
        records = await self._keeper.work(lambda: [record.encode(block) for block in blocks])
        columns = zip(entries, blocks, records, strict=True)
        return [Insert(entry.seq, block, entry.pending, data) for entry, block, data in columns]

    async def _write(self, inserts: list[Insert], now: float, *, alive: bool) -> None:
        stock, values = self._stock, self._values
        encoded = {insert.seq: insert for insert in inserts}
        entries = [entry for seq in encoded if (entry := stock.front.get(seq)) is not None]
        inserts = [_as_it_stands(entry, encoded[entry.seq]) for entry in entries]
        acked = {name: list(delivery.acked) for name, delivery in stock.deliveries.items() if delivery.acked}
        ledger, gone = stock.untold_losses(encoded), [stored.seq for stored in self._delete]
        if not (gone or self._rewrite or inserts or acked or values.unkept or alive or ledger != self._ledger):
            return
        since = stock.saved_until_ns(encoded).to_bytes(8, "little", signed=True)
        keep = {**values.unkept, LEDGER: ledger or None, ALIVE: since}
        changes = Changes(
            gone, acked, list(self._rewrite), inserts, keep, dict(values.until), untold=stock.untold_losses()
        )
        self._ledger = None
        for entry in entries:
            entry.storing = True
        try:
            await self._keeper.apply(changes)
        except FullError as error:
            if error.usage is not None:
                self._went(changes)
            raise
        else:
            self._ledger, self.alive = ledger, now
            self._came(changes, entries)
            self._went(changes)
        finally:
            for entry in entries:
                entry.storing = False
                if not entry.pending:
                    stock.front.remove(entry.seq)
        if acked and not self._keeper.usage.blocks:
            await self._keeper.checkpoint()

    def _came(self, changes: Changes, entries: list[Entry]) -> None:
        stock, rewritten = self._stock, {insert.seq for insert in changes.rewrite}
        self._rewrite = [insert for insert in self._rewrite if insert.seq not in rewritten]
        for key, value in changes.keep.items():
            self._values.kept(key, value)
        for entry in entries:
            stock.front.remove(entry.seq)
        if entries:
            self._keeper.last = max(self._keeper.last, entries[-1].seq)
        stock.counters.committed += len(entries)
        self._changed(rewritten)

    def _went(self, changes: Changes) -> None:
        self.acked = None
        self._delete = [stored for stored in self._delete if stored.seq not in set(changes.delete)]
        for name, delivery in self._stock.deliveries.items():
            for seq in changes.acked.get(name, ()):
                delivery.acked.pop(seq, None)
            delivery.disk_oldest_ns = self._keeper.usage.oldest_ns.get(name, 0)
        self._changed(set(changes.delete))

    def _changed(self, seqs: set[int]) -> None:
        """These blocks are gone from the file, or stand there thinned."""
        if seqs:
            self._stock.doomed.difference_update(seqs)
            for delivery in self._stock.deliveries.values():
                delivery.purge(seqs)
                delivery.look_again()


def _as_it_stands(entry: Entry, insert: Insert) -> Insert:
    """The record of a block that may have been acknowledged, or thinned, since it was encoded."""
    data = insert.data if insert.block is entry.block else record.encode(entry.block)
    return Insert(entry.seq, entry.block, entry.pending, data, entry.level)
