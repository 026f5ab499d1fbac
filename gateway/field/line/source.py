"""One line connection: instruments that talk by themselves and instruments that are asked, on one port.

bytes --Framer--> lines --decoder of each instrument--> readings
  asked:   flush, send `poll`, one line back, time = middle of request and answer; after a timeout the line must fall
           silent before the next request, so that a late answer is never taken for another's
  talking: time = first byte of the line; at most one line per `every`, the newest
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from gateway.errors import LinkError, WriteError
from gateway.field.contract import BusPlan, FieldContext
from gateway.field.devices import Devices
from gateway.field.line.framer import Framer, Line
from gateway.field.line.instrument import Instrument
from gateway.field.line.settings import LineConnection
from gateway.field.line.wire import Wire, open_wire
from gateway.readings import Quality
from gateway.runtime.supervise import Link, supervise

QUARANTINE: Final = 10  # a babbling line is asked again after this many of its quiet times
WAITING: Final = 64  # lines kept for a poll that is being answered


class LineSource:
    """The source of one line connection."""

    def __init__(self, plan: BusPlan, context: FieldContext) -> None:
        self._plan, self._context = plan, context
        self._settings: LineConnection = plan.connection
        self._terminator = self._settings.terminator.encode("latin-1")
        self._framer = Framer(self._terminator)
        self._instruments: dict[str, Instrument] = {}
        self._devices: Devices | None = None
        self._asking = False
        self._answers: deque[Line] = deque(maxlen=WAITING)
        self._last_byte = 0.0
        self._link: Link | None = None
        self._trusted = False  # the connection is opened once more when it is gone
        self._wake = asyncio.Event()
        self._sinks: dict[str, Callable[[str], None]] = {}

    async def run(self) -> None:
        """Serve the connection until cancelled."""
        devices = self._devices = Devices(self._plan, self._context, asyncio.get_running_loop().time())
        async with asyncio.TaskGroup() as group:
            group.create_task(devices.run())
            await supervise(self._plan.name, self._connected)

    async def write(self, tag: int, value: float | str) -> float | str:
        """Line instruments take no values."""
        del tag, value
        raise WriteError("denied", "line instruments can't be written")

    def reconfigure(self, plan: BusPlan) -> None:
        """Take over other devices; those that stay the same keep their grid and what they have heard."""
        self._plan = plan
        if self._devices is not None:
            self._adopt(self._devices.update(plan))
            self._wake.set()

    def trace(self, device: str, sink: Callable[[str], None] | None) -> None:
        """A text per line sent and received on the port; the line is shared, so every device sees all of it."""
        if sink is None:
            self._sinks.pop(device, None)
        else:
            self._sinks[device] = sink

    def _adopt(self, changed: set[str]) -> None:
        now = asyncio.get_running_loop().time()
        self._instruments = {
            name: self._instruments[name]
            if name in self._instruments and name not in changed
            else Instrument(device, self._settings, self._context, now)
            for name, device in (self._devices or {}).items()
        }

    async def _connected(self, link: Link) -> None:
        assert self._devices is not None  # noqa: S101  # made in run()
        self._link = link
        with self._devices.outage():
            wire = await self._open()
            self._trusted = True
            try:
                self._devices.connected()
                self._adopt(set(self._devices))
                while True:
                    await self._serve(wire)
                    wire = await self._open()
            finally:
                wire.close()

    async def _open(self) -> Wire:
        self._framer = Framer(self._terminator)
        return await open_wire(self._settings, self._received, self._wake.set)

    async def _serve(self, wire: Wire) -> None:
        """Serve the instruments; returns where a connection that ended while nothing was asked is wanted again."""
        loop = asyncio.get_running_loop()
        while True:
            instrument = min(self._instruments.values(), key=lambda each: each.due)
            if wire.lost and not self._may_idle():
                raise LinkError(wire.lost)
            if not await self._reached(instrument.due):
                continue
            if wire.lost:
                self._trusted = False
                return
            if instrument.poll is None:
                instrument.serve(loop.time())
            else:
                await self._ask(wire, instrument, instrument.poll)

    def _may_idle(self) -> bool:
        """Many converters end a connection that is idle: where everybody is asked it is not missed until then."""
        talkers = any(each.poll is None for each in self._instruments.values())
        return self._trusted and self._settings.tcp is not None and not talkers

    async def _reached(self, deadline: float) -> bool:
        """Wait until an instant; False where something else woke us first."""
        self._wake.clear()
        try:
            async with asyncio.timeout_at(deadline):
                await self._wake.wait()
        except TimeoutError:
            return True
        return False

    def _received(self, data: bytes, at: float) -> None:
        self._last_byte = at
        overlong = self._framer.overlong
        lines = self._framer.feed(data, at)
        if self._framer.overlong > overlong:
            for instrument in self._instruments.values():
                instrument.device.counters.errors["overlong"] += self._framer.overlong - overlong
        for line in lines:
            self._tell("got", line.text)
            talkers = [each for each in self._instruments.values() if each.poll is None]
            if not any(self._heard(talker, line, at) for talker in talkers):
                self._unmatched(talkers, line, at)
        self._wake.set()

    def _heard(self, talker: Instrument, line: Line, now: float) -> bool:
        fields = talker.decode(line.text)
        if fields is None:
            return False
        talker.hear(line, fields, now)
        self._worked()
        return True

    def _worked(self) -> None:
        self._trusted = True
        if self._link is not None:
            self._link.worked()

    def _unmatched(self, talkers: list[Instrument], line: Line, now: float) -> None:
        """A line no talker understands: an answer, or noise, which only a line's sole instrument is blamed for."""
        if self._asking:
            self._answers.append(line)
            return
        for talker in talkers:
            talker.device.counters.errors["decode"] += 1
        if len(self._instruments) == 1 and talkers:
            talkers[0].mishear(line, now)

    async def _ask(self, wire: Wire, instrument: Instrument, poll: bytes) -> None:
        """Serve an asked instrument's slot."""
        loop, device = asyncio.get_running_loop(), instrument.device
        slot = device.take(loop.time())
        if loop.time() < instrument.probe_at and len(self._instruments) > 1:
            device.failed(Quality.BAD_TIMEOUT, slot)
            return
        sent = loop.time()
        line = await self._exchange(wire, poll)
        now = loop.time()
        if line is None:
            device.failed(Quality.BAD_TIMEOUT, slot)
            device.offline("timeout")
            await self._quarantine(wire)
            instrument.unanswered(loop.time())
            return
        instrument.answered()
        fields = instrument.decode(line.text)
        middle = (sent + line.at) / 2
        if fields is None:
            device.failed(Quality.BAD_DECODE, middle)
            return
        device.counters.polled(now - sent, self._context.clock.utc_of(middle))
        device.online()
        self._context.port.readings(instrument.readings(fields, middle))
        self._worked()

    async def _exchange(self, wire: Wire, poll: bytes) -> Line | None:
        """Send a request and wait for one line that isn't its echo; None where none came in time."""
        loop = asyncio.get_running_loop()
        self._framer.clear(synchronised=True)
        self._answers.clear()
        self._tell("sent", poll)
        wire.send(poll)
        on_wire = len(poll) * self._settings.serial.character_s if self._settings.port else 0.0
        deadline = loop.time() + on_wire + self._settings.timeout
        echo = poll.removesuffix(self._terminator)
        self._asking = True
        try:
            while True:
                while self._answers:
                    line = self._answers.popleft()
                    if line.text != echo:
                        return line
                if wire.lost:
                    raise LinkError(wire.lost)
                if await self._reached(deadline):
                    return None
        finally:
            self._asking = False

    async def _quarantine(self, wire: Wire) -> None:
        """Wait until the line was silent for its quiet time; what comes meanwhile is dropped."""
        loop, quiet = asyncio.get_running_loop(), self._settings.quiet_s
        limit = loop.time() + QUARANTINE * quiet
        while (
            not wire.lost and (until := max(self._last_byte, limit - QUARANTINE * quiet) + quiet) > loop.time() < limit
        ):
            await self._reached(min(until, limit))

    def _tell(self, what: str, data: bytes) -> None:
        for sink in tuple(self._sinks.values()):
            sink(f"{what:5} {data.decode('latin-1')!r}")
