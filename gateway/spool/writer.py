"""When is written: blocks that are old and unacknowledged, acknowledgements of stored blocks, losses, the limits."""

from __future__ import annotations

import asyncio
import logging
from math import inf
from typing import Final

from gateway.errors import SpoolError
from gateway.spool.commit import ALIVE_EVERY_S, Committer
from gateway.spool.keeper import Keeper
from gateway.spool.room import Room
from gateway.spool.schema import Opener
from gateway.spool.stock import Stock
from gateway.spool.values import Values

log = logging.getLogger(__name__)

AHEAD: Final = 0.9  # of commit_interval: a commit takes time, and the promise holds when it is done
TELL_S: Final = 1.0  # a loss is told at once; while it goes on, in growing distance
TELL_LONGEST_S: Final = 60.0


class Writer:
    """Opens the file, and has it written when it is time. One transaction at a time."""

    def __init__(self, stock: Stock, keeper: Keeper, values: Values) -> None:
        self.turns = 0  # of `run`: grows with each look at what is due
        self._stock = stock
        self._keeper = keeper
        self._room = Room(stock, keeper)
        self.committer = Committer(stock, keeper, self._room, values)
        self._one = asyncio.Lock()
        self._opened = False
        self._told = -inf
        self._tell_every = TELL_S

    async def open(self) -> None:
        """Open the file, or open it again, and take over what stands in it. SpoolError."""
        stock = self._stock
        alive_ns = stock.saved_until_ns() if self._opened else None
        forgotten = tuple(self.committer.forgotten)
        opener = Opener(stock.clock.now_ns(), stock.everybody, stock.segment.table, alive_ns, forgotten)
        opening = await self._keeper.open(opener)
        self.committer.take_over(opening, first=not self._opened)
        self._opened = True
        self._stock.count(self._keeper.usage)

    async def close(self) -> None:
        """Write all there is and close the file. Never raises; a disk that hangs is left behind."""
        await self.commit()
        if not self._keeper.ready and len(self._stock.front):
            log.error("spool: no disk: %d blocks are lost with the stop", len(self._stock.front))
        await self._keeper.close(self.committer.last_words() if self._keeper.ready else None)

    def keep_front(self) -> None:
        """Keep the memory front within its bound."""
        self._room.keep_front()
        self._stock.count(self._keeper.usage)

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
        stock, keeper, committer = self._stock, self._keeper, self.committer
        tell = self._tell_due(now)
        aged = committer.aged + self._room.age_every
        if not keeper.ready:
            return min(keeper.retry_at, tell, aged if len(stock.front) else inf)
        if not any(delivery.acked for delivery in stock.deliveries.values()):
            committer.acked = None
        elif committer.acked is None:
            committer.acked = now
        write = min(
            self._commit_due(),
            inf if committer.acked is None else committer.acked + stock.settings.commit_interval,
            now if committer.urgent else inf,
        )
        due = min(write, aged if keeper.usage.blocks and not keeper.full else inf, committer.alive + ALIVE_EVERY_S)
        return min(tell, max(due, keeper.retry_at) if keeper.full else due)

    def _commit_due(self) -> float:
        oldest = self._stock.front.first()
        return inf if oldest is None else oldest.arrived + AHEAD * self._stock.settings.commit_interval

    def _tell_due(self, now: float) -> float:
        if not self._stock.ledger or not self._room.for_events():
            return inf  # the ledger is kept on disk meanwhile
        return max(now, self._told + self._tell_every)

    async def _serve(self, now: float) -> None:
        everything = self._tell_due(now) <= now and self._tell(now)
        if self._keeper.ready:
            if self._commit_due() <= now:
                self._stock.seal()  # one commit for both halves of the interval
                everything = True
            await self.commit(everything=everything)
            return
        if self.committer.aged + self._room.age_every <= now:
            self.committer.aged = now
            self._room.end_old_front()
            self._stock.count(self._keeper.usage)
        if self._keeper.retry_at <= now:
            async with self._one:
                await self.reopen()

    def _tell(self, now: float) -> bool:
        """Tell the losses, or say that a transaction has to, since the file knows of them."""
        goes_on = now - self._told < 2 * self._tell_every
        self._tell_every = min(2 * self._tell_every, TELL_LONGEST_S) if goes_on else TELL_S
        self._told = now
        if self._keeper.ready and self.committer.holds_losses:
            return True
        self._stock.tell_losses()
        return False

    async def reopen(self) -> None:
        """Try the disk again. Never raises SpoolError."""
        try:
            await self.open()
        except SpoolError as error:
            log.debug("spool: still in memory: %s", error)

    async def commit(self, *, everything: bool = True) -> None:
        """Write everything unacknowledged, or only what can't wait. Never raises SpoolError."""
        async with self._one:
            if not self._keeper.ready:
                return
            try:
                await self.committer.commit(everything=everything)
            except SpoolError as error:
                log.debug("spool: commit failed: %s", error)
        self._stock.count(self._keeper.usage)
