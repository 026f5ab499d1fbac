"""What goes when the spool is full or its blocks too old: which, and the entry in the ledger that says so.

Blocks on their way to an upstream are spared as long as others can go: they may be delivered, and then nothing is lost.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from gateway.block import Block
from gateway.spool import record
from gateway.spool.delivery import FIRST
from gateway.spool.front import Entry
from gateway.spool.keeper import Keeper
from gateway.spool.schema import PAGE, Insert, Stored
from gateway.spool.stock import Stock
from gateway.spool.thinning import split

FRONT_BYTES: Final = 64 << 20  # in memory, when the disk can't be used
SLACK: Final = 8 * PAGE  # what trees and small tables may grow in one transaction
PIECES: Final = 64  # room is made in pieces of this fraction, so that one event tells of many blocks
PIECE_BYTES: Final = 512 << 10  # and of at most this size, so that a commit doesn't wait for long
SANE_NS: Final = 1_577_836_800_000_000_000  # 2020: an older reading was taken before the clock was set


class Room:
    """Keeps the spool within `max_size` and `max_age`, by the policy `when_full`."""

    def __init__(self, stock: Stock, keeper: Keeper) -> None:
        self._stock = stock
        self._keeper = keeper
        self._front_bytes = min(FRONT_BYTES, stock.settings.max_size)
        self._piece = min(stock.settings.max_size // PIECES, PIECE_BYTES)
        self._thinned = FIRST  # where thinning goes on
        self._thinned_front = FIRST  # the same in memory

    @property
    def age_every(self) -> float:
        """Seconds between two looks for what is too old."""
        return min(60.0, self._stock.settings.max_age / 10)

    def for_events(self) -> bool:
        """Whether `loss` events may be made now: with drop-newest they would pile up on a full spool."""
        settings = self._stock.settings
        return settings.when_full != "drop-newest" or self._keeper.usage.bytes + SLACK < settings.max_size

    async def too_old(self) -> list[Stored]:
        """A piece of the blocks on disk that `max_age` ends, the front cleared of its own."""
        limit = self._age_limit()
        if limit is None:
            return []
        self.end_old_front()
        stock = self._stock
        found = await self._keeper.oldest(PIECE_BYTES, FIRST, stock.offered() | stock.doomed, (SANE_NS, limit))
        return self._lose(found, "spool_age")

    def end_old_front(self) -> None:
        """Drop the blocks in memory that `max_age` ends."""
        limit, offered = self._age_limit(), self._stock.offered()
        if limit is None:
            return
        for entry in [entry for entry in self._stock.front if not entry.storing and entry.seq not in offered]:
            if SANE_NS <= _first_ns(entry.block) < limit:
                self._lose_entry(entry, "spool_age")

    def _age_limit(self) -> int | None:
        """UTC ns; None while nobody knows what time it is."""
        clock = self._stock.clock
        return clock.now_ns() - int(self._stock.settings.max_age * 1e9) if clock.stamp.synchronised else None

    async def make(self, inserts: list[Insert], delete: list[Stored]) -> tuple[list[Stored], list[Insert]]:
        """Room for `inserts`, when `delete` goes anyway: what else to delete, and what to store again, thinned."""
        settings = self._stock.settings
        wanted = sum(insert.size for insert in inserts) + SLACK - sum(stored.size for stored in delete)
        missing = self._keeper.usage.bytes + wanted - settings.max_size
        if self._keeper.full and self._stock.front.bytes > self._front_bytes // 2:
            missing = max(missing, wanted)  # the device is full and memory fills up: old blocks give their pages
        if missing <= 0:
            return [], []
        if settings.when_full == "drop-newest":
            self._refuse(inserts)
            return [], []
        size, gone, again = max(missing, self._piece), list[Stored](), list[Insert]()
        if settings.when_full == "thin" and not self._keeper.full:  # storing again what stays takes room too
            gone, again, freed = await self._thin(2 * size)
            missing -= freed
        if missing > 0:
            spared = {stored.seq for stored in (*delete, *gone)} | {insert.seq for insert in again}
            more = await self._drop(max(missing, size), missing, frozenset(spared))
            missing -= sum(stored.size for stored in more)
            gone += more
        for insert in inserts:  # larger than the whole spool
            if missing <= 0:
                break
            entry = self._stock.front.get(insert.seq)
            if entry is not None and not insert.block.events:
                self._lose_entry(entry, "spool_full")
                missing -= insert.size
        return gone, again

    async def _drop(self, size: int, least: int, known: frozenset[int]) -> list[Stored]:
        known |= self._stock.doomed
        victims = await self._keeper.oldest(size, FIRST, known | self._stock.offered())
        gone = self._lose(victims, "spool_full")
        freed = sum(stored.size for stored in gone)
        if freed < least:
            known |= {stored.seq for stored in gone}
            victims = await self._keeper.oldest(least - freed, FIRST, known)
            gone += self._lose(victims, "spool_full", spare=False)
        return gone

    def _refuse(self, inserts: list[Insert]) -> None:
        offered = self._stock.offered()
        for insert in inserts:
            entry = self._stock.front.get(insert.seq)
            if entry is not None and insert.seq not in offered and not insert.block.events:
                self._lose_entry(entry, "spool_full")

    async def _thin(self, size: int) -> tuple[list[Stored], list[Insert], int]:
        found = await self._keeper.oldest(size, self._thinned, self._stock.offered() | self._stock.doomed)
        # The oldest half is thinned again and again, the newest half stays as it is.
        middle = self._keeper.last - self._keeper.usage.blocks // 2
        self._thinned = found[-1].seq if found and found[-1].seq < middle else FIRST
        offered, freed = self._stock.offered(), 0
        gone: list[Stored] = []
        again: list[Insert] = []
        for stored in found:
            block, pending = stored.block, self._stock.still_needed(stored.seq, stored.pending)
            if block is None or block.events or stored.seq in offered or not pending:
                continue
            stays, goes = split(block, stored.level)
            if not len(goes.readings):
                continue
            self._stock.lose("spool_full", stored.seq, goes, pending)
            freed += stored.size
            if len(stays.readings):
                data, less = record.encode(stays), len(goes.readings)
                again.append(Insert(stored.seq, stays, pending, data, stored.level + 1, less))
                freed -= again[-1].size
            else:
                gone.append(stored)
        return gone, again, freed

    def keep_front(self) -> None:
        """Without a disk that takes blocks the front is the spool: keep it within its bound."""
        front, bound = self._stock.front, self._front_bytes
        if self._keeper.ready and not self._keeper.full:
            bound = max(bound, FRONT_BYTES)
        if front.bytes <= bound:
            return
        policy, offered = self._stock.settings.when_full, self._stock.offered()
        newest = policy == "drop-newest"
        target = bound if newest else bound - bound // PIECES
        if policy == "thin":
            self._thin_front(target)
        entries = [entry for entry in front if not entry.storing and entry.seq not in offered]
        for entry in reversed(entries) if newest else entries:
            if front.bytes <= target:
                return
            if not (newest and entry.block.events):
                self._lose_entry(entry, "spool_full")

    def _thin_front(self, target: int) -> None:
        front, offered = self._stock.front, self._stock.offered()
        entries = [e for e in front if not (e.storing or e.seq in offered or e.block.events)]
        older = entries[: len(entries) // 2]  # again and again; the newer half stays as it is
        later = [entry for entry in older if entry.seq > self._thinned_front]
        for entry in later + older[: len(older) - len(later)]:
            if front.bytes <= target:
                return
            self._thinned_front = entry.seq
            stays, goes = split(entry.block, entry.level)
            if not len(stays.readings):
                self._lose_entry(entry, "spool_full")
                continue
            front.thin(entry, stays)
            if len(goes.readings):
                self._stock.lose("spool_full", entry.seq, goes, entry.pending)

    def give_up(self) -> None:
        """Count what is left in memory as lost."""
        for entry in list(self._stock.front):
            self._lose_entry(entry, "spool_full")

    def lose_damaged(self, stored: Stored) -> Stored:
        """Count a damaged record as lost to all who still need it; returns it with those."""
        stock = self._stock
        pending = stock.still_needed(stored.seq, stored.pending)
        if pending:
            stock.ledger.add_damaged(stored, pending)
            stock.counters.lost["spool_corrupt"] += stored.rows
        for name in pending:
            stock.deliveries[name].damaged(stored.seq, stored.rows)
        return replace(stored, pending=pending)

    def _lose(self, victims: list[Stored], reason: str, *, spare: bool = True) -> list[Stored]:
        offered = self._stock.offered() if spare else frozenset[int]()
        found = [stored for stored in victims if stored.seq not in offered]
        for stored in found:
            pending = self._stock.still_needed(stored.seq, stored.pending)
            if stored.block is None:
                self.lose_damaged(stored)
            elif pending:
                self._stock.lose(reason, stored.seq, stored.block, pending)
        return found

    def _lose_entry(self, entry: Entry, reason: str) -> None:
        self._stock.front.remove(entry.seq)
        self._stock.lose(reason, entry.seq, entry.block, entry.pending)


def _first_ns(block: Block) -> int:
    return int(block.readings.time_ns.min()) if len(block.readings) else block.sealed_ns
