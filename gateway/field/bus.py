"""One polled bus: who is asked when, what a dead unit may cost, and what is said while the link is down.

    grid of each device --earliest due--> Poll.attempt --> FieldPort.readings (one call per device and slot)
    writes go before reads, but at most one in four; retries at the end of a cycle; probes of dead units last

Protocol-neutral: a driver gives `Station`s (its devices) and a way to open the link. Requests run one after the
other in one task, so a driver needs no lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Final, TypeVar, cast

from gateway.errors import LinkError, WriteError
from gateway.field.contract import FieldContext
from gateway.field.health import Health, State
from gateway.field.presence import Presence
from gateway.field.sleeper import Sleeper
from gateway.field.stations import Station, UnitError
from gateway.field.timetable import Timetable
from gateway.field.units import Entry, Units
from gateway.field.writes import WriteQueue
from gateway.readings import Quality, Readings
from gateway.runtime.supervise import Link, supervise
from gateway.runtime.ticks import Grid, phase

_READS_PER_WRITE: Final = 3
_OVERDUE_S: Final = 1.0  # a probe that waited longer goes before polls
_LONG_WAIT_S: Final = 1.0  # a device whose first slot is further away is asked at the start, too

T = TypeVar("T")


class Bus:
    """The scheduler of one link. `open_link` connects when entered and closes when left; LinkError where it can't."""

    def __init__(
        self,
        name: str,
        context: FieldContext,
        open_link: Callable[[], AbstractAsyncContextManager[object]],
        stations: Iterable[Station],
        new_health: Callable[[], Health] = Health,
    ) -> None:
        self.name = name
        self._port, self._clock, self._counters = context.port, context.clock, context.counters
        self._presence = Presence(context)
        self._open_link = open_link
        self._planned = list(stations)
        self._entries: dict[str, Entry] = {}
        self._timetable: Timetable[Entry] = Timetable()
        self._waiting: list[Entry] = []  # for the second attempt of their slot
        self._units = Units(new_health)
        self._writes = WriteQueue()
        self._reads = _READS_PER_WRITE  # since the last write
        self._started = False
        self._dark = asyncio.Event()  # set while the link is down
        self._reason = "link is not open yet"
        self._sleeper = Sleeper()

    async def run(self) -> None:
        """Serve the bus until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(supervise(self.name, self._session))
                tasks.create_task(self._ticks_in_the_dark())
        finally:
            for entry in self._entries.values():
                self._say_missed(entry, last=True)
            self._writes.drop("the bus stops")

    def replace(self, stations: Iterable[Station], keep: Callable[[Station, Station], bool]) -> None:
        """Take over new stations; those for which `keep(old, new)` holds go on as they are.

        A device whose interval stays keeps its grid, too: its other tags miss no tick.
        """
        self._planned = list(stations)
        if not self._started:
            return
        old, self._entries = self._entries, {}
        for station in self._planned:
            entry = old.get(station.device)
            if entry is not None and keep(entry.station, station):
                self._entries[station.device] = entry
                continue
            self._entries[station.device] = self._placed(station, asyncio.get_running_loop().time(), entry)
            if entry is not None and entry.open is not None:  # its answer comes to tags that may be gone
                self._counters.device(entry.device).missed += 1
                entry.missed.add(1, entry.open_ns, entry.open_ns)
        for entry in old.values():
            if self._entries.get(entry.device) is not entry:
                self._say_missed(entry, last=True)
        self._units.use(self._entries.values())
        self._timetable = Timetable(self._entries.values())
        self._presence.keep_only(self._entries)
        self._waiting = [entry for entry in self._waiting if self._entries.get(entry.device) is entry]
        for entry in self._entries.values():
            if self._dark.is_set():
                self._tell([entry], Quality.BAD_LINK, self._reason)
            elif entry.health.state is State.DOWN:
                self._tell([entry], entry.health.quality, "its unit does not answer")
        self._sleeper.wake()

    async def write(self, device: str, work: Callable[[], Awaitable[T]], patience_s: float) -> T:
        """Run `work` on the bus when it is its turn; WriteError where it did not begin within the patience.

        LinkError and UnitError of `work` become WriteError, too: a write is never repeated.
        """
        entry = self._entries.get(device)
        if entry is None or self._dark.is_set():
            raise WriteError("failed", f"{device}: {self._reason}")
        if entry.health.state is State.DOWN:
            raise WriteError("timeout", f"{device} does not answer: nothing was sent")
        turn = self._writes.add(work)
        self._sleeper.wake()
        return cast("T", await self._writes.result(turn, patience_s))

    async def _session(self, link: Link) -> None:
        try:
            async with self._open_link():
                self._begin()
                self._dark.clear()
                await self._serve(link)
        except LinkError as error:
            self._lost(str(error) or "link lost")
            raise

    def _begin(self) -> None:
        """The link is open, or it is known that it can't be: slots count from now on."""
        now = asyncio.get_running_loop().time()
        if not self._started:
            self._started = True
            self._entries = {station.device: self._placed(station, now) for station in self._planned}
            self._units.use(self._entries.values())
            self._timetable = Timetable(self._entries.values())
        self._units.look_now(now)

    def _placed(self, station: Station, now: float, before: Entry | None = None) -> Entry:
        health = self._units.health(station.unit)
        if before is not None and before.station.period_s == station.period_s:
            return Entry(station, before.grid, health, fresh=before.fresh)
        offset = phase(station.device, station.period_s)
        start = now + offset - (station.period_s if offset > _LONG_WAIT_S else 0.0)
        return Entry(station, Grid(start, station.period_s), health)

    async def _serve(self, link: Link) -> None:
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            if (probe := self._units.to_probe(now, _OVERDUE_S)) is not None:
                await self._probe(probe, link)
            elif (due := self._take(now)) is not None:
                await self._slot(due, link)
            elif self._writes:
                await self._write_next()
            elif (waiting := self._retry_due(now)) is not None:
                await self._attempt(waiting, link, last=True)
            elif (probe := self._units.to_probe(now, 0.0)) is not None:
                await self._probe(probe, link)
            else:
                await self._sleeper.until(self._next_time())

    def _take(self, now: float) -> Entry | None:
        """The device whose slot is due, its grid moved on; slots that passed unserved are counted where it lives."""
        taken = self._timetable.take(now)
        if taken is None:
            return None
        entry, first, slot, missed = taken
        entry.slot_ns = self._clock.utc_of(slot)
        counters = self._counters.device(entry.device)
        counters.lateness = 0.0 if entry.fresh else now - slot
        lives = entry.health.state is not State.DOWN and not self._dark.is_set()
        if missed and lives and not entry.fresh:
            counters.missed += missed
            entry.missed.add(missed, self._clock.utc_of(first), self._clock.utc_of(slot - entry.grid.period_s))
        entry.fresh = False
        self._say_missed(entry, last=False)
        return entry

    def _retry_due(self, now: float) -> Entry | None:
        """The first that waits for its second attempt."""
        for place, entry in enumerate(self._waiting):
            if entry.retry_at <= now:
                return self._waiting.pop(place)
        return None

    def _next_time(self) -> float:
        return min([self._timetable.next, self._units.probe_at, *(entry.retry_at for entry in self._waiting)])

    async def _slot(self, entry: Entry, link: Link) -> None:
        """Serve a slot."""
        if entry.open is not None:
            self._hand_on(entry, entry.health.quality)
        if entry.health.state is State.DOWN:
            self._port.readings(Readings.failed(entry.station.tags, entry.slot_ns, entry.health.quality))
            return
        entry.open, entry.open_ns = entry.station.begin(), entry.slot_ns
        await self._attempt(entry, link, last=False)

    async def _attempt(self, entry: Entry, link: Link, *, last: bool) -> None:
        poll = entry.open
        if poll is None:
            return
        if entry.health.state is State.DOWN:  # another device of the unit found out meanwhile
            self._hand_on(entry, entry.health.quality)
            return
        try:
            complete = await poll.attempt(self._give_way)
        except UnitError as error:
            state = self._units.failed(entry, error.quality, asyncio.get_running_loop().time())
            if state is State.SUSPECT and not last:
                self._wait(entry, 0.0)
                return
            self._hand_on(entry, error.quality)
            if state is State.DOWN:
                self._tell(self._units.members(entry), error.quality, str(error))
            return
        self._answered(entry, link)
        if complete or last:
            self._hand_on(entry, Quality.BAD_EXCEPTION)
        else:
            self._wait(entry, min(0.1, entry.station.period_s / 10))

    def _wait(self, entry: Entry, seconds: float) -> None:
        """Let the slot's second attempt come when nothing else is due."""
        entry.retry_at = asyncio.get_running_loop().time() + seconds
        self._waiting.append(entry)

    def _hand_on(self, entry: Entry, otherwise: Quality) -> None:
        """End a slot: one call with all its rows, unless a reload took the device away meanwhile."""
        poll, entry.open = entry.open, None
        if entry in self._waiting:
            self._waiting.remove(entry)
        if poll is not None and self._entries.get(entry.device) is entry:
            self._port.readings(poll.readings(otherwise, entry.open_ns))

    async def _probe(self, entry: Entry, link: Link) -> None:
        loop = asyncio.get_running_loop()
        before = loop.time()
        try:
            await entry.station.probe()
        except UnitError as error:
            self._units.failed(entry, error.quality, loop.time())
        else:
            self._answered(entry, link)
        finally:
            self._units.probed(loop.time() - before, loop.time())

    def _answered(self, entry: Entry, link: Link) -> None:
        """A unit did its work: its devices are up."""
        link.worked()
        if self._units.answered(entry):
            self._tell(self._units.members(entry), None, "")

    async def _give_way(self) -> None:
        """Called before each read: lets a waiting write pass, at most one in four."""
        if self._writes and self._reads >= _READS_PER_WRITE:
            await self._write_next()
        self._reads += 1

    async def _write_next(self) -> None:
        self._reads = 0
        await self._writes.run_next()

    def _lost(self, reason: str) -> None:
        """The link is down: every tag is bad/link at once, and at each slot until it is back."""
        first = not self._dark.is_set()
        self._reason = reason
        self._begin_dark()
        self._writes.drop(reason)
        if not first:
            return
        now_ns = self._clock.now_ns()
        for entry in self._entries.values():
            if entry.open is not None:
                self._hand_on(entry, Quality.BAD_LINK)
            else:
                self._port.readings(Readings.failed(entry.station.tags, now_ns, Quality.BAD_LINK))
            entry.fresh = False
        self._tell(self._entries.values(), Quality.BAD_LINK, reason)

    def _begin_dark(self) -> None:
        if not self._started:
            self._begin()
        self._dark.set()

    async def _ticks_in_the_dark(self) -> None:
        """While the link is down, each slot gives bad/link rows."""
        loop = asyncio.get_running_loop()
        while True:
            await self._dark.wait()
            now = loop.time()
            if (entry := self._take(now)) is not None:
                self._port.readings(Readings.failed(entry.station.tags, entry.slot_ns, Quality.BAD_LINK))
            else:
                await asyncio.sleep(min(0.5, max(0.0, self._timetable.next - now)))

    def _tell(self, entries: Iterable[Entry], failure: Quality | None, text: str) -> None:
        """Tell that devices are up (failure None) or down."""
        for entry in entries:
            if self._entries.get(entry.device) is entry:
                self._presence.tell(entry.device, failure, text)

    def _say_missed(self, entry: Entry, *, last: bool) -> None:
        loss = entry.missed.loss(entry.station.tags, self._clock.now_ns(), last=last)
        if loss is not None:
            self._port.loss(loss)
