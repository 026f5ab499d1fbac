"""What a connection's devices have in common: their tags, their grid, whether they are up, their rows in an outage.

supervise --> link lost --> every device offline, bad/link rows at once and at each tick --> first good answer: online
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from gateway.errors import LinkError
from gateway.field.contract import BusPlan, FieldContext
from gateway.field.missed import Missed
from gateway.readings import Quality, Readings, Tag, TagColumn
from gateway.runtime.counters import DeviceCounters
from gateway.runtime.ticks import Grid, phase

LONG_WAIT_S: Final = 1.0  # a device whose first slot is further away is served at the start, too
UNPACED_S: Final = 1.0  # the grid of a device that is asked for no interval (`0ms`)


@dataclass(slots=True)
class Device:
    """One device: rows of the tag table, settings and grid. `start` of the grid is spread by the device's name."""

    name: str
    settings: Any  # the driver's DeviceSettings
    indices: TagColumn  # of its measured tags in the table, in the order of the configuration
    tags: tuple[Tag, ...]
    every: float  # seconds; 0 where the device sets the pace
    grid: Grid
    context: FieldContext
    failed_ns: int = 0  # UTC of the newest row without a value
    missed: Missed = field(default_factory=Missed)
    sink: Callable[[str], None] | None = None  # for whoever traces the device

    @property
    def counters(self) -> DeviceCounters:
        """The device's counters."""
        return self.context.counters.device(self.name)

    def same_as(self, other: Device) -> bool:
        """Whether a reload left the device as it is: same settings, tags and interval."""
        return (self.every, self.settings, self.tags) == (other.every, other.settings, other.tags)

    def online(self) -> None:
        """A good answer came: told once per change."""
        counters = self.counters
        if not counters.up:
            counters.up, counters.reason, counters.since_ns = True, "", self.context.clock.now_ns()
            counters.detail = ""
            self.context.port.link(self.name, online=True, reason="")

    def offline(self, reason: str, detail: str = "") -> None:
        """The device gives nothing usable any more: told once per change of state or reason."""
        counters = self.counters
        counters.detail = detail
        if counters.up or counters.reason != reason:
            counters.up, counters.reason, counters.since_ns = False, reason, self.context.clock.now_ns()
            self.context.port.link(self.name, online=False, reason=reason)

    def failed(self, quality: Quality, loop_time: float) -> None:
        """One row without a value for each tag, at an instant of the loop's clock."""
        self.counters.errors[quality.reason] += 1
        self.failed_ns = self.context.clock.utc_of(loop_time)
        self.context.port.readings(Readings.failed(self.indices, self.failed_ns, quality))

    def take(self, now: float) -> float:
        """Serve the newest due slot; older ones are counted and reported lost. Returns the slot's loop time."""
        first = self.grid.due
        slot, missed = self.grid.take(now)
        self.counters.lateness = now - slot
        if missed:
            self.counters.missed += missed
            utc = self.context.clock.utc_of
            self.missed.add(missed, utc(first), utc(slot - self.grid.period_s))
        self.report_missed()
        return slot

    def skip(self, now: float) -> None:
        """Slots that passed before there was a link to serve them on are nobody's loss: the newest one is due next."""
        if now >= self.grid.due:
            self.grid.take(now)
            self.grid.slot -= 1

    def report_missed(self, *, last: bool = False) -> None:
        """Report missed slots, at most every few seconds; `last` leaves none."""
        loss = self.missed.loss(self.indices, self.context.clock.now_ns(), last=last)
        if loss is not None:
            self.context.port.loss(loss)


def device_of(plan: BusPlan, name: str, context: FieldContext, now: float = 0.0) -> Device:
    """A device of a plan, its grid beginning `phase` after `now`. Tags of other stages (computed ones) stay out."""
    settings = plan.connection.devices[name]
    names = [tag.full_name for key, entry in settings.tags.items() for tag in entry.expand(name, key)]
    indices = np.array([plan.table.index(full_name) for full_name in names], np.uint32)
    tags = tuple(plan.table[index] for index in indices.tolist())
    every = plan.every[name]
    period = every or UNPACED_S
    offset = phase(name, period)
    start = now + offset - (period if offset > LONG_WAIT_S else 0.0)
    return Device(name, settings, indices, tags, every, Grid(start, period), context)


class Devices(Mapping[str, Device]):
    """The devices of one plan by name, and the rows they give while the link is down."""

    def __init__(self, plan: BusPlan, context: FieldContext, start: float) -> None:
        self._context = context
        self._start = start
        self._devices: dict[str, Device] = {}
        self._down = asyncio.Event()
        self.update(plan)

    def __getitem__(self, name: str) -> Device:
        return self._devices[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._devices)

    def __len__(self) -> int:
        return len(self._devices)

    def update(self, plan: BusPlan) -> set[str]:
        """Take over a plan; devices of the same interval keep their grid. Returns the names that are new or changed."""
        fresh: dict[str, Device] = {}
        changed: set[str] = set()
        now = asyncio.get_running_loop().time() if self._devices else self._start
        for name in plan.connection.devices:
            device, old = device_of(plan, name, self._context, now), self._devices.get(name)
            if old is not None and old.same_as(device):
                old.indices = device.indices
                fresh[name] = old
            else:
                if old is not None and old.every == device.every:
                    device.grid = old.grid
                changed.add(name)
                fresh[name] = device
        for name, device in self._devices.items():
            if fresh.get(name) is not device:
                device.report_missed(last=True)
        self._devices = fresh
        return changed

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Around a link's body: a LinkError that leaves it puts every device into the outage, and passes on."""
        try:
            yield
        except LinkError as error:
            self._down.set()
            now = asyncio.get_running_loop().time()
            for device in self.values():
                was_up = device.counters.up
                device.offline("link", str(error))
                due = now >= device.grid.due
                if due:
                    device.grid.take(now)  # the row below serves every slot up to now
                if was_up or due:
                    device.failed(Quality.BAD_LINK, now)
            raise

    def connected(self) -> None:
        """The link stands: ticks are the driver's from here on. Slots before that count as served."""
        self._down.clear()
        now = asyncio.get_running_loop().time()
        for device in self.values():
            device.skip(now)

    async def run(self) -> None:
        """Serve every tick of the outages, until cancelled."""
        try:
            while True:
                await self._down.wait()
                await self._next_tick()
        finally:
            for device in self.values():
                device.report_missed(last=True)

    async def _next_tick(self) -> None:
        """Wait for the earliest slot of an outage and serve it."""
        loop = asyncio.get_running_loop()
        device = min(self.values(), key=lambda each: each.grid.due)
        await asyncio.sleep(max(0.0, device.grid.due - loop.time()))
        if self._down.is_set() and loop.time() >= device.grid.due:
            slot, _ = device.grid.take(loop.time())
            device.failed(Quality.BAD_LINK, slot)
