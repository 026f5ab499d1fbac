"""One upstream's view of the spool: where it stands, what it was offered, what it acknowledged.

    disk (older)  | front (newer)          a cursor walks from the oldest block to the newest; what it meets on disk
    ------------->|------------->          is read a bounded piece ahead

oldest-first has one cursor. live-first has two: one for what was sealed since the epoch began, and a slower one behind
it for everything older.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol

from gateway.block import Block, BlockId
from gateway.errors import SpoolError
from gateway.runtime.clock import Clock
from gateway.spool.correction import corrected
from gateway.spool.front import Front
from gateway.spool.losses import Unsettled
from gateway.spool.schema import Stored
from gateway.spool.settings import SpoolSettings

FIRST: Final = -(1 << 62)
LAST: Final = 1 << 62


class Shelf(Protocol):
    """Where the blocks are."""

    front: Front
    doomed: set[int]  # being dropped at this moment

    @property
    def newest(self) -> int:
        """The number of the newest sealed block."""

    @property
    def stored(self) -> int:
        """The highest number on disk, FIRST where there is none or the disk can't be read."""

    async def read(self, upstream: str, after: int, last: int) -> list[Stored]:
        """Whole blocks from the disk; SpoolError where it can't be read now."""

    def acknowledged(self, upstream: str, seq: int) -> None:
        """The upstream needs a block no more."""

    def not_delivered(self, upstream: str, seq: int, found: Unsettled) -> None:
        """A block that was dropped on its way to the upstream never came: it is lost."""


@dataclass(slots=True)
class _Cursor:
    after: int
    last: int
    slow: bool = False  # held back by backlog_rate
    ahead: deque[Stored] = field(default_factory=deque)


