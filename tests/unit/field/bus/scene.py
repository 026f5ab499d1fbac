"""A bus of fake stations in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import numpy as np

from gateway.errors import LinkError
from gateway.field.bus import Bus
from gateway.field.contract import FieldContext
from gateway.field.stations import GiveWay, UnitError
from gateway.readings import Quality, Readings, Tag, TagColumn, TagTable
from gateway.runtime.counters import Counters
from tests.fakes.port import RecordingPort
from tests.fakes.virtual_time import VirtualClock, later


@dataclass
class Line:
    """What the stations share: whether the link stands, what is asked, how long a dead unit keeps it busy."""

    up: bool = True
    timeout_s: float = 1.0
    opened: int = 0
    asked: list[tuple[str, str, float]] = field(default_factory=list)

    @asynccontextmanager
    async def link(self) -> AsyncIterator[None]:
        if not self.up:
            raise LinkError("unplugged")
        self.opened += 1
        yield


@dataclass
class FakeStation:
    """A device with one tag and some requests per poll."""

    device: str
    line: Line
    index: int
    unit: int = 0
    period_s: float = 1.0
    cost_s: float = 0.01
    requests: int = 1
    alive: bool = True
    busy: int = 0  # polls that must be asked twice

    @property
    def tags(self) -> TagColumn:
        return np.array([self.index], np.uint32)

    async def ask(self, what: str) -> None:
        loop = asyncio.get_running_loop()
        self.line.asked.append((self.device, what, loop.time()))
        alive = self.alive
        await later(self.cost_s if alive else self.line.timeout_s)
        if not self.line.up:
            raise LinkError("unplugged")
        if not alive:
            raise UnitError(Quality.BAD_TIMEOUT, "no answer")

    def begin(self) -> FakePoll:
        return FakePoll(self)

    async def probe(self) -> None:
        await self.ask("probe")


@dataclass
class FakePoll:
    """A poll of a fake station."""

    station: FakeStation
    answered: bool = False

    async def attempt(self, give_way: GiveWay) -> bool:
        for _ in range(self.station.requests):
            await give_way()
            await self.station.ask("read")
        if self.station.busy > 0:
            self.station.busy -= 1
            return False
        self.answered = True
        return True

    def readings(self, otherwise: Quality, time_ns: int) -> Readings:
        if not self.answered:
            return Readings.failed(self.station.tags, time_ns, otherwise)
        return Readings(self.station.tags, np.array([time_ns]), np.ones(1), np.zeros(1, np.uint8))


@dataclass
class Scene:
    """A bus of fake stations at work."""

    line: Line
    stations: list[FakeStation]
    port: RecordingPort
    counters: Counters
    clock: VirtualClock
    bus: Bus

    def good(self, device: str) -> int:
        return len(self.port.values(f"{device}.v"))

    def asked(self, device: str, what: str = "read") -> list[float]:
        return [at for who, how, at in self.line.asked if (who, how) == (device, what)]


@asynccontextmanager
async def scene(stations: Iterable[FakeStation], line: Line) -> AsyncIterator[Scene]:
    chosen = list(stations)
    clock, counters = VirtualClock(), Counters()
    port = RecordingPort(TagTable(Tag(station.device, "v") for station in chosen))
    bus = Bus("bus", FieldContext(port, clock, counters, None), line.link, chosen)
    task = asyncio.create_task(bus.run())
    try:
        yield Scene(line, chosen, port, counters, clock, bus)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def fleet(line: Line, count: int, **keys: float) -> list[FakeStation]:
    return [FakeStation(f"d{n}", line, n, unit=n, **keys) for n in range(count)]  # type: ignore[arg-type]
