"""Probes any connection by running its driver for a moment and taking the first reading of each tag."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from gateway.field.contract import BusPlan, Driver, FieldContext, Loss
from gateway.readings import Readings
from gateway.runtime.clock import Clock
from gateway.runtime.counters import Counters
from gateway.tools.probe_report import Probed, Sight, is_bad, sight
from gateway.tools.progress import tell


class _FirstReadings:
    """Keeps the first usable reading of each tag, else the newest bad one."""

    def __init__(self, tags: frozenset[int]) -> None:
        self.seen: dict[int, Sight] = {}
        self.complete = asyncio.Event()
        self._missing = set(tags)
        self._began = time.monotonic()

    def readings(self, readings: Readings) -> None:
        seconds = time.monotonic() - self._began
        for index in set(readings.tag.tolist()) & self._missing:
            self.seen[index] = sight(readings, index, seconds)
            if not is_bad(readings, index):
                self._missing.discard(index)
        if not self._missing:
            self.complete.set()

    def loss(self, loss: Loss) -> None:
        """Nobody misses anything here."""

    def link(self, device: str, online: bool, reason: str) -> None:
        tell(f"{device}: {'online' if online else f'offline: {reason}'}")


async def probe_source(driver: Driver, plan: BusPlan) -> list[Probed]:
    """Every tag of the connection; seconds count from the start of the driver."""
    names = {
        tag.full_name
        for device, settings in plan.connection.devices.items()
        for name, entry in settings.tags.items()
        for tag in entry.expand(device, name)
    }
    wanted = [index for index, tag in enumerate(plan.table) if tag.full_name in names]
    port = _FirstReadings(frozenset(wanted))
    source = driver.open(plan, FieldContext(port, Clock(), Counters(), None))
    patience_s = 2.0 * max([plan.connection.timeout, *plan.every.values()]) + 2.0
    tell(f"{plan.name}: waiting up to {patience_s:.0f} s for every tag")
    async with asyncio.TaskGroup() as group:
        work = group.create_task(source.run())
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await port.complete.wait()
        work.cancel()
    return [Probed(plan.table[index], port.seen.get(index)) for index in wanted]