class UpstreamDelivery:
    """Implements `gateway.block.Delivery`; `next` is awaited by one task at a time."""

    def __init__(self, name: str, shelf: Shelf, clock: Clock, settings: SpoolSettings) -> None:
        self.name = name
        self.backlog = 0  # readings sealed and not acknowledged
        self.disk_oldest_ns = 0  # reading time of the oldest block on disk
        self.offered: set[int] = set()  # in this epoch, not acknowledged
        self.acked: dict[int, int] = {}  # number -> readings: acknowledged, the disk doesn't know it yet
        self.unsettled: dict[int, Unsettled] = {}  # offered in this epoch and dropped since
        self._shelf = shelf
        self._clock = clock
        self._live_first = settings.drain == "live-first"
        self._rate = settings.backlog_rate
        self._issued: dict[BlockId, tuple[int, int]] = {}  # number and readings, over epochs
        self._cursors: list[_Cursor] = []
        self._fresh = asyncio.Event()
        self._paced_until = 0.0
        self._recounted: set[int] = set()

    @property
    def oldest_ns(self) -> int:
        """Reading time of the oldest reading not acknowledged, UTC; 0 where there is none."""
        if not self.backlog:
            return 0
        if self.disk_oldest_ns:
            return self.disk_oldest_ns
        for entry in self._shelf.front:
            if self.name in entry.pending and len(entry.block.readings):
                return int(entry.block.readings.time_ns.min())
        return 0

    async def next(self) -> Block:
        """See `Delivery.next`."""
        while True:
            self._fresh.clear()
            delay = None
            for cursor in self._cursors or self._begin():
                delay = self._pace() if cursor.slow else None
                if delay:
                    continue
                found = await self._advance(cursor)
                if found is not None:
                    return self._offer(*found, slow=cursor.slow)
            try:
                async with asyncio.timeout(delay):
                    await self._fresh.wait()
            except TimeoutError:
                continue

    def acknowledge(self, block: Block) -> None:
        """See `Delivery.acknowledge`; a block that was dropped meanwhile, or acknowledged before, changes nothing."""
        seq, rows = self._issued.pop(block.id, (None, 0))
        if seq is None:
            return
        self.offered.discard(seq)
        self.backlog -= rows
        entry = self._shelf.front.get(seq)
        if self.unsettled.pop(seq, None) is not None:
            self.acked[seq] = 0  # it is gone already, but the disk takes it for lost
        elif entry is None or entry.storing:
            self.acked[seq] = rows
        self._shelf.acknowledged(self.name, seq)

    def rewind(self) -> None:
        """See `Delivery.rewind`."""
        self.offered.clear()
        unsettled, self.unsettled = self.unsettled, {}
        for seq, found in unsettled.items():
            self._shelf.not_delivered(self.name, seq, found)
        self.look_again()

    def look_again(self) -> None:
        """Walk from the oldest block again; what was offered in this epoch isn't offered twice."""
        self._cursors = []
        self._fresh.set()

    def wake(self) -> None:
        """There is something new."""
        self._fresh.set()

    def dropped(self, seq: int, block: BlockId, rows: int) -> None:
        """A block is gone, or has lost some of its readings, `rows` in all."""
        self.backlog -= rows
        self.offered.discard(seq)
        self._issued.pop(block, None)

    def damaged(self, seq: int, rows: int) -> None:
        """A block's record is damaged: it is lost, whatever becomes of one that is on its way."""
        self.backlog -= rows
        self.offered.discard(seq)
        self._issued = {block: issued for block, issued in self._issued.items() if issued[0] != seq}

    def reopened(self) -> None:
        """The file was opened, maybe another one: `backlog` counts all that stands in it."""
        self._recounted.clear()
        self.look_again()

    def purge(self, seqs: Iterable[int]) -> None:
        """Forget what was read ahead of these blocks: they are gone or have changed."""
        gone = set(seqs)
        for cursor in self._cursors:
            cursor.ahead = deque(stored for stored in cursor.ahead if stored.seq not in gone)

    # the way to the next block

    def _begin(self) -> list[_Cursor]:
        if self._live_first:
            border = self._shelf.newest
            self._cursors = [_Cursor(border, LAST), _Cursor(FIRST, border, slow=self._rate is not None)]
        else:
            self._cursors = [_Cursor(FIRST, LAST)]
        return self._cursors

    async def _advance(self, cursor: _Cursor) -> tuple[int, Block] | None:
        shelf = self._shelf
        while True:
            while cursor.ahead:
                stored = cursor.ahead.popleft()
                cursor.after = stored.seq
                self._count(stored)
                if stored.block is not None and self._wanted(stored.seq):
                    return stored.seq, stored.block
            last = min(shelf.stored, cursor.last)
            if cursor.after >= last:
                return self._from_front(cursor)
            try:
                found = await shelf.read(self.name, cursor.after, last)
            except SpoolError:
                return self._from_front(cursor)
            if cursor not in self._cursors:
                return None
            cursor.ahead.extend(found)
            if not found:
                cursor.after = last

    def _count(self, stored: Stored) -> None:
        """Where the file counts a block otherwise than it is: one of a later release, or a flipped bit."""
        rows = 0 if stored.newer else stored.rows if stored.block is None else len(stored.block.readings)
        if rows != stored.rows and stored.seq not in self._recounted:
            self._recounted.add(stored.seq)
            self.backlog += rows - stored.rows

    def _from_front(self, cursor: _Cursor) -> tuple[int, Block] | None:
        front, newest = self._shelf.front, min(self._shelf.newest, cursor.last)
        first = front.first()
        seq = newest if first is None else max(cursor.after, first.seq - 1)
        while seq < newest:
            seq += 1
            entry = front.get(seq)
            if entry is not None and not entry.held and self.name in entry.pending and self._wanted(seq):
                cursor.after = seq
                return seq, entry.block
        cursor.after = max(cursor.after, newest)
        return None

    def _wanted(self, seq: int) -> bool:
        return seq not in self.offered and seq not in self.acked and seq not in self._shelf.doomed

    def _offer(self, seq: int, block: Block, *, slow: bool) -> Block:
        rows = len(block.readings)
        self.offered.add(seq)
        self._issued[block.id] = (seq, rows)
        if slow and self._rate is not None:
            now = asyncio.get_running_loop().time()
            self._paced_until = max(now, self._paced_until) + rows / self._rate
        return corrected(block, self._clock.stamp)

    def _pace(self) -> float | None:
        """Seconds until the backlog may go on; None: now."""
        left = self._paced_until - asyncio.get_running_loop().time()
        return left if left > 0 else None
