"""The spool: the one buffer between the pipeline and the upstreams.

    append -> Segment -> seal -> Front (memory) --commit, when old and unacknowledged--> Keeper (disk)
                                   |                                                       |
                                   +--------------> UpstreamDelivery, one each <-----------+

1. Nothing leaves without an acknowledgement, or a `loss` event that says so.
2. Numbers only grow, and whatever is on disk is older than all that is only in memory.
3. `append` and `event` never wait; all waiting for the disk happens in `run`, `commit`, and `next` of a backlog.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Final, Self

from gateway.block import ClockStamp
from gateway.errors import SpoolError
from gateway.readings import Readings, TagTable
from gateway.runtime.clock import Clock, ClockChange
from gateway.runtime.counters import SpoolCounters
from gateway.spool.delivery import UpstreamDelivery
from gateway.spool.keeper import Keeper
from gateway.spool.opening import InUseError
from gateway.spool.settings import SpoolSettings
from gateway.spool.shelf import DiskShelf
from gateway.spool.stock import Stock, Told
from gateway.spool.values import Values
from gateway.spool.writer import Writer

log = logging.getLogger(__name__)

SILENT_S: Final = 300.0  # a card that collects its garbage may hold a commit for long; readings flow on meanwhile
_SEAL_LATE_S: Final = 5.0


class Spool:
    """See the module. `upstreams` are those of the configuration; others come and go by `delivery` and `forget`.

    `told` is called with every event as it is taken, the spool's own `loss` events included.
    """

    def __init__(
        self,
        settings: SpoolSettings,
        gateway: str,
        table: TagTable,
        clock: Clock,
        counters: SpoolCounters,
        *,
        upstreams: Iterable[str],
        boot: str | None = None,
        told: Told | None = None,
    ) -> None:
        self.boot = boot or secrets.token_hex(3)
        self._stock = Stock(settings, gateway, table, clock, counters, self.boot, told)
        self._keeper = Keeper(settings.place(gateway), counters)
        self._values = Values(clock, self._keeper)
        self._writer = Writer(self._stock, self._keeper, self._values)
        self._shelf = DiskShelf(self._stock, self._keeper, self._writer.committer)
        self._opened = asyncio.Event()
        self._signs = 0
        for name in upstreams:
            self.delivery(name)

    async def __aenter__(self) -> Self:
        """Open the file; InUseError where another daemon has it. A disk that fails is no error: see the counters."""
        self._keeper.start()
        try:
            await self._writer.open()
        except InUseError:
            await self._keeper.close(None)
            raise
        except SpoolError:
            log.warning("spool: everything stays in memory until the disk can be used")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seal()
        await self._writer.close()

    # in

    def append(self, readings: Readings, stamp: ClockStamp | None = None) -> None:
        """Take readings that left the pipeline; never waits. `stamp`: the clock they were taken with, if another."""
        if len(readings) == 0:
            return
        stock = self._stock
        if stock.segment.add(readings, stock.now(), stamp or stock.clock.stamp):
            self.seal()
        self._opened.set()

    def event(self, kind: str, time_ns: int, fields: Mapping[str, object]) -> None:
        """Take an event (wire.md); it is delivered like readings. ValueError, TypeError where a field is no JSON."""
        stock = self._stock
        stock.segment.add_event(stock.render(kind, time_ns, fields), stock.now(), stock.clock.stamp)
        self._opened.set()

    def lost(self, reason: str, tags: Iterable[str], from_ns: int, to_ns: int, count: int | None) -> None:
        """Readings that never came to be: `count` in all, None where nobody knows. `tags` are full names."""
        self._stock.lose_readings(reason, tags, from_ns, to_ns, count)

    def seal(self) -> None:
        """Close the open block and offer it."""
        self._stock.seal()
        self._writer.keep_front()

    def use_table(self, table: TagTable) -> None:
        """What is appended from now on is numbered by another table."""
        self.seal()
        self._stock.segment.table = table

    def clock_changed(self, change: ClockChange) -> None:
        """Everything appended so far was taken with the clock before the change."""
        del change  # the open block noted its stamp when it began
        self.seal()

    # out

    def delivery(self, upstream: str) -> UpstreamDelivery:
        """An upstream's view, always the same object; a new name gets all that is sealed from now on."""
        found = self._stock.deliveries.get(upstream)
        if found is None:
            found = UpstreamDelivery(upstream, self._shelf, self._stock.clock, self._stock.settings)
            self._stock.deliveries[upstream] = found
        return found

    def select(self, upstream: str, chosen: Callable[[str], bool] | None) -> None:
        """Which tags (full names) may leave through an upstream; of others it is told no losses. None: every tag."""
        self._stock.chosen.pop(upstream, None)
        if chosen is not None:
            self._stock.chosen[upstream] = chosen

    def forget(self, upstream: str) -> None:
        """The upstream left the configuration: what only it needed is dropped, and the log says how much that was.

        No `loss` event: the upstreams that stay have lost nothing, and the sums they keep must hold.
        """
        delivery = self._stock.deliveries.pop(upstream, None)
        if delivery is None:
            return
        delivery.unsettled.clear()
        self._stock.ledger.forget(upstream)
        self.select(upstream, None)
        if delivery.backlog:
            log.warning("spool: upstream %s left: %d readings it had not acknowledged go", upstream, delivery.backlog)
        for entry in list(self._stock.front):
            self._stock.release(entry, upstream)
        self._writer.committer.forget(upstream)

    # values of other stages

    async def remember(self, key: str, value: bytes, until_ns: int | None = None) -> None:
        """Keep a small value over restarts; on disk when this returns, or as soon as the disk can be used.

        With `until_ns` (UTC) it may be forgotten after that time.
        """
        await self._values.remember(key, value, until_ns)

    async def recall(self, key: str) -> bytes | None:
        """A value that was kept; None where there is none or the disk can't be read."""
        return await self._values.recall(key)

    # time

    async def run(self) -> None:
        """Seal, commit and keep the limits until cancelled."""
        async with asyncio.TaskGroup() as house:
            house.create_task(self._seal_in_time(), name="spool-seal")
            house.create_task(self._writer.run(), name="spool-commit")

    def sign_of_life(self) -> int:
        """Another number than at the call before, if `run` turned meanwhile and seals in time.

        Idle as the spool may be, a call wakes it once; a commit that takes longer than `SILENT_S` is a hang.
        """
        stock = self._stock
        stock.changed.set()
        since = stock.segment.since
        if since is None or stock.now() - since < stock.settings.seal.max_age + _SEAL_LATE_S:
            self._signs = self._writer.turns
        return self._signs

    async def _seal_in_time(self) -> None:
        stock = self._stock
        while True:
            if stock.segment.since is None:
                self._opened.clear()
                await self._opened.wait()
                continue
            wait = stock.segment.since + stock.settings.seal.max_age - stock.now()
            if wait > 0:
                await asyncio.sleep(wait)
            else:
                self.seal()

    async def commit(self) -> None:
        """Everything unacknowledged to disk. Never raises: what can't be stored stays in memory."""
        self.seal()
        await self._writer.commit()
