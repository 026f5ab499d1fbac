"""Where deliveries find their blocks: the front, and the disk behind it."""

from __future__ import annotations

from gateway.spool.commit import Committer
from gateway.spool.delivery import FIRST
from gateway.spool.front import Front
from gateway.spool.keeper import Keeper
from gateway.spool.losses import Unsettled
from gateway.spool.schema import Stored
from gateway.spool.stock import Stock


class DiskShelf:
    """Implements `delivery.Shelf`."""

    def __init__(self, stock: Stock, keeper: Keeper, committer: Committer) -> None:
        self.front: Front = stock.front
        self.doomed: set[int] = stock.doomed
        self._stock = stock
        self._keeper = keeper
        self._committer = committer

    @property
    def newest(self) -> int:
        """The number of the newest sealed block."""
        return self._stock.segment.number

    @property
    def stored(self) -> int:
        """The highest number on disk, FIRST where the disk can't be read."""
        return self._keeper.last if self._keeper.ready else FIRST

    async def read(self, upstream: str, after: int, last: int) -> list[Stored]:
        """Blocks from the disk; damaged ones among them are reported as lost. SpoolError."""
        found = await self._keeper.read(upstream, after, last)
        for stored in found:
            if stored.block is None and not stored.newer:
                self._committer.damaged(stored)
        return found

    def acknowledged(self, upstream: str, seq: int) -> None:
        """The upstream needs a block no more."""
        entry = self.front.get(seq)
        if entry is not None:
            self._stock.release(entry, upstream)
        if entry is None or entry.storing:
            self._stock.changed.set()
        self._stock.count(self._keeper.usage)

    def not_delivered(self, upstream: str, seq: int, found: Unsettled) -> None:
        """A block that was dropped on its way to the upstream never came: it is lost."""
        self._stock.settle_as_lost(upstream, seq, found)
